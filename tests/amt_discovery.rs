//! Which relays carry a source, by the DNS servers of /etc/resolv.conf.

mod support;

use std::ffi::{CStr, c_char};
use std::ptr;

use castio::Errno;
use castio::ffi::amt::{castio_amt_close, castio_amt_open};
use castio::ffi::amt_discovery::castio_amt_find_relays;
use castio::tunnel::amt::dns::Type;
use castio::tunnel::amt::driad::{AmtRelay, Relay};
use castio::tunnel::amt::name::Name;
use support::dns::{Asked, Server, set_resolv_conf};
use support::examples::{both_ways, example};
use support::face::{call, text};
use support::far::{Far, NEAR, SOURCES, ended, say, sender, start_on, until};
use support::hosts::{self, Host};
use support::programs::Linkage;

/// For what comes, generous; for what never comes, the test waits as long.
const LONG_MS: i32 = 60_000;
const SHORT_MS: i32 = 300;
const ANYCAST: &str = "192.52.193.1,2001:3::1";
const GROUP: &str = "232.1.2.3";

fn amt(precedence: u8, relay: Relay) -> (Type, Vec<u8>) {
    let mut data = Vec::new();
    AmtRelay { precedence, discovery_optional: false, relay }.encode(&mut data);
    (Type::AMTRELAY, data)
}

fn at(precedence: u8, address: &str) -> (Type, Vec<u8>) {
    amt(precedence, Relay::Address(address.parse().unwrap()))
}

/// Sources 192.0.2.1 and so on, and one of IPv6.
fn answers(asked: &Asked) -> Vec<Vec<u8>> {
    let (name, kind) = asked.question();
    let named = || amt(20, Relay::Name(Name::parse("relays.example").unwrap()));
    let records = match (name.as_str(), Type(kind)) {
        ("1.2.0.192.in-addr.arpa.", Type::AMTRELAY) => vec![named(), at(10, "203.0.113.15")],
        ("relays.example.", Type::AAAA) => vec![(Type::AAAA, [0x20; 16].to_vec())],
        // One that nobody can have beside one that somebody has.
        ("relays.example.", Type::A) => vec![(Type::A, vec![0; 4]), (Type::A, vec![203, 0, 113, 16])],
        ("2.2.0.192.in-addr.arpa.", Type::AMTRELAY) => return vec![asked.reply(0x8183, &[])],
        ("3.2.0.192.in-addr.arpa.", Type::AMTRELAY) => vec![],
        ("4.2.0.192.in-addr.arpa.", Type::AMTRELAY) => vec![amt(11, Relay::None), at(10, "203.0.113.15")],
        ("5.2.0.192.in-addr.arpa.", Type::AMTRELAY) => vec![amt(10, Relay::None), at(11, "203.0.113.15")],
        ("6.2.0.192.in-addr.arpa.", Type::AMTRELAY) => return vec![asked.reply(0x8182, &[])],
        ("7.2.0.192.in-addr.arpa.", Type::AMTRELAY) => return vec![],
        (name, Type::AMTRELAY) if name.ends_with("8.b.d.0.1.0.0.2.ip6.arpa.") => {
            vec![at(10, "2001:3::1"), at(20, "239.1.2.3")]
        }
        other => panic!("{other:?}"),
    };
    vec![asked.reply(0x8180, &records)]
}

fn find_into(host: &Host, source: &str, timeout_ms: i32, buf: &mut [u8]) -> Result<i64, Errno> {
    let source = text(source);
    host.run(|| {
        // SAFETY: text that ends in a NUL, and room for so many bytes.
        call(|| unsafe {
            castio_amt_find_relays(source.as_ptr(), timeout_ms, buf.as_mut_ptr().cast::<c_char>(), buf.len()) as i64
        })
    })
}

fn find(host: &Host, source: &str, timeout_ms: i32) -> Result<String, Errno> {
    let mut buf = [0xff; 2048];
    let len = find_into(host, source, timeout_ms, &mut buf)?;
    let found = CStr::from_bytes_until_nul(&buf).unwrap();
    assert_eq!(found.count_bytes() as i64, len);
    // SAFETY: text that ends in a NUL, and a place.
    host.run(|| unsafe {
        let mut handle = ptr::null_mut();
        assert_eq!(call(|| castio_amt_open(found.as_ptr(), ptr::null(), &raw mut handle)), Ok(0), "{found:?}");
        castio_amt_close(handle);
    });
    Ok(found.to_str().unwrap().to_owned())
}

#[test]
fn relays_as_the_gateway_takes_them() {
    hosts::test(|network| {
        let host = network.host("one");
        if !set_resolv_conf(&host, "nameserver 127.0.0.1\n") {
            return;
        }
        let server = host.run(|| Server::on("127.0.0.1", 53, answers));
        let first = format!("203.0.113.15,2020:2020:2020:2020:2020:2020:2020:2020,203.0.113.16,{ANYCAST}");
        assert_eq!(find(&host, "192.0.2.1", LONG_MS).as_ref(), Ok(&first));
        assert_eq!(find(&host, "::ffff:192.0.2.1", -1).as_ref(), Ok(&first));
        // No such name, and a name without relays.
        for source in ["192.0.2.2", "192.0.2.3"] {
            assert_eq!(find(&host, source, LONG_MS).as_deref(), Ok(ANYCAST));
        }
        // A record that says: no other; and one that says: none.
        assert_eq!(find(&host, "192.0.2.4", LONG_MS).as_deref(), Ok("203.0.113.15"));
        assert_eq!(find(&host, "192.0.2.5", LONG_MS), Err(Errno::ENOENT));
        assert_eq!(find(&host, "2001:db8::7", LONG_MS).as_deref(), Ok("2001:3::1,192.52.193.1"));

        let mut short = [0xff; 6];
        assert_eq!(find_into(&host, "192.0.2.1", LONG_MS, &mut short[..5]), Ok(first.len() as i64));
        assert_eq!(&short, b"203.\0\xff");
        assert_eq!(find_into(&host, "192.0.2.1", LONG_MS, &mut []), Ok(first.len() as i64));

        assert_eq!(find(&host, "192.0.2.6", LONG_MS), Err(Errno::EIO));
        assert_eq!(find(&host, "192.0.2.7", SHORT_MS), Err(Errno::ETIMEDOUT));
        let asked = server.asked().len();
        assert_eq!(find(&host, "192.0.2.1", 0), Err(Errno::ETIMEDOUT));
        for source in ["", "a.example", "0.0.0.0", "::", "232.1.2.3", "ff3e::7", "192.0.2.1%lo", "fd01::1%lo"] {
            assert_eq!(find(&host, source, LONG_MS), Err(Errno::EINVAL), "{source}");
        }
        assert_eq!(find(&host, "fe80::1%nope", LONG_MS), Err(Errno::ENODEV));
        // SAFETY: NULL is checked.
        let null = || unsafe { castio_amt_find_relays(c"192.0.2.1".as_ptr(), LONG_MS, ptr::null_mut(), 1) as i64 };
        assert_eq!(host.run(|| call(null)), Err(Errno::EFAULT));
        assert_eq!(server.asked().len(), asked, "nothing was asked for these");
        host.run(|| drop(server));

        assert_eq!(find(&host, "192.0.2.1", LONG_MS), Err(Errno::ECONNREFUSED));
        let host = network.host("two");
        assert!(set_resolv_conf(&host, "nameserver 198.51.100.1\n"));
        assert_eq!(find(&host, "192.0.2.1", LONG_MS), Err(Errno::ENETUNREACH));
    });
}

#[test]
fn amt_gateway_discovers() {
    hosts::test(|network| {
        let far = Far::new(network);
        let Some(relaying) = example("amt_relay", Linkage::Shared) else { return };
        if !set_resolv_conf(&far.far, "nameserver 127.0.0.1\n") {
            return;
        }
        let server = far.far.run(|| {
            Server::on("127.0.0.1", 53, |asked| {
                assert_eq!(asked.question(), ("1.0.1.10.in-addr.arpa.".to_owned(), Type::AMTRELAY.0));
                vec![asked.reply(0x8180, &[at(10, NEAR[0])])]
            })
        });
        both_ways("amt_gateway", |program| {
            let mut serving = start_on(&far.near, &relaying, &["-i", "in0", "--packets", "--json"]);
            until(&mut serving, "serves", |_| true);
            let wish = format!("{GROUP}@{}", SOURCES[0]);
            let mut gateway = start_on(&far.far, program, &["-D", "-l", "-n", "1", "239.9.9.9", &wish]);
            until(&mut serving, "wanted", |seen| seen["groups"].as_array().unwrap().len() == 2);
            say(&far.source, &sender(&far.source, SOURCES[0], 9), "found", GROUP);
            assert!(gateway.line().ends_with(": found"));
            let done = gateway.finish();
            let told = format!("relays of {}: {},{ANYCAST}\n", SOURCES[0], NEAR[0]);
            assert!(done.passed() && done.errors.contains(&told), "{done:?}");
            assert!(done.errors.contains("amt_gateway: discovering"), "{done:?}");
            ended(serving, libc::SIGTERM);
        });
        far.far.run(|| drop(server));
    });
}
