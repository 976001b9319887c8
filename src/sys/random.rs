//! getrandom(2): numbers that nobody can guess.

use std::fs::File;
use std::io::Read;

use super::length;
use super::refusal::is_refusal;
use crate::error::{Errno, Result};

/// So many random bytes, at most 256: up to there the kernel gives all or nothing (man page).
///
/// `EINTR` when a signal comes while the kernel still gathers its first entropy, after boot.
pub fn bytes<const LEN: usize>() -> Result<[u8; LEN]> {
    const { assert!(LEN <= 256) };
    let mut bytes = [0; LEN];
    // SAFETY: there is room for so many bytes.
    match length(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), LEN, 0) }) {
        Ok(count) if count == LEN => Ok(bytes),
        Ok(_) => Err(Errno::EIO),
        // The same numbers by a device, where a sandbox refuses the call.
        Err(error) if is_refusal(error) => {
            let read = File::open("/dev/urandom").and_then(|mut device| device.read_exact(&mut bytes));
            read.map(|()| bytes).map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes() {
        let (one, two) = (bytes::<256>().unwrap(), bytes::<256>().unwrap());
        assert_ne!(one, two);
        // Written to the last byte: 16 zeros at an end come once in 2^128.
        assert_ne!(one[240..], [0; 16]);
    }
}
