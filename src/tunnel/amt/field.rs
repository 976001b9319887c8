//! The fields that AMT's messages share.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Who laid out the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// RFC 7450: flags from the low end of their byte.
    Rfc,
    /// Linux's driver: the same flags from the high end.
    Linux,
}

/// A number that an answer has to repeat: random. A Discovery's isn't 0, and no nonce of this gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 4]);

impl Nonce {
    /// From random bytes. `None` if all are 0.
    pub const fn new(bytes: [u8; 4]) -> Option<Nonce> {
        if u32::from_ne_bytes(bytes) == 0 { None } else { Some(Nonce(bytes)) }
    }

    /// As somebody else chose it.
    pub const fn from_wire(bytes: [u8; 4]) -> Nonce {
        Nonce(bytes)
    }

    /// As it is on the wire.
    pub fn bytes(self) -> [u8; 4] {
        self.0
    }
}

/// The 48 bits by which a relay knows its own Query again. To compare two takes the same time
/// wherever they differ.
#[derive(Clone, Copy, Eq)]
pub struct ResponseMac(pub [u8; 6]);

impl PartialEq for ResponseMac {
    fn eq(&self, other: &ResponseMac) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        // Without black_box the compiler may stop at the first difference.
        pairs.fold(0, |found, (one, two)| std::hint::black_box(found | (one ^ two))) == 0
    }
}

impl fmt::Debug for ResponseMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseMac(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The port and the address of a gateway, as its relay sees them, in the bytes that they came in: a
/// Teardown gives them back as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gateway([u8; Gateway::LEN]);

impl Gateway {
    /// Port 16 bits, address 128.
    pub const LEN: usize = 18;

    /// From the wire.
    pub fn from_bytes(bytes: [u8; Gateway::LEN]) -> Gateway {
        Gateway(bytes)
    }

    /// As it is on the wire.
    pub fn bytes(&self) -> &[u8; Gateway::LEN] {
        &self.0
    }

    /// What the bytes mean. `::ffff:a.b.c.d` isn't what the RFC says, but can't mean anything else
    /// than IPv4; `::` and `::1` can't be IPv4.
    pub fn address(&self) -> SocketAddr {
        let [high, low, address @ ..] = self.0;
        let v6 = Ipv6Addr::from(address);
        let ip = match address {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, first, second, third, fourth] if first != 0 => {
                IpAddr::from([first, second, third, fourth])
            }
            _ => v6.to_canonical(),
        };
        SocketAddr::new(ip, u16::from_be_bytes([high, low]))
    }
}

impl From<SocketAddr> for Gateway {
    /// An IPv4 address stands behind 96 zero bits (RFC 7450, section 5.1.4.9.2).
    fn from(endpoint: SocketAddr) -> Gateway {
        let address = match endpoint.ip().to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let bits = (u128::from(endpoint.port()), address);
        let mut bytes = [0; Gateway::LEN];
        let values = bits.0.to_be_bytes().into_iter().skip(14).chain(bits.1.to_be_bytes());
        bytes.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        Gateway(bytes)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gateway({})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_addresses() {
        for (text, bytes) in [
            ("192.0.2.1:2268", "08dc000000000000000000000000c0000201"),
            ("[2001:db8::7]:65535", "ffff20010db8000000000000000000000007"),
            ("[::1]:1", "000100000000000000000000000000000001"),
            ("[::]:0", "000000000000000000000000000000000000"),
        ] {
            let endpoint: SocketAddr = text.parse().unwrap();
            let gateway = Gateway::from(endpoint);
            let hex: String = gateway.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, bytes, "{text}");
            assert_eq!(gateway.address(), endpoint);
            assert_eq!(Gateway::from_bytes(*gateway.bytes()), gateway);
        }
    }

    #[test]
    fn gateway_mapped() {
        let mapped = "[::ffff:192.0.2.1]:9".parse::<SocketAddr>().unwrap();
        let plain = "192.0.2.1:9".parse::<SocketAddr>().unwrap();
        assert_eq!(Gateway::from(mapped), Gateway::from(plain));
        let mut bytes = *Gateway::from(plain).bytes();
        bytes[12..14].fill(0xff);
        let foreign = Gateway::from_bytes(bytes);
        assert_eq!(foreign.address(), plain);
        assert_eq!(foreign.bytes(), &bytes);
    }

    #[test]
    fn nonce_and_mac() {
        assert_eq!(Nonce::new([0; 4]), None);
        assert_eq!(Nonce::new([0, 0, 0, 1]).unwrap().bytes(), [0, 0, 0, 1]);
        let mac = ResponseMac([1, 2, 3, 4, 5, 6]);
        assert_eq!(mac, ResponseMac([1, 2, 3, 4, 5, 6]));
        for bit in 0..48 {
            let mut other = mac;
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(mac, other);
        }
    }
}
