//! The examples as processes: started, asked for their port, talked to.

use std::net::{TcpListener, TcpStream};

use super::programs::{self, BOTH, Finished, Linkage, Program, Running};
use super::tools;

pub fn example(name: &str, linkage: Linkage) -> Option<Program> {
    programs::link(&format!("c_examples/{name}"), linkage)
}

/// Does it with the example linked in each way.
pub fn both_ways(name: &str, story: impl Fn(&Program)) {
    BOTH.iter().filter_map(|&linkage| example(name, linkage)).for_each(|program| story(&program));
}

/// Loopback addresses of this host.
pub fn loopbacks() -> Vec<&'static str> {
    let mut found = vec!["127.0.0.1"];
    match TcpListener::bind("[::1]:0") {
        Ok(_) => found.push("::1"),
        Err(error) => tools::skip(&format!("no IPv6 on loopback: {error}")),
    }
    found
}

pub fn start(program: &Program, arguments: &[&str]) -> Running {
    programs::start(program.command(arguments))
}

/// The port that a server or receiver prints first.
pub fn port(running: &mut Running) -> String {
    running.line_after("listening on ").rsplit(' ').next().unwrap().to_owned()
}

pub fn connect(address: &str, port: &str) -> TcpStream {
    let stream = TcpStream::connect((address, port.parse().unwrap())).unwrap();
    stream.set_read_timeout(Some(programs::DEADLINE)).unwrap();
    stream
}

/// A failure told in one line that holds these words.
pub fn refuses(finished: &Finished, words: &[&str]) {
    assert!(!finished.status.success(), "{finished:?}");
    assert_eq!(finished.errors.lines().count(), 1, "{finished:?}");
    assert!(words.iter().all(|word| finished.errors.contains(word)), "{words:?}: {finished:?}");
}

/// Arguments that a program can't do anything with: told in one line, and nothing is done.
pub fn refuses_arguments(program: &Program, arguments: &[&str], words: &[&str]) {
    let done = program.run(arguments);
    refuses(&done, words);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(done.output.is_empty(), "{done:?}");
}
