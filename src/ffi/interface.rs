//! The host's interfaces.

use std::ffi::{c_char, c_int, c_uint};

use libc::{sockaddr_storage, ssize_t};

use super::convert::{self, Place};
use super::guard::guard;
use crate::error::Result;
use crate::interface::{self, Entry};
use crate::sys::interface::NAME_SIZE;
use crate::sys::sockaddr;

/// An interface with one of its addresses: see castio_list_interfaces().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_interface {
    /// sizeof(struct castio_interface), set by the caller in the first element, by the library in
    /// the others.
    pub struct_size: usize,
    /// The interface's index.
    pub index: c_uint,
    /// Its flags, IFF_UP and others of <net/if.h>.
    pub flags: c_uint,
    /// Its name; ends in a NUL.
    pub name: [c_char; 16],
    /// 1 if multicast works on it (IFF_MULTICAST), else 0.
    pub can_multicast: c_int,
    /// 1 if `broadcast` holds an address, else 0.
    pub can_broadcast: c_int,
    /// The length of the address's network part in bits; 0 without an address.
    pub prefix_length: c_uint,
    /// The scope of `address`, for sin6_scope_id; 0 if it needs none.
    pub scope_id: c_uint,
    /// The address, IPv4 or IPv6, or family AF_UNSPEC if the interface has none.
    pub address: sockaddr_storage,
    /// The netmask, likewise.
    pub netmask: sockaddr_storage,
    /// The directed broadcast address of its network, which is the peer's where it has a peer; AF_UNSPEC where there
    /// is none.
    pub broadcast: sockaddr_storage,
}

const _: () = assert!(NAME_SIZE == 16, "the header can't name NAME_SIZE");

/// Lists the interfaces, in the order of their indices, with one element for each IPv4 and IPv6
/// address: an interface with three addresses stands there three times, one without any once. By rtnetlink; where a
/// sandbox refuses that, by ioctl() and /proc/net. There an IPv4 address under a label of its own isn't found.
///
/// - out: an array; out[0].struct_size set to sizeof out[0]. NULL with capacity 0 asks for the
///   number alone.
/// - capacity: how many elements there is room for.
///
/// Returns how many there are, which may be more than the capacity; the first ones are filled in.
///
/// Errors:
/// -EFAULT: out is NULL and capacity isn't 0. -EINVAL: struct_size is too small, misaligned,
/// or over SSIZE_MAX in all.
/// -EPERM: this process may open neither a netlink socket nor ask by ioctl() (a seccomp filter).
/// -ENOMEM, -ENOBUFS: there isn't enough memory. -EMFILE, -ENFILE: no descriptor left.
///
/// Any thread. Since 0.1.0. See rtnetlink(7), netdevice(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_list_interfaces(out: *mut castio_interface, capacity: usize) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or so many structs of the size that the first one says, as the header asks.
        let mut out = unsafe { convert::Filled::new(out, capacity)? };
        let entries = interface::list()?;
        entries.iter().for_each(|entry| out.push(element(entry, out.struct_size())));
        Ok(entries.len())
    })
}

fn element(entry: &Entry, struct_size: usize) -> castio_interface {
    let none = sockaddr::unspecified();
    let mut element = castio_interface {
        struct_size,
        index: entry.interface.index,
        flags: entry.interface.flags.0,
        name: entry.interface.name.map(|byte| byte as c_char),
        can_multicast: c_int::from(entry.interface.is_multicast()),
        can_broadcast: 0,
        prefix_length: 0,
        scope_id: 0,
        address: none,
        netmask: none,
        broadcast: none,
    };
    if let Some(address) = &entry.address {
        element.address = sockaddr::scoped_storage(address.ip, address.scope);
        element.netmask = sockaddr::ip_storage(address.netmask());
        element.prefix_length = address.prefix.into();
        element.scope_id = address.scope;
    }
    if let Some(broadcast) = entry.broadcast() {
        element.broadcast = sockaddr::ip_storage(broadcast.into());
        element.can_broadcast = 1;
    }
    element
}

/// The index of an interface: ioctl(SIOCGIFINDEX), and rtnetlink for long names and addresses. A text means the same
/// interface in every function of this library.
///
/// - interface: a name "eth0", or an alternative name of up to 127 characters (ip link property add); else one of
///   its addresses "192.0.2.2", with a scope "fe80::1%eth0" if several have it; else its index "3". A text of digits
///   that is the name of one is that one. The label of an address is no name.
/// - out: written with the index, for the functions that end in _addr or _index.
///
/// Returns 0.
///
/// Errors:
/// -ENODEV: there is no such interface. -EADDRNOTAVAIL: several interfaces have that address. -EINVAL: an empty text.
/// -EPERM: this process may ask neither by ioctl() nor by netlink (a seccomp filter).
/// -EFAULT: interface or out is NULL. -ENOMEM: there isn't enough memory. -EMFILE, -ENFILE: no descriptor left.
///
/// Any thread. Since 0.1.0. See netdevice(7), rtnetlink(7), ip-link(8).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_interface_index(interface: *const c_char, out: *mut c_uint) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let interface = unsafe { convert::text(interface)? };
        place.put(interface::resolve(interface)?);
        Result::Ok(())
    })
}
