//! What the tests share.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod datagrams;
pub mod declarations;
pub mod descriptors;
pub mod examples;
pub mod face;
pub mod hosts;
pub mod library;
pub mod link;
pub mod networks;
pub mod programs;
pub mod sources;
pub mod tools;
pub mod udp;
