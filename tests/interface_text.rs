//! Which interface a text means: the same one in every function, and in a sandbox too.

mod support;

use std::ffi::c_int;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use castio::Errno;
use castio::ffi::broadcast::{castio_enable_broadcast, castio_send_broadcast, castio_send_limited_broadcast};
use castio::ffi::diagnose::castio_diagnose_multicast;
use castio::ffi::interface::{castio_interface, castio_interface_index, castio_list_interfaces};
use castio::ffi::multicast::endpoint::{castio_open_receiver, castio_open_sender};
use castio::ffi::multicast::filter::CASTIO_FILTER_INCLUDE;
use castio::ffi::multicast::options::{castio_get_multicast_interface, castio_set_multicast_interface};
use castio::sys::sockaddr;
use support::face::{Form, GroupCall, JOIN, JOIN_SOURCE, LEAVE, Outcome, call, text};
use support::hosts::{self, Host, Network};
use support::memberships::Membership;
use support::networks::address_of;
use support::refused::{IOCTL, NETLINK, without};
use support::udp::{Family, Udp};

const GROUP: &str = "239.1.2.3";
const LONG_NAME: &str = "enx0123456789abcdef-the-third-on-the-left";

/// A host with interfaces that are hard to tell apart, up to index 80: "west" has all names and labels, "100" and "2"
/// are names, and two have the same addresses.
fn puzzle(network: &Network) -> Host {
    let host = network.host("puzzle");
    host.ip(&format!(
        "link add west type veth peer name pwest\nlink add 100 type veth peer name p100\nlink add 2 index 77 type veth peer \
         name p2 index 78\nlink set west up\nlink set pwest up\nlink set 100 up\nlink set p100 up\nlink set 2 up\nlink set \
         p2 up\n\
         link property add dev west altname enp3s0\nlink property add dev west altname {LONG_NAME}\n\
         address add 10.1.0.1/24 dev west\naddress add 10.2.0.1/24 dev west label mgmt\n\
         address add 10.3.0.1/24 dev west label 100\naddress add 10.4.0.1/24 dev west label west:4\n\
         address add 10.100.0.1/24 dev 100\naddress add 10.77.0.1/24 dev 2\n\
         address add 10.9.0.1/32 dev west\naddress add 10.9.0.1/32 dev 100\n\
         address add fd01::1/64 dev west nodad\naddress add fe80::7/64 dev west nodad\n\
         address add fe80::7/64 dev 100 nodad"
    ));
    ["west", "100", "2"].iter().for_each(|name| host.wait_for_link(name));
    host
}

/// Each text, with the interface that it means or the error that it is.
fn meanings(host: &Host) -> Vec<(String, Result<u32, Errno>)> {
    let [west, hundred, two] = ["west", "100", "2"].map(|name| host.index(name));
    let (no, several) = (Err(Errno::ENODEV), Err(Errno::EADDRNOTAVAIL));
    let digits = west.to_string();
    let texts = [
        ("west", Ok(west)),
        ("enp3s0", Ok(west)),
        (LONG_NAME, Ok(west)),
        ("100", Ok(hundred)),
        ("2", Ok(two)),
        (digits.as_str(), Ok(west)),
        ("10.1.0.1", Ok(west)),
        ("10.2.0.1", Ok(west)),
        ("10.3.0.1", Ok(west)),
        ("10.4.0.1", Ok(west)),
        ("10.77.0.1", Ok(two)),
        ("fd01::1", Ok(west)),
        ("fe80::7%west", Ok(west)),
        ("fe80::7%100", Ok(hundred)),
        ("fe80::7", several),
        ("10.9.0.1", several),
        ("fe80::7%2", no),
        ("fe80::7%eth9", no),
        ("mgmt", no),
        ("west:4", no),
        ("eth9", no),
        ("10.1.0.99", no),
        ("fd01::99", no),
        ("4000", no),
        ("0", no),
        ("", Err(Errno::EINVAL)),
    ];
    texts.map(|(text, meaning)| (text.to_owned(), meaning)).into()
}

fn interface_index(interface: &str) -> Result<u32, Errno> {
    let (interface, mut index) = (text(interface), 0);
    // SAFETY: text that ends in a NUL, and a place.
    call(|| unsafe { castio_interface_index(interface.as_ptr(), &raw mut index) })?;
    Ok(index)
}

fn new_socket(result: c_int) -> Result<Udp, Errno> {
    let fd = call(|| result)?;
    // SAFETY: the library just made it, and it is the caller's.
    Ok(Udp::take(unsafe { OwnedFd::from_raw_fd(fd as c_int) }))
}

fn open_sender(group: &str, interface: &str) -> Result<Udp, Errno> {
    let (group, interface) = (text(group), text(interface));
    // SAFETY: text that ends in a NUL.
    new_socket(unsafe { castio_open_sender(group.as_ptr(), support::udp::PORT, interface.as_ptr(), 1) })
}

fn open_receiver(interface: &str) -> Result<Udp, Errno> {
    let (group, interface) = (text(GROUP), text(interface));
    // SAFETY: text that ends in a NUL, or NULL.
    new_socket(unsafe { castio_open_receiver(group.as_ptr(), 0, ptr::null(), interface.as_ptr()) })
}

fn set_interface(fd: &impl AsRawFd, interface: &str) -> Outcome {
    let interface = text(interface);
    // SAFETY: text that ends in a NUL.
    call(|| unsafe { castio_set_multicast_interface(fd.as_raw_fd(), interface.as_ptr()) })
}

/// Where a socket's multicast leaves. An IPv6 socket tells.
fn leaves_by(fd: &impl AsRawFd) -> Result<u32, Errno> {
    // SAFETY: no memory involved.
    call(|| unsafe { castio_get_multicast_interface(fd.as_raw_fd()) }).map(|index| index as u32)
}

/// The one interface on which a socket has joined the group: the kernel's answer by index.
fn joined_on(fd: &impl AsRawFd) -> u32 {
    let target = |interface| castio::sys::multicast::Target { group: GROUP.parse().unwrap(), interface };
    // SAFETY: it stays open meanwhile.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd.as_raw_fd()) };
    let found: Vec<u32> =
        (1..=80).filter(|index| castio::sys::multicast::filter(fd, target(*index), 0).is_ok()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

type Way = (&'static str, fn(&Host, &str) -> Result<u32, Errno>);

fn join_by(interface: &str, join: impl Fn(&Udp, Option<&str>) -> Outcome) -> Result<u32, Errno> {
    let socket = Udp::new(Family::V4);
    join(&socket, Some(interface))?;
    Ok(joined_on(&socket))
}

/// Of a socket that has joined the group on two interfaces, the one that it left.
fn leave_by(interface: &str, function: GroupCall) -> Result<u32, Errno> {
    let index = interface_index(interface)?;
    let socket = Udp::new(Family::V4);
    Form::Text.group(JOIN, &socket, GROUP, Some("lo")).unwrap();
    Form::Text.group(JOIN, &socket, GROUP, Some(&format!("{index}"))).or_else(|_| {
        // Its digits are another one's name.
        Form::Text.group(JOIN, &socket, GROUP, Some(interface))
    })?;
    Form::Text.group(function, &socket, GROUP, Some(interface))?;
    assert_eq!(joined_on(&socket), 1, "what is left is on lo");
    Ok(index)
}

/// All functions that take such a text, each with the interface that it acted on.
const WAYS: [Way; 10] = [
    ("interface_index", |host, text| host.run(|| interface_index(text))),
    ("join_group", |host, text| host.run(|| join_by(text, |socket, on| Form::Text.group(JOIN, socket, GROUP, on)))),
    ("join_source", |host, text| {
        host.run(|| join_by(text, |socket, on| Form::Text.source(JOIN_SOURCE, socket, GROUP, "10.8.0.1", on)))
    }),
    ("set_source_filter", |host, text| {
        let filter = |socket: &Udp, on: Option<&str>| {
            Form::Text.set_filter(socket, GROUP, on, CASTIO_FILTER_INCLUDE, &["10.8.0.1"])
        };
        host.run(|| join_by(text, filter))
    }),
    ("leave_group", |host, text| host.run(|| leave_by(text, LEAVE))),
    ("open_receiver", |host, text| host.run(|| open_receiver(text).map(|socket| joined_on(&socket)))),
    ("set_multicast_interface", |host, text| {
        host.run(|| {
            let socket = Udp::new(Family::V6);
            set_interface(&socket, text)?;
            leaves_by(&socket)
        })
    }),
    ("open_sender", |host, text| host.run(|| leaves_by(&open_sender("ff15::7", text)?))),
    ("membership_add", |host, text| {
        let socket = host.run(|| Udp::new(Family::V4));
        let membership = Membership::open(host, &socket);
        membership.add(GROUP, None, Some(text))?;
        match membership.list()[0].index {
            // It waits for one.
            0 => Err(Errno::ENODEV),
            index => Ok(index),
        }
    }),
    ("send_limited_broadcast", |host, text| host.run(|| limited_broadcast(text))),
];

/// The interface isn't told by the call: only whether there is one.
fn limited_broadcast(interface: &str) -> Result<u32, Errno> {
    let (socket, interface_text) = (Udp::new(Family::V4), text(interface));
    let (fd, at) = (socket.as_raw_fd(), interface_text.as_ptr());
    // SAFETY: a payload of one byte, text that ends in a NUL, and NULL for the count.
    call(|| unsafe { castio_enable_broadcast(fd, 1) }).unwrap();
    // SAFETY: as above.
    call(|| unsafe { castio_send_limited_broadcast(fd, b"x".as_ptr().cast(), 1, 9, at, ptr::null_mut()) as i64 })?;
    interface_index(interface)
}

#[test]
fn a_text_means_the_same_interface_to_every_function() {
    hosts::test(|network| {
        let host = puzzle(network);
        for (text, meaning) in meanings(&host) {
            for (function, way) in WAYS {
                assert_eq!(way(&host, &text), meaning, "{function}({text:?})");
            }
        }
    });
}

#[test]
fn the_diagnosis_refuses_an_address_that_two_interfaces_have_and_no_other() {
    hosts::test(|network| {
        let host = puzzle(network);
        let diagnose = |interface: &str| {
            let (group, interface) = (text(GROUP), text(interface));
            let socket = Udp::new(Family::V4);
            let (fd, group, at) = (socket.as_raw_fd(), group.as_ptr(), interface.as_ptr());
            // SAFETY: texts that end in a NUL, and NULL with room for nothing.
            call(|| unsafe { castio_diagnose_multicast(fd, group, 5, ptr::null(), at, 0, ptr::null_mut(), 0) as i64 })
        };
        for (text, meaning) in meanings(&host) {
            let expected = match meaning {
                // One that isn't there is a finding.
                Err(Errno::ENODEV) => None,
                other => other.err(),
            };
            assert_eq!(host.run(|| diagnose(&text)).err(), expected, "{text}");
        }
    });
}

#[test]
fn a_broadcast_goes_to_the_network_of_the_address_and_of_its_peer() {
    hosts::test(|network| {
        let host = puzzle(network);
        for (text, address) in [
            ("10.2.0.1", "10.2.0.255"),
            ("10.3.0.1", "10.3.0.255"),
            ("100", "10.100.0.255"),
            ("2", "10.77.0.255"),
            (LONG_NAME, "10.1.0.255"),
        ] {
            assert_eq!(address_of(&host, text), Ok(address.to_owned()), "{text}");
        }
        host.ip("address add 10.20.0.1 peer 10.21.0.1/24 dev west\naddress add 10.22.0.1 peer 10.23.0.1/32 dev west\n\
             address add 10.24.0.1 peer 10.25.0.0/31 dev west");
        assert_eq!(address_of(&host, "10.20.0.1"), Ok("10.21.0.255".to_owned()));
        let kernel = host.run(|| {
            let socket = Udp::new(Family::V4);
            ["10.21.0.255", "10.20.0.255"].map(|ip| socket.try_send("x", ip).map_err(|error| error.raw_os_error()))
        });
        // What is a broadcast address needs permission; to the other one there is no route.
        assert_eq!(kernel, [Err(Some(libc::EACCES)), Err(Some(libc::ENETUNREACH))]);
        for none in ["10.22.0.1", "10.24.0.1"] {
            assert_eq!(address_of(&host, none), Err(Errno::EADDRNOTAVAIL), "{none}");
        }
    });
}

/// Index, name, address and netmask of each line of the list.
fn lines() -> Vec<String> {
    // SAFETY: all zero is an element.
    let mut elements = vec![unsafe { std::mem::zeroed::<castio_interface>() }; 64];
    elements[0].struct_size = size_of::<castio_interface>();
    // SAFETY: an array of that many elements.
    let count = unsafe { castio_list_interfaces(elements.as_mut_ptr(), elements.len()) };
    let ip = |at: &libc::sockaddr_storage| sockaddr::from_storage(at).map(|address| address.ip());
    let line = |one: &castio_interface| {
        let name: String = one.name.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8 as char).collect();
        let addresses = [&one.address, &one.netmask, &one.broadcast].map(ip);
        format!("{} {name} {:x} {addresses:?} {}", one.index, one.flags & 0xffff, one.scope_id)
    };
    elements[..usize::try_from(count).unwrap()].iter().map(line).collect()
}

#[test]
fn without_netlink_everything_goes_on_by_other_calls() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        host.ip("address add 10.5.0.1/24 dev eth0 label eth0:5\nlink add spare type veth peer name pair");
        let sorted = || {
            let mut all = lines();
            all.sort();
            all
        };
        let whole = host.run(sorted);
        let group = Family::V4.group(1);
        let receiver = other.run(|| Udp::receiver(Family::V4));
        other.run(|| Form::Text.group(JOIN, &receiver, &group, Some("eth0"))).unwrap();
        host.run(|| {
            without(&[NETLINK], || {
                assert_eq!(sorted(), whole);
                let eth0 = interface_index("eth0");
                for text in ["10.1.0.1", "10.5.0.1", "fd01::1"] {
                    assert_eq!(interface_index(text), eth0, "{text}");
                }
                assert_eq!(interface_index("eth9"), Err(Errno::ENODEV));
                for interface in ["eth0", "10.1.0.1"] {
                    open_sender(&group, interface).unwrap().say("sent");
                    let socket = Udp::new(Family::V4);
                    set_interface(&socket, interface).unwrap();
                    socket.send("chosen", &group);
                }
                let (socket, mut sent) = (Udp::new(Family::V4), 0);
                let fd = socket.as_raw_fd();
                // SAFETY: no memory involved.
                call(|| unsafe { castio_enable_broadcast(fd, 1) }).unwrap();
                let (bytes, sent_at) = (b"x".as_ptr().cast(), &raw mut sent);
                // SAFETY: one byte, NULL for every interface, and a place.
                let result = call(|| unsafe {
                    castio_send_broadcast(fd, bytes, 1, support::udp::PORT, ptr::null(), sent_at) as i64
                });
                assert_eq!((result, sent), (Ok(2), 2), "both networks of eth0");
            });
        });
        for expected in ["sent", "chosen", "sent", "chosen"] {
            let datagram = receiver.receive();
            assert_eq!((datagram.text.as_str(), datagram.from.ip().to_string().as_str()), (expected, "10.1.0.1"));
        }
        assert_eq!(receiver.receive().text, "x");
    });
}

#[test]
fn where_ioctl_is_refused_netlink_answers_and_where_both_are_it_is_said() {
    hosts::test(|network| {
        let host = puzzle(network);
        host.run(|| {
            let whole = lines();
            without(&[IOCTL], || {
                assert_eq!(lines(), whole);
                let west = interface_index("west");
                assert!(west.is_ok());
                for text in [LONG_NAME, "enp3s0", "10.2.0.1", &west.unwrap().to_string()] {
                    assert_eq!(interface_index(text), west, "{text}");
                }
                assert_eq!(interface_index("eth9"), Err(Errno::ENODEV));
            });
            without(&[IOCTL, NETLINK], || {
                for text in ["west", "10.1.0.1", "3"] {
                    assert_eq!(interface_index(text), Err(Errno::EPERM), "{text}");
                }
                // By index there is nothing to ask.
                let socket = Udp::new(Family::V4);
                assert_eq!(join_by_index(&socket), Ok(0));
            });
        });
    });
}

fn join_by_index(socket: &Udp) -> Outcome {
    let group = sockaddr::ip_storage(GROUP.parse().unwrap());
    let (at, len) = ((&raw const group).cast(), size_of::<libc::sockaddr_in>() as u32);
    // SAFETY: an address of this length.
    call(|| unsafe { castio::ffi::multicast::membership_addr::castio_join_group_addr(socket.as_raw_fd(), at, len, 1) })
}

#[test]
fn a_full_descriptor_table_is_told_as_such() {
    hosts::test(|network| {
        let host = network.host("host");
        host.run(|| {
            let socket = Udp::new(Family::V4);
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: a place.
            unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
            let full = libc::rlimit { rlim_cur: 3, ..limit };
            // SAFETY: a limit.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const full) };
            let results = [
                interface_index("lo").map(i64::from),
                interface_index("127.0.0.1").map(i64::from),
                set_interface(&socket, "lo"),
                Form::Text.group(JOIN, &socket, GROUP, Some("lo")),
            ];
            // SAFETY: as above.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
            assert_eq!(results, [Err(Errno::EMFILE); 4]);
        });
        assert_eq!(address_of(&host, "lo"), Ok(Ipv4Addr::new(127, 255, 255, 255).to_string()));
    });
}
