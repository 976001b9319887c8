//! What a neighbour sees on the wire: IGMPv3 and MLDv2 reports (RFC 3376, RFC 3810).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::hosts::{self, Host};

/// What a report says of a group: RFC 3376, section 4.2.12; RFC 3810 has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ModeIsInclude,
    ModeIsExclude,
    ChangeToInclude,
    ChangeToExclude,
    AllowNewSources,
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

/// One group's record of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the report comes from.
    pub from: String,
    pub kind: Kind,
    pub group: String,
    pub sources: Vec<String>,
}

impl Record {
    /// Whether it says this of a group, and of a source among others if one is given. The kernel
    /// sends several changes at once in one record.
    fn says(&self, kinds: &[Kind], group: &str, source: Option<&str>) -> bool {
        let has_source = source.map_or(self.sources.is_empty(), |source| self.sources.iter().any(|one| one == source));
        kinds.contains(&self.kind) && self.group == group && has_source
    }
}

/// A packet socket (packet(7)) that reads along on an interface.
pub struct Watch(OwnedFd);

impl Watch {
    pub fn new(host: &Host, interface: &str) -> Watch {
        let index = host.index(interface);
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: no memory involved.
        let fd = host.run(|| unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) });
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: a socket just made.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zero is an address.
        let mut at: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        (at.sll_family, at.sll_protocol, at.sll_ifindex) = (libc::AF_PACKET as u16, protocol, index as i32);
        // SAFETY: an address with its length.
        let result = unsafe { libc::bind(fd, (&raw const at).cast(), size_of_val(&at) as u32) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        Watch(owned)
    }

    /// Waits for a report with a record of one of these kinds.
    pub fn sees(&self, kinds: &[Kind], group: &str, source: Option<&str>) {
        hosts::until(&format!("{kinds:?} {group} {source:?} on the wire"), || {
            self.waiting().iter().any(|record| record.says(kinds, group, source))
        });
    }

    /// As [`Watch::sees`], in a report that comes from this address.
    pub fn sees_from(&self, from: &str, kinds: &[Kind], group: &str) {
        hosts::until(&format!("{kinds:?} {group} from {from} on the wire"), || {
            self.waiting().iter().any(|record| record.says(kinds, group, None) && record.from == from)
        });
    }

    /// Whether a report with such a record is among those that wait now.
    pub fn has_seen(&self, kinds: &[Kind], group: &str, source: Option<&str>) -> bool {
        self.waiting().iter().any(|record| record.says(kinds, group, source))
    }

    /// The records of all reports that wait now.
    pub fn waiting(&self) -> Vec<Record> {
        std::iter::from_fn(|| self.packet()).flat_map(|packet| records(&packet).unwrap_or_default()).collect()
    }

    /// All that waits now, each from its IP header on if it is an IP packet.
    pub fn packets(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.packet()).collect()
    }

    fn packet(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 2048];
        let at = bytes.as_mut_ptr().cast();
        // SAFETY: room for as many bytes.
        let len = unsafe { libc::recv(self.0.as_raw_fd(), at, bytes.len(), libc::MSG_DONTWAIT) };
        bytes.truncate(usize::try_from(len).ok()?);
        Some(bytes)
    }
}

/// The records of a packet from its IP header on, if it is a report.
fn records(packet: &[u8]) -> Option<Vec<Record>> {
    let (message, address_len) = match packet.first()? >> 4 {
        4 if *packet.get(9)? == libc::IPPROTO_IGMP as u8 => (packet.get(usize::from(packet[0] & 15) * 4..)?, 4),
        // A hop-by-hop header of 8 bytes with the router alert comes before ICMPv6.
        6 if *packet.get(6)? == 0 && *packet.get(40)? == libc::IPPROTO_ICMPV6 as u8 => (packet.get(48..)?, 16),
        _ => return None,
    };
    // Version 3 membership report; version 2 multicast listener report.
    if ![(4, 0x22), (16, 143)].contains(&(address_len, *message.first()?)) {
        return None;
    }
    let from = ip(if address_len == 4 { packet.get(12..16)? } else { packet.get(8..24)? });
    let count = u16::from_be_bytes(message.get(6..8)?.try_into().unwrap());
    let mut rest = message.get(8..)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let kind = *KINDS.get(usize::from(*rest.first()?).checked_sub(1)?)?;
        let source_count = usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().unwrap()));
        let end = 4 + (1 + source_count) * address_len;
        let mut addresses = rest.get(4..end)?.chunks(address_len).map(ip);
        records.push(Record { from: from.clone(), kind, group: addresses.next()?, sources: addresses.collect() });
        rest = rest.get(end..)?;
    }
    Some(records)
}

fn ip(bytes: &[u8]) -> String {
    match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => IpAddr::from(Ipv4Addr::from(v4)).to_string(),
        Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap())).to_string(),
    }
}
