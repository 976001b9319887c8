//! What a call that fails leaves as it was: the descriptor's options and memberships, what waits on it, and
//! the process's other descriptors.

use std::os::fd::{BorrowedFd, RawFd};

use castio::ffi::multicast::filter::castio_get_source_filter;
use libc::c_int;

use crate::support::declarations::Function;
use crate::support::descriptors;
use crate::values::good_text;

/// Each with what it is called.
pub struct State {
    fd: Option<RawFd>,
    takes_data: bool,
    may_open: bool,
    seen: Vec<(&'static str, String)>,
}

impl State {
    pub fn of(fd: Option<c_int>, function: &Function) -> State {
        let has = |name: &str| function.parameters.iter().any(|parameter| parameter.name == name);
        // What a transfer moved before it failed, it counts in *done.
        let takes_data = has("buf") || has("iov") || function.name.contains("oob");
        // A handle that works on may have opened what it needs.
        let may_open = function.parameters.first().is_some_and(|first| first.ctype.starts_with("struct castio_"));
        let mut state = State { fd, takes_data, may_open, seen: Vec::new() };
        state.seen = state.look(0);
        state
    }

    fn look(&self, own: usize) -> Vec<(&'static str, String)> {
        let mut seen = Vec::new();
        if !self.may_open {
            let count = std::fs::read_dir("/proc/self/fd").unwrap().count();
            seen.push(("open descriptors", (count - own).to_string()));
        }
        let Some(fd) = self.fd else { return seen };
        // SAFETY: the caller keeps it open.
        let owned = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().unwrap();
        seen.push(("options", format!("{:?}", descriptors::state(&owned))));
        if !self.takes_data {
            let mut waiting: c_int = -1;
            // SAFETY: there is room for an int.
            unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut waiting) };
            seen.push(("what waits", waiting.to_string()));
        }
        for (name, group) in [("the IPv4 membership", good_text("group")), ("the IPv6 membership", "ff15::7")] {
            seen.push((name, membership(fd, group)));
        }
        seen
    }

    /// What is another than it was, if anything.
    pub fn changes(&self) -> String {
        // The seccomp listener has come between.
        let now = self.look(1);
        let pairs = self.seen.iter().zip(&now).filter(|(before, now)| before != now);
        pairs
            .map(|(before, now)| format!("changes {}: {} to {}", now.0, before.1, now.1))
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// Its mode and how many sources, or why there is none.
fn membership(fd: RawFd, group: &str) -> String {
    let text = |text: &str| std::ffi::CString::new(text).unwrap();
    let (group, interface) = (text(group), text(good_text("interface")));
    let (mut mode, mut count) = (-1, 0);
    let sources = std::ptr::null_mut();
    // SAFETY: texts that end in a NUL, and places for an int and a count.
    let result = unsafe {
        castio_get_source_filter(fd, group.as_ptr(), interface.as_ptr(), &raw mut mode, sources, 0, &raw mut count)
    };
    format!("{result} {mode} {count}")
}
