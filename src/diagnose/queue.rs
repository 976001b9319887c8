//! What came in and wasn't read.

use super::facts::Facts;
use super::findings::{Code, Finding};
use crate::sys::option::Memory;

/// What one more datagram of an Ethernet's size takes, as the kernel counts.
const ONE_MORE: u32 = 2304;

/// Once something was dropped, half full is full: a datagram counts with all that was allocated for it.
fn is_full(memory: &Memory) -> bool {
    let (received, limit) = (memory.receive, memory.receive_limit);
    received.saturating_add(ONE_MORE) > limit && received > 0 || memory.drops > 0 && received > limit / 2
}

/// Nothing more goes in.
pub fn full(facts: &Facts) -> Option<Finding> {
    let memory = facts.memory.filter(is_full)?;
    let Memory { receive: received, receive_limit, drops, .. } = memory;
    let cause = format!(
        "the receive queue is full: {received} of {receive_limit} bytes wait to be read, {drops} datagrams were \
         dropped so far"
    );
    Some(Finding::new(Code::QueueFull, facts, cause))
}

/// It was full, or something else dropped them.
pub fn drops(facts: &Facts) -> Option<Finding> {
    let memory = facts.memory.filter(|memory| memory.drops > 0 && !is_full(memory))?;
    let Memory { receive: received, receive_limit, drops, .. } = memory;
    let cause = format!(
        "this socket has dropped {drops} datagrams so far; its receive buffer is {receive_limit} bytes, of which \
         {received} wait now"
    );
    Some(Finding::new(Code::Drops, facts, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_full_when_nothing_more_fits_or_what_was_too_much_was_dropped() {
        let memory = |received, drops| Memory { receive: received, receive_limit: 212_992, send: 0, options: 0, drops };
        for (received, drops, expected) in
            [(0, 0, false), (0, 9, false), (110_000, 0, false), (110_000, 1, true), (211_000, 0, true)]
        {
            assert_eq!(is_full(&memory(received, drops)), expected, "{received} {drops}");
        }
        assert!(!is_full(&Memory { receive_limit: 2048, ..memory(0, 0) }), "an empty one isn't full");
    }
}
