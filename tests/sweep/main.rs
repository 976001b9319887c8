//! NULL and garbage for every function that the library exports, each in a process of its own and
//! in a network of its own, where nothing gets out. A function that is added to the header is swept
//! from then on: its arguments come from its prototype, and one that isn't understood fails here.

mod amt;
mod arguments;
mod datagrams;
#[cfg(target_pointer_width = "64")]
mod faults;
mod handles;
mod image;
#[cfg(target_pointer_width = "64")]
mod left;
mod memberships;
mod memory;
mod relays;
#[cfg(target_pointer_width = "64")]
mod scenes;
mod subject;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_pointer_width = "64")]
mod system_calls;
mod tunnels;
mod undocumented;
mod values;
mod zoo;

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use subject::Subject;
use support::declarations;
use support::hosts::{self, Network};
use support::library;

/// In the process of one function: its name, and the file that tells of the call under way.
const FUNCTION: &str = "CASTIO_SWEEP_FUNCTION";
const RECORD: &str = "CASTIO_SWEEP_RECORD";
/// How long one function may take, in seconds. Far more than any does: only for one that hangs.
const LIMIT: u32 = 200;

/// The function that this process is for, if it is one of those.
fn subject() -> Option<Subject> {
    let name = std::env::var(FUNCTION).ok()?;
    Some(Subject::load(&name, std::env::var(RECORD).unwrap().as_ref()))
}

/// Runs the test once more for each function, from a host with a loopback interface and eth0.
fn run_each(network: &Network, test: &str) {
    let [host, _other] = network.lan();
    let failures = Mutex::new(Vec::new());
    let waiting = Mutex::new(library::exported());
    assert!(waiting.lock().unwrap().len() > 60);
    let worker = || {
        loop {
            let Some(function) = waiting.lock().unwrap().pop_first() else { return };
            if let Err(failure) = run_one(&function, test) {
                failures.lock().unwrap().push(failure);
            }
        }
    };
    // Threads begin in the network of the one that starts them.
    host.run(|| std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(worker)))));
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} functions:\n{}", failures.len(), failures.join("\n"));
}

fn run_one(function: &str, test: &str) -> Result<(), String> {
    let record = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(FUNCTION, function).env(RECORD, record.path()).stdin(Stdio::null());
    let limit = || -> io::Result<()> {
        // SAFETY: takes no pointer.
        unsafe { libc::alarm(LIMIT) };
        Ok(())
    };
    // SAFETY: the closure makes one system call.
    let output = unsafe { command.pre_exec(limit) }.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let is_well = output.status.success() && said.contains(subject::DONE) && !said.contains("panicked");
    if is_well {
        return Ok(());
    }
    let last = std::fs::read(record.path()).unwrap();
    let last = String::from_utf8_lossy(&last);
    let last = last.trim_end_matches('\0');
    Err(format!("{function}: {}\n  last call: {last}\n{said}", output.status))
}

#[test]
fn every_exported_function_has_a_prototype_that_is_understood() {
    let header = declarations::castio_h();
    let declared: BTreeSet<String> = header.functions.iter().map(|function| function.name.clone()).collect();
    assert_eq!(library::exported(), declared);
    // In a network: the interface that calls name must be there.
    hosts::test(|network| {
        let [host, _other] = network.lan();
        let understood = |function| arguments::of(function).map(drop);
        let unknown: Vec<String> =
            host.run(|| header.functions.iter().filter_map(|function| understood(function).err()).collect());
        assert!(unknown.is_empty(), "teach tests/sweep/arguments.rs: {unknown:#?}");
    });
}

/// Whatever a function is given: no crash, no hang, no panic, one result rule, and everything that
/// is the caller's as it was.
#[test]
fn every_function_survives_null_and_garbage() {
    match subject() {
        Some(subject) => subject.with_maker().survives_garbage(),
        None => hosts::test(|network| run_each(network, "every_function_survives_null_and_garbage")),
    }
}

/// One mistake in an otherwise good call gives the errno that the header says.
#[test]
fn every_function_names_the_one_mistake() {
    match subject() {
        Some(subject) => subject.with_maker().names_the_mistake(),
        None => hosts::test(|network| run_each(network, "every_function_names_the_one_mistake")),
    }
}

/// Whatever its system calls say, a function returns an error that the header names.
#[cfg(target_pointer_width = "64")]
#[test]
fn every_function_explains_what_its_system_calls_say() {
    match subject() {
        Some(subject) => subject.explains_each_fault(),
        None => hosts::test(|network| run_each(network, "every_function_explains_what_its_system_calls_say")),
    }
}
