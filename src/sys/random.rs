//! Numbers that nobody can guess, in any process.

use std::fs::File;
use std::hash::Hasher;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use super::length;
use crate::error::{Errno, Result};

/// So many random bytes, at most 256: up to there getrandom(2) gives all or nothing (man page). A sandbox
/// may refuse it, and have no /dev/urandom: then they come from what the kernel gave the process at its
/// start.
pub fn bytes<const LEN: usize>() -> [u8; LEN] {
    const { assert!(LEN <= 256) };
    let mut bytes = [0; LEN];
    if getrandom(&mut bytes).is_err() && urandom(&mut bytes).is_err() {
        from_start(&mut bytes);
    }
    bytes
}

fn getrandom(bytes: &mut [u8]) -> Result<()> {
    loop {
        // SAFETY: there is room for so many bytes.
        match length(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) }) {
            // A signal, while the kernel still gathers its first entropy after boot.
            Err(Errno::EINTR) => {}
            Ok(count) if count < bytes.len() => return Err(Errno::EIO),
            result => return result.map(drop),
        }
    }
}

fn urandom(bytes: &mut [u8]) -> std::io::Result<()> {
    File::open("/dev/urandom")?.read_exact(bytes)
}

/// SipHash of a count, the process and the time, under AT_RANDOM (getauxval(3)) as the key: 16 bytes that
/// the kernel makes at each execve(2). None of them can be computed from what comes out.
fn from_start(bytes: &mut [u8]) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (key, other) = start_key();
    let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    for piece in bytes.chunks_mut(8) {
        #[allow(deprecated, reason = "std has no other SipHash with a key")]
        let mut hasher = std::hash::SipHasher::new_with_keys(key, other);
        hasher.write_u64(COUNT.fetch_add(1, Relaxed));
        hasher.write_u32(std::process::id());
        hasher.write_u128(time);
        piece.iter_mut().zip(hasher.finish().to_ne_bytes()).for_each(|(byte, random)| *byte = random);
    }
}

fn start_key() -> (u64, u64) {
    // SAFETY: getauxval(3) takes a number; AT_RANDOM names 16 bytes for the life of the process, or is 0.
    let start = unsafe {
        let at = libc::getauxval(libc::AT_RANDOM) as *const [u8; 16];
        at.as_ref().copied()
    };
    match start.map(u128::from_ne_bytes) {
        Some(random) => (random as u64, (random >> 64) as u64),
        // Where the loader has put the library and the stack.
        None => ((&raw const start).addr() as u64, (start_key as fn() -> _ as usize) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes() {
        let make: [fn(&mut [u8]); 3] = [|bytes| getrandom(bytes).unwrap(), |bytes| urandom(bytes).unwrap(), from_start];
        for make in make {
            let (mut one, mut two) = ([0; 256], [0; 256]);
            make(&mut one);
            make(&mut two);
            assert_ne!(one, two);
            // Written to the last byte: 16 zeros at an end come once in 2^128.
            assert_ne!(one[240..], [0; 16]);
        }
    }
}
