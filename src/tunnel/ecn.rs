//! Congestion marks through a tunnel (RFC 6040), and DSCP with them.
//!
//! The outer header gets the inner one's DSCP at the entry; at the exit the inner keeps its own
//! (RFC 2983, the pipe model), so that the network between can't change it.

/// The two bits of the traffic class.
pub const MASK: u8 = 3;
/// The sender doesn't understand congestion marks.
pub const NOT_ECT: u8 = 0;
/// The sender understands them.
pub const ECT_1: u8 = 1;
/// The sender understands them.
pub const ECT_0: u8 = 2;
/// A router on the way is congested.
pub const CE: u8 = 3;

/// How the entry sets the outer bits (sections 4.1 and 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Like the inner ones, for an exit that is known to follow RFC 6040, RFC 4301 or RFC 3168.
    Normal,
    /// Not-ECT, for an exit that may not know what to do with marks.
    Compatibility,
}

/// Why the exit drops a packet: it is marked, and its sender would take it for unmarked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MustDrop;

/// The outer traffic class at the entry.
pub fn encapsulate(inner: u8, mode: Mode) -> u8 {
    match mode {
        Mode::Normal => inner,
        Mode::Compatibility => inner & !MASK | NOT_ECT,
    }
}

/// The inner traffic class at the exit (section 4.2, figure 4).
pub fn decapsulate(inner: u8, outer: u8) -> Result<u8, MustDrop> {
    let ecn = match (inner & MASK, outer & MASK) {
        (NOT_ECT, CE) => return Err(MustDrop),
        (NOT_ECT, _) => NOT_ECT,
        (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    Ok(inner & !MASK | ecn)
}

/// The traffic class of a packet put together from parts, of which one has this class and another that:
/// the first one's DSCP, the more severe mark (RFC 3168, section 5.3, and RFC 9601, section 5).
pub fn combine(first: u8, other: u8) -> Result<u8, MustDrop> {
    let ecn = match (first & MASK, other & MASK) {
        (NOT_ECT, NOT_ECT) => NOT_ECT,
        (NOT_ECT, _) | (_, NOT_ECT) => return Err(MustDrop),
        (CE, _) | (_, CE) => CE,
        (ECT_1, _) | (_, ECT_1) => ECT_1,
        _ => ECT_0,
    };
    Ok(first & !MASK | ecn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_follows_figure_4_of_rfc_6040() {
        let outers = [NOT_ECT, ECT_0, ECT_1, CE];
        let rows = [
            (NOT_ECT, [Ok(NOT_ECT), Ok(NOT_ECT), Ok(NOT_ECT), Err(MustDrop)]),
            (ECT_0, [Ok(ECT_0), Ok(ECT_0), Ok(ECT_1), Ok(CE)]),
            (ECT_1, [Ok(ECT_1), Ok(ECT_1), Ok(ECT_1), Ok(CE)]),
            (CE, [Ok(CE), Ok(CE), Ok(CE), Ok(CE)]),
        ];
        for (inner, results) in rows {
            for (outer, result) in outers.into_iter().zip(results) {
                // The inner DSCP stays whatever the outer one has become.
                let expected = result.map(|ecn| 0xb8 | ecn);
                assert_eq!(decapsulate(0xb8 | inner, 0x20 | outer), expected, "{inner} in {outer}");
            }
        }
    }

    #[test]
    fn a_mark_on_one_part_is_one_on_the_whole() {
        let marks = [NOT_ECT, ECT_0, ECT_1, CE];
        let rows = [
            (NOT_ECT, [Ok(NOT_ECT), Err(MustDrop), Err(MustDrop), Err(MustDrop)]),
            (ECT_0, [Err(MustDrop), Ok(ECT_0), Ok(ECT_1), Ok(CE)]),
            (ECT_1, [Err(MustDrop), Ok(ECT_1), Ok(ECT_1), Ok(CE)]),
            (CE, [Err(MustDrop), Ok(CE), Ok(CE), Ok(CE)]),
        ];
        for (first, results) in rows {
            for (other, result) in marks.into_iter().zip(results) {
                assert_eq!(combine(0xb8 | first, 0x20 | other), result.map(|ecn| 0xb8 | ecn), "{first} and {other}");
            }
        }
    }

    #[test]
    fn the_entry_copies_the_mark_or_hides_it() {
        for ecn in [NOT_ECT, ECT_0, ECT_1, CE] {
            assert_eq!(encapsulate(0xb8 | ecn, Mode::Normal), 0xb8 | ecn);
            assert_eq!(encapsulate(0xb8 | ecn, Mode::Compatibility), 0xb8);
        }
    }
}
