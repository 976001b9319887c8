//! What a router asks, and the end of a query of IGMPv3 and MLDv2, the same in both (RFC 3376,
//! section 4.1; RFC 3810, section 5.1).

use std::net::IpAddr;
use std::time::Duration;

use super::draft::Draft;
use super::float::SHORT;
use super::record::Version;
use super::sources::Sources;
use crate::error::{Errno, Result};
use crate::tunnel::bytes::{array_at, from};
use crate::tunnel::malformed::Malformed;

const SUPPRESS: u8 = 8;
const ROBUSTNESS: u8 = 7;

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

/// What follows the group.
pub(super) struct Tail<'a> {
    pub sources: Sources<'a>,
    pub suppress: bool,
    pub robustness: u8,
    pub interval: Duration,
}

impl<'a> Tail<'a> {
    /// Of a version that has none.
    pub(super) const NONE: Tail<'static> =
        Tail { sources: Sources::NONE, suppress: false, robustness: 0, interval: Duration::ZERO };

    /// From the bytes behind the group; what lies behind the sources is ignored.
    pub(super) fn parse(bytes: &'a [u8], address_len: usize) -> std::result::Result<Self, Malformed> {
        let [flags, interval, count @ ..] = array_at::<4>(bytes, 0)?;
        let sources = from(bytes, 4)?.get(..usize::from(u16::from_be_bytes(count)) * address_len);
        Ok(Tail {
            sources: Sources::in_packet(sources.ok_or(Malformed::Truncated)?, address_len),
            suppress: flags & SUPPRESS != 0,
            robustness: flags & ROBUSTNESS,
            interval: Duration::from_secs(SHORT.decode(interval.into())),
        })
    }

    /// Adds that of a query to a packet.
    pub(super) fn push(query: &Query<'_>, draft: &mut Draft) -> Result<()> {
        let count = u16::try_from(query.sources.len()).map_err(|_| Errno::EMSGSIZE)?;
        // A number that the field can't hold goes as 0 (section 4.1.6).
        let robustness = if query.robustness > ROBUSTNESS { 0 } else { query.robustness };
        let flags = if query.suppress { SUPPRESS } else { 0 } | robustness;
        draft.push(&[flags, SHORT.encode(query.interval.as_secs()) as u8]);
        draft.push(&count.to_be_bytes());
        draft.push_sources(query.sources, 0, usize::from(count))
    }
}
