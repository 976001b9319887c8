//! Rules of nftables, made by nfnetlink itself: a test needs no program for it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::hosts::Host;

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

pub const INET: u8 = 1;
pub const LOCAL_IN: u32 = 1;
pub const LOCAL_OUT: u32 = 3;
pub const DROP: u32 = 0;
pub const ACCEPT: u32 = 1;

/// An attribute: length, kind, value, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, inner: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &inner.concat())
}

fn text(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), b"\0"].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

/// An expression of a rule.
pub struct Expression(Vec<u8>);

fn expression(name: &str, data: &[Vec<u8>]) -> Expression {
    Expression(nested(1, &[text(1, name), nested(2, data)]))
}

/// Counts.
pub fn counter() -> Expression {
    expression("counter", &[])
}

/// Drops.
pub fn drop_all() -> Expression {
    let verdict = nested(2, &[nested(2, &[number(1, DROP)])]);
    expression("immediate", &[number(1, 0), verdict])
}

/// Goes on where the port of UDP is this one.
pub fn to_port(port: u16) -> [Expression; 2] {
    // Into register 1: 2 bytes at offset 2 of the transport header (2); compared for being equal (0).
    let load = expression("payload", &[number(1, 1), number(2, 2), number(3, 2), number(4, 2)]);
    let compare = expression("cmp", &[number(1, 1), number(2, 0), nested(3, &[attribute(1, &port.to_be_bytes())])]);
    [load, compare]
}

fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    let body = attributes.concat();
    let mut bytes = (20 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// One change, all or nothing.
fn commit(host: &Host, messages: &[Vec<u8>]) {
    let begin = message(BATCH_BEGIN, 0, 0, 10, &[]);
    let end = message(BATCH_END, 0, 0, 10, &[]);
    let batch = [begin, messages.concat(), end].concat();
    // SAFETY: no pointer; then memory of these lengths.
    host.run(|| unsafe {
        let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_NETFILTER);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(fd);
        let sent = libc::send(socket.as_raw_fd(), batch.as_ptr().cast(), batch.len(), 0);
        assert_eq!(sent, batch.len() as isize, "{}", io::Error::last_os_error());
        // An answer to each that asked for one: type NLMSG_ERROR, and the error behind the header.
        for _ in messages {
            let mut answer = [0_u8; 4096];
            let len = libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT);
            assert!(len >= 20, "{}", io::Error::last_os_error());
            let error = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
            assert_eq!(error, 0, "{}", io::Error::from_raw_os_error(-error));
        }
    });
}

/// Makes the table "t" of family inet, with the chain "c" at a hook.
pub fn chain(host: &Host, hook: u32, policy: u32) {
    let table = message(SUBSYSTEM | NEW_TABLE, CREATE | ACK, INET, 0, &[text(1, "t")]);
    let at = nested(4, &[number(1, hook), number(2, 0)]);
    let attributes = [text(1, "t"), text(3, "c"), at, number(5, policy), text(7, "filter")];
    commit(host, &[table, message(SUBSYSTEM | NEW_CHAIN, CREATE | ACK, INET, 0, &attributes)]);
}

/// Appends a rule to it.
pub fn rule(host: &Host, expressions: impl IntoIterator<Item = Expression>) {
    // In a list each is an attribute of kind 1, NFTA_LIST_ELEM, which `expression` has made it.
    let list: Vec<Vec<u8>> = expressions.into_iter().map(|expression| expression.0).collect();
    let attributes = [text(1, "t"), text(2, "c"), nested(4, &list)];
    commit(host, &[message(SUBSYSTEM | NEW_RULE, CREATE | APPEND | ACK, INET, 0, &attributes)]);
}

/// Takes the table away with all that it has.
pub fn clear(host: &Host) {
    commit(host, &[message(SUBSYSTEM | DELETE_TABLE, ACK, INET, 0, &[text(1, "t")])]);
}
