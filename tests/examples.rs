//! Every example, linked both ways and run against something that looks at what comes out.
//!
//! The test of an example bears its name; `every_example_has_a_test` holds the two lists together.

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use support::examples::{both_ways, connect, example, loopbacks, port, refuses, start};
use support::hosts::{self, Host};
use support::programs::{self, Linkage, Program, Running};
use support::tools;

#[test]
fn every_example_has_a_test() {
    let tests = [
        include_str!("examples.rs"),
        include_str!("datagram_examples.rs"),
        include_str!("membership_examples.rs"),
        include_str!("doctor_examples.rs"),
        include_str!("tunnel_examples.rs"),
        include_str!("bridge_examples.rs"),
    ]
    .concat();
    let names = programs::names("c_examples");
    assert!(!names.is_empty());
    for name in names {
        assert!(tests.contains(&format!("#[test]\nfn {name}() {{")), "no test runs c_examples/{name}.c");
    }
}

#[test]
fn every_example_helps_and_refuses_unknown_options() {
    for name in programs::names("c_examples") {
        both_ways(&name, |program| {
            for option in ["--help", "-h"] {
                let helped = program.run(&[option]);
                assert!(helped.passed());
                assert!(helped.output.starts_with(&format!("usage: {name}")), "{helped:?}");
                assert!(helped.output.contains("--help") && helped.errors.is_empty(), "{helped:?}");
            }
            let refused = program.run(&["--no-such-option"]);
            refuses(&refused, &[&name, "--no-such-option"]);
            assert_eq!(refused.status.code(), Some(2));
        });
    }
}

#[test]
fn tour() {
    const CAPABILITIES: [&str; 22] = [
        "writev_all",
        "readv_all",
        "nowait",
        "peek",
        "peek_all",
        "urgent",
        "urgent inline",
        "set_oob_owner",
        "multicast",
        "multicast ttl",
        "multicast loop",
        "multicast groups",
        "multicast interface",
        "open_receiver",
        "multicast_all",
        "join_source",
        "block_source",
        "source_filter",
        "broadcast",
        "fdopen",
        "errors",
        "interfaces",
    ];
    both_ways("tour", |program| {
        let done = program.run(&[]);
        assert!(done.passed());
        let steps: Vec<&str> = done.output.lines().skip(1).collect();
        let (last, steps) = steps.split_last().unwrap();
        let skipped: Vec<&&str> = steps.iter().filter(|step| step.contains("skipped: ")).collect();
        skipped.iter().for_each(|step| tools::skip(step));
        let passed = steps.len() - skipped.len();
        assert_eq!(**last, format!("{passed} passed, 0 failed, {} skipped", skipped.len()));
        for capability in CAPABILITIES {
            let shown = |step: &&str| step.get(..21).is_some_and(|head| head.trim_end() == capability);
            assert!(steps.iter().any(shown), "{capability}: {}", done.output);
        }
        // What a network of its own adds isn't there; all else is.
        assert!(program.run(&["--here"]).passed());
        refuses(&program.run(&["no such step"]), &["no such step"]);
    });
}

#[test]
fn gather_response() {
    // More pieces than one system call takes.
    let texts: Vec<String> = (0..2000).map(|number| format!("piece {number}")).collect();
    let body: String = texts.iter().map(|text| format!("{text}\n")).collect();
    let arguments: Vec<&str> = ["--once"].into_iter().chain(texts.iter().map(String::as_str)).collect();
    both_ways("gather_response", |program| {
        let mut server = start(program, &arguments);
        let mut client = connect("127.0.0.1", &port(&mut server));
        client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        let (head, came) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(came, body);
        assert_eq!(server.line(), format!("sent {} bytes, gathered from 4003 pieces", response.len()));
        assert!(server.finish().passed());

        let server = start(program, &[]);
        stops_at_once(server);
        refuses(&program.run(&["--address", "192.0.2.300"]), &["192.0.2.300", "EINVAL"]);
        refuses(&program.run(&["--port", "70000"]), &["70000", "65535"]);
    });
}

/// Ctrl-C ends a program that waits, cleanly.
fn stops_at_once(mut running: Running) {
    port(&mut running);
    running.interrupt();
    let done = running.finish();
    assert!(done.passed() && done.errors.is_empty(), "{done:?}");
}

#[test]
fn nowait_console() {
    both_ways("nowait_console", |program| {
        let mut console = start(program, &["--interval", "1", "--quiet"]);
        let mut tick_of = |number: usize, text: &str| -> u64 {
            console.write(format!("{text}\n").as_bytes());
            let line = console.line_after(&format!("line {number}, at tick "));
            let (tick, came) = line.split_once(": ").unwrap();
            assert_eq!(came, text);
            tick.parse().unwrap()
        };
        // It goes on with its work while nothing comes.
        let first = tick_of(1, "hello");
        let lines = (2..).find(|&number| tick_of(number, "and on") > first).unwrap();
        console.write(b"no end of line");
        console.close_input();
        assert!(console.line_after(&format!("line {}, ", lines + 1)).ends_with(": no end of line"));
        assert!(console.line().starts_with(&format!("end of input after {} lines", lines + 1)));
        assert!(console.finish().passed());

        reads_a_file(program);
        reads_a_terminal(program);
        refuses(&program.run(&["--interval", "soon"]), &["soon"]);
    });
}

fn reads_a_file(program: &Program) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"from\na file\n").unwrap();
    let input = File::open(file.path()).unwrap();
    let done = programs::start_with_input(program.command(&["--quiet"]), input.into()).finish();
    assert!(done.passed());
    assert_eq!(
        done.output,
        "line 1, at tick 0: from\nline 2, at tick 0: a file\nend of input after 2 lines and 0 ticks\n"
    );
}

fn reads_a_terminal(program: &Program) {
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: writes two descriptors; the rest may be null.
    let result = unsafe { libc::openpty(&raw mut master, &raw mut slave, null, null.cast(), null.cast()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: two descriptors just made.
    let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let mut console = programs::start_with_input(program.command(&["--quiet"]), Stdio::from(slave));
    (&master).write_all(b"typed\n").unwrap();
    assert!(console.line().ends_with(": typed"));
    // Ctrl-D at the beginning of a line.
    (&master).write_all(b"\x04").unwrap();
    assert!(console.line().starts_with("end of input after 1 lines"));
    assert!(console.finish().passed());
}

#[test]
fn sniff_protocol() {
    let cases: [(&[u8], &str, &str); 5] = [
        (b"\x16\x03\x01\x00\x05hello", "TLS", "\\x16\\x03\\x01\\x00\\x05hello"),
        (b"GET / HTTP/1.1\r\n", "HTTP", "GET / HTTP/1.1\\x0d"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH", "SSH-2.0-OpenSSH_9.2\\x0d"),
        (b"hello there\n", "something else", "hello there"),
        (b"", "nothing", ""),
    ];
    both_ways("sniff_protocol", |program| {
        let mut server = start(program, &[]);
        let port = port(&mut server);
        for (sent, protocol, line) in cases {
            let mut client = connect("127.0.0.1", &port);
            client.write_all(sent).unwrap();
            if sent.is_empty() {
                client.shutdown(Shutdown::Write).unwrap();
            }
            assert_eq!(server.line(), format!("protocol: {protocol}"));
            let waiting = if sent.is_empty() { "the end".to_owned() } else { format!("{} bytes", sent.len()) };
            assert_eq!(server.line(), format!("waiting: {waiting}"));
            // Nobody has taken a byte of it.
            assert_eq!(server.line(), format!("read: {line}"));
        }
        server.interrupt();
        assert!(server.finish().passed());

        // Too little in time: what there is has to do.
        let mut server = start(program, &["--once", "--timeout", "50"]);
        let mut client = connect("127.0.0.1", &self::port(&mut server));
        client.write_all(b"GE").unwrap();
        let done = server.finish();
        assert!(done.passed() && done.output.contains("protocol: something else\nwaiting: 2 bytes\nread: GE\n"));
    });
}

/// What a server printed after where it listens: data before the mark, the urgent byte, data after.
fn around_mark(output: &str, urgent: &str) -> (String, String, String) {
    let data = |lines: &str| lines.lines().filter_map(|line| line.strip_prefix("data: ")).collect::<String>();
    let (before, rest) = output.split_once(urgent).unwrap_or_else(|| panic!("no urgent byte: {output}"));
    let (byte, after) = rest.split_once('\n').unwrap();
    (data(before), byte.to_owned(), data(after))
}

#[test]
fn urgent_server() {
    both_ways("urgent_server", |server| {
        let Some(client) = example("urgent_client", Linkage::Shared) else { return };
        for address in loopbacks() {
            for (options, urgent) in [(&[][..], "urgent: "), (&["--inline"][..], "urgent (inline): ")] {
                let mut serving = start(server, &[&["--address", address], options].concat());
                let sent = client.run(&["--address", address, &port(&mut serving)]);
                assert!(sent.passed());
                let done = serving.finish();
                assert!(done.passed());
                let (before, byte, after) = around_mark(&done.output, urgent);
                assert_eq!((&*before, &*byte, &*after), ("beforenow", "!", "after"), "{}", done.output);
                assert!(done.output.ends_with("end, SIGURG received\n"), "{}", done.output);
            }
        }
        stops_at_once(start(server, &[]));
    });
}

#[test]
fn urgent_client() {
    both_ways("urgent_client", |program| {
        for address in loopbacks() {
            let listener = TcpListener::bind((address, 0)).unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let client = start(program, &["--address", address, &port, "one", "!two", "three"]);
            let (mut server, _) = listener.accept().unwrap();
            server.set_read_timeout(Some(programs::DEADLINE)).unwrap();
            server.write_all(b"ready\n").unwrap();
            let mut stream = String::new();
            server.read_to_string(&mut stream).unwrap();
            // The urgent byte, 'o', isn't in the stream.
            assert_eq!(stream, "onetwthree");
            let done = client.finish();
            assert!(done.passed());
            assert_eq!(done.output, "sent 3 bytes\nsent 3 bytes, the last one urgent\nsent 5 bytes\n");
        }
        refuses(&program.run(&[]), &["PORT"]);
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        refuses(&program.run(&[&closed]), &["127.0.0.1", "ECONNREFUSED"]);
    });
}

/// Runs a program on a host to its end, which has to be good.
fn run_on(host: &Host, program: &Program, arguments: &[&str]) {
    let done = host.run(|| program.run(arguments));
    assert!(done.passed(), "{done:?}");
}

fn start_on(host: &Host, program: &Program, arguments: &[&str]) -> Running {
    host.run(|| start(program, arguments))
}

/// Two families' groups, and the sources that three hosts of a LAN are.
const FAMILIES: [(&str, &str, [&str; 3]); 2] = [
    ("239.1.2.3", "239.1.2.4", ["10.1.0.1", "10.1.0.2", "10.1.0.3"]),
    ("ff15::1:3", "ff15::1:4", ["fd01::1", "fd01::2", "fd01::3"]),
];

#[test]
fn mcast_recv() {
    hosts::test(|network| {
        let [one, two, three] = network.lan();
        let Some(sender) = example("mcast_send", Linkage::Shared) else { return };
        both_ways("mcast_recv", |program| {
            for (group, other, [from_one, _, from_three]) in FAMILIES {
                // Of two groups, the one that was joined.
                let mut receiver = start_on(&two, program, &["-i", "eth0", "-n", "1", group, "0"]);
                let at = port(&mut receiver);
                run_on(&one, &sender, &["-i", "eth0", other, &at, "not joined"]);
                run_on(&one, &sender, &["-i", "eth0", group, &at, "joined"]);
                let line = receiver.line();
                assert!(line.starts_with(&format!("{from_one} port ")) && line.ends_with(": joined"), "{line}");
                assert!(receiver.finish().passed());

                // Of two senders, the one that was joined.
                let mut receiver = start_on(&two, program, &["-i", "eth0", "-s", from_three, "-n", "1", group, "0"]);
                let at = port(&mut receiver);
                run_on(&one, &sender, &["-i", "eth0", group, &at, "from another"]);
                run_on(&three, &sender, &["-i", "eth0", group, &at, "from the source"]);
                assert!(receiver.line().ends_with(": from the source"));
                assert!(receiver.finish().passed());

                // Several sources of several groups on one socket.
                let sources = ["-i", "eth0", "-s", from_one, "-s", from_three, "-n", "2", group, other, "0"];
                let mut receiver = start_on(&two, program, &sources);
                let at = port(&mut receiver);
                run_on(&one, &sender, &["-i", "eth0", other, &at, "first"]);
                run_on(&three, &sender, &["-i", "eth0", group, &at, "second"]);
                assert!(receiver.line().ends_with(": first"));
                assert!(receiver.line().ends_with(": second"));
                assert!(receiver.finish().passed());

                let late = two.run(|| program.run(&["-i", "eth0", "-t", "20", group, "0"]));
                refuses(&late, &[group, "ETIMEDOUT"]);
                stops_at_once(start_on(&two, program, &["-i", "eth0", group, "0"]));
            }
        });
    });
}

#[test]
fn mcast_send() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(receiver) = example("mcast_recv", Linkage::Shared) else { return };
        both_ways("mcast_send", |program| {
            for (group, _, _) in FAMILIES {
                let here = start_on(&one, &receiver, &["-i", "eth0", "-n", "3", group, "0"]);
                let there = start_on(&two, &receiver, &["-i", "eth0", "-n", "4", group, "0"]);
                sends_to_both(&one, program, group, here, there);
            }
            refuses(&program.run(&["192.0.2.1", "5000"]), &["192.0.2.1", "EINVAL"]);
            refuses(&program.run(&["-i", "no-such-one", "239.1.2.3", "5000"]), &["239.1.2.3", "ENODEV"]);
            refuses(&program.run(&["-t", "256", "239.1.2.3", "5000"]), &["256"]);
        });
    });
}

/// Without the loop nothing comes to the sender's own host, but all of it to the other.
fn sends_to_both(host: &Host, program: &Program, group: &str, mut here: Running, mut there: Running) {
    let (at_here, at_there) = (port(&mut here), port(&mut there));
    run_on(host, program, &["-i", "eth0", "--no-loop", group, &at_here, "kept off"]);
    run_on(host, program, &["-i", "eth0", "--no-loop", group, &at_there, "across"]);
    for at in [at_here, at_there] {
        run_on(host, program, &["-i", "eth0", "-t", "5", "-n", "3", "-w", "1", group, &at, "hello"]);
    }
    assert!(there.line().ends_with(": across"));
    for mut receiver in [here, there] {
        for number in 1..=3 {
            let line = receiver.line();
            assert!(line.ends_with(&format!(": hello {number}")), "{line}");
        }
        assert!(receiver.finish().passed());
    }
}

#[test]
fn bcast_send() {
    both_ways("bcast_send", |program| {
        let Some(receiver) = example("bcast_recv", Linkage::Shared) else { return };
        let ways: [(&[&str], &str); 4] = [
            (&["--interface", "lo"], "127.255.255.255"),
            (&["--interface", "127.0.0.1"], "127.255.255.255"),
            (&["--interface", "lo", "--limited"], "255.255.255.255"),
            (&["--cidr", "127.0.0.1/8"], "127.255.255.255"),
        ];
        for (options, to) in ways {
            let mut receiving = start(&receiver, &["-n", "1", "0"]);
            let at = port(&mut receiving);
            let sent = program.run(&[options, &[&*at, "to all"]].concat());
            assert!(sent.passed());
            assert_eq!(sent.output, format!("sent 1 datagram to {to}\n"));
            assert!(receiving.line().ends_with(": to all"));
            assert!(receiving.finish().passed());
        }
        refuses(&program.run(&["--cidr", "192.0.2.1/31", "5000"]), &["192.0.2.1/31", "EADDRNOTAVAIL"]);
        refuses(&program.run(&["5000"]), &["--interface"]);
    });
}

#[test]
fn bcast_recv() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let Some(sender) = example("bcast_send", Linkage::Shared) else { return };
        both_ways("bcast_recv", |program| {
            // Each hears what is sent to its own address alone, out of every interface of the other.
            let ways: [&[&str]; 3] = [&["--interface", "eth0"], &["--cidr", "10.1.0.0/24"], &["--limited"]];
            for options in ways {
                let mut receiver = start_on(&two, program, &[options, &["-n", "1", "0"]].concat());
                let at = port(&mut receiver);
                let (first, then): (&[&str], &[&str]) = match options {
                    ["--limited"] => (&["--all"], &["--all", "--limited"]),
                    _ => (&["--all", "--limited"], &["--all"]),
                };
                run_on(&one, &sender, &[first, &[&*at, "to another"]].concat());
                run_on(&one, &sender, &[then, &[&*at, "to this"]].concat());
                assert_eq!(receiver.line().split_once(": ").unwrap().1, "to this");
                assert!(receiver.finish().passed());
            }
            refuses(&two.run(|| program.run(&["-t", "20", "0"])), &["ETIMEDOUT"]);
            stops_at_once(start_on(&two, program, &["0"]));
        });
    });
}

#[test]
fn line_server() {
    both_ways("line_server", |program| {
        for address in loopbacks() {
            let mut server = start(program, &["--address", address]);
            let port = port(&mut server);
            // Two clients at once, and lines of which the last has no end.
            let (first, second) = (connect(address, &port), connect(address, &port));
            converses(&second);
            converses(&first);
            server.interrupt();
            assert!(server.finish().passed());
        }
        let mut server = start(program, &["--once", "--timeout", "50"]);
        let mut silent = connect("127.0.0.1", &port(&mut server));
        silent.write_all(b"only half a li").unwrap();
        let mut came = Vec::new();
        let _ = silent.read_to_end(&mut came);
        refuses(&server.finish(), &["ETIMEDOUT"]);
        assert!(came.is_empty());
    });
}

/// Lines both ways, and the end that comes when the client has closed its side.
fn converses(client: &TcpStream) {
    let mut answers = BufReader::new(client);
    let mut line = String::new();
    for text in ["hello\n", "grüße, 1 2 3\n"] {
        (&mut &*client).write_all(text.as_bytes()).unwrap();
        line.clear();
        answers.read_line(&mut line).unwrap();
        assert_eq!(line, text.to_ascii_uppercase());
    }
    (&mut &*client).write_all(b"one\ntwo\nthree").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    line.clear();
    answers.read_to_string(&mut line).unwrap();
    assert_eq!(line, "ONE\nTWO\nTHREE");
}

#[test]
fn list_interfaces() {
    both_ways("list_interfaces", |program| {
        let table = program.run(&[]);
        assert!(table.passed());
        let rows: Vec<Vec<&str>> = table.output.lines().map(|row| row.split_whitespace().collect()).collect();
        let lo = rows.iter().find(|row| row.contains(&"127.0.0.1/8")).expect("loopback is there");
        assert_eq!((lo[1], lo[2], lo[5]), ("lo", "up", "127.255.255.255"), "{lo:?}");

        let json = program.run(&["--json"]);
        assert!(json.passed() && json.output.starts_with("[\n") && json.output.ends_with("\n]\n"));
        let objects = json.output.lines().filter(|line| line.starts_with("  {")).count();
        assert_eq!(objects, rows.len() - 1);
        let address = r#""address": "127.0.0.1", "prefix_length": 8, "netmask": "255.0.0.0""#;
        assert!(json.output.lines().any(|line| line.contains(r#""name": "lo""#) && line.contains(address)));
    });
}

#[test]
fn a_failing_program_is_a_failure() {
    let mut refused = Command::new("sh");
    refused.args(["-c", "echo why >&2; exit 3"]);
    let done = programs::run(refused);
    assert_eq!((done.status.code(), &*done.errors), (Some(3), "why\n"));
    assert!(std::panic::catch_unwind(|| done.passed()).is_err());
}
