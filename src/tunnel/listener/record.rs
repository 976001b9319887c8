//! What one host says of one group, and in which protocol.

use std::net::IpAddr;

use super::sources::Sources;

/// The protocols, oldest first in each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// IGMP version 1 (RFC 1112).
    Igmp1,
    /// IGMP version 2 (RFC 2236).
    Igmp2,
    /// IGMP version 3 (RFC 3376).
    Igmp3,
    /// MLD version 1 (RFC 2710).
    Mld1,
    /// MLD version 2 (RFC 3810).
    Mld2,
}

/// What a record says of a group (RFC 3376, section 4.2.12; RFC 3810 has the same).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Listens to these sources.
    ModeIsInclude,
    /// Listens to all sources but these.
    ModeIsExclude,
    /// Listens to these sources from now on.
    ChangeToInclude,
    /// Listens to all sources but these from now on.
    ChangeToExclude,
    /// Listens to these sources as well.
    AllowNewSources,
    /// No longer listens to these sources.
    BlockOldSources,
}

impl Kind {
    /// Each of them, in the order of their codes, which begin with 1.
    pub const ALL: [Kind; 6] = [
        Kind::ModeIsInclude,
        Kind::ModeIsExclude,
        Kind::ChangeToInclude,
        Kind::ChangeToExclude,
        Kind::AllowNewSources,
        Kind::BlockOldSources,
    ];

    pub(super) fn from_code(code: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    pub(super) fn code(self) -> u8 {
        self as u8 + 1
    }

    /// Whether a list cut short still says something true: with fewer sources left out, more are
    /// listened to.
    pub(super) fn is_exclude(self) -> bool {
        matches!(self, Kind::ModeIsExclude | Kind::ChangeToExclude)
    }
}

/// What one host says of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says.
    pub kind: Kind,
    /// The group.
    pub group: IpAddr,
    /// The sources, of the group's family.
    pub sources: Sources<'a>,
}
