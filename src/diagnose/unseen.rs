//! What couldn't be looked at, whatever is asked.

use super::facts::Facts;
use super::findings::{Code, Finding};

/// Nothing of the socket's network can be seen from another one.
pub fn other_namespace(facts: &Facts) -> Option<Finding> {
    let (socket, thread) = facts.namespaces?;
    let cause = format!(
        "the socket belongs to another network namespace (cookie {socket}) than the calling thread (cookie {thread}), \
         so that nothing of its network could be looked at"
    );
    Some(Finding::new(Code::OtherNamespace, facts, cause))
}

/// Without /proc.
pub fn proc_unchecked(facts: &Facts) -> Option<Finding> {
    let error = facts.proc_error?;
    let cause = format!(
        "/proc/thread-self/net can't be read ({error:?}), so that other sockets, limits and settings of this host \
         weren't looked at"
    );
    Some(Finding::new(Code::ProcUnchecked, facts, cause))
}
