//! Memberships that are kept: a thousand random events of interfaces in a row, and the wishes are true.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use castio::ffi::multicast::manager::castio_membership_options;
use castio::ffi::multicast::manager_state::*;
use support::descriptors::Random;
use support::hosts;
use support::memberships::{Event, OPTIONS};
use support::pair::{Keeper, Pair};
use support::udp::{FAMILIES, Family};

const EVENTS: usize = 1000;
/// To have the same thousand again.
const SEED: &str = "CASTIO_TEST_SEED";

const NAMES: [&str; 6] = ["eth0", "eth1", "eth2", "eth3", "tap0", "tap1"];
const ADDRESSES: [&str; 2] = ["10.50.0.9/24", "fd50::9/64"];
/// The interfaces that are wished for, of each the group of its number; the last two for one group.
const WISHES: [(usize, &str); 8] =
    [(1, "eth0"), (2, "*"), (3, "10.50.0.9"), (4, "fd50::9"), (5, "tap?"), (6, "nothing*"), (7, "eth*"), (7, "eth0")];
/// The number of a group that is wished for by source, on all that are called so.
const BY_SOURCE: (usize, &str) = (8, "eth*");

/// An interface of the host, as it must be.
#[derive(Clone, Debug)]
struct Port {
    name: &'static str,
    /// The other end, at the neighbour.
    far: String,
    up: bool,
    far_up: bool,
    multicast: bool,
    addresses: BTreeSet<&'static str>,
}

impl Port {
    fn is_live(&self) -> bool {
        self.up && self.far_up
    }

    fn has(&self, address: &str) -> bool {
        self.addresses.iter().any(|one| one.split('/').next() == Some(address))
    }

    /// Whether interfaces as wished for mean it; `None` if they may.
    fn is_meant(&self, wished: &str, all: &[Port]) -> Option<bool> {
        match wished {
            "*" if self.up && self.multicast => Some(true),
            // What was up may be kept for as long as it is down.
            "*" => (!self.multicast).then_some(false),
            "eth*" => Some(self.name.starts_with("eth")),
            "tap?" => Some(self.name.starts_with("tap")),
            // Of several that have an address one is meant: the one that was chosen when it was the only one.
            _ if wished.contains(['.', ':']) => match all.iter().filter(|port| port.has(wished)).count() {
                0 | 1 => Some(self.has(wished)),
                _ => (!self.has(wished)).then_some(false),
            },
            name => Some(self.name == name),
        }
    }

    fn is_joined(&self, keeper: &Keeper<'_>, group: &str) -> bool {
        keeper.joined(self.name).iter().any(|joined| joined == group)
    }

    /// The groups' numbers that must be joined here, and those that may be.
    fn groups(&self, all: &[Port]) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let wishes = || WISHES.into_iter().chain([BY_SOURCE]);
        let of = |meant: fn(Option<bool>) -> bool| {
            wishes().filter(|(_, wished)| meant(self.is_meant(wished, all))).map(|(number, _)| number).collect()
        };
        (of(|meant| meant == Some(true)), of(|meant| meant != Some(false)))
    }
}

struct Storm<'pair> {
    pair: &'pair Pair,
    keeper: Keeper<'pair>,
    random: Random,
    ports: Vec<Port>,
    made: usize,
    /// By interface and group, whether it is live, as the events tell.
    told: BTreeMap<(u32, String), bool>,
}

impl Storm<'_> {
    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.random.below(all.len())]
    }

    /// A name that no interface has.
    fn free_name(&mut self) -> Option<&'static str> {
        let is_free = |name: &&str| self.ports.iter().all(|port| port.name != *name);
        let free: Vec<&'static str> = NAMES.into_iter().filter(is_free).collect();
        if free.is_empty() { None } else { Some(*self.one_of(&free)) }
    }

    /// Something becomes of some interface.
    fn happens(&mut self) {
        let number = match self.ports.len() {
            0 => return self.add(),
            count => self.random.below(count),
        };
        let address = *self.one_of(&ADDRESSES);
        let kind = self.random.below(10);
        let free = self.free_name();
        let port = &mut self.ports[number];
        let name = port.name;
        match (kind, free) {
            (0 | 1, Some(_)) => self.add(),
            (2, _) => {
                self.pair.host.ip(&format!("link delete {name}"));
                self.ports.swap_remove(number);
            }
            (3, Some(new)) => {
                let up = if port.up { "up" } else { "down" };
                self.pair.host.ip(&format!("link set {name} down\nlink set {name} name {new}\nlink set {new} {up}"));
                port.name = new;
                port.addresses.retain(|address| !(address.contains(':') && port.up));
            }
            (4, _) => self.set_up(number),
            (5, _) => {
                port.far_up = !port.far_up;
                let (far, to) = (&port.far, if port.far_up { "up" } else { "down" });
                self.pair.neighbour.ip(&format!("link set {far} {to}"));
            }
            (6, _) => {
                port.multicast = !port.multicast;
                let to = if port.multicast { "on" } else { "off" };
                self.pair.host.ip(&format!("link set {name} multicast {to}"));
            }
            (7, _) => {
                self.pair.host.ip(&format!("address flush dev {name}"));
                port.addresses.clear();
            }
            _ if port.addresses.remove(address) => self.pair.host.ip(&format!("address delete {address} dev {name}")),
            _ => {
                self.pair.host.address(name, &[address]);
                port.addresses.insert(address);
            }
        }
    }

    fn add(&mut self) {
        let Some(name) = self.free_name() else { return };
        self.made += 1;
        let (far, netns) = (format!("far{}", self.made), self.pair.neighbour.netns());
        self.pair.host.ip(&format!("link add {name} type veth peer name {far} netns {netns}"));
        self.pair.neighbour.ip(&format!("link set {far} up"));
        let addresses = BTreeSet::new();
        self.ports.push(Port { name, far, up: false, far_up: true, multicast: true, addresses });
        if self.random.below(4) > 0 {
            self.set_up(self.ports.len() - 1);
        }
    }

    fn set_up(&mut self, number: usize) {
        let port = &mut self.ports[number];
        port.up = !port.up;
        if !port.up {
            // The kernel's way with addresses of IPv6.
            port.addresses.retain(|address| !address.contains(':'));
        }
        let (name, to) = (port.name, if port.up { "up" } else { "down" });
        self.pair.host.ip(&format!("link set {name} {to}"));
    }

    /// In one way or another.
    fn is_processed(&mut self) {
        match self.random.below(3) {
            0 => drop(self.keeper.process().unwrap()),
            1 => drop(self.keeper.wait(0)),
            _ => drop(self.keeper.receive(4, 0)),
        }
        for Event { what, error, index, group, .. } in self.keeper.events() {
            let is_live = match (what, -error) {
                (CASTIO_MEMBERSHIP_JOINED | CASTIO_MEMBERSHIP_REJOINED, 0) => true,
                (CASTIO_MEMBERSHIP_LOST, _) => false,
                // It was gone already when its coming was read.
                (CASTIO_MEMBERSHIP_REFUSED, libc::ENODEV) => false,
                other => panic!("event {other:?} of {group}"),
            };
            self.told.insert((index, group), is_live);
        }
    }

    /// What isn't as it must be, if anything is.
    fn mistake(&self) -> Option<String> {
        let list = self.keeper.list();
        let family = self.keeper.family;
        let number_of = |group: &str| (1..=8).find(|number| family.group(*number) == group).unwrap();
        let mut listed: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for state in list.iter().filter(|state| state.index != 0) {
            let Some(port) = self.ports.iter().find(|port| port.name == state.interface) else {
                return Some(format!("{state} isn't there"));
            };
            let expected = if port.is_live() { CASTIO_MEMBERSHIP_LIVE } else { CASTIO_MEMBERSHIP_DOWN };
            if state.state != expected || state.index != self.pair.host.index(port.name) {
                return Some(format!("{state} ({})", state.group));
            }
            listed.entry(port.name).or_default().insert(number_of(&state.group));
        }
        for port in &self.ports {
            let (must, may) = port.groups(&self.ports);
            let joined = self.keeper.joined(port.name).iter().map(|group| number_of(group)).collect();
            let listed = listed.remove(port.name).unwrap_or_default();
            if listed != joined || !must.is_subset(&joined) || !joined.is_subset(&may) {
                return Some(format!("{port:?}: listed {listed:?}, joined {joined:?}, expected {must:?} to {may:?}"));
            }
        }
        for (number, address) in WISHES.into_iter().filter(|(_, wished)| wished.contains(['.', ':'])) {
            let is_somewhere = self.ports.iter().any(|port| port.has(address));
            let count = self.ports.iter().filter(|port| port.is_joined(&self.keeper, &family.group(number))).count();
            if count != usize::from(is_somewhere) {
                return Some(format!("{address} is meant on {count} interfaces"));
            }
        }
        let is_live = |state: &&support::memberships::State| state.state == CASTIO_MEMBERSHIP_LIVE;
        let live: BTreeSet<(u32, String)> =
            list.iter().filter(is_live).map(|state| (state.index, state.group.clone())).collect();
        let told: BTreeSet<_> = self.told.iter().filter(|(_, live)| **live).map(|(key, _)| key.clone()).collect();
        (live != told).then(|| format!("live {live:?}, told {told:?}"))
    }

    fn comes_true(&mut self) {
        let mut mistake = None;
        for _ in 0..5000 {
            self.is_processed();
            mistake = self.mistake();
            if mistake.is_none() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        panic!("{}", mistake.unwrap_or_default());
    }

    /// Everything up, with what each needs to send.
    fn calms_down(&mut self) {
        for number in 0..self.ports.len() {
            if !self.ports[number].up {
                self.set_up(number);
            }
            let port = &mut self.ports[number];
            (port.far_up, port.multicast) = (true, true);
            let (name, far) = (port.name, &port.far);
            self.pair.host.ip(&format!("link set {name} multicast on"));
            self.pair.neighbour.ip(&format!("link set {far} down\nlink set {far} up"));
            self.pair.neighbour.address(far, &["10.60.0.1/24"]);
        }
        let far: Vec<String> = self.ports.iter().map(|port| port.far.clone()).collect();
        far.iter().for_each(|far| self.pair.neighbour.wait_for_link(far));
    }

    /// What the neighbour sends to each group by each interface arrives where it is joined, once.
    fn everything_arrives(&self) {
        let family = self.keeper.family;
        self.keeper.receive_fd();
        for port in &self.ports {
            // What is joined is what must be, but for an address that several have: that is joined on one of them.
            let mut must: BTreeSet<usize> =
                (1..=8).filter(|number| port.is_joined(&self.keeper, &family.group(*number))).collect();
            must.remove(&BY_SOURCE.0);
            let index = self.pair.host.index(port.name);
            (1..=8).for_each(|number| self.pair.send(&number.to_string(), &family.group(number), &port.far, None));
            let arrivals = self.keeper.arrivals(must.len());
            let mut came: Vec<(Vec<u8>, u32)> = arrivals.into_iter().map(|one| (one.bytes, one.interface)).collect();
            came.sort();
            let expected: Vec<_> = must.iter().map(|number| (number.to_string().into_bytes(), index)).collect();
            assert_eq!(came, expected, "{port:?}");
            // "*" means it: what came twice would be there before this.
            self.pair.send("the end", &family.group(2), &port.far, None);
            assert_eq!(self.keeper.arrivals(1)[0].bytes, b"the end");
            assert!(self.keeper.receive(4, 0).is_err());
        }
    }
}

fn storm(pair: &Pair, family: Family) {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var(SEED).map_or_else(|_| now(), |seed| seed.parse().unwrap());
    // Shown when the test fails.
    println!("{SEED}={seed}");
    let keeper = pair.keeper_with(family, castio_membership_options { events: 100_000, ..OPTIONS });
    for (number, wished) in WISHES {
        keeper.wish(&family.group(number), wished);
    }
    keeper.add(&family.group(BY_SOURCE.0), Some(&family.host(77)), Some(BY_SOURCE.1)).unwrap();
    let (ports, told) = (Vec::new(), BTreeMap::new());
    let mut storm = Storm { pair, keeper, random: Random(seed | 1), ports, made: 0, told };
    for number in 1..=EVENTS {
        storm.happens();
        if storm.random.below(4) == 0 {
            storm.is_processed();
        }
        if number % 100 == 0 {
            storm.comes_true();
        }
    }
    storm.comes_true();
    storm.calms_down();
    storm.comes_true();
    storm.everything_arrives();
    assert!(storm.keeper.sockets().len() <= 4, "{:?}", storm.keeper.sockets());
}

#[test]
fn after_a_thousand_events_the_ipv4_wishes_are_true() {
    hosts::test(|network| storm(&Pair::new(network), FAMILIES[0]));
}

#[test]
fn after_a_thousand_events_the_ipv6_wishes_are_true() {
    hosts::test(|network| storm(&Pair::new(network), FAMILIES[1]));
}
