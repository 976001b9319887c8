//! Socket addresses between Rust's types and C's.

use std::mem::{MaybeUninit, offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{sa_family_t, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};

use crate::error::{Errno, Result};

/// An address in the kernel's form.
#[derive(Clone, Copy)]
pub struct SocketAddress {
    storage: sockaddr_storage,
    len: socklen_t,
}

impl SocketAddress {
    /// Lets a system call write the address and its length.
    pub(super) fn read(call: impl FnOnce(*mut sockaddr, *mut socklen_t) -> Result<()>) -> Result<SocketAddress> {
        let room = size_of::<sockaddr_storage>() as socklen_t;
        let mut address = SocketAddress { storage: unspecified(), len: room };
        call((&raw mut address.storage).cast(), &raw mut address.len)?;
        // The length is the whole address's, had there been no room.
        address.len = address.len.min(room);
        Ok(address)
    }

    /// All of it, zero behind its end, and its length.
    pub fn storage(&self) -> (sockaddr_storage, socklen_t) {
        (self.storage, self.len)
    }

    /// If it is IPv4 or IPv6.
    pub fn internet(&self) -> Option<SocketAddr> {
        from_storage(&self.storage)
    }

    /// The name of a UNIX socket (unix(7)): a path that ends in a NUL, an abstract name that begins
    /// with one, or nothing.
    pub fn unix_name(&self) -> Option<Vec<u8>> {
        if i32::from(self.storage.ss_family) != libc::AF_UNIX {
            return None;
        }
        let name = (offset_of!(libc::sockaddr_un, sun_path)..self.len as usize).map(|at| {
            // SAFETY: the length is at most that of the storage, whose bytes are all initialised.
            unsafe { (&raw const self.storage).cast::<u8>().add(at).read() }
        });
        Some(name.collect())
    }

    /// As C has it, for as long as this one stays where it is.
    pub fn as_raw(&self) -> (*const sockaddr, socklen_t) {
        ((&raw const self.storage).cast(), self.len)
    }
}

impl From<SocketAddr> for SocketAddress {
    fn from(address: SocketAddr) -> Self {
        let len = match address {
            SocketAddr::V4(_) => size_of::<sockaddr_in>(),
            SocketAddr::V6(_) => size_of::<sockaddr_in6>(),
        };
        SocketAddress { storage: to_storage(address), len: len as socklen_t }
    }
}

/// An IP address and port in the kernel's form, in as few bytes as it takes: for long lists.
#[derive(Clone, Copy)]
pub struct CompactAddress {
    /// A sockaddr_in6, or a sockaddr_in in its place.
    raw: MaybeUninit<sockaddr_in6>,
    len: socklen_t,
}

impl CompactAddress {
    pub(super) fn as_raw(&self) -> (*const sockaddr, socklen_t) {
        (self.raw.as_ptr().cast(), self.len)
    }
}

impl From<SocketAddr> for CompactAddress {
    fn from(address: SocketAddr) -> Self {
        let (storage, len) = SocketAddress::from(address).storage();
        let mut raw = MaybeUninit::<sockaddr_in6>::zeroed();
        // SAFETY: `len` is at most the size of a sockaddr_in6, and the storage is larger.
        unsafe {
            std::ptr::copy_nonoverlapping(
                (&raw const storage).cast::<u8>(),
                raw.as_mut_ptr().cast::<u8>(),
                (len as usize).min(size_of::<sockaddr_in6>()),
            );
        }
        CompactAddress { raw, len }
    }
}

/// A `sockaddr_storage` with this address, zero elsewhere.
pub fn to_storage(address: SocketAddr) -> sockaddr_storage {
    let mut storage = unspecified();
    match address {
        SocketAddr::V4(v4) => {
            let raw = sockaddr_in {
                sin_family: libc::AF_INET as sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: in_addr(*v4.ip()),
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_storage is large enough and aligned for every address.
            unsafe { (&raw mut storage).cast::<sockaddr_in>().write(raw) }
        }
        SocketAddr::V6(v6) => {
            let raw = sockaddr_in6 {
                sin6_family: libc::AF_INET6 as sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<sockaddr_in6>().write(raw) }
        }
    }
    storage
}

/// A `sockaddr_storage` that holds no address: all zero, family AF_UNSPEC.
pub fn unspecified() -> sockaddr_storage {
    // SAFETY: all zero is an address of family AF_UNSPEC.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The address of an IPv4 or IPv6 sockaddr. `EINVAL` if it is shorter than its family needs,
/// `EAFNOSUPPORT` for another family.
///
/// # Safety
/// `len` bytes can be read at `address`, which need not be aligned.
pub unsafe fn from_raw(address: *const sockaddr, len: socklen_t) -> Result<SocketAddr> {
    let len = len as usize;
    if len < size_of::<sa_family_t>() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: there is room for the family, which comes first.
    let family = unsafe { address.cast::<sa_family_t>().read_unaligned() };
    match i32::from(family) {
        libc::AF_INET if len >= size_of::<sockaddr_in>() => {
            // SAFETY: there is room for all of it.
            let raw = unsafe { address.cast::<sockaddr_in>().read_unaligned() };
            let ip = from_in_addr(raw.sin_addr);
            Ok(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(raw.sin_port))))
        }
        libc::AF_INET6 if len >= size_of::<sockaddr_in6>() => {
            // SAFETY: there is room for all of it.
            let raw = unsafe { address.cast::<sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            let port = u16::from_be(raw.sin6_port);
            Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id)))
        }
        libc::AF_INET | libc::AF_INET6 => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The address in a `sockaddr_storage`, if it is IPv4 or IPv6.
pub fn from_storage(storage: &sockaddr_storage) -> Option<SocketAddr> {
    let len = size_of::<sockaddr_storage>() as socklen_t;
    // SAFETY: the reference is valid for all of the storage.
    unsafe { from_raw((&raw const *storage).cast(), len) }.ok()
}

/// As C has it.
pub fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) }
}

/// From C's form.
pub fn from_in_addr(raw: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from(raw.s_addr.to_ne_bytes())
}

/// An address without a port, in C's form.
pub fn ip_storage(ip: IpAddr) -> sockaddr_storage {
    to_storage(SocketAddr::new(ip, 0))
}

/// An address without a port, in C's form, with the scope of an IPv6 one.
pub fn scoped_storage(ip: IpAddr, scope: u32) -> sockaddr_storage {
    to_storage(match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, 0),
        IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, 0, 0, scope)),
    })
}

/// How long the address of a family is.
pub fn ip_len(ip: IpAddr) -> usize {
    match ip {
        IpAddr::V4(_) => size_of::<sockaddr_in>(),
        IpAddr::V6(_) => size_of::<sockaddr_in6>(),
    }
}
