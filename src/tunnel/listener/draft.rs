//! A packet in the making: room for the IP header, and the message behind it.

use std::net::IpAddr;

use super::sources::Sources;
use crate::error::{Errno, Result};
use crate::tunnel::bytes::put;
use crate::tunnel::ip::checksum::Checksum;
use crate::tunnel::ip::{protocol, v4, v6};

/// Where both IGMP and ICMPv6 have their checksum.
const CHECKSUM: usize = 2;

/// IGMP goes before other traffic (RFC 3376, section 4): internetwork control.
const IGMP_TRAFFIC_CLASS: u8 = 0xc0;

pub(super) struct Draft {
    source: IpAddr,
    header: usize,
    bytes: Vec<u8>,
}

impl Draft {
    /// With a message of this type, which has 0 in the bytes up to the `fixed` first ones.
    pub(super) fn new(source: IpAddr, kind: u8, fixed: usize) -> Draft {
        let header = Draft::header_len(source);
        let mut bytes = vec![0; header];
        bytes.push(kind);
        bytes.resize(header + fixed, 0);
        Draft { source, header, bytes }
    }

    /// What an IP header with a router alert takes.
    pub(super) fn header_len(source: IpAddr) -> usize {
        if source.is_ipv4() { v4::HEADER_MAX } else { v6::HEADER_MAX }
    }

    /// The whole packet's length so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds an address of the packet's family.
    pub(super) fn push_address(&mut self, address: IpAddr) -> Result<()> {
        match address {
            _ if address.is_ipv4() != self.source.is_ipv4() => return Err(Errno::EAFNOSUPPORT),
            IpAddr::V4(v4) => self.push(&v4.octets()),
            IpAddr::V6(v6) => self.push(&v6.octets()),
        }
        Ok(())
    }

    /// Adds some of these addresses; those that there are.
    pub(super) fn push_sources(&mut self, sources: Sources<'_>, skip: usize, count: usize) -> Result<()> {
        (skip..skip.saturating_add(count))
            .map_while(|index| sources.get(index))
            .try_for_each(|source| self.push_address(source))
    }

    /// Writes over bytes of the message.
    pub(super) fn set<const SIZE: usize>(&mut self, at: usize, value: [u8; SIZE]) -> Result<()> {
        Ok(put(&mut self.bytes, self.header + at, value)?)
    }

    /// Writes the checksum and the IP header, with TTL 1 and router alert.
    pub(super) fn finish(mut self, destination: IpAddr) -> Result<Vec<u8>> {
        let (header, message) = self.bytes.split_at_mut_checked(self.header).ok_or(Errno::EINVAL)?;
        match (self.source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                put(message, CHECKSUM, Checksum::new().with(message).value().to_be_bytes())?;
                let built = v4::Header {
                    source,
                    destination,
                    protocol: protocol::IGMP,
                    ttl: 1,
                    traffic_class: IGMP_TRAFFIC_CLASS,
                    identification: 0,
                    dont_fragment: true,
                    router_alert: true,
                    payload_len: message.len(),
                };
                header.copy_from_slice(&built.build()?);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let pseudo = Checksum::pseudo(self.source, destination.into(), protocol::ICMPV6, message.len());
                put(message, CHECKSUM, pseudo.with(message).value().to_be_bytes())?;
                let built = v6::Header {
                    source,
                    destination,
                    protocol: protocol::ICMPV6,
                    hop_limit: 1,
                    traffic_class: 0,
                    flow_label: 0,
                    router_alert: true,
                    payload_len: message.len(),
                };
                header.copy_from_slice(&built.build()?);
            }
            _ => return Err(Errno::EAFNOSUPPORT),
        }
        Ok(self.bytes)
    }
}
