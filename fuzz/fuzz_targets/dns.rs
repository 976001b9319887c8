//! Answers of DNS servers, AMTRELAY records, names and resolv.conf.
#![no_main]

use castio::tunnel::amt::dns::{self, Data, Type};
use castio::tunnel::amt::driad::{self, AmtRelay, Shuffle};
use castio::tunnel::amt::name::Name;
use castio::tunnel::amt::reader::Reader;
use castio::tunnel::amt::resolv_conf;
use castio_fuzz::{Feed, ip};
use libfuzzer_sys::fuzz_target;

const KINDS: [Type; 6] = [Type::A, Type::CNAME, Type::PTR, Type::AAAA, Type::SRV, Type::AMTRELAY];

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed::new(data);
    let kind = feed.choose(&KINDS);
    let flags = feed.u8();
    let bytes = feed.rest();
    let name = Name::reverse(ip("192.0.2.1"));
    // An answer that gets as far as its records.
    let mut message = dns::query(7, &name, kind, false);
    message[2] |= 0x80 | flags & 0x02;
    message[3] = flags & 0x0f;
    let counts = bytes.first_chunk::<3>().copied().unwrap_or_default();
    for (index, count) in counts.into_iter().enumerate() {
        message[7 + 2 * index] = count;
    }
    message.extend(bytes.get(3..).unwrap_or_default());
    for message in [bytes, &message] {
        if let Ok(answer) = dns::answer(message, 7, &name, kind) {
            check(answer, u64::from(flags));
        }
    }
    if let Some(relay) = AmtRelay::decode(bytes) {
        let mut again = Vec::new();
        relay.encode(&mut again);
        assert_eq!(AmtRelay::decode(&again), Some(relay));
    }
    names(bytes);
    let text = String::from_utf8_lossy(bytes);
    let servers = resolv_conf::servers(&text);
    assert!((1..=3).contains(&servers.len()) && servers.iter().all(|server| server.port() == 53));
    assert!(resolv_conf::domains(&text).iter().all(|name| !name.is_root()));
});

fn check(answer: dns::Answer, seed: u64) {
    let (mut relays, mut servers) = (Vec::new(), Vec::new());
    for record in answer.records {
        match record {
            Data::Relay(relay) => relays.push(relay),
            Data::Service(server) => servers.push(server),
            _ => {}
        }
    }
    let count = relays.len();
    driad::sort(&mut relays, &mut Shuffle::new(seed));
    driad::sort_servers(&mut servers, &mut Shuffle::new(seed));
    assert_eq!(relays.len(), count);
    assert!(relays.is_sorted_by_key(|relay| relay.precedence) && servers.is_sorted_by_key(|server| server.priority));
}

/// A name is never longer than names are, and comes back as it was.
fn names(bytes: &[u8]) {
    for at in 0..bytes.len().min(64) {
        let Some(name) = Name::read(&mut Reader::new(bytes).from(at)) else { continue };
        let mut again = Vec::new();
        name.write(&mut again);
        assert!(again.len() <= 255);
        assert_eq!(Name::read(&mut Reader::new(&again)).as_ref(), Some(&name));
        if let Some(service) = Name::service(&name) {
            assert!(service.to_string().starts_with("_amt._udp."));
        }
    }
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(Name::parse) {
        let mut again = Vec::new();
        name.write(&mut again);
        assert_eq!(Name::read(&mut Reader::new(&again)), Some(name));
    }
}
