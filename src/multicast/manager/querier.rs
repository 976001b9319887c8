//! What the routers of an interface understand: what they ask in, as far back as the kernel remembers.
//!
//! The kernel's own table has that for IPv4, behind the groups of all interfaces before; so it is read only
//! where an old query was heard, which is next to nowhere. For IPv6 it has it nowhere.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::datagram::receive::Reader;
use crate::error::{Errno, Result};
use crate::hash::HashMap;
use crate::sys::option::{self, Family};
use crate::tunnel::listener::Version;

const SLOTS: usize = 32;
/// How often they are filled in one go: more than the queue holds, if nobody adds to it meanwhile.
const READS_MAX: usize = 64;
/// An old query with the longest IP header.
const SLOT_SIZE: usize = 68;

/// How long one who asks in MLDv1 is remembered: RFC 3810, section 9.12, by its defaults.
const REMEMBERED: Duration = Duration::from_secs(260);

/// What was heard.
pub(super) struct Queriers {
    family: Family,
    reader: Reader,
    opened: Instant,
    /// IPv4: the kernel's table has something to tell.
    has_older: bool,
    /// IPv6: when an interface's router asked in MLDv1.
    heard: HashMap<u32, Instant>,
    /// How much was asked that there was no room for.
    drops: u32,
}

impl Queriers {
    pub fn open(family: Family) -> Result<Queriers> {
        let has_older = family == Family::V4 && igmp_table().any(|(_, version)| version != Version::Igmp3);
        let reader = Reader::new(SLOTS, SLOT_SIZE)?;
        Ok(Queriers { family, reader, opened: Instant::now(), has_older, heard: HashMap::default(), drops: 0 })
    }

    /// As the kernel would report on an interface. `EAGAIN` if only the kernel knows.
    pub fn version(&mut self, fd: BorrowedFd<'_>, interface: u32, name: &[u8]) -> Result<Version> {
        self.listen(fd)?;
        match self.family {
            Family::V4 => Ok(self.igmp(interface, name)),
            Family::V6 => self.mld(interface, name),
        }
    }

    fn igmp(&mut self, interface: u32, name: &[u8]) -> Version {
        if self.has_older {
            let mut found = Version::Igmp3;
            self.has_older = false;
            for (index, version) in igmp_table() {
                self.has_older |= version != Version::Igmp3;
                if index == interface {
                    found = version;
                }
            }
            return found;
        }
        match forced("ipv4", name, "force_igmp_version") {
            [1, _] | [_, 1] => Version::Igmp1,
            [2, _] | [_, 2] => Version::Igmp2,
            _ => Version::Igmp3,
        }
    }

    fn mld(&self, interface: u32, name: &[u8]) -> Result<Version> {
        match forced("ipv6", name, "force_mld_version") {
            [1, _] | [0, 1] => return Ok(Version::Mld1),
            [2, _] | [0, 2] => return Ok(Version::Mld2),
            _ => {}
        }
        if self.heard.get(&interface).is_some_and(|at| at.elapsed() < REMEMBERED) {
            return Ok(Version::Mld1);
        }
        // One who asked before anybody listened.
        if self.opened.elapsed() < REMEMBERED && has_answered_in_mld1(name) {
            return Err(Errno::EAGAIN);
        }
        Ok(Version::Mld2)
    }

    /// Takes what was asked since the last time.
    fn listen(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        let mut count = 0;
        for _ in 0..READS_MAX {
            self.reader.clear();
            match self.reader.fill(fd) {
                Err(Errno::EAGAIN) => break,
                result => result?,
            }
            while self.hear() {
                count += 1;
            }
        }
        self.has_older |= count > 0;
        if count > 0 {
            // When the queue was full the last ones are missing.
            let drops = option::drops(fd).unwrap_or(0);
            if std::mem::replace(&mut self.drops, drops) != drops {
                self.heard.values_mut().for_each(|at| *at = Instant::now());
            }
        }
        Ok(())
    }

    /// The next query in the reader, if there is one.
    fn hear(&mut self) -> bool {
        let Some(view) = self.reader.next_view(&mut 0) else { return false };
        let Some((_, interface)) = view.packet.told.destination else { return true };
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(view.packet.told.time_ns.unwrap_or(0));
        let age = SystemTime::now().duration_since(at).unwrap_or_default();
        let is_query = is_mld1_query(view.bytes());
        // What doesn't come from the link the kernel doesn't take for a query.
        let is_near = view.source().is_some_and(|from| match from.ip() {
            std::net::IpAddr::V6(v6) => v6.is_unicast_link_local(),
            std::net::IpAddr::V4(_) => false,
        });
        if let Some(at) = Instant::now().checked_sub(age).filter(|_| is_query && is_near) {
            self.heard.insert(interface, at);
        }
        true
    }
}

fn is_mld1_query(message: &[u8]) -> bool {
    message.len() == 24 && message.starts_with(&[130])
}

/// The interfaces in /proc/net/igmp, each with what the kernel reports in.
fn igmp_table() -> impl Iterator<Item = (u32, Version)> {
    let text = fs::read("/proc/thread-self/net/igmp").unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let all: Vec<_> = text.lines().filter_map(interface_line).collect();
    all.into_iter()
}

/// "4\teth0      :     1      V3"; those of groups are indented.
fn interface_line(line: &str) -> Option<(u32, Version)> {
    let (index, rest) = line.split_once('\t')?;
    let version = match rest.split_whitespace().last()? {
        "V1" => Version::Igmp1,
        "V2" => Version::Igmp2,
        "V3" => Version::Igmp3,
        _ => return None,
    };
    Some((index.trim().parse().ok()?, version))
}

/// A setting of sysctl(8), for all interfaces and for one; 0 is none.
fn forced(family: &str, name: &[u8], setting: &str) -> [u32; 2] {
    [b"all", name].map(|name| {
        let path = Path::new("/proc/sys/net").join(family).join("conf").join(OsStr::from_bytes(name)).join(setting);
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    })
}

/// Whether the kernel has ever reported in MLDv1 on an interface, as it does when it is asked so.
fn has_answered_in_mld1(name: &[u8]) -> bool {
    let path = Path::new("/proc/thread-self/net/dev_snmp6").join(OsStr::from_bytes(name));
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut counters = text.lines().filter_map(|line| line.strip_prefix("Icmp6OutGroupMembResponses"));
    counters.any(|count| count.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_has_a_version_for_each_interface() {
        for (line, expected) in [
            ("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter", None),
            ("1\tlo        :     1      V3", Some((1, Version::Igmp3))),
            ("\t\t\t\t010000E0     1 0:00000000\t\t0", None),
            ("23\taverylongname0:     2      V2", Some((23, Version::Igmp2))),
            ("3\teth0      :     2      V1", Some((3, Version::Igmp1))),
            ("", None),
        ] {
            assert_eq!(interface_line(line), expected, "{line}");
        }
    }
}
