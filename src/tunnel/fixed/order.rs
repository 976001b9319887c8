//! Which sequence numbers come in order (RFC 2890, section 2.2).

use crate::tunnel::gre;

/// So many numbers in a row that are in order among themselves, yet not behind the last one, are those of
/// a peer that has begun anew. The RFC leaves that out, and the tunnel would be dead for as long as the
/// peer had sent before.
const ANEW: u8 = 32;

/// The last number, and what came against the order since. At first any number will do, where the RFC would
/// have the other end begin with 0: it may have begun before this end did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    last: Option<u32>,
    /// The last number against the order, and how many of them are in order among themselves.
    other: Option<u32>,
    run: u8,
}

impl Order {
    /// Whether a packet of this number is taken.
    pub fn take(&mut self, sequence: u32) -> bool {
        let mut is_taken = gre::is_in_order(self.last, sequence);
        if !is_taken {
            self.run = if gre::is_in_order(self.other, sequence) { self.run + 1 } else { 1 };
            self.other = Some(sequence);
            is_taken = self.run == ANEW;
        }
        if is_taken {
            *self = Order { last: Some(sequence), other: None, run: 0 };
        }
        is_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_and_doubled_packets_are_dropped() {
        let mut order = Order::default();
        let taken: Vec<bool> = [0, 1, 1, 3, 2, 4].map(|sequence| order.take(sequence)).to_vec();
        assert_eq!(taken, [true, true, false, true, false, true]);
    }

    #[test]
    fn a_peer_that_begins_anew_is_heard_again() {
        let mut order = Order::default();
        assert!(order.take(1_000_000));
        let first = (0..1000).find(|sequence| order.take(*sequence));
        assert_eq!(first, Some(31));
        assert!(order.take(32) && !order.take(31));
    }

    #[test]
    fn a_few_late_ones_are_no_new_beginning() {
        let mut order = Order::default();
        for number in 0..10_000 {
            assert!(order.take(number * 2 + 1));
            assert!(!order.take(number * 2));
        }
    }
}
