//! The library's handles: what a function takes, and what one makes.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr;

use crate::amt::Far;
use crate::memberships::Prepare;
use crate::relays;
use crate::support::descriptors::{self, Kind, Pair, check};
use crate::tunnels::Opener;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Handle {
    Sender,
    Receiver,
    Membership,
    AmtRelay,
    Amt,
    Subscription,
    Tunnel,
    Bridge,
}

impl Handle {
    /// What a pointer of this type leads to, if that is a handle.
    pub fn of(ctype: &str) -> Option<Handle> {
        match ctype.trim_end_matches([' ', '*']) {
            "struct castio_sender" => Some(Handle::Sender),
            "struct castio_receiver" => Some(Handle::Receiver),
            "struct castio_membership" => Some(Handle::Membership),
            "struct castio_amt_relay" => Some(Handle::AmtRelay),
            "struct castio_amt" => Some(Handle::Amt),
            "struct castio_subscription" => Some(Handle::Subscription),
            "struct castio_tunnel" => Some(Handle::Tunnel),
            "struct castio_bridge" => Some(Handle::Bridge),
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
    open: *mut c_void,
    close: Close,
    /// The one that all calls are given, but those that close it.
    lasting: Cell<usize>,
    /// Opens tunnels and bridges, and a tunnel for all bridges.
    opener: Opener,
    tunnel: usize,
    /// A bridge is about to be made: the function wants the tunnel.
    wants_tunnel: bool,
    /// What a handle needs before it is used.
    prepare: Option<Prepare>,
    /// Where what comes through a tunnel, or to a group, is from.
    far: Option<Far>,
}

impl Maker {
    /// For calls of `function`; `symbol` gives the address of a function of the library.
    pub fn new(handle: Handle, function: &str, symbol: impl Fn(&str) -> *mut c_void) -> Maker {
        let (open, close) = match handle {
            Handle::Sender => ("castio_sender_open", "castio_sender_close"),
            Handle::Receiver => ("castio_receiver_open", "castio_receiver_close"),
            Handle::Membership => ("castio_membership_open", "castio_membership_close"),
            Handle::AmtRelay => ("castio_amt_relay_open", "castio_amt_relay_close"),
            Handle::Amt => ("castio_amt_open", "castio_amt_close"),
            Handle::Subscription => ("castio_subscribe", "castio_subscription_close"),
            Handle::Tunnel => ("castio_tunnel_open", "castio_tunnel_close"),
            Handle::Bridge => ("castio_bridge_open", "castio_bridge_close"),
        };
        let open = symbol(open);
        // SAFETY: the header says what it is.
        let close = unsafe { std::mem::transmute::<*mut c_void, Close>(symbol(close)) };
        let far = match handle {
            Handle::Amt => Some(Far::relay(function, &symbol)),
            Handle::Subscription => Some(Far::sender()),
            _ => None,
        };
        let opener = Opener::new(&symbol);
        let tunnel = if handle == Handle::Bridge { opener.tunnel() } else { 0 };
        let wants_tunnel = function == "castio_bridge_open";
        let prepare = (handle == Handle::Membership).then(|| Prepare::new(function, symbol));
        let (pair, lasting) = (descriptors::pair(Kind::Udp4), Cell::new(0));
        let maker = Maker { handle, pair, open, close, lasting, opener, tunnel, wants_tunnel, prepare, far };
        maker.lasting.set(maker.make());
        maker
    }

    /// A new handle.
    pub fn make(&self) -> usize {
        if let Some(far) = &self.far {
            return far.make(self.open);
        }
        let socket = match self.handle {
            Handle::Sender => &self.pair.writer,
            Handle::Tunnel => return self.opener.tunnel(),
            Handle::Bridge => return self.opener.bridge(self.tunnel),
            // SAFETY: the header says that it takes no descriptor.
            Handle::AmtRelay => {
                return relays::open(unsafe { std::mem::transmute::<*mut c_void, relays::Open>(self.open) });
            }
            _ => &self.pair.reader,
        };
        let mut made = 0;
        // SAFETY: the header says what it is.
        let open = unsafe { std::mem::transmute::<*mut c_void, Open>(self.open) };
        // SAFETY: NULL asks for the default, and there is a place for the handle.
        check(unsafe { open(socket.as_raw_fd(), ptr::null(), &raw mut made) });
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
        if self.wants_tunnel {
            return self.tunnel;
        }
        let is_for_one_call = self.prepare.as_ref().is_some_and(Prepare::is_for_one_call)
            || self.far.as_ref().is_some_and(Far::is_for_one_call);
        if is_for_one_call {
            self.unmake(self.lasting.replace(0));
            self.lasting.set(self.make());
        }
        if let Some(far) = &self.far {
            far.send();
            return self.lasting.get();
        }
        if self.handle == Handle::Tunnel {
            self.opener.feed();
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
        self.opener.close(self.tunnel);
    }
}
