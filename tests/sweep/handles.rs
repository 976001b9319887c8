//! The library's handles: what a function takes, and what one makes.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr;

use crate::memberships::Prepare;
use crate::support::descriptors::{self, Kind, Pair, check};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Handle {
    Sender,
    Receiver,
    Membership,
}

impl Handle {
    /// What a pointer of this type leads to, if that is a handle.
    pub fn of(ctype: &str) -> Option<Handle> {
        match ctype.trim_end_matches([' ', '*']) {
            "struct castio_sender" => Some(Handle::Sender),
            "struct castio_receiver" => Some(Handle::Receiver),
            "struct castio_membership" => Some(Handle::Membership),
            _ => None,
        }
    }
}

type Open = unsafe extern "C" fn(c_int, *const c_void, *mut usize) -> c_int;
type Close = unsafe extern "C" fn(usize);

/// Makes handles of one sort on one of two UDP sockets that are connected to each other.
pub struct Maker {
    handle: Handle,
    pair: Pair,
    open: Open,
    close: Close,
    /// The one that all calls are given, but those that close it.
    lasting: Cell<usize>,
    /// What a handle needs before it is used.
    prepare: Option<Prepare>,
}

impl Maker {
    /// For calls of `function`; `symbol` gives the address of a function of the library.
    pub fn new(handle: Handle, function: &str, symbol: impl Fn(&str) -> *mut c_void) -> Maker {
        let name = match handle {
            Handle::Sender => "sender",
            Handle::Receiver => "receiver",
            Handle::Membership => "membership",
        };
        // SAFETY: the header says what they are.
        let (open, close) = unsafe {
            (
                std::mem::transmute::<*mut c_void, Open>(symbol(&format!("castio_{name}_open"))),
                std::mem::transmute::<*mut c_void, Close>(symbol(&format!("castio_{name}_close"))),
            )
        };
        let prepare = (handle == Handle::Membership).then(|| Prepare::new(function, symbol));
        let (pair, lasting) = (descriptors::pair(Kind::Udp4), Cell::new(0));
        let maker = Maker { handle, pair, open, close, lasting, prepare };
        maker.lasting.set(maker.make());
        maker
    }

    /// A new handle.
    pub fn make(&self) -> usize {
        let socket = match self.handle {
            Handle::Sender => &self.pair.writer,
            Handle::Receiver | Handle::Membership => &self.pair.reader,
        };
        let mut made = 0;
        // SAFETY: NULL asks for the default, and there is a place for the handle.
        check(unsafe { (self.open)(socket.as_raw_fd(), ptr::null(), &raw mut made) });
        if let Some(prepare) = &self.prepare {
            prepare.prepare(made);
        }
        made
    }

    /// Frees a handle that this or a call has made.
    pub fn unmake(&self, handle: usize) {
        // SAFETY: each is closed once.
        unsafe { (self.close)(handle) };
    }

    /// The one that lasts, with something to receive.
    pub fn lasting(&self) -> usize {
        if self.prepare.as_ref().is_some_and(Prepare::is_for_one_call) {
            self.unmake(self.lasting.replace(0));
            self.lasting.set(self.make());
        }
        if self.handle != Handle::Sender && descriptors::is_empty(&self.pair.reader) {
            (0..3).for_each(|_| descriptors::put(&self.pair.writer, &[b'd'; 20]));
        }
        self.lasting.get()
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.unmake(self.lasting.get());
    }
}
