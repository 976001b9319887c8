//! Batches that many receive: multicast and broadcast.

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use support::datagrams::*;
use support::hosts;

const PORT: u16 = 5000;

/// The wildcard of each family.
const ANY: [&str; 2] = ["0.0.0.0", "::"];

fn at(ip: &str, port: u16) -> SocketAddr {
    (ip.parse::<IpAddr>().unwrap(), port).into()
}

fn payloads_of(count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| numbered(number, len)).collect()
}

#[test]
fn a_batch_to_a_group_reaches_every_member_once() {
    hosts::test(|network| {
        let [one, two, three] = network.lan();
        for (group, any) in ["239.1.2.3", "ff15::7"].into_iter().zip(ANY) {
            let to = at(group, PORT);
            let receivers = [&two, &three].map(|host| {
                let index = host.index("eth0");
                host.run(|| {
                    let socket = Socket::telling(at(any, PORT));
                    match to.ip() {
                        IpAddr::V4(v4) => socket.join_multicast_v4(&v4, &Ipv4Addr::UNSPECIFIED).unwrap(),
                        IpAddr::V6(v6) => socket.join_multicast_v6(&v6, index).unwrap(),
                    }
                    socket
                })
            });
            let mut sent = payloads_of(40, 1000);
            sent.extend((0..10).map(|number| numbered(number, 10 + number)));
            // Segmentation to one handle, coalescing in the other.
            let handle = Receiver::open(&receivers[1], COALESCE);
            let index = one.index("eth0");
            one.run(|| {
                stay_on_one_processor();
                let socket = Socket::bound(at(any, 0));
                let mut list = List::new();
                sent.iter().for_each(|payload| list.add(&[payload], Some(to)).ifindex = index);
                Sender::open(&socket).sends(&list);
                let mut end = List::new();
                end.add(&[b"that was all"], Some(to)).ifindex = index;
                Sender::open(&socket).sends(&end);
            });
            let [plain, views] = [receivers[0].arrivals(), handle.arrivals()];
            for arrived in [&plain, &views] {
                assert_came(arrived, &sent);
                assert!(arrived.iter().all(|arrival| arrival.to == Some(to.ip())));
            }
            assert!(views.iter().all(|view| view.interface == three.index("eth0") && view.ttl == 1));
        }
    });
}

#[test]
fn a_batch_leaves_by_the_interface_that_was_asked_for() {
    hosts::test(|network| {
        let [one, two, three] = [network.host("one"), network.host("two"), network.host("three")];
        network.link((&one, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (&two, "eth0", &["10.1.0.2/24", "fd01::2/64"]));
        network.link((&one, "eth1", &["10.2.0.1/24", "fd02::1/64"]), (&three, "eth0", &["10.2.0.2/24", "fd02::2/64"]));
        for (group, any) in ["224.0.0.1", "ff02::1"].into_iter().zip(ANY) {
            let receivers = [&two, &three].map(|host| host.run(|| Socket::telling(at(any, PORT))));
            let sent = payloads_of(20, 200);
            let indices = [one.index("eth0"), one.index("eth1")];
            one.run(|| {
                stay_on_one_processor();
                let socket = Socket::bound(at(any, 0));
                let mut list = List::new();
                for (number, payload) in sent.iter().enumerate() {
                    list.add(&[payload], Some(at(group, PORT))).ifindex = indices[number / 5 % 2];
                }
                indices.iter().for_each(|index| list.add(&[b"that was all"], Some(at(group, PORT))).ifindex = *index);
                Sender::open(&socket).sends(&list);
            });
            for (whose, receiver) in receivers.iter().enumerate() {
                let mine: Vec<_> = sent.chunks(5).skip(whose).step_by(2).flatten().cloned().collect();
                assert_came(&receiver.arrivals(), &mine);
            }
        }
    });
}

#[test]
fn a_batch_is_broadcast() {
    hosts::test(|network| {
        let [one, two, three] = network.lan();
        let receivers = [&two, &three].map(|host| host.run(|| Socket::telling(at("0.0.0.0", PORT))));
        let handles = receivers.each_ref().map(|socket| Receiver::open(socket, COALESCE));
        let sent = payloads_of(30, 700);
        let to = at("10.1.0.255", PORT);
        stay_on_one_processor();
        let socket = one.run(|| Socket::bound(at("0.0.0.0", 0)));
        let sender = Sender::open(&socket);
        // Not without being allowed to.
        assert_eq!(sender.send(&List::of(&sent, Some(to)), 0), (Err(libc::EACCES), 0));
        socket.set_broadcast(true).unwrap();
        sender.sends(&List::of(&sent, Some(to)));
        socket.end(to);
        for handle in &handles {
            let arrived = handle.arrivals();
            assert_came(&arrived, &sent);
            assert!(arrived.iter().all(|arrival| arrival.to == Some(to.ip())));
        }
        // Those over the MTU are fragmented.
        let large = payloads_of(3, 2000);
        sender.sends(&List::of(&large, Some(to)));
        socket.end(to);
        handles.iter().for_each(|handle| assert_came(&handle.arrivals(), &large));
    });
}
