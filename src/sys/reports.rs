//! Raw sockets (raw(7)) for what hosts tell routers of groups: whole packets to send, and of all that
//! comes in, the queries of older versions.

use std::os::fd::{AsFd, OwnedFd};

use libc::sock_filter;

use super::option::{Family, IntOption};
use super::packet::{self, filter};
use super::socket;
use crate::error::Result;

/// How long a query is: of version 1 or 2 of IGMP, behind the IP header, and of version 1 of MLD.
const IGMP_LEN: u32 = 8;
const MLD_LEN: u32 = 24;

/// What both call a query.
const IGMP_QUERY: u32 = 0x11;
const MLD_QUERY: u32 = 130;

const OLD_IGMP: &[sock_filter] = {
    use filter::*;
    let [keep, load] = BYTE_BEHIND_V4;
    &[keep, load, if_equal(IGMP_QUERY, 0, 3), LEN, MINUS_KEPT, if_equal(IGMP_LEN, 1, 0), LEAVE, TAKE]
};

const OLD_MLD: &[sock_filter] = {
    use filter::*;
    &[LEN, if_equal(MLD_LEN, 0, 2), own_byte(0), if_equal(MLD_QUERY, 1, 0), LEAVE, TAKE]
};

/// A socket that sends packets with their IP header, and tells of each old query when it came and by which
/// interface. What came in before its filter was there is anything. `EPERM` without CAP_NET_RAW.
pub fn socket(family: Family) -> Result<OwnedFd> {
    let (protocol, old, header, interface) = match family {
        Family::V4 => (libc::IPPROTO_IGMP, OLD_IGMP, IntOption::IPV4_HEADER_INCLUDED, IntOption::IPV4_PACKET_INFO),
        Family::V6 => (libc::IPPROTO_ICMPV6, OLD_MLD, IntOption::IPV6_HEADER_INCLUDED, IntOption::IPV6_PACKET_INFO),
    };
    let owned = socket::raw_socket(family.domain(), protocol as u8)?;
    let fd = owned.as_fd();
    packet::attach(fd, old)?;
    [header, interface, IntOption::TIMESTAMP_NS].iter().try_for_each(|option| option.set(fd, 1))?;
    Ok(owned)
}
