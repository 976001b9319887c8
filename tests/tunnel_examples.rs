//! amt_relay and amt_gateway: multicast from one network to another through one that carries unicast only.

mod support;

use support::examples::{both_ways, example};
use support::far::{
    Far, GROUPS, NEAR, RECEIVERS, SOURCES, count, ended, last, listener, relay, say, sender, start_on, stop, until,
    wanted,
};
use support::hosts;
use support::programs::{Linkage, Program, Running};
use support::udp::{Udp, address};

#[test]
fn amt_relay() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some(gateway) = example("amt_gateway", Linkage::Shared) else { return };
        both_ways("amt_relay", |program| {
            // Datagrams of a port, and whole packets.
            for ingress in [&["-p", "5000", "-p", "5001"][..], &["--packets"]] {
                let mut serving = relay(&far, program, ingress);
                // The other family outside.
                for [outer, group, from] in [[NEAR[1], GROUPS[0], SOURCES[0]], [NEAR[0], GROUPS[1], SOURCES[1]]] {
                    let mut one = start_on(&far.far, &gateway, &["-r", outer, "-l", "-n", "2", group]);
                    wanted(&mut serving, group, 1);
                    let udp = sender(&far.source, from, 2);
                    say(&far.source, &udp, "through the tunnel", group);
                    say(&far.source, &udp, "one more", group);
                    let line = one.line();
                    assert!(line.starts_with(&format!("{from} port ")), "{line}");
                    assert!(line.ends_with(&format!(" > {group} port 5000: through the tunnel")), "{line}");
                    assert!(one.line().ends_with(": one more"));
                    let done = one.finish();
                    assert!(done.passed() && done.errors.contains(&format!("active: {outer} port 2268\n")), "{done:?}");
                    // The tunnel has ended, by Teardown.
                    wanted(&mut serving, group, 0);
                }
                stop(&serving, libc::SIGUSR1);
                let done = ended(serving, libc::SIGTERM);
                let told = last(&done);
                assert_eq!(
                    (count(&told, "opened"), count(&told, "closed"), count(&told, "copies")),
                    (2, 2, 4),
                    "{told}"
                );
                assert_eq!(told["tunnels"].as_array().unwrap().len(), 0, "{told}");
                let counters: Vec<&str> = done.errors.lines().filter(|line| line.contains("counters: ")).collect();
                // At the signal, and at the end.
                assert_eq!(counters.len(), 2, "{done:?}");
                assert!(counters.iter().all(|line| line.contains("opened 2, closed 2") && line.contains("copies 4")));
            }
        });
    });
}

#[test]
fn amt_gateway() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some(relaying) = example("amt_relay", Linkage::Shared) else { return };
        both_ways("amt_gateway", |program| {
            let mut serving = relay(&far, &relaying, &["--packets"]);
            for at in [0, 1] {
                let (group, outer, source) = (GROUPS[at], NEAR[at], SOURCES[at]);
                let endpoint = address(group, 5000).to_string();
                let udp = sender(&far.source, source, 9);
                to_a_program(&far, program, &mut serving, [outer, &endpoint, group], &udp);
                to_an_address(&far, program, &mut serving, [outer, &endpoint, group], &udp);
                to_a_device(&far, program, &mut serving, [outer, &endpoint, group], &udp);
                by_source(&far, program, &mut serving, [outer, group, source], &udp);
            }
            let told = last(&ended(serving, libc::SIGINT));
            assert_eq!(count(&told, "opened"), count(&told, "closed"), "each ended by Teardown: {told}");
            assert_eq!(told["tunnels"].as_array().unwrap().len(), 0, "{told}");
        });
    });
}

/// Payloads as they are; no other port's.
fn to_a_program(far: &Far, program: &Program, relay: &mut Running, [outer, endpoint, group]: [&str; 3], udp: &Udp) {
    let mut gateway = start_on(&far.far, program, &["-r", outer, endpoint]);
    wanted(relay, group, 1);
    far.source.run(|| udp.send_to(b"another port\n", address(group, 5001)).unwrap());
    say(&far.source, udp, "one li", group);
    say(&far.source, udp, "ne\nand another\n", group);
    assert_eq!([gateway.line(), gateway.line()], ["one line", "and another"]);
    stop(&gateway, libc::SIGUSR1);
    let done = ended(gateway, libc::SIGINT);
    let states: Vec<&str> = done.errors.lines().take(2).collect();
    assert_eq!(
        states,
        [format!("amt_gateway: requesting: {outer} port 2268"), format!("amt_gateway: active: {outer} port 2268")]
    );
    assert!(done.errors.contains("; forwarded 2, other_ports 1\n"), "{done:?}");
    wanted(relay, group, 0);
}

/// Payloads to a host that has neither multicast nor AMT, with counters beside.
fn to_an_address(far: &Far, program: &Program, relay: &mut Running, [outer, endpoint, group]: [&str; 3], udp: &Udp) {
    let at = RECEIVERS[usize::from(outer.contains(':'))];
    let receiver = far.receiver.run(|| Udp::bound(address(at, 6000)));
    let to = address(at, 6000).to_string();
    let mut gateway = start_on(&far.far, program, &["--json", "-r", outer, "--to", &to, endpoint]);
    let seen = until(&mut gateway, "active", |seen| seen["state"] == "active");
    assert_eq!((&seen["relay"], &seen["relay_port"]), (&outer.into(), &2268.into()), "{seen}");
    wanted(relay, group, 1);
    for text in ["one", "two"] {
        say(&far.source, udp, text, group);
        assert_eq!(receiver.receive().text, text);
    }
    let told = last(&ended(gateway, libc::SIGTERM));
    assert_eq!((&told["forwarded"], &told["delivered"], &told["lost"]), (&2.into(), &2.into(), &0.into()), "{told}");
    wanted(relay, group, 0);
}

/// Whole packets: what is on the far end joins the group on the device, and sees the source and the TTL.
fn to_a_device(far: &Far, program: &Program, relay: &mut Running, [outer, endpoint, group]: [&str; 3], udp: &Udp) {
    let mut gateway = start_on(&far.far, program, &["--json", "-r", outer, "--tun", "mc0", endpoint]);
    let done = until(&mut gateway, "active, or not possible", |_| true);
    assert!(done["state"].is_string());
    wanted(relay, group, 1);
    let (receiver, index) = (listener(&far.far, "mc0", group), far.far.index("mc0"));
    let source = udp.local_addr().unwrap();
    // An odd length too, for the checksum.
    for text in ["even", "odd"] {
        say(&far.source, udp, text, group);
        let came = receiver.receive();
        assert_eq!((&*came.text, came.from.ip().to_string()), (text, source.ip().to_string()));
        assert_eq!(came.from.port(), source.port());
        assert_eq!((came.to.to_string(), came.interface, came.ttl), (group.to_owned(), index, 8));
    }
    ended(gateway, libc::SIGINT);
    wanted(relay, group, 0);
    // Gone with the program.
    let name = c"mc0";
    // SAFETY: the name ends in a NUL.
    assert_eq!(far.far.run(|| unsafe { libc::if_nametoindex(name.as_ptr()) }), 0);
}

/// Of two sources the one that is subscribed to, at the relay too.
fn by_source(far: &Far, program: &Program, relay: &mut Running, [outer, group, source]: [&str; 3], udp: &Udp) {
    let other = if source.contains(':') { "fd01::9" } else { "10.1.0.9" };
    let wish = format!("{group}@{other}");
    let mut gateway = start_on(&far.far, program, &["-r", outer, "-l", "-n", "1", &wish]);
    let seen = wanted(relay, group, 1);
    assert_eq!(seen["tunnels"][0]["groups"][0]["sources"][0], other, "{seen}");
    let prefix = if source.contains(':') { 64 } else { 24 };
    far.source.address("eth0", &[&format!("{other}/{prefix}")]);
    let from = sender(&far.source, other, 9);
    say(&far.source, udp, "from another", group);
    say(&far.source, &from, "from the source", group);
    let line = gateway.line();
    assert!(line.starts_with(&format!("{other} port ")) && line.ends_with(": from the source"), "{line}");
    assert!(gateway.finish().passed());
    wanted(relay, group, 0);
    far.source.ip(&format!("address delete {other}/{prefix} dev eth0"));
}
