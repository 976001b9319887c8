//! Datagrams in batches, at the kernel's limit: sendmmsg(2) and recvmmsg(2), segmentation on send
//! (UDP_SEGMENT) and coalescing on receive (UDP_GRO).

pub mod buffer;
pub mod pace;
pub mod receive;
mod refusal;
pub mod segment;
pub mod send;
pub mod zerocopy;
