//! What castio's tunnels are held to, and whether these figures show it.

use crate::SIZES;
use crate::carriers::CARRIERS;
use crate::fanout::{BURSTS, TUNNELS};
use crate::figures::Figures;

/// An aim, what was measured, and whether that meets it. `None` where it couldn't be measured.
pub struct Aim {
    pub text: String,
    pub measured: Option<String>,
    pub met: bool,
}

pub fn all(figures: &Figures) -> Vec<Aim> {
    let mut aims = Vec::new();
    let mut times = |text: String, ratios: Vec<Option<(f64, f64)>>, least: f64| {
        let ratios: Option<Vec<(f64, f64)>> = ratios.into_iter().collect();
        let ratios = ratios.filter(|ratios| !ratios.is_empty());
        let worst = ratios.map(|ratios| {
            ratios.into_iter().fold((f64::MAX, f64::MAX), |(a, b), (rate, cpu)| (a.min(rate), b.min(cpu)))
        });
        aims.push(Aim {
            text,
            measured: worst.map(|(rate, cpu)| format!("{rate:.1} times the packets, 1/{cpu:.1} of the processor time")),
            met: worst.is_some_and(|(rate, _)| rate >= least),
        });
    };
    for size in SIZES {
        let ratio = |own, other| figures.ratio(size, own, other);
        times(format!("UDP: 10 times socat's UDP, {size} bytes"), vec![ratio("castio-udp", "socat-udp")], 10.0);
        times(format!("IPIP: 10 times socat's IPIP, {size} bytes"), vec![ratio("castio-ipip", "socat-ipip")], 10.0);
    }
    let peers = || CARRIERS.iter().filter(|carrier| carrier.is_peer && !figures.skipped.contains_key(carrier.name));
    for own in CARRIERS.iter().filter(|carrier| carrier.name.starts_with("castio")) {
        let against_all = SIZES.iter().flat_map(|size| peers().map(|peer| figures.ratio(*size, own.name, peer.name)));
        times(format!("{}: ahead of every tunnel in user space, all sizes", own.title), against_all.collect(), 1.0);
    }
    for own in CARRIERS.iter().filter(|carrier| carrier.name.starts_with("castio")) {
        for (other, title) in [("vxlan", "vxlan with sendto"), ("vxlan-trains", "vxlan with UDP_SEGMENT")] {
            let ratio = figures.ratio(1400, own.name, other);
            times(format!("{}: at or ahead of the kernel's {title}, 1,400 bytes", own.title), vec![ratio], 1.0);
        }
    }
    aims.extend(of_the_relay(figures));
    aims
}

fn of_the_relay(figures: &Figures) -> Vec<Aim> {
    let cost = |tunnels, at: usize| Some(figures.fanout(tunnels)?.streams[at].0);
    let mut aims = Vec::new();
    for (at, burst) in BURSTS.iter().enumerate() {
        let how = if *burst == 1 { "packets on their own" } else { "packets that have waited" };
        let [.., last] = TUNNELS;
        let copies = cost(last, at).map(|cost| 1e6 / cost);
        aims.push(Aim {
            text: format!("relay, {how}: a million copies in a second of one processor, {last} tunnels"),
            measured: copies.map(|copies| format!("{:.0} thousand", copies / 1e3)),
            met: copies.is_some_and(|copies| copies >= 1e6),
        });
        let ratio = cost(last, at).zip(cost(100, at)).map(|(many, few)| many / few);
        aims.push(Aim {
            text: format!("relay, {how}: a copy costs no more with {last} tunnels than with 100 (10 % for noise)"),
            measured: ratio.map(|ratio| format!("{ratio:.2} times")),
            met: ratio.is_some_and(|ratio| ratio <= 1.1),
        });
    }
    let memory = figures.bytes_per_tunnel();
    aims.push(Aim {
        text: "relay: less than 512 bytes for a tunnel".to_owned(),
        measured: memory.map(|bytes| format!("{bytes:.0} bytes")),
        met: memory.is_some_and(|bytes| bytes < 512.0),
    });
    aims
}
