//! The C face: the only place that touches C's pointers, one file for each room, in the order of
//! the header. Each function checks, converts, calls its room and gives the result back.
//!
//! Safety of every function here: a pointer is NULL where the header allows it, or valid for what
//! the header says, and text ends in a NUL. NULL itself is always checked.

#![allow(clippy::missing_safety_doc, reason = "the same for all, above; the header says it in C's words")]
#![allow(non_camel_case_types, reason = "C's names")]

mod convert;
mod guard;
mod handle;

pub mod error;
pub mod explain;
pub mod vectored;
pub mod nowait;
pub mod peek;
pub mod urgent;
pub mod multicast;
pub mod broadcast;
pub mod datagram_send;
pub mod datagram_receive;
pub mod tunnel;
pub mod tunnel_info;
pub mod bridge;
pub mod amt;
pub mod amt_receive;
pub mod amt_discovery;
pub mod amt_relay;
pub mod amt_relay_info;
pub mod subscribe;
pub mod subscription;
pub mod interface;
pub mod inspect;
pub mod diagnose;
pub mod stdio;
