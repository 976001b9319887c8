//! The figures as tables for people and as JSON for scripts.

use std::fmt::Write;

use crate::aims;
use crate::carriers::CARRIERS;
use crate::fanout::{BURSTS, TUNNELS};
use crate::figures::{Figures, Flow};
use crate::statistics::machine;
use crate::{SIZES, WINDOWS};

pub struct Report<'r> {
    pub figures: &'r Figures,
    /// Of carriers, and of relays.
    pub rounds: (usize, usize),
    /// How busy the machine was before and after (`uptime`'s first figure).
    pub load: (f64, f64),
}

/// Copies of a second, or packets.
fn thousands(rate: f64) -> String {
    if rate < 9_950.0 { format!("{:.1}", rate / 1e3) } else { format!("{:.0}", rate / 1e3) }
}

impl Report<'_> {
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.introduction(&mut text);
        self.carriers(&mut text);
        self.relay(&mut text);
        self.aims(&mut text);
        self.losses(&mut text);
        text
    }

    fn introduction(&self, text: &mut String) {
        let [small, middle, large] = WINDOWS;
        let (rounds, _) = self.rounds;
        let (before, after) = self.load;
        let _ = writeln!(
            text,
            "# What castio's tunnels carry\n\n\
             Made by `cargo bench --bench tunnels`; edits here are lost. {machine}. Load before {before:.1}, \
             after {after:.1}: where that is more than a little, others were at work on the machine, and rates \
             are lower than they could be; processor time and ratios suffer less.\n\n\
             Two network namespaces, a veth pair between them with an MTU of 1,500 bytes. {rounds} rounds, every \
             other one backwards, all carriers in each; medians.\n\n\
             - castio: one process gives whole packets, 128 at a time, to `castio_tunnel_send`, and another \
             takes them from `castio_tunnel_receive`. The packets are there before; nothing else reads or \
             writes them. That is a program with castio inside.\n\
             - All others carry what programs send to a multicast group on a network device, and give it to \
             programs that have joined it at the other end: that is how they are used, and a sending and a receiving \
             socket more than castio has to pass here. \"No tunnel\" is what these two cost alone. Their sender and \
             receiver work in trains (UDP_SEGMENT and UDP_GRO, as far as the device takes them), but where it says \
             sendto: there they call sendto and recv for each packet. The programs get 4 MB of \
             socket buffers where they can be told, and a queue of 1,000 packets on their device. wireguard-go \
             encrypts, the others don't.\n\
             - The sender is held back so that no more packets are under way than {small}, {middle} or {large}, \
             whichever the carrier does best with.\n\
             - Delivered: thousand packets in a second that arrived, checked for length and content. Processor \
             time: microseconds for each of them, of all processes together, both ends, with what the \
             kernel does for them.\n\n\
             ![packets](tunnels.svg)",
            machine = machine()
        );
        for carrier in &CARRIERS {
            if let Some(reason) = self.figures.skipped.get(carrier.name) {
                let _ = writeln!(text, "\n**Skipped: {}: {reason}.**", carrier.title);
            }
        }
        for (what, reason) in &self.figures.failures {
            let _ = writeln!(text, "\n**Failed: {what}: {reason}.**");
        }
    }

    fn carriers(&self, text: &mut String) {
        text.push_str("\n## Delivered, thousand packets a second; and microseconds of processor time for each\n\n|");
        for size in SIZES {
            let _ = write!(text, " | {size} bytes | µs");
        }
        let _ = writeln!(text, " |\n|---|{}", "---:|---:|".repeat(SIZES.len()));
        for carrier in &CARRIERS {
            let cells = SIZES.map(|size| match self.figures.flow(carrier.name, size) {
                Some(Flow { rate, cpu, .. }) => format!("{} | {cpu:.2}", thousands(rate)),
                None => "— | —".to_owned(),
            });
            let _ = writeln!(text, "| {} | {} |", carrier.title, cells.join(" | "));
        }
    }

    fn relay(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\n## A relay: one stream of 1,200 bytes to many tunnels\n\n\
             `castio_amt_relay`, one thread, UDP ingress, each gateway with an address of its own at the other \
             end of the veth pair; {} rounds, medians. On their own: the next packet of the stream comes when the \
             last one is forwarded. Waited: 64 packets come at a time, as when the relay is behind; each tunnel \
             gets its own in trains. Processor time is the relay's, with what the kernel does on its back, which here \
             is the way over the veth pair and into the gateways' socket.\n\n\
             | tunnels | on their own, µs a copy | thousand copies a second | waited, µs a copy | thousand copies a \
             second | handshakes a second | µs of the relay for each |\n|---:|---:|---:|---:|---:|---:|---:|",
            self.rounds.1
        );
        for tunnels in TUNNELS {
            let Some(relay) = self.figures.fanout(tunnels) else { continue };
            let streams = relay.streams.map(|(cpu, rate)| format!("{cpu:.2} | {}", thousands(rate)));
            let _ = writeln!(
                text,
                "| {tunnels} | {} | {:.0} | {:.1} |",
                streams.join(" | "),
                relay.handshakes,
                relay.handshake_cpu
            );
        }
        let (tunnel, group) = (self.figures.bytes_per_tunnel(), self.figures.bytes_per_group());
        let bytes = |bytes: Option<f64>| bytes.map_or("not measured".to_owned(), |bytes| format!("{bytes:.0} bytes"));
        let _ = writeln!(
            text,
            "\nMemory of the process: {} for a tunnel with one (S,G), from what 9,900 more of them take; {} for one \
             more (S,G), joined upstream too, from 100 tunnels with 100 of their own each. A handshake is Request, Query \
             and Update, 256 under way; the time for a few tunnels is the join upstream and what the first call \
             of anything takes.",
            bytes(tunnel),
            bytes(group)
        );
    }

    fn aims(&self, text: &mut String) {
        text.push_str("\n## Aims\n\n| aim | measured | |\n|---|---|---|\n");
        for aim in aims::all(self.figures) {
            let said = match (&aim.measured, aim.met) {
                (None, _) => "not measured",
                (_, true) => "met",
                (_, false) => "**not met**",
            };
            let _ = writeln!(text, "| {} | {} | {said} |", aim.text, aim.measured.as_deref().unwrap_or(""));
        }
        text.push_str(
            "\nWhat stands behind the figures: IPIP and GRE go through raw sockets, and Linux has no \
             segmentation for them, neither out nor in: each packet is a way of its own through the kernel, and \
             nearly all of the time is the kernel's. Over UDP packets of one size travel in trains, and what \
             is left is mostly copying. The kernel's vxlan has an easier time with a train: it puts one header before all of it, \
             and takes it off again, where castio gives the kernel a header and a packet, twice 45 pieces, and looks \
             into each at both ends. A packet that comes to a relay on its own can't make a train either: each \
             copy is a datagram of its own, and costs what the kernel takes for one; [peers.md](peers.md) has sending to \
             1,000 places beside a bare sendmmsg, which takes 3 % less.\n",
        );
    }

    fn losses(&self, text: &mut String) {
        text.push_str(
            "\n## What was sent, and what was lost\n\n| | sent | lost | under way at most |\n|---|---:|---:|---|\n",
        );
        for carrier in &CARRIERS {
            let flows = SIZES.map(|size| self.figures.flow(carrier.name, size));
            let windows: Vec<String> = flows.iter().flatten().map(|flow| flow.window.to_string()).collect();
            let (mut sent, mut lost) = (0, 0);
            for flow in flows.iter().flatten() {
                sent += flow.sent;
                lost += flow.lost;
            }
            if sent > 0 {
                let _ = writeln!(text, "| {} | {sent} | {lost} | {} |", carrier.title, windows.join(", "));
            }
        }
        for tunnels in TUNNELS {
            let Some(relay) = self.figures.fanout(tunnels) else { continue };
            let lost = relay.copies.saturating_sub(relay.arrived);
            let _ = writeln!(text, "| relay, {tunnels} tunnels | {} | {lost} | |", relay.copies);
        }
        text.push_str(
            "\nA relay's copies are all sent; what is lost of them found no room in the one socket that stands for all \
             gateways here, and that one process empties.\n",
        );
    }

    /// One line for each figure.
    pub fn json(&self) -> String {
        let mut text = String::new();
        for (carrier, size) in CARRIERS.iter().flat_map(|carrier| SIZES.map(|size| (carrier, size))) {
            if let Some(Flow { rate, cpu, sent, lost, window }) = self.figures.flow(carrier.name, size) {
                let _ = writeln!(
                    text,
                    r#"{{"carrier":"{}","size":{size},"packets_per_second":{rate:.0},"cpu_us":{cpu:.3},"sent":{sent},"lost":{lost},"window":{window}}}"#,
                    carrier.name
                );
            }
        }
        for tunnels in TUNNELS {
            let Some(relay) = self.figures.fanout(tunnels) else { continue };
            for (burst, (cpu, rate)) in BURSTS.iter().zip(relay.streams) {
                let _ = writeln!(
                    text,
                    r#"{{"tunnels":{tunnels},"burst":{burst},"copies_per_second":{rate:.0},"cpu_us":{cpu:.4}}}"#
                );
            }
            let _ = writeln!(
                text,
                r#"{{"tunnels":{tunnels},"handshakes_per_second":{:.0},"cpu_us":{:.2},"copies":{},"arrived":{},"dropped":{}}}"#,
                relay.handshakes, relay.handshake_cpu, relay.copies, relay.arrived, relay.dropped
            );
        }
        if let Some((tunnel, group)) = self.figures.bytes_per_tunnel().zip(self.figures.bytes_per_group()) {
            let _ = writeln!(text, r#"{{"bytes_per_tunnel":{tunnel:.0},"bytes_per_group":{group:.0}}}"#);
        }
        for (name, reason) in &self.figures.skipped {
            let _ = writeln!(text, r#"{{"carrier":"{name}","skipped":{reason:?}}}"#);
        }
        for (what, reason) in &self.figures.failures {
            let _ = writeln!(text, r#"{{"failed":{what:?},"reason":{reason:?}}}"#);
        }
        text
    }
}
