//! Queries byte by byte, responses made by hand, and hostile ones.

use super::super::driad::Relay;
use super::super::siphash::siphash;
use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

const ASKED: &str = "12.100.51.198.in-addr.arpa";
const ID: u16 = 0x1234;

/// A response to the question for AMTRELAY, with records after it.
struct Response {
    flags: u16,
    counts: [u16; 4],
    body: Vec<u8>,
}

impl Response {
    fn new(flags: u16) -> Response {
        let question = query(ID, &name(ASKED), Type::AMTRELAY, false).split_off(12);
        Response { flags, counts: [1, 0, 0, 0], body: question }
    }

    /// `owner` and `data` as they are on the wire; `section` 1 is the answer.
    fn record(mut self, section: usize, owner: &[u8], kind: Type, ttl: u32, data: &[u8]) -> Response {
        self.counts[section] += 1;
        self.body.extend(owner);
        [kind.0, CLASS_IN].into_iter().for_each(|word| self.body.extend(word.to_be_bytes()));
        self.body.extend(ttl.to_be_bytes());
        self.body.extend((data.len() as u16).to_be_bytes());
        self.body.extend(data);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut message = [ID, self.flags].map(u16::to_be_bytes).concat();
        self.counts.iter().for_each(|count| message.extend(count.to_be_bytes()));
        [message, self.body.clone()].concat()
    }

    fn answer(&self) -> Result<Answer, Failure> {
        answer(&self.bytes(), ID, &name(ASKED), Type::AMTRELAY)
    }
}

/// A pointer to the question's name.
const OWNER: &[u8] = &[0xc0, 12];

fn v4_relay(precedence: u8, last: u8) -> Data {
    let relay = Relay::Address(IpAddr::from([203, 0, 113, last]));
    Data::Relay(AmtRelay { precedence, discovery_optional: false, relay })
}

#[test]
fn golden_query() {
    let plain = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x0212\x03100\x0251\x03198\x07in-addr\x04arpa\0\x01\x04\0\x01";
    assert_eq!(query(ID, &name(ASKED), Type::AMTRELAY, false), plain);
    let edns = query(ID, &name(ASKED), Type::AMTRELAY, true);
    assert_eq!(edns[..12], *b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\x01");
    assert_eq!(edns[12..plain.len()], plain[12..]);
    assert_eq!(edns[plain.len()..], *b"\0\0\x29\x04\xd0\0\0\0\0\0\0", "OPT, 1,232 bytes");
}

#[test]
fn answers_with_relays() {
    let response = Response::new(0x8180)
        .record(1, OWNER, Type::AMTRELAY, 300, &[10, 1, 203, 0, 113, 15])
        .record(1, OWNER, Type::AMTRELAY, 60, &[20, 1, 203, 0, 113, 16])
        .record(1, OWNER, Type::AMTRELAY, 300, &[5, 99, 1])
        .record(1, OWNER, Type::A, 1, &[192, 0, 2, 1])
        .record(3, &[0], Type(TYPE_OPT), 0, &[]);
    let found = response.answer().unwrap();
    assert_eq!(found, Answer { name: name(ASKED), records: vec![v4_relay(10, 15), v4_relay(20, 16)], ttl: 60 });
}

#[test]
fn aliases_followed() {
    // As RFC 2317 delegates less than a byte of addresses. The second alias ends in a pointer.
    let second = Response::new(0x8180).body.len() + 12 + 12;
    let response = Response::new(0x8180)
        .record(1, OWNER, Type::CNAME, 50, b"\x02R1\x07example\x03com\0")
        .record(1, b"\x02r1\x07EXAMPLE\x03com\0", Type::CNAME, 70, &[2, b'r', b'2', 0xc0, second as u8 + 3])
        .record(1, b"\x02r2\x07example\x03com\0", Type::AMTRELAY, 90, &[10, 1, 203, 0, 113, 15]);
    let found = response.answer().unwrap();
    assert_eq!(found, Answer { name: name("r2.example.com"), records: vec![v4_relay(10, 15)], ttl: 50 });

    let alone = Response::new(0x8180).record(1, OWNER, Type::CNAME, 50, b"\x02R1\x07example\x03com\0");
    assert_eq!(alone.answer(), Ok(Answer { name: name("r1.example.com"), records: vec![], ttl: 50 }));
    let round = Response::new(0x8180).record(1, OWNER, Type::CNAME, 50, OWNER);
    assert_eq!(round.answer(), Err(Failure::Malformed));
}

#[test]
fn answers_of_other_types() {
    let ask = |kind, data: &[u8]| {
        let mut message = query(ID, &name("_amt._udp.example.com"), kind, false);
        message[2] = 0x81;
        message[7] = 1;
        message.extend(OWNER);
        message.extend(kind.0.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 9, 0, data.len() as u8]);
        message.extend(data);
        answer(&message, ID, &name("_amt._udp.example.com"), kind).map(|answer| answer.records)
    };
    let address = |text: &str| Ok(vec![Data::Address(text.parse().unwrap())]);
    assert_eq!(ask(Type::A, &[192, 0, 2, 1]), address("192.0.2.1"));
    assert_eq!(ask(Type::A, &[192, 0, 2]), Ok(vec![]));
    assert_eq!(ask(Type::A, &[192, 0, 2, 1, 0]), Ok(vec![]));
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(ask(Type::AAAA, &v6), address("2001:db8::1"));
    let instance = ask(Type::PTR, &[&[6][..], b"Relay.\xc0\x0c"].concat()).unwrap();
    assert_eq!(format!("{instance:?}"), "[Pointer(Relay\\.._amt._udp.example.com.)]");
    let server = Server { priority: 1, weight: 2, port: 2268, target: name("r.example") };
    let data = [&[0, 1, 0, 2, 8, 220][..], b"\x01r\x07example\0"].concat();
    assert_eq!(ask(Type::SRV, &data), Ok(vec![Data::Service(server)]));
}

#[test]
fn codes_told() {
    let none = || Answer { name: name(ASKED), records: vec![], ttl: 0 };
    assert_eq!(Response::new(0x8180).answer(), Ok(none()));
    for (flags, failure) in [
        (0x8181, Failure::Format),
        (0x8182, Failure::Server),
        (0x8183, Failure::NoName),
        (0x8185, Failure::Code(5)),
        (0x8380, Failure::Truncated),
        (0x0180, Failure::NotOurs), // a query
        (0x8980, Failure::NotOurs), // another opcode
    ] {
        assert_eq!(Response::new(flags).answer(), Err(failure), "{flags:04x}");
    }
    let extended = Response::new(0x8180).record(3, &[0], Type(TYPE_OPT), 0x0100_0000, &[]);
    assert_eq!(extended.answer(), Err(Failure::Code(16)));
}

#[test]
fn only_our_own() {
    let message = Response::new(0x8180).bytes();
    let ask = |id, text: &str, kind| answer(&message, id, &name(text), kind);
    assert!(ask(ID, ASKED, Type::AMTRELAY).is_ok());
    assert!(ask(ID, &ASKED.to_uppercase(), Type::AMTRELAY).is_ok());
    assert_eq!(ask(ID + 1, ASKED, Type::AMTRELAY), Err(Failure::NotOurs));
    assert_eq!(ask(ID, "13.100.51.198.in-addr.arpa", Type::AMTRELAY), Err(Failure::NotOurs));
    assert_eq!(ask(ID, ASKED, Type::A), Err(Failure::NotOurs));
    let mut bare = message[..12].to_vec();
    bare[5] = 0;
    assert_eq!(answer(&bare, ID, &name(ASKED), Type::AMTRELAY), Err(Failure::NotOurs));
    bare[3] |= 1;
    assert_eq!(answer(&bare, ID, &name(ASKED), Type::AMTRELAY), Err(Failure::Format));
}

#[test]
fn long_lives() {
    let of = |ttl| Response::new(0x8180).record(1, OWNER, Type::AMTRELAY, ttl, &[10, 1, 203, 0, 113, 15]);
    assert_eq!(of(0x7fff_ffff).answer().unwrap().ttl, 0x7fff_ffff);
    assert_eq!(of(0x8000_0000).answer().unwrap().ttl, 0);
}

#[test]
fn hostile_responses() {
    let whole = Response::new(0x8180)
        .record(1, OWNER, Type::CNAME, 50, b"\x02R1\x07example\x03com\0")
        .record(1, b"\x02r1\x07example\x03com\0", Type::AMTRELAY, 90, &[10, 1, 203, 0, 113, 15])
        .record(3, &[0], Type(TYPE_OPT), 0, &[])
        .bytes();
    let ask = |message: &[u8]| answer(message, ID, &name(ASKED), Type::AMTRELAY);
    // The OPT record's 11 bytes may be cut.
    for len in 0..whole.len() - 11 {
        assert!(ask(&whole[..len]).is_err(), "{len} bytes");
    }
    for at in 0..whole.len() {
        for value in 0..=255 {
            let mut message = whole.clone();
            message[at] = value;
            let _ = ask(&message);
        }
    }
    for seed in 0..2_000u64 {
        let len = seed as usize % 200;
        let random = (0..len as u64).map(|at| siphash(&[5; 16], &[seed, at].map(u64::to_le_bytes).concat()) as u8);
        let message: Vec<u8> = whole[..whole.len().min(32 + len)].iter().copied().chain(random).collect();
        let _ = ask(&message);
    }
    // As many records as the counts can name, and as the bytes can hold, are done with at once.
    let mut many = Response::new(0x8180);
    many.counts = [1, 0xffff, 0xffff, 0xffff];
    many.body.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 0].repeat(5000));
    assert_eq!(many.answer(), Err(Failure::Malformed));
}
