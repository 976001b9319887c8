//! Reports of hosts into the tunnel. One that is larger than the tunnel's packets is split by its records
//! (RFC 3376, section 4.2.16; RFC 3810, section 5.2.15).

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::counters::Counters;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::tunnel::fixed::Tunnel;
use crate::tunnel::ip::Packet;
use crate::tunnel::listener::{self, Kind, Record, Sources};

/// Sends a host's report through the tunnel, in as many packets as it takes.
pub fn pass_on(tunnel: &mut Tunnel, report: &[u8], counters: &mut Counters) {
    let whole = tunnel.limits().0;
    let mut result = pass_on_within(tunnel, report, whole, counters);
    let now = tunnel.limits().0;
    if result == Err(Errno::EMSGSIZE) && now < whole {
        // The path has become narrower.
        result = pass_on_within(tunnel, report, now, counters);
    }
    if let Err(error) = result {
        counters.lost(error);
    }
}

fn pass_on_within(tunnel: &mut Tunnel, report: &[u8], limit: usize, counters: &mut Counters) -> Result<()> {
    if report.len() <= limit {
        return send(tunnel, report, counters);
    }
    split(report, limit)?.iter().try_for_each(|part| send(tunnel, part, counters))
}

/// Tells the other end all that the hosts of one family ask for.
pub fn tell_all(tunnel: &mut Tunnel, current: &[(IpAddr, bool, Vec<IpAddr>)], is_v4: bool, counters: &mut Counters) {
    let mut records = Vec::new();
    for (group, is_whole, sources) in current {
        let record = |kind, sources| Record { kind, group: *group, sources };
        if *is_whole {
            records.push(record(Kind::ModeIsExclude, Sources::NONE));
        }
        if !sources.is_empty() {
            records.push(record(Kind::ModeIsInclude, sources.as_slice().into()));
        }
    }
    let host = if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut packets = Vec::new();
    let built = listener::build_report(host, &records, tunnel.limits().0, &mut packets);
    let sent = built.and_then(|()| packets.iter().try_for_each(|packet| send(tunnel, packet, counters)));
    if let Err(error) = sent {
        counters.lost(error);
    }
}

/// Sends a report that fits.
fn send(tunnel: &mut Tunnel, report: &[u8], counters: &mut Counters) -> Result<()> {
    tunnel.send(&[IoSlice::new(report)], Deadline::Now, &mut 0)?;
    counters.reports += 1;
    Ok(())
}

/// The records of a report in packets that fit, from the same host.
fn split(report: &[u8], limit: usize) -> Result<Vec<Vec<u8>>> {
    let packet = Packet::parse(report)?;
    let records: Vec<Record<'_>> = listener::parse_report(&packet)?.records().collect();
    let mut parts = Vec::new();
    listener::build_report(reporter(packet.source), &records, limit, &mut parts)?;
    Ok(parts)
}

/// The address under which a host's records can be told again. MLD takes no other than a link-local one, or
/// `::` (RFC 3810, section 5.2.13).
fn reporter(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V6(v6) if !v6.is_unicast_link_local() => Ipv6Addr::UNSPECIFIED.into(),
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::listener::{build_report, parse_report};

    /// Each record's kind, group and sources.
    fn said(packets: &[Vec<u8>]) -> Vec<(Kind, IpAddr, Vec<IpAddr>)> {
        let mut all = Vec::new();
        for bytes in packets {
            let packet = Packet::parse(bytes).unwrap();
            let report = parse_report(&packet).unwrap();
            all.extend(report.records().map(|one| (one.kind, one.group, one.sources.iter().collect())));
        }
        all
    }

    #[test]
    fn a_report_that_is_too_large_says_the_same_in_parts() {
        let hosts: [IpAddr; 2] = [[10, 0, 0, 9].into(), "fe80::9".parse().unwrap()];
        for host in hosts {
            let address = |number: u8| -> IpAddr {
                if host.is_ipv4() { [239, 1, 2, number].into() } else { format!("ff15::{number:x}").parse().unwrap() }
            };
            let source = |number: u8| -> IpAddr {
                if host.is_ipv4() { [10, 1, 2, number].into() } else { format!("fd01::{number:x}").parse().unwrap() }
            };
            let sources: Vec<IpAddr> = (0..50).map(source).collect();
            let mut records: Vec<Record<'_>> = (0..50)
                .map(|number| Record { kind: Kind::ModeIsExclude, group: address(number), sources: Sources::NONE })
                .collect();
            let listed = Sources::from(sources.as_slice());
            records.push(Record { kind: Kind::ModeIsInclude, group: address(60), sources: listed });
            let mut whole = Vec::new();
            build_report(host, &records, 4000, &mut whole).unwrap();
            assert_eq!(whole.len(), 1);
            let parts = split(&whole[0], 200).unwrap();
            assert!(parts.len() > 2 && parts.iter().all(|part| part.len() <= 200));
            assert!(parts.iter().all(|part| Packet::parse(part).unwrap().source == host));
            let (said, meant) = (said(&parts), said(&whole));
            assert_eq!(said[..50], meant[..50]);
            let list: Vec<IpAddr> = said[50..].iter().flat_map(|(.., sources)| sources.clone()).collect();
            assert_eq!(list, sources);
            assert!(said[50..].iter().all(|(kind, group, _)| (*kind, *group) == (Kind::ModeIsInclude, address(60))));
            assert_eq!(split(&whole[0], 20), Err(Errno::EMSGSIZE));
        }
    }

    #[test]
    fn a_host_whose_address_mld_does_not_take_is_left_unnamed() {
        for (host, expected) in [("fe80::1", "fe80::1"), ("fd00::1", "::"), ("10.1.2.3", "10.1.2.3")] {
            assert_eq!(reporter(host.parse().unwrap()).to_string(), expected);
        }
    }
}
