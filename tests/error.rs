//! What error numbers are called, `errno`, and the version.

mod support;

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char};

use castio::ffi::error::*;
use castio::ffi::nowait::castio_recv_nowait;
use castio::ffi::urgent::castio_at_mark;
use castio::ffi::vectored::castio_iov_length;
use support::descriptors::errno;

// glibc's own tables, since 2.32; not in the libc crate.
unsafe extern "C" {
    fn strerrorname_np(code: i32) -> *const c_char;
    fn strerrordesc_np(code: i32) -> *const c_char;
}

/// The largest error number that the kernel can return.
const MAX_ERRNO: i32 = 4095;

fn text_of(text: *const c_char) -> Option<&'static str> {
    // SAFETY: NULL, or a static string.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str().unwrap())
}

fn name(code: i32) -> &'static str {
    text_of(castio_error_name(code)).unwrap()
}

/// The text and the length that the call tells.
fn strerror(code: i32, room: usize) -> (String, i32) {
    let mut buf = vec![b'#' as c_char; room + 4];
    // SAFETY: there is room, and a little behind it.
    let len = unsafe { castio_strerror(code, buf.as_mut_ptr(), room) };
    assert!(buf[room..].iter().all(|byte| *byte == b'#' as c_char), "nothing is written behind the room");
    // SAFETY: ends in a NUL, or else in what is behind the room.
    let bytes: Vec<u8> = buf[..room].iter().map(|byte| *byte as u8).collect();
    let text =
        CStr::from_bytes_until_nul(&bytes).map_or_else(|_| "no NUL".into(), |text| text.to_string_lossy().into());
    (text, len)
}

#[test]
fn every_number_has_the_name_that_the_system_gives_it() {
    let mut known = 0;
    for code in 1..=MAX_ERRNO {
        // SAFETY: takes no pointer.
        let expected = match text_of(unsafe { strerrorname_np(code) }) {
            // Two names for one number: the one that the header documents.
            Some("EWOULDBLOCK") => "EAGAIN",
            Some("EDEADLOCK") => "EDEADLK",
            Some("ENOTSUP") => "EOPNOTSUPP",
            Some(name) => name,
            None => "EUNKNOWN",
        };
        known += usize::from(expected != "EUNKNOWN");
        assert_eq!((name(code), name(-code)), (expected, expected), "{code}");
    }
    assert!(known > 100, "the system's table is there: {known}");
}

#[test]
fn every_number_has_the_text_that_the_system_gives_it() {
    for code in 1..=MAX_ERRNO {
        // SAFETY: takes no pointer.
        let expected = match text_of(unsafe { strerrordesc_np(code) }) {
            Some(text) => text.to_owned(),
            None => format!("Unknown error {code}"),
        };
        let whole = (expected.clone(), expected.len() as i32);
        assert_eq!((strerror(code, 80), strerror(-code, 80)), (whole.clone(), whole), "{code}");
    }
}

#[test]
fn no_two_numbers_share_a_name() {
    let names: Vec<&str> = (1..=MAX_ERRNO).map(name).filter(|name| *name != "EUNKNOWN").collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn names_that_everybody_knows() {
    for (code, expected) in [
        (libc::EADDRINUSE, "EADDRINUSE"),
        (libc::EWOULDBLOCK, "EAGAIN"),
        (libc::EDEADLOCK, "EDEADLK"),
        (libc::ENOTSUP, "EOPNOTSUPP"),
        (libc::EHWPOISON, "EHWPOISON"),
        (0, "OK"),
    ] {
        assert_eq!(name(-code), expected);
    }
    assert_eq!(strerror(-98, 80).0, "Address already in use");
    assert_eq!(strerror(0, 80), ("Success".into(), 7));
}

#[test]
fn numbers_that_nobody_knows_are_said_to_be_unknown() {
    for code in [134, 4096, 100_000, i32::MAX, -i32::MAX, i32::MIN] {
        assert_eq!(name(code), "EUNKNOWN", "{code}");
        let text = format!("Unknown error {}", code.unsigned_abs());
        assert_eq!(strerror(code, 80), (text.clone(), text.len() as i32));
    }
}

#[test]
fn a_text_is_cut_to_fit_and_always_ends() {
    let whole = "Address already in use";
    for room in 1..40 {
        let kept = &whole[..whole.len().min(room - 1)];
        assert_eq!(strerror(98, room), (kept.into(), whole.len() as i32), "{room}");
    }
}

#[test]
fn the_length_alone_needs_no_buffer() {
    // SAFETY: NULL is checked.
    unsafe {
        assert_eq!(castio_strerror(98, std::ptr::null_mut(), 0), 22);
        assert_eq!(castio_strerror(98, std::ptr::null_mut(), 1), -libc::EFAULT);
    }
    assert_eq!(errno(), libc::EFAULT);
    let mut untouched = b'#' as c_char;
    // SAFETY: a length of 0 writes nothing.
    assert_eq!(unsafe { castio_strerror(98, &raw mut untouched, 0) }, 22);
    assert_eq!(untouched, b'#' as c_char);
}

#[test]
fn errno_is_set_to_match_and_only_on_failure() {
    // SAFETY: NULL and -1 are checked.
    unsafe {
        for (result, code) in [
            (castio_recv_nowait(-1, std::ptr::null_mut(), 0), libc::EBADF),
            (castio_recv_nowait(0, std::ptr::null_mut(), 1), libc::EFAULT),
            (castio_iov_length(std::ptr::null(), -1), libc::EINVAL),
        ] {
            assert_eq!(result, -code as isize);
        }
        *libc::__errno_location() = 0;
        assert_eq!((castio_iov_length(std::ptr::null(), -1), errno()), (-libc::EINVAL as isize, libc::EINVAL));
        assert_eq!((castio_at_mark(-1), errno()), (-libc::EBADF, libc::EBADF));
        *libc::__errno_location() = 4711;
        assert_eq!((castio_iov_length(std::ptr::null(), 0), errno()), (0, 4711));
    }
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(text_of(castio_version()), Some(env!("CARGO_PKG_VERSION")));
    let part = |text: &str| text.parse::<u32>().unwrap();
    let (major, minor) = (part(env!("CARGO_PKG_VERSION_MAJOR")), part(env!("CARGO_PKG_VERSION_MINOR")));
    let patch = part(env!("CARGO_PKG_VERSION_PATCH"));
    assert_eq!(castio_version_number(), major * 1_000_000 + minor * 1_000 + patch);
}
