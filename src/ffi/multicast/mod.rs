//! Multicast, in the order of the header.

pub mod options;
pub mod membership;
pub mod membership_addr;
pub mod filter;
pub mod endpoint;
pub mod manager;
pub mod manager_state;

use std::ffi::{c_char, c_uint};
use std::net::IpAddr;

use libc::{sockaddr, socklen_t};

use super::convert;
use crate::address::{self, Scoped};
use crate::error::Result;
use crate::interface;
use crate::sys::multicast::Target;

/// A group and an interface in text.
///
/// # Safety
/// Both are NULL or end in a NUL.
unsafe fn target(group: *const c_char, interface: *const c_char) -> Result<Target> {
    // SAFETY: passed on.
    let (group, interface) = unsafe { (convert::text(group)?, convert::optional_text(interface)) };
    address::target(Scoped::parse(group)?, interface::resolve_optional(interface)?)
}

/// As [`target`], with the address that the interface is named by, if it is named by one.
///
/// # Safety
/// As there.
unsafe fn sender_target(group: *const c_char, interface: *const c_char) -> Result<(Target, Option<IpAddr>)> {
    // SAFETY: passed on.
    let (group, interface) = unsafe { (convert::text(group)?, convert::optional_text(interface)) };
    let meant = interface::meant_optional(interface)?;
    Ok((address::target(Scoped::parse(group)?, meant.index)?, meant.address))
}

/// A group and an interface in C's types.
///
/// # Safety
/// `len` bytes can be read at `group`, or it is NULL.
unsafe fn target_addr(group: *const sockaddr, len: socklen_t, ifindex: c_uint) -> Result<Target> {
    // SAFETY: passed on.
    let group = unsafe { convert::address(group, len)? };
    address::target(Scoped::from(group), ifindex)
}

/// A group, one of its sources and an interface in text.
///
/// # Safety
/// Each is NULL or ends in a NUL.
unsafe fn target_source(
    group: *const c_char,
    source: *const c_char,
    interface: *const c_char,
) -> Result<(Target, IpAddr)> {
    // SAFETY: passed on.
    let (target, source) = unsafe { (target(group, interface)?, convert::text(source)?) };
    address::with_source(target, Scoped::parse(source)?)
}

/// A group, one of its sources and an interface in C's types.
///
/// # Safety
/// Each address can be read for its length, or is NULL.
unsafe fn target_source_addr(
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> Result<(Target, IpAddr)> {
    // SAFETY: passed on.
    let (target, source) = unsafe { (target_addr(group, group_len, ifindex)?, convert::address(source, source_len)?) };
    address::with_source(target, Scoped::from(source))
}
