//! What the tests share.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod allocations;
pub mod amt;
pub mod announce;
pub mod bridges;
pub mod datagrams;
pub mod declarations;
pub mod descriptors;
pub mod dns;
pub mod doctor;
pub mod errors;
pub mod examples;
pub mod face;
pub mod far;
#[cfg(target_pointer_width = "64")]
pub mod faults;
pub mod forwarder;
pub mod hosts;
pub mod icmp;
pub mod inspect;
pub mod library;
pub mod link;
pub mod memberships;
pub mod networks;
pub mod nftables;
pub mod packets;
pub mod pair;
pub mod programs;
pub mod relay;
pub mod sources;
pub mod terminal;
pub mod tools;
pub mod tunnels;
pub mod udp;
