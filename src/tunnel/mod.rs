//! Multicast through networks that carry unicast only.
//!
//! The formats are pure functions on bytes: parsing gives views of a packet, building gives the
//! bytes of a header to put in front of a payload that stays where it is.

pub mod amt;
pub mod bridge;
pub mod ecn;
pub mod fixed;
pub mod gre;
pub mod ip;
pub mod listener;
pub mod malformed;
pub mod subscribe;
pub mod too_big;

mod bytes;
