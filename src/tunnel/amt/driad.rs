//! How a gateway finds a relay that carries a source: the AMTRELAY record (RFC 8777), DNS service
//! discovery, and the addresses that every network may have a relay at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Name;
use super::reader::Reader;

/// The IPv4 prefix of relays to be discovered (RFC 7450, section 7.1), and its length.
pub const ANYCAST_V4: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 52, 193, 0), 24);
/// The IPv6 one.
pub const ANYCAST_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32);

/// The addresses to send a Discovery to when nothing better is known: the prefixes' first
/// (RFC 7450, section 4.1.5.2).
pub const ANYCAST_RELAYS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 52, 193, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 1))];

/// Whether an address leads to whichever relay is nearest, and isn't one relay's own.
pub fn is_anycast(ip: IpAddr) -> bool {
    let same = |ip: u128, prefix: u128, rest: u32| (ip ^ prefix) >> rest == 0;
    match ip {
        IpAddr::V4(v4) => {
            same(v4.to_bits().into(), ANYCAST_V4.0.to_bits().into(), Ipv4Addr::BITS - u32::from(ANYCAST_V4.1))
        }
        IpAddr::V6(v6) => same(v6.to_bits(), ANYCAST_V6.0.to_bits(), Ipv6Addr::BITS - u32::from(ANYCAST_V6.1)),
    }
}

/// Where a relay is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relay {
    /// Nowhere: no relay is to be used for this source.
    None,
    /// At an address.
    Address(IpAddr),
    /// At the addresses of a name.
    Name(Name),
}

/// An AMTRELAY record (RFC 8777, section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmtRelay {
    /// Lower first.
    pub precedence: u8,
    /// D: a Request may go there without a Discovery.
    pub discovery_optional: bool,
    /// Where.
    pub relay: Relay,
}

impl AmtRelay {
    /// From a record's data. `None` for a type of relay that isn't known, which is to be passed over,
    /// and for what isn't of its type's form.
    pub fn decode(data: &[u8]) -> Option<AmtRelay> {
        let (&[precedence, kind], relay) = data.split_first_chunk()?;
        let relay = match kind & 0x7f {
            0 => relay.is_empty().then_some(Relay::None)?,
            1 => Relay::Address(<[u8; 4]>::try_from(relay).ok()?.into()),
            2 => Relay::Address(<[u8; 16]>::try_from(relay).ok()?.into()),
            3 => Relay::Name(relay_name(relay)?),
            _ => return None,
        };
        Some(AmtRelay { precedence, discovery_optional: kind & 0x80 != 0, relay })
    }

    /// A record's data, behind what is in `buffer`.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let kind = match &self.relay {
            Relay::None => 0,
            Relay::Address(IpAddr::V4(_)) => 1,
            Relay::Address(IpAddr::V6(_)) => 2,
            Relay::Name(_) => 3,
        };
        buffer.extend([self.precedence, kind | if self.discovery_optional { 0x80 } else { 0 }]);
        match &self.relay {
            Relay::None => {}
            Relay::Address(IpAddr::V4(v4)) => buffer.extend(v4.octets()),
            Relay::Address(IpAddr::V6(v6)) => buffer.extend(v6.octets()),
            Relay::Name(name) => name.write(buffer),
        }
    }
}

/// A name, uncompressed: there is nothing before it that a pointer could lead to. The end of the data
/// may stand for the root's label, which the RFC's example for servers that don't know the type leaves
/// out (section 4.3.2).
fn relay_name(data: &[u8]) -> Option<Name> {
    let whole = |data: &[u8]| {
        let mut reader = Reader::new(data);
        Name::read(&mut reader).filter(|_| reader.is_at_end())
    };
    whole(data).or_else(|| whole(&[data, &[0]].concat())).filter(|name| !name.is_root())
}

/// Numbers from a seed (SplitMix64): enough to spread load.
pub struct Shuffle(u64);

impl Shuffle {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Shuffle {
        Shuffle(seed)
    }

    /// From 0 to `limit`, without it; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The upper half of the product: each value as likely as the others, but for 2^-32.
        ((u128::from(mixed ^ (mixed >> 31)) * limit as u128) >> 64) as usize
    }

    /// Any order, each as likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|last| items.swap(last, self.below(last + 1)));
    }
}

/// In the order to try them: by precedence, at random among equals, [`Relay::None`] behind those.
pub fn sort(relays: &mut [AmtRelay], shuffle: &mut Shuffle) {
    shuffle.shuffle(relays);
    relays.sort_by_key(|relay| (relay.precedence, relay.relay == Relay::None));
}

/// A server of a service, from an SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Lower first.
    pub priority: u16,
    /// Among equals, how often relative to the others.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its name; the root if there is no such service.
    pub target: Name,
}

/// In the order to try them: by priority, among equals at random by weight (RFC 2782).
pub fn sort_servers(servers: &mut Vec<Server>, shuffle: &mut Shuffle) {
    servers.retain(|server| !server.target.is_root());
    shuffle.shuffle(servers);
    // Those without weight first: so they have a small chance, not none.
    servers.sort_by_key(|server| (server.priority, server.weight > 0));
    servers.chunk_by_mut(|one, two| one.priority == two.priority).for_each(|equals| by_weight(equals, shuffle));
}

fn by_weight(mut equals: &mut [Server], shuffle: &mut Shuffle) {
    while equals.len() > 1 {
        let total: usize = equals.iter().map(|server| usize::from(server.weight)).sum();
        let mut left = shuffle.below(total + 1);
        let chosen = equals.iter().position(|server| {
            let weight = usize::from(server.weight);
            let is_here = left <= weight;
            left = left.saturating_sub(weight);
            is_here
        });
        // The chosen one goes first; the others keep their order.
        if let Some(before) = chosen.and_then(|index| equals.get_mut(..=index)) {
            before.rotate_right(1);
        }
        equals = std::mem::take(&mut equals).get_mut(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
