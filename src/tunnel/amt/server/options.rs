//! What a relay is opened with, from text and numbers as the caller has them; 0 is the default.

use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use crate::address::Scoped;
use crate::error::{Errno, Result};
use crate::multicast::manager::selector::Selector;
use crate::tunnel::amt::PORT;
use crate::tunnel::amt::relay::Settings;

/// The longest interval that a query can tell (RFC 3376, section 4.1.7).
const INTERVAL_MAX: u64 = 31_744;
/// The least MTU of IPv6, which leaves room for something.
const MTU_MIN: usize = 1280;
const MTU_MAX: usize = 65_535;
const MTU: usize = 1500;

/// What is opened.
pub struct Options {
    /// How the relay behaves.
    pub settings: Settings,
    /// Where gateways ask.
    pub listen: Vec<SocketAddr>,
    /// Where multicast comes from.
    pub upstream: Vec<Selector>,
    /// The UDP ports that are forwarded; none for whole packets of any kind.
    pub ports: Vec<u16>,
    /// Packets keep their TTL.
    pub keep_ttl: bool,
    /// The MTU of the networks to gateways.
    pub mtu: usize,
}

impl Default for Options {
    /// At all addresses; multicast from the interfaces that the routes to groups lead to.
    fn default() -> Options {
        Options {
            settings: Settings::default(),
            listen: Vec::new(),
            upstream: vec![Selector::Route],
            ports: Vec::new(),
            keep_ttl: false,
            mtu: MTU,
        }
    }
}

/// Words between commas or spaces; `EINVAL` if there is none.
fn words(text: &CStr) -> Result<impl Iterator<Item = &str>> {
    let text = text.to_str().map_err(|_| Errno::EINVAL)?;
    let mut words = text.split([',', ' ']).filter(|word| !word.is_empty()).peekable();
    if words.peek().is_some() { Ok(words) } else { Err(Errno::EINVAL) }
}

fn c_text(word: &str) -> Result<CString> {
    CString::new(word).map_err(|_| Errno::EINVAL)
}

impl Options {
    /// The addresses, all if none is given, at a port.
    pub fn listen(&mut self, text: Option<&CStr>, port: u16) -> Result<()> {
        let port = if port == 0 { PORT } else { port };
        let Some(text) = text else {
            let all: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            self.listen = all.map(|address| SocketAddr::new(address, port)).into();
            return Ok(());
        };
        for word in words(text)? {
            let Scoped { ip, scope } = Scoped::parse(&c_text(word)?)?;
            if ip.is_multicast() {
                return Err(Errno::EINVAL);
            }
            self.listen.push(match ip {
                IpAddr::V4(_) => SocketAddr::new(ip, port),
                IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
            });
        }
        Ok(())
    }

    /// The addresses that Advertisements tell, at most one of each family.
    pub fn advertise(&mut self, text: &CStr) -> Result<()> {
        for word in words(text)? {
            let ip: IpAddr = word.parse().map_err(|_| Errno::EINVAL)?;
            let settings = &mut self.settings;
            let is_first = match ip {
                _ if ip.is_multicast() || ip.is_unspecified() => false,
                IpAddr::V4(v4) => settings.advertise_v4.replace(v4).is_none(),
                IpAddr::V6(v6) => settings.advertise_v6.replace(v6).is_none(),
            };
            if !is_first {
                return Err(Errno::EINVAL);
            }
        }
        Ok(())
    }

    /// The interfaces that multicast comes from.
    pub fn upstream(&mut self, text: &CStr) -> Result<()> {
        self.upstream.clear();
        for word in words(text)? {
            let selector = Selector::parse(&c_text(word)?)?;
            if self.upstream.contains(&selector) {
                return Err(Errno::EINVAL);
            }
            self.upstream.push(selector);
        }
        Ok(())
    }

    /// The interval of queries in seconds, and how many reports in a row may be lost.
    pub fn queries(&mut self, seconds: u32, robustness: u32) -> Result<()> {
        if seconds > 0 {
            let seconds = Some(u64::from(seconds)).filter(|seconds| *seconds <= INTERVAL_MAX).ok_or(Errno::EINVAL)?;
            self.settings.query_interval = Duration::from_secs(seconds);
        }
        if robustness > 0 {
            let robustness = u8::try_from(robustness).ok().filter(|number| *number <= 7);
            self.settings.robustness = robustness.ok_or(Errno::EINVAL)?;
        }
        Ok(())
    }

    /// The MTU of the networks to gateways.
    pub fn mtu(&mut self, mtu: u32) -> Result<()> {
        if mtu > 0 {
            let range = MTU_MIN..=MTU_MAX;
            self.mtu = Some(mtu as usize).filter(|mtu| range.contains(mtu)).ok_or(Errno::EINVAL)?;
        }
        Ok(())
    }

    /// The UDP ports that are forwarded.
    pub fn ports(&mut self, ports: &[u16]) -> Result<()> {
        if ports.contains(&0) {
            return Err(Errno::EINVAL);
        }
        self.ports = ports.to_vec();
        self.ports.sort_unstable();
        self.ports.dedup();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_from_text() {
        let listen = |text: Option<&CStr>, port| {
            let mut options = Options::default();
            options.listen(text, port).map(|()| options.listen.iter().map(SocketAddr::to_string).collect::<Vec<_>>())
        };
        assert_eq!(listen(None, 0).unwrap(), ["0.0.0.0:2268", "[::]:2268"]);
        assert_eq!(listen(Some(c"192.0.2.1, 2001:db8::1"), 7).unwrap(), ["192.0.2.1:7", "[2001:db8::1]:7"]);
        for wrong in [c"", c" ,", c"239.1.2.3", c"host", c"192.0.2.1:2268"] {
            assert_eq!(listen(Some(wrong), 0), Err(Errno::EINVAL), "{wrong:?}");
        }
        let advertise = |text| Options::default().advertise(text);
        assert_eq!(advertise(c"192.0.2.1 2001:db8::1"), Ok(()));
        assert_eq!(advertise(c"192.0.2.1 192.0.2.2"), Err(Errno::EINVAL));
        assert_eq!(advertise(c"::"), Err(Errno::EINVAL));
    }

    #[test]
    fn numbers() {
        let mut options = Options::default();
        assert_eq!(options.queries(0, 0), Ok(()));
        assert_eq!(options.settings.query_interval, Duration::from_secs(125));
        assert_eq!((options.queries(31_745, 2), options.queries(1, 8)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
        assert_eq!((options.mtu(1279), options.mtu(0)), (Err(Errno::EINVAL), Ok(())));
        assert_eq!((options.ports(&[5, 0]), options.ports(&[5, 6, 5])), (Err(Errno::EINVAL), Ok(())));
        assert_eq!(options.ports, [5, 6]);
        assert_eq!((options.upstream(c"eth*, eth*"), options.upstream(c"eth0 3")), (Err(Errno::EINVAL), Ok(())));
    }
}
