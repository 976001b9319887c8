//! Diagnosis: what a descriptor is.

use std::ffi::{c_char, c_int};

use libc::{pid_t, sockaddr_storage, socklen_t};

use super::convert::{self, Place, descriptor};
use super::guard::guard;
use crate::diagnose::inspect::{self, Descriptor, Internet};
use crate::sys::owner::Owner;
use crate::sys::sockaddr::{self, SocketAddress};

/// Tells all that can be known of a descriptor, as a JSON object on one line. Nothing is consumed and
/// nothing changed: what waits stays queued, a pending error stays pending.
///
/// - fd: any descriptor.
/// - buf, len: where the text goes. It always ends in a NUL, cut if it has to be. NULL with length
///   0 asks for the length alone.
///
/// Members of every descriptor: fd, kind ("socket", "pipe", "file", "directory", "terminal",
/// "character device", "block device", "other"), name (what /proc/self/fd links to), inode, flags
/// (access, O_NONBLOCK, O_ASYNC, O_APPEND, O_CLOEXEC), owner (of SIGURG and SIGIO: kind and id),
/// signal (F_GETSIG), events (POLLIN and others), readable, send_queue; of a file size, of a pipe
/// capacity, in bytes.
/// Of a socket also: family ("AF_INET"), type ("SOCK_DGRAM"), protocol ("IPPROTO_UDP", else a number),
/// bound and peer (address, port, interface; path, abstract or unnamed), listening, device (index, name),
/// error_pending, receive_queue, drops, urgent (at_mark, waiting), and options, each by its name in the
/// man pages ("SO_REUSEADDR"); time-outs are in milliseconds, 0 for none, and SO_MAX_PACING_RATE is -1
/// without a limit.
/// Of an IPv4 or IPv6 socket also: in_this_network (of the calling thread; older kernels than 5.14 don't
/// say), multicast_ttl, multicast_loop, multicast_all, multicast_interface (index, name), and
/// memberships, a list: group, interface (index, name), mode ("exclude" or "include"), sources,
/// host_users (how many on this host have joined it). In another network than the thread's, interfaces
/// and memberships aren't known. A membership whose interface is gone isn't listed.
/// null is what isn't known, or isn't there. Members that castio_socket_info has mean the same there.
///
/// Returns the length of the whole text in bytes without the NUL, so that a result of len or more
/// says that it was cut.
///
/// Errors:
/// -EBADF: fd isn't open. -EFAULT: buf is NULL and len isn't 0.
/// What can't be found out is null and no error.
///
/// Any thread. Takes a system call for each option, and one for each group that the host has joined.
/// Since 0.1.0. See socket(7), ip(7), ipv6(7), fcntl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_inspect(fd: c_int, buf: *mut c_char, len: usize) -> c_int {
    guard(|| {
        let text = inspect::report(&Descriptor::look(descriptor(fd)?)?).to_string();
        // SAFETY: the header asks for `len` bytes at `buf`.
        unsafe { convert::put_text(buf, len, &text) }
    })
}

/// The main facts of a socket: see castio_inspect_socket(). Where -1 stands for "not known", that
/// includes what such a socket doesn't have.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_socket_info {
    /// sizeof(struct castio_socket_info), set by the caller.
    pub struct_size: usize,
    /// The address it is bound to, of any family; AF_UNSPEC if there is none.
    pub bound: sockaddr_storage,
    /// The address it is connected to; AF_UNSPEC if it isn't. A UNIX socket's peer may have no name.
    pub peer: sockaddr_storage,
    /// Bytes to read: all of a stream, the next message of others (FIONREAD), what is behind the position
    /// in a file; -1: not known.
    pub readable: i64,
    /// What waits to be read, in bytes of memory as receive_buffer limits them (SO_MEMINFO); -1: not
    /// known.
    pub receive_queue: i64,
    /// What was written and hasn't left, in bytes (SIOCOUTQ): on TCP what isn't acknowledged, on others
    /// memory as send_buffer limits it; -1: not known.
    pub send_queue: i64,
    /// Datagrams dropped so far for want of room (SO_MEMINFO); -1: not known.
    pub drops: i64,
    /// The length of bound; 0 if there is none.
    pub bound_len: socklen_t,
    /// The length of peer; 0 if there is none.
    pub peer_len: socklen_t,
    /// AF_INET and others; AF_UNSPEC if the descriptor is no socket.
    pub family: c_int,
    /// SOCK_DGRAM and others; 0 if the descriptor is no socket.
    pub r#type: c_int,
    /// IPPROTO_UDP and others, 0 where the family has one protocol; -1: not known.
    pub protocol: c_int,
    /// 1 if it listens for connections, else 0; -1: not known.
    pub listening: c_int,
    /// SO_REUSEADDR: 1 or 0; -1: not known.
    pub reuse_address: c_int,
    /// SO_REUSEPORT: 1 or 0; -1: not known.
    pub reuse_port: c_int,
    /// SO_BROADCAST: 1 or 0; -1: not known.
    pub broadcast: c_int,
    /// SO_RCVBUF: bytes of memory, twice what was asked for; -1: not known.
    pub receive_buffer: c_int,
    /// SO_SNDBUF: bytes of memory, twice what was asked for; -1: not known.
    pub send_buffer: c_int,
    /// The index of the device that it is bound to (SO_BINDTODEVICE), 0 for none; -1: not known.
    pub device: c_int,
    /// As castio_get_ttl; -1: not known.
    pub multicast_ttl: c_int,
    /// As castio_get_loop, 1 or 0; -1: not known.
    pub multicast_loop: c_int,
    /// As castio_get_multicast_all, 1 or 0; -1: not known.
    pub multicast_all: c_int,
    /// As castio_get_multicast_interface, 0 for the routes' choice; -1: not known.
    pub multicast_interface: c_int,
    /// How many groups it has joined, each interface counted; -1: not known.
    pub memberships: c_int,
    /// Who gets SIGURG and SIGIO: a process or thread, the negative id of a process group; 0: nobody,
    /// or not known.
    pub owner: pid_t,
    /// 1 if an error waits for the next call, or something on the error queue, else 0; -1: not known.
    pub error_pending: c_int,
    /// 1 if the next byte of a stream is at the urgent mark, else 0; -1: not known.
    pub at_mark: c_int,
    /// 1 if an urgent byte is there and wasn't read, else 0; -1: not known.
    pub urgent_waiting: c_int,
    /// 1 if it is in the calling thread's network namespace, else 0: then multicast_interface and
    /// memberships aren't known. -1: not known.
    pub in_this_network: c_int,
}

/// Tells the main facts of a socket. Nothing is consumed and nothing changed: what waits stays
/// queued, a pending error stays pending.
///
/// - fd: any descriptor. One that is no socket has family AF_UNSPEC, type 0, and most members not known.
/// - info: its struct_size set to sizeof *info; the rest is filled in.
///
/// Returns 0.
///
/// Errors (info is unchanged then):
/// -EFAULT: info is NULL. -EINVAL: struct_size is too small. -EBADF: fd isn't open.
/// What can't be found out is -1 or 0, as each member says, and no error.
///
/// Any thread; what it costs is said at castio_inspect. Since 0.1.0. See socket(7), ip(7), ipv6(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_inspect_socket(fd: c_int, info: *mut castio_socket_info) -> c_int {
    guard(|| {
        // SAFETY: the header asks for NULL or a struct of the size that it says.
        let (place, size) = unsafe { Place::sized(info)? };
        place.put(facts(&Descriptor::look(descriptor(fd)?)?, size));
        Ok(())
    })
}

fn facts(found: &Descriptor, struct_size: usize) -> castio_socket_info {
    let socket = found.socket.as_ref();
    let internet = socket.and_then(|socket| socket.internet.as_ref());
    let memory = socket.and_then(|socket| socket.memory);
    let urgent = socket.and_then(|socket| socket.urgent);
    let (bound, bound_len) = storage(socket.and_then(|socket| socket.bound));
    let (peer, peer_len) = storage(socket.and_then(|socket| socket.peer));
    let option = |name| number(socket.and_then(|socket| socket.option(name)));
    let of_internet = |tell: fn(&Internet) -> Option<i64>| number(internet.and_then(tell));
    castio_socket_info {
        struct_size,
        bound,
        peer,
        readable: count(found.readable),
        receive_queue: count(memory.map(|memory| memory.receive as usize)),
        send_queue: count(found.send_queue),
        drops: count(memory.map(|memory| memory.drops as usize)),
        bound_len,
        peer_len,
        family: socket.map_or(libc::AF_UNSPEC, |socket| socket.family),
        r#type: socket.map_or(0, |socket| socket.kind),
        protocol: number(socket.and_then(|socket| socket.protocol)),
        listening: number(socket.and_then(|socket| socket.is_listening)),
        reuse_address: option("SO_REUSEADDR"),
        reuse_port: option("SO_REUSEPORT"),
        broadcast: option("SO_BROADCAST"),
        receive_buffer: option("SO_RCVBUF"),
        send_buffer: option("SO_SNDBUF"),
        device: number(socket.and_then(|socket| socket.device_index)),
        multicast_ttl: of_internet(|internet| internet.ttl.map(i64::from)),
        multicast_loop: of_internet(|internet| internet.loops.map(i64::from)),
        multicast_all: of_internet(|internet| internet.all.map(i64::from)),
        multicast_interface: of_internet(|internet| internet.interface.map(i64::from)),
        memberships: number(internet.and_then(|internet| Some(internet.memberships.as_ref()?.len() as i64))),
        owner: found.owner.map_or(0, Owner::id),
        error_pending: number(found.is_error_pending()),
        at_mark: number(urgent.map(|urgent| urgent.at_mark)),
        urgent_waiting: number(urgent.map(|urgent| urgent.is_waiting)),
        in_this_network: of_internet(|internet| internet.is_in_this_network.map(i64::from)),
    }
}

fn number(value: Option<impl Into<i64>>) -> c_int {
    value.map_or(-1, |value| c_int::try_from(value.into()).unwrap_or(c_int::MAX))
}

fn count(value: Option<usize>) -> i64 {
    value.map_or(-1, |value| i64::try_from(value).unwrap_or(i64::MAX))
}

fn storage(address: Option<SocketAddress>) -> (sockaddr_storage, socklen_t) {
    address.map_or((sockaddr::unspecified(), 0), |address| address.storage())
}
