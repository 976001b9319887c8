//! As much of DNS as finding a relay takes: a query, and what a response says (RFC 1035, section 4;
//! EDNS of RFC 6891).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::driad::{AmtRelay, Server};
use super::name::Name;
use super::reader::Reader;

/// How many aliases in a row are followed.
const ALIASES_MAX: usize = 16;
/// The largest UDP response asked for: none is cut into fragments on the way.
const UDP_MAX: u16 = 1232;
const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;

/// Record types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type(pub u16);

#[allow(missing_docs, reason = "IANA's names")]
impl Type {
    pub const A: Type = Type(1);
    pub const CNAME: Type = Type(5);
    pub const PTR: Type = Type(12);
    pub const AAAA: Type = Type(28);
    pub const SRV: Type = Type(33);
    pub const AMTRELAY: Type = Type(260);
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A and AAAA.
    Address(IpAddr),
    /// CNAME: the name's other name.
    Alias(Name),
    /// PTR.
    Pointer(Name),
    /// SRV.
    Service(Server),
    /// AMTRELAY (RFC 8777).
    Relay(AmtRelay),
}

/// Why there is no answer in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not a response, or to another question: wait on for the right one.
    NotOurs,
    /// The server can't read the query (FORMERR): ask again without EDNS.
    Format,
    /// Cut to fit a UDP datagram (TC): ask by TCP.
    Truncated,
    /// There is no such name (NXDOMAIN).
    NoName,
    /// The server could not find out (SERVFAIL): ask another.
    Server,
    /// Another code: 4 not implemented, 5 refused, ...
    Code(u16),
    /// Nonsense.
    Malformed,
}

/// What the name has of the type asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name at the end of all aliases; the one asked for if there are none.
    pub name: Name,
    /// The records; none if the name has none, or if the server left it at an alias.
    pub records: Vec<Data>,
    /// How many seconds all of it is good for; 0 if there is nothing.
    pub ttl: u32,
}

/// A query for recursion.
pub fn query(id: u16, name: &Name, kind: Type, edns: bool) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    // RD; one question; OPT is an additional record.
    [id, 0x0100, 1, 0, 0, u16::from(edns)].into_iter().for_each(|word| message.extend(word.to_be_bytes()));
    name.write(&mut message);
    message.extend(kind.0.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    if edns {
        message.push(0);
        message.extend(TYPE_OPT.to_be_bytes());
        message.extend(UDP_MAX.to_be_bytes());
        message.extend([0; 6]);
    }
    message
}

/// What a response to `query(id, name, kind)` says.
pub fn answer(message: &[u8], id: u16, name: &Name, kind: Type) -> Result<Answer, Failure> {
    let mut reader = Reader::new(message);
    let header = reader.words::<6>().ok_or(Failure::NotOurs)?;
    let [found_id, flags, questions, answers, authorities, additional] = header;
    // QR set, opcode 0; TC and the code are in the other bits.
    let ours = found_id == id && flags & 0xf800 == 0x8000;
    if !(ours && questions == 1 && is_question(&mut reader, name, kind)) {
        // A server that can't read a query may leave the question out.
        let format = ours && questions == 0 && flags & 0x000f == 1;
        return Err(if format { Failure::Format } else { Failure::NotOurs });
    }
    if flags & 0x0200 != 0 {
        return Err(Failure::Truncated);
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        records.push(Record::read(&mut reader).ok_or(Failure::Malformed)?);
    }
    let others = u32::from(authorities) + u32::from(additional);
    match flags & 0x000f | extended_code(&mut reader, others) {
        0 => follow(&records, name, kind),
        1 => Err(Failure::Format),
        2 => Err(Failure::Server),
        3 => Err(Failure::NoName),
        code => Err(Failure::Code(code)),
    }
}

fn is_question(reader: &mut Reader<'_>, name: &Name, kind: Type) -> bool {
    Name::read(reader).as_ref() == Some(name) && reader.words() == Some([kind.0, CLASS_IN])
}

/// The upper bits of the code, in the OPT record (RFC 6891, section 6.1.3). Nothing else of these
/// records matters, so neither does damage.
fn extended_code(reader: &mut Reader<'_>, count: u32) -> u16 {
    let mut records = (0..count).map_while(|_| Record::read(reader));
    records.find(|record| record.kind.0 == TYPE_OPT).map_or(0, |opt| (opt.ttl >> 24 << 4) as u16)
}

fn follow(records: &[Record], name: &Name, kind: Type) -> Result<Answer, Failure> {
    let (mut name, mut limit) = (name.clone(), None);
    for _ in 0..ALIASES_MAX {
        let of_name = || records.iter().filter(|record| record.class == CLASS_IN && record.name == name);
        let found = || of_name().filter(|record| record.kind == kind);
        if let Some(shortest) = found().map(|record| record.ttl).min() {
            // Those that can't be read are passed over: the others may be right.
            let records = found().filter_map(|record| record.data.clone()).collect();
            return Ok(Answer { name, records, ttl: shortest.min(limit.unwrap_or(shortest)) });
        }
        let alias = of_name().find_map(|record| match &record.data {
            Some(Data::Alias(alias)) => Some((alias.clone(), record.ttl)),
            _ => None,
        });
        match alias {
            Some((alias, ttl)) => (name, limit) = (alias, Some(ttl.min(limit.unwrap_or(ttl)))),
            None => return Ok(Answer { name, records: Vec::new(), ttl: limit.unwrap_or(0) }),
        }
    }
    Err(Failure::Malformed)
}

struct Record {
    name: Name,
    kind: Type,
    class: u16,
    ttl: u32,
    /// `None` for types that aren't asked for, and for what isn't of its type's form.
    data: Option<Data>,
}

impl Record {
    fn read(reader: &mut Reader<'_>) -> Option<Record> {
        let name = Name::read(reader)?;
        let [kind, class, high, low, len] = reader.words()?;
        let mut data = reader.part(usize::from(len))?;
        let data = Data::read(&mut data, Type(kind)).filter(|_| data.is_at_end());
        // A TTL with its highest bit set counts as 0 (RFC 2181, section 8), but in an OPT record.
        let ttl = u32::from(high) << 16 | u32::from(low);
        let ttl = if ttl >> 31 != 0 && kind != TYPE_OPT { 0 } else { ttl };
        Some(Record { name, kind: Type(kind), class, ttl, data })
    }
}

impl Data {
    fn read(reader: &mut Reader<'_>, kind: Type) -> Option<Data> {
        match kind {
            Type::A => Some(Data::Address(Ipv4Addr::from(reader.array()?).into())),
            Type::AAAA => Some(Data::Address(Ipv6Addr::from(reader.array::<16>()?).into())),
            Type::CNAME => Name::read(reader).map(Data::Alias),
            Type::PTR => Name::read(reader).map(Data::Pointer),
            Type::SRV => {
                let [priority, weight, port] = reader.words()?;
                Some(Data::Service(Server { priority, weight, port, target: Name::read(reader)? }))
            }
            Type::AMTRELAY => AmtRelay::decode(reader.take(reader.left())?).map(Data::Relay),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
