//! Reports of IGMPv3 and MLDv2, which differ in type and width of addresses only (RFC 3376,
//! section 4.2; RFC 3810, section 5.2), and older ones in the same shape.

use std::net::IpAddr;

use super::record::{Kind, Record, Version};
use super::sources::Sources;
use crate::tunnel::bytes::{array_at, from, u16_at};
use crate::tunnel::malformed::Malformed;

/// A report's type, reserved bytes, checksum and number of records.
pub(super) const HEADER: usize = 8;
/// Where the number of records stands.
pub(super) const COUNT: usize = 6;
/// A record's type, length of auxiliary data, and number of sources; the group follows.
pub(super) const RECORD: usize = 4;

/// What a host says.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// How it says it.
    pub version: Version,
    records: Records<'a>,
}

impl<'a> Report<'a> {
    /// A report or a leave for one group, as a record that says the same (RFC 3376, section 7.3.2).
    pub(super) fn older(version: Version, is_leave: bool, group: IpAddr) -> Self {
        let kind = if is_leave { Kind::ChangeToInclude } else { Kind::ModeIsExclude };
        let one = Some(Record { kind, group, sources: Sources::NONE });
        Report { version, records: Records { one, rest: &[], count: 0, address_len: 0 } }
    }

    /// From its first byte on. The records are looked through, so that reading them can't fail;
    /// what lies behind the last one is ignored.
    pub(super) fn parse(version: Version, message: &'a [u8], address_len: usize) -> Result<Self, Malformed> {
        let count = u16_at(message, COUNT)?;
        let records = Records { one: None, rest: from(message, HEADER)?, count, address_len };
        let mut looked = records;
        for _ in 0..count {
            looked.parse_one()?;
        }
        Ok(Report { version, records })
    }

    /// What it says of each group. Records of an unknown type are passed over, as the RFCs want
    /// (section 4.2.12), and those whose group isn't one.
    pub fn records(&self) -> Records<'a> {
        self.records
    }
}

/// The records of a report, in order.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    one: Option<Record<'a>>,
    rest: &'a [u8],
    count: u16,
    address_len: usize,
}

impl<'a> Records<'a> {
    /// The next record; `None` if it is one to pass over.
    fn parse_one(&mut self) -> Result<Option<Record<'a>>, Malformed> {
        let [kind, auxiliary, count @ ..] = array_at::<RECORD>(self.rest, 0)?;
        let addresses = (1 + usize::from(u16::from_be_bytes(count))) * self.address_len;
        let end = RECORD + addresses + usize::from(auxiliary) * 4;
        let (record, rest) = self.rest.split_at_checked(end).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        self.count = self.count.saturating_sub(1);
        let group = record.get(RECORD..RECORD + self.address_len).ok_or(Malformed::Truncated)?;
        let sources = record.get(RECORD + self.address_len..RECORD + addresses).ok_or(Malformed::Truncated)?;
        let group = Sources::in_packet(group, self.address_len).get(0).filter(IpAddr::is_multicast);
        let sources = Sources::in_packet(sources, self.address_len);
        Ok(Kind::from_code(kind).zip(group).map(|(kind, group)| Record { kind, group, sources }))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        if let Some(one) = self.one.take() {
            return Some(one);
        }
        while self.count > 0 {
            if let Some(record) = self.parse_one().ok()? {
                return Some(record);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_records_and_auxiliary_data_are_passed_over() {
        let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, 4];
        message.extend([7, 0, 0, 1, 232, 1, 2, 3, 10, 0, 0, 1]);
        message.extend([1, 2, 0, 1, 232, 1, 2, 4, 10, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9]);
        message.extend([1, 0, 0, 0, 10, 1, 2, 4]);
        message.extend([6, 0, 0, 0, 232, 1, 2, 5]);
        // Bytes behind the last record mean nothing.
        message.extend([1, 2, 3]);
        let report = Report::parse(Version::Igmp3, &message, 4).unwrap();
        let kinds: Vec<_> = report.records().map(|record| (record.kind, record.group, record.sources.len())).collect();
        let groups = [IpAddr::from([232, 1, 2, 4]), IpAddr::from([232, 1, 2, 5])];
        assert_eq!(kinds, [(Kind::ModeIsInclude, groups[0], 1), (Kind::BlockOldSources, groups[1], 0)]);
    }

    #[test]
    fn counts_beyond_the_message_are_refused() {
        for record in [[1, 0, 0, 1, 232, 1, 2, 3], [1, 0, 0xff, 0xff, 232, 1, 2, 3], [1, 255, 0, 0, 232, 1, 2, 3]] {
            let message = [[0x22, 0, 0, 0, 0, 0, 0, 1], record].concat();
            assert_eq!(Report::parse(Version::Igmp3, &message, 4).err(), Some(Malformed::Truncated));
        }
        let message = [0x22, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 0, 0, 0, 232, 1, 2, 3];
        assert_eq!(Report::parse(Version::Igmp3, &message, 4).err(), Some(Malformed::Truncated));
    }
}
