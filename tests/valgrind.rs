//! The C programs under valgrind: no invalid access, no memory and no descriptor lost.

mod support;

use std::path::Path;

use support::programs::{self, Linkage, Program};
use support::tools::{self, Tool};
use support::{hosts, library};

/// How valgrind ends a program in which it found an error.
const ERROR: i32 = 99;

/// What valgrind found in a program: by itself, and in the processes that it made by fork().
#[derive(Debug)]
struct Findings {
    status: Option<i32>,
    /// What stands in the reports of all processes together.
    reports: String,
    /// The descriptors that the program itself has opened and not closed.
    lost_descriptors: Vec<String>,
}

impl Findings {
    fn errors(&self) -> bool {
        let summaries = self.reports.lines().filter_map(|line| line.split_once("ERROR SUMMARY: "));
        summaries.map(|(_, summary)| !summary.starts_with("0 errors")).fold(self.status == Some(ERROR), |a, b| a || b)
    }
}

fn valgrind() -> Option<Tool> {
    if library::is_sanitized() {
        tools::skip("valgrind and AddressSanitizer don't go together");
        return None;
    }
    tools::find("valgrind", "valgrind")
}

fn check(valgrind: &Tool, program: &Program, arguments: &[&str]) -> Findings {
    let folder = tempfile::tempdir().unwrap();
    let mut command = valgrind.command();
    command.args(["--leak-check=full", "--errors-for-leak-kinds=definite", "--track-fds=yes"]);
    command.arg(format!("--error-exitcode={ERROR}")).arg(format!("--log-file={}/%p", folder.path().display()));
    command.arg(program.path()).args(arguments);
    programs::by_soname(&mut command);
    let mut running = programs::start(command);
    running.close_input();
    let main = folder.path().join(running.id().to_string());
    let finished = running.finish();
    Findings {
        status: finished.status.code(),
        lost_descriptors: lost_descriptors(&std::fs::read_to_string(main).unwrap()),
        reports: all_texts(folder.path()) + &finished.output + &finished.errors,
    }
}

fn all_texts(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// "Open file descriptor 3: /tmp/x" or "Open AF_INET socket 4: ..." and, in the line behind it, where
/// it was opened or "<inherited from parent>".
fn lost_descriptors(report: &str) -> Vec<String> {
    let lines: Vec<&str> = report.lines().filter_map(|line| line.splitn(3, "==").nth(2)).map(str::trim).collect();
    assert!(lines.iter().any(|line| line.starts_with("FILE DESCRIPTORS: ")), "no list of descriptors: {report}");
    let is_open =
        |line: &str| line.starts_with("Open ") && (line.contains(" descriptor ") || line.contains(" socket "));
    let mine = lines.windows(2).filter(|pair| is_open(pair[0]) && !pair[1].contains("<inherited from parent>"));
    mine.map(|pair| pair.join(" ")).collect()
}

#[test]
fn the_examples_lose_nothing() {
    let Some(valgrind) = valgrind() else { return };
    hosts::test(|network| {
        let [host, _other] = network.lan();
        let help = programs::names("c_examples").into_iter().map(|name| (name, vec!["--help"], 0));
        for (name, arguments, status) in short_runs().into_iter().chain(help) {
            let Some(program) = programs::link(&format!("c_examples/{name}"), Linkage::Shared) else { return };
            let found = host.run(|| check(&valgrind, &program, &arguments));
            assert_eq!(found.status, Some(status), "{name} {arguments:?}: {}", found.reports);
            assert!(!found.errors(), "{name} {arguments:?}: {}", found.reports);
            assert!(found.lost_descriptors.is_empty(), "{name} {arguments:?}: {:?}", found.lost_descriptors);
        }
    });
}

/// Examples that end by themselves, with the status that they end with.
fn short_runs() -> Vec<(String, Vec<&'static str>, i32)> {
    let run = |name: &str, arguments: &[&'static str], status| (name.to_owned(), arguments.to_vec(), status);
    vec![
        run("tour", &[], 0),
        run("list_interfaces", &[], 0),
        run("list_interfaces", &["--json"], 0),
        run("mcast_send", &["-i", "eth0", "-n", "2", "-w", "1", "239.1.2.3", "9"], 0),
        run("bcast_send", &["--all", "9"], 0),
        run("bcast_send", &["-l", "-i", "eth0", "9"], 0),
        // Nothing comes.
        run("mcast_recv", &["-i", "eth0", "-t", "1", "239.1.2.3", "0"], 1),
        run("bcast_recv", &["-i", "eth0", "-t", "1", "0"], 1),
        run("mcast_doctor", &["-i", "eth0", "-t", "1", "239.1.2.3:9"], 1),
        run("mcast_doctor", &["-i", "nowhere", "--json", "239.1.2.3:9"], 1),
        run("mcast_doctor", &["-i", "eth0", "--sender", "[ff15::7]:9"], 0),
        run("mcast_watch", &["-i", "*", "-t", "1", "239.1.2.3:9", "[ff15::7]:9"], 1),
        run("mcast_watch", &["-i", "eth0", "--once", "--json", "239.1.2.3:9"], 1),
    ]
}

/// What the test above would see if there were something.
#[test]
fn what_a_program_loses_is_seen() {
    let Some(valgrind) = valgrind() else { return };
    let Some(program) = programs::link("tests/c/bad_caller", Linkage::Shared) else { return };
    let short = check(&valgrind, &program, &["short"]);
    assert!(short.errors() && short.reports.contains("castio_strerror"), "{}", short.reports);
    assert_eq!(short.status, Some(ERROR));
    let leak = check(&valgrind, &program, &["leak"]);
    assert!(leak.errors() && leak.reports.contains("definitely lost"), "{}", leak.reports);
    assert_eq!(leak.lost_descriptors.len(), 1, "{}", leak.reports);
}
