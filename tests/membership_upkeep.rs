//! Memberships that are kept: by whom, when nobody reads, when nothing happens, and beyond a switch that
//! forgets.

mod support;

use support::hosts::{self, Host};
use support::link::Kind;
use support::memberships::OPTIONS;
use support::pair::{GONE, JOIN, Pair, leave_by};
use support::tools;
use support::udp::{FAMILIES, Family, Udp};

#[test]
fn thousands_of_changes_that_nobody_read() {
    hosts::test(|network| {
        for (family, words) in FAMILIES.into_iter().flat_map(|family| ["", "index 4711"].map(|words| (family, words))) {
            let pair = Pair::new(network);
            pair.plug_as(0, "eth0", words);
            pair.plug(1);
            let (keeper, group) = pair.settled(family);
            keeper.wish(&group, "eth1");
            let by_source = family.group(2);
            for number in [1, 8] {
                assert_eq!(keeper.add(&by_source, Some(&family.host(number)), Some("eth0")), Ok(1));
            }
            keeper.events();
            let changes = "address add 10.99.0.1/24 dev lo\naddress delete 10.99.0.1/24 dev lo\n";
            pair.host.ip(&changes.repeat(3000));
            assert!(drops(&pair) > 0, "the kernel has told everything");
            // All of this goes untold.
            pair.unplug("eth0");
            pair.unplug("eth1");
            pair.plug_as(0, "eth0", words);
            let watch = pair.watch("eth0");
            hosts::until("the wish is true", || {
                keeper.process().unwrap();
                keeper.states() == ["live eth0", "live eth0", "live eth0", "waiting ENODEV"]
            });
            watch.sees(JOIN, &group, None);
            pair.reaches(&keeper, &group);
            assert_eq!(keeper.joined("eth0"), [group.clone(), by_source.clone()]);
            pair.send("by source", &by_source, "eth0", Some(&family.host(1)));
            assert_eq!(keeper.socket.receive().text, "by source");
            pair.plug(1);
            hosts::until("both are live", || {
                keeper.process().unwrap();
                keeper.states() == ["live eth0", "live eth0", "live eth0", "live eth1"]
            });
            pair.reaches_by("eth1", "eth1", &keeper, &group);
        }
    });
}

/// What the kernel couldn't tell by rtnetlink, of all sockets on the host: /proc/net/netlink.
fn drops(pair: &Pair) -> u64 {
    let text = pair.host.run(|| std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap());
    let lines = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|words| words[1] == "0").map(|words| words[8].parse::<u64>().unwrap()).sum()
}

#[test]
fn receiving_keeps_the_wish_true_while_it_blocks() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::with_cable(network);
            let (keeper, group) = pair.settled(family);
            let keeper = &keeper;
            pair.host.run(|| {
                std::thread::scope(|scope| {
                    let receiving = scope.spawn(|| keeper.receive_here(4, 20_000));
                    pair.unplug("eth0");
                    pair.plug(0);
                    hosts::until("joined by the thread that receives", || keeper.joined("eth0") == [group.clone()]);
                    pair.send("after all", &group, "eth0", None);
                    let [arrival] = receiving.join().unwrap().unwrap().try_into().unwrap();
                    assert_eq!((arrival.bytes, arrival.to), (b"after all".to_vec(), group.parse().ok()));
                });
            });
            keeper.tells(&[GONE[0], GONE[1], "rejoined eth0"]);
        }
    });
}

/// Without anything else that happens.
#[test]
fn reports_go_on_where_that_is_asked_for() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let mut options = OPTIONS;
            options.reannounce_s = 1;
            let (group, keeper) = (family.group(1), pair.keeper_with(family, options));
            let watch = pair.watch("eth0");
            keeper.wish(&group, "eth0");
            let (by_source, source) = (family.group(2), family.host(1));
            for source in [&source, &family.host(8)] {
                assert_eq!(keeper.add(&by_source, Some(source), Some("eth0")), Ok(1));
            }
            keeper.tells(&["joined eth0"; 3]);
            let (mut whole, mut sources) = (0, 0);
            for round in 0..3 {
                hosts::until("another report", || {
                    let timeout_ms = keeper.timeout_ms();
                    assert!((0..=1000).contains(&timeout_ms), "round {round}: {timeout_ms}");
                    // As a program would that polls.
                    assert_eq!(keeper.wait(timeout_ms.min(50)).ok(), None);
                    pair.reaches(&keeper, &group);
                    pair.send("by source", &by_source, "eth0", Some(&source));
                    assert_eq!(keeper.socket.receive().text, "by source");
                    let records = watch.waiting();
                    let has = |group: &String, kinds: &[Kind]| {
                        records.iter().any(|record| record.group == *group && kinds.contains(&record.kind))
                    };
                    whole += usize::from(has(&group, JOIN));
                    sources += usize::from(has(&by_source, &[Kind::AllowNewSources, Kind::ChangeToInclude]));
                    whole > round && sources > round
                });
            }
            assert_eq!(keeper.states(), ["live eth0"; 3]);
            keeper.tells(&[]);
        }
    });
}

#[test]
fn nothing_is_done_while_nothing_happens() {
    hosts::test(|network| {
        let pair = Pair::with_cable(network);
        for family in FAMILIES {
            let (keeper, group) = pair.settled(family);
            keeper.comes_to_rest();
            pair.reaches(&keeper, &group);
            assert!(keeper.is_idle());
        }
    });
}

/// A switch that snoops, with the host on its port p0 and the neighbour on p1.
struct Switch(Host);

impl Switch {
    /// Between the two, in place of the cable.
    fn between(network: &hosts::Network, pair: &Pair) -> Switch {
        let switch = Switch(network.host("switch"));
        let Switch(host) = &switch;
        host.ip("link add br0 type bridge mcast_snooping 1 stp_state 0\nlink set br0 up");
        network.link((&pair.host, "eth0", &["10.1.0.2/24", "fd01::2/64"]), (host, "p0", &[]));
        network.link((&pair.neighbour, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (host, "p1", &[]));
        host.ip("link set p0 master br0\nlink set p1 master br0");
        switch
    }

    fn bridge(&self, words: &str) -> String {
        let mut command = tools::find("bridge", "iproute2").unwrap().command();
        let output = self.0.run(|| command.args(words.split(' ')).output().unwrap());
        assert!(output.status.success(), "bridge {words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether it sends a group to the host.
    fn knows(&self, group: &str) -> bool {
        self.bridge("mdb show").lines().any(|line| line.contains(&format!("port p0 grp {group} ")))
    }

    fn learns(&self, group: &str) {
        hosts::until("the switch has learned", || self.knows(group));
    }

    /// As it does in time. What the host says twice when it joins may come in between.
    fn forgets(&self, group: &str) {
        hosts::until("the switch has forgotten", || {
            if self.knows(group) {
                self.bridge(&format!("mdb del dev br0 port p0 grp {group}"));
            }
            !self.knows(group)
        });
    }

    /// Whether it has heard a query from the neighbour.
    fn has_router(&self) -> bool {
        self.bridge("-d mdb show").lines().any(|line| line.starts_with("router ports") && line.contains("p1"))
    }

    fn plug(&self, on: bool) {
        self.0.ip(&format!("link set p0 {}", if on { "up" } else { "down" }));
    }
}

/// A router asks, once, who wants what (RFC 3376, section 4.1), and is asked to have the answers at once.
/// From then on the switch takes what it has learned for all there is.
fn query(pair: &Pair) {
    let (qrv, qqic) = (1, 125);
    let mut message = [0x11, 0, 0, 0, 0, 0, 0, 0, qrv, qqic, 0, 0];
    let words = message.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    message[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    pair.neighbour.run(|| {
        use std::os::fd::{FromRawFd, OwnedFd};
        // SAFETY: no pointer.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_IGMP) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: a socket just made.
        let socket = Udp::take(unsafe { OwnedFd::from_raw_fd(fd) });
        leave_by(&socket, "eth0");
        socket.send_to(&message, "224.0.0.1:0").unwrap();
    });
}

/// The port is flushed when its carrier goes, and the router doesn't ask again for two minutes.
#[test]
fn a_switch_that_has_forgotten_is_told_again_when_the_carrier_returns() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::new(network);
            let switch = Switch::between(network, &pair);
            query(&pair);
            hosts::until("the switch knows the router", || switch.has_router());
            let (keeper, group) = pair.settled(family);
            switch.learns(&group);
            switch.plug(false);
            keeper.tells(&["lost eth0 ENETDOWN"]);
            assert!(!switch.knows(&group));
            switch.plug(true);
            if family == Family::V4 {
                // Without anybody who looks nothing comes.
                pair.host.wait_for_link("eth0");
                pair.misses("eth0", &keeper, &group);
            }
            keeper.tells(&["rejoined eth0"]);
            switch.learns(&group);
            pair.reaches(&keeper, &group);
        }
    });
}

/// Nobody queries: after some time it forgets, and then nothing comes.
#[test]
fn a_switch_that_forgets_is_told_again_in_time() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::new(network);
            let switch = Switch::between(network, &pair);
            let mut options = OPTIONS;
            options.reannounce_s = 1;
            let (group, keeper) = (family.group(1), pair.keeper_with(family, options));
            keeper.wish(&group, "eth0");
            keeper.tells(&["joined eth0"]);
            switch.learns(&group);
            switch.forgets(&group);
            hosts::until("the switch has learned again", || {
                keeper.wait(keeper.timeout_ms()).unwrap_err();
                switch.knows(&group)
            });
            pair.reaches(&keeper, &group);
        }
    });
}

/// The kernel itself would say nothing: another socket of the host holds the same groups.
#[test]
fn a_switch_that_forgets_is_told_also_of_what_others_hold() {
    hosts::test(|network| {
        for family in FAMILIES {
            let pair = Pair::new(network);
            let switch = Switch::between(network, &pair);
            switch.0.ip("link set br0 type bridge mcast_igmp_version 3 mcast_mld_version 2");
            let mut options = OPTIONS;
            options.reannounce_s = 1;
            let (group, by_source, source) = (family.group(1), family.group(2), family.host(1));
            let (other, keeper) = (pair.keeper(family), pair.keeper_with(family, options));
            for keeper in [&other, &keeper] {
                keeper.wish(&group, "eth0");
                assert_eq!(keeper.add(&by_source, Some(&source), Some("eth0")), Ok(1));
                keeper.tells(&["joined eth0"; 2]);
            }
            switch.learns(&group);
            switch.learns(&by_source);
            let from = format!("grp {by_source} src {source} ");
            // For longer than the kernel repeats what it said at first.
            for _ in 0..5 {
                switch.forgets(&group);
                switch.forgets(&by_source);
                hosts::until("the switch has learned again", || {
                    keeper.wait(keeper.timeout_ms()).unwrap_err();
                    switch.knows(&group) && switch.bridge("mdb show").contains(&from)
                });
            }
            pair.reaches(&keeper, &group);
        }
    });
}
