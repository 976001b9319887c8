//! Multicast packets on their way into tunnels: read as they came in, and made into Data messages.
//!
//! A relay is a router: it takes 1 from the TTL, and forwards nothing that has none left. It fragments
//! an IPv4 packet that is too large and may be fragmented before it goes into the tunnel, so that the
//! gateway has no tunnel packets to put together; others it drops (RFC 7450, section 5.3.3.6.2).

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::tunnel::amt::relay::{Counters, may_leave_link, may_leave_link_from};
use crate::tunnel::amt::wire::DATA_HEADER;
use crate::tunnel::ip::fragment::fragments;
use crate::tunnel::ip::udp;
use crate::tunnel::ip::{self, Packet, protocol, v4, v6};

/// The longest that is written anew: AMT's header, an IPv4 header with all options, or an IPv6 and a
/// UDP header.
const PREFIX_MAX: usize = 2 + 60;

/// A packet as it came in, in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inner {
    pub source: IpAddr,
    pub group: IpAddr,
    /// As it goes on.
    pub ttl: u8,
    pub traffic_class: u8,
    pub slot: usize,
    /// Where in the slot what isn't written anew is.
    pub body: (usize, usize),
    pub form: Form,
}

/// What is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The TTL: the header stands before the body in the slot.
    Whole { header_len: usize },
    /// The headers of IP and UDP: the body is a payload.
    Payload { source_port: u16, port: u16, identification: u16, dont_fragment: bool },
}

/// Reads what packets say.
pub(super) struct Intake<'c> {
    pub counters: &'c mut Counters,
    /// The TTL stays as it is.
    pub keep_ttl: bool,
}

impl Intake<'_> {
    /// Whether a packet may go on, and its TTL then.
    fn admit(&mut self, source: IpAddr, group: IpAddr, ttl: u8, len: usize) -> Option<u8> {
        self.counters.packets += 1;
        self.counters.bytes += len as u64;
        let count = match (group.is_multicast(), may_leave_link(group) && may_leave_link_from(source), ttl) {
            (false, _, _) => &mut self.counters.dropped_packet,
            (_, false, _) => &mut self.counters.dropped_scope,
            (_, _, _) if self.keep_ttl && ttl > 0 => return Some(ttl),
            (_, _, 0 | 1) => &mut self.counters.dropped_ttl,
            _ => return Some(ttl - 1),
        };
        *count += 1;
        None
    }

    /// A datagram from a UDP socket: what the socket told of it.
    pub fn datagram(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        ttl: u8,
        traffic_class: u8,
        slot: usize,
        body: Range<usize>,
    ) -> Option<Inner> {
        let (source, group) = (from.ip().to_canonical(), to.ip().to_canonical());
        let ttl = self.admit(source, group, ttl, body.len())?;
        // Whether it might be fragmented isn't told.
        let form = Form::Payload { source_port: from.port(), port: to.port(), identification: 0, dont_fragment: false };
        Some(Inner { source, group, ttl, traffic_class, slot, body: (body.start, body.end), form })
    }

    /// A packet in a slot, from `at` on. `each` gets it, or the datagrams that it has to be cut into.
    pub fn packet(&mut self, bytes: &[u8], slot: usize, at: usize, lack: Lack, mut each: impl FnMut(Inner)) {
        let Some(Ok(packet)) = bytes.get(at..).map(Packet::parse) else {
            self.counters.packets += 1;
            self.counters.dropped_packet += 1;
            return;
        };
        let Some(ttl) = self.admit(packet.source, packet.destination, packet.ttl, packet.bytes.len()) else { return };
        // IPv6's extension headers go on as they are.
        let header_len = if packet.source.is_ipv4() { packet.header_len() } else { v6::HEADER };
        let (start, end) = (at + header_len, at + packet.bytes.len());
        let inner = Inner {
            source: packet.source,
            group: packet.destination,
            ttl,
            traffic_class: packet.traffic_class,
            slot,
            body: (start, end),
            form: Form::Whole { header_len },
        };
        if lack == Lack::Nothing {
            return each(inner);
        }
        match unfinished(&packet, lack) {
            Some((form, size)) => {
                let mut from = start + udp::HEADER;
                while from < end {
                    let body = (from, end.min(from + size));
                    each(Inner { body, form, ..inner });
                    from = body.1;
                }
            }
            None => self.counters.dropped_packet += 1,
        }
    }
}

/// What a packet still lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Nothing,
    /// The checksum.
    Checksum,
    /// To be cut into datagrams of this size.
    Segments(usize),
}

/// A UDP datagram or train whose headers have to be made anew, and the datagrams' size. `None` for what
/// nothing is known of: another protocol, or headers with options.
fn unfinished(packet: &Packet<'_>, lack: Lack) -> Option<(Form, usize)> {
    let plain = if packet.source.is_ipv4() { v4::HEADER } else { v6::HEADER };
    let payload = packet.whole_payload(protocol::UDP).ok().filter(|_| packet.header_len() == plain)?;
    let (header, rest) = payload.split_first_chunk::<{ udp::HEADER }>()?;
    let [a, b, c, d, ..] = *header;
    let identification = packet.bytes.get(4..6).filter(|_| packet.source.is_ipv4());
    let identification = identification.and_then(|two| two.try_into().ok()).map_or(0, u16::from_be_bytes);
    let form = Form::Payload {
        source_port: u16::from_be_bytes([a, b]),
        port: u16::from_be_bytes([c, d]),
        identification,
        dont_fragment: packet.dont_fragment,
    };
    let size = match lack {
        Lack::Segments(size) => size,
        _ => rest.len(),
    };
    (size > 0).then_some((form, size))
}

/// One Data message: new headers, and the rest where it lies.
#[derive(Clone, Copy)]
pub(super) struct Message {
    prefix: [u8; PREFIX_MAX],
    prefix_len: usize,
    pub body: Body,
    pub traffic_class: u8,
}

/// Where the rest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Slot(usize, usize, usize),
    /// In the workshop.
    Copied(usize, usize),
}

impl Message {
    fn new(headers: &[&[u8]], body: Body, traffic_class: u8) -> Message {
        let mut prefix = [0; PREFIX_MAX];
        let bytes = DATA_HEADER.iter().chain(headers.iter().copied().flatten());
        let prefix_len = prefix.iter_mut().zip(bytes).map(|(place, byte)| *place = *byte).count();
        Message { prefix, prefix_len, body, traffic_class }
    }

    pub fn prefix(&self) -> &[u8] {
        self.prefix.get(..self.prefix_len).unwrap_or_default()
    }
}

/// Makes messages.
#[derive(Default)]
pub(super) struct Workshop {
    /// Packets that were fragmented.
    pub copied: Vec<u8>,
    /// The last that was too large.
    pub too_large: Vec<u8>,
    identification: u16,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Whole,
    Fragmented,
    TooLarge,
}

impl Workshop {
    /// The message, or messages, with this packet, of at most `limit` bytes each behind AMT's header.
    pub fn make(&mut self, inner: &Inner, slot: &[u8], limit: usize, out: &mut Vec<Message>) -> Option<Made> {
        let (start, end) = inner.body;
        let body = slot.get(start..end)?;
        let place = Body::Slot(inner.slot, start, end);
        match inner.form {
            Form::Whole { header_len } => {
                let mut header = [0; 60];
                let original = slot.get(start.checked_sub(header_len)?..start)?;
                let header = header.get_mut(..header_len)?;
                header.copy_from_slice(original);
                set_ttl(header, inner.ttl)?;
                if header_len + body.len() <= limit {
                    out.push(Message::new(&[header], place, inner.traffic_class));
                    return Some(Made::Whole);
                }
                self.cut(&[header, body], inner, limit, out)
            }
            Form::Payload { source_port, port, identification, dont_fragment } => {
                let (from, to) = (SocketAddr::new(inner.source, source_port), SocketAddr::new(inner.group, port));
                let udp = udp::header(from, to, &[body]).ok()?;
                let identification = if dont_fragment { identification } else { self.next_identification() };
                let header = network_header(inner, identification, dont_fragment, udp::HEADER + body.len())?;
                if header.len() + udp.len() + body.len() <= limit {
                    out.push(Message::new(&[&header, &udp], place, inner.traffic_class));
                    return Some(Made::Whole);
                }
                self.cut(&[&header, &udp, body], inner, limit, out)
            }
        }
    }

    /// Packets that may be fragmented need different ones (RFC 6864).
    fn next_identification(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    #[cold]
    fn cut(&mut self, pieces: &[&[u8]], inner: &Inner, limit: usize, out: &mut Vec<Message>) -> Option<Made> {
        let at = self.copied.len();
        pieces.iter().for_each(|piece| self.copied.extend_from_slice(piece));
        let packet = Packet::parse(self.copied.get(at..)?).ok()?;
        let Ok(parts) = fragments(&packet, limit) else {
            self.too_large.clear();
            self.too_large.extend(self.copied.drain(at..));
            return Some(Made::TooLarge);
        };
        let payload = at + packet.header_len();
        for (header, range) in parts {
            let body = Body::Copied(payload + range.start, payload + range.end);
            out.push(Message::new(&[&header], body, inner.traffic_class));
        }
        Some(Made::Fragmented)
    }
}

fn set_ttl(header: &mut [u8], ttl: u8) -> Option<()> {
    let at = if header.first()? >> 4 == 4 { 8 } else { 7 };
    while *header.get(at)? > ttl {
        // Once, unless the TTL stays.
        ip::decrement_ttl(header).ok()?;
    }
    Some(())
}

fn network_header(
    inner: &Inner,
    identification: u16,
    dont_fragment: bool,
    payload_len: usize,
) -> Option<ip::HeaderBytes<48>> {
    let mut bytes = ip::HeaderBytes::<48>::new();
    let (ttl, traffic_class) = (inner.ttl, inner.traffic_class);
    match (inner.source, inner.group) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = v4::Header {
                source,
                destination,
                protocol: protocol::UDP,
                ttl,
                traffic_class,
                identification,
                dont_fragment,
                router_alert: false,
                payload_len,
            };
            bytes.push(&header.build().ok()?);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = v6::Header {
                source,
                destination,
                protocol: protocol::UDP,
                hop_limit: ttl,
                traffic_class,
                flow_label: 0,
                router_alert: false,
                payload_len,
            };
            bytes.push(&header.build().ok()?);
        }
        _ => return None,
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
