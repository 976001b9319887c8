//! Domain names (RFC 1035, section 3.1), and how a message compresses them (section 4.1.4).

use std::fmt;
use std::net::IpAddr;

use super::reader::Reader;

/// The longest name on the wire, and the longest label.
const NAME_MAX: usize = 255;
const LABEL_MAX: usize = 63;
/// More labels (127) and pointers, one before each, than a name can use.
const STEPS_MAX: usize = 256;

/// A domain name. Two that differ in the case of ASCII letters alone are the same (RFC 4343).
#[derive(Clone, Default)]
pub struct Name {
    /// Labels, each behind its length, without the root's.
    labels: Vec<u8>,
}

impl Name {
    /// From text: labels and dots, the last dot may be missing. `None` if a label or the name is too
    /// long or a label is empty. Escapes aren't known.
    pub fn parse(text: &str) -> Option<Name> {
        let mut name = Name::default();
        let text = text.strip_suffix('.').unwrap_or(text);
        let labels = if text.is_empty() { None } else { Some(text.split('.')) };
        labels.into_iter().flatten().all(|label| name.push(label.as_bytes())).then_some(name)
    }

    /// Where an address's own records are: in `in-addr.arpa` (RFC 1035, section 3.5) or in `ip6.arpa`
    /// (RFC 3596, section 2.5).
    pub fn reverse(address: IpAddr) -> Name {
        let text = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
                let mut text: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
                text.push_str("ip6.arpa");
                text
            }
        };
        Name::parse(&text).unwrap_or_default()
    }

    /// `_amt._udp.<domain>` (RFC 8777, section 3.1.2). `None` if that is too long.
    pub fn service(domain: &Name) -> Option<Name> {
        let mut name = Name::parse("_amt._udp")?;
        domain.labels().all(|label| name.push(label)).then_some(name)
    }

    /// From a message, where it may be compressed.
    pub fn read(reader: &mut Reader<'_>) -> Option<Name> {
        let mut name = Name::default();
        let mut away: Option<Reader<'_>> = None;
        let mut start = reader.at();
        for _ in 0..STEPS_MAX {
            let place = match &mut away {
                Some(away) => away,
                None => &mut *reader,
            };
            match usize::from(place.u8()?) {
                0 => return Some(name),
                len @ 1..=LABEL_MAX => {
                    let label = place.take(len)?;
                    if !name.push(label) {
                        return None;
                    }
                }
                // A pointer leads back, never forward or to itself: no loops.
                high @ 0xc0.. => {
                    let target = (high & 0x3f) << 8 | usize::from(place.u8()?);
                    if target >= start {
                        return None;
                    }
                    start = target;
                    away = Some(place.from(target));
                }
                _ => return None,
            }
        }
        None
    }

    /// Behind what is in `buffer`, uncompressed.
    pub fn write(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.labels);
        buffer.push(0);
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.labels.is_empty()
    }

    fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.labels.as_slice();
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first()?;
            let (label, left) = after.split_at_checked(usize::from(*len))?;
            rest = left;
            Some(label)
        })
    }

    /// Whether the label, and the name with it, are of a length that may be.
    fn push(&mut self, label: &[u8]) -> bool {
        let fits = (1..=LABEL_MAX).contains(&label.len()) && self.labels.len() + label.len() + 2 <= NAME_MAX;
        if let (true, Ok(len)) = (fits, u8::try_from(label.len())) {
            self.labels.push(len);
            self.labels.extend_from_slice(label);
        }
        fits
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        // Lengths are less than any letter, so bytes will do.
        self.labels.eq_ignore_ascii_case(&other.labels)
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    /// With RFC 1035's escapes (section 5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(*byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8], at: usize) -> Option<(String, usize)> {
        let mut reader = Reader::new(message).from(at);
        Name::read(&mut reader).map(|name| (name.to_string(), reader.at()))
    }

    #[test]
    fn names_from_text() {
        for (text, shown) in [("", "."), (".", "."), ("a", "a."), ("amt.Example.com.", "amt.Example.com.")] {
            assert_eq!(Name::parse(text).unwrap().to_string(), shown);
        }
        assert!(Name::parse("A.b").unwrap() == Name::parse("a.B.").unwrap());
        assert!(Name::parse("a.b").unwrap() != Name::parse("ab").unwrap());
        let long = |count: usize| "a".repeat(count);
        assert!(Name::parse(&long(63)).is_some() && Name::parse(&long(64)).is_none());
        let whole = [long(63), long(63), long(63), long(61)].join(".");
        let mut wire = Vec::new();
        Name::parse(&whole).unwrap().write(&mut wire);
        assert_eq!(wire.len(), 255);
        assert!(Name::parse(&format!("{whole}a")).is_none());
        assert!(Name::parse("a..b").is_none() && Name::parse("..").is_none());
        assert!(Name::service(&Name::parse(&whole).unwrap()).is_none());
        assert_eq!(Name::service(&Name::parse("example.com").unwrap()).unwrap().to_string(), "_amt._udp.example.com.");
    }

    #[test]
    fn reverse_names() {
        let reverse = |text: &str| Name::reverse(text.parse().unwrap()).to_string();
        assert_eq!(reverse("198.51.100.12"), "12.100.51.198.in-addr.arpa.");
        assert_eq!(reverse("::ffff:198.51.100.12"), "12.100.51.198.in-addr.arpa.");
        let v6 = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa.";
        assert_eq!(reverse("4321:0:1:2:3:4:567:89ab"), v6, "the example of RFC 3596");
    }

    #[test]
    fn compressed_names() {
        // RFC 1035, section 4.1.4: F.ISI.ARPA, FOO.F.ISI.ARPA, ARPA and the root.
        let mut message = vec![0; 92];
        for (at, bytes) in
            [(20, &b"\x01F\x03ISI\x04ARPA\0"[..]), (40, b"\x03FOO\xc0\x14"), (64, b"\xc0\x1a"), (92, b"\0")]
        {
            message.resize(message.len().max(at + bytes.len()), 0);
            message[at..at + bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(read(&message, 20), Some(("F.ISI.ARPA.".into(), 32)));
        assert_eq!(read(&message, 40), Some(("FOO.F.ISI.ARPA.".into(), 46)));
        assert_eq!(read(&message, 64), Some(("ARPA.".into(), 66)));
        assert_eq!(read(&message, 92), Some((".".into(), 93)));
    }

    #[test]
    fn hostile_names() {
        for (bytes, at) in [
            (&b"\xc0\x00"[..], 0),   // points at itself
            (b"\xc0\x02\x01a\0", 0), // forward
            (b"\x01a\xc0\x00", 0),   // to its own start
            (b"\x01a\xc0\x00", 2),   // back, and round again
            (b"\x40", 0),            // a label of a type that there isn't
            (b"\x80\0", 0),
            (b"\x05abc", 0), // cut
            (b"\x01a", 0),
            (b"\xc0", 0),
            (b"", 0),
        ] {
            assert_eq!(read(bytes, at), None, "{bytes:x?} at {at}");
        }
        // A long chain of pointers, each to the one before.
        let mut chain = b"\x01a\0".to_vec();
        for at in 0..8000u16 {
            let target = if at == 0 { 0 } else { at * 2 + 1 };
            chain.extend((0xc000 | target).to_be_bytes());
        }
        assert_eq!(read(&chain, 3 + 2 * 100), Some(("a.".into(), 205)));
        assert_eq!(read(&chain, chain.len() - 2), None);
        // A name that grows past its limit by pointers.
        let mut growing = b"\0".to_vec();
        let mut last = 0u16;
        for _ in 0..8 {
            let here = growing.len() as u16;
            growing.push(63);
            growing.extend([b'a'; 63]);
            growing.extend((0xc000 | last).to_be_bytes());
            last = here;
        }
        assert_eq!(read(&growing, usize::from(last)), None);
    }

    #[test]
    fn shown_with_escapes() {
        assert_eq!(read(b"\x07a.b \\\xff!\0", 0).unwrap().0, "a\\.b\\032\\\\\\255!.");
    }
}
