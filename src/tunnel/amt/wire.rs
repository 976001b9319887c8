//! The seven messages of AMT, to bytes and from bytes (RFC 7450, section 5.1).

use std::net::IpAddr;

pub use super::field::{Dialect, Gateway, Nonce, ResponseMac};

/// What stands in front of a packet in a Multicast Data message, for a gather list.
pub const DATA_HEADER: [u8; 2] = [6, 0];

/// The shortest IP packet: an IPv4 header.
const PACKET_MIN: usize = 20;

/// P, RFC 7450, section 5.1.3.4.
const P: u8 = 0x01;
/// E, RFC 9601, section 6.1.4.2.
const E: u8 = 0x02;
/// G and L, RFC 7450, sections 5.1.4.5 and 5.1.4.4.
const G: u8 = 0x01;
const L: u8 = 0x02;
/// Where Linux has P, G and L.
const LINUX_P: u8 = 0x80;
const LINUX_G: u8 = 0x80;
const LINUX_L: u8 = 0x40;

/// Why a datagram isn't an AMT message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Too short, or longer than its type can be.
    Length,
    /// A version other than 0.
    Version(u8),
    /// A type that there isn't.
    Type(u8),
    /// A Discovery's nonce of 0, which it can't have (RFC 7450, section 5.2.3.4.5); a Request's can.
    Nonce,
}

/// A message; packets are whole IP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Gateway to relay: who is there?
    RelayDiscovery {
        /// For the answer to repeat.
        nonce: Nonce,
    },
    /// Relay to gateway: ask this address.
    RelayAdvertisement {
        /// The Discovery's.
        nonce: Nonce,
        /// A unicast address of the relay.
        relay: IpAddr,
    },
    /// Gateway to relay: what shall I report?
    Request {
        /// P: asks for MLDv2, not for IGMPv3.
        mld: bool,
        /// E: the gateway decapsulates ECN as in RFC 6040. Not sent in Linux's dialect, which has no
        /// such flag and drops what it doesn't know.
        ecn: bool,
        /// For the answer to repeat.
        nonce: Nonce,
    },
    /// Relay to gateway: a general query.
    MembershipQuery {
        /// L: no new tunnels at this relay.
        limited: bool,
        /// For the Update to repeat.
        mac: ResponseMac,
        /// The Request's.
        nonce: Nonce,
        /// The query.
        packet: &'a [u8],
        /// G: where the Request came from.
        gateway: Option<Gateway>,
    },
    /// Gateway to relay: a report.
    MembershipUpdate {
        /// The Query's.
        mac: ResponseMac,
        /// The Query's.
        nonce: Nonce,
        /// The report.
        packet: &'a [u8],
    },
    /// Relay to gateway: a multicast packet, or a fragment of one.
    MulticastData {
        /// The packet.
        packet: &'a [u8],
    },
    /// Gateway to relay: the end of the tunnel to an address that the gateway had before.
    Teardown {
        /// The last Query's to that address.
        mac: ResponseMac,
        /// That Query's.
        nonce: Nonce,
        /// That Query's.
        gateway: Gateway,
    },
}

/// A message in pieces for a gather list, in this order.
pub struct Parts<'a> {
    header: [u8; 24],
    header_len: usize,
    /// The packet; the caller's bytes.
    pub packet: &'a [u8],
    /// The gateway's address.
    pub gateway: Option<Gateway>,
}

impl<'a> Parts<'a> {
    fn new(pieces: &[&[u8]], packet: &'a [u8], gateway: Option<Gateway>) -> Parts<'a> {
        let mut header = [0; 24];
        let bytes = pieces.iter().copied().flatten();
        let header_len = header.iter_mut().zip(bytes).map(|(place, byte)| *place = *byte).count();
        Parts { header, header_len, packet, gateway }
    }

    /// What stands in front of the packet.
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.header_len).unwrap_or_default()
    }

    /// What stands behind the packet.
    pub fn trailer(&self) -> &[u8] {
        self.gateway.as_ref().map_or(&[], |gateway| gateway.bytes())
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.header_len + self.packet.len() + self.trailer().len()
    }

    /// Never: a message has a header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Message<'a> {
    /// From a datagram's payload, and whose flags it carries where it carries any. Reserved bits are
    /// ignored, unless they are all there is and Linux has a flag there.
    pub fn decode(bytes: &'a [u8]) -> Result<(Message<'a>, Option<Dialect>), Malformed> {
        let (&[first, flags], rest) = bytes.split_first_chunk::<2>().ok_or(Malformed::Length)?;
        if first >> 4 != 0 {
            return Err(Malformed::Version(first >> 4));
        }
        let plain = |message| Ok((message, None));
        match first {
            1 => plain(Message::RelayDiscovery { nonce: not_zero(nonce_alone(rest)?)? }),
            2 => plain(advertisement(rest)?),
            3 => {
                let ((mld, ecn), dialect) = request_flags(flags);
                Ok((Message::Request { mld, ecn, nonce: nonce_alone(rest)? }, dialect))
            }
            4 => query(flags, rest),
            5 => {
                let (mac, nonce, packet) = mac_and_nonce(rest)?;
                plain(Message::MembershipUpdate { mac, nonce, packet: whole(packet)? })
            }
            6 => plain(Message::MulticastData { packet: whole(rest)? }),
            7 => {
                let (mac, nonce, rest) = mac_and_nonce(rest)?;
                let gateway = Gateway::from_bytes(rest.try_into().map_err(|_| Malformed::Length)?);
                plain(Message::Teardown { mac, nonce, gateway })
            }
            other => Err(Malformed::Type(other)),
        }
    }

    /// To bytes, without copying the packet.
    pub fn parts(&self, dialect: Dialect) -> Parts<'a> {
        match *self {
            Message::RelayDiscovery { nonce } => Parts::new(&[&[1, 0, 0, 0], &nonce.bytes()], &[], None),
            Message::RelayAdvertisement { nonce, relay: IpAddr::V4(relay) } => {
                Parts::new(&[&[2, 0, 0, 0], &nonce.bytes(), &relay.octets()], &[], None)
            }
            Message::RelayAdvertisement { nonce, relay: IpAddr::V6(relay) } => {
                Parts::new(&[&[2, 0, 0, 0], &nonce.bytes(), &relay.octets()], &[], None)
            }
            Message::Request { mld, ecn, nonce } => {
                let flags = match dialect {
                    Dialect::Rfc => flag(P, mld) | flag(E, ecn),
                    Dialect::Linux => flag(LINUX_P, mld),
                };
                Parts::new(&[&[3, flags, 0, 0], &nonce.bytes()], &[], None)
            }
            Message::MembershipQuery { limited, mac, nonce, packet, gateway } => {
                let flags = match dialect {
                    Dialect::Rfc => flag(L, limited) | flag(G, gateway.is_some()),
                    Dialect::Linux => flag(LINUX_L, limited) | flag(LINUX_G, gateway.is_some()),
                };
                Parts::new(&[&[4, flags], &mac.0, &nonce.bytes()], packet, gateway)
            }
            Message::MembershipUpdate { mac, nonce, packet } => {
                Parts::new(&[&[5, 0], &mac.0, &nonce.bytes()], packet, None)
            }
            Message::MulticastData { packet } => Parts::new(&[&DATA_HEADER], packet, None),
            Message::Teardown { mac, nonce, gateway } => {
                Parts::new(&[&[7, 0], &mac.0, &nonce.bytes()], &[], Some(gateway))
            }
        }
    }

    /// To bytes at the start of `buffer`: how many. `None` if they don't fit; nothing is written then.
    pub fn encode(&self, dialect: Dialect, buffer: &mut [u8]) -> Option<usize> {
        let parts = self.parts(dialect);
        let mut room = buffer.get_mut(..parts.len())?;
        for piece in [parts.header(), parts.packet, parts.trailer()] {
            let (place, left) = room.split_at_mut_checked(piece.len())?;
            place.copy_from_slice(piece);
            room = left;
        }
        Some(parts.len())
    }

    /// To bytes behind those in `buffer`, which grows at most once.
    pub fn append(&self, dialect: Dialect, buffer: &mut Vec<u8>) {
        let parts = self.parts(dialect);
        buffer.reserve(parts.len());
        [parts.header(), parts.packet, parts.trailer()].into_iter().for_each(|piece| buffer.extend_from_slice(piece));
    }
}

fn flag(bit: u8, set: bool) -> u8 {
    if set { bit } else { 0 }
}

fn not_zero(nonce: Nonce) -> Result<Nonce, Malformed> {
    Nonce::new(nonce.bytes()).ok_or(Malformed::Nonce)
}

/// What may be a packet: the caller looks into it.
fn whole(packet: &[u8]) -> Result<&[u8], Malformed> {
    if packet.len() >= PACKET_MIN { Ok(packet) } else { Err(Malformed::Length) }
}

/// Two reserved bytes and a nonce. What may follow does no harm: VLC's Request has a byte too many.
fn nonce_alone(rest: &[u8]) -> Result<Nonce, Malformed> {
    let &[_, _, ref bytes @ ..] = rest.first_chunk::<6>().ok_or(Malformed::Length)?;
    Ok(Nonce::from_wire(*bytes))
}

fn mac_and_nonce(rest: &[u8]) -> Result<(ResponseMac, Nonce, &[u8]), Malformed> {
    let (mac, rest) = rest.split_first_chunk().ok_or(Malformed::Length)?;
    let (bytes, rest) = rest.split_first_chunk().ok_or(Malformed::Length)?;
    Ok((ResponseMac(*mac), Nonce::from_wire(*bytes), rest))
}

/// The length tells the address's family (RFC 7450, section 5.1.2.5).
fn advertisement(rest: &[u8]) -> Result<Message<'_>, Malformed> {
    let (head, address) = rest.split_at_checked(6).ok_or(Malformed::Length)?;
    let relay = if let Ok(v4) = <[u8; 4]>::try_from(address) {
        IpAddr::from(v4)
    } else {
        IpAddr::from(<[u8; 16]>::try_from(address).map_err(|_| Malformed::Length)?)
    };
    Ok(Message::RelayAdvertisement { nonce: not_zero(nonce_alone(head)?)?, relay })
}

fn query(flags: u8, rest: &[u8]) -> Result<(Message<'_>, Option<Dialect>), Malformed> {
    let ((limited, has_gateway), dialect) = query_flags(flags);
    let (mac, nonce, rest) = mac_and_nonce(rest)?;
    let (packet, gateway) = if has_gateway {
        let (packet, bytes) = rest.split_last_chunk().ok_or(Malformed::Length)?;
        (packet, Some(Gateway::from_bytes(*bytes)))
    } else {
        (rest, None)
    };
    Ok((Message::MembershipQuery { limited, mac, nonce, packet: whole(packet)?, gateway }, dialect))
}

/// P and E.
fn request_flags(flags: u8) -> ((bool, bool), Option<Dialect>) {
    if flags & (P | E) != 0 {
        ((flags & P != 0, flags & E != 0), Some(Dialect::Rfc))
    } else {
        let mld = flags & LINUX_P != 0;
        ((mld, false), mld.then_some(Dialect::Linux))
    }
}

/// L and G.
fn query_flags(flags: u8) -> ((bool, bool), Option<Dialect>) {
    if flags & (L | G) != 0 {
        ((flags & L != 0, flags & G != 0), Some(Dialect::Rfc))
    } else {
        let (limited, gateway) = (flags & LINUX_L != 0, flags & LINUX_G != 0);
        ((limited, gateway), (limited || gateway).then_some(Dialect::Linux))
    }
}

#[cfg(test)]
mod tests;
