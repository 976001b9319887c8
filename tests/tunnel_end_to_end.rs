//! A gateway and a relay when the network between them isn't what it was: addresses that change, relays that
//! come and go; and many groups.

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::examples::example;
use support::far::{
    Far, GROUPS, NEAR, SOURCES, count, ended, last, relay, say, sender, start_on, until, wanted, wants,
};
use support::hosts::{self, Host};
use support::programs::{Linkage, Program, Running};
use support::udp::{Udp, address};

fn programs() -> Option<[Program; 2]> {
    Some([example("amt_relay", Linkage::Shared)?, example("amt_gateway", Linkage::Shared)?])
}

/// Says it until a line holds it: while a relay changes, some are lost.
fn heard(host: &Host, udp: &Udp, gateway: &mut Running, text: &str, group: &str) {
    let receiver = &mut *gateway;
    hosts::until(text, || {
        say(host, udp, text, group);
        receiver.line().ends_with(&format!(": {text}"))
    });
}

fn gateways(seen: &Value) -> Vec<String> {
    seen["tunnels"].as_array().unwrap().iter().map(|one| one["gateway"].as_str().unwrap().to_owned()).collect()
}

/// Kills it, so that nobody is told.
fn killed(running: Running) {
    drop(running);
}

#[test]
fn a_gateway_whose_address_changes() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some([serves, asks]) = programs() else { return };
        far.far.set("net/ipv4/conf/all/promote_secondaries", "1");
        let mut serving = relay(&far, &serves, &["--packets", "--query-interval", "1"]);
        let mut gateway = start_on(&far.far, &asks, &["-r", NEAR[0], "-l", GROUPS[0]]);
        let udp = sender(&far.source, SOURCES[0], 9);
        let seen = wanted(&mut serving, GROUPS[0], 1);
        assert!(gateways(&seen)[0].starts_with("10.3.0.1:"), "{seen}");
        say(&far.source, &udp, "to the old address", GROUPS[0]);
        assert!(gateway.line().ends_with(": to the old address"));

        far.far.ip("address add 10.3.0.7/24 dev out0\naddress delete 10.3.0.1/24 dev out0");
        far.far.ip("route replace default via 10.3.0.254");
        let seen = until(
            &mut serving,
            "the new address alone",
            |seen| matches!(&*gateways(seen), [only] if only.starts_with("10.3.0.7:")),
        );
        // By Teardown, from the new address; by time if the address changed just between a Query and its
        // Update, so that the relay hasn't seen the nonce that the gateway tells.
        assert!(count(&seen, "teardowns") > 0 && wants(&seen, GROUPS[0]) == 1, "{seen}");
        assert_eq!(count(&seen, "closed") + count(&seen, "expired"), 1, "{seen}");
        say(&far.source, &udp, "to the new address", GROUPS[0]);
        assert!(gateway.line().ends_with(": to the new address"));
        ended(gateway, libc::SIGINT);
        ended(serving, libc::SIGINT);
    });
}

#[test]
fn a_relay_that_begins_anew() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some([serves, asks]) = programs() else { return };
        let options = ["--packets", "--query-interval", "1"];
        let serving = relay(&far, &serves, &options);
        let mut gateway = start_on(&far.far, &asks, &["--json", "-r", NEAR[1], "--to", "10.4.0.1:6000", GROUPS[0]]);
        let receiver = far.receiver.run(|| Udp::bound(address("10.4.0.1", 6000)));
        until(&mut gateway, "active", |seen| seen["state"] == "active");
        killed(serving);
        // Meanwhile a report that the new one didn't ask for.
        let seen = until(&mut gateway, "asks in vain", |seen| seen["unreachable"].as_u64().unwrap() > 0);
        assert_eq!(seen["delivered"], 0, "{seen}");
        // Of another secret.
        let mut serving = relay(&far, &serves, &options);
        wanted(&mut serving, GROUPS[0], 1);
        let udp = sender(&far.source, SOURCES[0], 9);
        say(&far.source, &udp, "from the new one", GROUPS[0]);
        assert_eq!(receiver.receive().text, "from the new one");
        ended(gateway, libc::SIGINT);
        wanted(&mut serving, GROUPS[0], 0);
        ended(serving, libc::SIGINT);
    });
}

#[test]
fn of_two_relays_the_one_that_is_left() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some([serves, asks]) = programs() else { return };
        far.near.address("out0", &["10.2.0.2/24"]);
        let start = |at| relay(&far, &serves, &["--packets", "--query-interval", "1", "-l", at]);
        let (mut first, mut second) = (start("10.2.0.1"), start("10.2.0.2"));
        let arguments = ["-r", "10.2.0.1", "-r", "10.2.0.2", "-l", GROUPS[0], GROUPS[1]];
        let mut gateway = start_on(&far.far, &asks, &arguments);
        let [v4, v6] = SOURCES.map(|source| sender(&far.source, source, 9));
        wanted(&mut first, GROUPS[0], 1);
        say(&far.source, &v4, "by the first", GROUPS[0]);
        assert!(gateway.line().ends_with(": by the first"));
        killed(first);
        wanted(&mut second, GROUPS[0], 1);
        wanted(&mut second, GROUPS[1], 1);
        heard(&far.source, &v4, &mut gateway, "by the second", GROUPS[0]);
        heard(&far.source, &v6, &mut gateway, "of the other family", GROUPS[1]);
        let log = ended(gateway, libc::SIGINT).errors;
        assert!(log.contains("active: 10.2.0.1 port 2268") && log.contains("active: 10.2.0.2 port 2268"), "{log}");
        wanted(&mut second, GROUPS[0], 0);
        ended(second, libc::SIGINT);
    });
}

#[test]
fn hundreds_of_groups() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some([serves, asks]) = programs() else { return };
        let groups: Vec<String> = (0..600)
            .map(|at| if at % 2 == 0 { format!("239.7.{}.{}", at / 250, at % 250) } else { format!("ff15::{at:x}") })
            .collect();
        let [v4, v6] = SOURCES.map(|source| sender(&far.source, source, 9));
        for ingress in [&["--packets"][..], &["-p", "5000"]] {
            let mut serving = relay(&far, &serves, &[ingress, &["--groups", "1000"]].concat());
            let mut gateway = start_on(
                &far.far,
                &asks,
                &[&["-r", NEAR[0], "-l"], &groups.iter().map(|group| &**group).collect::<Vec<_>>()[..]].concat(),
            );
            let seen =
                until(&mut serving, "all groups", |seen| seen["groups"].as_array().unwrap().len() == groups.len());
            assert_eq!((count(&seen, "refused_joins"), count(&seen, "refused_groups")), (0, 0), "{seen}");
            for group in &groups {
                say(&far.source, if group.contains(':') { &v6 } else { &v4 }, "to each", group);
            }
            let came: BTreeSet<String> =
                groups.iter().map(|_| gateway.line()).map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect();
            assert_eq!(came, groups.iter().cloned().collect());
            ended(gateway, libc::SIGINT);
            until(&mut serving, "none", |seen| seen["groups"].as_array().unwrap().is_empty());
            let told = last(&ended(serving, libc::SIGINT));
            assert_eq!(count(&told, "copies"), groups.len() as u64, "{told}");
        }
    });
}

#[test]
fn all_sources_but_one() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some([serves, asks]) = programs() else { return };
        far.source.address("eth0", &["10.1.0.9/24", "fd01::9/64"]);
        for (family, other) in ["10.1.0.9", "fd01::9"].into_iter().enumerate() {
            let mut serving = relay(&far, &serves, &["--packets"]);
            let arguments = ["-r", NEAR[family], "-l", "-x", "10.1.0.9", "-x", "fd01::9", GROUPS[family]];
            let mut gateway = start_on(&far.far, &asks, &arguments);
            let seen = wanted(&mut serving, GROUPS[family], 1);
            let member = &seen["tunnels"][0]["groups"][0];
            assert_eq!((&member["all"], &member["without"][0]), (&true.into(), &other.into()), "{seen}");
            let (wished, unwished) = (sender(&far.source, SOURCES[family], 9), sender(&far.source, other, 9));
            // Somebody else wants it.
            let mut all = start_on(&far.far, &asks, &["-r", NEAR[family], "-l", GROUPS[family]]);
            wanted(&mut serving, GROUPS[family], 2);
            say(&far.source, &unwished, "unwished", GROUPS[family]);
            assert!(all.line().ends_with(": unwished"));
            say(&far.source, &wished, "wished", GROUPS[family]);
            assert!(all.line().ends_with(": wished"));
            let line = gateway.line();
            assert!(line.starts_with(SOURCES[family]) && line.ends_with(": wished"), "{line}");
            ended(gateway, libc::SIGINT);
            ended(all, libc::SIGINT);
            let told = last(&ended(serving, libc::SIGINT));
            assert_eq!(count(&told, "copies"), 3, "filtered at the relay: {told}");
        }
    });
}
