//! castio_diagnose_multicast as a test calls it, and what really arrives.

use std::ffi::{CStr, c_char, c_uint};
use std::os::fd::AsRawFd;
use std::ptr;

use castio::Errno;
use castio::ffi::diagnose::*;
use castio::sys::sockaddr;

use super::face::{call, pointer, storage, text};
use super::hosts::Host;
use super::udp::{Family, PORT, Udp};

pub const BROKEN: i32 = CASTIO_SEVERITY_BROKEN;
pub const LIKELY: i32 = CASTIO_SEVERITY_LIKELY;
pub const RISK: i32 = CASTIO_SEVERITY_RISK;
pub const UNCHECKED: i32 = CASTIO_SEVERITY_UNCHECKED;

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub severity: i32,
    pub cause: String,
    pub cure: String,
}

/// What is asked of a socket.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub group: &'a str,
    pub port: u16,
    pub source: Option<&'a str>,
    pub interface: Option<&'a str>,
    pub flags: c_uint,
}

impl<'a> Ask<'a> {
    /// Why a group doesn't arrive at [`PORT`] of eth0.
    pub fn receiver(group: &'a str) -> Ask<'a> {
        Ask { group, port: PORT, source: None, interface: Some("eth0"), flags: 0 }
    }

    /// Why what is sent there doesn't leave.
    pub fn sender(group: &'a str) -> Ask<'a> {
        Ask { flags: CASTIO_DIAGNOSE_SENDER, ..Ask::receiver(group) }
    }

    pub fn from(self, source: &'a str) -> Ask<'a> {
        Ask { source: Some(source), ..self }
    }

    pub fn on(self, interface: Option<&'a str>) -> Ask<'a> {
        Ask { interface, ..self }
    }

    /// On a host, as text and by address: both tell the same.
    pub fn of(self, host: &Host, fd: &impl AsRawFd) -> Vec<Found> {
        let fd = fd.as_raw_fd();
        host.run(|| {
            let found = self.as_text(fd).unwrap();
            let index = match self.interface {
                None => Some(0),
                Some(name) => castio::interface::index_of(name).ok(),
            };
            if let Some(index) = index {
                assert_eq!(self.as_address(fd, index).unwrap(), found);
            }
            found
        })
    }

    fn as_text(self, fd: i32) -> Result<Vec<Found>, Errno> {
        let (group, source, interface) = (text(self.group), self.source.map(text), self.interface.map(text));
        let (group, source, interface) = (group.as_ptr(), pointer(&source), pointer(&interface));
        // SAFETY: text that ends in a NUL, or NULL; an array of that length.
        findings(|out, room| unsafe {
            castio_diagnose_multicast(fd, group, self.port, source, interface, self.flags, out, room)
        })
    }

    fn as_address(self, fd: i32, index: u32) -> Result<Vec<Found>, Errno> {
        let ((group, len), source) = (storage(self.group), self.source.map(storage));
        let mut group = sockaddr::from_storage(&group).unwrap();
        group.set_port(self.port);
        let group = sockaddr::to_storage(group);
        let (group, flags) = ((&raw const group).cast(), self.flags);
        let (source, source_len) =
            source.as_ref().map_or((ptr::null(), 0), |(raw, len)| ((&raw const *raw).cast(), *len));
        // SAFETY: addresses of these lengths, or NULL; an array of that length.
        findings(|out, room| unsafe {
            castio_diagnose_multicast_addr(fd, group, len, source, source_len, index, flags, out, room)
        })
    }
}

fn findings(mut ask: impl FnMut(*mut castio_finding, usize) -> isize) -> Result<Vec<Found>, Errno> {
    // SAFETY: all zero is an element.
    let mut all = [unsafe { std::mem::zeroed::<castio_finding>() }; 32];
    all[0].struct_size = size_of::<castio_finding>();
    let count = call(|| ask(all.as_mut_ptr(), all.len()) as i64)? as usize;
    Ok(all[..count].iter().map(found).collect())
}

fn found(finding: &castio_finding) -> Found {
    assert_eq!(finding.struct_size, size_of::<castio_finding>());
    let (cause, cure) = (words(&finding.cause), words(&finding.cure));
    for text in [&cause, &cure] {
        assert!(!text.is_empty() && !text.contains(['{', '}', '\n']) && text.len() < 319, "{text:?}");
    }
    Found { name: name(finding.code), severity: finding.severity, cause, cure }
}

pub fn name(code: i32) -> String {
    // SAFETY: a static string that ends in a NUL.
    unsafe { CStr::from_ptr(castio_finding_name(code)) }.to_str().unwrap().to_owned()
}

fn words(place: &[c_char; 320]) -> String {
    let bytes = place.map(|byte| byte as u8);
    CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap().to_owned()
}

/// The worst finding is this one, and says this. Gives it back.
pub fn first(found: &[Found], name: &str, severity: i32, says: &[&str]) -> Found {
    let first = found.first().unwrap_or_else(|| panic!("nothing found, and not {name}")).clone();
    assert_eq!((first.name.as_str(), first.severity), (name, severity), "{found:#?}");
    assert!(found.is_sorted_by(|a, b| a.severity >= b.severity), "{found:#?}");
    for word in says {
        assert!(first.cause.contains(word), "{word:?} in {found:#?}");
    }
    first
}

/// First, and no other.
pub fn only(found: &[Found], name: &str, severity: i32, says: &[&str]) -> Found {
    assert_eq!(found.len(), 1, "{found:#?}");
    first(found, name, severity, says)
}

pub fn healthy(found: &[Found]) {
    assert!(found.is_empty(), "{found:#?}");
}

/// A datagram of another host to the group comes to the socket.
pub fn arrives(from: &Host, socket: &Udp, group: &str) {
    send(from, group, "it arrives");
    assert_eq!(socket.receive().text, "it arrives");
}

/// One that doesn't, while another socket of the same host, which is well, gets it.
pub fn is_lost(from: &Host, host: &Host, socket: &Udp, group: &str) {
    let family = if group.contains(':') { Family::V6 } else { Family::V4 };
    let witness = host.run(|| Udp::new(family));
    for option in [libc::SO_REUSEADDR, libc::SO_REUSEPORT] {
        witness.set(libc::SOL_SOCKET, option, 1).unwrap();
    }
    witness.bind(std::net::SocketAddr::new(group.parse().unwrap(), PORT)).unwrap();
    join(host, &witness, group, "eth0");
    // What came first has been everywhere when the second is here.
    for text in ["it is lost", "so is this"] {
        send(from, group, text);
        assert_eq!(witness.receive().text, text);
    }
    assert_eq!(socket.waiting(), [""; 0]);
}

/// From eth0, with a TTL that crosses a router.
pub fn send(from: &Host, group: &str, text: &str) {
    let family = if group.contains(':') { Family::V6 } else { Family::V4 };
    from.run(|| {
        let socket = Udp::new(family);
        castio::multicast::options::set_interface(std::os::fd::AsFd::as_fd(&*socket), index("eth0")).unwrap();
        socket.send(text, group);
    });
}

fn index(name: &str) -> u32 {
    castio::interface::index_of(name).unwrap()
}

pub fn join(host: &Host, socket: &Udp, group: &str, interface: &str) {
    host.run(|| super::face::Form::Text.group(super::face::JOIN, socket, group, Some(interface))).unwrap();
}

pub fn join_source(host: &Host, socket: &Udp, group: &str, source: &str, interface: &str) {
    let form = super::face::Form::Text;
    host.run(|| form.source(super::face::JOIN_SOURCE, socket, group, source, Some(interface))).unwrap();
}

/// Bound to the wildcard address and [`PORT`], shared with others.
pub fn shared(host: &Host, family: Family, options: &[i32]) -> Udp {
    let socket = host.run(|| Udp::new(family));
    for option in options {
        socket.set(libc::SOL_SOCKET, *option, 1).unwrap();
    }
    socket.bind(std::net::SocketAddr::new(family.wildcard(), PORT)).unwrap();
    socket
}

/// At the wildcard address, joined on eth0: as it should be.
pub fn well(host: &Host, family: Family, group: &str) -> Udp {
    let socket = host.run(|| Udp::receiver(family));
    join(host, &socket, group, "eth0");
    socket
}
