//! Sockets for one group: what they get, what they don't, and how far what they send goes.

mod support;

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use castio::Errno;
use castio::ffi::multicast::endpoint::*;
use castio::sys::sockaddr;
use support::face::{FORMS, Form, JOIN, call, pointer, storage, text};
use support::hosts::{self, Host};
use support::udp::{FAMILIES, Family, PORT, Udp, address};

type Opened = Result<Udp, Errno>;

/// Takes over what was opened.
fn opened(open: impl FnOnce() -> i32) -> Opened {
    // SAFETY: a new descriptor, ours.
    call(open).map(|fd| Udp::take(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}

/// A group with its port, as a socket address.
fn with_port(group: &str, port: u16) -> (libc::sockaddr_storage, u32) {
    let (raw, len) = storage(group);
    let mut address = sockaddr::from_storage(&raw).unwrap();
    address.set_port(port);
    (sockaddr::to_storage(address), len)
}

fn index(host: &Host, interface: Option<&str>) -> u32 {
    interface.map_or(0, |name| host.index(name))
}

fn open_receiver(
    host: &Host,
    form: Form,
    group: &str,
    port: u16,
    source: Option<&str>,
    interface: Option<&str>,
) -> Opened {
    host.run(|| match form {
        Form::Text => {
            let (group, source, interface) = (text(group), source.map(text), interface.map(text));
            // SAFETY: text that ends in a NUL, or NULL.
            opened(|| unsafe { castio_open_receiver(group.as_ptr(), port, pointer(&source), pointer(&interface)) })
        }
        Form::Address => {
            let ((group, len), source) = (with_port(group, port), source.map(storage));
            let (source_at, source_len) =
                source.as_ref().map_or((ptr::null(), 0), |(raw, len)| ((&raw const *raw).cast(), *len));
            let (group, index) = ((&raw const group).cast(), index(host, interface));
            // SAFETY: addresses of these lengths, or NULL.
            opened(|| unsafe { castio_open_receiver_addr(group, len, source_at, source_len, index) })
        }
    })
}

fn open_sender(host: &Host, form: Form, group: &str, interface: Option<&str>, ttl: i32) -> Opened {
    host.run(|| match form {
        Form::Text => {
            let (group, interface) = (text(group), interface.map(text));
            // SAFETY: text that ends in a NUL, or NULL.
            opened(|| unsafe { castio_open_sender(group.as_ptr(), PORT, pointer(&interface), ttl) })
        }
        Form::Address => {
            let (group, len) = with_port(group, PORT);
            let (group, index) = ((&raw const group).cast(), index(host, interface));
            // SAFETY: an address of this length.
            opened(|| unsafe { castio_open_sender_addr(group, len, index, ttl) })
        }
    })
}

fn each(test: impl Fn(Family, Form)) {
    for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
        test(family, form);
    }
}

/// Another socket on the host, at the wildcard address and the same port.
fn neighbour(host: &Host, family: Family, share: i32) -> Udp {
    let socket = host.run(|| Udp::new(family));
    socket.set(libc::SOL_SOCKET, share, 1).unwrap();
    socket.bind(SocketAddr::new(family.wildcard(), PORT)).unwrap();
    socket
}

#[test]
fn a_receiver_gets_its_group_and_nothing_else() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        each(|family, form| {
            let (group, foreign) = (family.group(1), family.group(2));
            let receiver = open_receiver(&host, form, &group, PORT, None, Some("eth0")).unwrap();
            let other = neighbour(&host, family, libc::SO_REUSEADDR);
            host.run(|| Form::Text.group(JOIN, &other, &foreign, Some("eth0"))).unwrap();
            let from = sender.run(|| Udp::new(family));
            for (text, to) in [("foreign", &foreign), ("unicast", &family.host(2))] {
                from.send(text, to);
                // The other is there, and does get it.
                assert_eq!(other.receive().text, text, "{family:?} {form:?}");
            }
            from.send("mine", &group);
            from.end(&group);
            let [datagram] = receiver.all().try_into().unwrap();
            assert_eq!((datagram.text.as_str(), datagram.to.to_string()), ("mine", group), "{form:?}");
        });
    });
}

#[test]
fn a_receiver_that_only_another_socket_joined_for_gets_nothing() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        each(|family, form| {
            let group = family.group(1);
            let receiver = open_receiver(&host, form, &group, PORT, None, Some("eth0")).unwrap();
            let other = neighbour(&host, family, libc::SO_REUSEADDR);
            host.run(|| Form::Text.group(JOIN, &other, &group, Some("eth0"))).unwrap();
            host.run(|| form.group(support::face::LEAVE, &receiver, &group, Some("eth0"))).unwrap();
            let from = sender.run(|| Udp::new(family));
            from.send("not for it", &group);
            assert_eq!(other.receive().text, "not for it");
            assert_eq!(receiver.waiting(), [""; 0], "{family:?} {form:?}");
        });
    });
}

#[test]
fn all_receivers_of_one_group_and_port_get_it() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        each(|family, form| {
            let group = family.group(1);
            let open = || open_receiver(&host, form, &group, PORT, None, Some("eth0")).unwrap();
            let receivers = [open(), open(), open()];
            let from = open_sender(&sender, form, &group, None, 1).unwrap();
            from.say("to all");
            from.say_end();
            for receiver in &receivers {
                assert_eq!(receiver.texts(), ["to all"], "{family:?} {form:?}");
            }
        });
    });
}

#[test]
fn the_port_is_shared_with_whoever_shares_it_and_with_nobody_else() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        each(|family, form| {
            let group = family.group(1);
            let open = || open_receiver(&host, form, &group, PORT, None, Some("eth0"));
            for share in [libc::SO_REUSEADDR, libc::SO_REUSEPORT] {
                let before = neighbour(&host, family, share);
                let receiver = open().unwrap();
                let after = neighbour(&host, family, share);
                for other in [&before, &after] {
                    host.run(|| Form::Text.group(JOIN, other, &group, Some("eth0"))).unwrap();
                }
                let from = sender.run(|| Udp::new(family));
                from.send("shared", &group);
                for socket in [&before, &receiver, &after] {
                    assert_eq!(socket.receive().text, "shared", "{family:?} {form:?} {share}");
                }
            }
            let alone = host.run(|| Udp::receiver(family));
            assert_eq!(open().map(drop), Err(Errno::EADDRINUSE), "{family:?} {form:?}");
            drop(alone);
            assert!(open().is_ok());
        });
    });
}

#[test]
fn a_receiver_of_one_source_hears_no_other() {
    hosts::test(|network| {
        let [one, two, host] = network.lan();
        each(|family, form| {
            let group = family.group(1);
            let receiver = open_receiver(&host, form, &group, PORT, Some(&family.host(2)), Some("eth0")).unwrap();
            for (sender, text) in [(&one, "other"), (&two, "wanted")] {
                open_sender(sender, form, &group, Some("eth0"), 1).unwrap().say(text);
            }
            let [datagram] = [receiver.receive()];
            assert_eq!(datagram.text, "wanted");
            assert_eq!(datagram.from.ip().to_string(), family.host(2));
            assert_eq!(receiver.waiting(), [""; 0], "{family:?} {form:?}");
        });
    });
}

#[test]
fn the_kernel_chooses_a_port_when_none_is_given() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        each(|family, form| {
            let group = family.group(1);
            let receiver = open_receiver(&host, form, &group, 0, None, Some("eth0")).unwrap();
            let port = receiver.local_addr().unwrap().port();
            assert_ne!(port, 0);
            assert_eq!(receiver.local_addr().unwrap().ip().to_string(), group);
            let from = sender.run(|| Udp::new(family));
            from.send_to(b"hello", address(&group, port)).unwrap();
            assert_eq!(receiver.receive().text, "hello");
            // Nobody else's, although the socket shares: among so many two would meet.
            let open = || open_receiver(&host, form, &group, 0, None, Some("eth0")).unwrap();
            let others: Vec<Udp> = (0..300).map(|_| open()).collect();
            let mut ports: Vec<u16> = others.iter().map(|other| other.local_addr().unwrap().port()).collect();
            ports.sort_unstable();
            ports.dedup();
            assert_eq!(ports.len(), others.len());
        });
    });
}

#[test]
fn a_group_of_one_link_goes_by_the_interface_that_is_named() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for form in FORMS {
            for (group, interface) in
                [("ff02::7", Some("eth0")), ("ff02::7%eth0", None), ("ff02::7%eth0", Some("eth0"))]
            {
                let receiver = open_receiver(&host, form, group, PORT, None, interface).unwrap();
                open_sender(&sender, form, group, interface, 1).unwrap().say("on this link");
                let datagram = receiver.receive();
                assert_eq!((datagram.text.as_str(), datagram.interface), ("on this link", host.index("eth0")));
            }
            assert_eq!(open_receiver(&host, form, "ff02::7", PORT, None, None).map(drop), Err(Errno::ENODEV));
            assert_eq!(open_sender(&host, form, "ff02::7", None, 1).map(drop), Err(Errno::ENODEV));
            let elsewhere = open_receiver(&host, form, "ff02::7%eth0", PORT, None, Some("lo"));
            assert_eq!(elsewhere.map(drop), Err(Errno::EINVAL));
        }
    });
}

#[test]
fn the_receiver_sees_the_senders_ttl() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        each(|family, form| {
            let group = family.group(1);
            let receiver = open_receiver(&host, form, &group, PORT, None, Some("eth0")).unwrap();
            for ttl in [1, 2, 255] {
                open_sender(&sender, form, &group, Some("eth0"), ttl).unwrap().say("hello");
                assert_eq!(receiver.receive().ttl, ttl, "{family:?} {form:?}");
            }
            for ttl in [-1, 256, i32::MIN, i32::MAX] {
                let refused = open_sender(&sender, form, &group, Some("eth0"), ttl);
                assert_eq!(refused.map(drop), Err(Errno::EINVAL), "{family:?} {ttl}");
            }
        });
    });
}

#[test]
fn without_a_route_a_sender_needs_an_interface() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        sender.ip("route del 224.0.0.0/4 dev eth0");
        for form in FORMS {
            let group = Family::V4.group(1);
            let receiver = open_receiver(&host, form, &group, PORT, None, Some("eth0")).unwrap();
            assert_eq!(open_sender(&sender, form, &group, None, 1).map(drop), Err(Errno::ENETUNREACH));
            open_sender(&sender, form, &group, Some("eth0"), 1).unwrap().say("hello");
            assert_eq!(receiver.receive().text, "hello", "{form:?}");
        }
        let alone = network.host("alone");
        each(|family, form| {
            assert_eq!(
                open_sender(&alone, form, &family.group(1), None, 1).map(drop),
                Err(Errno::ENETUNREACH),
                "{family:?}"
            );
        });
    });
}

#[test]
fn a_sender_needs_an_address_of_the_groups_family() {
    hosts::test(|network| {
        let [a, b] = ["a", "b"].map(|name| network.host(name));
        network.link((&a, "eth0", &["fd02::1/64"]), (&b, "eth0", &["10.2.0.2/24", "fd02::2/64"]));
        each(|family, form| {
            let result = open_sender(&a, form, &family.group(1), Some("eth0"), 1);
            let expected = if family == Family::V4 { Err(Errno::EADDRNOTAVAIL) } else { Ok(()) };
            assert_eq!(result.map(drop), expected, "{family:?} {form:?}");
        });
        a.ip("address flush dev eth0\naddress add 10.2.0.1/24 dev eth0");
        each(|family, form| {
            let result = open_sender(&a, form, &family.group(1), Some("eth0"), 1);
            let expected = if family == Family::V6 { Err(Errno::EADDRNOTAVAIL) } else { Ok(()) };
            assert_eq!(result.map(drop), expected, "{family:?} {form:?}");
        });
    });
}

#[test]
fn why_a_sender_has_no_way_is_told_apart() {
    hosts::test(|network| {
        let [a, b] = ["a", "b"].map(|name| network.host(name));
        network.link((&a, "eth0", &["10.2.0.1/24", "fd02::1/64"]), (&b, "eth0", &["10.2.0.2/24"]));
        for (kind, error) in
            [("prohibit", Errno::EACCES), ("unreachable", Errno::EHOSTUNREACH), ("blackhole", Errno::EHOSTUNREACH)]
        {
            let routes = [format!("{kind} 239.0.0.0/8"), format!("{kind} ff15::/16 table local metric 1")];
            routes.iter().for_each(|route| a.ip(&format!("route add {route}")));
            each(|family, form| {
                let result = open_sender(&a, form, &family.group(1), None, 1).map(drop);
                assert_eq!(result, Err(error), "{kind} {family:?} {form:?}");
            });
            routes.iter().for_each(|route| a.ip(&format!("route del {route}")));
        }
        a.ip("link set eth0 down");
        each(|family, form| {
            let result = open_sender(&a, form, &family.group(1), Some("eth0"), 1).map(drop);
            assert_eq!(result, Err(Errno::ENETDOWN), "{family:?} {form:?}");
        });
    });
}

#[test]
fn an_address_that_is_given_for_the_interface_is_the_source() {
    hosts::test(|network| {
        let [a, b] = ["a", "b"].map(|name| network.host(name));
        network.link((&a, "eth0", &["10.2.0.1/24", "fd02::1/64"]), (&b, "eth0", &["10.2.0.2/24", "fd02::2/64"]));
        a.address("eth0", &["10.2.0.9/24", "fd02::9/64"]);
        for (family, interface) in [(Family::V4, "10.2.0.9"), (Family::V6, "fd02::9"), (Family::V6, "fd02::1")] {
            let receiver = open_receiver(&b, Form::Text, &family.group(1), PORT, None, Some("eth0")).unwrap();
            open_sender(&a, Form::Text, &family.group(1), Some(interface), 1).unwrap().say("hello");
            assert_eq!(receiver.receive().from.ip().to_string(), interface);
        }
    });
}

/// IPv4 borrows the address of another interface.
#[test]
fn an_interface_without_an_ipv4_address_sends_from_another_ones() {
    hosts::test(|network| {
        let [a, b, c] = ["a", "b", "c"].map(|name| network.host(name));
        network.link((&a, "eth0", &["10.2.0.1/24"]), (&b, "eth0", &["10.2.0.2/24"]));
        network.link((&a, "eth1", &[]), (&c, "eth0", &["10.3.0.2/24"]));
        for variable in ["all", "eth0"] {
            c.set(&format!("net/ipv4/conf/{variable}/rp_filter"), "0");
        }
        for form in FORMS {
            let group = Family::V4.group(1);
            let receiver = open_receiver(&c, form, &group, PORT, None, Some("eth0")).unwrap();
            open_sender(&a, form, &group, Some("eth1"), 1).unwrap().say("hello");
            let datagram = receiver.receive();
            assert_eq!((datagram.text.as_str(), datagram.from.ip().to_string()), ("hello", "10.2.0.1".to_owned()));
        }
    });
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn what_fails_leaves_no_descriptor_behind() {
    hosts::test(|network| {
        let [host] = network.lan();
        let blockers =
            host.run(|| FAMILIES.map(|family| Udp::bound(SocketAddr::new(family.wildcard(), PORT + family as u16))));
        let before = open_descriptors();
        each(|family, form| {
            let (group, other) = (family.group(1), FAMILIES[1 - family as usize]);
            let eth0 = Some("eth0");
            let receivers = [
                open_receiver(&host, form, &family.host(9), PORT + 9, None, eth0),
                open_receiver(&host, form, &group, PORT + family as u16, None, eth0),
                open_receiver(&host, form, &group, PORT + 9, Some(&group), eth0),
                open_receiver(&host, form, &group, PORT + 9, Some(&other.host(3)), eth0),
                open_sender(&host, form, &group, eth0, 256),
                open_sender(&host, form, &family.host(9), eth0, 1),
            ];
            let errors = receivers.map(|result| result.map(drop));
            let expected =
                [Errno::EINVAL, Errno::EADDRINUSE, Errno::EINVAL, Errno::EAFNOSUPPORT, Errno::EINVAL, Errno::EINVAL];
            assert_eq!(errors, expected.map(Err), "{family:?} {form:?}");
            let elsewhere = open_receiver(&host, form, "ff35::7", PORT + 9, Some("fe80::1%lo"), eth0);
            assert_eq!(elsewhere.map(drop), Err(Errno::EINVAL));
            if form == Form::Text {
                assert_eq!(
                    open_receiver(&host, form, &group, PORT + 9, None, Some("eth9")).map(drop),
                    Err(Errno::ENODEV)
                );
                assert_eq!(open_sender(&host, form, &group, Some("eth9"), 1).map(drop), Err(Errno::ENODEV));
            }
        });
        // In the kernel too, an index that no interface has.
        for family in FAMILIES {
            let (group, len) = with_port(&family.group(1), PORT + 9);
            let group = (&raw const group).cast();
            // SAFETY: an address of this length.
            let results = unsafe {
                [
                    call(|| castio_open_receiver_addr(group, len, ptr::null(), 0, 999)),
                    call(|| castio_open_sender_addr(group, len, 999, 1)),
                ]
            };
            assert_eq!(results, [Err(Errno::ENODEV); 2], "{family:?}");
        }
        assert_eq!(open_descriptors(), before);
        drop(blockers);
    });
}

#[test]
fn what_is_not_there_is_told_so() {
    // SAFETY: NULL is checked.
    let results = unsafe {
        [
            call(|| castio_open_receiver(ptr::null(), 0, ptr::null(), ptr::null())),
            call(|| castio_open_sender(ptr::null(), 0, ptr::null(), 1)),
            call(|| castio_open_receiver_addr(ptr::null(), 16, ptr::null(), 0, 0)),
            call(|| castio_open_sender_addr(ptr::null(), 16, 0, 1)),
        ]
    };
    assert_eq!(results, [Err(Errno::EFAULT); 4]);
}

#[test]
fn when_no_descriptor_is_left_it_says_so() {
    hosts::test(|network| {
        let [host] = network.lan();
        let highest = open_descriptors();
        // SAFETY: a limit.
        let set = |limit| unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let mut whole = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a place for a limit.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut whole) }, 0);
        // Every number that is free below the limit is taken.
        assert_eq!(set(libc::rlimit { rlim_cur: highest as u64 + 8, ..whole }), 0);
        let mut fillers = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            fillers.push(file);
        }
        each(|family, form| {
            if form == Form::Address {
                let (group, len) = with_port(&family.group(1), PORT);
                let group = (&raw const group).cast();
                // SAFETY: an address of this length.
                let results = unsafe {
                    [
                        call(|| castio_open_receiver_addr(group, len, ptr::null(), 0, 0)),
                        call(|| castio_open_sender_addr(group, len, 0, 1)),
                    ]
                };
                assert_eq!(results, [Err(Errno::EMFILE); 2]);
            }
        });
        drop(fillers);
        assert_eq!(set(whole), 0);
        assert!(open_receiver(&host, Form::Text, &Family::V4.group(1), PORT, None, Some("eth0")).is_ok());
    });
}

#[test]
fn they_block_and_are_closed_on_exec() {
    hosts::test(|network| {
        let [host] = network.lan();
        each(|family, form| {
            let group = family.group(1);
            let receiver = open_receiver(&host, form, &group, PORT, None, Some("eth0")).unwrap();
            let sender = open_sender(&host, form, &group, Some("eth0"), 1).unwrap();
            for socket in [&receiver, &sender] {
                // SAFETY: no memory involved.
                let flags = unsafe { [libc::F_GETFD, libc::F_GETFL].map(|what| libc::fcntl(socket.as_raw_fd(), what)) };
                assert_eq!(flags[0] & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
                assert_eq!(flags[1] & libc::O_NONBLOCK, 0);
            }
        });
    });
}
