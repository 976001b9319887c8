//! What is known of a descriptor as JSON. Members have the names that the C struct has, options and
//! events those of the man pages.

use std::net::SocketAddr;

use super::joined::Joined;
use super::options::{Named, Setting};
use super::{Descriptor, Internet, Socket};
use crate::diagnose::json::{Value, object};
use crate::diagnose::tables::full_name;
use crate::sys::interface::Name;
use crate::sys::multicast::FilterMode;
use crate::sys::names;
use crate::sys::owner::Owner;
use crate::sys::poll::Events;
use crate::sys::sockaddr::SocketAddress;
use crate::sys::status::{Access, Flags, Format, Stat};

/// All of it.
pub fn report(descriptor: &Descriptor) -> Value {
    let mut members = vec![
        ("fd", descriptor.fd.into()),
        ("kind", kind(descriptor).into()),
        ("name", descriptor.name.clone().into()),
        ("inode", descriptor.stat.map(|stat| stat.inode).into()),
        ("flags", descriptor.flags.map(flags).into()),
        ("owner", descriptor.owner.and_then(owner).into()),
        ("signal", descriptor.signal.into()),
        ("events", descriptor.events.map(events).into()),
        ("readable", descriptor.readable.into()),
        ("send_queue", descriptor.send_queue.into()),
    ];
    match descriptor.stat {
        Some(Stat { format: Format::File, size, .. }) => members.push(("size", size.into())),
        Some(Stat { format: Format::Pipe, .. }) => members.push(("capacity", descriptor.capacity.into())),
        _ => {}
    }
    if let Some(socket) = &descriptor.socket {
        members.push(("error_pending", descriptor.is_error_pending().into()));
        members.extend(of_socket(socket));
    }
    Value::Object(members)
}

fn kind(descriptor: &Descriptor) -> Option<&'static str> {
    let Some(stat) = descriptor.stat else {
        return descriptor.socket.as_ref().map(|_| "socket");
    };
    Some(match stat.format {
        Format::Socket => "socket",
        Format::Pipe => "pipe",
        Format::File => "file",
        Format::Directory => "directory",
        Format::BlockDevice => "block device",
        Format::CharacterDevice if descriptor.is_terminal => "terminal",
        Format::CharacterDevice => "character device",
        Format::Other => "other",
    })
}

fn flags(flags: Flags) -> Value {
    let access = match flags.access {
        Access::Read => "O_RDONLY",
        Access::Write => "O_WRONLY",
        Access::ReadWrite => "O_RDWR",
        Access::Path => "O_PATH",
    };
    object([
        ("access", access.into()),
        ("O_NONBLOCK", flags.nonblocking.into()),
        ("O_ASYNC", flags.signals.into()),
        ("O_APPEND", flags.appends.into()),
        ("O_CLOEXEC", flags.close_on_exec.into()),
    ])
}

fn owner(owner: Owner) -> Option<Value> {
    let (kind, id) = match owner {
        Owner::Nobody => return None,
        Owner::Process(id) => ("process", id),
        Owner::Group(id) => ("group", id),
        Owner::Thread(id) => ("thread", id),
    };
    Some(object([("kind", kind.into()), ("id", id.into())]))
}

fn events(events: Events) -> Value {
    object([
        ("POLLIN", events.has(Events::IN).into()),
        ("POLLOUT", events.has(Events::OUT).into()),
        ("POLLPRI", events.has(Events::PRI).into()),
        ("POLLRDHUP", events.has(Events::RDHUP).into()),
        ("POLLHUP", events.has(Events::HUP).into()),
        ("POLLERR", events.has(Events::ERR).into()),
    ])
}

fn of_socket(socket: &Socket) -> Vec<(&'static str, Value)> {
    let protocol = |number| match socket.internet {
        Some(_) => named(names::protocol(number), number),
        None => number.into(),
    };
    let urgent =
        |urgent: super::Urgent| object([("at_mark", urgent.at_mark.into()), ("waiting", urgent.is_waiting.into())]);
    let mut members = vec![
        ("family", named(names::family(socket.family), socket.family)),
        ("type", named(names::socket_type(socket.kind), socket.kind)),
        ("protocol", socket.protocol.map(protocol).into()),
        ("bound", socket.bound.as_ref().and_then(address).into()),
        ("peer", socket.peer.as_ref().and_then(address).into()),
        ("listening", socket.is_listening.into()),
        ("device", socket.device.flatten().map(|name| device(&name, socket.device_index)).into()),
        ("receive_queue", socket.memory.map(|memory| memory.receive).into()),
        ("drops", socket.memory.map(|memory| memory.drops).into()),
        ("urgent", socket.urgent.map(urgent).into()),
        ("options", Value::Object(socket.options.iter().map(option).collect())),
    ];
    members.extend(socket.internet.iter().flat_map(of_internet));
    members
}

/// The name, or the number if it has none.
fn named(name: Option<&'static str>, number: i32) -> Value {
    name.map_or(number.into(), Value::from)
}

/// `None` for the families whose addresses aren't known here.
fn address(address: &SocketAddress) -> Option<Value> {
    if let Some(internet) = address.internet() {
        return Some(internet_address(internet));
    }
    let name = address.unix_name()?;
    Some(match name.split_first() {
        None => object([("unnamed", true.into())]),
        Some((0, rest)) => object([("abstract", String::from_utf8_lossy(rest).into_owned().into())]),
        _ => object([("path", until_nul(&name).into())]),
    })
}

fn internet_address(address: SocketAddr) -> Value {
    let scope = match address {
        SocketAddr::V6(v6) => v6.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let mut members = vec![("address", address.ip().into()), ("port", address.port().into())];
    if scope != 0 {
        members.push(("interface", interface(scope)));
    }
    Value::Object(members)
}

fn device(name: &Name, index: Option<i32>) -> Value {
    object([("index", index.into()), ("name", until_nul(name).into())])
}

fn until_nul(name: &[u8]) -> String {
    let bytes = name.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

/// An interface of this thread's network.
fn interface(index: u32) -> Value {
    object([("index", index.into()), ("name", full_name(index).into())])
}

fn option((name, setting): &Named) -> (&'static str, Value) {
    let value = match setting {
        Some(Setting::Flag(on)) => (*on).into(),
        Some(Setting::Number(number)) => (*number).into(),
        None => Value::Null,
    };
    (name, value)
}

fn of_internet(internet: &Internet) -> Vec<(&'static str, Value)> {
    let chosen = internet.interface.filter(|index| *index != 0);
    vec![
        ("in_this_network", internet.is_in_this_network.into()),
        ("multicast_ttl", internet.ttl.into()),
        ("multicast_loop", internet.loops.into()),
        ("multicast_all", internet.all.into()),
        ("multicast_interface", chosen.map(interface).into()),
        ("memberships", internet.memberships.as_ref().map(|all| all.iter().map(membership).collect::<Vec<_>>()).into()),
    ]
}

fn membership(joined: &Joined) -> Value {
    let mode = match joined.mode {
        FilterMode::Include => "include",
        FilterMode::Exclude => "exclude",
    };
    let host = &joined.host;
    object([
        ("group", host.group.into()),
        ("interface", object([("index", host.ifindex.into()), ("name", host.interface.as_str().into())])),
        ("mode", mode.into()),
        ("sources", joined.sources.clone().into()),
        ("host_users", host.users.into()),
    ])
}
