//! What holds whatever relays say, and whatever is wanted.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const PEERS: [&str; 4] = [RELAY, OTHER, "[2001:db8::9]:2268", "203.0.113.9:2268"];
const GROUPS: [&str; 4] = [GROUP, "239.1.2.3", GROUP6, "ff3e::1235"];

#[derive(Clone, Debug)]
enum Step {
    /// A group, the sources of three that are listed, and whether they are left out.
    Want(usize, usize, bool),
    /// Milliseconds.
    Pass(u64),
    /// Time in which nobody looks at timers.
    Sleep(u64),
    /// The last Discovery is answered.
    Advertise(usize),
    /// The last Request is answered: for which family, whether the relay is full, where it sees the
    /// gateway, and how often it asks.
    Answer(bool, bool, Option<bool>, u64),
    Unreachable(usize),
    Bytes(usize, Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || 0..PEERS.len();
    prop_oneof![
        3 => (0..GROUPS.len(), 0..8_usize, any::<bool>()).prop_map(|(group, bits, all)| Step::Want(group, bits, all)),
        2 => prop_oneof![0..3000_u64, 0..900_000_u64].prop_map(Step::Pass),
        1 => (0..300_000_u64).prop_map(Step::Sleep),
        2 => peer().prop_map(Step::Advertise),
        4 => (any::<bool>(), prop::bool::weighted(0.1), any::<Option<bool>>(), prop::sample::select(&[1_u64, 10, 125][..]))
            .prop_map(|(mld, full, seen, interval)| Step::Answer(mld, full, seen, interval)),
        1 => peer().prop_map(Step::Unreachable),
        1 => (peer(), vec(any::<u8>(), 0..60)).prop_map(|(peer, bytes)| Step::Bytes(peer, bytes)),
    ]
}

/// A gateway, and what it may do.
struct Watched {
    rig: Rig,
    /// Whom it may ask for a relay, and whom it may take for one.
    askable: BTreeSet<SocketAddr>,
    relays: BTreeSet<SocketAddr>,
    discovery: Option<(SocketAddr, Nonce)>,
    request: Option<(SocketAddr, Nonce)>,
}

impl Watched {
    fn step(&mut self, step: &Step) {
        let rig = &mut self.rig;
        match step {
            Step::Want(group, bits, all) => {
                let of_family = if GROUPS[*group].contains(':') { "2001:db8::" } else { "192.0.2." };
                let listed = (1..=3).filter(|number| bits >> (number - 1) & 1 == 1);
                let sources: Vec<IpAddr> = listed.map(|number| ip(&format!("{of_family}{number}"))).collect();
                rig.set(GROUPS[*group], if *all { Filter::all_but(sources) } else { Filter::only(sources) });
            }
            Step::Pass(time) => {
                let end = rig.now + Duration::from_millis(*time);
                while let Some(next) = self.rig.gateway.timeout().filter(|next| *next <= end) {
                    self.rig.now = self.rig.now.max(next);
                    self.settle();
                }
                self.rig.now = end;
            }
            Step::Sleep(time) => rig.now += Duration::from_millis(*time),
            Step::Advertise(peer) => {
                let Some((from, nonce)) = self.discovery else { return };
                self.relays.insert(SocketAddr::new(at(PEERS[*peer]).ip(), from.port()));
                rig.advertise(&from.to_string(), nonce, &at(PEERS[*peer]).ip().to_string());
            }
            Step::Answer(mld, limited, seen, interval) => {
                let Some((from, nonce)) = self.request else { return };
                let endpoint = seen.map(|first| if first { "203.0.113.7:4000" } else { "203.0.113.7:4001" });
                let say = Say { limited: *limited, endpoint, interval: *interval, ..SAY };
                rig.answer_for(*mld, &from.to_string(), nonce, say);
            }
            Step::Unreachable(peer) => rig.gateway.handle_unreachable(rig.now, at(PEERS[*peer])),
            Step::Bytes(peer, bytes) => assert_eq!(rig.gateway.handle_input(rig.now, at(PEERS[*peer]), 0, bytes), None),
        }
        self.settle();
    }

    /// Does what is due: that comes to an end, and goes to relays alone.
    fn settle(&mut self) {
        for _ in 0..8 {
            for (to, sent) in self.rig.sent() {
                let may_get = if matches!(sent, Sent::Discovery(_)) { &self.askable } else { &self.relays };
                assert!(may_get.contains(&to), "{to}: {sent:?}");
                match sent {
                    Sent::Discovery(nonce) => self.discovery = Some((to, nonce)),
                    Sent::Request(_, nonce) => self.request = Some((to, nonce)),
                    Sent::Update(..) | Sent::Teardown(..) => {}
                }
            }
            if self.rig.gateway.timeout().is_none_or(|next| next > self.rig.now) {
                return;
            }
        }
        panic!("a timer that is always due");
    }
}

proptest! {
    #[test]
    fn it_talks_to_relays_alone_and_comes_to_rest(
        discovers in vec(any::<bool>(), 0..4),
        leave_silent in any::<bool>(),
        steps in vec(step(), 1..60),
    ) {
        let of_kind = |wanted: bool| {
            discovers.iter().zip(PEERS).filter(move |(discovery, _)| **discovery == wanted).map(|(_, peer)| at(peer))
        };
        let candidates: Vec<Candidate> = discovers
            .iter()
            .zip(PEERS)
            .map(|(discovery, peer)| Candidate { address: at(peer), discovery: *discovery })
            .collect();
        let mut watched = Watched {
            askable: of_kind(true).collect(),
            relays: of_kind(false).collect(),
            rig: Rig::with(Options { candidates, ecn: false, leave_silent }),
            discovery: None,
            request: None,
        };
        steps.iter().for_each(|step| watched.step(step));
        watched.rig.gateway.close();
        watched.settle();
        let gateway = &watched.rig.gateway;
        prop_assert_eq!((gateway.group_count(), gateway.relay(), gateway.groups.known()), (0, None, 0));
        // An old tunnel may still be ended.
        watched.step(&Step::Pass(60_000));
        prop_assert_eq!(watched.rig.gateway.timeout(), None);
    }
}
