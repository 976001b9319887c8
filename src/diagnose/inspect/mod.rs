//! All that can be known of a descriptor without changing it. What isn't known is `None`: that is
//! never an error. Nothing is consumed: a pending error is seen by poll(2), since SO_ERROR and a
//! peek would take it away.

pub mod joined;
pub mod options;
mod text;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

pub use text::report;

use self::joined::Joined;
use self::options::{Named, Setting};
use crate::error::Result;
use crate::multicast::options as multicast;
use crate::peek;
use crate::sys::file;
use crate::sys::interface::Name;
use crate::sys::option::{self, Family, IntOption, Memory, SocketType};
use crate::sys::owner::{self, Owner};
use crate::sys::poll::{self, Events};
use crate::sys::sockaddr::SocketAddress;
use crate::sys::socket;
use crate::sys::status::{self, Flags, Format, Stat};

/// What is known of every descriptor.
pub struct Descriptor {
    /// Its number.
    pub fd: i32,
    /// What fstat(2) says.
    pub stat: Option<Stat>,
    /// Whether it is a terminal, either end of a pseudo-terminal included.
    pub is_terminal: bool,
    /// What /proc calls it: a path, "socket:[NUMBER]", "anon_inode:[eventfd]".
    pub name: Option<String>,
    /// Its flags and those of its open file.
    pub flags: Option<Flags>,
    /// Who gets SIGURG and SIGIO.
    pub owner: Option<Owner>,
    /// The signal sent for O_ASYNC; 0 is SIGIO.
    pub signal: Option<i32>,
    /// What it is ready for.
    pub events: Option<Events>,
    /// Bytes to read: those of a stream, or of the next message (FIONREAD).
    pub readable: Option<usize>,
    /// Bytes written that haven't left (SIOCOUTQ).
    pub send_queue: Option<usize>,
    /// How many bytes a pipe holds.
    pub capacity: Option<i32>,
    /// What a socket is besides.
    pub socket: Option<Socket>,
}

/// What is known of a socket.
pub struct Socket {
    /// Its address family, `AF_*`.
    pub family: i32,
    /// Its type, `SOCK_*`.
    pub kind: i32,
    /// Its protocol.
    pub protocol: Option<i32>,
    /// Its own address.
    pub bound: Option<SocketAddress>,
    /// Where it is connected to.
    pub peer: Option<SocketAddress>,
    /// Whether it listens for connections.
    pub is_listening: Option<bool>,
    /// The device that alone is used; `Some(None)` for any.
    pub device: Option<Option<Name>>,
    /// That device's index, 0 for any.
    pub device_index: Option<i32>,
    /// What its memory is taken by.
    pub memory: Option<Memory>,
    /// The urgent mark of a stream.
    pub urgent: Option<Urgent>,
    /// Every option.
    pub options: Vec<Named>,
    /// What an Internet socket is besides.
    pub internet: Option<Internet>,
}

/// Where the urgent mark of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Urgent {
    /// At the next byte.
    pub at_mark: bool,
    /// The urgent byte is there and wasn't read.
    pub is_waiting: bool,
}

/// What an Internet socket does with multicast.
pub struct Internet {
    /// Whether it is in the calling thread's network namespace, if the kernel tells. In another one
    /// nothing is known of interfaces and memberships.
    pub is_in_this_network: Option<bool>,
    /// How many routers multicast may cross, and one more.
    pub ttl: Option<i32>,
    /// Whether receivers on this host get what it sends.
    pub loops: Option<bool>,
    /// Whether it gets groups that others joined.
    pub all: Option<bool>,
    /// The interface by which multicast leaves; 0 for the routes' choice.
    pub interface: Option<u32>,
    /// What it has joined.
    pub memberships: Option<Vec<Joined>>,
}

impl Descriptor {
    /// Looks at a descriptor. `EBADF` if it isn't open; no other error: a sandbox may refuse any question.
    pub fn look(fd: BorrowedFd<'_>) -> Result<Descriptor> {
        file::check_open(fd)?;
        let stat = status::stat(fd).ok();
        let format = stat.map(|stat| stat.format);
        let is_terminal = matches!(format, None | Some(Format::CharacterDevice)) && file::is_terminal(fd);
        let events = poll::poll(fd, Events::EVERY, 0).ok();
        Ok(Descriptor {
            fd: fd.as_raw_fd(),
            stat,
            is_terminal,
            name: name(fd),
            flags: status::flags(fd).ok(),
            owner: owner::get(fd).ok(),
            signal: owner::signal(fd).ok(),
            events,
            readable: readable(fd, format, is_terminal),
            send_queue: if is_asked(format, is_terminal) { file::bytes_unsent(fd).ok() } else { None },
            capacity: match format {
                Some(Format::Pipe) => status::pipe_capacity(fd).ok(),
                _ => None,
            },
            socket: Socket::look(fd, events),
        })
    }

    /// Whether an error waits on a socket, to be taken by the next call or from the error queue.
    pub fn is_error_pending(&self) -> Option<bool> {
        self.socket.as_ref()?;
        self.events.map(|events| events.has(Events::ERR))
    }
}

/// What a device takes FIONREAD and TIOCOUTQ for only its driver knows.
fn is_asked(format: Option<Format>, is_terminal: bool) -> bool {
    is_terminal || !matches!(format, None | Some(Format::CharacterDevice | Format::BlockDevice))
}

/// FIONREAD is an int: too small for files.
fn readable(fd: BorrowedFd<'_>, format: Option<Format>, is_terminal: bool) -> Option<usize> {
    match format {
        Some(Format::File) => peek::bytes_in_file(fd).ok(),
        _ if is_asked(format, is_terminal) => file::bytes_waiting(fd).ok(),
        _ => None,
    }
}

fn name(fd: BorrowedFd<'_>) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/thread-self/fd/{}", fd.as_raw_fd())).ok()?;
    Some(link.to_string_lossy().into_owned())
}

impl Socket {
    /// `None` if it is no socket.
    fn look(fd: BorrowedFd<'_>, events: Option<Events>) -> Option<Socket> {
        let (family, kind) = (IntOption::DOMAIN.get(fd).ok()?, IntOption::TYPE.get(fd).ok()?);
        let internet = option::family(fd).ok();
        let device = option::device(fd).ok();
        Some(Socket {
            family,
            kind,
            protocol: IntOption::PROTOCOL.get(fd).ok(),
            bound: socket::local_name(fd).ok().filter(is_bound),
            peer: socket::peer_name(fd).ok(),
            is_listening: IntOption::LISTENS.get(fd).ok().map(|on| on != 0),
            device,
            // Older kernels tell the name alone.
            device_index: IntOption::DEVICE.get(fd).ok().or(device.and_then(|name| name.is_none().then_some(0))),
            memory: option::memory(fd).ok(),
            urgent: urgent(fd, events),
            options: options::read(fd, internet),
            internet: internet.map(|family| Internet::look(fd, family)),
        })
    }

    /// An option by its name, a flag as 0 or 1.
    pub fn option(&self, name: &str) -> Option<i64> {
        let (_, setting) = self.options.iter().find(|(found, _)| *found == name)?;
        Some(match (*setting)? {
            Setting::Flag(on) => on.into(),
            Setting::Number(number) => number,
        })
    }
}

/// The kernel has an address for what isn't bound too: unspecified, or without a name.
fn is_bound(address: &SocketAddress) -> bool {
    match (address.internet(), address.unix_name()) {
        (Some(internet), _) => !internet.ip().is_unspecified() || internet.port() != 0,
        (None, Some(name)) => !name.is_empty(),
        (None, None) => true,
    }
}

fn urgent(fd: BorrowedFd<'_>, events: Option<Events>) -> Option<Urgent> {
    match option::socket_type(fd) {
        Ok(SocketType::Stream) => {
            Some(Urgent { at_mark: option::at_mark(fd).ok()?, is_waiting: events?.has(Events::PRI) })
        }
        _ => None,
    }
}

impl Internet {
    fn look(fd: BorrowedFd<'_>, family: Family) -> Internet {
        let is_in_this_network = is_in_this_network(fd, family);
        let is_elsewhere = is_in_this_network == Some(false);
        Internet {
            is_in_this_network,
            ttl: multicast::ttl(fd).ok(),
            loops: multicast::is_loop(fd).ok(),
            all: multicast::is_all(fd).ok(),
            interface: if is_elsewhere { None } else { multicast::interface(fd).ok() },
            memberships: if is_elsewhere { None } else { joined::read(fd, family).ok() },
        }
    }
}

/// A new socket is in the thread's own network.
fn is_in_this_network(fd: BorrowedFd<'_>, family: Family) -> Option<bool> {
    let theirs = option::network(fd).ok()?;
    let own = socket::udp_socket(family.domain()).ok()?;
    Some(option::network(own.as_fd()).ok()? == theirs)
}
