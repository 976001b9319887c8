//! The resolver against DNS servers on loopback that answer as the test says.

mod support;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use castio::Errno;
use castio::tunnel::amt::dns::{Type, query};
use castio::tunnel::amt::driad::{AmtRelay, Relay};
use castio::tunnel::amt::name::Name;
use castio::tunnel::amt::resolver::{Candidate, Resolver, resolve};
use support::dns::{Asked, Server};

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 12));
/// For what comes, generous; for what never comes, the test waits as long.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

fn amt(precedence: u8, discovery_optional: bool, relay: Relay) -> (Type, Vec<u8>) {
    let mut data = Vec::new();
    AmtRelay { precedence, discovery_optional, relay }.encode(&mut data);
    (Type::AMTRELAY, data)
}

fn one(address: &str) -> (Type, Vec<u8>) {
    amt(10, false, Relay::Address(address.parse().unwrap()))
}

fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    Name::parse(name).unwrap().write(&mut wire);
    wire
}

fn candidate(endpoint: &str, discovery_optional: bool) -> Candidate {
    Candidate { endpoint: endpoint.parse().unwrap(), discovery_optional }
}

fn ask(servers: &[&Server]) -> Result<Vec<Candidate>, Errno> {
    let servers = servers.iter().map(|server| server.address).collect();
    Resolver::new(servers, LONG).relays_of(SOURCE).map(|found| found.relays)
}

/// A port that is free, at an address where no other test opens one.
fn nobody() -> SocketAddr {
    UdpSocket::bind("127.9.9.9:0").unwrap().local_addr().unwrap()
}

#[test]
fn relays_of_a_source() {
    let answers = |asked: &Asked| {
        let records = match (asked.question().0.as_str(), Type(asked.question().1)) {
            ("12.100.51.198.in-addr.arpa.", Type::AMTRELAY) => vec![
                amt(128, true, Relay::Name(Name::parse("amtrelays.example.com").unwrap())),
                amt(20, false, Relay::Address("2001:db8::15".parse().unwrap())),
                amt(10, true, Relay::Address("203.0.113.15".parse().unwrap())),
                amt(200, false, Relay::None),
                amt(201, false, Relay::Address("203.0.113.99".parse().unwrap())),
            ],
            ("amtrelays.example.com.", Type::A) => vec![(Type::A, vec![203, 0, 113, 16])],
            ("amtrelays.example.com.", Type::AAAA) => vec![(Type::AAAA, [0x20; 16].to_vec())],
            other => panic!("{other:?}"),
        };
        vec![asked.reply(0x8180, &records)]
    };
    for host in ["127.0.0.1", "::1"] {
        let server = Server::at(host, answers);
        let found = Resolver::new(vec![server.address], LONG).relays_of(SOURCE).unwrap();
        let expected = [
            candidate("203.0.113.15:2268", true),
            candidate("[2001:db8::15]:2268", false),
            candidate("[2020:2020:2020:2020:2020:2020:2020:2020]:2268", true),
            candidate("203.0.113.16:2268", true),
        ];
        assert_eq!((found.relays.as_slice(), found.ttl), (&expected[..], 99));
        assert!(server.asked().iter().all(|asked| asked.has_edns() && !asked.tcp));
        let ids: std::collections::BTreeSet<_> =
            server.asked().iter().map(|asked| asked.message[..2].to_vec()).collect();
        assert!(ids.len() > 1, "ids at random: {ids:?}");
    }
}

#[test]
fn relays_of_a_domain() {
    let server = Server::new(|asked| {
        let service = |priority, port: u16, target| {
            (Type::SRV, [&[0, priority, 0, 1][..], &port.to_be_bytes(), &wire(target)].concat())
        };
        let records = match (asked.question().0.as_str(), Type(asked.question().1)) {
            ("_amt._udp.example.com.", Type::PTR) => {
                ["b", "a"].map(|name| (Type::PTR, wire(&format!("{name}._amt._udp.example.com")))).into()
            }
            ("a._amt._udp.example.com.", Type::SRV) => vec![service(1, 2268, "ra.example.com")],
            ("b._amt._udp.example.com.", Type::SRV) => vec![service(2, 5000, "rb.example.com")],
            ("ra.example.com.", Type::A) => vec![(Type::A, vec![192, 0, 2, 1])],
            ("rb.example.com.", Type::A) => vec![(Type::A, vec![192, 0, 2, 2])],
            (_, Type::AAAA) => vec![],
            other => panic!("{other:?}"),
        };
        vec![asked.reply(0x8180, &records)]
    });
    let found = Resolver::new(vec![server.address], LONG).relays_in(&Name::parse("example.com").unwrap()).unwrap();
    assert_eq!(found.relays, [candidate("192.0.2.1:2268", false), candidate("192.0.2.2:5000", false)]);
}

#[test]
fn large_answers_by_tcp() {
    let server = Server::new(|asked| {
        let all: Vec<_> = (0..200).map(|_| one("203.0.113.15")).collect();
        vec![if asked.tcp { asked.reply(0x8180, &all) } else { asked.reply(0x8380, &[]) }]
    });
    let found = ask(&[&server]).unwrap();
    assert_eq!(found, vec![candidate("203.0.113.15:2268", false); 32], "no more than anybody needs");
    assert_eq!(server.asked().iter().map(|asked| asked.tcp).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn aliases_asked_for() {
    let server = Server::new(|asked| {
        vec![match asked.question().0.as_str() {
            "12.100.51.198.in-addr.arpa." => asked.reply(0x8180, &[(Type::CNAME, wire("12.relays.example.com"))]),
            "12.relays.example.com." => asked.reply(0x8180, &[one("203.0.113.15")]),
            other => panic!("{other}"),
        }]
    });
    assert_eq!(ask(&[&server]), Ok(vec![candidate("203.0.113.15:2268", false)]));
}

#[test]
fn strangers_ignored() {
    let (send_query, queries) = mpsc::channel::<(Vec<u8>, Vec<u8>)>();
    let server = Server::new(move |asked| {
        let forged = asked.reply(0x8180, &[one("203.0.113.66")]);
        let mut wrong_id = forged.clone();
        wrong_id[0] ^= 1;
        let mut wrong_question = forged.clone();
        wrong_question[13] ^= 1;
        let mut still_a_query = forged.clone();
        still_a_query[2] &= 0x7f;
        let _ = send_query.send((asked.message.clone(), forged));
        let right = asked.reply(0x8180, &[one("203.0.113.15")]);
        vec![vec![], vec![1, 2, 3], wrong_id, wrong_question, still_a_query, right]
    });
    assert_eq!(ask(&[&server]), Ok(vec![candidate("203.0.113.15:2268", false)]));
    let (query_bytes, _) = queries.recv().unwrap();
    let id = u16::from_be_bytes([query_bytes[0], query_bytes[1]]);
    assert_eq!(query_bytes, query(id, &Name::reverse(SOURCE), Type::AMTRELAY, true));
}

/// An answer that is right in everything but where it comes from.
#[test]
fn other_addresses_ignored() {
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut buffer = [0; 512];
        let (len, from) = udp.recv_from(&mut buffer).unwrap();
        let asked = Asked { message: buffer[..len].to_vec(), tcp: false };
        // Refused by a connected socket, which tells a stranger on loopback so.
        stranger.send_to(&asked.reply(0x8180, &[one("203.0.113.66")]), from).unwrap();
        udp.send_to(&asked.reply(0x8180, &[one("203.0.113.15")]), from).unwrap();
    });
    let found = Resolver::new(vec![address], LONG).relays_of(SOURCE).unwrap();
    assert_eq!(found.relays, [candidate("203.0.113.15:2268", false)]);
    server.join().unwrap();
}

#[test]
fn servers_without_edns() {
    for code in [1, 4] {
        let server = Server::new(move |asked| {
            vec![if asked.has_edns() {
                asked.reply(0x8180 | code, &[])
            } else {
                asked.reply(0x8180, &[one("203.0.113.15")])
            }]
        });
        assert_eq!(ask(&[&server]), Ok(vec![candidate("203.0.113.15:2268", false)]));
        assert_eq!(server.asked().iter().map(Asked::has_edns).collect::<Vec<_>>(), [true, false]);
    }
}

#[test]
fn the_next_server_asked() {
    let good = Server::new(|asked| vec![asked.reply(0x8180, &[one("203.0.113.15")])]);
    let expected = Ok(vec![candidate("203.0.113.15:2268", false)]);
    let failing = Server::new(|asked| vec![asked.reply(0x8182, &[])]);
    assert_eq!(ask(&[&failing, &good]), expected);
    let nonsense = Server::new(|asked| vec![[&asked.reply(0x8180, &[])[..7], &[9], &asked.message[8..]].concat()]);
    let found = ask(&[&nonsense, &good]);
    assert!(found == expected, "{found:?}");
    let found = Resolver::new(vec![nobody(), good.address], LONG).relays_of(SOURCE).map(|found| found.relays);
    assert_eq!(found, expected);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let found = Resolver::new(vec![silent.local_addr().unwrap(), good.address], Duration::from_secs(4));
    assert_eq!(found.relays_of(SOURCE).map(|found| found.relays), expected);
}

#[test]
fn each_asked_again() {
    let silent_once = AtomicBool::new(true);
    let server = Server::new(move |asked| {
        if silent_once.swap(false, Ordering::Relaxed) {
            vec![]
        } else {
            vec![asked.reply(0x8180, &[one("203.0.113.15")])]
        }
    });
    let found = Resolver::new(vec![server.address], Duration::from_secs(4)).relays_of(SOURCE).unwrap();
    assert_eq!(found.relays, [candidate("203.0.113.15:2268", false)]);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn failures_told() {
    let no_name = Server::new(|asked| vec![asked.reply(0x8183, &[])]);
    assert_eq!(ask(&[&no_name]), Err(Errno::ENOENT));
    assert_eq!(no_name.asked().len(), 1, "an answer, not a failure");
    let nothing = Server::new(|asked| vec![asked.reply(0x8180, &[])]);
    assert_eq!(ask(&[&nothing]), Ok(vec![]));
    let failing = Server::new(|asked| vec![asked.reply(0x8182, &[])]);
    assert_eq!(ask(&[&failing]), Err(Errno::EIO));
    let circle = Server::new(|asked| {
        let next = if asked.question().0.starts_with("a.") { "b.example" } else { "a.example" };
        vec![asked.reply(0x8180, &[(Type::CNAME, wire(next))])]
    });
    assert_eq!(ask(&[&circle]), Err(Errno::EIO));
    let hang_up = Server::new(|asked| if asked.tcp { vec![] } else { vec![asked.reply(0x8380, &[])] });
    assert_eq!(ask(&[&hang_up]), Err(Errno::EIO));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let found = Resolver::new(vec![silent.local_addr().unwrap()], SHORT).relays_of(SOURCE);
    assert_eq!(found, Err(Errno::ETIMEDOUT));
    assert_eq!(Resolver::new(vec![no_name.address], Duration::ZERO).relays_of(SOURCE), Err(Errno::ETIMEDOUT));
    assert_eq!(Resolver::new(vec![nobody()], LONG).relays_of(SOURCE), Err(Errno::ECONNREFUSED));
}

#[test]
fn servers_from_text() {
    assert_eq!(resolve(SOURCE, Duration::ZERO, "nameserver 127.0.0.1\n"), Err(Errno::ETIMEDOUT));
}
