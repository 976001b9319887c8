//! Which datagrams may leave as one (UDP_SEGMENT), learnt from what the kernel refuses.

use std::net::IpAddr;

use crate::error::Errno;

/// The most segments of today's kernels (`UDP_MAX_SEGMENTS`); older ones take 64.
const SEGMENTS_NOW: usize = 128;
const SEGMENTS_BEFORE: usize = 64;

/// The most payload of one train: what fits behind an IPv4 and a UDP header.
const BYTES_MAX: usize = 65_507;

/// How many routes are remembered; the oldest is forgotten first, and learnt anew.
const ROUTES: usize = 16;

/// A way out of this host, as far as segmentation may differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination; `None` for the connected peer.
    pub to: Option<IpAddr>,
    /// The interface asked for.
    pub interface: u32,
}

/// What segmentation is good for on one socket.
pub struct Segmentation {
    /// The most datagrams in one train; 1 switches it off.
    segments: usize,
    /// Routes that refuse datagrams of this size and above.
    refused: Vec<(Route, usize)>,
}

impl Segmentation {
    /// As far as the kernel goes, or not at all.
    pub fn new(works: bool) -> Self {
        Segmentation { segments: if works { SEGMENTS_NOW } else { 1 }, refused: Vec::with_capacity(ROUTES) }
    }

    /// How many datagrams of this size may leave as one train on a route, at least 1.
    pub fn train_length(&self, size: usize, route: impl FnOnce() -> Route) -> usize {
        if self.segments == 1 || size == 0 || size > BYTES_MAX / 2 {
            return 1;
        }
        if !self.refused.is_empty() {
            let route = route();
            if self.refused.iter().any(|(other, limit)| *other == route && size >= *limit) {
                return 1;
            }
        }
        self.segments.min(BYTES_MAX / size)
    }

    /// Whether more payload fits into a train of so many bytes.
    pub fn has_room(bytes: usize, more: usize) -> bool {
        bytes + more <= BYTES_MAX
    }

    /// Learns from the error of a train. Whether the same datagrams may go in another way.
    pub fn refuse(&mut self, error: Errno, length: usize, size: usize, route: Route) -> bool {
        if length < 2 {
            return false;
        }
        let from = match error {
            Errno::EINVAL if length > SEGMENTS_BEFORE => {
                self.segments = SEGMENTS_BEFORE;
                return true;
            }
            // A segment is larger than the way allows; smaller ones may pass.
            Errno::EMSGSIZE => size,
            // The device can't, or the kernel won't on this socket.
            Errno::EIO | Errno::EINVAL | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP => 0,
            _ => return false,
        };
        self.refused.retain(|(other, _)| *other != route);
        if self.refused.len() == ROUTES {
            self.refused.remove(0);
        }
        self.refused.push((route, from));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route = Route { to: None, interface: 0 };

    #[test]
    fn a_train_is_as_long_as_the_kernel_takes() {
        let segmentation = Segmentation::new(true);
        assert_eq!(segmentation.train_length(100, || ROUTE), 128);
        assert_eq!(segmentation.train_length(1200, || ROUTE), 54);
        assert_eq!(segmentation.train_length(0, || ROUTE), 1);
        assert_eq!(segmentation.train_length(40_000, || ROUTE), 1);
        assert_eq!(Segmentation::new(false).train_length(100, || ROUTE), 1);
    }

    #[test]
    fn an_older_kernel_is_met_with_shorter_trains() {
        let mut segmentation = Segmentation::new(true);
        assert!(segmentation.refuse(Errno::EINVAL, 128, 100, ROUTE));
        assert_eq!(segmentation.train_length(100, || ROUTE), 64);
    }

    #[test]
    fn a_segment_too_large_for_one_way_keeps_the_others() {
        let mut segmentation = Segmentation::new(true);
        assert!(segmentation.refuse(Errno::EMSGSIZE, 10, 1473, ROUTE));
        assert_eq!(segmentation.train_length(1473, || ROUTE), 1);
        assert!(segmentation.train_length(1472, || ROUTE) > 1);
        assert!(segmentation.train_length(1473, || Route { interface: 3, ..ROUTE }) > 1);
    }

    #[test]
    fn other_errors_are_the_callers() {
        let mut segmentation = Segmentation::new(true);
        assert!(!segmentation.refuse(Errno::EAGAIN, 10, 100, ROUTE));
        assert!(!segmentation.refuse(Errno::EMSGSIZE, 1, 100, ROUTE));
    }
}
