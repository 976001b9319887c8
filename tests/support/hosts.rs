//! Hosts: network namespaces that the test makes itself, joined by cables and switches.
//!
//! `hosts::test(|network| ...)` runs the test's own binary once more, for that test alone, in a user
//! and a network namespace of their own: no privilege needed, nothing on this machine touched, and
//! everything gone with the process. There each host is a thread with a network namespace of its
//! own, which does the work that it is given.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::tools;

/// Set in the process that has the namespaces.
const INSIDE: &str = "CASTIO_TEST_INSIDE";
/// What that process says when the test's body has really run to its end.
const DONE: &str = "ran in a network of its own";
/// When that process is killed, in seconds. Generous: it tells a test that hangs, nothing else.
const LIMIT: u32 = 300;

/// Runs a test in a network of its own, or skips it with the reason.
pub fn test<Body: FnOnce(&Network)>(body: Body) {
    if std::env::var_os(INSIDE).is_some() {
        body(&Network::new());
        println!("{DONE}");
        return;
    }
    if tools::find("ip", "iproute2").is_none() || tools::find("bridge", "iproute2").is_none() {
        return;
    }
    if !fs::exists("/proc/self/net/if_inet6").unwrap() {
        return tools::skip("this kernel has no IPv6");
    }
    let output = match run_alone(&test_name::<Body>()) {
        Ok(output) => output,
        Err(error) => return tools::skip(&format!("network namespaces are refused here: {error}")),
    };
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.signal() == Some(libc::SIGALRM) {
        panic!("not done after {LIMIT} seconds\n{said}\n{told}");
    }
    assert!(output.status.success() && said.contains(DONE), "{}\n{said}\n{told}", output.status);
    told.lines().filter_map(|line| line.strip_prefix("skipped: ")).for_each(tools::skip);
}

/// The name that the test runner knows: "crate::module::name::{{closure}}" without both ends.
fn test_name<Body>() -> String {
    let name = std::any::type_name::<Body>();
    let (_, name) = name.split_once("::").unwrap();
    name.trim_end_matches("::{{closure}}").to_owned()
}

fn run_alone(name: &str) -> io::Result<Output> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1").stdin(Stdio::null());
    // SAFETY: getuid and getgid always succeed.
    let (user, group) = unsafe { (libc::getuid(), libc::getgid()) };
    let maps = [
        (c"/proc/self/uid_map", CString::new(format!("0 {user} 1"))?),
        (c"/proc/self/setgroups", CString::new("deny")?),
        (c"/proc/self/gid_map", CString::new(format!("0 {group} 1"))?),
    ];
    let enter = move || {
        // SAFETY: no more than system calls, between fork and exec, on memory made before.
        unsafe {
            libc::alarm(LIMIT);
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            if libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) < 0 {
                // Where users may not have namespaces, root may.
                return check(libc::unshare(libc::CLONE_NEWNET)).map(drop);
            }
            for (path, text) in &maps {
                let file = check(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
                let text = text.to_bytes();
                check(libc::write(file, text.as_ptr().cast(), text.len()) as i32)?;
                libc::close(file);
            }
        }
        Ok(())
    };
    // SAFETY: as said in the closure.
    unsafe { command.pre_exec(enter) };
    command.output()
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Looks again until it is so. There is nothing to wait on for what the kernel does in its own time.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace, and the thread that lives in it.
pub struct Host {
    name: String,
    thread: libc::pid_t,
    jobs: mpsc::Sender<Job>,
}

impl Host {
    fn new(name: &str) -> Host {
        let (jobs, work) = mpsc::channel::<Job>();
        let (send_id, id) = mpsc::channel();
        let live = move || {
            // SAFETY: no memory involved.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).unwrap();
            // SAFETY: always succeeds.
            send_id.send(unsafe { libc::gettid() }).unwrap();
            work.into_iter().for_each(|job| job());
        };
        thread::Builder::new().name(name.to_owned()).spawn(live).unwrap();
        let host = Host { name: name.to_owned(), thread: id.recv().unwrap(), jobs };
        // Duplicate address detection would keep an address unusable for a second.
        host.set("net/ipv6/conf/default/accept_dad", "0");
        host.ip("link set lo up");
        host
    }

    /// Does some work on this host: whatever it opens belongs there for good.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        // SAFETY: always succeeds.
        if unsafe { libc::gettid() } == self.thread {
            return work();
        }
        let (done, result) = mpsc::channel();
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        // SAFETY: what the work borrows outlives it, since this function waits for its end.
        let job: Job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
        self.jobs.send(job).unwrap();
        result.recv().unwrap().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// ip(8), several commands in as many lines.
    pub fn ip(&self, commands: &str) {
        self.run(|| ip(commands));
    }

    /// Sets a variable of sysctl(8), its name written with slashes.
    pub fn set(&self, variable: &str, value: &str) {
        self.run(|| fs::write(format!("/proc/sys/{variable}"), value).unwrap());
    }

    /// The index of an interface.
    pub fn index(&self, interface: &str) -> u32 {
        let name = CString::new(interface).unwrap();
        // SAFETY: the name ends in a NUL.
        let index = self.run(|| unsafe { libc::if_nametoindex(name.as_ptr()) });
        assert_ne!(index, 0, "{} has no {interface}", self.name);
        index
    }

    /// The host's network namespace, as `ip link add ... netns` takes it.
    pub fn netns(&self) -> i32 {
        self.thread
    }

    /// Gives an interface its addresses, "10.1.0.1/24" or with more words of `ip address add`.
    pub fn address(&self, interface: &str, addresses: &[&str]) {
        for address in addresses {
            let nodad = if address.contains("::") { "nodad" } else { "" };
            self.ip(&format!("address add {address} dev {interface} {nodad}"));
        }
    }

    /// Waits until an interface can send: its link-local address comes when there is a carrier.
    pub fn wait_for_link(&self, interface: &str) {
        let is_ready = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let flags = u32::from_str_radix(words[4], 16).unwrap();
            words[5] == interface && words[3] == "20" && flags & libc::IFA_F_TENTATIVE == 0
        };
        let table = || self.run(|| fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap());
        until(&format!("{interface} of {} comes up", self.name), || table().lines().any(is_ready));
    }

    fn plug_in(&self, interface: &str, addresses: &[&str]) {
        self.ip(&format!("link set {interface} up"));
        self.address(interface, addresses);
    }
}

/// In the calling thread's namespace.
fn ip(commands: &str) {
    let mut command = tools::find("ip", "iproute2").unwrap().command();
    let piped = command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "ip {commands}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An interface to be: whose, its name, its addresses.
pub type Port<'a> = (&'a Host, &'a str, &'a [&'a str]);

/// The place where the hosts are, with the switches between them.
pub struct Network(Host);

impl Network {
    fn new() -> Network {
        Network(Host::new("switches"))
    }

    /// A host with nothing but a loopback interface.
    pub fn host(&self, name: &str) -> Host {
        Host::new(name)
    }

    /// A cable between two interfaces.
    pub fn link(&self, (a, eth_a, addresses_a): Port<'_>, (b, eth_b, addresses_b): Port<'_>) {
        let (at_a, at_b) = (a.thread, b.thread);
        self.0.ip(&format!("link add {eth_a} netns {at_a} type veth peer name {eth_b} netns {at_b}"));
        a.plug_in(eth_a, addresses_a);
        b.plug_in(eth_b, addresses_b);
        a.wait_for_link(eth_a);
        b.wait_for_link(eth_b);
    }

    /// A switch with a cable to each interface. It floods: IGMP and MLD snooping are off.
    pub fn switch(&self, name: &str, ports: &[Port<'_>]) {
        self.0.ip(&format!("link add {name} type bridge mcast_snooping 0 stp_state 0\nlink set {name} up"));
        for (number, (host, interface, addresses)) in ports.iter().enumerate() {
            let (port, at) = (format!("{name}-{number}"), host.thread);
            self.0.ip(&format!(
                "link add {port} type veth peer name {interface} netns {at}\n\
                 link set {port} master {name}\nlink set {port} up"
            ));
            host.plug_in(interface, addresses);
        }
        for (host, interface, _) in ports {
            host.wait_for_link(interface);
        }
        until(&format!("{name} forwards"), || self.forwarding(name) == ports.len());
    }

    fn forwarding(&self, switch: &str) -> usize {
        let mut command = tools::find("bridge", "iproute2").unwrap().command();
        let output = self.0.run(|| command.args(["link", "show"]).output().unwrap());
        let text = String::from_utf8(output.stdout).unwrap();
        let is_mine = |line: &&str| line.contains(&format!("master {switch} ")) && line.contains("state forwarding");
        text.lines().filter(is_mine).count()
    }

    /// Hosts on one switch. The first has 10.1.0.1/24 and fd01::1/64 on eth0, the second .2 and ::2,
    /// and so on; multicast is routed there.
    pub fn lan<const COUNT: usize>(&self) -> [Host; COUNT] {
        let hosts = std::array::from_fn(|at| self.host(&format!("host {}", at + 1)));
        let addresses: [_; COUNT] = std::array::from_fn(|at| lan_addresses(at + 1));
        let addresses = addresses.each_ref().map(|[v4, v6]| [v4.as_str(), v6.as_str()]);
        let ports: [Port<'_>; COUNT] = std::array::from_fn(|at| (&hosts[at], "eth0", addresses[at].as_slice()));
        self.switch("lan", &ports);
        for host in &hosts {
            host.ip("route add 224.0.0.0/4 dev eth0");
        }
        hosts
    }
}

fn lan_addresses(number: usize) -> [String; 2] {
    [format!("10.1.0.{number}/24"), format!("fd01::{number}/64")]
}
