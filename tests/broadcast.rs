//! Broadcast: who gets what is sent.

mod support;

use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::ptr;

use castio::Errno;
use castio::ffi::broadcast::*;
use support::face::{Outcome, call, pointer, text};
use support::hosts::{self, Host, Network};
use support::networks::{address_of, without_broadcast};
use support::tools;
use support::udp::{Family, PORT, Udp, address};

fn enable(socket: &impl AsRawFd, on: i32) -> Outcome {
    // SAFETY: no memory involved.
    call(|| unsafe { castio_enable_broadcast(socket.as_raw_fd(), on) })
}

fn is_enabled(socket: &impl AsRawFd) -> Outcome {
    // SAFETY: as above.
    call(|| unsafe { castio_get_broadcast(socket.as_raw_fd()) })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Directed,
    Limited,
}

const REACHES: [Reach; 2] = [Reach::Directed, Reach::Limited];

impl Reach {
    /// The outcome, and how many datagrams were sent.
    fn send(self, host: &Host, socket: &impl AsRawFd, bytes: &[u8], interface: Option<&str>) -> (Outcome, usize) {
        let (fd, interface, mut sent) = (socket.as_raw_fd(), interface.map(text), usize::MAX);
        let function = match self {
            Reach::Directed => castio_send_broadcast,
            Reach::Limited => castio_send_limited_broadcast,
        };
        let outcome = host.run(|| {
            let (bytes_at, interface) = (bytes.as_ptr().cast(), pointer(&interface));
            // SAFETY: bytes, text that ends in a NUL or NULL, and a place.
            call(|| unsafe { function(fd, bytes_at, bytes.len(), PORT, interface, &raw mut sent) as i64 })
        });
        (outcome, sent)
    }
}

/// A socket that may send broadcasts.
fn broadcaster(host: &Host) -> Udp {
    let socket = host.run(|| Udp::new(Family::V4));
    enable(&socket, 1).unwrap();
    socket
}

fn receiver(host: &Host) -> Udp {
    host.run(|| Udp::receiver(Family::V4))
}

/// A host with a cable to each of three others, on networks 10.2.0, 10.3.0 and 10.4.0.
fn star(network: &Network) -> (Host, [Host; 3]) {
    let (hub, ends) = (network.host("hub"), ["b", "c", "d"].map(|name| network.host(name)));
    for (number, end) in ends.iter().enumerate() {
        let [near, far] = [1, 2].map(|last| format!("10.{}.0.{last}/24", number + 2));
        network.link((&hub, &format!("eth{number}"), &[&near]), (end, "eth0", &[&far]));
    }
    (hub, ends)
}

#[test]
fn permission_is_given_taken_and_needed() {
    hosts::test(|network| {
        let [sender, other] = network.lan();
        let (from, to) = (sender.run(|| Udp::new(Family::V4)), receiver(&other));
        assert_eq!(is_enabled(&from), Ok(0), "the kernel's default");
        for (on, expected) in [(0, 0), (1, 1), (0, 0), (-9, 1)] {
            assert_eq!(enable(&from, on), Ok(0));
            assert_eq!(is_enabled(&from), Ok(expected));
            let allowed = expected == 1;
            let outcome = if allowed { (Ok(1), 1) } else { (Err(Errno::EACCES), 0) };
            for (reach, interface) in
                REACHES.into_iter().flat_map(|reach| [None, Some("eth0")].map(|name| (reach, name)))
            {
                assert_eq!(reach.send(&sender, &from, b"hello", interface), outcome, "{reach:?} {interface:?}");
                from.end("10.1.0.2");
                assert_eq!(to.texts(), vec!["hello"; usize::from(allowed)], "{reach:?} {interface:?}");
            }
        }
    });
}

#[test]
fn a_point_to_point_link_has_the_broadcast_address_of_its_network() {
    hosts::test(|network| {
        if std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_err() {
            return tools::skip("/dev/net/tun can't be opened");
        }
        let host = network.host("host");
        host.ip("tuntap add dev tun0 mode tun\nlink set tun0 up\naddress add 10.9.0.1/24 dev tun0");
        // The kernel has a broadcast route for it, whatever the flags of the link.
        assert_eq!(address_of(&host, "tun0"), Ok("10.9.0.255".to_owned()));
        assert_eq!(address_of(&host, "10.9.0.1"), Ok("10.9.0.255".to_owned()));
        let bare = host.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        assert_eq!(bare.send_to(b"hello", "10.9.0.255:9").unwrap_err().raw_os_error(), Some(libc::EACCES));
        // Every interface that has broadcast by its flags: it has not.
        let from = broadcaster(&host);
        for reach in REACHES {
            assert_eq!(reach.send(&host, &from, b"hello", None), (Err(Errno::EADDRNOTAVAIL), 0), "{reach:?}");
        }
    });
}

#[test]
fn every_host_of_the_lan_gets_it_unless_it_listens_to_unicast_only() {
    hosts::test(|network| {
        let [sender, b, c, d, e] = network.lan();
        let from = broadcaster(&sender);
        for (reach, to) in [(Reach::Directed, "10.1.0.255"), (Reach::Limited, "255.255.255.255")] {
            let listeners = [&b, &c].map(receiver);
            let unicast = d.run(|| Udp::bound(address("10.1.0.4", PORT)));
            let only_broadcast = e.run(|| Udp::bound(address(to, PORT)));
            assert_eq!(reach.send(&sender, &from, b"to all", Some("eth0")), (Ok(1), 1));
            (2..=5).for_each(|number| from.end(&format!("10.1.0.{number}")));
            for listener in &listeners {
                let [datagram] = listener.all().try_into().unwrap();
                assert_eq!((datagram.text.as_str(), datagram.to.to_string().as_str()), ("to all", to));
                assert_eq!(datagram.from.ip().to_string(), "10.1.0.1");
            }
            assert_eq!(unicast.texts(), [""; 0], "{reach:?}");
            assert_eq!(only_broadcast.receive().text, "to all");
            assert_eq!(only_broadcast.waiting(), [""; 0], "{reach:?}");
        }
    });
}

#[test]
fn it_goes_out_of_the_interface_that_is_named() {
    hosts::test(|network| {
        let (hub, ends) = star(network);
        let from = broadcaster(&hub);
        let receivers = ends.each_ref().map(receiver);
        let index = hub.index("eth1").to_string();
        let check = |routes: &str| {
            for (reach, name) in
                REACHES.into_iter().flat_map(|reach| ["eth1", "10.3.0.1", &index].map(|name| (reach, name)))
            {
                let said = format!("{reach:?} {name} {routes}");
                assert_eq!(reach.send(&hub, &from, said.as_bytes(), Some(name)), (Ok(1), 1), "{said}");
                let datagram = receivers[1].receive();
                let to = if reach == Reach::Directed { "10.3.0.255" } else { "255.255.255.255" };
                assert_eq!((datagram.text.as_str(), datagram.to.to_string().as_str()), (said.as_str(), to));
                assert_eq!(datagram.from.ip().to_string(), "10.3.0.1", "{said}");
            }
            assert_eq!(receivers.each_ref().map(|receiver| receiver.waiting().len()), [0; 3], "{routes}");
        };
        check("without a default route");
        hub.ip("route add default via 10.2.0.2");
        check("with a default route elsewhere");
        hub.ip("route add 10.3.0.255/32 via 10.2.0.2\nroute add 255.255.255.255/32 via 10.2.0.2");
        check("with routes that say otherwise");
        hub.ip("route flush table main");
        check("without any route");
    });
}

#[test]
fn of_two_networks_on_one_interface_the_address_says_which() {
    hosts::test(|network| {
        let [sender, other] = network.lan();
        sender.address("eth0", &["10.5.0.1/16"]);
        other.address("eth0", &["10.5.0.2/16"]);
        let (from, to) = (broadcaster(&sender), receiver(&other));
        for (name, address) in [("10.5.0.1", "10.5.255.255"), ("10.1.0.1", "10.1.0.255"), ("eth0", "10.1.0.255")] {
            assert_eq!(Reach::Directed.send(&sender, &from, b"hello", Some(name)), (Ok(1), 1));
            assert_eq!(to.receive().to.to_string(), address, "{name}");
            assert_eq!(Reach::Limited.send(&sender, &from, b"hello", Some(name)), (Ok(1), 1));
            assert_eq!(to.receive().to.to_string(), "255.255.255.255", "{name}");
        }
        assert_eq!(to.waiting(), [""; 0]);
    });
}

#[test]
fn without_an_interface_it_goes_out_once_of_each() {
    hosts::test(|network| {
        let (hub, ends) = star(network);
        // A second address in one network changes nothing; neither do these: one is down, one has
        // no broadcast address.
        hub.ip("address add 10.3.0.7/24 dev eth1\nlink add off type veth peer name pair\nlink set pair up");
        hub.ip("address add 10.7.0.1/24 dev off\naddress add 10.8.0.0/31 dev pair");
        let (from, receivers) = (broadcaster(&hub), ends.each_ref().map(receiver));
        let end = || (2..=4).for_each(|number| from.end(&format!("10.{number}.0.2")));
        assert_eq!(Reach::Directed.send(&hub, &from, b"directed", None), (Ok(3), 3));
        end();
        for receiver in &receivers {
            assert_eq!(receiver.texts(), ["directed"]);
        }
        // Limited broadcast needs no address, so "pair" counts too.
        assert_eq!(Reach::Limited.send(&hub, &from, b"limited", None), (Ok(4), 4));
        end();
        for receiver in &receivers {
            assert_eq!(receiver.texts(), ["limited"]);
        }
    });
}

#[test]
fn a_limited_broadcast_needs_no_address_on_its_interface() {
    hosts::test(|network| {
        let [a, b, c] = ["a", "b", "c"].map(|name| network.host(name));
        network.link((&a, "eth0", &[]), (&b, "eth0", &["10.2.0.2/24"]));
        let (from, at_b) = (broadcaster(&a), receiver(&b));
        for name in [Some("eth0"), None] {
            assert_eq!(Reach::Limited.send(&a, &from, b"from nowhere", name), (Ok(1), 1), "{name:?}");
            let datagram = at_b.receive();
            assert_eq!(
                (datagram.text.as_str(), datagram.from.ip().to_string()),
                ("from nowhere", "0.0.0.0".to_owned())
            );
        }
        // Another interface with an address and the only route doesn't draw it away.
        network.link((&a, "eth1", &["10.3.0.1/24"]), (&c, "eth0", &["10.3.0.2/24"]));
        a.ip("route add default via 10.3.0.2");
        let at_c = receiver(&c);
        assert_eq!(Reach::Limited.send(&a, &from, b"by eth0", Some("eth0")), (Ok(1), 1));
        assert_eq!(at_b.receive().text, "by eth0");
        assert_eq!((at_b.waiting(), at_c.waiting()), (vec![], vec![]));
    });
}

#[test]
fn one_interface_that_fails_keeps_none_of_the_others_from_sending() {
    hosts::test(|network| {
        let (hub, ends) = star(network);
        let (from, receivers) = (broadcaster(&hub), ends.each_ref().map(receiver));
        // Too much for one link when nothing may be fragmented.
        hub.ip("link set eth1 mtu 600");
        from.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO).unwrap();
        let bytes = [b'x'; 1000];
        for reach in REACHES {
            assert_eq!(reach.send(&hub, &from, &bytes, None), (Err(Errno::EMSGSIZE), 2), "{reach:?}");
            (2..=4).for_each(|number| from.end(&format!("10.{number}.0.2")));
            assert_eq!(receivers.each_ref().map(|receiver| receiver.texts().len()), [1, 0, 1], "{reach:?}");
            assert_eq!(reach.send(&hub, &from, &bytes, Some("eth1")), (Err(Errno::EMSGSIZE), 0), "{reach:?}");
        }
    });
}

#[test]
fn an_interface_that_is_down_says_so() {
    hosts::test(|network| {
        let (hub, ends) = star(network);
        let (from, receivers) = (broadcaster(&hub), ends.each_ref().map(receiver));
        hub.ip("link set eth1 down");
        for reach in REACHES {
            let (outcome, sent) = reach.send(&hub, &from, b"hello", Some("eth1"));
            assert!([Err(Errno::ENETDOWN), Err(Errno::ENETUNREACH)].contains(&outcome), "{reach:?} {outcome:?}");
            assert_eq!(sent, 0);
            assert_eq!(reach.send(&hub, &from, b"hello", None), (Ok(2), 2), "{reach:?}");
            for receiver in [&receivers[0], &receivers[2]] {
                assert_eq!(receiver.receive().text, "hello");
            }
        }
        assert_eq!(receivers.each_ref().map(|receiver| receiver.waiting().len()), [0; 3]);
    });
}

#[test]
fn a_bound_socket_sends_from_its_address() {
    hosts::test(|network| {
        let [sender, other] = network.lan();
        sender.address("eth0", &["10.1.0.77/24"]);
        let to = receiver(&other);
        for own in ["10.1.0.1", "10.1.0.77"] {
            let from = sender.run(|| Udp::bound(address(own, 4000)));
            enable(&from, 1).unwrap();
            for reach in REACHES {
                assert_eq!(reach.send(&sender, &from, b"hello", Some("eth0")), (Ok(1), 1));
                assert_eq!(to.receive().from, address(own, 4000), "{reach:?}");
            }
        }
    });
}

#[test]
fn a_socket_bound_to_the_broadcast_address_sends_from_the_interfaces() {
    hosts::test(|network| {
        let [sender, other] = network.lan();
        let to = receiver(&other);
        for own in ["10.1.0.255", "255.255.255.255"] {
            let from = sender.run(|| Udp::bound(address(own, 4000)));
            enable(&from, 1).unwrap();
            for reach in REACHES {
                assert_eq!(reach.send(&sender, &from, b"hello", Some("eth0")), (Ok(1), 1));
                assert_eq!(to.receive().from, address("10.1.0.1", 4000), "{reach:?}");
            }
        }
    });
}

#[test]
fn the_loopback_interface_has_a_broadcast_address_when_it_is_named() {
    hosts::test(|network| {
        let host = network.host("host");
        for name in ["lo", "127.0.0.1", "1"] {
            assert_eq!(address_of(&host, name), Ok("127.255.255.255".to_owned()), "{name}");
            let (from, to) = (broadcaster(&host), receiver(&host));
            for reach in REACHES {
                assert_eq!(reach.send(&host, &from, b"hello", Some(name)), (Ok(1), 1), "{reach:?}");
                assert_eq!(to.receive().text, "hello");
                // Among all interfaces it isn't counted.
                assert_eq!(reach.send(&host, &from, b"hello", None), (Err(Errno::EADDRNOTAVAIL), 0), "{reach:?}");
            }
            assert_eq!(to.waiting(), [""; 0]);
        }
    });
}

#[test]
fn an_empty_and_a_large_datagram() {
    hosts::test(|network| {
        let [sender, other] = network.lan();
        let (from, to) = (broadcaster(&sender), receiver(&other));
        for reach in REACHES {
            assert_eq!(reach.send(&sender, &from, b"", Some("eth0")), (Ok(1), 1));
            assert_eq!(to.receive().text, "");
            for size in [1472, 1473, 65_507] {
                assert_eq!(reach.send(&sender, &from, &vec![b'x'; size], Some("eth0")), (Ok(1), 1), "{reach:?} {size}");
                assert_eq!(to.receive().text.len(), size);
            }
            for size in [65_508, 100_000] {
                let outcome = reach.send(&sender, &from, &vec![0; size], Some("eth0"));
                assert_eq!(outcome, (Err(Errno::EMSGSIZE), 0), "{reach:?} {size}");
            }
        }
        assert_eq!(to.waiting(), [""; 0]);
    });
}

#[test]
fn a_socket_that_cannot_broadcast_says_so() {
    hosts::test(|network| {
        let [host] = network.lan();
        let stream = host.run(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let v6 = host.run(|| UdpSocket::bind("[::]:0").unwrap());
        let unix = UnixDatagram::unbound().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let cases = [
            (v6.as_raw_fd(), Errno::EAFNOSUPPORT),
            (stream.as_raw_fd(), Errno::EPROTOTYPE),
            (unix.as_raw_fd(), Errno::EAFNOSUPPORT),
            (file.as_raw_fd(), Errno::ENOTSOCK),
            (-1, Errno::EBADF),
            (1 << 20, Errno::EBADF),
        ];
        for ((fd, error), reach) in cases.into_iter().flat_map(|case| REACHES.map(|reach| (case, reach))) {
            for interface in [None, Some("eth0")] {
                assert_eq!(reach.send(&host, &fd, b"hello", interface), (Err(error), 0), "{reach:?} {interface:?}");
            }
        }
        for (fd, error) in cases.into_iter().filter(|(_, error)| [Errno::ENOTSOCK, Errno::EBADF].contains(error)) {
            assert_eq!((enable(&fd, 1), is_enabled(&fd)), (Err(error), Err(error)));
        }
    });
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    hosts::test(|network| {
        let [sender, other] = network.lan();
        let (from, to) = (broadcaster(&sender), receiver(&other));
        let fd = from.as_raw_fd();
        for (reach, function) in [
            (Reach::Directed, castio_send_broadcast as unsafe extern "C" fn(_, _, _, _, _, _) -> _),
            (Reach::Limited, castio_send_limited_broadcast),
        ] {
            assert_eq!(reach.send(&sender, &from, b"hello", Some("")), (Err(Errno::EINVAL), 0));
            let send = |bytes: Option<&[u8]>, len: usize, port| {
                let (bytes, mut sent) = (bytes.map_or(0, |bytes| bytes.as_ptr() as usize), 9);
                let outcome = sender.run(|| {
                    let bytes = bytes as *const libc::c_void;
                    // SAFETY: so many bytes, or what is checked; a place.
                    call(|| unsafe { function(fd, bytes, len, port, c"eth0".as_ptr(), &raw mut sent) as i64 })
                });
                (outcome, sent)
            };
            assert_eq!(send(None, 5, PORT), (Err(Errno::EFAULT), 0), "{reach:?}");
            assert_eq!(send(None, usize::MAX, PORT), (Err(Errno::EINVAL), 0), "{reach:?}");
            assert_eq!(send(Some(b"hello"), 5, 0), (Err(Errno::EINVAL), 0), "{reach:?}");
            assert_eq!(send(None, 0, PORT), (Ok(1), 1), "{reach:?}");
            assert_eq!(to.receive().text, "");
            // The count may stay untold.
            let untold = || {
                // SAFETY: as above, and no place.
                unsafe { function(fd, b"hello".as_ptr().cast(), 5, PORT, c"eth0".as_ptr(), ptr::null_mut()) as i64 }
            };
            assert_eq!(sender.run(|| call(untold)), Ok(1));
            assert_eq!(to.receive().text, "hello");
        }
        assert_eq!(to.waiting(), [""; 0]);
    });
}

#[test]
fn without_a_broadcast_address_nothing_is_sent() {
    hosts::test(|network| {
        let host = without_broadcast(network);
        let from = broadcaster(&host);
        for none in [Some("bare"), Some("fd01::1"), Some("pair"), Some("10.1.0.0"), None] {
            let outcome = Reach::Directed.send(&host, &from, b"hello", none);
            assert_eq!(outcome, (Err(Errno::EADDRNOTAVAIL), 0), "{none:?}");
        }
        for (reach, missing) in
            REACHES.into_iter().flat_map(|reach| ["eth9", "999", "10.1.0.99"].map(|name| (reach, name)))
        {
            let outcome = reach.send(&host, &from, b"hello", Some(missing));
            assert_eq!(outcome, (Err(Errno::ENODEV), 0), "{reach:?} {missing}");
        }
    });
}
