//! Working situations for each function: what it is given when its system calls fail one by one.

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};

use castio::ffi::multicast::membership::{castio_block_source, castio_join_group, castio_join_source};
use castio::ffi::multicast::options::castio_set_multicast_interface_index;
use libc::c_int;

use crate::arguments::Argument;
use crate::support::declarations::Function;
use crate::support::descriptors::{self, Kind, Pair, check};
use crate::values::{good_index, good_text};

/// The number of the descriptor that a function is given: far above what else is open.
pub const GIVEN: c_int = 700;

/// A descriptor, if the function takes one, and which arguments are others than the first good ones.
#[derive(Clone)]
pub struct Scene {
    function: String,
    pub what: Option<(Kind, Before)>,
    /// A parameter's name, and what its choice is called.
    others: &'static [(&'static str, &'static str)],
}

/// What was done with the descriptor before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// There is room to write.
    Room,
    /// It is full.
    Full,
    /// Something waits to be read.
    Data,
    /// Nothing waits.
    Silence,
    /// An urgent byte behind others.
    Urgent,
    Broadcast,
    Joined,
    JoinedBySource,
    Blocked,
    /// Its multicast leaves by a chosen interface.
    Chosen,
}

use Before::*;

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?} with {:?}", self.function, self.what, self.others)
    }
}

const STREAMS: [Kind; 2] = [Kind::Tcp4, Kind::UnixStream];
const SOCKETS: [Kind; 5] = [Kind::Tcp4, Kind::UnixStream, Kind::SeqPacket, Kind::UnixDatagram, Kind::Udp4];
const ALL: [Kind; 10] = [
    Kind::Tcp4,
    Kind::UnixStream,
    Kind::SeqPacket,
    Kind::UnixDatagram,
    Kind::Udp4,
    Kind::Pipe,
    Kind::Fifo,
    Kind::File,
    Kind::Terminal,
    Kind::TerminalMaster,
];
const WAITING: [Kind; 4] = [Kind::Tcp4, Kind::UnixStream, Kind::Pipe, Kind::Terminal];
const UDP: [Kind; 2] = [Kind::Udp4, Kind::Udp6];

pub fn of(function: &Function) -> Vec<Scene> {
    let name = function.name.as_str();
    let has = |parameter: &str| function.parameters.iter().any(|one| one.name == parameter);
    let mut all = Vec::new();
    let mut add = |kinds: &[Kind], before: Before, others: &'static [(&'static str, &'static str)]| {
        let scene = |kind: &Kind| Scene { function: name.to_owned(), what: Some((*kind, before)), others };
        all.extend(kinds.iter().map(scene));
    };
    let is_one_of = |names: &[&str]| names.iter().any(|one| name == format!("castio_{one}"));
    if !has("fd") {
        let scene = |others| Scene { function: name.to_owned(), what: None, others };
        let mut all = vec![scene(&[][..])];
        let parameter =
            |name| function.parameters.iter().any(|one| one.name == name && one.ctype.starts_with("const char"));
        if parameter("group") {
            all.push(scene(&[("group", "\"ff15::7\""), ("source", "NULL")]));
        }
        if parameter("interface") && !is_one_of(&["broadcast_address", "interface_index"]) {
            all.push(scene(&[("interface", "NULL")]));
        }
        if parameter("interfaces") && name.starts_with("castio_membership") {
            all.push(scene(&[("interfaces", "NULL")]));
        }
        if has("timeout_ms") {
            all.push(scene(&[("timeout_ms", "1")]));
        }
        return all;
    }
    let later: &[(&str, &str)] = &[("timeout_ms", "1")];
    if is_one_of(&["writev_all", "write_all", "send_nowait", "writev_nowait"]) {
        add(&ALL, Room, &[]);
        if has("timeout_ms") {
            add(&WAITING, Full, later);
        }
    } else if is_one_of(&["readv_all", "read_all", "recv_nowait", "readv_nowait", "peek_available", "peek_info"]) {
        add(&ALL, Data, &[]);
        if has("timeout_ms") {
            add(&WAITING, Silence, later);
        }
    } else if is_one_of(&["peek", "peek_all"]) {
        add(&SOCKETS, Data, &[]);
        if has("timeout_ms") {
            add(&STREAMS, Silence, later);
        }
    } else if is_one_of(&["send_oob"]) {
        add(&STREAMS, Room, &[]);
        add(&STREAMS, Full, later);
    } else if is_one_of(&["recv_oob", "at_mark", "recv_to_mark", "wait_oob"]) {
        add(&STREAMS, Urgent, &[]);
        if has("timeout_ms") {
            add(&STREAMS, Silence, later);
        }
    } else if name.contains("oob") || name == "castio_fdopen" {
        add(&STREAMS, Silence, &[]);
    } else if name.contains("broadcast") {
        add(&[Kind::Udp4], Broadcast, &[]);
        if has("interface") {
            add(&[Kind::Udp4], Broadcast, &[("interface", "NULL")]);
        }
    } else if name.starts_with("castio_inspect") {
        add(&[Kind::Tcp4, Kind::UnixStream, Kind::File], Data, &[]);
        add(&UDP, Joined, &[]);
    } else if name.starts_with("castio_diagnose") {
        add(&UDP, Joined, &[]);
    } else if name.contains("multicast_interface") {
        add(&UDP, Chosen, &[]);
    } else if has("group") {
        let before = match () {
            () if name.contains("unblock") => Blocked,
            () if name.contains("leave_source") || name.contains("get_source") => JoinedBySource,
            () if name.contains("leave_group") || name.contains("block") => Joined,
            () => Silence,
        };
        add(&[Kind::Udp4], before, &[]);
        add(&[Kind::Udp4], before, &[("interface", "NULL")]);
        let v6: &[(&str, &str)] = match name.ends_with("_addr") {
            true => {
                &[("group, group_len", "IPv6, 28"), ("source, source_len", "IPv6, 28"), ("sources, count", "none, 0")]
            }
            false => &[("group", "\"ff15::7\""), ("source", "\"fd01::2\""), ("sources, count", "none, 0")],
        };
        add(&[Kind::Udp6], before, v6);
    } else {
        add(&UDP, Silence, &[]);
    }
    all
}

impl Scene {
    pub fn pick(&self, arguments: &[Argument]) -> Vec<usize> {
        let choice = |argument: &Argument| {
            let other = self.others.iter().find(|(name, _)| *name == argument.name);
            other.and_then(|(_, label)| argument.choices.iter().position(|choice| choice.label == *label)).unwrap_or(0)
        };
        arguments.iter().map(choice).collect()
    }

    /// A new descriptor in this situation.
    pub fn descriptor(&self) -> Option<c_int> {
        let (kind, before) = self.what?;
        let fd = prepared(kind, before);
        // SAFETY: no pointers. The copy has a number of its own.
        check(unsafe { libc::dup3(fd.as_raw_fd(), GIVEN, libc::O_CLOEXEC) });
        Some(GIVEN)
    }
}

fn prepared(kind: Kind, before: Before) -> OwnedFd {
    let Pair { writer, reader, .. } = descriptors::pair(kind);
    let (given, other) = match before {
        Room | Full => (writer, reader),
        _ => (reader, writer),
    };
    let fd = given.as_raw_fd();
    match before {
        Room | Silence => {}
        Full => _ = descriptors::fill(&given),
        Data => {
            descriptors::put(&other, &[b'd'; 80]);
            descriptors::wait_for(&given, libc::POLLIN);
        }
        Urgent => {
            descriptors::put(&other, b"before");
            // SAFETY: one readable byte.
            check(unsafe { libc::send(other.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) });
            descriptors::wait_for(&given, libc::POLLPRI);
        }
        Broadcast => {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_broadcast(true).unwrap();
            return socket.into();
        }
        Joined | JoinedBySource | Blocked => join(fd, kind, before),
        // SAFETY: takes no pointer.
        Chosen => _ = check(unsafe { castio_set_multicast_interface_index(fd, good_index()) }),
    }
    std::mem::forget(other);
    given
}

fn join(fd: c_int, kind: Kind, before: Before) {
    let v6 = kind == Kind::Udp6;
    let text = |text: &str| CString::new(text).unwrap();
    let [group, source] = if v6 { ["ff15::7", "fd01::2"] } else { [good_text("group"), good_text("source")] };
    let [group, source, interface] = [group, source, good_text("interface")].map(text);
    let (group, source, interface) = (group.as_ptr(), source.as_ptr(), interface.as_ptr());
    // SAFETY: texts that end in a NUL.
    unsafe {
        check(match before {
            JoinedBySource => castio_join_source(fd, group, source, interface),
            _ => castio_join_group(fd, group, interface),
        });
        if before == Blocked {
            check(castio_block_source(fd, group, source, interface));
        }
    }
}
