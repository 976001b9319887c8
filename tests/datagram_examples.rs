//! The examples of the datagram room, against each other: what one sends the other counts.

mod support;

use std::net::UdpSocket;

use support::datagrams::{PATIENCE, loopbacks};
use support::hosts::{self, Host};
use support::programs::{self, BOTH, Finished, Linkage, Program, Running};

fn example(name: &str, linkage: Linkage) -> Option<Program> {
    programs::link(&format!("c_examples/{name}"), linkage)
}

fn start(program: &Program, arguments: &[&str]) -> Running {
    programs::start(program.command(arguments))
}

/// The port that the counter prints first.
fn port(running: &mut Running) -> String {
    running.line_after("listening on ").rsplit(' ').next().unwrap().to_owned()
}

/// One failure in one line that holds these words.
fn refuses(finished: &Finished, words: &[&str]) {
    assert!(!finished.status.success(), "{finished:?}");
    assert!(words.iter().all(|word| finished.errors.contains(word)), "{words:?}: {finished:?}");
}

#[test]
fn udp_blast() {
    let Some(counter) = example("udp_count", Linkage::Shared) else { return };
    for program in BOTH.iter().filter_map(|&linkage| example("udp_blast", linkage)) {
        for at in loopbacks() {
            let ip = at.ip().to_string();
            let ways: [&[&str]; 3] = [&[], &["--no-segmentation", "--size", "40"], &["--ttl", "3", "--rate", "50000"]];
            for options in ways {
                // As many as wait in any receive buffer.
                let mut counting = start(&counter, &["--count", "100", "--wait", "20000", &ip, "0"]);
                let to = port(&mut counting);
                let sent = program.run(&[options, &["--count", "100", &ip, &to]].concat());
                assert!(sent.passed());
                assert!(sent.output.starts_with("sent 100 datagrams of "), "{sent:?}");
                let counted = counting.finish();
                assert!(counted.passed());
                let expected = "received 100 datagrams of 1 flows: 0 lost (0 before the first, 0 after the last), 0 doubled, 0 out of order, 0 damaged, 0 of others, 0 dropped here;";
                assert!(counted.output.contains(expected), "{counted:?}");
            }
        }
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let json = program.run(&["--json", "--count", "2000", "127.0.0.1", &nobody]);
        assert!(json.passed() && json.output.contains(r#""sent": 2000, "size": 1200, "refused": "#), "{json:?}");
        assert!(!json.output.contains(r#""refused": 0,"#), "{json:?}");
        refuses(&program.run(&["--size", "39", "127.0.0.1", &nobody]), &["39"]);
        refuses(&program.run(&["127.255.255.255", &nobody]), &["127.255.255.255", "EACCES"]);
        refuses(&program.run(&["--interface", "no-such-one", "127.0.0.1", &nobody]), &["no-such-one", "ENODEV"]);
        // Without an end, until Ctrl-C.
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let to = receiver.local_addr().unwrap().port().to_string();
        let endless = start(&program, &["--count", "0", "--rate", "100", "127.0.0.1", &to]);
        receiver.recv(&mut [0; 2000]).unwrap();
        endless.interrupt();
        let ended = endless.finish();
        assert!(ended.passed() && ended.output.starts_with("sent "), "{ended:?}");
    }
}

#[test]
fn udp_count() {
    let Some(sender) = example("udp_blast", Linkage::Shared) else { return };
    for program in BOTH.iter().filter_map(|&linkage| example("udp_count", linkage)) {
        // A flow of which all come but the third, and one twice.
        let mut counting = start(&program, &["--count", "10", "--wait", "20000", "127.0.0.1", "0"]);
        let to = port(&mut counting);
        let between = UdpSocket::bind("127.0.0.1:0").unwrap();
        let via = between.local_addr().unwrap().port().to_string();
        assert!(sender.run(&["--count", "10", "--size", "100", "127.0.0.1", &via]).passed());
        let mut flow: Vec<Vec<u8>> = (0..10)
            .map(|_| {
                let mut bytes = [0; 200];
                let len = between.recv(&mut bytes).unwrap();
                bytes[..len].to_vec()
            })
            .collect();
        flow.swap(5, 6);
        flow[2] = flow[4].clone();
        let mut damaged = flow[7].clone();
        damaged[90] ^= 1;
        flow.insert(8, damaged);
        flow.insert(9, b"something else".to_vec());
        flow.iter().for_each(|bytes| _ = between.send_to(bytes, ("127.0.0.1", to.parse().unwrap())).unwrap());
        let counted = counting.finish();
        assert_eq!(counted.status.code(), Some(1), "{counted:?}");
        let expected = "received 10 datagrams of 1 flows: 1 lost (0 before the first, 0 after the last), 1 doubled, 2 out of order, 1 damaged, 1 of others, 0 dropped here;";
        assert!(counted.output.contains(expected), "{counted:?}");

        let nothing = program.run(&["--json", "--wait", "20", "127.0.0.1", "0"]);
        assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
        assert!(nothing.output.starts_with(r#"{"received": 0, "flows": 0, "lost": 0"#), "{nothing:?}");
        refuses(&program.run(&["192.0.2.1", "0"]), &["192.0.2.1", "EADDRNOTAVAIL"]);
        let mut endless = start(&program, &["0"]);
        port(&mut endless);
        endless.interrupt();
        assert!(endless.finish().output.contains("received 0 datagrams"));
    }
}

/// Counted on one host, sent from another.
fn counts_on(two: &Host, counter: &Program, at: &str, send: impl FnOnce(&str) -> Finished) {
    let mut counting = two.run(|| start(counter, &["-n", "100", "-w", "20000", "-i", "eth0", at, "0"]));
    let to = port(&mut counting);
    let sent = send(&to);
    assert!(sent.passed(), "{at}");
    let counted = counting.finish();
    assert!(counted.passed() && counted.output.contains("received 100 datagrams of 1 flows: 0 lost"), "{counted:?}");
}

#[test]
fn groups_and_broadcasts_are_sent_and_counted() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(counter) = example("udp_count", Linkage::Shared) else { return };
        let Some(sender) = example("udp_blast", Linkage::Shared) else { return };
        for group in ["239.1.2.3", "ff15::7"] {
            counts_on(&two, &counter, group, |to| one.run(|| sender.run(&["-n", "100", "-i", "eth0", group, to])));
        }
        for broadcast in ["10.1.0.255", "255.255.255.255"] {
            counts_on(&two, &counter, "0.0.0.0", |to| {
                one.run(|| sender.run(&["-n", "100", "-i", "eth0", "--broadcast", broadcast, to]))
            });
        }
    });
}
