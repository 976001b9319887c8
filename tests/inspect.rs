//! What a descriptor is told to be, of every kind, and that looking changes nothing.

mod support;

use std::ffi::{c_char, c_int};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::ptr;

use castio::ffi::inspect::*;
use castio::sys::sockaddr;
use libc::{EBADF, EFAULT, EINVAL};
use serde_json::{Value, json};
use support::descriptors::*;
use support::inspect::{blank, info, inspect};

/// Whether the value has these members with these values.
#[track_caller]
fn assert_has(value: &Value, expected: Value) {
    for (name, expected) in expected.as_object().unwrap() {
        assert_eq!(&value[name], expected, "{name} in {value:#}");
    }
}

fn in_json(address: SocketAddr) -> Value {
    json!({"address": address.ip().to_string(), "port": address.port()})
}

fn send_urgent(fd: &OwnedFd, bytes: &[u8]) {
    // SAFETY: the bytes are readable.
    check(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_OOB) });
}

/// The urgent byte, or the errno.
fn take_urgent(fd: &OwnedFd) -> Result<u8, i32> {
    let mut byte = 0_u8;
    // SAFETY: there is room for a byte.
    match unsafe { libc::recv(fd.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_OOB | libc::MSG_DONTWAIT) } {
        1 => Ok(byte),
        _ => Err(errno()),
    }
}

fn take_error(fd: &impl AsRawFd) -> i32 {
    let (mut error, mut len) = (0, 4);
    let at = (&raw mut error).cast();
    // SAFETY: there is room for an int.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, at, &raw mut len) });
    error
}

#[test]
fn a_connected_tcp_socket_tells_both_ends_and_its_urgent_byte() {
    for Pair { kind, writer, reader } in pairs(&[Tcp4, Tcp6]) {
        send_urgent(&writer, b"abc!");
        until("the urgent byte has come", || inspect(&reader)["urgent"]["waiting"] == true);
        let reading = TcpStream::from(reader.try_clone().unwrap());
        let expected = json!({
            "kind": "socket",
            "family": if kind == Tcp4 { "AF_INET" } else { "AF_INET6" },
            "type": "SOCK_STREAM",
            "protocol": "IPPROTO_TCP",
            "bound": in_json(reading.local_addr().unwrap()),
            "peer": in_json(reading.peer_addr().unwrap()),
            "listening": false,
            "error_pending": false,
            "device": null,
            "owner": null,
            "readable": 3,
            "send_queue": 0,
            "urgent": {"at_mark": false, "waiting": true},
            "memberships": [],
        });
        assert_has(&inspect(&reader), expected);
        let told = info(&reader);
        assert_eq!(sockaddr::from_storage(&told.bound), reading.local_addr().ok());
        assert_eq!(sockaddr::from_storage(&told.peer), reading.peer_addr().ok());
        let len = if kind == Tcp4 { size_of::<libc::sockaddr_in>() } else { size_of::<libc::sockaddr_in6>() } as u32;
        assert_eq!((told.bound_len, told.peer_len), (len, len));
        assert_eq!((told.r#type, told.protocol), (libc::SOCK_STREAM, libc::IPPROTO_TCP));
        assert_eq!((told.readable, told.at_mark, told.urgent_waiting), (3, 0, 1));

        assert_eq!(take(&reader, 10), b"abc");
        assert_eq!(inspect(&reader)["urgent"], json!({"at_mark": true, "waiting": true}));
        assert_eq!((info(&reader).at_mark, info(&reader).urgent_waiting), (1, 1));
        assert_eq!(take_urgent(&reader), Ok(b'!'));
        assert_eq!(inspect(&reader)["urgent"], json!({"at_mark": true, "waiting": false}));
        assert_eq!(info(&reader).urgent_waiting, 0);
    }
}

#[test]
fn a_listening_tcp_socket_has_no_peer_and_no_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let expected = json!({
        "type": "SOCK_STREAM",
        "bound": in_json(listener.local_addr().unwrap()),
        "peer": null,
        "listening": true,
        "readable": null,
    });
    let told = inspect(&listener);
    assert_has(&told, expected);
    assert_eq!(told["events"]["POLLIN"], false);
    assert_eq!(told["options"]["SO_REUSEADDR"], true, "the standard library sets it");
    let told = info(&listener);
    assert_eq!((told.listening, told.readable, told.peer_len), (1, -1, 0));
    assert_eq!((i32::from(told.peer.ss_family), told.reuse_address, told.reuse_port), (libc::AF_UNSPEC, 1, 0));

    let _waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    until("the connection waits", || inspect(&listener)["events"]["POLLIN"] == true);
    drop(listener.accept().unwrap());
}

#[test]
fn unix_sockets_have_paths_abstract_names_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a \"quoted\"\n\\ \u{2603}");
    let listener = UnixListener::bind(&path).unwrap();
    let expected = json!({
        "family": "AF_UNIX",
        "type": "SOCK_STREAM",
        "protocol": 0,
        "bound": {"path": path.to_str().unwrap()},
        "peer": null,
        "listening": true,
    });
    assert_has(&inspect(&listener), expected);
    let client = UnixStream::connect(&path).unwrap();
    assert_has(&inspect(&client), json!({"bound": null, "peer": {"path": path.to_str().unwrap()}}));
    assert_has(&inspect(&listener.accept().unwrap().0), json!({"peer": {"unnamed": true}}));

    let name = format!("castio\0{}", std::process::id());
    let hidden = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name).unwrap()).unwrap();
    assert_has(&inspect(&hidden), json!({"bound": {"abstract": name}}));
    let told = info(&hidden);
    assert_eq!((told.family, told.bound_len as usize), (libc::AF_UNIX, 2 + 1 + name.len()));
    assert_eq!((told.protocol, told.multicast_ttl, told.memberships, told.in_this_network), (0, -1, -1, -1));
}

/// Of a family that nothing else here knows.
#[test]
fn a_netlink_socket_tells_what_every_socket_has() {
    // SAFETY: no pointers; a new descriptor.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG);
        OwnedFd::from_raw_fd(check(fd) as c_int)
    };
    let expected = json!({
        "kind": "socket",
        "family": "AF_NETLINK",
        "type": "SOCK_RAW",
        "protocol": libc::NETLINK_SOCK_DIAG,
        "bound": null,
        "error_pending": false,
        "urgent": null,
    });
    let told = inspect(&socket);
    assert_has(&told, expected);
    assert_eq!(told["options"]["SO_REUSEADDR"], false);
    assert!(told["options"].get("IP_TTL").is_none() && told.get("memberships").is_none(), "{told:#}");
    let told = info(&socket);
    assert_eq!((told.family, told.protocol), (libc::AF_NETLINK, libc::NETLINK_SOCK_DIAG));
    assert_eq!((i32::from(told.bound.ss_family), told.memberships), (libc::AF_NETLINK, -1));
}

#[test]
fn pipes_files_and_terminals_tell_what_there_is() {
    let Pair { writer, reader, .. } = pair(Pipe);
    put(&writer, b"seven b");
    // SAFETY: takes an int.
    let capacity = check(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 131_072) });
    let expected = json!({"kind": "pipe", "readable": 7, "capacity": capacity, "owner": null});
    assert_has(&inspect(&reader), expected);
    assert_eq!(inspect(&reader)["flags"]["access"], "O_RDONLY");
    assert_eq!(inspect(&writer)["flags"]["access"], "O_WRONLY");
    assert_eq!(inspect(&reader)["inode"], inspect(&writer)["inode"]);
    assert!(inspect(&reader)["name"].as_str().unwrap().starts_with("pipe:["));
    assert!(inspect(&reader).get("family").is_none());
    drop(reader);
    assert_eq!(inspect(&writer)["events"]["POLLERR"], true, "nobody reads");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    file.write_all(b"five!").unwrap();
    assert_has(&inspect(&file), json!({"kind": "file", "size": 5, "name": path.to_str().unwrap()}));
    assert_eq!(inspect(&file)["flags"]["O_APPEND"], true);
    assert_has(&inspect(&File::open(folder.path()).unwrap()), json!({"kind": "directory"}));
    let path_only = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path).unwrap();
    assert_has(&inspect(&path_only), json!({"kind": "file", "size": 5, "events": null, "readable": null}));
    assert_eq!(inspect(&path_only)["flags"]["access"], "O_PATH");
    assert_has(&inspect(&File::open("/dev/null").unwrap()), json!({"kind": "character device", "readable": null}));

    let Pair { writer, reader, .. } = pair(Terminal);
    put(&writer, b"out");
    assert_has(&inspect(&reader), json!({"kind": "terminal", "readable": 3}));
    assert_has(&inspect(&writer), json!({"kind": "terminal", "readable": 0}));

    // SAFETY: no pointers; a new descriptor.
    let event = unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(1, 0)) as c_int) };
    assert_has(&inspect(&event), json!({"kind": "other", "name": "anon_inode:[eventfd]"}));
    assert_eq!(inspect(&event)["flags"]["O_CLOEXEC"], false);
}

/// A struct of ones, so that a member that isn't written would show.
#[test]
fn what_is_no_socket_has_a_struct_of_unknowns() {
    let Pair { writer, reader, .. } = pair(Pipe);
    put(&writer, b"seven b");
    let told = info(&reader);
    assert_eq!((told.family, told.r#type, told.protocol), (libc::AF_UNSPEC, 0, -1));
    assert_eq!((i32::from(told.bound.ss_family), told.bound_len), (libc::AF_UNSPEC, 0));
    assert_eq!((i32::from(told.peer.ss_family), told.peer_len), (libc::AF_UNSPEC, 0));
    assert_eq!((told.readable, told.owner), (7, 0));
    let unknown = [
        told.listening,
        told.reuse_address,
        told.reuse_port,
        told.broadcast,
        told.receive_buffer,
        told.send_buffer,
        told.device,
        told.multicast_ttl,
        told.multicast_loop,
        told.multicast_all,
        told.multicast_interface,
        told.memberships,
        told.error_pending,
        told.at_mark,
        told.urgent_waiting,
        told.in_this_network,
    ];
    assert_eq!(unknown, [-1; 16]);
    assert_eq!((told.receive_queue, told.send_queue, told.drops), (-1, -1, -1));
}

#[test]
fn flags_owner_and_signal_are_those_of_fcntl() {
    let socket = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let expected = json!({
        "access": "O_RDWR", "O_NONBLOCK": false, "O_ASYNC": false, "O_APPEND": false, "O_CLOEXEC": true,
    });
    assert_has(&inspect(&socket), json!({"flags": expected, "owner": null, "signal": 0}));
    let fcntl = |command, argument: c_int| {
        // SAFETY: these take an int.
        check(unsafe { libc::fcntl(socket.as_raw_fd(), command, argument) });
    };
    fcntl(libc::F_SETFL, libc::O_NONBLOCK | libc::O_ASYNC);
    fcntl(libc::F_SETFD, 0);
    const F_SETSIG: c_int = 10;
    fcntl(F_SETSIG, libc::SIGURG);
    let own = std::process::id() as i32;
    fcntl(libc::F_SETOWN, own);
    let expected =
        json!({"access": "O_RDWR", "O_NONBLOCK": true, "O_ASYNC": true, "O_APPEND": false, "O_CLOEXEC": false});
    let owner = json!({"kind": "process", "id": own});
    assert_has(&inspect(&socket), json!({"flags": expected, "owner": owner, "signal": libc::SIGURG}));
    assert_eq!(info(&socket).owner, own);
    // SAFETY: takes no pointer.
    let group = unsafe { libc::getpgrp() };
    fcntl(libc::F_SETOWN, -group);
    assert_has(&inspect(&socket), json!({"owner": {"kind": "group", "id": group}}));
    assert_eq!(info(&socket).owner, -group);
    // SAFETY: takes no pointer.
    let thread = unsafe { libc::gettid() };
    // SAFETY: takes no pointer.
    assert_eq!(unsafe { castio::ffi::urgent::castio_set_oob_owner_thread(socket.as_raw_fd(), 0) }, 0);
    assert_has(&inspect(&socket), json!({"owner": {"kind": "thread", "id": thread}}));
    assert_eq!(info(&socket).owner, thread);
}

#[test]
fn an_error_that_waits_is_told_and_waits_on() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(socket) = UdpSocket::bind(at) else {
            support::tools::skip("no IPv6 on the loopback interface");
            continue;
        };
        // Its port is taken, and it hears nobody but another: what else is sent there is refused.
        let deaf = UdpSocket::bind(at).unwrap();
        let other = UdpSocket::bind(at).unwrap();
        deaf.connect(other.local_addr().unwrap()).unwrap();
        socket.connect(deaf.local_addr().unwrap()).unwrap();
        assert_has(&inspect(&socket), json!({"error_pending": false}));
        assert_eq!(info(&socket).error_pending, 0);
        socket.send(b"hello?").unwrap();
        until("the refusal has come", || info(&socket).error_pending == 1);
        for _ in 0..2 {
            assert_has(&inspect(&socket), json!({"error_pending": true}));
            assert_eq!(info(&socket).error_pending, 1);
        }
        assert_eq!(take_error(&socket), libc::ECONNREFUSED);
        assert_has(&inspect(&socket), json!({"error_pending": false}));
    }
    let Pair { writer, reader, .. } = pair(Tcp4);
    reset(writer);
    until("the reset has come", || info(&reader).error_pending == 1);
    assert_has(&inspect(&reader), json!({"error_pending": true, "peer": null}));
    assert_eq!(take_error(&reader), libc::ECONNRESET);
}

/// How much is queued, which the kernel counts, isn't compared: it may still change by itself.
#[test]
fn looking_takes_and_changes_nothing() {
    for Pair { kind, writer, reader } in pairs(&EVERY_KIND) {
        put(&writer, b"first");
        put(&writer, b"second");
        if matches!(kind, Tcp4 | Tcp6) {
            send_urgent(&writer, b"!");
            until("the urgent byte is there", || info(&reader).urgent_waiting == 1);
        }
        let before = (state(&writer), state(&reader));
        for fd in [&writer, &reader] {
            for _ in 0..2 {
                inspect(fd);
                info(fd);
            }
        }
        assert_eq!((state(&writer), state(&reader)), before, "{kind:?}");
        if MESSAGE_SOCKETS.contains(&kind) {
            assert_eq!((take(&reader, 100), take(&reader, 100)), (b"first".to_vec(), b"second".to_vec()), "{kind:?}");
        } else {
            assert_eq!(take_exact(&reader, 11), b"firstsecond", "{kind:?}");
        }
        if matches!(kind, Tcp4 | Tcp6) {
            assert_eq!(take_urgent(&reader), Ok(b'!'), "{kind:?}");
        }
    }
}

#[test]
fn queues_are_counted() {
    let Pair { writer, reader, .. } = pair(Tcp4);
    let filled = fill(&writer) as i64;
    // What has arrived is acknowledged in the kernel's own time.
    until("all is counted once", || info(&reader).readable + info(&writer).send_queue == filled);
    let (told, whole) = (info(&reader), inspect(&reader));
    assert!(told.readable > 0 && told.receive_queue >= told.readable, "{whole:#}");
    assert_has(&whole, json!({"readable": told.readable, "receive_queue": told.receive_queue}));
    assert_eq!(inspect(&writer)["send_queue"], info(&writer).send_queue);
    assert_eq!(inspect(&writer)["events"]["POLLOUT"], false);

    let Pair { writer, reader, .. } = pair(Udp4);
    assert_eq!((info(&reader).readable, info(&reader).receive_queue), (0, 0));
    put(&writer, &[0; 300]);
    let one = info(&reader);
    put(&writer, &[0; 200]);
    let two = info(&reader);
    assert_eq!((one.readable, two.readable), (300, 300), "the next message");
    assert!(one.receive_queue >= 300 && two.receive_queue >= one.receive_queue + 200);
}

#[test]
fn what_was_dropped_is_counted() {
    let Pair { writer, reader, .. } = pair(Udp4);
    set_option(&reader, libc::SOL_SOCKET, libc::SO_RCVBUF, 4096);
    (0..100).for_each(|_| put(&writer, &[0; 1000]));
    let (told, whole) = (info(&reader), inspect(&reader));
    let mut received = 0;
    while !is_empty(&reader) {
        take(&reader, 1000);
        received += 1;
    }
    assert!(received < 100);
    assert_eq!(told.drops, 100 - received);
    assert_eq!(told.receive_buffer, 8192, "the kernel doubles it");
    assert_has(&whole, json!({"drops": told.drops}));
    assert_eq!(whole["options"]["SO_RCVBUF"], 8192);
}

#[test]
fn text_without_room_is_cut_and_ends_in_a_nul() {
    let Pair { reader, .. } = pair(Pipe);
    let whole = inspect(&reader);
    let told = |len: usize| {
        let mut room = vec![b'#' as c_char; len + 8];
        // SAFETY: there is room, and some behind it.
        let result = unsafe { castio_inspect(reader.as_raw_fd(), room.as_mut_ptr(), len) };
        let bytes: Vec<u8> = room.into_iter().map(|byte| byte as u8).collect();
        assert_eq!(bytes[len..], [b'#'; 8], "written behind the room");
        (result as usize, bytes[..len].to_vec())
    };
    let (len, text) = told(4000);
    let text = &text[..len];
    assert_eq!(serde_json::from_slice::<Value>(text).unwrap(), whole);
    for room in [0, 1, 2, 10, len - 1, len, len + 1] {
        let (result, found) = told(room);
        assert_eq!(result, len);
        let kept = room.saturating_sub(1).min(len);
        assert_eq!(found[..kept], text[..kept]);
        assert!(room == 0 || found[kept] == 0, "no NUL with room for {room}");
    }
}

#[test]
fn each_mistake_has_its_errno() {
    let Pair { reader, .. } = pair(Udp4);
    let fd = reader.as_raw_fd();
    let mut room = [0; 100];
    // SAFETY: room of this size, NULL and descriptors that aren't open are what is tested.
    unsafe {
        for closed in [-1, c_int::MIN, 987_654] {
            assert_eq!((castio_inspect(closed, room.as_mut_ptr(), 100), errno()), (-EBADF, EBADF));
            let mut info = blank();
            assert_eq!((castio_inspect_socket(closed, &raw mut info), errno()), (-EBADF, EBADF));
            assert_eq!(info.drops, -1, "unchanged");
            assert_eq!(info.family, -1, "unchanged");
        }
        assert_eq!((castio_inspect(fd, ptr::null_mut(), 1), errno()), (-EFAULT, EFAULT));
        assert_eq!((castio_inspect_socket(fd, ptr::null_mut()), errno()), (-EFAULT, EFAULT));
        let mut info = blank();
        info.struct_size -= 1;
        assert_eq!((castio_inspect_socket(fd, &raw mut info), errno()), (-EINVAL, EINVAL));
        assert_eq!(info.family, -1, "unchanged");
    }
}
