//! The diagnosis of what is joined as it should be, and yet isn't heard or sent: ports of bridges and bonds, filters on
//! the socket, ports shared by SO_REUSEPORT, a source address that is gone; and cures that a shell reads.

mod support;

use std::os::fd::{AsFd, AsRawFd};

use castio::multicast::{endpoint, options};
use castio::sys::multicast::Target;
use libc::{SO_REUSEADDR, SO_REUSEPORT};
use support::doctor::{
    Ask, BROKEN, LIKELY, UNCHECKED, arrives, first, healthy, join, join_source, only, send, shared, well,
};
use support::hosts;
use support::udp::{FAMILIES, Family, PORT, Udp};

#[test]
fn what_arrives_on_a_port_belongs_to_its_master() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        host.ip("link add br0 type bridge mcast_snooping 0 stp_state 0\nlink set br0 up");
        host.address("br0", &["10.1.0.2/24", "fd01::2/64"]);
        let receivers = FAMILIES.map(|family| {
            let receiver = shared(&host, family, &[SO_REUSEADDR]);
            join(&host, &receiver, &family.group(1), "eth0");
            (family, receiver)
        });
        host.ip("link set eth0 master br0");
        host.wait_for_link("br0");
        for (family, receiver) in &receivers {
            let group = family.group(1);
            for ask in [Ask::receiver(&group), Ask::receiver(&group).on(None)] {
                let found = first(&ask.of(&host, receiver), "PORT_OF_MASTER", BROKEN, &["eth0", "br0"]);
                assert_eq!(found.cure, format!("castio_join_group(fd, \"{group}\", \"br0\")"));
            }
            send(&sender, &group, "to the port");
            assert_eq!(receiver.waiting(), [""; 0]);
            // The cure.
            join(&host, receiver, &group, "br0");
            healthy(&Ask::receiver(&group).of(&host, receiver));
            healthy(&Ask::receiver(&group).on(Some("br0")).of(&host, receiver));
            hosts::until("the bridge forwards", || {
                send(&sender, &group, "to the bridge");
                !receiver.waiting().is_empty()
            });
        }

        host.ip("link set eth0 nomaster\nlink del br0");
    });
}

/// Attaches a program of classic BPF.
fn attach(socket: &Udp, program: &mut [libc::sock_filter]) {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let (at, len) = ((&raw const program).cast(), size_of_val(&program) as u32);
    // SAFETY: a program and its length.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, at, len) };
    assert_eq!(result, 0);
}

#[test]
fn a_filter_on_the_socket_drops() {
    let step = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&host, family, &group);
            let ask = Ask::receiver(&group);
            // return 65535
            attach(&receiver, &mut [step(0x06, 0xffff)]);
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
            // return 0
            attach(&receiver, &mut [step(0x06, 0)]);
            let found = only(&ask.of(&host, &receiver), "SOCKET_FILTER", BROKEN, &["1 instructions", "nothing"]);
            assert!(found.cure.contains("SO_DETACH_FILTER"));
            // A = 0; return A
            attach(&receiver, &mut [step(0x00, 0), step(0x16, 0)]);
            only(&ask.of(&host, &receiver), "SOCKET_FILTER", UNCHECKED, &["2 instructions"]);
            let drops = || castio::sys::option::drops(receiver.as_fd()).unwrap();
            hosts::until("one is dropped", || {
                send(&sender, &group, "it is dropped");
                drops() > 0
            });
            assert_eq!(receiver.waiting(), [""; 0]);
            let found = only(&ask.of(&host, &receiver), "SOCKET_FILTER", LIKELY, &["were dropped so far"]);
            assert!(!found.cure.contains("receive_buffer"));
            // The cure.
            receiver.set(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0).unwrap();
            arrives(&sender, &receiver, &group);
        }
    });
}

#[test]
fn a_port_shared_by_reuseport_and_filters_that_differ() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        let (group, own, foreign) = (Family::V4.group(1), Family::V4.host(1), Family::V4.host(9));
        let ask = Ask::receiver(&group);
        let pair = |options: &[i32]| {
            let [one, other] = [&own, &foreign].map(|source| {
                let socket = shared(&host, Family::V4, options);
                options::set_all(socket.as_fd(), false).unwrap();
                join_source(&host, &socket, &group, source, "eth0");
                socket
            });
            (one, other)
        };
        let names = |socket: &Udp| ask.of(&host, socket).into_iter().map(|found| found.name).collect::<Vec<_>>();
        let (one, other) = pair(&[SO_REUSEPORT]);
        for socket in [&one, &other] {
            let found = first(&ask.of(&host, socket), "REUSEPORT_GROUP", LIKELY, &["1 more", "2 source filters"]);
            assert!(found.cure.contains("SO_REUSEADDR"));
        }
        drop(other);
        assert!(!names(&one).contains(&"REUSEPORT_GROUP".to_owned()));
        drop(one);
        let (one, other) = pair(&[SO_REUSEADDR, SO_REUSEPORT]);
        let found = ask.of(&host, &one);
        assert!(found.iter().any(|one| one.name == "REUSEPORT_GROUP" && one.severity == UNCHECKED), "{found:#?}");
        drop((one, other));
        // The cure.
        let (one, other) = pair(&[SO_REUSEADDR]);
        assert!(!names(&one).contains(&"REUSEPORT_GROUP".to_owned()));
        for _ in 0..12 {
            send(&sender, &group, "for one of them");
            assert_eq!(one.receive().text, "for one of them");
        }
        assert_eq!(other.waiting(), [""; 0]);
    });
}

#[test]
fn a_connected_sender_whose_address_is_gone() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        let group = Family::V4.group(1);
        let target = Target { group: group.parse().unwrap(), interface: host.index("eth0") };
        let open = || host.run(|| Udp::take(endpoint::open_sender(target, None, PORT, 8).unwrap()));
        let receiver = well(&other, Family::V4, &group);
        let sender = open();
        let ask = Ask::sender(&group);
        healthy(&ask.of(&host, &sender));
        host.ip("address del 10.1.0.1/24 dev eth0\naddress add 10.1.0.9/24 dev eth0\n\
                 route replace 224.0.0.0/4 dev eth0");

        let found = first(&ask.of(&host, &sender), "SOURCE_ADDRESS_GONE", BROKEN, &["10.1.0.1", "connected"]);
        assert!(found.cure.starts_with(&format!("castio_open_sender(\"{group}\", {PORT}, \"eth0\", TTL)")));
        assert!(std::ops::Deref::deref(&sender).send(b"from nowhere").is_err());
        // Both cures.
        open().say("a new one");
        assert_eq!(receiver.receive().text, "a new one");
        let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
        // SAFETY: an address and its length.
        let result = unsafe { libc::connect(sender.as_raw_fd(), &raw const none, size_of_val(&none) as u32) };
        assert_eq!(result, 0);
        host.run(|| options::set_interface(sender.as_fd(), target.interface)).unwrap();
        sender.connect(support::udp::address(&group, PORT)).unwrap();
        sender.say("connected again");
        assert_eq!(receiver.receive().text, "connected again");
    });
}

#[test]
fn a_cure_is_read_by_a_shell_whatever_the_interface_is_called() {
    hosts::test(|network| {
        let [_sender, host] = network.lan();
        let name = "a;b'$(c)\"";
        host.run(|| {
            let add = ["link", "add", "name", name, "type", "veth", "peer", "name", "other"];
            assert!(std::process::Command::new("ip").args(add).status().unwrap().success());
        });
        let receiver = host.run(|| Udp::receiver(Family::V4));
        let group = Family::V4.group(1);
        join(&host, &receiver, &group, name);
        let found =
            first(&Ask::receiver(&group).on(Some(name)).of(&host, &receiver), "INTERFACE_DOWN", BROKEN, &[name]);
        let shell = || std::process::Command::new("sh").args(["-c", &found.cure]).status().unwrap().success();
        assert!(host.run(shell), "{}", found.cure);
        let after = Ask::receiver(&group).on(Some(name)).of(&host, &receiver);
        assert!(after.iter().all(|found| found.name != "INTERFACE_DOWN"), "{after:#?}");
        let elsewhere = Ask::receiver("239.7.7.7").on(Some(name)).of(&host, &receiver);
        let elsewhere = elsewhere.iter().find(|found| found.name == "NOT_JOINED").unwrap();
        assert!(elsewhere.cure.ends_with(r#", "a;b'$(c)\"")"#), "{}", elsewhere.cure);
    });
}
