//! What the programs write and to whom: closed and full descriptors, readers that stall, text from strangers.

mod support;

use std::fs::File;
use std::io::{self, Read};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::examples::{example, start};
use support::far::{self, Far, NEAR, SOURCES, start_on, stop, until};
use support::hosts::{self, Host};
use support::programs::{self, Finished, Linkage, Program, Running};

fn example_of(name: &str) -> Option<Program> {
    example(name, Linkage::Shared)
}

/// Runs a program by a shell, with its descriptors as these redirections have them.
fn redirected(program: &Program, arguments: &[&str], redirections: &str) -> Finished {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$@\" {redirections}"), "sh"]).arg(program.path()).args(arguments);
    programs::by_soname(&mut shell);
    programs::run(shell)
}

/// Programs that end by themselves, after something was printed.
const PRINTS: [(&str, &[&str]); 7] = [
    ("list_interfaces", &["--json"]),
    ("mcast_send", &["-i", "eth0", "239.1.2.3", "5000", "text"]),
    ("bcast_send", &["-i", "eth0", "5000", "text"]),
    ("udp_blast", &["--json", "-n", "3", "-i", "eth0", "239.1.2.3", "5000"]),
    ("mcast_watch", &["-1", "-i", "eth0", "239.1.2.3:5000"]),
    ("mcast_watch", &["-j", "-t", "1", "-i", "eth0", "239.1.2.3:5000"]),
    ("mcast_doctor", &["-t", "1", "-i", "eth0", "239.1.2.3:5000"]),
];

#[test]
fn output_that_cannot_be_written_is_an_error() {
    hosts::test(|network| {
        let [_one, two] = network.lan();
        for (name, arguments) in PRINTS {
            let Some(program) = example_of(name) else { return };
            for (output, why) in [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")] {
                let done = two.run(|| redirected(&program, arguments, output));
                assert_eq!(done.status.code(), Some(2), "{name} {output}: {done:?}");
                let expected = format!("{name}: writing to standard output: {why}\n");
                assert_eq!(done.errors, expected, "{name} {output}");
            }
            let help = two.run(|| redirected(&program, &["--help"], ">/dev/full"));
            assert_eq!(help.status.code(), Some(2), "{name} --help: {help:?}");
        }
    });
}

/// A socket that got the number of standard output would be sent what the program prints.
#[test]
fn what_a_program_prints_never_goes_to_the_network() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let receiver = far::listener(&two, "eth0", "239.1.2.3");
        let Some(program) = example_of("mcast_send") else { return };
        for closed in [">&-", "<&- >&-", "<&- >&- 2>&-"] {
            one.run(|| redirected(&program, &["-i", "eth0", "239.1.2.3", "5000", "payload"], closed));
            one.run(|| redirected(&program, &["-i", "eth0", "239.1.2.3", "5000", "end"], ""));
            let came = [receiver.receive().text, receiver.receive().text];
            assert_eq!(came, ["payload", "end"], "{closed}");
        }
    });
}

/// A pipe that nobody reads, of one page.
fn narrow_pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors, which the kernel makes and nobody else has.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        assert!(libc::fcntl(ends[1], libc::F_SETPIPE_SZ, 4096) >= 4096);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

/// Whether a write would have to wait.
fn is_full(pipe: &OwnedFd) -> bool {
    let mut entry = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, which is filled.
    unsafe { libc::poll(&raw mut entry, 1, 0) == 0 }
}

struct Stalled {
    reading: OwnedFd,
    writing: OwnedFd,
    child: std::process::Child,
}

impl Stalled {
    /// Starts a program whose standard output nobody reads.
    fn start(host: &Host, program: &Program, arguments: &[&str]) -> Stalled {
        let (reading, writing) = narrow_pipe();
        let mut command = program.command(arguments);
        command.stdin(Stdio::null()).stdout(writing.try_clone().unwrap()).stderr(Stdio::null());
        let child = host.run(|| command.spawn().unwrap());
        Stalled { reading, writing, child }
    }

    /// Whether SIGINT ends it although nobody reads.
    fn interrupt(mut self) -> i32 {
        // SAFETY: a signal to a child of this process, which hasn't been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) }, 0);
        let mut status = None;
        hosts::until("its end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        drop(self.reading);
        status.unwrap().code().unwrap_or(-1)
    }
}

#[test]
fn a_relay_serves_though_nobody_reads_what_it_tells() {
    hosts::test(|network| {
        let far = Far::new(network);
        let (Some(relay), Some(gateway)) = (example_of("amt_relay"), example_of("amt_gateway")) else { return };
        let serves = Stalled::start(&far.near, &relay, &["--json", "--packets", "-i", "in0"]);
        hosts::until("a full pipe", || is_full(&serves.writing));
        // A gateway gets its relay, its group and its datagrams all the same.
        let mut asks = start_on(&far.far, &gateway, &["-r", NEAR[0], "-l", "-n", "1", "239.1.2.3"]);
        let source = far::sender(&far.source, SOURCES[0], 9);
        hosts::until("a datagram", || {
            far::say(&far.source, &source, "hello", "239.1.2.3");
            asks.has_ended()
        });
        assert!(asks.finish().output.ends_with(": hello\n"));
        assert_eq!(serves.interrupt(), 0);
    });
}

#[test]
fn a_gateway_keeps_its_tunnel_though_nobody_reads_the_datagrams() {
    hosts::test(|network| {
        let far = Far::new(network);
        let (Some(relay), Some(gateway)) = (example_of("amt_relay"), example_of("amt_gateway")) else { return };
        let mut serves = start_on(&far.near, &relay, &["--json", "--packets", "-i", "in0", "--query-interval", "1"]);
        let asks = Stalled::start(&far.far, &gateway, &["-r", NEAR[0], "239.1.2.3"]);
        far::wanted(&mut serves, "239.1.2.3", 1);
        let source = far::sender(&far.source, SOURCES[0], 9);
        hosts::until("a full pipe", || {
            far::say(&far.source, &source, &"x".repeat(1000), "239.1.2.3");
            is_full(&asks.writing)
        });
        (0..10).for_each(|_| far::say(&far.source, &source, &"x".repeat(1000), "239.1.2.3"));
        // It answers three queries more; one that waited for its reader would have been forgotten.
        let count = |seen: &Value| far::count(seen, "updates");
        let before = count(&until(&mut serves, "counters", |_| true));
        until(&mut serves, "updates", |seen| count(seen) >= before + 3);
        // What was begun is whole: the reader gets full datagrams.
        let mut first = vec![0; 3000];
        File::from(asks.reading.try_clone().unwrap()).read_exact(&mut first).unwrap();
        assert!(first.iter().all(|byte| *byte == b'x'));
        assert_eq!(asks.interrupt(), 0);
        stop(&serves, libc::SIGTERM);
    });
}

#[test]
fn a_watch_goes_on_though_nobody_reads_it() {
    hosts::test(|network| {
        let [_one, two] = network.lan();
        let Some(program) = example_of("mcast_watch") else { return };
        let groups: Vec<String> = (1..100).map(|last| format!("239.1.2.{last}:5000")).collect();
        let arguments: Vec<&str> = ["-j", "-i", "eth0"].into_iter().chain(groups.iter().map(String::as_str)).collect();
        let watch = Stalled::start(&two, &program, &arguments);
        hosts::until("a full pipe", || is_full(&watch.writing));
        assert_eq!(watch.interrupt(), 0);
    });
}

/// What a stranger would like a terminal to do, and to show.
const FORGED: &[u8] = b"\x1b]0;title\x07\x1b[2J\n10.9.9.9 port 1: forged \xc2\x9bc \xe2\x80\xae\xff\\ \xc3\xa4";
const SHOWN: &str = r"\x1b]0;title\x07\x1b[2J\x0a10.9.9.9 port 1: forged \xc2\x9bc \xe2\x80\xae\xff\x5c ä";

#[test]
fn text_of_strangers_cannot_steer_a_terminal() {
    let send = |port: &str| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(FORGED, ("127.0.0.1", port.parse().unwrap())).unwrap();
    };
    let Some(program) = example_of("bcast_recv") else { return };
    let mut running = start(&program, &["-n", "1", "0"]);
    send(&support::examples::port(&mut running));
    let done = running.finish();
    let lines: Vec<&str> = done.output.lines().collect();
    assert!(lines.len() == 2 && lines[1].ends_with(&format!(": {SHOWN}")), "{done:?}");

    let Some(program) = example_of("urgent_server") else { return };
    let mut running = start(&program, &[]);
    let mut client = support::examples::connect("127.0.0.1", &support::examples::port(&mut running));
    io::Write::write_all(&mut client, FORGED).unwrap();
    assert_eq!(running.line_after("data: "), SHOWN);
    drop(client);

    // A program's own arguments come back in its messages.
    let Some(program) = example_of("mcast_recv") else { return };
    let done = program.run(&["\u{1b}[31m", "5000"]);
    assert!(done.errors.contains(r"\x1b[31m") && !done.errors.contains('\u{1b}'), "{done:?}");
}

/// Who makes an interface chooses its name: any bytes but a slash and white space.
const NAMES: [&[u8]; 2] = [b"\x1b[31mred", b"bad\xff\"\\\xfe"];

fn strange_interfaces(host: &Host) {
    use std::os::unix::ffi::OsStrExt;
    for (at, name) in NAMES.iter().enumerate() {
        let name = std::ffi::OsStr::from_bytes(name);
        let peer = format!("p{at}");
        let ip = |arguments: &[&std::ffi::OsStr]| {
            assert!(host.run(|| Command::new("ip").args(arguments).status().unwrap().success()), "{arguments:?}");
        };
        let words = |text: &'static str| text.split(' ').map(std::ffi::OsStr::new);
        let make: Vec<_> = words("link add").chain([name]).chain(words("type veth peer name")).collect();
        ip(&[&make[..], &[peer.as_ref()]].concat());
        ip(&["link".as_ref(), "set".as_ref(), name, "up".as_ref()]);
        ip(&["link".as_ref(), "set".as_ref(), peer.as_ref(), "up".as_ref()]);
    }
}

#[test]
fn names_of_interfaces_are_escaped_and_json_stays_valid() {
    hosts::test(|network| {
        let host = network.host("strange");
        strange_interfaces(&host);
        let run = |name: &str, arguments: &[&str]| {
            let program = example_of(name)?;
            Some(host.run(|| program.command(arguments).output().unwrap().stdout))
        };
        let Some(table) = run("list_interfaces", &[]) else { return };
        let text = String::from_utf8(table).unwrap();
        assert!(text.contains(r" \x1b[31mred ") && text.contains(r#" bad\xff"\x5c\xfe "#), "{text}");
        for (name, arguments) in [
            ("list_interfaces", &["--json"][..]),
            ("mcast_watch", &["-1", "-j", "-i", "*", "239.1.1.1:5000"]),
            ("mcast_doctor", &["-j", "-t", "1", "-i", "nope", "239.1.1.1:5000"]),
        ] {
            let Some(json) = run(name, arguments) else { return };
            let value: Value = serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
            let text = value.to_string();
            assert!(text.contains(r"\u001b[31mred") && text.contains("bad\u{fffd}\\\"\\\\\u{fffd}"), "{name}: {text}");
        }
        for (name, arguments) in [
            ("mcast_watch", &["-1", "-i", "*", "239.1.1.1:5000"][..]),
            ("mcast_doctor", &["-t", "1", "-i", "nope", "239.1.1.1:5000"]),
        ] {
            let Some(report) = run(name, arguments) else { return };
            assert!(!report.contains(&0x1b), "{name}: {}", String::from_utf8_lossy(&report));
        }
    });
}

/// Starts counting at a port, and gives the port.
fn counting(program: &Program, arguments: &[&str]) -> (Running, String) {
    let mut running = start(program, arguments);
    let to = support::examples::port(&mut running);
    (running, to)
}

/// What was sent before the first one seen, and what may still be sent, isn't lost.
#[test]
fn only_what_is_missing_in_between_is_lost() {
    let (Some(sender), Some(program)) = (example_of("udp_blast"), example_of("udp_count")) else { return };
    let between = UdpSocket::bind("127.0.0.1:0").unwrap();
    let via = between.local_addr().unwrap().port().to_string();
    assert!(sender.run(&["--count", "50", "--size", "100", "127.0.0.1", &via]).passed());
    let flow: Vec<Vec<u8>> = (0..50)
        .map(|_| {
            let mut bytes = [0; 200];
            let len = between.recv(&mut bytes).unwrap();
            bytes[..len].to_vec()
        })
        .collect();
    for (missing, code) in [(&[][..], 0), (&[25, 26], 1)] {
        let (running, to) = counting(&program, &["--wait", "300", "127.0.0.1", "0"]);
        for bytes in (20..40).filter(|at| !missing.contains(at)).map(|at: usize| &flow[at]) {
            between.send_to(bytes, ("127.0.0.1", to.parse().unwrap())).unwrap();
        }
        let done = running.finish();
        let expected = format!(": {} lost (20 before the first, 10 after the last)", missing.len());
        assert!(done.output.contains(&expected) && done.status.code() == Some(code), "{done:?}");
    }
}

#[test]
fn a_long_text_is_sent_whole_or_refused() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        let receiver = far::listener(&two, "eth0", "239.1.2.3");
        let Some(program) = example_of("mcast_send") else { return };
        let send = |len: usize| one.run(|| program.run(&["-i", "eth0", "239.1.2.3", "5000", &"y".repeat(len)]));
        assert!(send(5000).output.starts_with("sent 5000 bytes"));
        assert_eq!(receiver.receive().text.len(), 5000);
        let refused = send(65508);
        assert!(refused.status.code() == Some(2) && refused.errors.contains("65507"), "{refused:?}");
    });
}

#[test]
fn limited_broadcasts_of_one_interface() {
    hosts::test(|network| {
        let (one, two) = (network.host("one"), network.host("two"));
        for (name, net) in [("eth0", "1"), ("eth1", "2")] {
            let of = |host: u8| format!("10.{net}.0.{host}/24");
            network.link((&one, name, &[&of(1)]), (&two, name, &[&of(2)]));
        }
        let (Some(sender), Some(program)) = (example_of("bcast_send"), example_of("bcast_recv")) else { return };
        let mut running = start_on(&two, &program, &["-l", "-i", "eth1", "-n", "1", "0"]);
        let to = support::examples::port(&mut running);
        for interface in ["eth0", "eth1"] {
            let sent = one.run(|| sender.run(&["-l", "-i", interface, &to, interface]));
            assert!(sent.passed());
        }
        assert!(running.finish().output.ends_with(": eth1\n"));
    });
}
