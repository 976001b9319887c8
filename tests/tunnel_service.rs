//! amt_relay, amt_gateway and mcast_tunnel as services: what they tell the service manager, the journal, a
//! terminal, and whoever gives wrong arguments; and what they need no privilege for.

mod support;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

use support::examples::{both_ways, example, refuses};
use support::far::{Far, NEAR, SOURCES, ended, start_on, stop, until};
use support::hosts;
use support::programs::{self, Linkage, Program};
use support::terminal::{self, Terminal};
use support::tools;

fn example_of(name: &str) -> Option<Program> {
    example(name, Linkage::Shared)
}

/// The next word to the service manager, but for its status.
fn next(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    loop {
        let len = manager.recv(&mut bytes).unwrap();
        let text = String::from_utf8(bytes[..len].to_vec()).unwrap();
        if !text.starts_with("STATUS=") {
            return text;
        }
    }
}

#[test]
fn ready_and_stopping_are_told() {
    hosts::test(|network| {
        let far = Far::new(network);
        let (Some(relay), Some(gateway)) = (example_of("amt_relay"), example_of("amt_gateway")) else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        // In the far host's name space.
        let name = SocketAddr::from_abstract_name("notify").unwrap();
        let by_name = far.far.run(|| UnixDatagram::bind_addr(&name).unwrap());
        for manager in [&by_path, &by_name] {
            manager.set_read_timeout(Some(programs::DEADLINE)).unwrap();
        }

        let mut asks = gateway.command(&["-r", NEAR[0], "239.1.2.3"]);
        asks.env("NOTIFY_SOCKET", "@notify");
        let asks = far.far.run(|| programs::start(asks));
        let mut serves = relay.command(&["--packets", "-i", "in0"]);
        serves.env("NOTIFY_SOCKET", &path);
        // Not before there is a relay.
        by_name.set_nonblocking(true).unwrap();
        assert!(by_name.recv(&mut [0; 64]).is_err());
        by_name.set_nonblocking(false).unwrap();
        let serves = far.near.run(|| programs::start(serves));
        assert_eq!(next(&by_path), "READY=1");
        assert_eq!(next(&by_name), "READY=1");
        ended(asks, libc::SIGTERM);
        assert_eq!(next(&by_name), "STOPPING=1");
        ended(serves, libc::SIGINT);
        assert_eq!(next(&by_path), "STOPPING=1");

        // One that isn't there is no reason not to serve.
        let mut serves = relay.command(&["--packets", "--json", "-i", "in0"]);
        serves.env("NOTIFY_SOCKET", folder.path().join("nobody"));
        let mut serves = far.near.run(|| programs::start(serves));
        until(&mut serves, "it serves", |_| true);
        assert!(ended(serves, libc::SIGTERM).errors.contains("nobody: "));
    });
}

#[test]
fn priorities_for_the_journal() {
    hosts::test(|network| {
        let host = network.host("relay");
        let Some(relay) = example_of("amt_relay") else { return };
        let log = |arguments: &[&str], before: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            let mut shell = Command::new("sh");
            let file = path.to_str().unwrap();
            shell.args(["-c", &format!("{before}; exec \"$@\" 2>>{file}"), "sh"]).arg(relay.path());
            programs::by_soname(&mut shell).args(["--json", "-p", "5000"]).args(arguments).env("LOG", file);
            let mut serves = host.run(|| programs::start(shell));
            until(&mut serves, "it serves", |_| true);
            ended(serves, libc::SIGTERM);
            std::fs::read_to_string(path).unwrap()
        };
        let journal = "touch $LOG; export JOURNAL_STREAM=$(stat -c %d:%i $LOG)";
        for (arguments, before) in [(&["--syslog-prefix"][..], ":"), (&[], journal)] {
            let log = log(arguments, before);
            assert!(log.lines().count() >= 2 && log.lines().all(|line| line.starts_with("<6>")), "{log}");
        }
        // Somebody else's stderr.
        let log = log(&[], "export JOURNAL_STREAM=1:1");
        assert!(log.lines().all(|line| line.starts_with("amt_relay: ")), "{log}");
    });
}

#[test]
fn the_table_on_a_terminal() {
    hosts::test(|network| {
        let far = Far::new(network);
        let (Some(relay), Some(gateway)) = (example_of("amt_relay"), example_of("amt_gateway")) else { return };
        let Some(sender) = example_of("mcast_send") else { return };
        let mut command = relay.command(&["-i", "in0", "-p", "5000"]);
        command.env("NO_COLOR", "");
        let mut table = far.near.run(|| Terminal::start(command));
        table.until("a table", |shown| shown.contains("\x1b[32m0 tunnels, 0 groups\x1b[0m"));
        let mut asks = start_on(&far.far, &gateway, &["-r", NEAR[0], "-l", "239.1.2.3", "232.1.1.1@10.1.0.1"]);
        let row = |shown: &str, group: &str| {
            let plain = terminal::plain(shown);
            let mut rows = plain.lines().rev().map(|line| line.split_whitespace().collect::<Vec<_>>());
            rows.any(|words| words == [group, "1"])
        };
        table.until("both groups", |shown| row(shown, "239.1.2.3") && row(shown, "232.1.1.1"));
        let sends = ["-i", "eth0", "-t", "9", "-n", "3", "-w", "0", "239.1.2.3", "5000"];
        assert!(far.source.run(|| sender.run(&sends)).passed());
        assert!(asks.line().starts_with(SOURCES[0]));
        table.until("what went out", |shown| {
            let plain = terminal::plain(shown);
            let out = plain.lines().rev().find(|line| line.starts_with("out ")).unwrap_or_default();
            out.ends_with(" 3")
        });
        ended(asks, libc::SIGINT);
        // In place: up over the table.
        assert!(table.shown().contains("A\r"), "{:?}", table.shown());
        table.interrupt();
        let (status, shown) = table.finish();
        assert!(status.success(), "{status}: {shown}");
    });
}

#[test]
fn no_privilege_is_needed() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some(setpriv) = tools::find("setpriv", "util-linux") else { return };
        let (Some(relay), Some(gateway)) = (example_of("amt_relay"), example_of("amt_gateway")) else { return };
        let Some(sender) = example_of("mcast_send") else { return };
        let stripped = |program: &Program, arguments: &[&str]| {
            let mut command = setpriv.command();
            command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]).arg(program.path()).args(arguments);
            programs::by_soname(&mut command);
            command
        };
        let serving = ["--json", "-i", "in0", "-p", "5000"];
        let mut serves = far.near.run(|| programs::start(stripped(&relay, &serving)));
        let mut asks = far.far.run(|| programs::start(stripped(&gateway, &["-r", NEAR[0], "-l", "239.1.2.3"])));
        until(&mut serves, "a group", |seen| !seen["groups"].as_array().unwrap().is_empty());
        assert!(far.source.run(|| sender.run(&["-i", "eth0", "-t", "9", "239.1.2.3", "5000"])).passed());
        let line = asks.line();
        assert!(line.starts_with(SOURCES[0]) && line.ends_with(": hello"), "{line}");
        ended(asks, libc::SIGINT);
        ended(serves, libc::SIGINT);

        let packets = far.near.run(|| programs::run(stripped(&relay, &["--packets"])));
        refuses(&packets, &["EPERM", "CAP_NET_RAW"]);
        assert_eq!(packets.status.code(), Some(2), "{packets:?}");
        let device = far.far.run(|| programs::run(stripped(&gateway, &["-r", NEAR[0], "--tun", "mc0", "239.1.2.3"])));
        refuses(&device, &["mc0", "EPERM", "CAP_NET_ADMIN", "--to"]);
    });
}

#[test]
fn a_reader_that_goes_away_ends_the_gateway() {
    hosts::test(|network| {
        let far = Far::new(network);
        let (Some(relay), Some(gateway)) = (example_of("amt_relay"), example_of("amt_gateway")) else { return };
        let Some(sender) = example_of("mcast_send") else { return };
        let mut serves = start_on(&far.near, &relay, &["--json", "--packets", "-i", "in0"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$@\" | head -c 5", "sh"]).arg(gateway.path()).args(["-r", NEAR[1], "239.1.2.3"]);
        programs::by_soname(&mut shell);
        let pipeline = far.far.run(|| programs::start(shell));
        until(&mut serves, "a group", |seen| !seen["groups"].as_array().unwrap().is_empty());
        // The first is read; a write that comes after it fails.
        let send = || assert!(far.source.run(|| sender.run(&["-i", "eth0", "-t", "9", "239.1.2.3", "5000"])).passed());
        send();
        until(&mut serves, "Teardown", |seen| {
            send();
            seen["counters"]["closed"] == 1
        });
        assert_eq!(pipeline.finish().output, "hello");
        stop(&serves, libc::SIGTERM);
        assert!(serves.finish().passed());
    });
}

#[test]
fn what_cannot_be_relayed() {
    both_ways("amt_relay", |program| {
        let refused = |arguments: &[&str], words: &[&str]| refuses_usage(program, arguments, words);
        refused(&[], &["-p", "--packets"]);
        refused(&["--packets", "-p", "5000"], &["-p", "--packets"]);
        refused(&["-p", "0"], &["0", "65535"]);
        refused(&["-p", "5000", "--mtu", "100"], &["100", "1280"]);
        refused(&["-p", "5000", "239.1.2.3"], &["239.1.2.3"]);
        refused(&["-p", "5000", "-l", "192.0.2.300"], &["192.0.2.300", "-l wants an address"]);
        let elsewhere = program.run(&["-p", "5000", "-l", "192.0.2.1"]);
        refuses(&elsewhere, &["192.0.2.1", "EADDRNOTAVAIL"]);
        assert_eq!(elsewhere.status.code(), Some(2), "{elsewhere:?}");
    });
}

#[test]
fn what_cannot_be_subscribed_to() {
    both_ways("amt_gateway", |program| {
        let refused = |arguments: &[&str], words: &[&str]| refuses_usage(program, arguments, words);
        refused(&[], &["GROUP"]);
        for wrong in ["239.1.2.3:0", "@239.1.2.3", "239.1.2.3@", "[ff15::7", "[ff15::7]:x", "239.1.2.3:65536"] {
            refused(&["-r", "127.0.0.1", wrong], &[wrong, "232.1.2.3:5000@10.0.0.1"]);
        }
        refused(&["-r", "127.0.0.1", "239.1.2"], &["239.1.2", "EINVAL"]);
        refused(&["-r", "127.0.0.1", "10.1.2.3"], &["10.1.2.3", "EINVAL"]);
        refused(&["-r", "127.0.0.1", "224.0.0.5"], &["224.0.0.5", "EINVAL"]);
        refused(&["-r", "127.0.0.1", "239.1.2.3@fd01::1"], &["239.1.2.3@fd01::1", "EAFNOSUPPORT"]);
        refused(&["-r", "nobody", "239.1.2.3"], &["nobody", "-r wants an address"]);
        refused(&["-r", "127.0.0.1", "--to", "127.0.0.1", "239.1.2.3"], &["127.0.0.1", "127.0.0.1:5000"]);
        refused(&["-r", "127.0.0.1", "--to", "127.0.0.1:9", "--tun", "t", "239.1.2.3"], &["--to", "--tun"]);
    });
}

/// A wrong argument: one line, status 2.
fn refuses_usage(program: &Program, arguments: &[&str], words: &[&str]) {
    let done = program.run(arguments);
    refuses(&done, words);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(done.output.is_empty(), "{done:?}");
}
