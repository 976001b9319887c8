//! What hosts tell routers of the groups they listen to, the same for IGMP and MLD: queries,
//! reports, and their records as [`super::igmp`] and [`super::mld`] read and write them.
//!
//! Parsing checks layout and checksum. Who may send what to where (a link-local source, a TTL of
//! 1, the router alert) shows in the packet; how strict to be about it is the caller's policy.

mod draft;
mod float;
mod packing;
mod query;
mod report;
mod sources;

use std::net::IpAddr;
use std::time::Duration;

pub(super) use draft::Draft;
pub(super) use float::{MLD_RESPONSE, SHORT};
pub(super) use packing::Format;
pub(super) use query::Tail;
pub use report::{Records, Report};
pub use sources::Sources;

use super::ip::{Packet, protocol};
use super::malformed::Malformed;
use super::{igmp, mld};
use crate::error::{Errno, Result};

/// The protocols, oldest first in each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// IGMP version 1 (RFC 1112).
    Igmp1,
    /// IGMP version 2 (RFC 2236).
    Igmp2,
    /// IGMP version 3 (RFC 3376).
    Igmp3,
    /// MLD version 1 (RFC 2710).
    Mld1,
    /// MLD version 2 (RFC 3810).
    Mld2,
}

/// What a record says of a group (RFC 3376, section 4.2.12; RFC 3810 has the same).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Listens to these sources.
    ModeIsInclude,
    /// Listens to all sources but these.
    ModeIsExclude,
    /// Listens to these sources from now on.
    ChangeToInclude,
    /// Listens to all sources but these from now on.
    ChangeToExclude,
    /// Listens to these sources as well.
    AllowNewSources,
    /// No longer listens to these sources.
    BlockOldSources,
}

const KINDS: [Kind; 6] = [
    Kind::ModeIsInclude,
    Kind::ModeIsExclude,
    Kind::ChangeToInclude,
    Kind::ChangeToExclude,
    Kind::AllowNewSources,
    Kind::BlockOldSources,
];

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        KINDS.get(usize::from(code).checked_sub(1)?).copied()
    }

    fn code(self) -> u8 {
        self as u8 + 1
    }

    /// Whether a list cut short still says something true: with fewer sources left out, more are
    /// listened to.
    fn is_exclude(self) -> bool {
        matches!(self, Kind::ModeIsExclude | Kind::ChangeToExclude)
    }
}

/// What one host says of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub kind: Kind,
    /// The group.
    pub group: IpAddr,
    /// The sources, of the group's family.
    pub sources: Sources<'a>,
}

/// A router's question who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// How the router asks. Version 2 of MLD and 3 of IGMP have the fields from `sources` on.
    pub version: Version,
    /// To what; `None` for any group.
    pub group: Option<IpAddr>,
    /// Within which time to answer.
    pub max_response: Duration,
    /// To which of the group's sources; none for any.
    pub sources: Sources<'a>,
    /// Whether other routers are to keep their timers as they are (S flag).
    pub suppress: bool,
    /// How often unsolicited reports are repeated (QRV), 0 to 7; 0 says nothing.
    pub robustness: u8,
    /// How often the router asks (QQI); 0 says nothing.
    pub interval: Duration,
}

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
