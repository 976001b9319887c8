//! Fields at fixed places, in network byte order.

use super::malformed::Malformed;

/// So many bytes at a place.
pub(super) fn array_at<const SIZE: usize>(bytes: &[u8], at: usize) -> Result<[u8; SIZE], Malformed> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Malformed::Truncated)
}

pub(super) fn u8_at(bytes: &[u8], at: usize) -> Result<u8, Malformed> {
    bytes.get(at).copied().ok_or(Malformed::Truncated)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    array_at(bytes, at).map(u16::from_be_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    array_at(bytes, at).map(u32::from_be_bytes)
}

/// All bytes from a place on.
pub(super) fn from(bytes: &[u8], at: usize) -> Result<&[u8], Malformed> {
    bytes.get(at..).ok_or(Malformed::Truncated)
}

/// Writes over the bytes at a place.
pub(super) fn put<const SIZE: usize>(bytes: &mut [u8], at: usize, value: [u8; SIZE]) -> Result<(), Malformed> {
    let place = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()).ok_or(Malformed::Truncated)?;
    *place = value;
    Ok(())
}
