//! A list of addresses, given by the caller or lying in a packet.

use std::fmt;
use std::net::IpAddr;

/// A record's or a query's sources.
#[derive(Clone, Copy)]
pub struct Sources<'a>(Place<'a>);

#[derive(Clone, Copy)]
enum Place<'a> {
    List(&'a [IpAddr]),
    V4(&'a [u8]),
    V6(&'a [u8]),
}

impl<'a> Sources<'a> {
    /// No sources.
    pub const NONE: Sources<'static> = Sources(Place::List(&[]));

    /// Addresses side by side, 4 or 16 bytes each.
    pub(super) fn in_packet(bytes: &'a [u8], address_len: usize) -> Self {
        Sources(if address_len == 4 { Place::V4(bytes) } else { Place::V6(bytes) })
    }

    /// How many there are.
    pub fn len(self) -> usize {
        match self.0 {
            Place::List(list) => list.len(),
            Place::V4(bytes) => bytes.len() / 4,
            Place::V6(bytes) => bytes.len() / 16,
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// One of them by its place in the list.
    pub fn get(self, index: usize) -> Option<IpAddr> {
        match self.0 {
            Place::List(list) => list.get(index).copied(),
            Place::V4(bytes) => address::<4>(bytes, index),
            Place::V6(bytes) => address::<16>(bytes, index),
        }
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> + 'a {
        (0..self.len()).map_while(move |index| self.get(index))
    }
}

fn address<const SIZE: usize>(bytes: &[u8], index: usize) -> Option<IpAddr>
where
    IpAddr: From<[u8; SIZE]>,
{
    let at = index.checked_mul(SIZE)?;
    bytes.get(at..)?.first_chunk::<SIZE>().copied().map(IpAddr::from)
}

impl<'a> From<&'a [IpAddr]> for Sources<'a> {
    fn from(list: &'a [IpAddr]) -> Self {
        Sources(Place::List(list))
    }
}

impl PartialEq for Sources<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Sources<'_> {}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
