//! Multicast Data: from the tunnel's payload to the application's datagram (RFC 7450, section 5.2.3.3).

use std::net::SocketAddr;
use std::time::Instant;

use super::Gateway;
use super::counters::Dropped;
use super::reassembly::Outcome;
use crate::tunnel::ecn;
use crate::tunnel::ip::udp::{Datagram, ZeroChecksum};
use crate::tunnel::ip::{Packet, protocol};
use crate::tunnel::malformed::Malformed;

/// A datagram for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner<'a> {
    /// The multicast sender.
    pub source: SocketAddr,
    /// The group, and the port that it was sent to.
    pub destination: SocketAddr,
    /// How many routers it might still have passed behind the relay.
    pub ttl: u8,
    /// DSCP and ECN, marked if the tunnel was congested (RFC 6040).
    pub traffic_class: u8,
    /// Its bytes.
    pub payload: Payload<'a>,
}

/// Where a datagram's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Where they arrived.
    Here(&'a [u8]),
    /// They came in parts: this number for [`Gateway::assembled`], valid until [`Gateway::release`].
    Assembled(usize),
}

impl Gateway {
    /// A packet that the relay has sent. Nothing is allocated or copied, but for parts of packets.
    pub(super) fn data<'a>(&mut self, now: Instant, outer_class: u8, bytes: &'a [u8]) -> Option<Inner<'a>> {
        let result = self.open(now, outer_class, bytes);
        match result {
            Ok(Some((inner, len))) => {
                self.counters.delivered += 1;
                self.counters.delivered_bytes += len as u64;
                self.heard(now);
                Some(inner)
            }
            Ok(None) => None,
            Err(why) => {
                self.counters.drop(why);
                None
            }
        }
    }

    fn open<'a>(
        &mut self,
        now: Instant,
        outer_class: u8,
        bytes: &'a [u8],
    ) -> Result<Option<(Inner<'a>, usize)>, Dropped> {
        let packet = Packet::parse(bytes).map_err(|_| Dropped::Packet)?;
        if !self.groups.hear(packet.destination, packet.source).ok_or(Dropped::NotJoined)? {
            return Err(Dropped::Filtered);
        }
        if packet.protocol != protocol::UDP {
            return Err(Dropped::Protocol);
        }
        let traffic_class =
            ecn::decapsulate(packet.traffic_class, outer_class).map_err(|ecn::MustDrop| Dropped::Congested)?;
        let number = match packet.fragment {
            None => None,
            Some(part) => {
                let (outcome, given_up) = self.reassembly.add(now, &Packet { traffic_class, ..packet }, part);
                self.counters.fragment += given_up;
                match outcome {
                    Outcome::Waits => return Ok(None),
                    Outcome::Bad(packets) => {
                        self.counters.fragment += packets.saturating_sub(1);
                        return Err(Dropped::Fragment);
                    }
                    Outcome::Whole(number) => Some(number),
                }
            }
        };
        let traffic_class = number.map_or(traffic_class, |number| self.reassembly.traffic_class(number));
        let inner = |datagram: &Datagram<'_>, payload| Inner {
            source: datagram.source,
            destination: datagram.destination,
            ttl: packet.ttl,
            traffic_class,
            payload,
        };
        let Some(number) = number else {
            let datagram = Datagram::parse(&packet, ZeroChecksum::Refused).map_err(dropped)?;
            return Ok(Some((inner(&datagram, Payload::Here(datagram.payload)), datagram.payload.len())));
        };
        let whole = Packet { payload: self.reassembly.payload(number), fragment: None, ..packet };
        let datagram = Datagram::parse(&whole, ZeroChecksum::Refused).map_err(dropped)?;
        self.counters.reassembled += 1;
        Ok(Some((inner(&datagram, Payload::Assembled(number)), datagram.payload.len())))
    }

    /// The bytes of a datagram that came in parts.
    pub fn assembled(&self, number: usize) -> &[u8] {
        // The UDP header was looked at; a length in it may end the datagram before its packet.
        let bytes = self.reassembly.payload(number);
        let len = bytes.get(4..6).and_then(|len| len.first_chunk()).map_or(0, |len| u16::from_be_bytes(*len));
        bytes.get(8..usize::from(len)).unwrap_or_default()
    }

    /// The memory of such datagrams may be used again.
    pub fn release(&mut self) {
        self.reassembly.release();
    }
}

fn dropped(malformed: Malformed) -> Dropped {
    match malformed {
        Malformed::BadChecksum | Malformed::NoChecksum => Dropped::Checksum,
        _ => Dropped::Packet,
    }
}
