//! Records into as many packets as it takes (RFC 3376, section 4.2.16; RFC 3810, section 5.2.15).

use std::iter;
use std::net::IpAddr;

use super::draft::Draft;
use super::record::Record;
use super::report::{COUNT, HEADER, RECORD};
use crate::error::{Errno, Result};

/// A protocol's report.
pub(super) struct Format {
    pub kind: u8,
    pub address_len: usize,
    /// All routers that speak the protocol.
    pub destination: IpAddr,
    /// Whether a host may report from this address.
    pub may_send: fn(IpAddr) -> bool,
}

pub(super) fn build(
    format: &Format,
    host: IpAddr,
    records: &[Record<'_>],
    mtu: usize,
    packets: &mut Vec<Vec<u8>>,
) -> Result<()> {
    if !(format.may_send)(host) {
        return Err(Errno::EINVAL);
    }
    let mut packing = Packing { format, host, room: 0, draft: None, count: 0, packets };
    packing.room = mtu.min(usize::from(u16::MAX)).saturating_sub(Draft::header_len(host) + HEADER);
    if packing.most_sources() == 0 {
        return Err(Errno::EMSGSIZE);
    }
    records.iter().try_for_each(|record| packing.add(record))?;
    packing.close()
}

/// Records on their way into packets.
struct Packing<'a> {
    format: &'a Format,
    host: IpAddr,
    /// What a packet holds of records, in bytes.
    room: usize,
    draft: Option<Draft>,
    /// How many records the draft has.
    count: u16,
    packets: &'a mut Vec<Vec<u8>>,
}

impl Packing<'_> {
    /// How many sources a record has at most that is a packet's only one.
    fn most_sources(&self) -> usize {
        (self.room.saturating_sub(RECORD) / self.format.address_len).saturating_sub(1)
    }

    fn add(&mut self, record: &Record<'_>) -> Result<()> {
        let most = self.most_sources();
        let len = record.sources.len();
        if len <= most {
            return self.push(record, 0, len);
        }
        // Each part in a packet of its own; but one that leaves sources out would contradict the
        // next, so that it says what it can and no more (section 4.2.16).
        let end = if record.kind.is_exclude() { most } else { len };
        let parts = iter::successors(Some(0_usize), |skip| skip.checked_add(most)).take_while(|skip| *skip < end);
        for skip in parts {
            self.close()?;
            self.push(record, skip, most.min(end - skip))?;
        }
        Ok(())
    }

    /// Adds a record with some of its sources, in a new packet if need be.
    fn push(&mut self, record: &Record<'_>, skip: usize, count: usize) -> Result<()> {
        let size = RECORD + (1 + count) * self.format.address_len;
        let limit = Draft::header_len(self.host) + HEADER + self.room;
        if self.draft.as_ref().is_some_and(|draft| draft.len() + size > limit) {
            self.close()?;
        }
        let draft = self.draft.get_or_insert_with(|| Draft::new(self.host, self.format.kind, HEADER));
        let [high, low] = u16::try_from(count).map_err(|_| Errno::EMSGSIZE)?.to_be_bytes();
        draft.push(&[record.kind.code(), 0, high, low]);
        draft.push_address(record.group)?;
        draft.push_sources(record.sources, skip, count)?;
        self.count += 1;
        Ok(())
    }

    /// Finishes the packet, if one is begun.
    fn close(&mut self) -> Result<()> {
        if let Some(mut draft) = self.draft.take() {
            draft.set(COUNT, self.count.to_be_bytes())?;
            self.packets.push(draft.finish(self.format.destination)?);
            self.count = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::Packet;
    use crate::tunnel::listener::{Kind, Sources, build_report, parse_report};

    /// What a packet says, in a form that outlives it.
    type Said = Vec<(Kind, IpAddr, Vec<IpAddr>)>;

    fn host() -> IpAddr {
        IpAddr::from([10, 0, 0, 1])
    }

    fn group(index: u16) -> IpAddr {
        let [high, low] = index.to_be_bytes();
        IpAddr::from([232, 1, high, low])
    }

    fn sources(count: u16) -> Vec<IpAddr> {
        (0..count).map(u16::to_be_bytes).map(|[high, low]| IpAddr::from([10, 9, high, low])).collect()
    }

    fn said(packet: &[u8]) -> Said {
        let report = parse_report(&Packet::parse(packet).unwrap()).unwrap();
        report.records().map(|record| (record.kind, record.group, record.sources.iter().collect())).collect()
    }

    fn built(records: &[Record<'_>], mtu: usize) -> Vec<Said> {
        let mut packets = Vec::new();
        build_report(host(), records, mtu, &mut packets).unwrap();
        assert!(packets.iter().all(|packet| packet.len() <= mtu));
        packets.iter().map(|packet| said(packet)).collect()
    }

    #[test]
    fn records_beyond_the_mtu_go_on_in_the_next_packet() {
        let records: Vec<_> = (0..10)
            .map(|index| Record { kind: Kind::ModeIsExclude, group: group(index), sources: Sources::NONE })
            .collect();
        // Header, alert and report header are 32 bytes, a record 8: four fit, with 7 to spare.
        let packets = built(&records, 32 + 4 * 8 + 7);
        assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let groups: Vec<_> = packets.concat().into_iter().map(|(_, group, _)| group).collect();
        assert_eq!(groups, (0..10).map(group).collect::<Vec<_>>());
        assert!(built(&[], 1500).is_empty());
    }

    #[test]
    fn sources_beyond_the_mtu_go_on_in_the_next_packet() {
        let list = sources(10);
        let first = Record { kind: Kind::ModeIsExclude, group: group(1), sources: Sources::NONE };
        let long = Record { kind: Kind::AllowNewSources, group: group(2), sources: list.as_slice().into() };
        // Room for four sources behind a record; what is left of the last packet is used.
        let packets = built(&[first, long, first], 32 + 8 + 4 * 4);
        let one = (Kind::ModeIsExclude, group(1), Vec::new());
        let part = |range: std::ops::Range<usize>| (Kind::AllowNewSources, group(2), list[range].to_vec());
        let expected = [vec![one.clone()], vec![part(0..4)], vec![part(4..8)], vec![part(8..10), one]];
        assert_eq!(packets, expected);
    }

    #[test]
    fn sources_to_leave_out_are_cut_short_instead() {
        let list = sources(10);
        for kind in [Kind::ModeIsExclude, Kind::ChangeToExclude] {
            let record = Record { kind, group: group(2), sources: list.as_slice().into() };
            assert_eq!(built(&[record], 32 + 8 + 4 * 4 + 3), [[(kind, group(2), list[..4].to_vec())]]);
        }
    }

    #[test]
    fn sixty_five_thousand_sources_are_said_whatever_the_mtu() {
        let list = sources(u16::MAX);
        let record = Record { kind: Kind::ChangeToInclude, group: group(2), sources: list.as_slice().into() };
        for mtu in [1500, 65_535, usize::MAX] {
            let packets = built(&[record], mtu);
            let all: Vec<_> = packets.concat().into_iter().flat_map(|(_, _, sources)| sources).collect();
            assert_eq!(all, list);
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_and_nothing_is_added() {
        let list = [IpAddr::from([0; 16])];
        let fine = Record { kind: Kind::ModeIsExclude, group: group(1), sources: Sources::NONE };
        let refused = |records: &[Record<'_>], mtu| {
            let mut packets = vec![vec![1]];
            let error = build_report(host(), records, mtu, &mut packets).err();
            assert_eq!(packets, [[1]]);
            error
        };
        let other = Record { group: "ff3e::1".parse().unwrap(), ..fine };
        assert_eq!(refused(&[fine, other], 40), Some(Errno::EAFNOSUPPORT));
        assert_eq!(refused(&[fine, fine, Record { sources: list[..].into(), ..fine }], 44), Some(Errno::EAFNOSUPPORT));
        assert_eq!(refused(&[fine, Record { group: host(), ..fine }], 1500), Some(Errno::EINVAL));
        assert_eq!(refused(&[fine], 43), Some(Errno::EMSGSIZE));
        assert_eq!(refused(&[fine], 0), Some(Errno::EMSGSIZE));
    }
}
