//! The kernel's settings: sysctl(8).

use std::fs;

/// A number under /proc/sys/net, which is that of the calling thread's network namespace. `None` if it can't be
/// read.
pub fn of_network(path: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?.trim().parse().ok()
}
