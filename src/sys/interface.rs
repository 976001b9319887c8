//! The host's interfaces by ioctl(2): netdevice(7). For where rtnetlink(7) is refused, and for one
//! name or index, which it finds sooner.

use std::ffi::c_void;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{done, sockaddr, value};
use crate::error::{Errno, Result};

/// Room for an interface's name and its NUL (IF_NAMESIZE).
pub const NAME_SIZE: usize = libc::IF_NAMESIZE;

/// An interface's name, padded with NULs.
pub type Name = [u8; NAME_SIZE];

/// The interface flags (`IFF_*`, netdevice(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Switched on.
    pub const UP: Flags = Flags(libc::IFF_UP as u32);
    /// Has broadcasts.
    pub const BROADCAST: Flags = Flags(libc::IFF_BROADCAST as u32);
    /// Ends on this host.
    pub const LOOPBACK: Flags = Flags(libc::IFF_LOOPBACK as u32);
    /// Has a carrier, as far as the driver knows.
    pub const RUNNING: Flags = Flags(libc::IFF_RUNNING as u32);
    /// Has a carrier (since Linux 2.6.17).
    pub const LOWER_UP: Flags = Flags(0x1_0000);
    /// Has multicast.
    pub const MULTICAST: Flags = Flags(libc::IFF_MULTICAST as u32);

    /// Whether all of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// One of either.
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// A name with its padding. `ENODEV` if it is longer than any interface's.
pub fn padded(name: &[u8]) -> Result<Name> {
    let mut padded: Name = [0; NAME_SIZE];
    if name.len() >= NAME_SIZE {
        return Err(Errno::ENODEV);
    }
    for (to, from) in padded.iter_mut().zip(name) {
        *to = *from;
    }
    Ok(padded)
}

/// A socket to ask by.
pub struct Asker(OwnedFd);

/// `struct ifreq`: 16 bytes of name, and a union with room for more than is used here.
#[repr(C, align(8))]
struct Request {
    name: Name,
    value: Value,
}

#[repr(C)]
union Value {
    address: libc::sockaddr_in,
    number: i32,
    flags: i16,
    room: [u8; 24],
}

const _: () = assert!(size_of::<Request>() >= size_of::<libc::ifreq>());

impl Request {
    fn of(name: Name) -> Request {
        Request { name, value: Value { room: [0; 24] } }
    }
}

/// An IPv4 address as SIOCGIFCONF tells it: under its label, which is its interface's name or is not.
#[derive(Clone, Copy, Debug)]
pub struct Labelled {
    /// The label, padded with NULs.
    pub label: Name,
    /// The address.
    pub ip: Ipv4Addr,
}

impl Asker {
    /// Of whichever family this process may have. Only IPv4's knows IPv4 addresses.
    pub fn open() -> Result<Asker> {
        let mut first = None;
        for domain in [libc::AF_INET, libc::AF_UNIX, libc::AF_INET6] {
            // SAFETY: socket takes no pointer.
            match value(unsafe { libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }) {
                // SAFETY: the kernel just made it, and nobody else has it.
                Ok(fd) => return Ok(Asker(unsafe { OwnedFd::from_raw_fd(fd) })),
                Err(error @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS)) => return Err(error),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or(Errno::EAFNOSUPPORT))
    }

    fn ask(&self, what: libc::c_ulong, request: &mut Request) -> Result<()> {
        // SAFETY: the request is as large as struct ifreq, and the requests used here write nothing else.
        done(unsafe { libc::ioctl(self.0.as_raw_fd(), what as _, (&raw mut *request).cast::<c_void>()) })
    }

    /// SIOCGIFINDEX. `ENODEV` if no interface has that name, or that alternative name.
    pub fn index_of(&self, name: Name) -> Result<u32> {
        let mut request = Request::of(name);
        self.ask(libc::SIOCGIFINDEX, &mut request)?;
        // SAFETY: the kernel has written the number.
        Ok(unsafe { request.value.number }.unsigned_abs())
    }

    /// SIOCGIFNAME. `ENODEV` if no interface has that index.
    pub fn name_of(&self, index: u32) -> Result<Name> {
        let mut request = Request::of([0; NAME_SIZE]);
        request.value.number = i32::try_from(index).map_err(|_| Errno::ENODEV)?;
        self.ask(libc::SIOCGIFNAME, &mut request)?;
        Ok(request.name)
    }

    /// SIOCGIFFLAGS: the lower 16.
    pub fn flags(&self, name: Name) -> Result<Flags> {
        let mut request = Request::of(name);
        self.ask(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has written the flags.
        Ok(Flags(u32::from(unsafe { request.value.flags } as u16)))
    }

    /// SIOCGIFMTU
    pub fn mtu(&self, name: Name) -> Result<u32> {
        let mut request = Request::of(name);
        self.ask(libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: the kernel has written the number.
        Ok(unsafe { request.value.number }.unsigned_abs())
    }

    /// SIOCGIFADDR: the address itself, if it is on the interface that its label names; else another one's.
    pub fn address(&self, one: Labelled) -> Result<Ipv4Addr> {
        self.of_address(libc::SIOCGIFADDR, one)
    }

    /// SIOCGIFNETMASK
    pub fn netmask(&self, one: Labelled) -> Result<Ipv4Addr> {
        self.of_address(libc::SIOCGIFNETMASK, one)
    }

    /// SIOCGIFDSTADDR: the address that names the network, its own or that of the peer.
    pub fn network(&self, one: Labelled) -> Result<Ipv4Addr> {
        self.of_address(libc::SIOCGIFDSTADDR, one)
    }

    fn of_address(&self, what: libc::c_ulong, one: Labelled) -> Result<Ipv4Addr> {
        let mut request = Request::of(one.label);
        // SAFETY: all zero is an address.
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_addr = sockaddr::in_addr(one.ip);
        request.value.address = address;
        self.ask(what, &mut request)?;
        // SAFETY: it holds an address, before the call and behind it.
        Ok(sockaddr::from_in_addr(unsafe { request.value.address.sin_addr }))
    }

    /// SIOCGIFCONF: all IPv4 addresses.
    pub fn ipv4_addresses(&self) -> Result<Vec<Labelled>> {
        let mut room = 64;
        loop {
            let found = self.configured(room)?;
            if found.len() < room {
                return Ok(found);
            }
            room *= 4;
        }
    }

    fn configured(&self, room: usize) -> Result<Vec<Labelled>> {
        // SAFETY: all zero is a request.
        let mut all: Vec<libc::ifreq> = vec![unsafe { std::mem::zeroed() }; room];
        // SAFETY: all zero is a list without room.
        let mut list: libc::ifconf = unsafe { std::mem::zeroed() };
        list.ifc_len = (room * size_of::<libc::ifreq>()) as i32;
        list.ifc_ifcu.ifcu_req = all.as_mut_ptr();
        // SAFETY: there is room for so many requests.
        done(unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCGIFCONF as _, &raw mut list) })?;
        all.truncate(list.ifc_len.unsigned_abs() as usize / size_of::<libc::ifreq>());
        Ok(all.iter().map(labelled).collect())
    }
}

fn labelled(request: &libc::ifreq) -> Labelled {
    let label = request.ifr_name.map(|byte| byte as u8);
    // SAFETY: SIOCGIFCONF gives IPv4 addresses alone; a sockaddr has room for one.
    let address = unsafe { (&raw const request.ifr_ifru).cast::<libc::sockaddr_in>().read_unaligned() };
    Labelled { label, ip: sockaddr::from_in_addr(address.sin_addr) }
}
