//! Multicast: options, membership, source filters, and sockets that are right from the start.

pub mod endpoint;
pub mod filter;
pub mod limits;
pub mod manager;
pub mod membership;
pub mod options;
pub mod state;
