//! mcast_tunnel: two of them carry multicast from one network to another through one that carries unicast
//! only.

mod support;

use support::examples::{both_ways, example, refuses, refuses_arguments};
use support::far::{FAR, Far, GROUPS, NEAR, SOURCES, ended, last, listener, say, sender, start_on, stop, until};
use support::hosts::{self, Host};
use support::link::{Kind, Watch};
use support::programs::{self, Linkage, Program, Running};
use support::tools;

/// Both ends, as soon as they carry: what the near one takes in and what the far one puts out.
fn ends(far: &Far, program: &Program, outer: usize, kind: &[&str], [near, out]: [&[&str]; 2]) -> [Running; 2] {
    let [here, there] = [NEAR[outer], FAR[outer]];
    let start = |host, local, remote, direction, more: &[&str]| {
        let arguments = ["--json", "-l", local, "-r", remote, "-i", "in0", "-d", direction];
        let mut running = start_on(host, program, &[&arguments, kind, more].concat());
        until(&mut running, "it carries", |seen| seen["whole"].as_u64().unwrap() > 1300);
        running
    };
    [start(&far.near, here, there, "in", near), start(&far.far, there, here, "out", out)]
}

#[test]
fn mcast_tunnel() {
    let kinds: [&[&str]; 5] = [
        &["-k", "ipip"],
        &["-k", "gre"],
        &["-k", "gre", "-K", "4294967295", "--checksum", "--sequence"],
        &["-k", "gre-udp"],
        &["-k", "udp"],
    ];
    hosts::test(|network| {
        let far = Far::new(network);
        let receivers = GROUPS.map(|group| listener(&far.receiver, "eth0", group));
        let senders = SOURCES.map(|source| sender(&far.source, source, 9));
        both_ways("mcast_tunnel", |program| {
            for (kind, outer) in kinds.into_iter().flat_map(|kind| [(kind, 0), (kind, 1)]) {
                let watch = Watch::new(&far.source, "eth0");
                let [near, out] = ends(&far, program, outer, kind, [&["-g", GROUPS[0], "-g", GROUPS[1]], &[]]);
                for inner in [0, 1] {
                    far.source.run(|| senders[inner].send("to another", ["239.1.2.4", "ff15::8"][inner]));
                    say(&far.source, &senders[inner], "hello", GROUPS[inner]);
                    let came = receivers[inner].receive();
                    assert_eq!((&*came.text, came.ttl), ("hello", 7), "a router at each end: {kind:?}");
                    assert_eq!(came.from, senders[inner].local_addr().unwrap());
                }
                stop(&near, libc::SIGUSR1);
                let [near, out] = [ended(near, libc::SIGTERM), ended(out, libc::SIGINT)];
                assert_eq!(near.errors.lines().filter(|line| line.contains("packets_in 2")).count(), 2, "{near:?}");
                let [near, out] = [last(&near), last(&out)];
                assert_eq!(
                    (&near["bridge"]["packets_in"], &near["tunnel"]["packets_out"]),
                    (&2.into(), &2.into()),
                    "{near}"
                );
                assert_eq!(
                    (&out["bridge"]["packets_out"], &out["tunnel"]["packets_in"]),
                    (&2.into(), &2.into()),
                    "{out}"
                );
                // It has left.
                watch.sees(&[Kind::ChangeToInclude], GROUPS[0], None);
            }
        });
    });
}

#[test]
fn a_tunnel_carries_what_the_other_end_asks_for() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some(program) = example("mcast_tunnel", Linkage::Shared) else { return };
        let watch = Watch::new(&far.source, "eth0");
        let [mut near, out] = ends(&far, &program, 0, &["-k", "gre-udp"], [&[], &["--ask"]]);
        for at in [0, 1] {
            let receiver = listener(&far.receiver, "eth0", GROUPS[at]);
            watch.sees(&[Kind::ChangeToExclude, Kind::ModeIsExclude], GROUPS[at], None);
            until(&mut near, "asked for", |seen| seen["asked_groups"].as_u64().unwrap() > at as u64);
            let from = sender(&far.source, SOURCES[at], 9);
            say(&far.source, &from, "asked for", GROUPS[at]);
            let came = receiver.receive();
            assert_eq!((&*came.text, came.from), ("asked for", from.local_addr().unwrap()));
        }
        let log = ended(near, libc::SIGINT).errors;
        assert!(log.contains("the other end asks for 1 groups"), "{log}");
        ended(out, libc::SIGINT);
    });
}

#[test]
fn thresholds_and_two_ends_that_disagree() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some(program) = example("mcast_tunnel", Linkage::Shared) else { return };
        let receiver = listener(&far.receiver, "eth0", GROUPS[0]);
        let [low, high] = [16, 17].map(|ttl| sender(&far.source, SOURCES[0], ttl));
        let near_options = ["-g", "*", "-t", "17", "-s", "8"];
        let [near, out] = ends(&far, &program, 0, &["-k", "gre", "-K", "1"], [&near_options, &["-t", "2"]]);
        far.source.run(|| {
            low.send("too near", GROUPS[0]);
            high.send("too local", "239.255.0.1");
            high.send("far enough", GROUPS[0]);
        });
        assert_eq!(receiver.receive().text, "far enough");
        ended(out, libc::SIGINT);
        let told = last(&ended(near, libc::SIGINT));
        assert_eq!((&told["bridge"]["ttl"], &told["bridge"]["packets_in"]), (&1.into(), &1.into()), "{told}");
        assert!(told["bridge"]["scope"].as_u64().unwrap() >= 1, "{told}");

        let start = |host, local, remote, more: &[&str]| {
            let arguments = ["--json", "-k", "gre", "-l", local, "-r", remote, "-i", "in0"];
            let mut running = start_on(host, &program, &[&arguments, more].concat());
            until(&mut running, "it carries", |_| true);
            running
        };
        let near = start(&far.near, NEAR[0], FAR[0], &["-d", "in", "-g", "*", "-K", "1"]);
        let mut out = start(&far.far, FAR[0], NEAR[0], &["-d", "out", "-K", "2"]);
        say(&far.source, &high, "with another key", GROUPS[0]);
        until(&mut out, "another key", |seen| seen["tunnel"]["in_key"] == 1);
        ended(near, libc::SIGINT);
        ended(out, libc::SIGINT);
        assert_eq!(receiver.waiting(), Vec::<String>::new());
    });
}

#[test]
fn by_datagrams_no_privilege_is_needed() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some(setpriv) = tools::find("setpriv", "util-linux") else { return };
        let Some(program) = example("mcast_tunnel", Linkage::Shared) else { return };
        let stripped = |host: &Host, arguments: &[&str]| {
            let mut command = setpriv.command();
            command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(program.path()).args(arguments);
            programs::by_soname(&mut command);
            host.run(|| programs::start(command))
        };
        let receivers = GROUPS.map(|group| listener(&far.receiver, "eth0", group));
        let common = ["--json", "-k", "udp", "-i", "in0", "-l"];
        let near = [NEAR[0], "-r", FAR[0], "-d", "in", "-g", "239.1.2.3:5000", "-g", "[ff15::7]:5000"];
        let mut near = stripped(&far.near, &[&common[..], &near].concat());
        let mut out = stripped(&far.far, &[&common[..], &[FAR[0], "-r", NEAR[0], "-d", "out"]].concat());
        for end in [&mut near, &mut out] {
            until(end, "it carries", |seen| seen["keeps_source"] == false);
        }
        for at in [0, 1] {
            let from = sender(&far.source, SOURCES[at], 9);
            say(&far.source, &from, "hello", GROUPS[at]);
            let came = receivers[at].receive();
            assert_eq!((&*came.text, came.from.ip().to_string()), ("hello", ["10.4.0.2", "fd04::2"][at].to_owned()));
        }
        ended(near, libc::SIGTERM);
        let log = ended(out, libc::SIGTERM).errors;
        assert!(log.contains("this host's address as its source"), "{log}");
        let raw = stripped(&far.near, &["-k", "ipip", "-r", FAR[0], "-i", "in0", "-g", "*"]).finish();
        refuses(&raw, &[FAR[0], "EPERM", "CAP_NET_RAW"]);
        assert_eq!(raw.status.code(), Some(2), "{raw:?}");
        let all = stripped(&far.near, &["-k", "udp", "-r", FAR[0], "-i", "in0", "-g", "*"]).finish();
        refuses(&all, &["in0", "EPERM"]);
    });
}

#[test]
fn what_cannot_be_tunnelled() {
    both_ways("mcast_tunnel", |program| {
        let refused = |arguments: &[&str], words: &[&str]| refuses_arguments(program, arguments, words);
        let udp = ["-k", "udp", "-r", "127.0.0.1:9", "-l", "127.0.0.1:0", "-i", "lo"];
        let with = |more: &[&'static str]| [&udp[..], more].concat();
        refused(&[], &["-k KIND", "-r REMOTE", "-i INTERFACE"]);
        refused(&["-k", "vxlan", "-r", "127.0.0.1", "-i", "lo"], &["vxlan", "gre-udp"]);
        refused(&["-k", "udp", "-r", "192.0.2.300", "-i", "lo"], &["192.0.2.300", "-r wants an address"]);
        refused(&with(&["-K", "1"]), &["--key", "gre and gre-udp only"]);
        refused(&with(&["-d", "up"]), &["up", "in, out or both"]);
        refused(&with(&["-d", "out", "-g", "239.1.2.3"]), &["--group", "--direction out"]);
        refused(&with(&["-t", "1"]), &["1", "from 2 to 255"]);
        refused(&with(&["-d", "in", "-g", "10.1.2.3:5000"]), &["10.1.2.3:5000", "-g wants a multicast group"]);
        refused(&with(&["239.1.2.3"]), &["239.1.2.3"]);
        let nowhere =
            program.run(&["-k", "udp", "-r", "127.0.0.1:9", "-l", "127.0.0.1:0", "-i", "none7", "-d", "out", "-o"]);
        refuses(&nowhere, &["none7", "ENODEV"]);
    });
}
