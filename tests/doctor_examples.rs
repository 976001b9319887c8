//! mcast_doctor, on networks that work and on some that don't.

mod support;

use std::net::UdpSocket;

use serde_json::Value;
use support::examples::{both_ways, example, refuses_arguments, start};
use support::hosts::{self, Host};
use support::nftables;
use support::programs::{Finished, Linkage, Program, Running};
use support::terminal::{self, Terminal};

/// Sends to a group again and again, until it is dropped.
fn sending(host: &Host, sender: &Program, (group, port): (&str, &str), ttl: &str) -> Running {
    let mut running = host.run(|| start(sender, &["-i", "eth0", "-n", "100000", "-w", "20", "-t", ttl, group, port]));
    running.line_after("sent ");
    running
}

fn json_of(done: &Finished) -> Value {
    assert_eq!(done.output.lines().count(), 1, "{done:?}");
    serde_json::from_str(&done.output).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

/// Not healthy, with this finding first.
fn finds_first(host: &Host, program: &Program, arguments: &[&str], code: &str, words: &[&str]) -> Value {
    let done = host.run(|| program.run(&[&["--json", "-t", "1"], arguments].concat()));
    let found = json_of(&done);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert_eq!((&found["healthy"], &found["findings"][0]["code"]), (&false.into(), &code.into()), "{found}");
    let cause = found["findings"][0]["cause"].as_str().unwrap();
    assert!(words.iter().all(|word| cause.contains(word)), "{words:?}: {found}");
    let text = host.run(|| program.run(&[&["-t", "1"], arguments].concat()));
    assert_eq!(text.status.code(), Some(1), "{text:?}");
    let first = text.output.lines().find(|line| line.starts_with("broken ") || line.starts_with("likely "));
    assert!(first.is_some_and(|line| line.contains(code) && line.contains(cause)), "{text:?}");
    assert!(text.output.contains("\nnot healthy\n") && !text.output.contains('\x1b'), "{text:?}");
    found
}

#[test]
fn mcast_doctor() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        let cases = [("239.1.2.3", "239.1.2.3:5000", "10.1.0.1"), ("ff15::7", "[ff15::7]:5000", "fd01::1")];
        both_ways("mcast_doctor", |program| {
            for (group, endpoint, from) in cases {
                let running = sending(&one, &sender, (group, "5000"), "32");
                let done = two.run(|| program.run(&["--json", "-t", "1", "-i", "eth0", endpoint]));
                assert!(done.passed());
                let found = json_of(&done);
                assert_eq!((&found["healthy"], &found["findings"]), (&true.into(), &Value::Array(vec![])), "{found}");
                let (packets, bytes) = (found["packets"].as_u64().unwrap(), found["bytes"].as_u64().unwrap());
                assert!(packets > 0 && bytes >= 7 * packets, "{found}");
                let [source] = found["sources"].as_array().unwrap().as_slice() else { panic!("{found}") };
                assert_eq!((&source["address"], &source["interface"]), (&from.into(), &"eth0".into()), "{found}");
                assert_eq!((&source["least_ttl"], &source["most_ttl"]), (&32.into(), &32.into()), "{found}");
                assert_eq!(source["packets"], packets, "{found}");
                assert!(source["ttl_remark"].is_null(), "{found}");

                let text = two.run(|| program.run(&["-t", "1", "-i", "eth0", "-s", from, endpoint]));
                let told =
                    text.output.lines().find(|line| line.contains(&format!("  {from} port "))).unwrap_or_default();
                assert!(told.contains(", by eth0: ") && told.ends_with(", TTL 32 (ok)"), "{text:?}");
                drop(running);

                // Nobody sends: nothing is wrong here, and nothing comes.
                let silent = two.run(|| program.run(&["-t", "1", "-i", "eth0", endpoint]));
                assert_eq!(silent.status.code(), Some(1), "{silent:?}");
                assert!(silent.output.contains("arrived: nothing in "), "{silent:?}");
                assert!(silent.output.contains("Nothing was found on this host that explains it"), "{silent:?}");

                let sending = one.run(|| program.run(&["--sender", "--ttl", "32", "-i", "eth0", endpoint]));
                assert!(sending.passed() && sending.output.contains("\nhealthy\n"), "{sending:?}");
                let sending = one.run(|| program.run(&["-S", "-i", "eth0", "--json", endpoint]));
                assert!(sending.passed());
                assert_eq!(json_of(&sending)["findings"][0]["code"], "TTL_ONE", "a risk: {sending:?}");
            }
        });
    });
}

#[test]
fn what_a_ttl_tells() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        let Some(program) = example("mcast_doctor", Linkage::Shared) else { return };
        let remark = |group: &str, endpoint: &str| {
            let _running = sending(&one, &sender, (group, "5000"), "1");
            let found = json_of(&two.run(|| program.run(&["--json", "-t", "1", "-i", "eth0", endpoint])));
            assert_eq!(found["sources"][0]["most_ttl"], 1, "{found}");
            found["sources"][0]["ttl_remark"].clone()
        };
        assert_eq!(remark("239.1.2.3", "239.1.2.3:5000"), "no router passes it on from here");
        // No router would, with any TTL.
        assert!(remark("224.0.0.200", "224.0.0.200:5000").is_null());
        assert!(remark("ff02::1234", "[ff02::1234]:5000").is_null());
    });
}

#[test]
fn what_is_broken_comes_first() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        let Some(program) = example("mcast_doctor", Linkage::Shared) else { return };
        let _running = sending(&one, &sender, ("239.1.2.3", "5000"), "32");

        // From a network to which no route leads back, while the filter is strict: only -s tells whom to ask for.
        one.ip("address add 192.0.2.7/32 dev eth0");
        two.set("net/ipv4/conf/eth0/rp_filter", "1");
        let away = ["-i", "eth0", "-s", "192.0.2.7", "239.1.2.3:5000"];
        finds_first(&two, &program, &away, "NO_ROUTE_BACK", &["192.0.2.7", "rp_filter"]);

        // That, and the interface down, and a group that wants a source.
        two.ip("link set eth0 down");
        let found = finds_first(&two, &program, &["-i", "eth0", "232.1.2.3:5000"], "INTERFACE_DOWN", &["eth0", "down"]);
        let codes: Vec<&Value> = found["findings"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
        assert!(codes.contains(&&"SSM_RANGE".into()), "{found}");
        finds_first(&two, &program, &["-i", "eth0", "[ff15::7]:5000"], "INTERFACE_DOWN", &["eth0", "down"]);

        // What can't be joined at all is diagnosed, too.
        for endpoint in ["239.1.2.3:5000", "[ff15::7]:5000"] {
            let found = finds_first(&two, &program, &["-i", "eth7", endpoint], "INTERFACE_MISSING", &["eth7", "eth0"]);
            assert_eq!(found["refused"], "ENODEV", "{found}");
        }
        let bare = network.host("bare");
        finds_first(&bare, &program, &["-S", "239.1.2.3:5000"], "NO_MULTICAST_ROUTE", &["239.1.2.3"]);
    });
}

/// Nothing reaches the socket, and the last words say where the packets are.
#[test]
fn the_verdict_agrees_with_the_packets() {
    hosts::test(|network| {
        let (one, two) = (network.host("one"), network.host("two"));
        for (name, net) in [("eth0", "1"), ("eth1", "2")] {
            let of = |host: u8| format!("10.{net}.0.{host}/24");
            network.link((&one, name, &[&of(1)]), (&two, name, &[&of(2)]));
        }
        let Some(program) = example("mcast_doctor", Linkage::Shared) else { return };
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        let _running = sending(&one, &sender, ("239.1.2.3", "5000"), "32");
        let verdict = |interface: &str| {
            let done = two.run(|| program.run(&["-t", "1", "-i", interface, "239.1.2.3:5000"]));
            assert_eq!(done.status.code(), Some(1), "{done:?}");
            done.output.split_once("not healthy\n").unwrap_or_else(|| panic!("{done:?}")).1.to_owned()
        };
        // The group comes, but not here.
        let told = verdict("eth1");
        assert!(told.contains("came by another interface, eth0: try -i eth0."), "{told}");
        // A firewall drops it.
        nftables::chain(&two, nftables::LOCAL_IN, nftables::DROP);
        let told = verdict("eth0");
        assert!(told.contains("reached this host by eth0, and it dropped them") && told.contains("firewall"), "{told}");
        nftables::clear(&two);
        // The reverse path filter drops it: the sender's network isn't ours any more.
        two.set("net/ipv4/conf/eth0/rp_filter", "1");
        two.ip("address del 10.1.0.2/24 dev eth0\naddress add 10.99.0.2/24 dev eth0");
        let told = verdict("eth0");
        assert!(told.contains("by rp_filter, which dropped "), "{told}");
    });
}

/// What is asked of a source that stops arriving while it listens.
#[test]
fn a_source_that_was_seen() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(program) = example("mcast_doctor", Linkage::Shared) else { return };
        one.ip("address add 192.0.2.7/32 dev eth0");
        let socket = one.run(|| UdpSocket::bind("192.0.2.7:0").unwrap());
        let filter = |value: &str| ["all", "eth0"].map(|at| two.set(&format!("net/ipv4/conf/{at}/rp_filter"), value));
        filter("0");
        let command = program.command(&["-t", "600", "-i", "eth0", "239.1.2.3:5000"]);
        let mut doctor = two.run(|| Terminal::start(command));
        doctor.until("it is heard", |shown| {
            socket.send_to(b"hello", "239.1.2.3:5000").unwrap();
            shown.contains(" packets from 1 source")
        });
        filter("1");
        doctor.interrupt();
        let (status, shown) = doctor.finish();
        assert_eq!(status.code(), Some(1), "{shown:?}");
        let found = terminal::plain(&shown);
        let first = found.lines().find(|line| line.starts_with("broken ") || line.starts_with("likely "));
        assert!(first.is_some_and(|line| line.contains("NO_ROUTE_BACK") && line.contains("192.0.2.7")), "{found}");
    });
}

#[test]
fn the_report_on_a_terminal() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        let Some(program) = example("mcast_doctor", Linkage::Shared) else { return };
        let _running = sending(&one, &sender, ("239.1.2.3", "5000"), "32");
        let at_terminal = |arguments: &[&str], no_color: &str| {
            let mut command = program.command(arguments);
            command.env("NO_COLOR", no_color);
            two.run(|| Terminal::start(command))
        };
        let arguments = ["-t", "600", "-i", "eth0", "239.1.2.3:5000"];
        for no_color in ["", "1"] {
            let mut doctor = at_terminal(&arguments, no_color);
            doctor.until("progress with what came", |shown| {
                shown.contains("\r\x1b[Klistening, 600 s left: ") && shown.contains(" packets from 1 source")
            });
            // What there is so far.
            doctor.interrupt();
            let (status, shown) = doctor.finish();
            assert!(status.success(), "{status}: {shown}");
            assert!(terminal::plain(&shown).contains("\nhealthy"), "{shown:?}");
            assert_eq!(shown.contains("\x1b[32mhealthy\x1b[0m"), no_color.is_empty(), "{shown:?}");
            assert_eq!(terminal::has_colours(&shown), no_color.is_empty(), "{shown:?}");
        }
        two.ip("link set eth0 down");
        let mut doctor = at_terminal(&arguments, "");
        doctor.until("progress with what is wrong", |shown| shown.contains("; so far: INTERFACE_DOWN"));
        doctor.interrupt();
        let (status, shown) = doctor.finish();
        assert_eq!(status.code(), Some(1), "{shown:?}");
        assert!(shown.contains("\x1b[1;31mbroken   \x1b[0m  INTERFACE_DOWN: "), "{shown:?}");
        assert!(shown.contains("\x1b[1;31mnot healthy\x1b[0m"), "{shown:?}");
    });
}

#[test]
fn what_cannot_be_diagnosed() {
    both_ways("mcast_doctor", |program| {
        let refused = |arguments: &[&str], words: &[&str]| refuses_arguments(program, arguments, words);
        refused(&[], &["GROUP:PORT"]);
        refused(&["239.1.2.3:5000", "239.1.2.4:5000"], &["GROUP:PORT"]);
        for wrong in ["239.1.2.3", "239.1.2.3:65536", "ff15::7:5000", "[ff15::7]", "[ff15::7:5000"] {
            refused(&[wrong], &[wrong, "[ff15::7]:5000"]);
        }
        for role in [&[][..], &["--sender"]] {
            refused(&[role, &["-i", "lo", "10.1.2.3:5000"]].concat(), &["10.1.2.3", "EINVAL", "224.0.0.0/4"]);
        }
        refused(&["-i", "lo", "-s", "fd01::1", "239.1.2.3:5000"], &["239.1.2.3"]);
        refused(&["-t", "0", "239.1.2.3:5000"], &["0", "86400"]);
        let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
        let endpoint = format!("239.1.2.3:{}", taken.local_addr().unwrap().port());
        refused(&["-i", "lo", &endpoint], &["239.1.2.3", "EADDRINUSE", "doesn't share it"]);
    });
}
