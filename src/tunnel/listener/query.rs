//! The end of a query of IGMPv3 and MLDv2, the same in both (RFC 3376, section 4.1; RFC 3810,
//! section 5.1).

use std::time::Duration;

use super::{Draft, Query, SHORT, Sources};
use crate::error::{Errno, Result};
use crate::tunnel::bytes::{array_at, from};
use crate::tunnel::malformed::Malformed;

const SUPPRESS: u8 = 8;
const ROBUSTNESS: u8 = 7;

/// What follows the group.
pub(in crate::tunnel) struct Tail<'a> {
    pub sources: Sources<'a>,
    pub suppress: bool,
    pub robustness: u8,
    pub interval: Duration,
}

impl<'a> Tail<'a> {
    /// Of a version that has none.
    pub(in crate::tunnel) const NONE: Tail<'static> =
        Tail { sources: Sources::NONE, suppress: false, robustness: 0, interval: Duration::ZERO };

    /// From the bytes behind the group; what lies behind the sources is ignored.
    pub(in crate::tunnel) fn parse(bytes: &'a [u8], address_len: usize) -> std::result::Result<Self, Malformed> {
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
    pub(in crate::tunnel) fn push(query: &Query<'_>, draft: &mut Draft) -> Result<()> {
        let count = u16::try_from(query.sources.len()).map_err(|_| Errno::EMSGSIZE)?;
        // A number that the field can't hold goes as 0 (section 4.1.6).
        let robustness = if query.robustness > ROBUSTNESS { 0 } else { query.robustness };
        let flags = if query.suppress { SUPPRESS } else { 0 } | robustness;
        draft.push(&[flags, SHORT.encode(query.interval.as_secs()) as u8]);
        draft.push(&count.to_be_bytes());
        draft.push_sources(query.sources, 0, usize::from(count))
    }
}
