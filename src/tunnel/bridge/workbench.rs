//! Packets on their way: where they lie, and what is made anew of those that can't go as they are.

use std::net::{IpAddr, SocketAddr};

use crate::error::{Errno, Result};
use crate::tunnel::ip::checksum::Checksum;
use crate::tunnel::ip::fragment::fragments;
use crate::tunnel::ip::{Packet, protocol, udp, v4, v6};
use crate::tunnel::malformed::Malformed;

/// Where a whole packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a slot that it was received into, from here to there.
    Slot(usize, usize, usize),
    /// On the workbench.
    Made(usize, usize),
}

/// What a packet from a packet socket still lacks, because its sender has left it to the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Nothing.
    Nothing,
    /// The transport's checksum.
    Checksum,
    /// It is a train, to be cut into datagrams of this size.
    Segments(usize),
}

/// Memory for packets that are made, kept from one batch to the next.
#[derive(Default)]
pub struct Workbench {
    bytes: Vec<u8>,
    /// For packets that say nothing of it themselves.
    identification: u16,
}

/// What a datagram is that is made anew.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Its sender.
    pub source: SocketAddr,
    /// Its group and port.
    pub destination: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// What IPv4's header had, if it is known: identification, and whether it mustn't be fragmented.
    pub identity: Option<(u16, bool)>,
}

impl Workbench {
    /// All that was made is gone.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The bytes of a place here.
    pub fn get(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    fn put(&mut self, pieces: &[&[u8]]) -> Place {
        let start = self.bytes.len();
        pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        Place::Made(start, self.bytes.len())
    }

    /// A packet with this payload.
    pub fn datagram(&mut self, datagram: &Datagram, payload: &[u8]) -> Result<Place> {
        let udp = udp::header(datagram.source, datagram.destination, &[payload])?;
        let payload_len = udp.len() + payload.len();
        let Datagram { ttl, traffic_class, .. } = *datagram;
        match (datagram.source.ip(), datagram.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (identification, dont_fragment) = datagram.identity.unwrap_or_else(|| (self.next(), false));
                let (protocol, router_alert) = (protocol::UDP, false);
                let header = v4::Header {
                    source,
                    destination,
                    protocol,
                    ttl,
                    traffic_class,
                    identification,
                    dont_fragment,
                    router_alert,
                    payload_len,
                };
                Ok(self.put(&[&header.build()?, &udp, payload]))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (protocol, flow_label, router_alert) = (protocol::UDP, 0, false);
                let header = v6::Header {
                    source,
                    destination,
                    protocol,
                    hop_limit: ttl,
                    traffic_class,
                    flow_label,
                    router_alert,
                    payload_len,
                };
                Ok(self.put(&[&header.build()?, &udp, payload]))
            }
            _ => Err(Malformed::BadVersion.into()),
        }
    }

    fn next(&mut self) -> u16 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    /// Cuts a train into the packets that its sender meant.
    pub fn cut_train(&mut self, bytes: &[u8], size: usize, mut each: impl FnMut(Place)) -> Result<()> {
        let packet = Packet::parse(bytes)?;
        let (datagram, payload) = train(&packet)?;
        for (number, piece) in payload.chunks(size.max(1)).enumerate() {
            // As the kernel numbers them.
            let identity = datagram.identity.map(|(first, dont)| (first.wrapping_add(number as u16), dont));
            each(self.datagram(&Datagram { identity, ..datagram }, piece)?);
        }
        Ok(())
    }

    /// Cuts an IPv4 packet to an MTU. `EMSGSIZE` if it mustn't be.
    pub fn cut_to(&mut self, bytes: &[u8], mtu: usize, mut each: impl FnMut(Place)) -> Result<()> {
        let packet = Packet::parse(bytes)?;
        // IPv6 is never cut on the way.
        for (header, range) in fragments(&packet, mtu).map_err(|_| Errno::EMSGSIZE)? {
            each(self.put(&[&header, packet.payload.get(range).unwrap_or_default()]));
        }
        Ok(())
    }
}

/// The headers of a train, and the payloads of all its datagrams one behind the other.
fn train<'a>(packet: &Packet<'a>) -> std::result::Result<(Datagram, &'a [u8]), Malformed> {
    let udp = packet.whole_payload(protocol::UDP)?;
    let ([a, b, c, d, ..], payload) = udp.split_first_chunk::<{ udp::HEADER }>().ok_or(Malformed::Truncated)?;
    let identity = match packet.source {
        IpAddr::V4(_) => packet.bytes.get(4..6).and_then(|two| two.try_into().ok()).map(u16::from_be_bytes),
        IpAddr::V6(_) => None,
    };
    let datagram = Datagram {
        source: SocketAddr::new(packet.source, u16::from_be_bytes([*a, *b])),
        destination: SocketAddr::new(packet.destination, u16::from_be_bytes([*c, *d])),
        ttl: packet.ttl,
        traffic_class: packet.traffic_class,
        identity: identity.map(|identification| (identification, packet.dont_fragment)),
    };
    Ok((datagram, payload))
}

/// Writes the checksum of a whole UDP datagram that lacks it, in place.
pub fn finish_checksum(bytes: &mut [u8]) -> std::result::Result<(), Malformed> {
    let packet = Packet::parse(bytes)?;
    let len = packet.whole_payload(protocol::UDP)?.len();
    let (source, destination, at) = (packet.source, packet.destination, packet.header_len());
    let udp = bytes.get_mut(at..at + len).ok_or(Malformed::Truncated)?;
    let place = udp.get_mut(6..8).ok_or(Malformed::Truncated)?;
    // What the sender's kernel has left there is a part of the sum.
    place.copy_from_slice(&[0, 0]);
    let sum = Checksum::pseudo(source, destination, protocol::UDP, len).with(udp).value();
    let sum = if sum == 0 { 0xffff } else { sum };
    udp.get_mut(6..8).ok_or(Malformed::Truncated)?.copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::ip::udp::ZeroChecksum;

    fn datagram(v6: bool) -> Datagram {
        let (source, destination) =
            if v6 { ("[2001:db8::1]:1000", "[ff3e::1]:5000") } else { ("192.0.2.1:1000", "239.1.2.3:5000") };
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Datagram { source, destination, ttl: 9, traffic_class: 0xb8, identity: Some((0xffff, true)) }
    }

    fn made(bench: &Workbench, place: Place) -> Vec<u8> {
        let Place::Made(start, end) = place else { panic!("{place:?}") };
        bench.get(start, end).to_vec()
    }

    fn payload(bytes: &[u8]) -> Vec<u8> {
        let packet = Packet::parse(bytes).unwrap();
        assert_eq!((packet.ttl, packet.traffic_class), (9, 0xb8));
        udp::Datagram::parse(&packet, ZeroChecksum::Refused).unwrap().payload.to_vec()
    }

    #[test]
    fn a_train_comes_apart_into_whole_datagrams() {
        for v6 in [false, true] {
            let mut bench = Workbench::default();
            let place = bench.datagram(&datagram(v6), b"abcdefgh").unwrap();
            let train = made(&bench, place);
            bench.clear();
            let mut places = Vec::new();
            bench.cut_train(&train, 3, |place| places.push(place)).unwrap();
            let packets: Vec<_> = places.iter().map(|place| made(&bench, *place)).collect();
            let payloads: Vec<_> = packets.iter().map(|packet| payload(packet)).collect();
            assert_eq!(payloads, [&b"abc"[..], b"def", b"gh"]);
            if !v6 {
                let numbers: Vec<_> = packets.iter().map(|packet| [packet[4], packet[5]]).collect();
                assert_eq!(numbers, [[0xff, 0xff], [0, 0], [0, 1]]);
                assert!(packets.iter().all(|packet| Packet::parse(packet).unwrap().dont_fragment));
            }
        }
    }

    #[test]
    fn a_checksum_is_finished_in_place() {
        for v6 in [false, true] {
            let mut bench = Workbench::default();
            let place = bench.datagram(&datagram(v6), b"abcdefg").unwrap();
            let whole = made(&bench, place);
            let mut partial = whole.clone();
            let at = if v6 { 46 } else { 26 };
            partial[at..at + 2].copy_from_slice(&[0x12, 0x34]);
            finish_checksum(&mut partial).unwrap();
            assert_eq!(partial, whole);
            for len in 0..whole.len() {
                assert!(finish_checksum(&mut whole[..len].to_vec()).is_err(), "{len}");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_cut_if_it_may_be() {
        let mut bench = Workbench::default();
        let free = Datagram { identity: None, ..datagram(false) };
        let place = bench.datagram(&free, &[7; 3000]).unwrap();
        let whole = made(&bench, place);
        bench.clear();
        let mut places = Vec::new();
        bench.cut_to(&whole, 1400, |place| places.push(place)).unwrap();
        assert_eq!(places.len(), 3);
        for other in [datagram(false), datagram(true)] {
            let place = bench.datagram(&other, &[7; 3000]).unwrap();
            let whole = made(&bench, place);
            assert_eq!(bench.cut_to(&whole, 1400, |_| panic!()), Err(Errno::EMSGSIZE));
        }
    }
}
