//! Automatic Multicast Tunneling (RFC 7450): what its two ends say to each other, and how a gateway
//! finds a relay.

pub mod client;
pub mod dns;
pub mod discovery;
pub mod driad;
pub mod field;
pub mod gateway;
pub mod mac;
pub mod name;
pub mod reader;
pub mod relay;
pub mod resolv_conf;
pub mod resolver;
pub mod server;
pub mod siphash;
pub mod wire;

/// The UDP port of relays.
pub const PORT: u16 = 2268;
