//! Raw sockets (raw(7), icmp(7)) that send ICMP's messages and receive none.

use std::os::fd::{AsFd, OwnedFd};

use libc::c_int;

use super::option::{self, Family, IntOption};
use super::packet::{self, filter};
use super::socket;
use crate::error::Result;

/// Not in the libc crate: <linux/icmp.h>.
const ICMP_FILTER: c_int = 1;
/// Not in the libc crate for every target: <linux/icmpv6.h>.
const ICMPV6_FILTER: c_int = 1;

/// The precedence of errors (RFC 1812, section 4.3.2.5).
const INTERNETWORK_CONTROL: i32 = 6 << 5;

/// Behind the IP header, which the kernel writes; ICMPv6's checksum too, not ICMP's. `EPERM` without
/// CAP_NET_RAW.
pub fn socket(family: Family) -> Result<OwnedFd> {
    let protocol = match family {
        Family::V4 => libc::IPPROTO_ICMP,
        Family::V6 => libc::IPPROTO_ICMPV6,
    };
    let owned = socket::raw_socket(family.domain(), protocol as u8)?;
    let fd = owned.as_fd();
    match family {
        Family::V4 => {
            option::set(fd, libc::SOL_RAW, ICMP_FILTER, &u32::MAX)?;
            // That knows types up to 31 only.
            packet::attach(fd, &[filter::LEAVE])?;
            IntOption::IPV4_CLASS.set(fd, INTERNETWORK_CONTROL)?;
        }
        Family::V6 => option::set(fd, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &[u32::MAX; 8])?,
    }
    Ok(owned)
}
