//! Where segmentation is refused, and where there is no room, the same datagrams go out in another way or
//! later: once.

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use libc::{EAGAIN, EINVAL, EIO, EMSGSIZE, ENOPROTOOPT, EOPNOTSUPP, ETIMEDOUT};
use support::datagrams::*;
use support::hosts::{self, Host};
use support::tools;

const PORT: u16 = 5000;

/// The addresses of the second host of a LAN, or of a wildcard.
const SECOND: [&str; 2] = ["10.1.0.2", "fd01::2"];
const ANY: [&str; 2] = ["0.0.0.0", "::"];

fn at(ip: &str, port: u16) -> SocketAddr {
    (ip.parse::<IpAddr>().unwrap(), port).into()
}

fn payloads_of(count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| numbered(number, len)).collect()
}

/// Sends them, and then the end. A socket stays on its host whoever uses it.
fn send(socket: &Socket, sender: &Sender, payloads: &[Vec<u8>], to: SocketAddr) {
    stay_on_one_processor();
    sender.sends(&List::of(payloads, Some(to)));
    socket.end(to);
}

fn ethtool(host: &Host, feature: &str, state: &str) -> bool {
    let Some(tool) = tools::find("ethtool", "ethtool") else { return false };
    let output = host.run(|| tool.command().args(["-K", "eth0", feature, state]).output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// Everything as it was sent, and whether it was in one train.
fn came_as_train(receiver: &Socket, sent: &[Vec<u8>]) -> bool {
    let arrived = receiver.arrivals();
    if let [train] = arrived.as_slice() {
        assert_eq!(train.bytes, sent.concat());
        assert_eq!(train.segment_size, Some(sent[0].len() as i32));
        return true;
    }
    assert!(arrived.iter().all(|arrival| arrival.segment_size.is_none()));
    assert_came(&arrived, sent);
    false
}

/// Whether the kernel refuses to segment for such a device (before Linux 6.11) or does it itself.
#[test]
fn a_device_without_offloads() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        for feature in ["tx-udp-segmentation", "tx"] {
            for (to, any) in SECOND.into_iter().zip(ANY) {
                let receiver = two.run(|| Socket::coalescing(at(any, PORT)));
                let socket = one.run(|| Socket::bound(at(any, 0)));
                let sent = payloads_of(20, 1000);
                let sender = Sender::open(&socket);
                send(&socket, &sender, &sent, at(to, PORT));
                assert!(came_as_train(&receiver, &sent), "a train before");
                if !ethtool(&one, feature, "off") {
                    return;
                }
                send(&socket, &sender, &sent, at(to, PORT));
                assert!(!came_as_train(&receiver, &sent), "no train without {feature}");
                ethtool(&one, feature, "on");
            }
        }
    });
}

#[test]
fn datagrams_over_the_mtu_are_fragmented() {
    hosts::test(|network| {
        let [one, two] = network.lan();
        for (to, any) in SECOND.into_iter().zip(ANY) {
            let receiver = two.run(|| Socket::coalescing(at(any, PORT)));
            let socket = one.run(|| Socket::bound(at(any, 0)));
            let sender = Sender::open(&socket);
            // The first time it finds out, the second time it knows.
            for len in [2000, 2000, 1473, 3000] {
                let sent = payloads_of(20, len);
                send(&socket, &sender, &sent, at(to, PORT));
                assert!(!came_as_train(&receiver, &sent), "{len}");
            }
            // What fits still goes by train.
            let sent = payloads_of(20, 1200);
            send(&socket, &sender, &sent, at(to, PORT));
            assert!(came_as_train(&receiver, &sent));
        }
    });
}

#[test]
fn a_socket_without_checksums() {
    let any = (Ipv4Addr::LOCALHOST, 0);
    let (receiver, socket) = (Socket::coalescing(any), Socket::bound(any));
    socket.set(libc::SOL_SOCKET, libc::SO_NO_CHECK, 1);
    let sender = Sender::open(&socket);
    stay_on_one_processor();
    for count in [100, 3] {
        let sent = payloads_of(count, 100);
        sender.sends(&List::of(&sent, Some(receiver.address())));
        socket.end(receiver.address());
        assert!(!came_as_train(&receiver, &sent));
    }
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// A system call with these first words of its second and third argument fails in this thread. It can't
/// be taken back.
fn refuse(call: libc::c_long, arguments: Option<[u32; 2]>, error: i32) {
    let argument = |number: usize| {
        let low = if cfg!(target_endian = "little") { 0 } else { 4 };
        (std::mem::offset_of!(libc::seccomp_data, args) + 8 * number + low) as u32
    };
    let mut filter = vec![step(LOAD, std::mem::offset_of!(libc::seccomp_data, nr) as u32, 0, 0)];
    let rest = if arguments.is_some() { 5 } else { 1 };
    filter.push(step(IS, call as u32, 0, rest));
    if let Some([second, third]) = arguments {
        filter.extend([step(LOAD, argument(1), 0, 0), step(IS, second, 0, 3)]);
        filter.extend([step(LOAD, argument(2), 0, 0), step(IS, third, 0, 1)]);
    }
    filter.push(step(RETURN, libc::SECCOMP_RET_ERRNO | error as u32, 0, 0));
    filter.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: a program of so many steps, which is copied.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// In a thread that can be spared.
fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// As before Linux 4.18.
#[test]
fn a_kernel_without_segmentation() {
    for at in loopbacks() {
        let (receiver, socket) = (Socket::coalescing(at), Socket::bound(at));
        let sent = payloads_of(20, 100);
        elsewhere(|| {
            refuse(libc::SYS_getsockopt, Some([libc::SOL_UDP as u32, UDP_SEGMENT as u32]), ENOPROTOOPT);
            send(&socket, &Sender::open(&socket), &sent, receiver.address());
        });
        assert!(!came_as_train(&receiver, &sent));
    }
}

/// A single message goes by sendmsg(2), and several by sendmmsg(2): a filter of the first refuses a train
/// and none of what it is sent as instead.
#[test]
fn a_refused_train_is_sent_in_another_way_and_the_handle_remembers() {
    for at in loopbacks() {
        for error in [EIO, EINVAL, EMSGSIZE, ENOPROTOOPT, EOPNOTSUPP] {
            let (receiver, socket) = (Socket::coalescing(at), Socket::bound(at));
            let sent = payloads_of(20, 100);
            let sender = elsewhere(|| {
                refuse(libc::SYS_sendmsg, None, error);
                let sender = Sender::open(&socket);
                send(&socket, &sender, &sent, receiver.address());
                sender
            });
            assert!(!came_as_train(&receiver, &sent), "{error}");
            send(&socket, &sender, &sent, receiver.address());
            assert!(!came_as_train(&receiver, &sent), "it has forgotten {error}");
            // A smaller segment may pass where a larger one didn't; other errors are about the socket.
            let small = payloads_of(20, 99);
            send(&socket, &sender, &small, receiver.address());
            assert_eq!(came_as_train(&receiver, &small), error == EMSGSIZE, "{error}");
            send(&socket, &Sender::open(&socket), &sent, receiver.address());
            assert!(came_as_train(&receiver, &sent), "a new handle");
        }
    }
}

/// As before Linux 6.9: a train of more than 64 is invalid.
#[test]
fn an_older_kernel_gets_shorter_trains() {
    for at in loopbacks() {
        let (receiver, socket) = (Socket::coalescing(at), Socket::bound(at));
        let sent = payloads_of(100, 50);
        let trains = || receiver.arrivals().into_iter().map(|train| (train.segment_size, train.bytes));
        let expected = [(Some(50), sent[..64].concat()), (Some(50), sent[64..].concat())];
        let sender = elsewhere(|| {
            refuse(libc::SYS_sendmsg, None, EINVAL);
            let sender = Sender::open(&socket);
            send(&socket, &sender, &sent, receiver.address());
            sender
        });
        assert!(trains().eq(expected.clone()));
        send(&socket, &sender, &sent, receiver.address());
        assert!(trains().eq(expected));
    }
}

/// Until the neighbour's address is known, what is sent to it stays in the socket.
#[test]
fn a_socket_without_room_takes_a_part_and_the_tail_later() {
    hosts::test(|network| {
        let [one, two] = [network.host("one"), network.host("two")];
        network.link((&one, "eth0", &["10.1.0.1/24", "fd01::1/64"]), (&two, "eth0", &["10.1.0.2/24", "fd01::2/64"]));
        for (to, any) in SECOND.into_iter().zip(ANY) {
            // Of one size, or of sizes that make no train.
            for sent in [payloads_of(200, 200), (0..60).map(|number| numbered(number, 100 + number)).collect()] {
                two.ip("link set eth0 arp off multicast off");
                one.ip("neigh flush dev eth0");
                let receiver = two.run(|| Socket::bound(at(any, PORT)));
                let socket = one.run(|| Socket::bound(at(any, 0)));
                socket.set(libc::SOL_SOCKET, libc::SO_SNDBUF, 1);
                let list = List::of(&sent, Some(at(to, PORT)));
                let sender = Sender::open(&socket);
                let part = sender.send(&list, 0);
                let (Ok(done), true) = (part.0, part.0 == Ok(part.1)) else { panic!("{part:?}") };
                assert!((1..sent.len()).contains(&done), "{done} of {}", sent.len());
                assert_eq!(sender.send(&list[done..], 0), (Err(EAGAIN), 0));
                assert_eq!(sender.send(&list[done..], 20), (Err(ETIMEDOUT), 0));
                one.ip(&format!("neigh replace {to} lladdr {} dev eth0 nud permanent", hardware_address(&two)));
                stay_on_one_processor();
                sender.sends(&list[done..]);
                socket.set(libc::SOL_SOCKET, libc::SO_SNDBUF, 100_000);
                socket.end(at(to, PORT));
                assert_came(&receiver.arrivals(), &sent);
                one.ip(&format!("neigh del {to} dev eth0"));
            }
        }
    });
}

/// Of eth0.
fn hardware_address(host: &Host) -> String {
    let mut command = tools::find("ip", "iproute2").unwrap().command();
    let output = host.run(|| command.args(["-o", "link", "show", "eth0"]).output().unwrap());
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned()
}
