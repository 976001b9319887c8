//! The diagnosis as a whole: what is well gives nothing, every finding has a test, and what its
//! arguments may be.

mod support;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::{fs, ptr};

use castio::Errno;
use castio::ffi::diagnose::*;
use castio::ffi::multicast::endpoint::*;
use support::declarations;
use support::doctor::{self, Ask, BROKEN, UNCHECKED, arrives, first, healthy, only, well};
use support::face::{call, text};
use support::hosts;
use support::udp::{FAMILIES, Family, PORT, Udp};

#[test]
fn a_receiver_that_is_well_has_no_findings() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let (group, source) = (family.group(1), family.host(1));
            let receiver = well(&host, family, &group);
            let ask = Ask::receiver(&group);
            for ask in [ask, ask.on(None), ask.from(&source), ask.from(&source).on(None), Ask { port: 0, ..ask }] {
                healthy(&ask.of(&host, &receiver));
            }
            arrives(&sender, &receiver, &group);
            healthy(&ask.of(&host, &receiver));
        }
    });
}

#[test]
fn what_castio_opens_is_well() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for (group, source) in
            [("239.1.2.3", None), ("ff15::7", None), ("232.1.2.3", Some("10.1.0.1")), ("ff35::7", Some("fd01::1"))]
        {
            let (c_group, c_source) = (text(group), source.map(text));
            let (c_group, c_source) = (c_group.as_ptr() as usize, support::face::pointer(&c_source) as usize);
            // SAFETY: text that ends in a NUL, or NULL; a new descriptor.
            let receiver = host.run(|| unsafe {
                let fd = castio_open_receiver(c_group as _, PORT, c_source as _, c"eth0".as_ptr());
                assert!(fd >= 0, "{fd}");
                Udp::take(OwnedFd::from_raw_fd(fd))
            });
            // SAFETY: text that ends in a NUL; a new descriptor.
            let other = sender.run(|| unsafe {
                let fd = castio_open_sender(c_group as _, PORT, c"eth0".as_ptr(), 2);
                assert!(fd >= 0, "{fd}");
                Udp::take(OwnedFd::from_raw_fd(fd))
            });
            healthy(&Ask { source, ..Ask::receiver(group) }.of(&host, &receiver));
            healthy(&Ask::sender(group).of(&sender, &other));
            healthy(&Ask::sender(group).on(None).of(&sender, &other));
            other.say("to the group");
            assert_eq!(receiver.receive().text, "to the group");
        }
    });
}

#[test]
fn on_the_loopback_interface_it_is_well() {
    hosts::test(|network| {
        let host = network.host("host");
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = host.run(|| Udp::receiver(family));
            doctor::join(&host, &receiver, &group, "lo");
            for ask in [Ask::receiver(&group).on(None), Ask::receiver(&group).on(Some("lo")).from(family.loopback())] {
                healthy(&ask.of(&host, &receiver));
            }
            // It has a port: of an IPv4 socket without one, the kernel doesn't tell by which interface it sends.
            let sender = host.run(|| Udp::bound(SocketAddr::new(family.wildcard(), 0)));
            host.run(|| {
                castio::multicast::options::set_interface(sender.as_fd(), 1).unwrap();
                castio::multicast::options::set_ttl(sender.as_fd(), 2).unwrap();
            });
            let found = Ask::sender(&group).on(Some("lo")).of(&host, &sender);
            // IPv6 doesn't route multicast there.
            if family == Family::V6 {
                first(&found, "NO_MULTICAST_ROUTE", BROKEN, &["lo (index 1)"]);
                assert!(sender.try_send("nowhere", &group).is_err());
                continue;
            }
            healthy(&found);
            sender.send("it arrives", &group);
            assert_eq!(receiver.receive().text, "it arrives");
        }
    });
}

#[test]
fn an_ipv4_group_on_an_ipv6_socket_is_well() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        let receiver = well(&host, Family::V6, "239.1.2.3");
        healthy(&Ask::receiver("239.1.2.3").from("10.1.0.1").of(&host, &receiver));
        arrives(&sender, &receiver, "239.1.2.3");
    });
}

#[test]
fn groups_have_their_family_and_take_datagrams() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        let v4 = host.run(|| Udp::receiver(Family::V4));
        first(&Ask::receiver("ff15::7").of(&host, &v4), "WRONG_FAMILY", BROKEN, &["AF_INET", "ff15::7"]);
        drop(v4);

        let stream = host.run(|| TcpListener::bind("0.0.0.0:5000").unwrap());
        first(&Ask::receiver("239.1.2.3").of(&host, &stream), "NOT_DATAGRAM", BROKEN, &["Stream"]);

        let v6 = host.run(|| Udp::new(Family::V6));
        v6.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).unwrap();
        v6.bind("[::]:5000".parse().unwrap()).unwrap();
        doctor::join(&host, &v6, "239.1.2.3", "eth0");
        only(&Ask::receiver("239.1.2.3").of(&host, &v6), "IPV6_ONLY", BROKEN, &["IPV6_V6ONLY", "239.1.2.3"]);
        // The address is free: no IPv4 comes to the one above.
        doctor::is_lost(&sender, &host, &v6, "239.1.2.3");
    });
}

#[test]
fn a_socket_of_another_network_is_told_so() {
    hosts::test(|network| {
        let [other, host] = network.lan();
        let receiver = well(&host, Family::V4, "239.1.2.3");
        only(&Ask::receiver("239.1.2.3").of(&other, &receiver), "OTHER_NAMESPACE", UNCHECKED, &["cookie"]);
        healthy(&Ask::receiver("239.1.2.3").of(&host, &receiver));
    });
}

#[test]
fn without_proc_it_says_what_it_could_not_see() {
    hosts::test(|network| {
        let [_sender, host] = network.lan();
        let receiver = well(&host, Family::V4, "239.1.2.3");
        let hide = || {
            // SAFETY: strings that end in a NUL; this thread gets a mount table of its own.
            unsafe {
                assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
                let private = libc::MS_REC | libc::MS_PRIVATE;
                assert_eq!(libc::mount(ptr::null(), c"/".as_ptr(), ptr::null(), private, ptr::null()), 0);
                libc::mount(c"none".as_ptr(), c"/proc".as_ptr(), c"tmpfs".as_ptr(), 0, ptr::null())
            }
        };
        assert_eq!(host.run(hide), 0);
        only(&Ask::receiver("239.1.2.3").of(&host, &receiver), "PROC_UNCHECKED", UNCHECKED, &["ENOENT"]);
        // SAFETY: a string that ends in a NUL.
        assert_eq!(host.run(|| unsafe { libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH) }), 0);
        healthy(&Ask::receiver("239.1.2.3").of(&host, &receiver));
    });
}

/// The header's macros, without CASTIO_FINDING_.
fn codes() -> Vec<(String, i32)> {
    let macros = declarations::castio_h().macros;
    let of_findings = macros.iter().filter_map(|line| line.strip_prefix("CASTIO_FINDING_"));
    let split = |line: &str| {
        let (name, number) = line.split_once(' ').unwrap();
        (name.to_owned(), number.parse().unwrap())
    };
    of_findings.map(split).collect()
}

#[test]
fn every_code_of_the_header_has_its_name() {
    let codes = codes();
    assert!(codes.len() > 40);
    for (expected, code) in &codes {
        assert_eq!(doctor::name(*code), *expected);
    }
    for none in [0, -1, codes.len() as i32 + 1, i32::MIN, i32::MAX] {
        assert_eq!(doctor::name(none), "UNKNOWN");
    }
}

/// A test names the finding that it expects to be first.
#[test]
fn every_finding_has_a_test_where_it_comes_first() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("diagnose") && name.ends_with(".rs")
    };
    let all: String = files.filter(is_ours).map(|path| fs::read_to_string(path).unwrap()).collect();
    let all: String = all.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let tested: BTreeSet<&str> = all.split('"').collect();
    let untested: Vec<_> = codes().into_iter().filter(|(name, _)| !tested.contains(name.as_str())).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

/// In this process, where nothing is set up: only the arguments count.
fn ask(fd: i32, group: &str, source: Option<&str>, interface: Option<&str>, flags: u32) -> Result<i64, Errno> {
    let (group, source, interface) = (text(group), source.map(text), interface.map(text));
    let (source, interface) = (support::face::pointer(&source), support::face::pointer(&interface));
    // SAFETY: text that ends in a NUL, or NULL; no room.
    call(|| unsafe {
        castio_diagnose_multicast(fd, group.as_ptr(), PORT, source, interface, flags, ptr::null_mut(), 0) as i64
    })
}

#[test]
fn arguments_that_make_no_sense_are_errors() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let fd = socket.as_raw_fd();
    assert!(ask(fd, "239.1.2.3", None, None, 0).unwrap() > 0, "bound to loopback, not joined");
    for (group, source, interface, flags, errno) in [
        ("10.0.0.1", None, None, 0, Errno::EINVAL),
        ("nonsense", None, None, 0, Errno::EINVAL),
        ("239.1.2.3", Some("239.1.2.4"), None, 0, Errno::EINVAL),
        ("239.1.2.3", Some("0.0.0.0"), None, 0, Errno::EINVAL),
        ("239.1.2.3", Some("fd01::1"), None, 0, Errno::EAFNOSUPPORT),
        ("ff15::7", Some("10.0.0.1"), None, 0, Errno::EAFNOSUPPORT),
        ("239.1.2.3", None, Some(""), 0, Errno::EINVAL),
        ("ff02::7%lo", None, Some("4711"), 0, Errno::EINVAL),
        ("ff35::7", Some("fe80::1%lo"), Some("4711"), 0, Errno::EINVAL),
        ("239.1.2.3", None, None, 4, Errno::EINVAL),
    ] {
        assert_eq!(ask(fd, group, source, interface, flags), Err(errno), "{group} {source:?} {interface:?} {flags}");
    }
    assert_eq!(ask(-1, "239.1.2.3", None, None, 0), Err(Errno::EBADF));
    let file = fs::File::open("/dev/null").unwrap();
    assert_eq!(ask(file.as_raw_fd(), "239.1.2.3", None, None, 0), Err(Errno::ENOTSOCK));
    let (unix, _peer) = std::os::unix::net::UnixDatagram::pair().unwrap();
    assert_eq!(ask(unix.as_raw_fd(), "239.1.2.3", None, None, 0), Err(Errno::EAFNOSUPPORT));
}

#[test]
fn a_small_array_gets_the_worst_and_the_number_of_all() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let count = ask(socket.as_raw_fd(), "239.1.2.3", None, Some("no-such-interface"), 3).unwrap();
    assert!(count >= 3, "{count}");
    // SAFETY: all zero is an element.
    let mut two = [unsafe { std::mem::zeroed::<castio_finding>() }; 2];
    two[0].struct_size = size_of::<castio_finding>();
    // SAFETY: text that ends in a NUL; room for one, and one behind it.
    let again = unsafe {
        let (group, interface) = (c"239.1.2.3".as_ptr(), c"no-such-interface".as_ptr());
        castio_diagnose_multicast(socket.as_raw_fd(), group, PORT, ptr::null(), interface, 3, two.as_mut_ptr(), 1)
    };
    assert_eq!(again as i64, count);
    assert_eq!((two[0].code, two[0].severity), (CASTIO_FINDING_INTERFACE_MISSING, BROKEN));
    assert_eq!((two[1].struct_size, two[1].code), (0, 0), "nothing behind the capacity");
}
