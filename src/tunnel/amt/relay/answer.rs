//! What a relay says, without an allocation for each answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::settings::Settings;
use crate::error::Result;
use crate::tunnel::amt::wire::{Dialect, Message};
use crate::tunnel::listener::{self, Query, Sources, Version};

/// Longer than the longest: a Query with MLD in it, and the gateway's address.
const SIZE: usize = 128;

/// One of the relay's addresses, and the socket that it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    /// The socket's number.
    pub socket: u16,
    /// The address.
    pub address: IpAddr,
}

/// A message to send.
#[derive(Clone, Copy)]
pub struct Transmit {
    /// From where.
    pub from: Local,
    /// To where.
    pub to: SocketAddr,
    bytes: [u8; SIZE],
    len: usize,
}

impl Transmit {
    pub(super) fn new(from: Local, to: SocketAddr, message: &Message<'_>, dialect: Dialect) -> Option<Transmit> {
        let mut bytes = [0; SIZE];
        let len = message.encode(dialect, &mut bytes)?;
        Some(Transmit { from, to, bytes, len })
    }

    /// The message.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The least times to answer within that can be told, a code of 1, so that no gateway takes its time (RFC
/// 7450, section 5.3.3.3): it alone hears the question.
const AT_ONCE_IGMP: Duration = Duration::from_millis(100);
const AT_ONCE_MLD: Duration = Duration::from_millis(1);

/// So many of the relay's addresses have an IGMP query of their own.
const ROUTERS_MAX: usize = 64;

/// The general queries, made once for each of the relay's addresses.
pub(super) struct Queries {
    settings: Settings,
    igmp: Vec<(Ipv4Addr, Vec<u8>)>,
    mld: Vec<u8>,
}

impl Queries {
    pub fn new(settings: &Settings) -> Result<Queries> {
        let none = (Ipv4Addr::UNSPECIFIED, general(settings, Ipv4Addr::UNSPECIFIED.into(), Version::Igmp3)?);
        // RFC 3810, section 5.1.14: what isn't from a link-local address is dropped. (RFC 7450, section 5.3.3.3,
        // allows any.)
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let mld = general(settings, router.into(), Version::Mld2)?;
        Ok(Queries { settings: *settings, igmp: vec![none], mld })
    }

    /// The packet with MLDv2's.
    pub fn mld(&self) -> &[u8] {
        &self.mld
    }

    /// The packet with IGMPv3's, from the address that was asked; from none if that is of IPv6.
    pub fn igmp(&mut self, asked: IpAddr) -> &[u8] {
        let router = match asked {
            IpAddr::V4(v4) => v4,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let known = self.igmp.iter().position(|(known, _)| *known == router);
        if known.is_none() && self.igmp.len() < ROUTERS_MAX {
            if let Ok(packet) = general(&self.settings, router.into(), Version::Igmp3) {
                self.igmp.push((router, packet));
            }
        }
        let at = self.igmp.iter().position(|(known, _)| *known == router).unwrap_or(0);
        self.igmp.get(at).map(|(_, packet)| packet.as_slice()).unwrap_or_default()
    }
}

fn general(settings: &Settings, router: IpAddr, version: Version) -> Result<Vec<u8>> {
    let query = Query {
        version,
        group: None,
        max_response: if router.is_ipv4() { AT_ONCE_IGMP } else { AT_ONCE_MLD },
        sources: Sources::NONE,
        suppress: false,
        robustness: settings.robustness,
        interval: settings.query_interval,
    };
    listener::build_query(router, &query)
}
