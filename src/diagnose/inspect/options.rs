//! Every option that a socket has: a table with a line for each. To add an option is to add a line.

use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::sys::option::{self, Family, IntOption, is_udp};

/// What is read of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// On or off.
    Flag(bool),
    /// A number.
    Number(i64),
}

/// An option by its name in the man pages; `None` where this socket or this kernel doesn't tell.
pub type Named = (&'static str, Option<Setting>);

/// Which sockets have an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Every,
    /// IPv4, and IPv6 for the IPv4 that it carries.
    Internet,
    V6,
    Udp,
}

/// How its value is read.
#[derive(Clone, Copy)]
enum As {
    Flag(IntOption),
    Number(IntOption),
    /// A number in network byte order.
    Network(IntOption),
    Other(fn(BorrowedFd<'_>) -> Result<i64>),
}

const TABLE: &[(&str, Of, As)] = &[
    ("SO_REUSEADDR", Of::Every, As::Flag(IntOption::REUSE_ADDRESS)),
    ("SO_REUSEPORT", Of::Every, As::Flag(IntOption::REUSE_PORT)),
    ("SO_BROADCAST", Of::Every, As::Flag(IntOption::BROADCAST)),
    ("SO_OOBINLINE", Of::Every, As::Flag(IntOption::OOB_INLINE)),
    ("SO_RCVBUF", Of::Every, As::Number(IntOption::RECEIVE_BUFFER)),
    ("SO_SNDBUF", Of::Every, As::Number(IntOption::SEND_BUFFER)),
    ("SO_RCVLOWAT", Of::Every, As::Number(IntOption::RECEIVE_LOW_WATER)),
    ("SO_RCVTIMEO", Of::Every, As::Other(receive_timeout)),
    ("SO_SNDTIMEO", Of::Every, As::Other(send_timeout)),
    ("SO_PEEK_OFF", Of::Every, As::Number(IntOption::PEEK_OFFSET)),
    ("SO_TIMESTAMP", Of::Every, As::Flag(IntOption::TIMESTAMP)),
    ("SO_TIMESTAMPNS", Of::Every, As::Flag(IntOption::TIMESTAMP_NS)),
    ("SO_RXQ_OVFL", Of::Every, As::Flag(IntOption::DROPS)),
    ("SO_ZEROCOPY", Of::Every, As::Flag(IntOption::ZEROCOPY)),
    ("SO_NO_CHECK", Of::Every, As::Flag(IntOption::NO_CHECKSUM)),
    ("SO_MAX_PACING_RATE", Of::Every, As::Other(pacing_rate)),
    ("IP_TTL", Of::Internet, As::Number(IntOption::IPV4_TTL)),
    ("IP_TOS", Of::Internet, As::Number(IntOption::IPV4_CLASS)),
    ("IP_MTU_DISCOVER", Of::Internet, As::Number(IntOption::IPV4_MTU_DISCOVER)),
    ("IP_UNICAST_IF", Of::Internet, As::Network(IntOption::IPV4_UNICAST_IF)),
    ("IP_MULTICAST_TTL", Of::Internet, As::Number(IntOption::IPV4_MULTICAST_TTL)),
    ("IP_MULTICAST_LOOP", Of::Internet, As::Flag(IntOption::IPV4_MULTICAST_LOOP)),
    ("IP_MULTICAST_ALL", Of::Internet, As::Flag(IntOption::IPV4_MULTICAST_ALL)),
    ("IP_PKTINFO", Of::Internet, As::Flag(IntOption::IPV4_PACKET_INFO)),
    ("IP_RECVTTL", Of::Internet, As::Flag(IntOption::IPV4_RECEIVE_TTL)),
    ("IP_RECVTOS", Of::Internet, As::Flag(IntOption::IPV4_RECEIVE_CLASS)),
    ("IP_RECVERR", Of::Internet, As::Flag(IntOption::IPV4_RECEIVE_ERRORS)),
    ("IPV6_V6ONLY", Of::V6, As::Flag(IntOption::IPV6_ONLY)),
    ("IPV6_UNICAST_HOPS", Of::V6, As::Number(IntOption::IPV6_UNICAST_HOPS)),
    ("IPV6_TCLASS", Of::V6, As::Number(IntOption::IPV6_CLASS)),
    ("IPV6_MTU_DISCOVER", Of::V6, As::Number(IntOption::IPV6_MTU_DISCOVER)),
    ("IPV6_UNICAST_IF", Of::V6, As::Network(IntOption::IPV6_UNICAST_IF)),
    ("IPV6_MULTICAST_IF", Of::V6, As::Number(IntOption::IPV6_MULTICAST_IF)),
    ("IPV6_MULTICAST_HOPS", Of::V6, As::Number(IntOption::IPV6_MULTICAST_HOPS)),
    ("IPV6_MULTICAST_LOOP", Of::V6, As::Flag(IntOption::IPV6_MULTICAST_LOOP)),
    ("IPV6_MULTICAST_ALL", Of::V6, As::Flag(IntOption::IPV6_MULTICAST_ALL)),
    ("IPV6_RECVPKTINFO", Of::V6, As::Flag(IntOption::IPV6_PACKET_INFO)),
    ("IPV6_RECVHOPLIMIT", Of::V6, As::Flag(IntOption::IPV6_RECEIVE_HOPS)),
    ("IPV6_RECVTCLASS", Of::V6, As::Flag(IntOption::IPV6_RECEIVE_CLASS)),
    ("IPV6_RECVERR", Of::V6, As::Flag(IntOption::IPV6_RECEIVE_ERRORS)),
    ("UDP_SEGMENT", Of::Udp, As::Number(IntOption::UDP_SEGMENT)),
    ("UDP_GRO", Of::Udp, As::Flag(IntOption::UDP_GRO)),
];

/// Reads all that a socket of this family has. The level goes by the family: an option asked of
/// another one would answer with something else.
pub fn read(fd: BorrowedFd<'_>, family: Option<Family>) -> Vec<Named> {
    let is_udp = is_udp(fd);
    let has = |of: Of| match of {
        Of::Every => true,
        Of::Internet => family.is_some(),
        Of::V6 => family == Some(Family::V6),
        Of::Udp => is_udp,
    };
    TABLE.iter().filter(|(_, of, _)| has(*of)).map(|(name, _, how)| (*name, setting(fd, *how).ok())).collect()
}

fn setting(fd: BorrowedFd<'_>, how: As) -> Result<Setting> {
    Ok(match how {
        As::Flag(option) => Setting::Flag(option.get(fd)? != 0),
        As::Number(option) => Setting::Number(option.get(fd)?.into()),
        As::Network(option) => Setting::Number(i32::from_be(option.get(fd)?).into()),
        As::Other(read) => Setting::Number(read(fd)?),
    })
}

/// In milliseconds.
fn receive_timeout(fd: BorrowedFd<'_>) -> Result<i64> {
    Ok(i64::try_from(option::receive_timeout(fd)?.as_millis()).unwrap_or(i64::MAX))
}

/// In milliseconds.
fn send_timeout(fd: BorrowedFd<'_>) -> Result<i64> {
    Ok(i64::try_from(option::send_timeout(fd)?.as_millis()).unwrap_or(i64::MAX))
}

/// In bytes per second; -1 without a limit.
fn pacing_rate(fd: BorrowedFd<'_>) -> Result<i64> {
    Ok(option::pacing_rate(fd)?.map_or(-1, |rate| i64::try_from(rate).unwrap_or(i64::MAX)))
}
