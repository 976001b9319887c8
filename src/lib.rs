//! castio: everything about sockets that `send` and `recv` don't cover.
//!
//! A C library with a Rust core, on descriptors that the caller owns. The C face is in `ffi`, one
//! file for each room; the rooms hold the policy in safe Rust and can be used from Rust as they
//! are; `sys` holds one function for each system call or socket option.

#![deny(unsafe_code, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![warn(missing_docs)]

#[cfg(not(target_os = "linux"))]
compile_error!("castio knows Linux only: the traps that it absorbs are Linux's own");

pub mod address;
pub mod borrowed;
pub mod broadcast;
pub mod datagram;
pub mod deadline;
pub mod diagnose;
pub mod error;
pub mod explain;
pub mod hash;
pub mod interface;
pub mod multicast;
pub mod nowait;
pub mod peek;
pub mod setting;
pub mod stdio;
pub mod transfer;
pub mod tunnel;
pub mod urgent;
pub mod vectored;
pub mod waiter;

#[allow(unsafe_code)]
pub mod ffi;
#[allow(unsafe_code)]
pub mod sys;

pub use error::{Errno, Result};
