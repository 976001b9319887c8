//! Where the programs run: a network namespace of their own, and a second one at the other end of a
//! veth pair. Nothing on this machine is touched, and all of it is gone with the process.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

pub struct Network {
    /// The file that stands for the namespace at the other end, or why there is none.
    other_end: Result<String, String>,
}

impl Network {
    /// Moves this process into a new network namespace. Where that is refused, it stays where it is,
    /// and there is no veth pair.
    pub fn new() -> Network {
        let other_end = enter().map_err(|error| format!("network namespaces are refused here: {error}"));
        Network { other_end: other_end.and_then(|()| connect()) }
    }

    /// The file of the namespace at the other end.
    pub fn other_end(&self) -> Result<&str, &str> {
        self.other_end.as_deref().map_err(String::as_str)
    }
}

/// With the privilege for it the user namespace stays, since receive buffers can then be made larger
/// than net.core.rmem_max.
fn enter() -> io::Result<()> {
    // SAFETY: no memory involved.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    if unshare(libc::CLONE_NEWNET).is_ok() {
        return Ok(());
    }
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

fn unshare(what: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory involved.
    if unsafe { libc::unshare(what) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn connect() -> Result<String, String> {
    ip("link set lo up")?;
    let other = other_namespace().map_err(|error| format!("a second network namespace is refused: {error}"))?;
    ip(&format!("link add veth0 type veth peer name veth1 netns {}", other.thread))?;
    ip("address add 10.99.0.1/24 dev veth0\nlink set veth0 up")?;
    other.ip("link set lo up\naddress add 10.99.0.2/24 dev veth1\nlink set veth1 up")?;
    Ok(format!("/proc/{}/task/{}/ns/net", std::process::id(), other.thread))
}

/// A thread that lives in a namespace of its own, as long as this process.
struct Other {
    thread: libc::pid_t,
    commands: mpsc::Sender<String>,
    results: mpsc::Receiver<Result<(), String>>,
}

fn other_namespace() -> io::Result<Other> {
    let (commands, to_do) = mpsc::channel::<String>();
    let (done, results) = mpsc::channel();
    let (entered, id) = mpsc::channel();
    thread::spawn(move || {
        // SAFETY: always succeeds.
        let _ = entered.send(unshare(libc::CLONE_NEWNET).map(|()| unsafe { libc::gettid() }));
        for commands in to_do {
            let _ = done.send(ip(&commands));
        }
        // The namespace is there as long as the thread.
        loop {
            thread::park();
        }
    });
    let thread = id.recv().map_err(io::Error::other)??;
    Ok(Other { thread, commands, results })
}

impl Other {
    fn ip(&self, commands: &str) -> Result<(), String> {
        self.commands.send(commands.to_owned()).map_err(|error| error.to_string())?;
        self.results.recv().map_err(|error| error.to_string())?
    }
}

/// ip(8) in the calling thread's namespace, a command in each line.
pub fn ip(commands: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    let piped = command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(|error| format!("ip: {error}; apt install iproute2"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(commands.as_bytes()).map_err(|error| format!("ip: {error}"))?;
    }
    let output = child.wait_with_output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {commands}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
