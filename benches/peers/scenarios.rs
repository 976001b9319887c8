//! What is measured.

use crate::network::Network;
use crate::programs::Program;

/// What a scenario needs of the network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Loopback,
    VethPair,
}

/// The sizes that the batch grows through.
pub const BATCHES: [u32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

pub struct Scenario {
    pub name: &'static str,
    /// The table that it stands in.
    pub group: Group,
    /// What the harness is told.
    pub arguments: &'static str,
    pub needs: Needs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Gather,
    Send,
    Receive,
    EndToEnd,
    Multicast,
    FanOut,
    /// One call's cost as it is given more to do: castio, beside sendto.
    Batch,
}

pub const GROUPS: [(Group, &str); 6] = [
    (Group::Gather, "Gather write to a stream socket (UNIX), pieces of 64 bytes"),
    (Group::Send, "Send alone, loopback"),
    (Group::Receive, "Receive alone, loopback"),
    (Group::EndToEnd, "End to end, a sender and a receiver"),
    (Group::Multicast, "Multicast end to end, 1,200 bytes, loopback"),
    (Group::FanOut, "One payload to 1,000 destinations, 1,200 bytes, loopback"),
];

const fn on_loopback(name: &'static str, group: Group, arguments: &'static str) -> Scenario {
    Scenario { name, group, arguments, needs: Needs::Loopback }
}

pub fn all() -> Vec<Scenario> {
    use Group::{Batch, EndToEnd, FanOut, Gather, Multicast, Receive, Send};
    vec![
        on_loopback("gather 16", Gather, "gather pieces=16"),
        on_loopback("gather 1024", Gather, "gather pieces=1024"),
        on_loopback("send 64", Send, "send size=64"),
        on_loopback("send 512", Send, "send size=512"),
        on_loopback("send 1200", Send, "send size=1200"),
        on_loopback("receive 64", Receive, "receive size=64"),
        on_loopback("receive 512", Receive, "receive size=512"),
        on_loopback("receive 1200", Receive, "receive size=1200"),
        on_loopback("receive 1200, sent singly", Receive, "receive size=1200 trains=0"),
        on_loopback("loopback 64", EndToEnd, "flow size=64"),
        on_loopback("loopback 512", EndToEnd, "flow size=512"),
        on_loopback("loopback 1200", EndToEnd, "flow size=1200"),
        Scenario { name: "veth 1200", group: EndToEnd, arguments: "flow size=1200", needs: Needs::VethPair },
        on_loopback("multicast to 1", Multicast, "flow group=1 receivers=1"),
        on_loopback("multicast to 4", Multicast, "flow group=1 receivers=4"),
        on_loopback("multicast to 16", Multicast, "flow group=1 receivers=16"),
        on_loopback("fan-out to 1000", FanOut, "fan_out destinations=1000"),
        on_loopback("batch", Batch, "send size=1200"),
    ]
}

/// One program to run in a scenario.
pub struct Step<'p> {
    pub program: &'p Program,
    /// How many datagrams a call is given; 0 for the harness's default.
    pub batch: u32,
}

impl Scenario {
    /// Whether it can run, or why it can't.
    pub fn is_possible<'n>(&self, network: &'n Network) -> Result<(), &'n str> {
        match self.needs {
            Needs::Loopback => Ok(()),
            Needs::VethPair => network.other_end().map(drop),
        }
    }

    /// Whether a program has something to show in it.
    pub fn includes(&self, program: &Program) -> bool {
        match (self.group, program.name) {
            // They add nothing to streams.
            (Group::Gather, "segment" | "sendmmsg") => false,
            // A train has one destination.
            (Group::FanOut, "segment") => false,
            (Group::Batch, name) => name == "castio" || name == "sendto",
            _ => true,
        }
    }

    /// The programs that run in it, once each but for batches.
    pub fn runs<'p>(&self, programs: &'p [Program]) -> Vec<Step<'p>> {
        let there = programs.iter().filter(|program| program.path.is_ok() && self.includes(program));
        if self.group != Group::Batch {
            return there.map(|program| Step { program, batch: 0 }).collect();
        }
        let mut steps = Vec::new();
        for program in there {
            // sendto beside castio's batch of one.
            let batches = if program.name == "castio" { BATCHES.as_slice() } else { &BATCHES[..1] };
            steps.extend(batches.iter().rev().map(|batch| Step { program, batch: *batch }));
        }
        steps
    }
}
