//! What the tests share.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod descriptors;
pub mod hosts;
pub mod programs;
pub mod tools;
