//! Reading a message of DNS.

/// Takes bytes from a message, one thing after the other, up to an end.
pub struct Reader<'a> {
    /// The message to its end, which names point back into, or to the end of a part of it.
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the start.
    pub fn new(message: &'a [u8]) -> Reader<'a> {
        Reader { message, at: 0 }
    }

    /// Another one, from `at`.
    #[allow(clippy::wrong_self_convention, reason = "it says where from")]
    pub fn from(&self, at: usize) -> Reader<'a> {
        Reader { message: self.message, at }
    }

    /// How many bytes are behind.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next bytes, which this one passes over, for another to read.
    pub fn part(&mut self, len: usize) -> Option<Reader<'a>> {
        let start = self.at;
        self.take(len)?;
        Some(Reader { message: self.message.get(..self.at)?, at: start })
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.message.len().saturating_sub(self.at)
    }

    /// Whether all was read.
    pub fn is_at_end(&self) -> bool {
        self.left() == 0
    }

    /// The next bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(bytes)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// The next bytes, as many as fit.
    pub fn array<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        self.take(LEN)?.try_into().ok()
    }

    /// The next 16-bit words.
    pub fn words<const COUNT: usize>(&mut self) -> Option<[u16; COUNT]> {
        let mut words = [0; COUNT];
        for word in &mut words {
            *word = u16::from_be_bytes(self.array()?);
        }
        Some(words)
    }
}
