//! The C face as a test calls it: Rust's text in, and each result checked against `errno`.

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::ptr;

use castio::Errno;
use castio::ffi::multicast::filter::*;
use castio::ffi::multicast::membership::*;
use castio::ffi::multicast::membership_addr::*;
use castio::sys::sockaddr;
use libc::{sockaddr_storage, socklen_t};

/// 0 or more, or the errno.
pub type Outcome = Result<i64, Errno>;

/// Calls a function of the face: less than 0 is a negative errno, and `errno` is set to match.
pub fn call<T: Into<i64>>(function: impl FnOnce() -> T) -> Outcome {
    let result = function().into();
    // SAFETY: this thread's errno.
    let errno = unsafe { *libc::__errno_location() };
    if result >= 0 {
        return Ok(result);
    }
    assert_eq!(i64::from(errno), -result, "errno doesn't match the result");
    Err(Errno::from_raw(errno))
}

/// Text for C.
pub fn text(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Text for C, or NULL.
pub fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_deref().map_or(ptr::null(), CStr::as_ptr)
}

/// An address for C, "ff02::7%eth0" with its scope.
pub fn storage(ip: &str) -> (sockaddr_storage, socklen_t) {
    let (ip, scope) = match ip.split_once('%') {
        Some((ip, zone)) => (ip, index(Some(zone))),
        None => (ip, 0),
    };
    let ip: IpAddr = ip.parse().unwrap();
    let len = if ip.is_ipv4() { size_of::<libc::sockaddr_in>() } else { size_of::<libc::sockaddr_in6>() };
    (sockaddr::scoped_storage(ip, scope), len as socklen_t)
}

fn index(interface: Option<&str>) -> c_uint {
    let Some(interface) = interface else { return 0 };
    let name = text(interface);
    // SAFETY: the name ends in a NUL.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "no interface {interface}");
    index
}

/// The two forms in which the face takes a group and an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Address,
}

pub const FORMS: [Form; 2] = [Form::Text, Form::Address];

type GroupText = unsafe extern "C" fn(c_int, *const c_char, *const c_char) -> c_int;
type GroupAddress = unsafe extern "C" fn(c_int, *const libc::sockaddr, socklen_t, c_uint) -> c_int;
type SourceText = unsafe extern "C" fn(c_int, *const c_char, *const c_char, *const c_char) -> c_int;
type SourceAddress =
    unsafe extern "C" fn(c_int, *const libc::sockaddr, socklen_t, *const libc::sockaddr, socklen_t, c_uint) -> c_int;

/// What is asked of a whole group.
#[derive(Clone, Copy, Debug)]
pub struct GroupCall(GroupText, GroupAddress);

pub const JOIN: GroupCall = GroupCall(castio_join_group, castio_join_group_addr);
pub const LEAVE: GroupCall = GroupCall(castio_leave_group, castio_leave_group_addr);

/// What is asked of one source of a group.
#[derive(Clone, Copy, Debug)]
pub struct SourceCall(SourceText, SourceAddress);

pub const JOIN_SOURCE: SourceCall = SourceCall(castio_join_source, castio_join_source_addr);
pub const LEAVE_SOURCE: SourceCall = SourceCall(castio_leave_source, castio_leave_source_addr);
pub const BLOCK_SOURCE: SourceCall = SourceCall(castio_block_source, castio_block_source_addr);
pub const UNBLOCK_SOURCE: SourceCall = SourceCall(castio_unblock_source, castio_unblock_source_addr);

/// A filter as the face tells it: mode, the sources that there was room for, how many there are.
pub type Filter = (c_int, Vec<String>, usize);

impl Form {
    pub fn group(self, call_: GroupCall, fd: &impl AsRawFd, group: &str, interface: Option<&str>) -> Outcome {
        let fd = fd.as_raw_fd();
        match self {
            Form::Text => {
                let (group, interface) = (text(group), interface.map(text));
                // SAFETY: text that ends in a NUL, or NULL.
                call(|| unsafe { (call_.0)(fd, group.as_ptr(), pointer(&interface)) })
            }
            Form::Address => {
                let ((group, len), interface) = (storage(group), index(interface));
                // SAFETY: an address of this length.
                call(|| unsafe { (call_.1)(fd, (&raw const group).cast(), len, interface) })
            }
        }
    }

    pub fn source(
        self,
        call_: SourceCall,
        fd: &impl AsRawFd,
        group: &str,
        source: &str,
        interface: Option<&str>,
    ) -> Outcome {
        let fd = fd.as_raw_fd();
        match self {
            Form::Text => {
                let (group, source, interface) = (text(group), text(source), interface.map(text));
                // SAFETY: text that ends in a NUL, or NULL.
                call(|| unsafe { (call_.0)(fd, group.as_ptr(), source.as_ptr(), pointer(&interface)) })
            }
            Form::Address => {
                let ((group, len), (source, source_len), interface) =
                    (storage(group), storage(source), index(interface));
                let (group, source) = ((&raw const group).cast(), (&raw const source).cast());
                // SAFETY: addresses of these lengths.
                call(|| unsafe { (call_.1)(fd, group, len, source, source_len, interface) })
            }
        }
    }

    pub fn set_filter<S: AsRef<str>>(
        self,
        fd: &impl AsRawFd,
        group: &str,
        interface: Option<&str>,
        mode: c_int,
        sources: &[S],
    ) -> Outcome {
        let (fd, count) = (fd.as_raw_fd(), sources.len());
        match self {
            Form::Text => {
                let (group, interface) = (text(group), interface.map(text));
                let sources: Vec<CString> = sources.iter().map(|source| text(source.as_ref())).collect();
                let list: Vec<*const c_char> = sources.iter().map(|source| source.as_ptr()).collect();
                let (group, interface) = (group.as_ptr(), pointer(&interface));
                // SAFETY: text that ends in a NUL, or NULL; a list of this length.
                call(|| unsafe { castio_set_source_filter(fd, group, interface, mode, list.as_ptr(), count) })
            }
            Form::Address => {
                let ((group, len), interface) = (storage(group), index(interface));
                let list: Vec<sockaddr_storage> = sources.iter().map(|source| storage(source.as_ref()).0).collect();
                let (group, list) = ((&raw const group).cast(), list.as_ptr());
                // SAFETY: an address of this length, and a list.
                call(|| unsafe { castio_set_source_filter_addr(fd, group, len, interface, mode, list, count) })
            }
        }
    }

    pub fn filter(
        self,
        fd: &impl AsRawFd,
        group: &str,
        interface: Option<&str>,
        capacity: usize,
    ) -> Result<Filter, Errno> {
        let fd = fd.as_raw_fd();
        let (mut mode, mut count) = (-1, usize::MAX);
        // One more than the library is told of, to see that it stays as it is.
        let mut list = vec![sockaddr::unspecified(); capacity + 1];
        let (sources, mode_at, count_at) = (list.as_mut_ptr(), &raw mut mode, &raw mut count);
        match self {
            Form::Text => {
                let (group, interface) = (text(group), interface.map(text));
                let (group, interface) = (group.as_ptr(), pointer(&interface));
                // SAFETY: text that ends in a NUL, or NULL, and places of these sizes.
                call(|| unsafe {
                    castio_get_source_filter(fd, group, interface, mode_at, sources, capacity, count_at)
                })?;
            }
            Form::Address => {
                let ((group, len), interface) = (storage(group), index(interface));
                let group = (&raw const group).cast();
                // SAFETY: an address of this length, and places of these sizes.
                call(|| unsafe {
                    castio_get_source_filter_addr(fd, group, len, interface, mode_at, sources, capacity, count_at)
                })?;
            }
        }
        assert!(sockaddr::from_storage(&list[capacity]).is_none(), "written behind the array");
        let addresses = list.iter().filter_map(sockaddr::from_storage).map(|address| address.ip().to_string());
        Ok((mode, addresses.collect(), count))
    }
}
