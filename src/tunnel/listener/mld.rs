//! MLD: version 1 (RFC 2710) and version 2 (RFC 3810), as messages of ICMPv6.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::draft::Draft;
use super::float::MLD_RESPONSE;
use super::packing::Format;
use super::query::{Query, Tail};
use super::record::Version;
use super::report::Report;
use crate::error::{Errno, Result};
use crate::tunnel::bytes::{array_at, from, u8_at, u16_at};
use crate::tunnel::ip::checksum::Checksum;
use crate::tunnel::ip::{Packet, protocol};
use crate::tunnel::malformed::Malformed;

/// A query of either version.
pub const QUERY: u8 = 130;
/// A report of version 1.
pub const REPORT_1: u8 = 131;
/// A done of version 1: a host leaves a group.
pub const DONE: u8 = 132;
/// A report of version 2.
pub const REPORT_2: u8 = 143;

/// Where queries to any group go.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Where dones of version 1 go.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Where reports of version 2 go.
pub const ALL_REPORTS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// What comes before the group.
const FIXED: usize = 8;
/// A message of version 1, and a query of version 2 up to the group.
const SHORT_MESSAGE: usize = 24;
/// The least query of version 2.
const QUERY_2: usize = 28;

pub(super) const REPORT: Format =
    Format { kind: REPORT_2, address_len: 16, destination: IpAddr::V6(ALL_REPORTS), may_send: is_host };

/// The message in a packet, with a good checksum.
pub fn message<'a>(packet: &Packet<'a>) -> std::result::Result<&'a [u8], Malformed> {
    let message = packet.whole_payload(protocol::ICMPV6)?;
    let pseudo = Checksum::pseudo(packet.source, packet.destination, protocol::ICMPV6, message.len());
    if pseudo.with(message).is_good() { Ok(message) } else { Err(Malformed::BadChecksum) }
}

/// A query from its first byte on; its checksum takes the packet to check, see [`message`].
pub fn parse_query(message: &[u8]) -> std::result::Result<Query<'_>, Malformed> {
    if u8_at(message, 0)? != QUERY {
        return Err(Malformed::OtherType);
    }
    let code = u16_at(message, 4)?;
    let group = Ipv6Addr::from(array_at::<16>(message, FIXED)?);
    // Section 8.1 of RFC 3810 tells the versions apart by length.
    let (version, max_response, tail) = match message.len() {
        SHORT_MESSAGE => (Version::Mld1, code.into(), Tail::NONE),
        QUERY_2.. => (Version::Mld2, MLD_RESPONSE.decode(code), Tail::parse(from(message, SHORT_MESSAGE)?, 16)?),
        _ => return Err(Malformed::Truncated),
    };
    let group = (!group.is_unspecified()).then_some(IpAddr::V6(group));
    if group.is_some_and(|group| !group.is_multicast()) {
        return Err(Malformed::NotMulticast);
    }
    let max_response = Duration::from_millis(max_response);
    let Tail { sources, suppress, robustness, interval } = tail;
    Ok(Query { version, group, max_response, sources, suppress, robustness, interval })
}

/// A report of either version, or a done, from its first byte on; checksum as above.
pub fn parse_report(message: &[u8]) -> std::result::Result<Report<'_>, Malformed> {
    let kind = u8_at(message, 0)?;
    match kind {
        REPORT_2 => return Report::parse(Version::Mld2, message, 16),
        REPORT_1 | DONE => {}
        _ => return Err(Malformed::OtherType),
    }
    let group = Ipv6Addr::from(array_at::<16>(message, FIXED)?);
    if !group.is_multicast() {
        return Err(Malformed::NotMulticast);
    }
    Ok(Report::older(Version::Mld1, kind == DONE, group.into()))
}

/// Section 5.1.14: what isn't from a link-local address is dropped.
fn is_router(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Section 5.2.13: a host that has no address yet may report from `::`.
fn is_host(address: IpAddr) -> bool {
    is_router(address) || address.is_unspecified()
}

pub(super) fn build_query(router: IpAddr, query: &Query<'_>) -> Result<Vec<u8>> {
    if !router.is_ipv6() {
        return Err(Errno::EAFNOSUPPORT);
    }
    if !is_router(router) {
        return Err(Errno::EINVAL);
    }
    let milliseconds = u64::try_from(query.max_response.as_millis()).unwrap_or(u64::MAX);
    let code = match query.version {
        Version::Mld1 => milliseconds.min(0xffff) as u16,
        _ => MLD_RESPONSE.encode(milliseconds),
    };
    let mut draft = Draft::new(router, QUERY, FIXED);
    draft.set(4, code.to_be_bytes())?;
    draft.push_address(query.group.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)))?;
    if query.version == Version::Mld2 {
        Tail::push(query, &mut draft)?;
    }
    draft.finish(query.group.unwrap_or(IpAddr::V6(ALL_NODES)))
}

/// A report or a done of version 1.
pub(super) fn build_older(kind: u8, host: IpAddr, group: IpAddr) -> Result<Vec<u8>> {
    if !is_host(host) {
        return Err(Errno::EINVAL);
    }
    let mut draft = Draft::new(host, kind, FIXED);
    draft.push_address(group)?;
    draft.finish(if kind == DONE { IpAddr::V6(ALL_ROUTERS) } else { group })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::listener::{Kind, Record, Sources, build_join, build_leave, build_query, build_report};

    const HOST: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    const GROUP: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff3e, 0, 0, 0, 0, 0, 0, 0x1234));
    const SOURCE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));
    const GENERAL: Query<'_> = Query {
        version: Version::Mld2,
        group: None,
        max_response: Duration::from_secs(10),
        sources: Sources::NONE,
        suppress: false,
        robustness: 2,
        interval: Duration::from_secs(125),
    };

    fn octets(address: IpAddr) -> [u8; 16] {
        let IpAddr::V6(v6) = address else { panic!("{address}") };
        v6.octets()
    }

    /// The message of a packet that goes to this address, with hop limit 1 and the router alert.
    fn checked(packet: &[u8], destination: IpAddr) -> &[u8] {
        let packet = Packet::parse(packet).unwrap();
        assert_eq!((packet.ttl, packet.router_alert, packet.header_len()), (1, true, 48));
        assert_eq!(packet.destination, destination);
        message(&packet).unwrap()
    }

    #[test]
    fn a_general_query_is_laid_out_as_in_rfc_3810() {
        let bytes = build_query(HOST, &GENERAL).unwrap();
        let message = checked(&bytes, ALL_NODES.into());
        // Pseudo header fe80 0001 ff02 0001 001c 003a and 8200 2710 027d add up to 2a967.
        let mut expected = vec![130, 0, 0x56, 0x96, 0x27, 0x10, 0, 0];
        expected.extend([0; 16]);
        expected.extend([2, 125, 0, 0]);
        assert_eq!(message, expected);
        assert_eq!(parse_query(message), Ok(GENERAL));
    }

    #[test]
    fn a_query_for_sources_goes_to_the_group_with_its_flags() {
        let sources = [SOURCE, GROUP];
        let query = Query {
            group: Some(GROUP),
            // A float with a mantissa, rounded down.
            max_response: Duration::from_millis(40_007),
            sources: sources.as_slice().into(),
            suppress: true,
            ..GENERAL
        };
        let bytes = build_query(HOST, &query).unwrap();
        let message = checked(&bytes, GROUP);
        assert_eq!(message[4..6], [0x83, 0x88]);
        assert_eq!(message[8..24], octets(GROUP));
        assert_eq!(message[24..28], [0x0a, 125, 0, 2]);
        assert_eq!(message[28..44], octets(SOURCE));
        let parsed = parse_query(message).unwrap();
        assert_eq!(parsed, Query { max_response: Duration::from_millis(40_000), ..query });
    }

    #[test]
    fn messages_of_version_1_are_told_by_length_and_type() {
        let query = Query { version: Version::Mld1, max_response: Duration::from_millis(40_007), ..GENERAL };
        let bytes = build_query(HOST, &query).unwrap();
        let message = checked(&bytes, ALL_NODES.into());
        assert_eq!((message.len(), &message[4..6]), (24, &40_007_u16.to_be_bytes()[..]));
        assert_eq!(parse_query(message), Ok(Query { robustness: 0, interval: Duration::ZERO, ..query }));

        for (bytes, kind, mode, to) in [
            (build_join(Version::Mld1, HOST, GROUP), 131, Kind::ModeIsExclude, GROUP),
            (build_leave(Version::Mld1, HOST, GROUP), 132, Kind::ChangeToInclude, ALL_ROUTERS.into()),
        ] {
            let bytes = bytes.unwrap();
            let message = checked(&bytes, to);
            assert_eq!((message[0], message.len(), &message[8..]), (kind, 24, &octets(GROUP)[..]));
            let report = parse_report(message).unwrap();
            let expected = Record { kind: mode, group: GROUP, sources: Sources::NONE };
            assert_eq!((report.version, report.records().collect()), (Version::Mld1, vec![expected]));
        }
    }

    #[test]
    fn a_report_is_laid_out_as_in_rfc_3810() {
        let sources = [SOURCE];
        let record = Record { kind: Kind::BlockOldSources, group: GROUP, sources: sources.as_slice().into() };
        let mut packets = Vec::new();
        build_report(HOST, &[record], 1500, &mut packets).unwrap();
        let message = checked(&packets[0], ALL_REPORTS.into());
        assert_eq!((&message[..2], &message[4..8]), (&[143, 0][..], &[0, 0, 0, 1][..]));
        assert_eq!(message[8..12], [6, 0, 0, 1]);
        assert_eq!((&message[12..28], &message[28..]), (&octets(GROUP)[..], &octets(SOURCE)[..]));
        let report = parse_report(message).unwrap();
        assert_eq!((report.version, report.records().collect()), (Version::Mld2, vec![record]));
    }

    #[test]
    fn a_source_that_is_not_link_local_is_refused() {
        let unspecified = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let mut packets = Vec::new();
        assert_eq!(build_report(SOURCE, &[], 1500, &mut packets), Err(Errno::EINVAL));
        assert_eq!(build_report(unspecified, &[], 1500, &mut packets), Ok(()));
        assert_eq!(build_join(Version::Mld1, SOURCE, GROUP), Err(Errno::EINVAL));
        assert_eq!(build_query(SOURCE, &GENERAL), Err(Errno::EINVAL));
        assert_eq!(build_query(unspecified, &GENERAL), Err(Errno::EINVAL));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        let mut bytes = build_query(HOST, &GENERAL).unwrap();
        let good = checked(&bytes, ALL_NODES.into()).to_vec();
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut message = good.clone();
            change(&mut message);
            parse_query(&message).unwrap_err()
        };
        assert_eq!(refused(&|message| message.truncate(23)), Malformed::Truncated);
        assert_eq!(refused(&|message| message.truncate(26)), Malformed::Truncated);
        assert_eq!(refused(&|message| message[27] = 1), Malformed::Truncated);
        assert_eq!(refused(&|message| message[8] = 0x20), Malformed::NotMulticast);
        assert_eq!(refused(&|message| message[0] = 143), Malformed::OtherType);
        // The source is in the pseudo header.
        bytes[23] ^= 1;
        assert_eq!(message(&Packet::parse(&bytes).unwrap()), Err(Malformed::BadChecksum));
    }
}
