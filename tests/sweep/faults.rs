//! Each system call of each function fails with each errno that it can have: what comes out then must be
//! among the errors that the header names for the function, and after a failure all must be as before.

use std::collections::BTreeMap;

use libc::c_long;

use crate::left;
use crate::scenes::{self, Scene};
use crate::subject::{DONE, Subject};
use crate::support::errors;
use crate::support::faults::{End, SystemCall, are_possible, supervised};
use crate::support::tools;
use crate::system_calls;
use crate::undocumented;

/// In seconds; a call that takes this long hangs.
const PATIENCE: u32 = 10;
/// How often the same system call with the same arguments is made to fail, if a function makes it often.
const OFTEN: usize = 2;
/// How many calls of one name are made to fail: an inspection asks for more options than that, all alike.
const MANY: usize = 16;

impl Subject {
    pub fn explains_each_fault(&self) {
        if !are_possible() {
            return tools::skip("seccomp with a listener is refused here");
        }
        let mut found = BTreeMap::new();
        for scene in scenes::of(self.function()) {
            self.fails_each(&scene, &mut found);
        }
        let known = undocumented::after_a_fault(&self.function().name);
        let gone: Vec<&str> = known.iter().copied().filter(|name| found.remove(*name).is_none()).collect();
        let shown: Vec<String> = found.iter().map(|(name, how)| format!("  {name}: {how}")).collect();
        let function = &self.function().name;
        assert!(found.is_empty(), "the header doesn't say of {function}:\n{}", shown.join("\n"));
        assert!(gone.is_empty(), "take {gone:?} of {function} out of tests/sweep/undocumented.rs");
        println!("{DONE}");
    }

    fn fails_each(&self, scene: &Scene, found: &mut BTreeMap<String, String>) {
        let pick = scene.pick(self.arguments());
        let given = scene.what.map(|(kind, _)| kind);
        let mut calls = Vec::new();
        let whole = self.run(scene, &pick, |call| {
            calls.push(*call);
            None
        });
        assert!(matches!(whole, (End::Returned(_), _)), "{scene}: {whole:?}");
        for (turn, (at, call)) in sites(&calls).into_iter().enumerate() {
            for (name, is_lasting) in system_calls::errors(call, given, turn) {
                let error = errors::code(name).unwrap();
                let fail = |is_lasting: bool| {
                    let mut count = 0;
                    self.run(scene, &pick, |now| {
                        count += 1;
                        let is_meant = count == at + 1 || (is_lasting && count > at && now.number == call.number);
                        is_meant.then_some(error)
                    })
                };
                let (end, mut changed) = fail(is_lasting);
                // What is refused from then on can't be undone either.
                if !changed.is_empty() && is_lasting {
                    changed = fail(false).1;
                }
                let how = || format!("{scene}: {}, number {at}, says {name}", system_calls::name(call));
                // What isn't closed is open.
                if !changed.is_empty() && call.number != libc::SYS_close {
                    let (what, details) = changed.split_once(": ").unwrap_or((&changed, ""));
                    found.entry(what.to_owned()).or_insert_with(|| format!("{}\n    {details}", how()));
                }
                match end {
                    End::Returned(result) if result < 0 => {
                        let out = castio::error::name(result as i32).to_str().unwrap();
                        if !self.documents(out) {
                            found.entry(out.to_owned()).or_insert_with(how);
                        }
                    }
                    End::Returned(_) => {}
                    End::Died(signal) => _ = found.entry(format!("signal {signal}")).or_insert_with(how),
                }
            }
        }
    }

    fn run(&self, scene: &Scene, pick: &[usize], decide: impl FnMut(&SystemCall) -> Option<i32>) -> (End, String) {
        let prepare = || {
            let fd = scene.descriptor();
            let call = self.good_call(pick, fd);
            let before = left::State::of(fd, self.function());
            (call, move |result| if result < 0 { before.changes() } else { String::new() })
        };
        supervised(PATIENCE, prepare, decide).expect("seccomp was possible a moment ago")
    }
}

/// Which of the calls are made to fail, each with its place.
fn sites(calls: &[SystemCall]) -> Vec<(usize, &SystemCall)> {
    let mut seen: BTreeMap<(c_long, [u64; 3]), usize> = BTreeMap::new();
    let mut of_name: BTreeMap<c_long, usize> = BTreeMap::new();
    let mut is_new = |call: &SystemCall| {
        // A pointer isn't what makes a call another one.
        let argument = |at: usize| if call.arguments[at] > u64::from(u32::MAX) { 0 } else { call.arguments[at] };
        let times = seen.entry((call.number, [0, 1, 2].map(argument))).or_default();
        *times += 1;
        let all = of_name.entry(call.number).or_default();
        *all += usize::from(*times <= OFTEN);
        *times <= OFTEN && *all <= MANY
    };
    calls.iter().enumerate().filter(|(_, call)| is_new(call)).collect()
}
