//! The bytes of a header in the making.

use std::ops::Deref;

/// A header's bytes, to put before the payload in a gather list.
#[derive(Clone, Copy, Debug)]
pub struct HeaderBytes<const SIZE: usize> {
    bytes: [u8; SIZE],
    len: usize,
}

impl<const SIZE: usize> HeaderBytes<SIZE> {
    pub(in crate::tunnel) fn new() -> Self {
        HeaderBytes { bytes: [0; SIZE], len: 0 }
    }

    /// Adds bytes, as far as there is room: each format's `SIZE` is its longest header.
    #[inline]
    pub(in crate::tunnel) fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }

    /// Writes over the first byte.
    pub(in crate::tunnel) fn set_first(&mut self, value: u8) {
        if let Some(place) = self.bytes.first_mut() {
            *place = value;
        }
    }

    /// Writes a word over two bytes that were pushed.
    pub(in crate::tunnel) fn set_u16(&mut self, at: usize, value: u16) {
        if let Some(place) = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = value.to_be_bytes();
        }
    }
}

impl<const SIZE: usize> Deref for HeaderBytes<SIZE> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
