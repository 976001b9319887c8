//! A group wherever it comes from: native multicast first, a tunnel where there is none, and back.

mod support;

use std::net::SocketAddr;
use std::ptr;
use std::time::{Duration, Instant};

use castio::Errno;
use castio::ffi::subscribe::*;
use castio::ffi::subscription::*;
use support::amt::{Arrived, Heard, OPTIONS as AMT, Relay, arrived};
use support::datagrams::empty_view;
use support::face::{Outcome, call, pointer, storage, text};
use support::hosts::{self, Host};
use support::memberships::is_readable;
use support::udp::{FAMILIES, Family, PORT, Udp};

/// The default, with the wait of the test's own.
const WAIT_MS: u32 = 300;

struct Subscription<'h> {
    host: &'h Host,
    handle: *mut castio_subscription,
}

#[derive(Clone, Copy)]
struct Carried(*mut castio_subscription);
// SAFETY: used by one thread at a time.
unsafe impl Send for Carried {}

impl<'h> Subscription<'h> {
    fn try_open(host: &'h Host, group: &str, port: u16, source: Option<&str>, relays: &str) -> Result<Self, Errno> {
        let (group, source, relays) = (text(group), source.map(text), text(relays));
        let opened = host.run(move || {
            let (mut handle, amt) = (ptr::null_mut(), AMT);
            let options = castio_subscribe_options {
                struct_size: size_of::<castio_subscribe_options>(),
                relays: relays.as_ptr(),
                amt: &raw const amt,
                fallback_ms: WAIT_MS,
            };
            let (group, source) = (group.as_ptr(), pointer(&source));
            let interfaces = c"eth0".as_ptr();
            // SAFETY: text, options with their size, and a place.
            call(|| unsafe { castio_subscribe(group, port, source, interfaces, &raw const options, &raw mut handle) })
                .map(|_| Carried(handle))
        });
        opened.map(|handle| Subscription { host, handle: handle.0 })
    }

    fn open(host: &'h Host, group: &str, source: Option<&str>, relays: &str) -> Subscription<'h> {
        Subscription::try_open(host, group, PORT, source, relays).unwrap()
    }

    fn run<T: Send>(&self, work: impl FnOnce(*mut castio_subscription) -> T + Send) -> T {
        let carried = Carried(self.handle);
        self.host.run(move || {
            let carried = carried;
            work(carried.0)
        })
    }

    fn receive(&self, timeout_ms: i32) -> Result<Vec<(Arrived, bool)>, Errno> {
        self.receive_at_most(16, timeout_ms)
    }

    fn receive_at_most(&self, capacity: usize, timeout_ms: i32) -> Result<Vec<(Arrived, bool)>, Errno> {
        self.run(|handle| {
            let mut views = vec![empty_view(); capacity];
            let at = views.as_mut_ptr();
            // SAFETY: a handle and an array.
            let count = call(|| unsafe { castio_subscription_receive(handle, at, capacity, timeout_ms) as i64 })?;
            Ok(views[..count as usize].iter().map(|view| (arrived(view), view.ifindex == 0)).collect())
        })
    }

    /// What there is now: the texts, and whether through the tunnel.
    fn now(&self) -> Vec<(String, bool)> {
        let got = self.receive(0).unwrap_or_default();
        got.into_iter().map(|(one, is_tunnel)| (one.text, is_tunnel)).collect()
    }

    fn process(&self) -> Outcome {
        // SAFETY: a handle.
        self.run(|handle| call(|| unsafe { castio_subscription_process(handle) }))
    }

    fn fd(&self) -> i32 {
        // SAFETY: a handle.
        self.run(|handle| call(|| unsafe { castio_subscription_fd(handle) })).unwrap() as i32
    }

    fn timeout_ms(&self) -> i32 {
        let mut timeout_ms = i32::MIN;
        let place = &mut timeout_ms;
        // SAFETY: a handle and a place.
        self.run(|handle| call(|| unsafe { castio_subscription_timeout_ms(handle, place) })).unwrap();
        timeout_ms
    }

    fn info(&self) -> castio_subscription_info {
        self.run(|handle| {
            // SAFETY: all zero is an info of nothing.
            let mut info: castio_subscription_info = unsafe { std::mem::zeroed() };
            info.struct_size = size_of::<castio_subscription_info>();
            // SAFETY: a handle, and a struct with its size.
            call(|| unsafe { castio_subscription_info(handle, &raw mut info) }).unwrap();
            info
        })
    }

    /// Until the relay knows the group: where the gateway is.
    fn falls_back(&self, relay: &Relay, report: &str) -> SocketAddr {
        let mut found = None;
        hosts::until("the tunnel is joined", || {
            self.process().unwrap();
            for (from, heard) in relay.answer() {
                if heard == Heard::Update(vec![report.to_owned()]) {
                    found = Some(from);
                }
            }
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        // SAFETY: a handle, for the last time.
        self.run(|handle| unsafe { castio_subscription_close(handle) });
    }
}

/// Sends natively from port 9.
fn native(host: &Host, family: Family) -> Udp {
    host.run(|| {
        let index = host.index("eth0") as i32;
        let udp = Udp::bound(SocketAddr::new(family.host(2).parse().unwrap(), 9));
        if family == Family::V6 {
            udp.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, index).unwrap();
        }
        udp
    })
}

#[test]
fn native_multicast_needs_no_relay() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        for family in FAMILIES {
            let (group, sender, relay) = (family.group(7), native(&far, family), Relay::on(&far, &family.host(2)));
            let subscription = Subscription::open(&host, &group, None, &family.host(2));
            let end = Instant::now() + Duration::from_millis(3 * u64::from(WAIT_MS));
            let mut count = 0;
            while Instant::now() < end {
                sender.send(&count.to_string(), &group);
                hosts::until("it is readable", || is_readable(subscription.fd()));
                let got = subscription.receive(0).unwrap();
                assert_eq!(got.len(), 1);
                assert_eq!(got[0].0.text, count.to_string());
                assert_eq!(got[0].0.to.parse::<SocketAddr>().unwrap(), SocketAddr::new(group.parse().unwrap(), PORT));
                count += 1;
            }
            let info = subscription.info();
            assert_eq!((info.paths, info.fallbacks, info.native), (CASTIO_SUBSCRIPTION_NATIVE, 0, count));
            assert_eq!(relay.heard(), []);
        }
    });
}

/// Sends each text twice over: natively, and through the tunnel.
struct BothWays<'t> {
    sender: &'t Udp,
    relay: &'t Relay,
    /// Where the gateway is.
    at: SocketAddr,
    group: &'t str,
    source: &'t str,
    sent: Vec<String>,
}

impl BothWays<'_> {
    /// The next one, the tunnel first or last by turns.
    fn send(&mut self) {
        let text = format!("n{}", self.sent.len());
        let by_tunnel = || self.relay.data(self.at, self.source, self.group, &text);
        if self.sent.len() % 2 == 0 {
            self.sender.send(&text, self.group);
            by_tunnel();
        } else {
            by_tunnel();
            self.sender.send(&text, self.group);
        }
        self.sent.push(text);
    }
}

#[test]
fn silence_leads_into_the_tunnel_and_native_traffic_back_without_loss_or_doubles() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        for family in FAMILIES {
            let (group, source) = (family.group(7), family.host(2));
            let (sender, relay) = (native(&far, family), Relay::on(&far, &family.host(2)));
            let subscription = Subscription::open(&host, &group, Some(&source), &family.host(2));
            assert!((0..=WAIT_MS as i32).contains(&subscription.timeout_ms()));
            let at = subscription.falls_back(&relay, &format!("Is {group} {source}"));
            assert_eq!(subscription.info().fallbacks, 1);
            // The tunnel alone; with one of another port, which nobody asked for.
            relay.data_to_port(at, &source, &group, PORT + 1, "other");
            relay.data(at, &source, &group, "t0");
            let mut all = Vec::new();
            hosts::until("t0", || {
                all.extend(subscription.now());
                !all.is_empty()
            });
            assert_eq!(all, [("t0".to_owned(), true)]);
            let mut both =
                BothWays { sender: &sender, relay: &relay, at, group: &group, source: &source, sent: vec![] };
            hosts::until("the tunnel is left", || {
                both.send();
                all.extend(subscription.now());
                let goodbye = Heard::Update(vec![format!("Block {group} {source}")]);
                relay.answer().iter().any(|(_, heard)| *heard == goodbye)
            });
            let mut sent = both.sent;
            // Natively alone.
            for _ in 0..20 {
                let text = format!("n{}", sent.len());
                sender.send(&text, &group);
                sent.push(text);
            }
            hosts::until("the last one", || {
                all.extend(subscription.now());
                all.last().is_some_and(|(text, _)| Some(text) == sent.last())
            });
            let mut texts: Vec<&String> = all.iter().skip(1).map(|(text, _)| text).collect();
            texts.sort_by_key(|text| text[1..].parse::<usize>().unwrap());
            assert_eq!(texts, sent.iter().collect::<Vec<_>>());
            let info = subscription.info();
            assert_eq!(info.paths, CASTIO_SUBSCRIPTION_NATIVE);
            assert_eq!(info.native + info.tunnel, sent.len() as u64 + 1);
            assert!(info.duplicates > 0 && info.native > 20);
            // And when that ends, into the tunnel again.
            let at = subscription.falls_back(&relay, &format!("Allow {group} {source}"));
            relay.data(at, &source, &group, "again");
            hosts::until("it comes", || subscription.now() == [("again".to_owned(), true)]);
        }
    });
}

#[test]
fn equal_datagrams_all_count_whichever_way_they_come() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let (family, relay) = (Family::V4, Relay::on(&far, "10.1.0.2"));
        let (group, sender) = (family.group(7), native(&far, family));
        let subscription = Subscription::open(&host, &group, None, "10.1.0.2");
        let at = subscription.falls_back(&relay, &format!("IsEx {group}"));
        for _ in 0..5 {
            sender.send("beat", &group);
            relay.data(at, "10.1.0.2", &group, "beat");
            relay.data(at, "10.1.0.2", &group, "beat");
            relay.data(at, "192.0.2.9", &group, "beat");
        }
        sender.end(&group);
        let mut texts = Vec::new();
        hosts::until("all of them", || {
            texts.extend(subscription.now().into_iter().map(|(text, _)| text));
            subscription.info().duplicates == 5 && texts.len() >= 16
        });
        // Ten from the one, five of which came natively too, five from the other, and the end.
        assert_eq!(texts.iter().filter(|text| *text == "beat").count(), 15);
        assert_eq!(texts.len(), 16);
    });
}

#[test]
fn a_slow_reader_gets_both_ways_in_turn_and_nothing_twice() {
    hosts::test(|network| {
        let [host, far] = network.lan();
        let (family, relay) = (Family::V4, Relay::on(&far, "10.1.0.2"));
        let (group, sender) = (family.group(7), native(&far, family));
        let subscription = Subscription::open(&host, &group, None, "10.1.0.2");
        let at = subscription.falls_back(&relay, &format!("IsEx {group}"));
        let mut sent = Vec::new();
        for number in 0..30 {
            let [both, native, tunnel] = ["both", "native", "tunnel"].map(|way| format!("{way}{number}"));
            sender.send(&both, &group);
            relay.data(at, "10.1.0.2", &group, &both);
            sender.send(&native, &group);
            relay.data(at, "192.0.2.9", &group, &tunnel);
            sent.extend([both, native, tunnel]);
        }
        let mut got = Vec::new();
        while let Ok(one) = subscription.receive_at_most(1, 1000) {
            got.extend(one);
            // The first twin and the last one are read seconds apart.
            std::thread::sleep(Duration::from_millis(25));
        }
        let first = got.iter().position(|(one, _)| one.text == "tunnel0");
        assert!(first.is_some_and(|first| first < 10), "{first:?}");
        let mut texts: Vec<String> = got.into_iter().map(|(one, _)| one.text).collect();
        texts.sort();
        sent.sort();
        assert_eq!(texts, sent);
        // What the tunnel alone brings keeps it.
        assert_eq!(subscription.info().paths & CASTIO_SUBSCRIPTION_TUNNEL, CASTIO_SUBSCRIPTION_TUNNEL);
    });
}

#[test]
fn what_makes_no_sense_is_refused() {
    hosts::test(|network| {
        let [host] = network.lan();
        for (group, port, source, relays, expected) in [
            ("10.1.0.1", 5000, None, "192.0.2.1", Errno::EINVAL),
            ("224.0.0.251", 5000, None, "192.0.2.1", Errno::EINVAL),
            ("ff12::1", 5000, None, "192.0.2.1", Errno::EINVAL),
            ("232.1.2.3", 0, None, "192.0.2.1", Errno::EINVAL),
            ("232.1.2.3", 5000, Some("fd01::2"), "192.0.2.1", Errno::EAFNOSUPPORT),
            ("232.1.2.3", 5000, Some("224.1.1.1"), "192.0.2.1", Errno::EINVAL),
            ("ff35::1", 5000, Some("fe80::1%lo"), "192.0.2.1", Errno::EINVAL),
            ("232.1.2.3", 5000, None, "", Errno::EINVAL),
            ("232.1.2.3", 5000, None, "relay", Errno::EINVAL),
        ] {
            let result = Subscription::try_open(&host, group, port, source, relays);
            assert_eq!(result.err(), Some(expected), "{group} {port} {source:?} {relays}");
        }
        // By address, and without options.
        let result = host.run(|| {
            let ((group, len), mut handle) = (storage("232.1.2.3"), ptr::null_mut());
            // SAFETY: an address with its length, and a place.
            call(|| unsafe {
                castio_subscribe_addr((&raw const group).cast(), len, ptr::null(), 0, 0, ptr::null(), &raw mut handle)
            })
        });
        assert_eq!(result, Err(Errno::EINVAL), "port 0");
    });
}
