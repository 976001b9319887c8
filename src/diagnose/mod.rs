//! Diagnosis: why multicast doesn't arrive, or doesn't leave.
//!
//! The facts are gathered once; each check then is a function of the facts alone, and says what it
//! found or nothing. What can't be known is said to be unchecked, never guessed.

pub mod binding;
pub mod cure;
pub mod facts;
pub mod findings;
pub mod firewall;
mod gather;
pub mod host;
pub mod inspect;
pub mod interface;
pub mod json;
pub mod limits;
pub mod membership;
pub mod question;
pub mod queue;
pub mod route;
pub mod sender;
pub mod tables;
pub mod unseen;
#[cfg(test)]
mod tests;

use std::os::fd::BorrowedFd;

use crate::error::Result;
pub use facts::Facts;
pub use findings::{Code, Finding, Severity};
pub use question::{Named, Question};

/// One check.
type Check = fn(&Facts) -> Option<Finding>;

/// Of any socket.
const BOTH: &[Check] = &[
    unseen::other_namespace,
    unseen::proc_unchecked,
    binding::wrong_family,
    binding::not_datagram,
    binding::ipv6_only,
    interface::missing,
    interface::down,
    interface::ipv6_disabled,
    interface::no_carrier,
    interface::not_multicast,
];

/// Of a socket that receives. Where several findings are equally bad, the earlier one comes first.
const RECEIVER: &[Check] = &[
    interface::port_of_master,
    queue::socket_filter,
    binding::connected_to_group,
    binding::connected_elsewhere,
    binding::reuse_mix,
    binding::not_bound,
    binding::port_mismatch,
    binding::bound_to_unicast,
    binding::bound_to_other_group,
    binding::bound_to_device,
    limits::group_limit,
    limits::optmem_limit,
    limits::source_limit,
    membership::joined_elsewhere,
    membership::joined_by_another,
    membership::not_joined,
    membership::source_excluded,
    route::no_route_back,
    interface::no_address,
    membership::ssm_range,
    membership::forced_version,
    queue::full,
    queue::drops,
    firewall::drops_received,
    membership::source_outside_ssm,
    membership::multicast_all_leak,
    interface::snooping_without_querier,
    binding::reuseport_group,
    binding::unicast_balanced,
    firewall::unchecked_received,
];

/// Of a socket that sends.
const SENDER: &[Check] = &[
    sender::source_address_gone,
    sender::wrong_outgoing_interface,
    sender::no_multicast_route,
    sender::no_source_address,
    sender::connected_elsewhere,
    sender::ttl_zero,
    firewall::drops_sent,
    sender::ttl_one,
    sender::loop_off,
    firewall::unchecked_sent,
];

/// What is wrong, worst first; empty if nothing was found. `EBADF`, `ENOTSOCK`, `EAFNOSUPPORT` (no
/// socket of the Internet).
pub fn diagnose(fd: BorrowedFd<'_>, question: &Question) -> Result<Vec<Finding>> {
    let mut found: Vec<Finding> = Vec::new();
    for (is_asked, sends) in [(question.receives, false), (question.sends, true)] {
        if !is_asked {
            continue;
        }
        let facts = Facts::gather(fd, question, sends)?;
        for finding in check(&facts, sends) {
            if !found.iter().any(|other| other.code == finding.code) {
                found.push(finding);
            }
        }
    }
    // Stable: what is equally bad stays in the order of the checks.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(found)
}

fn check(facts: &Facts, sends: bool) -> Vec<Finding> {
    // Everything else would be told of another network than the socket's.
    if let Some(finding) = unseen::other_namespace(facts) {
        return vec![finding];
    }
    let role = if sends { SENDER } else { RECEIVER };
    BOTH.iter().chain(role).filter_map(|check| check(facts)).collect()
}
