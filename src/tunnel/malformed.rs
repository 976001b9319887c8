//! What is wrong with bytes that should be a packet.

use std::fmt;

use crate::error::Errno;

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// It ends before what its own lengths or counts promise.
    Truncated,
    /// The version isn't one that exists, or not the one of this format.
    BadVersion,
    /// A header's length is less than the least such header.
    BadHeaderLength,
    /// A total length doesn't cover the headers, or a fragment reaches beyond the largest packet.
    BadTotalLength,
    /// A checksum doesn't fit the bytes.
    BadChecksum,
    /// No checksum where there must be one.
    NoChecksum,
    /// Flags are set that change the layout in a way nobody has defined.
    ReservedFlags,
    /// An IPv6 extension header where it may not stand.
    MisplacedExtension,
    /// More IPv6 extension headers than any honest packet has.
    TooManyExtensions,
    /// A part of a packet where a whole one is needed.
    Fragment,
    /// Another protocol than the one asked for.
    OtherProtocol,
    /// A message of a type that isn't the one asked for.
    OtherType,
    /// A group that is no multicast address.
    NotMulticast,
}

impl Malformed {
    fn text(self) -> &'static str {
        match self {
            Malformed::Truncated => "truncated",
            Malformed::BadVersion => "bad version",
            Malformed::BadHeaderLength => "bad header length",
            Malformed::BadTotalLength => "bad total length",
            Malformed::BadChecksum => "bad checksum",
            Malformed::NoChecksum => "no checksum",
            Malformed::ReservedFlags => "reserved flags set",
            Malformed::MisplacedExtension => "misplaced extension header",
            Malformed::TooManyExtensions => "too many extension headers",
            Malformed::Fragment => "a fragment",
            Malformed::OtherProtocol => "another protocol",
            Malformed::OtherType => "another type of message",
            Malformed::NotMulticast => "not a multicast group",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Errno {
    fn from(_: Malformed) -> Errno {
        Errno::EBADMSG
    }
}
