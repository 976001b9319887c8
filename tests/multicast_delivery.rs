//! Multicast between hosts: who joined gets it, once, and nobody else does.

mod support;

use std::os::fd::AsFd;

use castio::multicast::{endpoint, membership};
use castio::sys::multicast::Target;
use support::face::{FORMS, Form, GroupCall, JOIN, LEAVE};
use support::hosts::{self, Host};
use support::link::{Kind, Watch};
use support::udp::{FAMILIES, Family, PORT, Udp};

/// Joins or leaves on a host; it has to work.
fn ask(host: &Host, form: Form, call: GroupCall, socket: &Udp, group: &str, interface: Option<&str>) {
    let result = host.run(|| form.group(call, socket, group, interface));
    assert_eq!(result, Ok(0), "{form:?} {group} {interface:?}");
}

#[test]
fn one_datagram_reaches_every_host_that_joined_once_and_no_other() {
    hosts::test(|network| {
        let [sender, b, c, d, outsider] = network.lan();
        for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
            let group = family.group(7);
            let receivers = [&b, &c, &d].map(|host| {
                let receiver = host.run(|| Udp::receiver(family));
                ask(host, form, JOIN, &receiver, &group, Some("eth0"));
                receiver
            });
            let not_joined = outsider.run(|| Udp::receiver(family));
            let from = sender.run(|| Udp::new(family));
            from.send("once", &group);
            (2..=5).for_each(|number| from.end(&family.host(number)));
            for receiver in &receivers {
                let [datagram] = receiver.all().try_into().unwrap();
                assert_eq!((datagram.text.as_str(), datagram.to.to_string()), ("once", group.clone()));
                assert_eq!(datagram.from.ip().to_string(), family.host(1));
            }
            assert!(not_joined.texts().is_empty(), "{family:?} {form:?}");
        }
    });
}

/// What a receiver lets in, by the numbers of the senders.
#[derive(Clone, Copy, Debug)]
enum Wants {
    All,
    One(usize),
    AllBut(usize),
}

impl Wants {
    fn has(self, number: usize) -> bool {
        match self {
            Wants::All => true,
            Wants::One(wanted) => wanted == number,
            Wants::AllBut(blocked) => blocked != number,
        }
    }

    fn open(self, host: &Host, family: Family) -> Udp {
        let index = host.index("eth0");
        let target = Target { group: family.group(7).parse().unwrap(), interface: index };
        let ip = |number: usize| family.host(number).parse().unwrap();
        host.run(|| {
            let source = if let Wants::One(number) = self { Some(ip(number)) } else { None };
            let fd = endpoint::open_receiver(target, PORT, source).unwrap();
            if let Wants::AllBut(number) = self {
                membership::block_source(fd.as_fd(), target, ip(number)).unwrap();
            }
            Udp::take(fd)
        })
    }
}

#[test]
fn receivers_of_one_port_whose_filters_differ_get_what_is_theirs() {
    const FLOWS: usize = 12;
    hosts::test(|network| {
        let [one, two, host] = network.lan();
        let pairs = [(Wants::One(1), Wants::One(2)), (Wants::All, Wants::One(2)), (Wants::All, Wants::AllBut(1))];
        for (family, (first, second)) in FAMILIES.into_iter().flat_map(|family| pairs.map(|pair| (family, pair))) {
            let receivers = [first, second].map(|wants| (wants, wants.open(&host, family)));
            // Another source port is another flow, for which the kernel may choose anew.
            for (number, sender) in [(1, &one), (2, &two)] {
                for _ in 0..FLOWS {
                    sender.run(|| Udp::new(family)).send(&number.to_string(), &family.group(7));
                }
            }
            for (wants, receiver) in &receivers {
                let expected = FLOWS * [1, 2].into_iter().filter(|number| wants.has(*number)).count();
                let texts: Vec<String> = (0..expected).map(|_| receiver.receive().text).collect();
                assert!(texts.iter().all(|text| wants.has(text.parse().unwrap())), "{family:?} {wants:?} {texts:?}");
                assert_eq!(receiver.waiting(), [""; 0], "{family:?} {wants:?}");
            }
        }
    });
}

#[test]
fn the_senders_own_host_gets_it_too() {
    hosts::test(|network| {
        let [host, other] = network.lan();
        for family in FAMILIES {
            let group = family.group(7);
            let [here, there] = [&host, &other].map(|host| {
                let receiver = host.run(|| Udp::receiver(family));
                ask(host, Form::Text, JOIN, &receiver, &group, Some("eth0"));
                receiver
            });
            let from = host.run(|| Udp::new(family));
            from.send("to all", &group);
            from.end(&family.host(1));
            from.end(&family.host(2));
            assert_eq!(here.texts(), ["to all"], "{family:?}");
            assert_eq!(there.texts(), ["to all"], "{family:?}");
        }
    });
}

#[test]
fn one_socket_gets_each_of_its_groups_and_no_other() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for family in FAMILIES {
            let groups: Vec<String> = (1..=21).map(|number| family.group(number)).collect();
            let (joined, foreign) = groups.split_at(20);
            let receiver = host.run(|| Udp::receiver(family));
            joined.iter().for_each(|group| ask(&host, Form::Text, JOIN, &receiver, group, Some("eth0")));
            let from = sender.run(|| Udp::new(family));
            foreign.iter().chain(joined).for_each(|group| from.send(group, group));
            from.end(&family.host(2));
            assert_eq!(receiver.texts(), joined, "{family:?}");
        }
    });
}

#[test]
fn hundreds_of_ipv6_groups_on_one_socket() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        let receiver = host.run(|| Udp::receiver(Family::V6));
        let from = sender.run(|| Udp::new(Family::V6));
        let groups: Vec<String> = (1..=300).map(|number| Family::V6.group(number)).collect();
        groups.iter().for_each(|group| ask(&host, Form::Text, JOIN, &receiver, group, Some("eth0")));
        for group in &groups {
            from.send(group, group);
            assert_eq!(receiver.receive().text, *group);
        }
        assert_eq!(receiver.waiting(), [""; 0]);
    });
}

#[test]
fn after_leaving_nothing_comes_and_the_other_groups_still_do() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
            let [left, kept] = [1, 2].map(|number| family.group(number));
            let receiver = host.run(|| Udp::receiver(family));
            for group in [&left, &kept] {
                ask(&host, form, JOIN, &receiver, group, Some("eth0"));
            }
            let from = sender.run(|| Udp::new(family));
            from.send("before", &left);
            assert_eq!(receiver.receive().text, "before");
            ask(&host, form, LEAVE, &receiver, &left, Some("eth0"));
            from.send("after", &left);
            from.send("kept", &kept);
            from.end(&family.host(2));
            assert_eq!(receiver.texts(), ["kept"], "{family:?} {form:?}");
        }
    });
}

#[test]
fn joining_and_leaving_are_reported_to_the_neighbours() {
    hosts::test(|network| {
        let [host, neighbour] = network.lan();
        let watch = Watch::new(&neighbour, "eth0");
        for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
            let group = family.group(if form == Form::Text { 1 } else { 2 });
            let receiver = host.run(|| Udp::receiver(family));
            ask(&host, form, JOIN, &receiver, &group, Some("eth0"));
            watch.sees(&[Kind::ChangeToExclude], &group, None);
            ask(&host, form, LEAVE, &receiver, &group, Some("eth0"));
            watch.sees(&[Kind::ChangeToInclude], &group, None);
        }
    });
}

#[test]
fn the_interface_is_joined_by_name_address_and_index() {
    hosts::test(|network| {
        let [sender, host, left, right] = ["sender", "host", "left", "right"].map(|name| network.host(name));
        network.link((&sender, "eth0", &["10.2.0.1/24"]), (&host, "eth0", &["10.2.0.2/24", "fd02::2/64"]));
        network.link((&left, "eth0", &["10.3.0.1/24"]), (&host, "eth1", &["10.3.0.2/24", "10.3.0.3/24", "fd03::2/64"]));
        network.link((&right, "eth0", &["10.4.0.1/24"]), (&host, "eth2", &["10.4.0.2/24"]));
        let from = [&sender, &left, &right].map(|host| {
            host.ip("route add 224.0.0.0/4 dev eth0");
            host.run(|| FAMILIES.map(Udp::new))
        });
        let index = host.index("eth1").to_string();
        for interface in ["eth1", "10.3.0.2", "10.3.0.3", "fd03::2", &index] {
            for family in FAMILIES {
                let (group, all) = (family.group(1), family.group(2));
                let receiver = host.run(|| Udp::receiver(family));
                ask(&host, Form::Text, JOIN, &receiver, &group, Some(interface));
                for interface in ["eth0", "eth1", "eth2"] {
                    ask(&host, Form::Text, JOIN, &receiver, &all, Some(interface));
                }
                for (number, sockets) in from.iter().enumerate() {
                    let from = &sockets[family as usize];
                    from.send(&format!("hello from {number}"), &group);
                    from.end(&all);
                    let expected = if number == 1 { vec!["hello from 1"] } else { vec![] };
                    assert_eq!(receiver.texts(), expected, "{family:?} {interface}");
                }
            }
        }
    });
}

#[test]
fn an_interface_without_an_address_is_joined_by_name_and_index() {
    hosts::test(|network| {
        let [sender, host] = ["sender", "host"].map(|name| network.host(name));
        network.link((&sender, "eth0", &["10.2.0.1/24"]), (&host, "eth0", &[]));
        sender.ip("route add 224.0.0.0/4 dev eth0");
        // A host without a route back drops what comes, unless it is told not to look.
        for which in ["all", "eth0"] {
            host.set(&format!("net/ipv4/conf/{which}/rp_filter"), "0");
        }
        let index = host.index("eth0").to_string();
        for (interface, form) in [("eth0", Form::Text), (&index, Form::Text), ("eth0", Form::Address)] {
            for family in FAMILIES {
                let receiver = host.run(|| Udp::receiver(family));
                ask(&host, form, JOIN, &receiver, &family.group(1), Some(interface));
                sender.run(|| Udp::new(family)).send("hello", &family.group(1));
                assert_eq!(receiver.receive().text, "hello", "{family:?} {interface}");
            }
        }
    });
}

#[test]
fn an_ipv6_socket_gets_an_ipv4_group() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for form in FORMS {
            for group in ["239.1.0.1", "::ffff:239.1.0.1"] {
                let receiver = host.run(|| Udp::receiver(Family::V6));
                ask(&host, form, JOIN, &receiver, group, Some("eth0"));
                let from = sender.run(|| Udp::new(Family::V4));
                from.send("joined", "239.1.0.1");
                assert_eq!(receiver.receive().text, "joined", "{form:?} {group}");
                ask(&host, form, LEAVE, &receiver, group, Some("eth0"));
                from.send("left", "239.1.0.1");
                from.end(&Family::V4.host(2));
                assert_eq!(receiver.texts(), [""; 0], "{form:?} {group}");
            }
        }
    });
}

#[test]
fn groups_of_one_link_come_by_the_interface_named_with_them() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        let scoped = format!("ff02::7%{}", sender.index("eth0"));
        let from = sender.run(|| Udp::new(Family::V6));
        for (form, interface) in [(Form::Text, None), (Form::Text, Some("eth0")), (Form::Address, None)] {
            let receiver = host.run(|| Udp::receiver(Family::V6));
            ask(&host, form, JOIN, &receiver, "ff02::7%eth0", interface);
            from.send("hello", &scoped);
            let datagram = receiver.receive();
            assert_eq!((datagram.text.as_str(), datagram.interface), ("hello", host.index("eth0")), "{form:?}");
        }
    });
}

#[test]
fn without_an_interface_the_routes_choose() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        for (family, form) in FAMILIES.into_iter().flat_map(|family| FORMS.map(|form| (family, form))) {
            let receiver = host.run(|| Udp::receiver(family));
            ask(&host, form, JOIN, &receiver, &family.group(1), None);
            let from = sender.run(|| Udp::new(family));
            from.send("joined", &family.group(1));
            assert_eq!(receiver.receive().text, "joined", "{family:?} {form:?}");
            ask(&host, form, LEAVE, &receiver, &family.group(1), None);
            from.send("left", &family.group(1));
            from.end(&family.host(2));
            assert_eq!(receiver.texts(), [""; 0], "{family:?} {form:?}");
        }
    });
}
