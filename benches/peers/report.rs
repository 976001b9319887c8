//! The figures as tables for people and as JSON for scripts.

use std::fmt::Write;

use crate::aims;
use crate::measure::Figures;
use crate::network::Network;
use crate::programs::Program;
use crate::scenarios::{BATCHES, GROUPS, Group, Scenario};
use crate::statistics::machine;

pub struct Report<'r> {
    pub programs: &'r [Program],
    pub scenarios: &'r [Scenario],
    pub figures: &'r Figures,
    pub network: &'r Network,
}

impl Report<'_> {
    pub fn scenarios_of(&self, group: Group) -> Vec<&Scenario> {
        self.scenarios.iter().filter(|scenario| scenario.group == group).collect()
    }

    /// How many times longer a program takes than castio.
    pub fn ratio(&self, scenario: &Scenario, program: &Program) -> Option<f64> {
        self.figures.ratio(scenario.name, (program.name, 0), ("castio", 0))
    }

    pub fn markdown(&self, rounds: usize, ms: u32) -> String {
        let mut text = String::new();
        self.introduction(&mut text, rounds, ms);
        for (group, title) in GROUPS {
            let scenarios = self.scenarios_of(group);
            if !scenarios.is_empty() {
                self.table(&mut text, title, &scenarios);
            }
        }
        self.batches(&mut text);
        self.aims(&mut text);
        self.losses(&mut text);
        text
    }

    fn introduction(&self, text: &mut String, rounds: usize, ms: u32) {
        let _ = writeln!(
            text,
            "# castio beside what a user would pick instead\n\n\
             Made by `cargo bench --bench peers`; edits here are lost. {}.\n\n\
             Small programs, one for each library, run side by side on the same machine: {rounds} rounds, \
             every other one backwards, {ms} ms each; medians. The figures are ratios: **how many times \
             castio's time a program takes** for each datagram (or write) that arrived; castio = 1, and its \
             nanoseconds stand beside it. Below 1 is faster than castio.\n\n\
             - Each library is used in the way that it does best: libuv with uv_udp_try_send and \
             UV_UDP_RECVMMSG, GLib with g_socket_send_messages and g_socket_receive_messages, APR with \
             apr_socket_sendto and apr_socket_sendv, asio with send_to, receive_from and write. libevent has an \
             evbuffer for streams and for datagrams nothing but the event, so its users call sendto and \
             recvfrom.\n\
             - \"Alone\" measures the calls of one end, with the kernel's part of them, and not the other \
             end: a socket that takes whole trains, emptied between rounds; a socket filled in trains \
             before. \"Sent singly\" is filled by sendto.\n\
             - End to end: a process that sends 256 at a time, and one or more that receive; held back so \
             that no more are under way than a receiver has room for, and 8,192 at most. The sockets aren't \
             connected.\n\
             - Bare are the kernel's own calls without a library. UDP_SEGMENT is the limit, and good for one \
             thing alone: payloads of one size, in one piece of memory, to one place. Beside gather writes, \
             sendto stands for writev.\n\
             - What arrived is counted, datagrams and bytes.\n",
            machine()
        );
        for program in self.programs {
            if let Err(missing) = &program.path {
                let _ = writeln!(text, "**Missing: {}, {missing}.**\n", program.title);
            }
        }
        if let Err(reason) = self.network.other_end() {
            let _ = writeln!(text, "**Skipped: the veth pair: {reason}.**\n");
        }
        text.push_str("![ratios](peers.svg)\n");
    }

    fn table(&self, text: &mut String, title: &str, scenarios: &[&Scenario]) {
        let _ = write!(text, "\n## {title}\n\n| |");
        for scenario in scenarios {
            let _ = write!(text, " {} |", scenario.name);
        }
        let _ = writeln!(text, "\n|---|{}", "---:|".repeat(scenarios.len()));
        for program in self.programs {
            if !scenarios.iter().any(|scenario| scenario.includes(program)) {
                continue;
            }
            let _ = write!(text, "| {} |", program.title);
            for scenario in scenarios {
                let _ = write!(text, " {} |", self.cell(scenario, program));
            }
            text.push('\n');
        }
    }

    fn cell(&self, scenario: &Scenario, program: &Program) -> String {
        if program.path.is_err() {
            return "not installed".to_owned();
        }
        if self.figures.failure(scenario.name, program.name, 0).is_some() {
            return "failed".to_owned();
        }
        let Some(ratio) = self.ratio(scenario, program) else { return "skipped".to_owned() };
        let mut cell = if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") };
        if program.name == "castio" {
            let cost = self.figures.cost(scenario.name, program.name, 0).unwrap_or_default();
            cell = format!("1 ({cost:.0} ns)");
        }
        match self.figures.lost(scenario.name, program.name, 0) {
            Some((sent, lost)) if lost > 0 => format!("{cell}, lost {:.3} %", 100.0 * lost as f64 / sent as f64),
            _ => cell,
        }
    }

    /// What sendto and castio take for one datagram, by how many a call is given.
    pub fn batch_costs(&self) -> (Option<f64>, Vec<(u32, f64)>) {
        let cost = |batch| Some((batch, self.figures.cost("batch", "castio", batch)?));
        (self.figures.cost("batch", "sendto", 1), BATCHES.into_iter().filter_map(cost).collect())
    }

    fn batches(&self, text: &mut String) {
        let (Some(sendto), costs) = self.batch_costs() else { return };
        let _ = writeln!(
            text,
            "\n## Cost of a datagram as the batch grows, 1,200 bytes, loopback, send alone\n\n\
             ![cost by batch](batch.svg)\n\n| datagrams in a call | ns for each | sendto takes times that |\n|---:|---:|---:|"
        );
        for (batch, cost) in costs {
            let ratio = self.figures.ratio("batch", ("sendto", 1), ("castio", batch)).unwrap_or_default();
            let _ = writeln!(text, "| {batch} | {cost:.0} | {ratio:.2} |");
        }
        let _ = writeln!(text, "\nsendto: {sendto:.0} ns.");
    }

    fn aims(&self, text: &mut String) {
        text.push_str("\n## Aims\n\n| aim | measured | |\n|---|---|---|\n");
        for aim in aims::all(self) {
            let said = match (&aim.measured, aim.met) {
                (None, _) => "not measured",
                (_, true) => "met",
                (_, false) => "not met",
            };
            let _ = writeln!(text, "| {} | {} | {said} |", aim.text, aim.measured.as_deref().unwrap_or(""));
        }
    }

    /// Every run of every program, so that a zero says something.
    fn losses(&self, text: &mut String) {
        text.push_str("\n## What was sent, and what was lost\n\n| | sent, at every receiver | lost | bytes that arrived |\n|---|---:|---:|---:|\n");
        for program in self.programs {
            let (mut sent, mut lost, mut bytes) = (0, 0, 0);
            for scenario in self.scenarios {
                for batch in [0].into_iter().chain(BATCHES) {
                    let counts = self.figures.lost(scenario.name, program.name, batch).unwrap_or_default();
                    sent += counts.0;
                    lost += counts.1;
                    bytes += self.figures.bytes(scenario.name, program.name, batch).unwrap_or_default();
                }
            }
            if sent > 0 {
                let _ = writeln!(text, "| {} | {sent} | {lost} | {bytes} |", program.title);
            }
        }
    }

    /// One line for each figure.
    pub fn json(&self) -> String {
        let mut text = String::new();
        for scenario in self.scenarios {
            for program in self.programs {
                for batch in [0].into_iter().chain(BATCHES) {
                    self.json_line(&mut text, scenario, program, batch);
                }
            }
        }
        for program in self.programs {
            if let Err(missing) = &program.path {
                let _ = writeln!(text, r#"{{"program":"{}","missing":"{missing}"}}"#, program.name);
            }
        }
        text
    }

    fn json_line(&self, text: &mut String, scenario: &Scenario, program: &Program, batch: u32) {
        let cost = self.figures.cost(scenario.name, program.name, batch);
        let counts = self.figures.lost(scenario.name, program.name, batch);
        let (Some(cost), Some((sent, lost))) = (cost, counts) else { return };
        let against = if scenario.group == Group::Batch { 1 } else { 0 };
        let ratio = self.figures.ratio(scenario.name, (program.name, batch), ("castio", against)).unwrap_or_default();
        let bytes = self.figures.bytes(scenario.name, program.name, batch).unwrap_or_default();
        let _ = writeln!(
            text,
            r#"{{"scenario":"{}","program":"{}","batch":{batch},"ns":{cost:.1},"ratio":{ratio:.4},"sent":{sent},"lost":{lost},"bytes":{bytes}}}"#,
            scenario.name, program.name
        );
    }
}
