//! IP packets of either family.

use std::net::{IpAddr, SocketAddr};

use castio::tunnel::ip::{protocol, udp, v4, v6};

/// A header; what a family doesn't have doesn't count.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    pub traffic_class: u8,
    pub identification: u16,
    pub flow_label: u32,
    pub dont_fragment: bool,
    pub router_alert: bool,
}

impl Header {
    /// With UDP behind it, and nothing that stands out.
    pub fn new(source: IpAddr, destination: IpAddr) -> Header {
        Header {
            source,
            destination,
            protocol: protocol::UDP,
            ttl: 64,
            traffic_class: 0,
            identification: 0,
            flow_label: 0,
            dont_fragment: false,
            router_alert: false,
        }
    }

    /// A packet with this payload.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let Header { protocol, ttl, traffic_class, router_alert, .. } = *self;
        let payload_len = payload.len();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let Header { identification, dont_fragment, .. } = *self;
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
                [&header.build().unwrap(), payload].concat()
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = v6::Header {
                    source,
                    destination,
                    protocol,
                    hop_limit: ttl,
                    traffic_class,
                    flow_label: self.flow_label,
                    router_alert,
                    payload_len,
                };
                [&header.build().unwrap(), payload].concat()
            }
            (source, destination) => panic!("{source} to {destination}"),
        }
    }

    /// A packet with a UDP datagram between these ports.
    pub fn datagram(&self, [from, to]: [u16; 2], payload: &[u8]) -> Vec<u8> {
        let (source, destination) = (SocketAddr::new(self.source, from), SocketAddr::new(self.destination, to));
        let udp = udp::header(source, destination, &[payload]).unwrap();
        self.packet(&[&udp, payload].concat())
    }
}
