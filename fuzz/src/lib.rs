//! What the targets share: bytes that are taken for decisions, and packets with good checksums.

use std::net::IpAddr;

use castio::tunnel::ip::checksum::Checksum;
use castio::tunnel::ip::{Packet, protocol};

/// The fuzzer's bytes, one decision after the other; 0 when there are no more.
pub struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    pub fn new(bytes: &'a [u8]) -> Feed<'a> {
        Feed(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.u8(), self.u8()])
    }

    pub fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.u8()) % limit
    }

    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// As many as the next byte says.
    pub fn some(&mut self) -> &'a [u8] {
        let len = self.u8();
        self.bytes(len.into())
    }

    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn put_checksum(bytes: &mut [u8], at: usize, sum: Checksum) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.fill(0);
        let value = sum.with(bytes).value();
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
}

/// With good checksums in the IPv4 header and in IGMP, ICMPv6 or UDP behind it: fuzzers don't guess them.
pub fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let first = bytes.first().copied().unwrap_or(0);
    let header_len = usize::from(first & 15) * 4;
    if first >> 4 == 4 && (20..=bytes.len()).contains(&header_len) {
        put_checksum(&mut bytes[..header_len], 10, Checksum::new());
    }
    let Ok(packet) = Packet::parse(&bytes) else { return bytes };
    let (at, len, kind) = (packet.header_len(), packet.bytes.len(), packet.protocol);
    let pseudo = |protocol| Checksum::pseudo(packet.source, packet.destination, protocol, len - at);
    let (place, sum) = match kind {
        protocol::IGMP => (2, Checksum::new()),
        protocol::ICMPV6 => (2, pseudo(kind)),
        protocol::UDP => (6, pseudo(kind)),
        _ => return bytes,
    };
    put_checksum(&mut bytes[at..len], place, sum);
    bytes
}

/// Bytes as they are, or a packet whose lengths and checksums are good, whatever is in it otherwise.
pub fn packet(feed: &mut Feed<'_>) -> Vec<u8> {
    let form = feed.u8();
    let protocol = [protocol::IGMP, protocol::UDP, protocol::ICMPV6, protocol::IPV4, protocol::IPV6, 0, 43, 44, 60];
    let protocol = protocol[usize::from(form >> 2) % protocol.len()];
    let mut bytes = match form & 3 {
        0 => return with_checksums(feed.some()),
        1 => {
            let (options, class, place, ttl) = (feed.below(4), feed.u8(), feed.u16(), feed.u8());
            let number = feed.u8();
            let [high, low] = place.to_be_bytes();
            let header = [0x45 + options as u8, class, 0, 0, 0, number, high & !0x1e, low, ttl, protocol, 0, 0];
            let addresses = [10, 0, 0, 1 + (number & 3), 239, 1, 2, 1 + (class & 3)];
            [&header[..], &addresses, &[0; 12][..options * 4]].concat()
        }
        _ => {
            let (class, ttl, number) = (feed.u8(), feed.u8(), feed.u8());
            let mut header = vec![0x60 | class >> 4, class << 4, 0, 0, 0, 0, protocol, ttl, 0xfe, 0x80];
            header.resize(23, 0);
            header.extend([number, 0xff, 0x15]);
            header.resize(39, 0);
            header.push(class & 3);
            header
        }
    };
    let front = bytes.len();
    if form & 3 == 1 {
        // The options are the fuzzer's too.
        let options = feed.bytes(front - 20);
        bytes[20..20 + options.len()].copy_from_slice(options);
    }
    bytes.extend_from_slice(feed.some());
    if protocol == protocol::UDP && bytes.len() >= front + 6 {
        let len = (bytes.len() - front) as u16;
        bytes[front + 4..front + 6].copy_from_slice(&len.to_be_bytes());
    }
    let len = (bytes.len() - if form & 3 == 1 { 0 } else { front }) as u16;
    let at = if form & 3 == 1 { 2 } else { 4 };
    bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
    with_checksums(&bytes)
}
