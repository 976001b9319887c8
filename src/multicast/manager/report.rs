//! What a report says of memberships.
//!
//! It says what a host says of its own accord when it begins to listen (RFC 3376, section 5.1): that it is
//! a change, to a group whole or by more sources, not the state that only answers a query (section 4.2.12).
//! To a router both are the same (section 6.4), and a switch that keeps answers back passes changes on. It
//! holds whatever else this host has joined by other sockets: a group that one of them wants whole is
//! wanted whole, and sources are added, where a list of all of them would take others away.

use std::net::IpAddr;

use super::wish::Key;
use crate::error::Result;
use crate::tunnel::listener::{self, Kind, Record, Sources, Version};

/// Whole packets that tell of these memberships, which are in order, from a host's address.
pub(super) fn packets(version: Version, host: IpAddr, keys: &[Key], mtu: usize) -> Result<Vec<Vec<u8>>> {
    let groups = || keys.chunk_by(|one, next| one.group == next.group);
    if !matches!(version, Version::Igmp3 | Version::Mld2) {
        // These know nothing of sources.
        let keys = groups().filter_map(<[Key]>::first);
        return keys.map(|key| listener::build_join(version, host, key.group)).collect();
    }
    let sources: Vec<IpAddr> = keys.iter().filter_map(|key| key.source).collect();
    let mut rest = sources.as_slice();
    let records = groups().filter_map(|keys| {
        let group = keys.first()?.group;
        let (own, others) = rest.split_at_checked(keys.iter().filter(|key| key.source.is_some()).count())?;
        rest = others;
        let kind = if own.is_empty() { Kind::ChangeToExclude } else { Kind::AllowNewSources };
        Some(Record { kind, group, sources: Sources::from(own) })
    });
    let records: Vec<Record<'_>> = records.collect();
    let mut packets = Vec::new();
    listener::build_report(host, &records, mtu, &mut packets)?;
    Ok(packets)
}

/// Whether anybody is told of a group: not of all hosts, nor of what stays on this one (RFC 3376, section
/// 5; RFC 3810, section 6).
pub(super) fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(v4) => v4.octets() != [224, 0, 0, 1],
        IpAddr::V6(v6) => {
            let all_nodes = [0xff02, 0, 0, 0, 0, 0, 0, 1];
            v6.octets()[1] & 15 > 1 && v6.segments() != all_nodes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::Packet;
    use crate::tunnel::listener::parse_report;

    fn key(group: &str, source: Option<&str>) -> Key {
        Key { group: group.parse().unwrap(), source: source.map(|source| source.parse().unwrap()) }
    }

    fn said(packets: &[Vec<u8>]) -> Vec<(Version, Kind, String, Vec<String>)> {
        let reports = packets.iter().map(|packet| parse_report(&Packet::parse(packet).unwrap()).unwrap());
        let said = |record: Record<'_>| {
            let sources = record.sources.iter().map(|source| source.to_string()).collect();
            (record.kind, record.group.to_string(), sources)
        };
        let all = reports.flat_map(|report| report.records().map(move |record| (report.version, said(record))));
        all.map(|(version, (kind, group, sources))| (version, kind, group, sources)).collect()
    }

    #[test]
    fn groups_are_told_whole_and_by_all_their_sources() {
        let keys = [
            key("232.1.2.3", Some("10.0.0.1")),
            key("232.1.2.3", Some("10.0.0.2")),
            key("239.1.2.3", None),
            key("239.1.2.4", Some("10.0.0.3")),
        ];
        let host = "10.1.0.2".parse().unwrap();
        let packets = |version| said(&super::packets(version, host, &keys, 1500).unwrap());
        let text = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let is = |kind, group: &str, sources| (Version::Igmp3, kind, group.to_owned(), text(sources));
        let expected = [
            is(Kind::AllowNewSources, "232.1.2.3", &["10.0.0.1", "10.0.0.2"]),
            is(Kind::ChangeToExclude, "239.1.2.3", &[]),
            is(Kind::AllowNewSources, "239.1.2.4", &["10.0.0.3"]),
        ];
        assert_eq!(packets(Version::Igmp3), expected);
        for version in [Version::Igmp1, Version::Igmp2] {
            let groups: Vec<_> = packets(version).into_iter().map(|(version, _, group, _)| (version, group)).collect();
            assert_eq!(groups, ["232.1.2.3", "239.1.2.3", "239.1.2.4"].map(|group| (version, group.to_owned())));
        }
    }

    #[test]
    fn some_groups_are_nobodys_business() {
        for (group, expected) in [
            ("224.0.0.1", false),
            ("224.0.0.251", true),
            ("239.1.2.3", true),
            ("ff02::1", false),
            ("ff02::fb", true),
            ("ff01::7", false),
            ("ff11::7", false),
            ("ff15::1", true),
        ] {
            assert_eq!(is_reported(group.parse().unwrap()), expected, "{group}");
        }
    }
}
