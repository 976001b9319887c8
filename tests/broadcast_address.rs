//! Broadcast addresses: computed from an interface or from text.

mod support;

use std::net::Ipv4Addr;
use std::ptr;

use castio::Errno;
use castio::ffi::broadcast::*;
use castio::sys::sockaddr;
use support::face::{call, text};
use support::hosts;
use support::networks::{address_of, without_broadcast};

fn directed(network: &str) -> Result<String, Errno> {
    let (network, mut out) = (text(network), sockaddr::in_addr(Ipv4Addr::UNSPECIFIED));
    // SAFETY: as above.
    call(|| unsafe { castio_directed_broadcast(network.as_ptr(), &raw mut out) })?;
    Ok(sockaddr::from_in_addr(out).to_string())
}

#[test]
fn the_directed_address_is_computed_whatever_was_assigned() {
    hosts::test(|network| {
        let host = network.host("host");
        host.ip("link add plain type veth peer name other\nlink set plain up\nlink set other up\n\
             address add 10.1.0.1/24 dev plain\n\
             address add 10.2.200.1/20 dev plain\n\
             address add 10.3.0.1/24 brd 10.3.0.77 dev other\n\
             address add 10.4.0.1/25 brd + dev other label other:4");
        let index = host.index("plain").to_string();
        let expected = [
            // Assigned without one, with another, and on two networks of one interface.
            ("plain", "10.1.0.255"),
            ("10.1.0.1", "10.1.0.255"),
            ("10.2.200.1", "10.2.207.255"),
            (&index, "10.1.0.255"),
            ("other", "10.3.0.255"),
            ("10.3.0.1", "10.3.0.255"),
            ("10.4.0.1", "10.4.0.127"),
        ];
        for (interface, address) in expected {
            assert_eq!(address_of(&host, interface), Ok(address.to_owned()), "{interface}");
        }
    });
}

#[test]
fn an_interface_without_a_broadcast_address_says_so() {
    hosts::test(|network| {
        let host = without_broadcast(network);
        for none in ["bare", "fd01::1", "pair", "10.1.0.0"] {
            assert_eq!(address_of(&host, none), Err(Errno::EADDRNOTAVAIL), "{none}");
        }
        host.ip("address flush dev pair\naddress add 10.1.0.1/32 dev pair");
        assert_eq!(address_of(&host, "pair"), Err(Errno::EADDRNOTAVAIL));
        // The first network that has one.
        host.ip("address add 10.2.0.1/24 dev pair");
        assert_eq!(address_of(&host, "pair"), Ok("10.2.0.255".to_owned()));
        assert_eq!(address_of(&host, "10.1.0.1"), Err(Errno::EADDRNOTAVAIL));
        for missing in ["eth9", "999", "10.1.0.99"] {
            assert_eq!(address_of(&host, missing), Err(Errno::ENODEV), "{missing}");
        }
        assert_eq!(address_of(&host, ""), Err(Errno::EINVAL));
    });
}

#[test]
fn a_network_in_text_has_a_directed_address() {
    let good = [
        ("192.12.34.7/24", "192.12.34.255"),
        ("192.12.34.7/255.255.255.0", "192.12.34.255"),
        ("10.1.2.3/8", "10.255.255.255"),
        ("10.1.2.3/255.240.0.0", "10.15.255.255"),
        ("10.1.2.0/30", "10.1.2.3"),
        ("10.1.2.3/0", "255.255.255.255"),
        ("10.1.2.3/0.0.0.0", "255.255.255.255"),
    ];
    for (network, expected) in good {
        assert_eq!(directed(network), Ok(expected.to_owned()), "{network}");
    }
    for none in ["10.1.2.3/31", "10.1.2.3/32", "10.1.2.3/255.255.255.254", "10.1.2.3/255.255.255.255"] {
        assert_eq!(directed(none), Err(Errno::EADDRNOTAVAIL), "{none}");
    }
    let wrong = [
        "",
        "/",
        "/24",
        "10.1.2.3",
        "10.1.2.3/",
        "10.1.2.3/33",
        "10.1.2.3/-1",
        "10.1.2.3/+8",
        "10.1.2.3/ 8",
        "10.1.2.3/8 ",
        "10.1.2/24",
        "10.1.2.3/24/24",
        "10.1.2.3/255.0.255.0",
        "10.1.2.3/0.0.0.255",
        "10.1.2.3/4294967304",
        "fd01::1/64",
        "eth0/24",
    ];
    for network in wrong {
        assert_eq!(directed(network), Err(Errno::EINVAL), "{network:?}");
    }
    let mut out = sockaddr::in_addr(Ipv4Addr::UNSPECIFIED);
    // SAFETY: NULL is checked.
    let results = unsafe {
        [
            call(|| castio_directed_broadcast(ptr::null(), &raw mut out)),
            call(|| castio_directed_broadcast(c"10.1.2.3/24".as_ptr(), ptr::null_mut())),
            call(|| castio_broadcast_address(ptr::null(), &raw mut out)),
            call(|| castio_broadcast_address(c"lo".as_ptr(), ptr::null_mut())),
        ]
    };
    assert_eq!(results, [Err(Errno::EFAULT); 4]);
    assert_eq!(out.s_addr, 0, "nothing is written on failure");
}
