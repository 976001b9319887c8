//! Networks for broadcast, and the address to send to.

use std::net::Ipv4Addr;

use castio::Errno;
use castio::ffi::broadcast::castio_broadcast_address;
use castio::sys::sockaddr;

use super::face::{call, text};
use super::hosts::{Host, Network};

/// The directed broadcast address of an interface.
pub fn address_of(host: &Host, interface: &str) -> Result<String, Errno> {
    let (interface, mut out) = (text(interface), sockaddr::in_addr(Ipv4Addr::UNSPECIFIED));
    // SAFETY: text that ends in a NUL, and a place.
    host.run(|| call(|| unsafe { castio_broadcast_address(interface.as_ptr(), &raw mut out) }))?;
    Ok(sockaddr::from_in_addr(out).to_string())
}

/// A host whose interfaces have no broadcast address: "bare" has no IPv4, "pair" a /31.
pub fn without_broadcast(network: &Network) -> Host {
    let host = network.host("host");
    host.ip("link add bare type veth peer name pair\nlink set bare up\nlink set pair up\n\
         address add fd01::1/64 dev bare nodad\naddress add 10.1.0.0/31 dev pair");
    host
}
