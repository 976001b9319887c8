//! mcast_watch: what a neighbour sends, what becomes of the interfaces, and how it is told.

mod support;

use std::net::UdpSocket;

use serde_json::Value;
use support::examples::{both_ways, example, refuses_arguments, start};
use support::hosts::{self, Host};
use support::programs::{self, Linkage, Program, Running};
use support::terminal::{self, Terminal};

fn start_on(host: &Host, program: &Program, arguments: &[&str]) -> Running {
    host.run(|| start(program, arguments))
}

/// Sends so many from a host's interface.
fn send(host: &Host, sender: &Program, interface: &str, count: &str, (group, port): (&str, &str)) {
    assert!(host.run(|| sender.run(&["-i", interface, "-n", count, "-w", "0", group, port])).passed());
}

fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The first object, one comes each second, that is so.
fn until(watch: &mut Running, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Vec::new();
    while seen.len() < 60 {
        seen.push(object(&watch.line()));
        if is_so(&seen[seen.len() - 1]) {
            return seen.pop().unwrap();
        }
    }
    panic!("waited in vain: {what}: {seen:?}");
}

fn is_live(group: &Value, interface: &str) -> bool {
    let memberships = group["memberships"].as_array().unwrap();
    memberships.iter().any(|one| one["interface"] == interface && one["state"] == "live" && one["error"].is_null())
}

/// Ends it by Ctrl-C. What it said besides lines that were read, and that it succeeded.
fn ended(watch: Running) -> String {
    watch.interrupt();
    let done = watch.finish();
    assert!(done.passed() && done.errors.is_empty(), "{done:?}");
    done.output
}

#[test]
fn mcast_watch() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        both_ways("mcast_watch", |program| {
            let groups = ["[ff15::7]:6000", "239.1.2.4:5000", "239.1.2.3:5000"];
            let arguments = [&["--json", "-i", "eth0"], groups.as_slice()].concat();
            let mut watch = start_on(&two, program, &arguments);
            let first = until(&mut watch, "joined", |seen| {
                seen["groups"].as_array().unwrap().iter().all(|group| is_live(group, "eth0"))
            });
            let joined = first["events"].as_array().unwrap().iter().filter(|event| event["what"] == "joined");
            assert_eq!(joined.filter(|event| event["interface"] == "eth0").count(), 3, "{first}");

            send(&one, &sender, "eth0", "3", ("239.1.2.3", "5000"));
            send(&one, &sender, "eth0", "5", ("ff15::7", "6000"));
            // To the group of the one, at the port of the other: nobody's.
            send(&one, &sender, "eth0", "1", ("239.1.2.3", "6000"));
            let came = |seen: &Value| ["239.1.2.3", "239.1.2.4", "ff15::7"].map(|name| packets(seen, name));
            until(&mut watch, "all come", |seen| came(seen) == [3, 0, 5]);
            let all = ended(watch);
            let last = object(all.lines().last().unwrap());
            assert_eq!(came(&last), [3, 0, 5], "{last}");
            assert_eq!(sources(&last, "239.1.2.3"), ["10.1.0.1"]);
            assert_eq!(sources(&last, "ff15::7"), ["fd01::1"]);
            // "hello 1" and so on.
            assert_eq!(group(&last, "239.1.2.3")["bytes"], 3 * 7);
            assert!(group(&last, "239.1.2.3")["rtp_lost"].is_null(), "{last}");
            let events = all.lines().map(object).flat_map(|seen| seen["events"].as_array().unwrap().clone());
            let sources: Vec<Value> = events.filter(|event| event["what"] == "receiving").collect();
            assert_eq!(sources.len(), 2, "told once: {sources:?}");

            let unwished = start_on(&two, program, &["--json", "-s", "10.1.0.9", "-i", "eth0", "232.1.2.3:5000"]);
            sees_nothing(unwished, &one, &sender);
        });
    });
}

fn group<'seen>(seen: &'seen Value, name: &str) -> &'seen Value {
    seen["groups"].as_array().unwrap().iter().find(|group| group["group"] == name).unwrap()
}

fn packets(seen: &Value, name: &str) -> u64 {
    group(seen, name)["packets"].as_u64().unwrap()
}

fn sources(seen: &Value, name: &str) -> Vec<String> {
    let sources = group(seen, name)["sources"].as_array().unwrap();
    sources.iter().map(|source| source["address"].as_str().unwrap().to_owned()).collect()
}

/// Joined by another source than the one that sends.
fn sees_nothing(mut watch: Running, one: &Host, sender: &Program) {
    until(&mut watch, "joined", |seen| is_live(&seen["groups"][0], "eth0"));
    send(one, sender, "eth0", "3", ("232.1.2.3", "5000"));
    let next = object(&watch.line());
    assert_eq!(packets(&next, "232.1.2.3"), 0, "{next}");
    ended(watch);
}

fn line_with(watch: &mut Running, words: &str) {
    while !watch.line().contains(words) {}
}

#[test]
fn an_interface_that_goes_and_comes_back() {
    hosts::test(|network| {
        let (one, two) = (network.host("one"), network.host("two"));
        let plug_in = || network.link((&one, "eth1", &["10.2.0.1/24"]), (&two, "eth1", &["10.2.0.2/24"]));
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        let Some(program) = example("mcast_watch", Linkage::Shared) else { return };
        for (group, endpoint) in [("239.1.2.3", "239.1.2.3:5000"), ("ff15::7", "[ff15::7]:5000")] {
            // Not there yet.
            let table = two.run(|| program.run(&["--once", "-i", "eth?", endpoint]));
            assert_eq!(table.status.code(), Some(1), "nothing came: {table:?}");
            let row = table.output.lines().find(|line| line.starts_with(endpoint)).unwrap();
            assert!(row.contains("waiting eth?"), "{row}");

            let mut watch = start_on(&two, &program, &["-i", "eth?", endpoint]);
            let event =
                |watch: &mut Running, what: &str| line_with(watch, &format!("{group} port 5000 on eth1: {what}"));
            plug_in();
            event(&mut watch, "joined");
            send(&one, &sender, "eth1", "2", (group, "5000"));
            event(&mut watch, "receiving from ");
            two.ip("link delete eth1");
            event(&mut watch, "lost: ");
            plug_in();
            event(&mut watch, "joined again");
            // Told once, so the count at the end shows them.
            send(&one, &sender, "eth1", "3", (group, "5000"));
            let summary = ended(watch);
            let expected = format!("\n{endpoint}: 5 packets, ");
            assert!(summary.contains(&expected), "{summary}");
            two.ip("link delete eth1");
        }
    });
}

/// An RTP packet with nothing in it.
fn rtp(number: u16) -> [u8; 12] {
    let [high, low] = number.to_be_bytes();
    [0x80, 33, high, low, 0, 0, 0, 0, 1, 2, 3, 4]
}

#[test]
fn what_is_missing() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(program) = example("mcast_watch", Linkage::Shared) else { return };
        let mut watch = start_on(&two, &program, &["--json", "-i", "eth0", "239.1.2.3:5000", "239.1.2.4:5001"]);
        let all_live = |seen: &Value| seen["groups"].as_array().unwrap().iter().all(|group| is_live(group, "eth0"));
        until(&mut watch, "joined", all_live);
        let socket = one.run(|| UdpSocket::bind("10.1.0.1:0").unwrap());

        // Past the end of the numbers, two missing, one late, one twice, one of RTCP between them.
        let numbers = [65531u16, 65532, 65533, 65534, 65535, 0, 3, 5, 4, 5, 6];
        numbers.iter().for_each(|&number| _ = socket.send_to(&rtp(number), "239.1.2.3:5000").unwrap());
        socket.send_to(&[0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0], "239.1.2.3:5000").unwrap();
        socket.send_to(&rtp(7), "239.1.2.3:5000").unwrap();
        let seen = until(&mut watch, "RTP", |seen| packets(seen, "239.1.2.3") == 13);
        assert_eq!(group(&seen, "239.1.2.3")["rtp_lost"], 2, "{seen}");
        assert_eq!(seen["ports"][1]["dropped"], 0, "{seen}");

        // More than there is room for while it doesn't read; told with the next that comes.
        // SAFETY: signals to a child of this process, which hasn't been waited for.
        unsafe { libc::kill(watch.id(), libc::SIGSTOP) };
        (0..20_000).for_each(|_| _ = socket.send_to(&[0; 1400], "239.1.2.4:5001").unwrap());
        // SAFETY: likewise.
        unsafe { libc::kill(watch.id(), libc::SIGCONT) };
        let dropped = |seen: &Value| {
            socket.send_to(b"one more", "239.1.2.4:5001").unwrap();
            seen["ports"].as_array().unwrap().iter().any(|port| port["port"] == 5001 && port["dropped"] != 0)
        };
        let seen = until(&mut watch, "drops", dropped);
        assert_eq!(seen["ports"][0]["dropped"], 0, "the other port: {seen}");
        ended(watch);
    });
}

/// Every second, third or fourth packet lost, from the first one on, by one sequence of numbers each.
#[test]
fn regular_losses_are_counted() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(program) = example("mcast_watch", Linkage::Shared) else { return };
        let endpoints = ["239.1.2.2:5000", "239.1.2.3:5000", "239.1.2.4:5000"];
        let mut watch = start_on(&two, &program, &[&["--json", "-i", "eth0"][..], &endpoints].concat());
        let all_live = |seen: &Value| seen["groups"].as_array().unwrap().iter().all(|group| is_live(group, "eth0"));
        until(&mut watch, "joined", all_live);
        for (every, endpoint) in (2u16..).zip(endpoints) {
            let socket = one.run(|| UdpSocket::bind("10.1.0.1:0").unwrap());
            for number in (0..120).filter(|number| number % every != 1) {
                socket.send_to(&rtp(number), endpoint).unwrap();
            }
        }
        // The last of a flow that is missing can't be known: nothing came after it.
        let lost =
            |seen: &Value| ["239.1.2.2", "239.1.2.3", "239.1.2.4"].map(|name| group(seen, name)["rtp_lost"].clone());
        until(&mut watch, "losses", |seen| lost(seen) == [59, 40, 30]);
        ended(watch);
    });
}

/// What the log tells of a stream: it is joined, comes, loses packets, stops, and comes back.
#[test]
fn a_stream_in_the_log() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(program) = example("mcast_watch", Linkage::Shared) else { return };
        let mut watch = start_on(&two, &program, &["-i", "eth0", "239.1.2.3:5000"]);
        let about = |watch: &mut Running, on: &str, what: &str| {
            let line = watch.line();
            let (date, rest) = line.split_at(20);
            let digits: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(digits, "0000-00-00 00:00:00 ", "{line}");
            assert_eq!(rest, format!("239.1.2.3 port 5000{on}: {what}"));
        };
        about(&mut watch, " on eth0", "joined");
        let socket = one.run(|| UdpSocket::bind("10.1.0.1:5555").unwrap());
        let send = |numbers: &[u16]| {
            numbers.iter().for_each(|&number| _ = socket.send_to(&rtp(number), "239.1.2.3:5000").unwrap());
        };
        send(&[1, 2, 3, 4, 7]);
        about(&mut watch, " on eth0", "receiving from 10.1.0.1 port 5555");
        about(&mut watch, "", "packets lost by RTP numbers: 2");
        about(&mut watch, "", "silent: nothing has come for 2 s");
        send(&[8]);
        about(&mut watch, "", "receiving again");
        ended(watch);
    });
}

#[test]
fn an_interface_that_is_not_there_is_told() {
    hosts::test(|network| {
        let [_one, two] = network.lan();
        let Some(program) = example("mcast_watch", Linkage::Shared) else { return };
        let done = two.run(|| program.run(&["-1", "-i", "nope", "239.1.2.3:5000"]));
        assert!(done.errors.contains("-i nope: there is no such interface"), "{done:?}");
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let bare = network.host("bare");
        let done = bare.run(|| program.run(&["-1", "239.1.2.3:5000"]));
        assert!(done.output.contains("waiting (no route, name -i)"), "{done:?}");
    });
}

#[test]
fn the_table_on_a_terminal() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        let Some(program) = example("mcast_watch", Linkage::Shared) else { return };
        let arguments = ["-i", "eth0", "239.1.2.3:5000", "[ff15::7]:5000"];
        let at_terminal = |no_color: &str| {
            let mut command = program.command(&arguments);
            command.env("NO_COLOR", no_color);
            two.run(|| Terminal::start(command))
        };
        let mut watch = at_terminal("");
        watch.until("the table is drawn", |shown| shown.matches("\x1b[32mlive eth0").count() >= 2);
        send(&one, &sender, "eth0", "3", ("239.1.2.3", "5000"));
        let row = |shown: &str| {
            let rows = terminal::plain(shown);
            rows.lines().rev().find(|line| line.starts_with("239.1.2.3:5000 ")).unwrap_or_default().to_owned()
        };
        watch.until("a row with what came", |shown| {
            let row = row(shown);
            let words: Vec<&str> = row.split_whitespace().collect();
            words[1..3] == ["live", "eth0"] && words[5..7] == ["3", "10.1.0.1"]
        });
        // In place: up over the table, as often as it was drawn anew.
        assert!(watch.shown().contains("A\r"), "{:?}", watch.shown());
        two.ip("link set eth0 down");
        watch.until("red", |shown| shown.contains("\x1b[1;31mdown eth0"));
        // Another size: drawn anew, no line longer than the screen, what is lost and when it came last still there.
        watch.resize(24, 80);
        let narrow = |shown: &str| shown.rsplit_once("\x1b[2J").map(|(_, last)| terminal::plain(last));
        watch.until("a narrow table", |shown| narrow(shown).is_some_and(|last| last.contains("LAST SEEN")));
        let last = narrow(&watch.shown()).unwrap();
        assert!(last.lines().take(3).all(|line| line.chars().count() <= 80), "the head and a row each: {last}");
        assert!(last.contains("LOST") && !last.contains("SOURCES"), "{last}");
        watch.interrupt();
        let (status, shown) = watch.finish();
        assert!(status.success(), "{status}: {shown}");
        assert!(terminal::plain(&shown).contains("\n239.1.2.3:5000: 3 packets, "), "{shown:?}");

        let mut watch = at_terminal("1");
        watch.until("the table is drawn", |shown| shown.contains("down eth0"));
        watch.interrupt();
        let (status, shown) = watch.finish();
        assert!(status.success() && !terminal::has_colours(&shown), "{shown:?}");
    });
}

#[test]
fn a_thousand_groups() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        let Some(program) = example("mcast_watch", Linkage::Shared) else { return };
        let groups: Vec<String> = (0..1000).map(|at| format!("239.1.{}.{}:5000", at / 250, at % 250 + 1)).collect();
        let arguments: Vec<&str> = ["-i", "eth0"].into_iter().chain(groups.iter().map(String::as_str)).collect();
        let mut watch = start_on(&two, &program, &arguments);
        // What it doesn't tell, it counts.
        let left_out: usize = watch.line().strip_suffix(" events are left out").unwrap().parse().unwrap();
        for _ in left_out..1000 {
            assert!(watch.line().ends_with(" port 5000 on eth0: joined"));
        }
        for group in ["239.1.0.1", "239.1.3.250"] {
            send(&one, &sender, "eth0", "3", (group, "5000"));
            line_with(&mut watch, &format!("{group} port 5000 on eth0: receiving from 10.1.0.1"));
        }
        let summary = ended(watch);
        assert_eq!(summary.matches(": 3 packets, 21 bytes from 1 source\n").count(), 2, "{summary}");
    });
}

#[test]
fn what_cannot_be_watched() {
    both_ways("mcast_watch", |program| {
        let refused = |arguments: &[&str], words: &[&str]| refuses_arguments(program, arguments, words);
        refused(&[], &["GROUP:PORT"]);
        for wrong in ["239.1.2.3", "239.1.2.3:", "239.1.2.3:0", "239.1.2.3:65536", "ff15::7:5000", "[ff15::7]", "[]:5"]
        {
            refused(&[wrong], &[wrong, "[ff15::7]:5000"]);
        }
        refused(&["10.1.2.3:5000"], &["10.1.2.3:5000", "EINVAL", "224.0.0.0/4"]);
        refused(&["-i", "lo", "239.1.2.3:5000", "239.1.2.3:5000"], &["239.1.2.3:5000", "EADDRINUSE", "twice"]);
        refused(&["-s", "fd01::1", "239.1.2.3:5000"], &["239.1.2.3:5000"]);
        refused(&["-t", "0", "239.1.2.3:5000"], &["0", "1000000000"]);
        let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
        let endpoint = format!("239.1.2.3:{}", taken.local_addr().unwrap().port());
        refused(&["-i", "lo", &endpoint], &[&endpoint, "EADDRINUSE", "doesn't share it"]);
    });
}

#[test]
fn it_ends_by_itself() {
    hosts::test(|network| {
        let [_one, two] = network.lan();
        let Some(program) = example("mcast_watch", Linkage::Shared) else { return };
        let run = |arguments: &[&str]| {
            let done = two.run(|| programs::run(program.command(arguments)));
            assert_eq!(done.status.code(), Some(1), "nothing came: {done:?}");
            done.output
        };
        let lines = run(&["--json", "-t", "2", "-i", "eth0", "239.1.2.3:5000"]);
        assert_eq!(lines.lines().map(object).count(), 2, "one a second: {lines}");
        let once = run(&["--json", "--once", "-i", "eth0", "239.1.2.3:5000"]);
        assert!(is_live(&object(once.trim())["groups"][0], "eth0"), "{once}");
        let table = run(&["--once", "-i", "eth0", "239.1.2.3:5000"]);
        assert_eq!(table.lines().count(), 2, "{table}");
        assert!(table.starts_with("GROUP ") && !table.contains('\x1b'), "{table}");
    });
}
