//! The diagnosis of firewalls: what nftables counts as dropped, and what can't be read.

mod support;

use std::io;

use support::doctor::{Ask, LIKELY, UNCHECKED, arrives, healthy, only, send, well};
use support::hosts::{self, Host};
use support::nftables::{self, ACCEPT, DROP, LOCAL_IN, LOCAL_OUT};
use support::udp::{FAMILIES, Family, PORT, Udp};

/// Whether this kernel has nftables.
fn has_nftables() -> bool {
    match castio::sys::netlink::firewall::rules() {
        Ok(_) => true,
        Err(error) => {
            support::tools::skip(&format!("no nftables here: {error:?}"));
            false
        }
    }
}

/// Until the rule has counted one.
fn drop_one(sender: &Host, group: &str, is_counted: impl Fn() -> bool) {
    send(sender, group, "it is dropped");
    hosts::until("it is dropped", is_counted);
}

#[test]
fn a_rule_that_drops_this_port() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        if !host.run(has_nftables) {
            return;
        }
        for family in FAMILIES {
            let group = family.group(1);
            let receiver = well(&host, family, &group);
            let ask = Ask::receiver(&group);
            nftables::chain(&host, LOCAL_IN, ACCEPT);
            let [load, compare] = nftables::to_port(PORT);
            nftables::rule(&host, [load, compare, nftables::counter(), nftables::drop_all()]);
            healthy(&ask.of(&host, &receiver));
            drop_one(&sender, &group, || !ask.of(&host, &receiver).is_empty());
            let says = ["table inet t, chain c", "dropped 1 packets"];
            let found = only(&ask.of(&host, &receiver), "FIREWALL_DROPS", LIKELY, &says);
            assert!(found.cure.contains(&group) && found.cure.contains("5000"));
            assert_eq!(receiver.waiting(), [""; 0]);
            // It isn't in the way of what is sent.
            healthy(&Ask { flags: 2, ..ask }.of(&host, &receiver).split_off(1));
            nftables::clear(&host);
            healthy(&ask.of(&host, &receiver));
            arrives(&sender, &receiver, &group);
        }
    });
}

#[test]
fn rules_that_cannot_be_told() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        if !host.run(has_nftables) {
            return;
        }
        let (family, group) = (Family::V4, "239.1.2.3");
        let receiver = well(&host, family, group);
        let ask = Ask::receiver(group);
        // It doesn't count.
        nftables::chain(&host, LOCAL_IN, ACCEPT);
        nftables::rule(&host, [nftables::drop_all()]);
        only(&ask.of(&host, &receiver), "FIREWALL_UNCHECKED", UNCHECKED, &["1 rules or policies"]);
        nftables::clear(&host);
        // It counts what goes to another port.
        nftables::chain(&host, LOCAL_IN, ACCEPT);
        let [load, compare] = nftables::to_port(7000);
        nftables::rule(&host, [load, compare, nftables::counter(), nftables::drop_all()]);
        let other = host.run(|| Udp::bound("0.0.0.0:7000".parse().unwrap()));
        let from = sender.run(|| Udp::new(family));
        from.send_to(b"to another port", "10.1.0.2:7000").unwrap();
        hosts::until("it is dropped", || !ask.of(&host, &receiver).is_empty());
        only(&ask.of(&host, &receiver), "FIREWALL_UNCHECKED", UNCHECKED, &["1 rules or policies"]);
        arrives(&sender, &receiver, group);
        assert_eq!(other.waiting(), [""; 0]);
        nftables::clear(&host);
        // A policy that drops, and a way that isn't a receiver's.
        nftables::chain(&host, LOCAL_IN, DROP);
        only(&ask.of(&host, &receiver), "FIREWALL_UNCHECKED", UNCHECKED, &["1 rules or policies"]);
        nftables::clear(&host);
        nftables::chain(&host, LOCAL_OUT, DROP);
        healthy(&ask.of(&host, &receiver));
        nftables::clear(&host);
        healthy(&ask.of(&host, &receiver));
    });
}

#[test]
fn a_rule_that_drops_what_is_sent() {
    hosts::test(|network| {
        let [host, _other] = network.lan();
        if !host.run(has_nftables) {
            return;
        }
        for family in FAMILIES {
            let group = family.group(1);
            let socket = host.run(|| Udp::new(family));
            host.run(|| castio::multicast::options::set_ttl(std::os::fd::AsFd::as_fd(&*socket), 8)).unwrap();
            let ask = Ask::sender(&group);
            nftables::chain(&host, LOCAL_OUT, ACCEPT);
            // Not the host's own reports, which leave whenever they like.
            let [load, compare] = nftables::to_port(PORT);
            nftables::rule(&host, [load, compare, nftables::counter(), nftables::drop_all()]);
            healthy(&ask.of(&host, &socket));
            assert_eq!(socket.try_send("dropped", &group).unwrap_err().raw_os_error(), Some(libc::EPERM));
            only(&ask.of(&host, &socket), "FIREWALL_DROPS", LIKELY, &["chain c", "packets"]);
            nftables::clear(&host);
            healthy(&ask.of(&host, &socket));
        }
    });
}

/// Gives up CAP_NET_ADMIN for the calling thread.
fn give_up_net_admin() {
    const CAP_NET_ADMIN: u32 = 12;
    // _LINUX_CAPABILITY_VERSION_3, the calling thread; effective, permitted, inheritable, twice.
    let header = [0x2008_0522_u32, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: a header and room for two sets.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()), 0);
        sets[0] &= !(1 << CAP_NET_ADMIN);
        let result = libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr());
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

#[test]
fn rules_that_may_not_be_read() {
    hosts::test(|network| {
        let [sender, host] = network.lan();
        if !host.run(has_nftables) {
            return;
        }
        let receiver = well(&host, Family::V4, "239.1.2.3");
        let ask = Ask::receiver("239.1.2.3");
        healthy(&ask.of(&host, &receiver));
        host.run(give_up_net_admin);
        let found = only(&ask.of(&host, &receiver), "FIREWALL_UNCHECKED", UNCHECKED, &["EPERM", "CAP_NET_ADMIN"]);
        assert!(found.cure.contains("nft list ruleset"));
        arrives(&sender, &receiver, "239.1.2.3");
    });
}
