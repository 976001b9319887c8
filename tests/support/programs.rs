//! The C programs: linked against the library, the shared one or the static one, and run.
//!
//! The library lies beside the test's own executable: cargo doesn't lift it to the folder above
//! when it builds tests. The shared one is found at run time by its soname, through a link beside
//! the program.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::tools;

/// Longer than any program takes, under valgrind on a busy machine too.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The status by which a program says that the machine can't do what it needs.
const SKIP: i32 = 77;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    Shared,
    Static,
}

pub const BOTH: [Linkage; 2] = [Linkage::Shared, Linkage::Static];

/// The names of the programs of a folder, "c_examples" or "tests/c", by their sources.
pub fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).into_iter().flatten();
    let sources = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some(OsStr::new("c")));
    let mut names: Vec<String> = sources.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// A program that is linked; its folder goes when it does.
pub struct Program {
    folder: tempfile::TempDir,
    name: String,
}

/// Links a program, "c_examples/tour". `None`, and a skip, without a linker.
pub fn link(program: &str, linkage: Linkage) -> Option<Program> {
    let linker = tools::find("cc", "gcc")?;
    let object = Path::new(env!("CASTIO_C_OBJECTS")).join(program);
    let name = object.file_name().unwrap().to_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let mut command = linker.command();
    command.arg(object.with_extension("o")).args(parts(&object));
    match linkage {
        Linkage::Shared => {
            let by_soname = folder.path().join("libcastio.so.0");
            symlink(library("libcastio.so"), &by_soname).unwrap();
            command.arg(by_soname).arg("-Wl,-rpath,$ORIGIN");
        }
        Linkage::Static => {
            command.arg(library("libcastio.a")).args(env!("CASTIO_NATIVE_LIBRARIES").split_whitespace());
        }
    }
    if std::env::var("CASTIO_SANITIZE").is_ok_and(|what| what == "address") {
        command.arg("-fsanitize=address,undefined");
    }
    let output = command.arg("-o").arg(folder.path().join(&name)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} doesn't link ({linkage:?}): {said}");
    Some(Program { folder, name })
}

/// The objects of a program's other parts: those in the folder of its name.
fn parts(object: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(object).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    found.sort();
    found
}

fn library(file: &str) -> PathBuf {
    let path = std::env::current_exe().unwrap().parent().unwrap().join(file);
    assert!(path.is_file(), "{} isn't there", path.display());
    path
}

impl Program {
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// To run it with these arguments: by itself, or by what CASTIO_RUNNER holds, a program with
    /// its arguments, "valgrind --error-exitcode=99".
    pub fn command(&self, arguments: &[&str]) -> Command {
        let runner = std::env::var("CASTIO_RUNNER").unwrap_or_default();
        let mut words = runner.split_whitespace();
        let mut command = match words.next() {
            Some(first) => Command::new(first),
            None => Command::new(self.path()),
        };
        if !runner.trim().is_empty() {
            command.args(words).arg(self.path());
        }
        command.args(arguments);
        by_soname(&mut command);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(self.command(arguments))
    }
}

/// Cargo's LD_LIBRARY_PATH would win over what was linked. For any command that runs a program.
pub fn by_soname(command: &mut Command) -> &mut Command {
    command.env_remove("LD_LIBRARY_PATH")
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl Finished {
    /// True for a pass, false for a skip (told with its reason), a panic with all that it said for
    /// a failure.
    pub fn passed(&self) -> bool {
        match self.status.code() {
            Some(0) => true,
            Some(SKIP) => {
                let said = if self.errors.is_empty() { &self.output } else { &self.errors };
                tools::skip(said.lines().last().unwrap_or("no reason given"));
                false
            }
            _ => panic!("{}\n{}{}", self.status, self.output, self.errors),
        }
    }
}

/// Runs a command to its end, which has to come before the deadline.
pub fn run(command: Command) -> Finished {
    let mut running = start(command);
    running.close_input();
    running.finish()
}

/// A program that runs: what it prints can be waited for, line by line. Killed when dropped.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
    deadline: Instant,
    seen: String,
}

/// Starts a command with pipes at its standard input, output and error.
pub fn start(command: Command) -> Running {
    start_with_input(command, Stdio::piped())
}

/// Starts a command with something else at its standard input.
pub fn start_with_input(mut command: Command, input: Stdio) -> Running {
    let mut child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Running {
        input: child.stdin.take(),
        lines: reader(child.stdout.take().unwrap()),
        errors: reader(child.stderr.take().unwrap()),
        child,
        deadline: Instant::now() + DEADLINE,
        seen: String::new(),
    }
}

fn reader(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

impl Running {
    pub fn id(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The next line of its output, without the end of line.
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(self.time_left()) {
            Ok(line) => {
                self.seen.push_str(&line);
                line.trim_end_matches('\n').to_owned()
            }
            Err(_) => {
                let _ = self.child.kill();
                let errors: String = self.errors.iter().collect();
                panic!("no further line; so far:\n{}{errors}", self.seen);
            }
        }
    }

    /// The next line that starts so; what follows in it.
    pub fn line_after(&mut self, start: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// To its standard input.
    pub fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// As Ctrl-C does.
    pub fn interrupt(&self) {
        // SAFETY: a signal to a child of this process, which hasn't been waited for.
        assert_eq!(unsafe { libc::kill(self.id(), libc::SIGINT) }, 0);
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end; all that it said is in the result.
    pub fn finish(mut self) -> Finished {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.time_left().is_zero() {
                let _ = self.child.kill();
                let errors: String = self.errors.iter().collect();
                panic!("killed after {DEADLINE:?}; so far:\n{}{errors}", self.seen);
            }
            thread::sleep(Duration::from_millis(5));
        };
        let mut output = std::mem::take(&mut self.seen);
        collect(&self.lines, &mut output);
        let mut errors = String::new();
        collect(&self.errors, &mut errors);
        Finished { status, output, errors }
    }
}

/// What is left in a pipe whose writer has ended. A process that it left behind may hold the pipe
/// open: it isn't waited for long.
fn collect(lines: &Receiver<String>, into: &mut String) {
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(5)) {
        into.push_str(&line);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
