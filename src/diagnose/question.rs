//! What is asked.

use std::ffi::CStr;
use std::net::IpAddr;

use crate::address::Scoped;
use crate::error::{Errno, Result};
use crate::interface;

/// Which interface is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Whichever it is.
    Any,
    /// This one, if there is such a one.
    Index(u32),
    /// None of this host has that name, address or index.
    Missing(String),
}

impl Named {
    /// By its index, 0 for any.
    pub fn index(index: u32) -> Named {
        if index == 0 { Named::Any } else { Named::Index(index) }
    }

    /// As [`interface::resolve_optional`], but for one that doesn't exist.
    pub fn parse(text: Option<&CStr>) -> Result<Named> {
        match (interface::resolve_optional(text), text) {
            (Err(Errno::ENODEV), Some(text)) => Ok(Named::Missing(text.to_string_lossy().into_owned())),
            (index, _) => index.map(Named::index),
        }
    }

    /// The other one, if this is none. `EINVAL` if they disagree.
    pub fn or(self, other: Named) -> Result<Named> {
        match (self, other) {
            (Named::Any, other) => Ok(other),
            (named, Named::Any) => Ok(named),
            (named, other) if named == other => Ok(named),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The group.
    pub group: IpAddr,
    /// Its port; 0 for the socket's own.
    pub port: u16,
    /// Who sends.
    pub source: Option<IpAddr>,
    /// On which interface.
    pub named: Named,
    /// Why it doesn't arrive.
    pub receives: bool,
    /// Why it doesn't leave.
    pub sends: bool,
}

impl Question {
    /// About a receiver. `EINVAL` if the group isn't one, or the source is; `EAFNOSUPPORT` if the two are
    /// of different families.
    pub fn new(group: IpAddr, port: u16, source: Option<IpAddr>, named: Named) -> Result<Question> {
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        match source {
            Some(source) if source.is_ipv4() != group.is_ipv4() => Err(Errno::EAFNOSUPPORT),
            Some(source) if source.is_multicast() || source.is_unspecified() => Err(Errno::EINVAL),
            _ => Ok(Question { group, port, source, named, receives: true, sends: false }),
        }
    }

    /// About a receiver, a sender, or both.
    pub fn about(self, (receives, sends): (bool, bool)) -> Question {
        Question { receives, sends, ..self }
    }
}

/// An address with the interface named behind it, "ff02::7%eth0". `EINVAL` if it isn't one.
pub fn scoped(text: &CStr) -> Result<(IpAddr, Named)> {
    match Scoped::parse(text) {
        Ok(scoped) => Ok((scoped.ip, Named::index(scoped.scope))),
        Err(Errno::ENODEV) => {
            let text = text.to_str().map_err(|_| Errno::EINVAL)?;
            let (address, zone) = text.split_once('%').ok_or(Errno::EINVAL)?;
            Ok((address.parse().map_err(|_| Errno::EINVAL)?, Named::Missing(zone.to_owned())))
        }
        Err(error) => Err(error),
    }
}
