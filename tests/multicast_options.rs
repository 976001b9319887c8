//! Multicast options: seen in what arrives.

mod support;

use std::ffi::c_int;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use castio::Errno;
use castio::ffi::multicast::options::*;
use support::face::{Form, JOIN, Outcome, call, pointer, text};
use support::hosts;
use support::udp::{FAMILIES, Family, Udp, address};

fn set_ttl(fd: &impl AsRawFd, ttl: c_int) -> Outcome {
    // SAFETY: no memory involved.
    call(|| unsafe { castio_set_ttl(fd.as_raw_fd(), ttl) })
}

fn get_ttl(fd: &impl AsRawFd) -> Outcome {
    // SAFETY: as above.
    call(|| unsafe { castio_get_ttl(fd.as_raw_fd()) })
}

fn set_loop(fd: &impl AsRawFd, on: c_int) -> Outcome {
    // SAFETY: as above.
    call(|| unsafe { castio_set_loop(fd.as_raw_fd(), on) })
}

fn get_loop(fd: &impl AsRawFd) -> Outcome {
    // SAFETY: as above.
    call(|| unsafe { castio_get_loop(fd.as_raw_fd()) })
}

fn set_all(fd: &impl AsRawFd, on: c_int) -> Outcome {
    // SAFETY: as above.
    call(|| unsafe { castio_set_multicast_all(fd.as_raw_fd(), on) })
}

fn get_all(fd: &impl AsRawFd) -> Outcome {
    // SAFETY: as above.
    call(|| unsafe { castio_get_multicast_all(fd.as_raw_fd()) })
}

fn set_interface(fd: &impl AsRawFd, interface: Option<&str>) -> Outcome {
    let interface = interface.map(text);
    // SAFETY: text that ends in a NUL, or NULL.
    call(|| unsafe { castio_set_multicast_interface(fd.as_raw_fd(), pointer(&interface)) })
}

fn set_interface_index(fd: &impl AsRawFd, index: u32) -> Outcome {
    // SAFETY: no memory involved.
    call(|| unsafe { castio_set_multicast_interface_index(fd.as_raw_fd(), index) })
}

fn get_interface(fd: &impl AsRawFd) -> Outcome {
    // SAFETY: as above.
    call(|| unsafe { castio_get_multicast_interface(fd.as_raw_fd()) })
}

/// A receiver of a group on the LAN.
fn joined(host: &hosts::Host, family: Family, group: &str) -> Udp {
    host.run(|| {
        let receiver = Udp::receiver(family);
        Form::Text.group(JOIN, &receiver, group, Some("eth0")).unwrap();
        receiver
    })
}

#[test]
fn every_ttl_is_taken_and_nothing_else() {
    for family in FAMILIES {
        let socket = Udp::new(family);
        assert_eq!(get_ttl(&socket), Ok(1), "the kernel's default");
        for ttl in 0..=255 {
            assert_eq!(set_ttl(&socket, ttl), Ok(0));
            assert_eq!(get_ttl(&socket), Ok(ttl.into()));
        }
        set_ttl(&socket, 7).unwrap();
        for ttl in [-1, 256, i32::MIN, i32::MAX] {
            assert_eq!(set_ttl(&socket, ttl), Err(Errno::EINVAL), "{family:?} {ttl}");
            assert_eq!(get_ttl(&socket), Ok(7));
        }
    }
}

#[test]
fn the_receiver_sees_the_ttl() {
    hosts::test(|network| {
        let [sender, receiver] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let to = joined(&receiver, family, &group);
            let from = sender.run(|| Udp::new(family));
            for ttl in [1, 7, 255] {
                set_ttl(&from, ttl).unwrap();
                from.send("hello", &group);
                let datagram = to.receive();
                assert_eq!((datagram.text.as_str(), datagram.ttl), ("hello", ttl), "{family:?}");
                assert_eq!(datagram.to.to_string(), group);
            }
        }
    });
}

#[test]
fn ttl_0_stays_on_this_host() {
    hosts::test(|network| {
        let [sender, other] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let (local, remote) = (joined(&sender, family, &group), joined(&other, family, &group));
            let from = sender.run(|| Udp::new(family));
            set_ttl(&from, 0).unwrap();
            from.send("hello", &group);
            from.end(&family.host(1));
            from.end(&family.host(2));
            let here = local.all();
            assert_eq!(here.len(), 1, "{here:?}");
            assert_eq!((here[0].text.as_str(), here[0].ttl), ("hello", 0), "{family:?}");
            assert!(remote.texts().is_empty(), "{family:?}");
        }
    });
}

#[test]
fn without_loop_the_local_receiver_gets_nothing_and_the_remote_one_does() {
    hosts::test(|network| {
        let [sender, other] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let (local, remote) = (joined(&sender, family, &group), joined(&other, family, &group));
            let from = sender.run(|| Udp::new(family));
            assert_eq!(get_loop(&from), Ok(1), "the kernel's default");
            // Anything but 0 is on.
            for (on, expected) in [(0, 0), (1, 1), (0, 0), (-5, 1)] {
                set_loop(&from, on).unwrap();
                assert_eq!(get_loop(&from), Ok(expected));
                from.send("hello", &group);
                from.end(&family.host(1));
                from.end(&family.host(2));
                assert_eq!(local.texts().len() as i64, expected, "{family:?} {on}");
                assert_eq!(remote.texts(), ["hello"], "{family:?} {on}");
            }
        }
    });
}

#[test]
fn loop_and_all_on_the_receiver_change_nothing_for_the_loop() {
    hosts::test(|network| {
        let [host] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let to = joined(&host, family, &group);
            set_loop(&to, 0).unwrap();
            set_all(&to, 0).unwrap();
            host.run(|| Udp::new(family)).send("hello", &group);
            assert_eq!(to.receive().text, "hello", "{family:?}");
        }
    });
}

/// "a" has a cable to "b" and one to "c", and its routes say "b"; "d" is behind an interface
/// without an IPv4 address.
fn fork(network: &hosts::Network) -> [hosts::Host; 4] {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| network.host(name));
    network.link((&a, "eth0", &["10.2.0.1/24", "fd02::1/64"]), (&b, "eth0", &["10.2.0.2/24", "fd02::2/64"]));
    network.link((&a, "eth1", &["10.3.0.1/24", "fd03::1/64"]), (&c, "eth0", &["10.3.0.2/24", "fd03::2/64"]));
    network.link((&a, "eth2", &["fd04::1/64"]), (&d, "eth0", &["fd04::2/64"]));
    a.ip("route add 224.0.0.0/4 dev eth0\nroute add multicast ff15::/16 dev eth0 table local metric 1");
    // What comes from a network that it has no route to, a host drops otherwise.
    for variable in ["all", "eth0"] {
        d.set(&format!("net/ipv4/conf/{variable}/rp_filter"), "0");
    }
    [a, b, c, d]
}

#[test]
fn the_interface_is_chosen_by_name_address_and_index() {
    hosts::test(|network| {
        let [a, b, c, d] = fork(network);
        let index = a.index("eth1").to_string();
        for family in FAMILIES {
            let group = family.group(1);
            let from = a.run(|| Udp::new(family));
            let [at_b, at_c, at_d] = [&b, &c, &d].map(|host| joined(host, family, &group));
            let arrives = |text: &str, [to_b, to_c, to_d]: [usize; 3]| {
                from.send(text, &group);
                for (receiver, count) in [(&at_b, to_b), (&at_c, to_c), (&at_d, to_d)] {
                    let got = if count > 0 { vec![receiver.receive().text] } else { vec![] };
                    assert_eq!(got, vec![text; count], "{family:?} {text}");
                }
            };
            // Of an IPv4 socket the kernel doesn't tell.
            let tells = |index: u32| if family == Family::V4 { Err(Errno::EOPNOTSUPP) } else { Ok(index.into()) };
            assert_eq!(get_interface(&from), tells(0));
            arrives("by the routes", [1, 0, 0]);
            for choice in ["eth1", "10.3.0.1", "fd03::1", &index] {
                assert_eq!(a.run(|| set_interface(&from, Some(choice))), Ok(0));
                assert_eq!(a.run(|| get_interface(&from)), tells(a.index("eth1")), "{family:?} {choice}");
                arrives(choice, [0, 1, 0]);
            }
            a.run(|| set_interface(&from, None)).unwrap();
            assert_eq!(a.run(|| get_interface(&from)), tells(0));
            arrives("by the routes again", [1, 0, 0]);
            a.run(|| set_interface_index(&from, a.index("eth1"))).unwrap();
            arrives("by index", [0, 1, 0]);
            a.run(|| set_interface_index(&from, 0)).unwrap();
            arrives("by no index", [1, 0, 0]);
            a.run(|| set_interface(&from, Some("eth2"))).unwrap();
            arrives("without an address", [0, 0, 1]);
            assert_eq!(a.run(|| get_interface(&from)), tells(a.index("eth2")));
            // One came for each that was expected, and no other.
            for receiver in [&at_b, &at_c, &at_d] {
                assert_eq!(receiver.waiting(), [""; 0], "{family:?}");
            }
        }
    });
}

#[test]
fn a_wrong_interface_is_refused_and_changes_nothing() {
    hosts::test(|network| {
        let [host] = network.lan();
        for family in FAMILIES {
            let socket = host.run(|| Udp::new(family));
            host.run(|| set_interface(&socket, Some("eth0"))).unwrap();
            let wrong =
                [("eth9", Errno::ENODEV), ("10.1.0.9", Errno::ENODEV), ("999", Errno::ENODEV), ("", Errno::EINVAL)];
            for (interface, error) in wrong {
                assert_eq!(host.run(|| set_interface(&socket, Some(interface))), Err(error), "{interface}");
            }
            for index in [999, i32::MAX as u32, u32::MAX] {
                assert_eq!(host.run(|| set_interface_index(&socket, index)), Err(Errno::ENODEV), "{family:?} {index}");
            }
            if family == Family::V6 {
                assert_eq!(host.run(|| get_interface(&socket)), Ok(host.index("eth0").into()));
            }
        }
    });
}

#[test]
fn the_source_is_the_kernels_choice_and_follows_a_new_address() {
    hosts::test(|network| {
        let [a, b] = ["a", "b"].map(|name| network.host(name));
        network.link((&a, "eth0", &["10.2.0.1/24"]), (&b, "eth0", &["10.2.0.2/24"]));
        a.ip("address add 10.2.0.9/24 dev eth0\naddress add 169.254.7.7/16 dev eth0 scope link");
        ["all", "eth0"].iter().for_each(|name| b.set(&format!("net/ipv4/conf/{name}/rp_filter"), "0"));
        let group = Family::V4.group(1);
        let at_b = joined(&b, Family::V4, &group);
        let sockets: [Udp; 3] = std::array::from_fn(|_| a.run(|| Udp::new(Family::V4)));
        let [by_name, by_index, by_address] = &sockets;
        a.run(|| set_interface(by_name, Some("eth0"))).unwrap();
        a.run(|| set_interface_index(by_index, a.index("eth0"))).unwrap();
        a.run(|| set_interface(by_address, Some("10.2.0.9"))).unwrap();
        let arrives_from = |socket: &Udp| {
            socket.send("hello", &group);
            at_b.receive().from.ip().to_string()
        };
        let sources = [by_name, by_index, by_address].map(arrives_from);
        assert_eq!(sources, ["10.2.0.1", "10.2.0.1", "10.2.0.9"]);
        a.ip("address flush dev eth0 scope global\naddress flush dev eth0 scope link to 169.254.0.0/16\n\
             address add 10.2.0.77/24 dev eth0");
        assert_eq!([by_name, by_index].map(arrives_from), ["10.2.0.77"; 2]);
        let error = by_address.try_send("hello", &group).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH), "its own address is gone");
    });
}

#[test]
fn on_a_host_with_nothing_but_loopback_that_is_the_source() {
    hosts::test(|network| {
        let host = network.host("alone");
        host.run(|| {
            let receiver = Udp::receiver(Family::V4);
            let group = Family::V4.group(1);
            Form::Text.group(JOIN, &receiver, &group, Some("lo")).unwrap();
            let sender = Udp::new(Family::V4);
            set_interface(&sender, Some("lo")).unwrap();
            sender.send("hello", &group);
            assert_eq!(receiver.receive().from.ip().to_string(), "127.0.0.1");
        });
    });
}

#[test]
fn a_socket_on_a_device_leaves_by_it() {
    hosts::test(|network| {
        let [a, _b, _c, _d] = fork(network);
        for family in FAMILIES {
            let socket = a.run(|| Udp::new(family));
            socket.set(libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, a.index("eth1") as i32).unwrap();
            assert_eq!(a.run(|| get_interface(&socket)), Ok(a.index("eth1").into()), "{family:?}");
        }
    });
}

#[test]
fn a_socket_bound_to_a_device_sends_by_no_other() {
    hosts::test(|network| {
        // The others stay: without them the interfaces would go.
        let [a, _b, _c, _d] = fork(network);
        for family in FAMILIES {
            let socket = a.run(|| Udp::new(family));
            socket.set(libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, a.index("eth0") as i32).unwrap();
            assert_eq!(a.run(|| set_interface(&socket, Some("eth1"))), Err(Errno::EINVAL), "{family:?}");
            assert_eq!(a.run(|| set_interface(&socket, Some("eth0"))), Ok(0), "{family:?}");
        }
    });
}

#[test]
fn on_an_ipv6_socket_the_options_hold_for_ipv4_too() {
    hosts::test(|network| {
        let [a, b, c, _d] = fork(network);
        let (group, mapped) = ("239.1.0.1", "::ffff:239.1.0.1");
        let [here, at_b, at_c] = [&a, &b, &c].map(|host| joined(host, Family::V4, group));
        let from = a.run(|| Udp::new(Family::V6));
        set_ttl(&from, 9).unwrap();
        from.send("by the routes", mapped);
        assert_eq!(at_b.receive().ttl, 9);
        a.run(|| set_interface(&from, Some("eth1"))).unwrap();
        from.send("by eth1", mapped);
        let datagram = at_c.receive();
        assert_eq!((datagram.text.as_str(), datagram.ttl), ("by eth1", 9));
        a.run(|| set_interface(&from, None)).unwrap();
        set_loop(&from, 0).unwrap();
        from.send("without loop", mapped);
        assert_eq!(at_b.receive().text, "without loop");
        // "a" joined on eth0, so nothing but the first loops back to it.
        let end = a.run(|| Udp::new(Family::V4));
        end.end("127.0.0.1");
        assert_eq!(here.texts(), ["by the routes"]);
        assert_eq!((at_b.waiting(), at_c.waiting()), (vec![], vec![]));
    });
}

#[test]
fn groups_that_others_joined_come_or_stay_out() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let [group, both] = [1, 2].map(|number| family.group(number));
            let [joins, listens] = host.run(|| [(); 2].map(|()| Udp::new(family)));
            for socket in [&joins, &listens] {
                socket.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).unwrap();
                socket.bind(SocketAddr::new(family.wildcard(), support::udp::PORT)).unwrap();
                host.run(|| Form::Text.group(JOIN, socket, &both, Some("eth0"))).unwrap();
            }
            host.run(|| Form::Text.group(JOIN, &joins, &group, Some("eth0"))).unwrap();
            assert_eq!(get_all(&listens), Ok(1), "the kernel's default");
            let from = sender.run(|| Udp::new(family));
            for (on, expected) in [(0, 0), (7, 1), (0, 0)] {
                set_all(&listens, on).unwrap();
                assert_eq!(get_all(&listens), Ok(expected));
                from.send("foreign", &group);
                from.end(&both);
                assert_eq!(joins.texts(), ["foreign"], "{family:?}");
                assert_eq!(listens.texts().len() as i64, expected, "{family:?} {on}");
            }
        }
    });
}

#[test]
fn an_ipv6_socket_with_its_own_groups_only_gets_no_foreign_ipv4_group() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        let (group, both) = ("239.1.0.1", "239.1.0.2");
        let [joins, listens] = [Family::V4, Family::V6].map(|family| host.run(|| Udp::new(family)));
        for (socket, family) in [(&joins, Family::V4), (&listens, Family::V6)] {
            socket.set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).unwrap();
            socket.bind(SocketAddr::new(family.wildcard(), support::udp::PORT)).unwrap();
            host.run(|| Form::Text.group(JOIN, socket, both, Some("eth0"))).unwrap();
        }
        host.run(|| Form::Text.group(JOIN, &joins, group, Some("eth0"))).unwrap();
        let from = sender.run(|| Udp::new(Family::V4));
        for (on, expected) in [(1, 1), (0, 0)] {
            set_all(&listens, on).unwrap();
            from.send("foreign", group);
            from.end(both);
            assert_eq!(joins.texts(), ["foreign"]);
            assert_eq!(listens.texts().len(), expected, "{on}");
        }
    });
}

/// Every function here, with a value that it takes.
type Named = (&'static str, fn(&OwnedFd) -> Outcome);
const SETTERS: [Named; 4] = [
    ("ttl", |fd| set_ttl(fd, 3)),
    ("loop", |fd| set_loop(fd, 1)),
    ("all", |fd| set_all(fd, 1)),
    ("interface", |fd| set_interface(fd, Some("lo"))),
];
const GETTERS: [Named; 4] = [("ttl", get_ttl), ("loop", get_loop), ("all", get_all), ("interface", get_interface)];

#[test]
fn what_is_no_internet_socket_is_told_so() {
    let unix = OwnedFd::from(UnixDatagram::unbound().unwrap());
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    for (name, function) in SETTERS.into_iter().chain(GETTERS) {
        assert_eq!(function(&unix), Err(Errno::EAFNOSUPPORT), "{name}");
        assert_eq!(function(&file), Err(Errno::ENOTSOCK), "{name}");
    }
}

#[test]
fn a_descriptor_that_is_not_open_is_told_so() {
    for fd in [-1, i32::MIN, 1 << 20] {
        let results = [set_ttl(&fd, 3), set_loop(&fd, 1), set_all(&fd, 1), set_interface(&fd, Some("lo"))];
        assert_eq!(results, [Err(Errno::EBADF); 4], "{fd}");
        let results = [get_ttl(&fd), get_loop(&fd), get_all(&fd), get_interface(&fd), set_interface_index(&fd, 1)];
        assert_eq!(results, [Err(Errno::EBADF); 5], "{fd}");
    }
}

#[test]
fn a_stream_socket_has_neither_ttl_nor_interface_of_multicast() {
    for family in FAMILIES {
        let refused = if family == Family::V4 { Errno::EINVAL } else { Errno::ENOPROTOOPT };
        let stream = OwnedFd::from(TcpListener::bind(address(family.loopback(), 0)).unwrap());
        assert_eq!(set_ttl(&stream, 3), Err(refused), "{family:?}");
        assert_eq!(set_interface(&stream, Some("lo")), Err(refused), "{family:?}");
        for (name, get) in GETTERS {
            let is_untold = family == Family::V4 && name == "interface";
            let error = is_untold.then_some(Errno::EOPNOTSUPP);
            assert_eq!(get(&stream).err(), error, "{family:?} {name}");
        }
    }
}
