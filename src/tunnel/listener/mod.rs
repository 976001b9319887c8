//! What hosts tell routers of the groups they listen to, the same for IGMP and MLD: queries,
//! reports, and their records as [`igmp`] and [`mld`] read and write them.
//!
//! Parsing checks layout and checksum. Who may send what to where (a link-local source, a TTL of
//! 1, the router alert) shows in the packet; how strict to be about it is the caller's policy.

mod draft;
mod float;
pub mod igmp;
pub mod mld;
mod packing;
mod query;
mod record;
mod report;
mod sources;

use std::net::IpAddr;

pub use query::Query;
pub use record::{Kind, Record, Version};
pub use report::{Records, Report};
pub use sources::Sources;

use super::ip::{Packet, protocol};
use super::malformed::Malformed;
use crate::error::{Errno, Result};

/// The query in a packet, of any version.
pub fn parse_query<'a>(packet: &Packet<'a>) -> std::result::Result<Query<'a>, Malformed> {
    match packet.source {
        IpAddr::V4(_) => igmp::parse_query(packet.whole_payload(protocol::IGMP)?),
        IpAddr::V6(_) => mld::parse_query(mld::message(packet)?),
    }
}

/// The report in a packet, of any version; a leave is one too.
pub fn parse_report<'a>(packet: &Packet<'a>) -> std::result::Result<Report<'a>, Malformed> {
    match packet.source {
        IpAddr::V4(_) => igmp::parse_report(packet.whole_payload(protocol::IGMP)?),
        IpAddr::V6(_) => mld::parse_report(mld::message(packet)?),
    }
}

/// A whole packet with a query, TTL 1 and router alert, to all hosts or to the group asked for.
/// Times are rounded down to what the fields can say; a robustness beyond 7 goes as 0.
///
/// `EAFNOSUPPORT` if version, router's address, group and sources aren't of one family; `EINVAL`
/// if the group isn't one, or an IPv6 router's address isn't link-local; `EMSGSIZE` for more
/// sources than a packet holds.
pub fn build_query(router: IpAddr, query: &Query<'_>) -> Result<Vec<u8>> {
    check_group(router, query.group)?;
    match query.version {
        Version::Igmp1 | Version::Igmp2 | Version::Igmp3 => igmp::build_query(router, query),
        Version::Mld1 | Version::Mld2 => mld::build_query(router, query),
    }
}

/// Whole packets with a report of these records (IGMPv3 or MLDv2, by the host's address), added to
/// `packets`: as many as it takes with none larger than the MTU (RFC 3376, section 4.2.16). A list
/// of sources that is too long for a packet goes on in the next one; one of sources to leave out
/// is cut short.
///
/// `EAFNOSUPPORT` if the host's address, groups and sources aren't of one family; `EINVAL` if a
/// group isn't one, or an IPv6 host's address is neither link-local nor `::`; `EMSGSIZE` if the
/// MTU has no room for a record with a source. Nothing is added on an error.
pub fn build_report(host: IpAddr, records: &[Record<'_>], mtu: usize, packets: &mut Vec<Vec<u8>>) -> Result<()> {
    for record in records {
        check_group(host, Some(record.group))?;
    }
    let before = packets.len();
    let result = match host {
        IpAddr::V4(_) => packing::build(&igmp::REPORT, host, records, mtu, packets),
        IpAddr::V6(_) => packing::build(&mld::REPORT, host, records, mtu, packets),
    };
    if result.is_err() {
        packets.truncate(before);
    }
    result
}

/// A whole packet that joins a group in the old way: a report of IGMPv1, IGMPv2 or MLDv1.
///
/// `EINVAL` for another version, and errors as above.
pub fn build_join(version: Version, host: IpAddr, group: IpAddr) -> Result<Vec<u8>> {
    check_group(host, Some(group))?;
    match version {
        Version::Igmp1 => igmp::build_older(igmp::REPORT_1, host, group),
        Version::Igmp2 => igmp::build_older(igmp::REPORT_2, host, group),
        Version::Mld1 => mld::build_older(mld::REPORT_1, host, group),
        Version::Igmp3 | Version::Mld2 => Err(Errno::EINVAL),
    }
}

/// A whole packet that leaves a group in the old way: a leave of IGMPv2 or a done of MLDv1.
///
/// `EINVAL` for another version, and errors as above.
pub fn build_leave(version: Version, host: IpAddr, group: IpAddr) -> Result<Vec<u8>> {
    check_group(host, Some(group))?;
    match version {
        Version::Igmp2 => igmp::build_older(igmp::LEAVE, host, group),
        Version::Mld1 => mld::build_older(mld::DONE, host, group),
        Version::Igmp1 | Version::Igmp3 | Version::Mld2 => Err(Errno::EINVAL),
    }
}

fn check_group(host: IpAddr, group: Option<IpAddr>) -> Result<()> {
    match group {
        Some(group) if group.is_ipv4() != host.is_ipv4() => Err(Errno::EAFNOSUPPORT),
        Some(group) if !group.is_multicast() => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}
