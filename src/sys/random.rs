//! getrandom(2): numbers that nobody can guess.

use super::length;
use crate::error::{Errno, Result};

/// So many random bytes, at most 256: up to there the kernel gives all or nothing (man page).
///
/// `EINTR` when a signal comes while the kernel still gathers its first entropy, after boot.
pub fn bytes<const LEN: usize>() -> Result<[u8; LEN]> {
    const { assert!(LEN <= 256) };
    let mut bytes = [0; LEN];
    // SAFETY: there is room for so many bytes.
    let count = length(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), LEN, 0) })?;
    if count == LEN { Ok(bytes) } else { Err(Errno::EIO) }
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
