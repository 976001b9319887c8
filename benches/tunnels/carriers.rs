//! What carries packets from one host to the other, and what has to run for it.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use castio::ffi::tunnel::{CASTIO_TUNNEL_GRE, CASTIO_TUNNEL_GRE_UDP, CASTIO_TUNNEL_IPIP, CASTIO_TUNNEL_UDP};

use crate::ends::RECEIVE_BUFFER;
use crate::network::{Network, ip};

/// How long a program may take to come up.
const DEADLINE: Duration = Duration::from_secs(10);

/// A way to carry packets.
pub struct Carrier {
    pub name: &'static str,
    pub title: &'static str,
    pub kind: Kind,
    /// A user's program, which castio is to be faster than.
    pub is_peer: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Castio(i32),
    /// The veth pair itself.
    Plain,
    PlainTrains,
    Vxlan,
    VxlanTrains,
    SocatIpIp,
    SocatUdp,
    OpenVpn,
    WireGuard,
}

const fn carrier(name: &'static str, title: &'static str, kind: Kind, is_peer: bool) -> Carrier {
    Carrier { name, title, kind, is_peer }
}

pub const CARRIERS: [Carrier; 12] = [
    carrier("castio-udp", "castio UDP", Kind::Castio(CASTIO_TUNNEL_UDP), false),
    carrier("castio-gre-udp", "castio GRE in UDP", Kind::Castio(CASTIO_TUNNEL_GRE_UDP), false),
    carrier("castio-ipip", "castio IPIP", Kind::Castio(CASTIO_TUNNEL_IPIP), false),
    carrier("castio-gre", "castio GRE", Kind::Castio(CASTIO_TUNNEL_GRE), false),
    carrier("plain", "no tunnel, sendto", Kind::Plain, false),
    carrier("plain-trains", "no tunnel, UDP_SEGMENT", Kind::PlainTrains, false),
    carrier("vxlan", "kernel vxlan, sendto", Kind::Vxlan, false),
    carrier("vxlan-trains", "kernel vxlan, UDP_SEGMENT", Kind::VxlanTrains, false),
    carrier("openvpn", "openvpn, no cipher", Kind::OpenVpn, true),
    carrier("wireguard-go", "wireguard-go", Kind::WireGuard, true),
    carrier("socat-ipip", "socat IPIP", Kind::SocatIpIp, true),
    carrier("socat-udp", "socat UDP", Kind::SocatUdp, true),
];

/// A carrier that runs: the devices at both ends, and the processes, which end with it.
pub struct Running {
    pub devices: [String; 2],
    pub processes: Vec<Child>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address of one end (0 or 1) below, for the tunnel of this number.
pub fn outer(number: usize, end: usize) -> String {
    format!("10.99.{}.{}", number + 1, end + 1)
}

/// And inside.
pub fn inner(number: usize, end: usize) -> String {
    format!("10.98.{}.{}", number + 1, end + 1)
}

impl Carrier {
    /// Gives both ends their addresses, and starts what there is to start. Why it can't be measured, if so.
    pub fn start(&self, number: usize, network: &Network) -> Result<Running, String> {
        self.is_installed()?;
        each_end(network, |end| format!("address add {}/24 dev veth{end}", outer(number, end)))?;
        let mut running = Running { devices: ["veth0".into(), "veth1".into()], processes: Vec::new() };
        if self.has_device() {
            running.devices = [0, 1].map(|end| format!("bench{number}e{end}"));
        }
        for end in [0, 1] {
            let (own, other) = (outer(number, end), outer(number, 1 - end));
            let device = running.devices[end].clone();
            if let Some(command) = self.program(&device, &own, &other, [inner(number, end), inner(number, 1 - end)]) {
                let mut command = in_namespace(command, namespace(network, end)?)?;
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                running.processes.push(command.spawn().map_err(|error| error.to_string())?);
            }
            if self.kind == Kind::Vxlan || self.kind == Kind::VxlanTrains {
                let ends = format!("id {} local {own} remote {other} dstport {}", number + 1, 4800 + number);
                run_ip(network, end, &format!("link add {device} type vxlan {ends}"))?;
            }
        }
        self.wait_for_devices(&mut running, network)?;
        if self.kind == Kind::WireGuard {
            make_peers(&running.devices, number, network)?;
        }
        each_end(network, |end| {
            let (device, address) = (&running.devices[end], inner(number, end));
            let own = match self.kind {
                Kind::OpenVpn => String::new(),
                _ => format!("address add {address}/24 dev {device}\n"),
            };
            // As long as can be without fragments below.
            let mtu = match self.kind {
                Kind::WireGuard => format!("link set {device} mtu 1440\n"),
                _ => String::new(),
            };
            format!("{own}{mtu}link set {device} txqueuelen 1000 multicast on up")
        })?;
        Ok(running)
    }

    fn has_device(&self) -> bool {
        !matches!(self.kind, Kind::Castio(_) | Kind::Plain | Kind::PlainTrains)
    }

    /// Debian's package is called as the program.
    fn is_installed(&self) -> Result<(), String> {
        let wanted: &[(&str, &str, &str)] = match self.kind {
            Kind::SocatIpIp | Kind::SocatUdp => &[("socat", "-V", "socat")],
            Kind::OpenVpn => &[("openvpn", "--version", "openvpn")],
            Kind::WireGuard => &[("wireguard-go", "--version", "wireguard-go"), ("wg", "--version", "wireguard-tools")],
            _ => &[],
        };
        for (program, option, package) in wanted {
            let mut command = Command::new(program);
            if command.arg(option).stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                return Err(format!("not installed: apt install {package}"));
            }
        }
        Ok(())
    }

    fn program(&self, device: &str, own: &str, other: &str, inside: [String; 2]) -> Option<Command> {
        let [inside, beyond] = &inside;
        let socat = |transport: String| {
            let mut command = Command::new("socat");
            command.args(["-b", "65536"]).arg(format!("TUN,tun-name={device},iff-no-pi,iff-multicast,up"));
            command.arg(format!("{transport},rcvbuf={RECEIVE_BUFFER},sndbuf={RECEIVE_BUFFER}"));
            Some(command)
        };
        match self.kind {
            Kind::SocatIpIp => socat(format!("IP4-SENDTO:{other}:4,bind={own}")),
            Kind::SocatUdp => socat(format!("UDP4-DATAGRAM:{other}:4900,bind={own}:4900")),
            Kind::OpenVpn => {
                let mut command = Command::new("openvpn");
                let buffer = RECEIVE_BUFFER.to_string();
                command.args(["--dev", device, "--dev-type", "tun", "--proto", "udp4", "--port", "1194"]);
                command.args(["--local", own, "--remote", other, "--ifconfig", inside, beyond]);
                command.args(["--cipher", "none", "--auth", "none", "--fast-io", "--txqueuelen", "1000"]);
                command.args(["--rcvbuf", &buffer, "--sndbuf", &buffer]);
                Some(command)
            }
            Kind::WireGuard => {
                let mut command = Command::new("wireguard-go");
                command.args(["-f", device]);
                Some(command)
            }
            _ => None,
        }
    }

    fn wait_for_devices(&self, running: &mut Running, network: &Network) -> Result<(), String> {
        let until = Instant::now() + DEADLINE;
        let devices = running.devices.clone();
        for (end, device) in devices.iter().enumerate() {
            while run_ip(network, end, &format!("link show {device}")).is_err() {
                for child in &mut running.processes {
                    if let Ok(Some(status)) = child.try_wait() {
                        return Err(format!("{} ended: {status}", self.title));
                    }
                }
                if Instant::now() > until {
                    return Err(format!("{}: no device {device}", self.title));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// Keys for wireguard-go, made now and never written to a disk.
fn make_peers(devices: &[String; 2], number: usize, network: &Network) -> Result<(), String> {
    let private = [wg(&["genkey"], "")?, wg(&["genkey"], "")?];
    for end in [0, 1] {
        let public = wg(&["pubkey"], &private[1 - end])?;
        let mut command = Command::new("wg");
        command.args(["set", &devices[end], "listen-port", "51820", "private-key", "/dev/stdin"]);
        command.args(["peer", &public, "allowed-ips", "0.0.0.0/0"]);
        command.args(["endpoint", &format!("{}:51820", outer(number, 1 - end))]);
        said(in_namespace(command, namespace(network, end)?)?, &private[end])?;
    }
    Ok(())
}

fn wg(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new("wg");
    command.args(arguments);
    said(command, input)
}

/// Runs a program to its end: what it says.
fn said(mut command: Command, input: &str) -> Result<String, String> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    if let Some(mut place) = child.stdin.take() {
        place.write_all(input.as_bytes()).map_err(|error| error.to_string())?;
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// The file of an end's namespace; `None` for this process's own.
pub fn namespace(network: &Network, end: usize) -> Result<Option<&str>, String> {
    if end == 0 { Ok(None) } else { Ok(Some(network.other_end()?)) }
}

fn each_end(network: &Network, commands: impl Fn(usize) -> String) -> Result<(), String> {
    [0, 1].into_iter().try_for_each(|end| run_ip(network, end, &commands(end)))
}

/// ip(8) at one end.
pub fn run_ip(network: &Network, end: usize, commands: &str) -> Result<(), String> {
    let Some(file) = namespace(network, end)? else { return ip(commands) };
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]);
    said(in_namespace(command, Some(file))?, commands).map(drop)
}

/// The program will run there, and die with this thread.
pub fn in_namespace(mut command: Command, file: Option<&str>) -> Result<Command, String> {
    let file = file.map(std::fs::File::open).transpose().map_err(|error| error.to_string())?;
    let enter = move || {
        use std::os::fd::AsRawFd;
        let fd = file.as_ref().map(|file| file.as_raw_fd());
        // SAFETY: system calls without memory, between fork and exec.
        let done = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
                && fd.is_none_or(|fd| libc::setns(fd, libc::CLONE_NEWNET) == 0)
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: `enter` only makes system calls.
    unsafe { command.pre_exec(enter) };
    Ok(command)
}
