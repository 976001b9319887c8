//! An interface by its name, whatever becomes of it.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use crate::error::{Errno, Result};
use crate::interface;
use crate::sys::interface::Flags;
use crate::sys::netlink::{Change, Netlink};

/// How often news is read in one go, each time up to 32 KiB.
const READS_MAX: usize = 64;

/// What has become of it; of several, what is most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Nothing that matters here.
    Nothing,
    /// It has an address, perhaps its first.
    Address,
    /// It is up, with a carrier, and was not.
    Up,
    /// It is gone, or another, even if that has the index that it had.
    Moved,
}

/// The interface that a text means now.
pub struct Followed {
    text: CString,
    netlink: Netlink,
    index: Option<u32>,
    is_live: bool,
    /// What was read and has led to nothing yet.
    unseen: Option<News>,
}

impl Followed {
    /// By name, address or index. `ENODEV` if there is none now.
    pub fn open(text: &CStr) -> Result<Followed> {
        // Before looking, so that nothing is missed between.
        let netlink = Netlink::watch()?;
        let index = interface::resolve(text)?;
        let is_live = is_live(index)?;
        Ok(Followed { text: text.to_owned(), netlink, index: Some(index), is_live, unseen: None })
    }

    /// Its index, if there is one now.
    pub fn index(&self) -> Option<u32> {
        self.index
    }

    /// To wait on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.netlink.fd()
    }

    /// Reads what the kernel tells.
    pub fn process(&mut self) -> Result<News> {
        self.read()?;
        let news = self.unseen.map_or(Ok(News::Nothing), |news| self.look(news))?;
        self.unseen = None;
        Ok(news)
    }

    fn read(&mut self) -> Result<()> {
        let Followed { netlink, index, is_live, unseen, .. } = self;
        for _ in 0..READS_MAX {
            let result = netlink.changes(|change| {
                let news = match change {
                    Change::LinkGone { index: gone } if *index == Some(gone) => News::Moved,
                    Change::Link { index: own, flags, .. } if *index == Some(own) => {
                        let was_live = std::mem::replace(is_live, has_carrier(flags));
                        if *is_live && !was_live { News::Up } else { News::Nothing }
                    }
                    Change::Address { index: own, .. } if *index == Some(own) => News::Address,
                    _ => News::Nothing,
                };
                *unseen = (*unseen).max(Some(news));
            });
            match result {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                // It may have gone and come back meanwhile.
                Err(Errno::ENOBUFS) => *unseen = Some(News::Moved),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What the text means now.
    fn look(&mut self, news: News) -> Result<News> {
        let now = match interface::resolve(&self.text) {
            Err(Errno::ENODEV) => None,
            // Another one has the address too, as when it moves.
            Err(Errno::EADDRNOTAVAIL) => self.index,
            index => Some(index?),
        };
        if news < News::Moved && now == self.index {
            return Ok(news);
        }
        let is_live = now.map_or(Ok(false), is_live)?;
        let was_nowhere = self.index.is_none() && now.is_none();
        (self.index, self.is_live) = (now, is_live);
        Ok(if was_nowhere { News::Nothing } else { News::Moved })
    }
}

fn has_carrier(flags: Flags) -> bool {
    flags.has(Flags::UP) && flags.has(Flags::LOWER_UP)
}

fn is_live(index: u32) -> Result<bool> {
    let entries = interface::list()?;
    Ok(entries.iter().any(|entry| entry.interface.index == index && has_carrier(entry.interface.flags)))
}
