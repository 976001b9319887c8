//! Times as a field has them: a plain number while it is small, else a mantissa and an exponent
//! (RFC 3376, sections 4.1.1 and 4.1.7; RFC 3810, sections 5.1.3 and 5.1.9).

/// A code whose upper half, from `1 << (mantissa + 3)` on, is one bit, three bits of exponent and
/// so many of mantissa: the mantissa with a 1 before it, shifted by the exponent and 3 more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Float {
    mantissa: u32,
}

/// The eight bits of IGMPv3's Max Resp Code and of both families' QQIC.
pub(super) const SHORT: Float = Float { mantissa: 4 };
/// The sixteen bits of MLDv2's Maximum Response Code.
pub(super) const MLD_RESPONSE: Float = Float { mantissa: 12 };

impl Float {
    /// The first code, and value, with an exponent.
    fn floating(self) -> u64 {
        8 << self.mantissa
    }

    /// What a code says.
    pub(super) fn decode(self, code: u16) -> u64 {
        let code = u64::from(code);
        if code < self.floating() {
            return code;
        }
        let hidden = 1 << self.mantissa;
        (code & (hidden - 1) | hidden) << ((code >> self.mantissa & 7) + 3)
    }

    /// The code of the largest value that isn't more than this one.
    pub(super) fn encode(self, value: u64) -> u16 {
        if value < self.floating() {
            return value as u16;
        }
        let exponent = u64::from(value.ilog2() - self.mantissa - 3);
        if exponent > 7 {
            return (2 * self.floating() - 1) as u16;
        }
        let hidden = 1 << self.mantissa;
        (self.floating() | exponent << self.mantissa | value >> (exponent + 3) & (hidden - 1)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_the_rfcs_formula_says() {
        for (code, value) in [(0, 0), (127, 127), (0x80, 128), (0x81, 136), (0x8f, 248), (0x90, 256), (0xff, 31_744)] {
            assert_eq!(SHORT.decode(code), value);
        }
        for (code, value) in [(0x7fff, 32_767), (0x8000, 32_768), (0x8001, 32_776), (0xffff, 8_387_584)] {
            assert_eq!(MLD_RESPONSE.decode(code), value);
        }
    }

    #[test]
    fn every_code_comes_back_and_what_lies_between_is_rounded_down() {
        for (float, last) in [(SHORT, 0xff), (MLD_RESPONSE, 0xffff)] {
            for code in 0..last {
                let next = float.decode(code + 1);
                assert_eq!(float.encode(float.decode(code)), code);
                assert_eq!(float.encode(next - 1), code, "below {next}");
            }
            assert_eq!(float.encode(float.decode(last)), last);
            assert_eq!(float.encode(u64::MAX), last);
        }
    }
}
