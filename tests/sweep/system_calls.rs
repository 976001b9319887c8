//! The errors that a system call can have, by its man page, beside those that a mistake in its arguments
//! would give.

use libc::c_long;

use crate::scenes::GIVEN;
use crate::support::descriptors::Kind;
use crate::support::faults::SystemCall;

/// Errors that a limit or a sandbox gives: what fails once fails again.
const LASTING: [&str; 8] = ["EPERM", "EACCES", "ENOSYS", "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAFNOSUPPORT"];
/// What any of them may say in a sandbox, by a security module or where there is no memory: one pair for one
/// call, the other for the next, which halves the time that all of this takes.
const ANY: [&str; 2] = ["EPERM ENOMEM", "EACCES ENOSYS"];

macro_rules! table {
    ($($(#[$condition:meta])? $number:ident $name:literal: $errors:literal;)*) => {
        const KNOWN: &[(c_long, &str, &str)] = &[$($(#[$condition])? (libc::$number, $name, $errors)),*];
    };
}

table! {
    SYS_socket "socket": "EMFILE ENFILE ENOBUFS EAFNOSUPPORT";
    SYS_bind "bind": "";
    SYS_connect "connect": "ENETUNREACH EHOSTUNREACH EAGAIN ENOBUFS";
    SYS_getsockname "getsockname": "ENOBUFS";
    SYS_getpeername "getpeername": "ENOBUFS ENOTCONN";
    SYS_getsockopt "getsockopt": "ENOBUFS";
    SYS_setsockopt "setsockopt": "ENOBUFS";
    SYS_sendto "sendto": "ENOBUFS";
    SYS_sendmsg "sendmsg": "ENOBUFS";
    SYS_sendmmsg "sendmmsg": "ENOBUFS";
    SYS_recvfrom "recvfrom": "";
    SYS_recvmsg "recvmsg": "ENOBUFS";
    SYS_recvmmsg "recvmmsg": "";
    SYS_shutdown "shutdown": "ENOTCONN";
    SYS_read "read": "EINTR";
    SYS_readv "readv": "EINTR";
    SYS_preadv2 "preadv2": "";
    SYS_write "write": "EINTR";
    SYS_writev "writev": "EINTR";
    SYS_pwritev2 "pwritev2": "";
    #[cfg(target_arch = "x86_64")] SYS_poll "poll": "EINTR";
    SYS_ppoll "ppoll": "EINTR";
    SYS_epoll_create1 "epoll_create1": "EMFILE ENFILE";
    SYS_epoll_ctl "epoll_ctl": "ENOSPC";
    #[cfg(target_arch = "x86_64")] SYS_epoll_wait "epoll_wait": "";
    SYS_epoll_pwait "epoll_pwait": "";
    #[cfg(target_arch = "x86_64")] SYS_open "open": "EMFILE ENFILE ENOENT";
    SYS_openat "openat": "EMFILE ENFILE ENOENT";
    SYS_ioctl "ioctl": "";
    SYS_fcntl "fcntl": "";
    SYS_fstat "fstat": "";
    SYS_newfstatat "newfstatat": "";
    SYS_readlinkat "readlinkat": "ENOENT";
    #[cfg(target_arch = "x86_64")] SYS_readlink "readlink": "ENOENT";
    SYS_getrandom "getrandom": "";
    SYS_rt_sigtimedwait "rt_sigtimedwait": "EINTR EAGAIN";
    SYS_clock_nanosleep "clock_nanosleep": "EINTR";
    SYS_close "close": "EINTR EIO";
}

/// Options that came with some version of Linux, by level and name: `ENOPROTOOPT` before.
const YOUNG_OPTIONS: [(i32, i32); 6] = [
    (libc::SOL_SOCKET, libc::SO_ZEROCOPY),
    (libc::SOL_SOCKET, libc::SO_MEMINFO),
    (libc::SOL_SOCKET, 71), // SO_NETNS_COOKIE
    (libc::SOL_UDP, libc::UDP_SEGMENT),
    (libc::SOL_UDP, libc::UDP_GRO),
    (libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK),
];

/// What depends on the arguments of a call: its flags, its time, its option.
fn of_arguments(name: &str, arguments: &[u64; 6]) -> &'static str {
    let is_given = arguments[0] == GIVEN as u64;
    let of_flags = |flags: u64| match flags & libc::MSG_DONTWAIT as u64 == 0 {
        false => "EAGAIN",
        true if is_given => "EINTR EAGAIN",
        true => "EINTR",
    };
    match name {
        // netlink(7): the kernel finds a free port, and a question to it never waits.
        "bind" if arguments[2] == size_of::<libc::sockaddr_nl>() as u64 => "",
        "sendto" if arguments[3] == 0 => "",
        "bind" => "EADDRINUSE",
        "sendto" | "sendmmsg" | "recvfrom" | "recvmmsg" => of_flags(arguments[3]),
        "sendmsg" | "recvmsg" => of_flags(arguments[2]),
        "read" | "write" | "readv" | "writev" if is_given => "EAGAIN",
        "preadv2" | "pwritev2" if arguments[5] & libc::RWF_NOWAIT as u64 > 0 => "EAGAIN EOPNOTSUPP",
        "preadv2" | "pwritev2" if arguments[5] > 0 => "EINTR EAGAIN EOPNOTSUPP",
        "preadv2" | "pwritev2" => "EINTR EAGAIN",
        // Without time to wait it doesn't look at signals.
        "epoll_wait" | "epoll_pwait" if arguments[3] != 0 => "EINTR",
        "getsockopt" | "setsockopt" if YOUNG_OPTIONS.contains(&(arguments[1] as i32, arguments[2] as i32)) => {
            "ENOPROTOOPT"
        }
        // SIOCGIFCONF and others of netdevice(7).
        "ioctl" if (0x8910..0x8a00).contains(&arguments[1]) => "ENODEV",
        _ => "",
    }
}

/// What is added where the network is behind the call.
const TRANSFERS: [&str; 6] = ["sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg"];

/// On the descriptor that the caller gave, by its kind.
fn of_kind(kind: Kind, is_sending: bool) -> &'static str {
    match (kind, is_sending) {
        (Kind::Tcp4 | Kind::Tcp6, true) => "EPIPE ECONNRESET ETIMEDOUT EHOSTUNREACH ENETUNREACH",
        (Kind::Tcp4 | Kind::Tcp6, false) => "ECONNRESET ETIMEDOUT EHOSTUNREACH ENETUNREACH",
        (Kind::Udp4 | Kind::Udp6, true) => "ECONNREFUSED EHOSTUNREACH ENETUNREACH ENETDOWN EMSGSIZE",
        (Kind::Udp4 | Kind::Udp6, false) => "ECONNREFUSED EHOSTUNREACH ENETUNREACH",
        (Kind::UnixStream | Kind::SeqPacket, true) => "EPIPE ECONNRESET",
        (Kind::UnixDatagram, true) => "ECONNREFUSED ECONNRESET EMSGSIZE",
        (Kind::UnixStream | Kind::SeqPacket | Kind::UnixDatagram, false) => "ECONNRESET",
        (Kind::File, true) => "EIO ENOSPC EDQUOT EFBIG",
        (Kind::File | Kind::Terminal | Kind::TerminalMaster, _) => "EIO",
        (Kind::Pipe | Kind::Fifo, true) => "EPIPE",
        _ => "",
    }
}

fn known(call: &SystemCall) -> Option<&'static (c_long, &'static str, &'static str)> {
    KNOWN.iter().find(|(number, ..)| *number == call.number)
}

pub fn name(call: &SystemCall) -> String {
    let arguments = call.arguments.map(|argument| format!("{argument:#x}"));
    let called = known(call).map_or_else(|| format!("system call {}", call.number), |(_, name, _)| (*name).to_owned());
    format!("{called}({})", arguments[..4].join(", "))
}

/// Each error, and whether it stays so for all calls of that name. `given` is the kind of the descriptor that
/// the function was given, `turn` counts the calls.
pub fn errors(call: &SystemCall, given: Option<Kind>, turn: usize) -> Vec<(&'static str, bool)> {
    let (_, name, own) = known(call).copied().unwrap_or((0, "", ""));
    // A socket's errors come by its own calls.
    let is_transfer = match given {
        Some(kind) if kind.is_socket() => TRANSFERS.contains(&name),
        _ => name.contains("read") || name.contains("write"),
    };
    let is_sending = name.starts_with("send") || name.contains("write");
    let of_kind = match given {
        Some(kind) if is_transfer && call.arguments[0] == GIVEN as u64 => of_kind(kind, is_sending),
        _ => "",
    };
    // close(2) frees the descriptor whatever it says, so that nothing refuses it.
    let any = if name == "close" { "" } else { ANY[turn % 2] };
    let all = [own, of_arguments(name, &call.arguments), of_kind, any].into_iter().flat_map(str::split_whitespace);
    all.map(|error| (error, LASTING.contains(&error))).collect()
}
