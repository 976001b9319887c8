//! What came in and wasn't read.

use super::facts::Facts;
use super::findings::{Code, Finding, Severity};
use crate::sys::option::Memory;
use crate::sys::socket_filter::SocketFilter;

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

/// It was full, or the checksum was wrong: what a filter of the socket drops counts too, and is told of there.
pub fn drops(facts: &Facts) -> Option<Finding> {
    let memory = facts.memory.filter(|memory| memory.drops > 0 && !is_full(memory))?;
    let Memory { receive: received, receive_limit, drops, .. } = memory;
    let cause = format!(
        "this socket has dropped {drops} datagrams so far; its receive buffer is {receive_limit} bytes, of which \
         {received} wait now"
    );
    let Some(errors) = facts.udp_errors.filter(|errors| facts.is_udp && received == 0 && errors.full == 0) else {
        return Some(Finding::new(Code::Drops, facts, cause));
    };
    if facts.filter != SocketFilter::None {
        return None;
    }
    let cause = format!(
        "{cause}; no buffer of this host was ever full (RcvbufErrors), {} checksums were wrong (InCsumErrors)",
        errors.checksums
    );
    let cure = "watch \"nstat -az 'Udp*'\" and capture what comes: tcpdump -vv shows bad checksums";
    Some(Finding::new(Code::Drops, facts, cause).cured_by(facts, cure))
}

/// It drops before anything is queued.
pub fn socket_filter(facts: &Facts) -> Option<Finding> {
    let (what, always) = match facts.filter {
        SocketFilter::None | SocketFilter::Classic { always: Some(true), .. } => return None,
        SocketFilter::Classic { len, always } => (format!("a filter of {len} instructions (SO_ATTACH_FILTER)"), always),
        SocketFilter::Extended => ("an eBPF program (SO_ATTACH_BPF), which can't be read,".to_owned(), None),
    };
    let drops = facts.memory.map_or(0, |memory| memory.drops);
    let (severity, rest) = match (always, drops) {
        (Some(_), _) => (Severity::Broken, "lets nothing pass".to_owned()),
        (None, 0) => (Severity::Unchecked, "decides what passes, and whether the group does wasn't checked".to_owned()),
        (None, _) => (Severity::Likely, format!("decides what passes, and {drops} datagrams were dropped so far")),
    };
    let cause = format!("{what} on this socket {rest}");
    Some(Finding::new(Code::SocketFilter, facts, cause).but(severity))
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
