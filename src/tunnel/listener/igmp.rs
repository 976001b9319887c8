//! IGMP: version 1 (RFC 1112, appendix I), version 2 (RFC 2236) and version 3 (RFC 3376).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::draft::Draft;
use super::float::SHORT;
use super::packing::Format;
use super::query::{Query, Tail};
use super::record::Version;
use super::report::Report;
use crate::error::{Errno, Result};
use crate::tunnel::bytes::{array_at, from, u8_at};
use crate::tunnel::ip::checksum::Checksum;
use crate::tunnel::malformed::Malformed;

/// A query of any version.
pub const QUERY: u8 = 0x11;
/// A report of version 1.
pub const REPORT_1: u8 = 0x12;
/// A report of version 2.
pub const REPORT_2: u8 = 0x16;
/// A leave of version 2.
pub const LEAVE: u8 = 0x17;
/// A report of version 3.
pub const REPORT_3: u8 = 0x22;

/// Where queries to any group go.
pub const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// Where leaves of version 2 go.
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Where reports of version 3 go.
pub const ALL_REPORTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);

/// A message of versions 1 and 2, and a query of version 3 up to the group.
const SHORT_MESSAGE: usize = 8;
/// The least query of version 3.
const QUERY_3: usize = 12;
/// Version 1 doesn't say when to answer: RFC 2236 (section 4) takes it as 10 seconds.
const RESPONSE_1: Duration = Duration::from_secs(10);

pub(super) const REPORT: Format =
    Format { kind: REPORT_3, address_len: 4, destination: IpAddr::V4(ALL_REPORTS), may_send: |_| true };

/// A query from its first byte on.
pub fn parse_query(message: &[u8]) -> std::result::Result<Query<'_>, Malformed> {
    let (kind, code, group) = check(message)?;
    if kind != QUERY {
        return Err(Malformed::OtherType);
    }
    // Section 7.1 of RFC 3376 tells the versions apart by length, then by code.
    let (version, max_response, tail) = match (message.len(), code) {
        (SHORT_MESSAGE, 0) => (Version::Igmp1, RESPONSE_1, Tail::NONE),
        (SHORT_MESSAGE, _) => (Version::Igmp2, tenths(code.into()), Tail::NONE),
        (QUERY_3.., _) => {
            (Version::Igmp3, tenths(SHORT.decode(code.into())), Tail::parse(from(message, SHORT_MESSAGE)?, 4)?)
        }
        _ => return Err(Malformed::Truncated),
    };
    let group = (!group.is_unspecified()).then_some(IpAddr::V4(group));
    if group.is_some_and(|group| !group.is_multicast()) {
        return Err(Malformed::NotMulticast);
    }
    let Tail { sources, suppress, robustness, interval } = tail;
    Ok(Query { version, group, max_response, sources, suppress, robustness, interval })
}

/// A report of any version, or a leave, from its first byte on.
pub fn parse_report(message: &[u8]) -> std::result::Result<Report<'_>, Malformed> {
    let (kind, _, group) = check(message)?;
    let version = match kind {
        REPORT_3 => return Report::parse(Version::Igmp3, message, 4),
        REPORT_1 => Version::Igmp1,
        REPORT_2 | LEAVE => Version::Igmp2,
        _ => return Err(Malformed::OtherType),
    };
    if !group.is_multicast() {
        return Err(Malformed::NotMulticast);
    }
    Ok(Report::older(version, kind == LEAVE, group.into()))
}

/// Type, code and group of a message with a good checksum.
fn check(message: &[u8]) -> std::result::Result<(u8, u8, Ipv4Addr), Malformed> {
    let group: [u8; 4] = array_at(message, 4)?;
    if !Checksum::new().with(message).is_good() {
        return Err(Malformed::BadChecksum);
    }
    Ok((u8_at(message, 0)?, u8_at(message, 1)?, group.into()))
}

fn tenths(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(100))
}

pub(super) fn build_query(router: IpAddr, query: &Query<'_>) -> Result<Vec<u8>> {
    if !router.is_ipv4() {
        return Err(Errno::EAFNOSUPPORT);
    }
    let tenths = u64::try_from(query.max_response.as_millis() / 100).unwrap_or(u64::MAX);
    let code = match query.version {
        Version::Igmp1 => 0,
        // 0 would make it one of version 1.
        Version::Igmp2 => tenths.clamp(1, 0xff) as u8,
        _ => SHORT.encode(tenths) as u8,
    };
    let mut draft = Draft::new(router, QUERY, 4);
    draft.set(1, [code])?;
    draft.push_address(query.group.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))?;
    if query.version == Version::Igmp3 {
        Tail::push(query, &mut draft)?;
    }
    draft.finish(query.group.unwrap_or(IpAddr::V4(ALL_HOSTS)))
}

/// A report of version 1 or 2, or a leave.
pub(super) fn build_older(kind: u8, host: IpAddr, group: IpAddr) -> Result<Vec<u8>> {
    let mut draft = Draft::new(host, kind, 4);
    draft.push_address(group)?;
    draft.finish(if kind == LEAVE { IpAddr::V4(ALL_ROUTERS) } else { group })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::Packet;
    use crate::tunnel::listener::{Kind, Record, Sources, build_join, build_leave, build_query, build_report};

    const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(232, 1, 2, 3));
    const GENERAL: Query<'_> = Query {
        version: Version::Igmp3,
        group: None,
        max_response: Duration::from_secs(10),
        sources: Sources::NONE,
        suppress: false,
        robustness: 2,
        interval: Duration::from_secs(125),
    };

    /// The message of a packet that goes to this address, with TTL 1 and the router alert.
    fn message(packet: &[u8], destination: [u8; 4]) -> &[u8] {
        let packet = Packet::parse(packet).unwrap();
        assert_eq!((packet.ttl, packet.router_alert, packet.traffic_class), (1, true, 0xc0));
        assert!(packet.dont_fragment);
        assert_eq!(packet.destination, IpAddr::from(destination));
        packet.payload
    }

    #[test]
    fn a_general_query_is_laid_out_as_in_rfc_3376() {
        let bytes = build_query(ROUTER, &GENERAL).unwrap();
        let message = message(&bytes, [224, 0, 0, 1]);
        // 1164 0000 0000 0000 027d 0000 add up to 13e1.
        assert_eq!(*message, [0x11, 100, 0xec, 0x1e, 0, 0, 0, 0, 2, 125, 0, 0]);
        assert_eq!(parse_query(message), Ok(GENERAL));
    }

    #[test]
    fn a_query_for_sources_goes_to_the_group_with_its_flags() {
        let sources = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
        let query = Query {
            group: Some(GROUP),
            // 260 s and 130 s: floats with a mantissa, rounded down.
            max_response: Duration::from_secs(260),
            sources: sources.as_slice().into(),
            suppress: true,
            robustness: 9,
            interval: Duration::from_secs(130),
            ..GENERAL
        };
        let bytes = build_query(ROUTER, &query).unwrap();
        let message = message(&bytes, [232, 1, 2, 3]);
        assert_eq!(message[..2], [0x11, 0xc4]);
        assert_eq!(message[4..], [232, 1, 2, 3, 8, 0x80, 0, 2, 192, 0, 2, 1, 192, 0, 2, 2]);
        let parsed = parse_query(message).unwrap();
        assert_eq!((parsed.max_response, parsed.interval), (Duration::from_millis(256_000), Duration::from_secs(128)));
        assert_eq!((parsed.suppress, parsed.robustness, parsed.sources), (true, 0, query.sources));
    }

    #[test]
    fn older_queries_are_told_by_length_and_code() {
        for (version, seconds, expected) in [(Version::Igmp1, 10, 0), (Version::Igmp2, 20, 200), (Version::Igmp2, 0, 1)]
        {
            let max_response = Duration::from_secs(seconds);
            let bytes = build_query(ROUTER, &Query { version, max_response, ..GENERAL }).unwrap();
            let message = message(&bytes, [224, 0, 0, 1]);
            assert_eq!((message.len(), message[1]), (8, expected));
            let parsed = parse_query(message).unwrap();
            assert_eq!((parsed.version, parsed.robustness, parsed.interval), (version, 0, Duration::ZERO));
            assert_eq!(parsed.max_response, max_response.max(Duration::from_millis(100)));
        }
    }

    #[test]
    fn a_report_is_laid_out_as_in_rfc_3376() {
        let sources = [IpAddr::from([192, 0, 2, 1])];
        let records = [
            Record { kind: Kind::AllowNewSources, group: GROUP, sources: sources.as_slice().into() },
            Record { kind: Kind::ModeIsExclude, group: GROUP, sources: Sources::NONE },
        ];
        let mut packets = Vec::new();
        build_report(ROUTER, &records, 1500, &mut packets).unwrap();
        let message = message(&packets[0], [224, 0, 0, 22]);
        assert_eq!(message[..2], [0x22, 0]);
        assert_eq!(message[4..8], [0, 0, 0, 2]);
        assert_eq!(message[8..20], [5, 0, 0, 1, 232, 1, 2, 3, 192, 0, 2, 1]);
        assert_eq!(message[20..], [2, 0, 0, 0, 232, 1, 2, 3]);
        let report = parse_report(message).unwrap();
        assert_eq!((report.version, packets.len()), (Version::Igmp3, 1));
        assert_eq!(report.records().collect::<Vec<_>>(), records);
    }

    #[test]
    fn older_reports_say_what_a_record_would() {
        let none = Sources::NONE;
        for (version, kind, mode, bytes, to) in [
            (Version::Igmp1, 0x12, Kind::ModeIsExclude, build_join(Version::Igmp1, ROUTER, GROUP), [232, 1, 2, 3]),
            (Version::Igmp2, 0x16, Kind::ModeIsExclude, build_join(Version::Igmp2, ROUTER, GROUP), [232, 1, 2, 3]),
            (Version::Igmp2, 0x17, Kind::ChangeToInclude, build_leave(Version::Igmp2, ROUTER, GROUP), [224, 0, 0, 2]),
        ] {
            let bytes = bytes.unwrap();
            let message = message(&bytes, to);
            assert_eq!((message[0], message[1], &message[4..]), (kind, 0, &[232, 1, 2, 3][..]));
            let report = parse_report(message).unwrap();
            assert_eq!(report.version, version);
            assert_eq!(report.records().collect::<Vec<_>>(), [Record { kind: mode, group: GROUP, sources: none }]);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let bytes = build_query(ROUTER, &GENERAL).unwrap();
        let good = message(&bytes, [224, 0, 0, 1]);
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut message = good.to_vec();
            change(&mut message);
            message[2..4].copy_from_slice(&[0, 0]);
            let checksum = Checksum::new().with(&message).value();
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            parse_query(&message).unwrap_err()
        };
        assert_eq!(refused(&|message| message.truncate(7)), Malformed::Truncated);
        assert_eq!(refused(&|message| message.truncate(11)), Malformed::Truncated);
        assert_eq!(refused(&|message| message[11] = 1), Malformed::Truncated);
        assert_eq!(refused(&|message| message[4] = 10), Malformed::NotMulticast);
        assert_eq!(refused(&|message| message[0] = 0x13), Malformed::OtherType);
        let mut changed = good.to_vec();
        changed[9] ^= 1;
        assert_eq!(parse_query(&changed), Err(Malformed::BadChecksum));
        assert_eq!(parse_report(good).err(), Some(Malformed::OtherType));
    }
}
