//! Joining and leaving groups and sources, by socket address and interface index.

use std::ffi::{c_int, c_uint};

use libc::{sockaddr, socklen_t};

use super::super::convert::descriptor;
use super::super::guard::guard;
use super::{target_addr, target_source_addr};
use crate::multicast::membership;

/// castio_join_group by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6; its port doesn't count. A
///   sin6_scope_id must agree with ifindex.
/// - ifindex: the interface's index; 0 is the kernel's choice.
///
/// Returns 0. Errors, threads as castio_join_group; -EINVAL also for a length that is too short, and
/// -EAFNOSUPPORT for an address that is neither IPv4 nor IPv6. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_join_group_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    // SAFETY: NULL or addresses of these lengths, as the header asks.
    guard(|| membership::join(descriptor(fd)?, unsafe { target_addr(group, group_len, ifindex)? }))
}

/// castio_leave_group by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6; its port doesn't count. A
///   sin6_scope_id must agree with ifindex.
/// - ifindex: the interface's index; 0 is the kernel's choice.
///
/// Returns 0. Errors, threads as castio_leave_group; -EINVAL also for a length that is too short, and
/// -EAFNOSUPPORT for an address that is neither IPv4 nor IPv6. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_leave_group_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    // SAFETY: NULL or addresses of these lengths, as the header asks.
    guard(|| membership::leave(descriptor(fd)?, unsafe { target_addr(group, group_len, ifindex)? }))
}

/// castio_join_source by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6; its port doesn't count. A
///   sin6_scope_id must agree with ifindex.
/// - source, source_len: likewise.
/// - ifindex: the interface's index; 0 is the kernel's choice.
///
/// Returns 0. Errors, threads as castio_join_source; -EINVAL also for a length that is too short, and
/// -EAFNOSUPPORT for an address that is neither IPv4 nor IPv6. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_join_source_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (target, source) = unsafe { target_source_addr(group, group_len, source, source_len, ifindex)? };
        membership::join_source(descriptor(fd)?, target, source)
    })
}

/// castio_leave_source by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6; its port doesn't count. A
///   sin6_scope_id must agree with ifindex.
/// - source, source_len: likewise.
/// - ifindex: the interface's index; 0 is the kernel's choice.
///
/// Returns 0. Errors, threads as castio_leave_source; -EINVAL also for a length that is too short, and
/// -EAFNOSUPPORT for an address that is neither IPv4 nor IPv6. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_leave_source_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (target, source) = unsafe { target_source_addr(group, group_len, source, source_len, ifindex)? };
        membership::leave_source(descriptor(fd)?, target, source)
    })
}

/// castio_block_source by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6; its port doesn't count. A
///   sin6_scope_id must agree with ifindex.
/// - source, source_len: likewise.
/// - ifindex: the interface's index; 0 is the kernel's choice.
///
/// Returns 0. Errors, threads as castio_block_source; -EINVAL also for a length that is too short, and
/// -EAFNOSUPPORT for an address that is neither IPv4 nor IPv6. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_block_source_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (target, source) = unsafe { target_source_addr(group, group_len, source, source_len, ifindex)? };
        membership::block_source(descriptor(fd)?, target, source)
    })
}

/// castio_unblock_source by socket address.
///
/// - group, group_len: a struct sockaddr_in or sockaddr_in6; its port doesn't count. A
///   sin6_scope_id must agree with ifindex.
/// - source, source_len: likewise.
/// - ifindex: the interface's index; 0 is the kernel's choice.
///
/// Returns 0. Errors, threads as castio_unblock_source; -EINVAL also for a length that is too short, and
/// -EAFNOSUPPORT for an address that is neither IPv4 nor IPv6. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_unblock_source_addr(
    fd: c_int,
    group: *const sockaddr,
    group_len: socklen_t,
    source: *const sockaddr,
    source_len: socklen_t,
    ifindex: c_uint,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or addresses of these lengths, as the header asks.
        let (target, source) = unsafe { target_source_addr(group, group_len, source, source_len, ifindex)? };
        membership::unblock_source(descriptor(fd)?, target, source)
    })
}
