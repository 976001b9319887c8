//! Memberships that are kept: the handle as a test calls it, on the host where its socket is.

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use castio::Errno;
use castio::ffi::multicast::manager::*;
use castio::ffi::multicast::manager_state::*;
use castio::sys::c_types::castio_datagram_view;
use castio::sys::sockaddr;
use libc::sockaddr_storage;

use super::datagrams::{self, Arrival, PATIENCE_MS};
use super::face::{Outcome, call, pointer, storage, text};
use super::hosts::{self, Host};

/// The default.
pub const OPTIONS: castio_membership_options =
    castio_membership_options { struct_size: size_of::<castio_membership_options>(), reannounce_s: 0, events: 0 };

/// What has become of a membership, as a line: "lost eth0 ENODEV".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub what: c_int,
    pub error: c_int,
    pub index: u32,
    pub interface: String,
    pub group: String,
    pub source: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.what {
            CASTIO_MEMBERSHIP_JOINED => "joined",
            CASTIO_MEMBERSHIP_LOST => "lost",
            CASTIO_MEMBERSHIP_REJOINED => "rejoined",
            CASTIO_MEMBERSHIP_REFUSED => "refused",
            CASTIO_MEMBERSHIP_DEAF => "deaf",
            CASTIO_MEMBERSHIP_OVERFLOW => "overflow",
            _ => "unknown",
        })?;
        write_place(f, &self.interface, self.error)
    }
}

/// What a wish is on an interface, as a line: "live eth0", "waiting ENODEV".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub state: c_int,
    pub error: c_int,
    pub fd: RawFd,
    pub index: u32,
    pub interface: String,
    pub wished: String,
    pub group: String,
    pub source: String,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            CASTIO_MEMBERSHIP_WAITING => "waiting",
            CASTIO_MEMBERSHIP_LIVE => "live",
            CASTIO_MEMBERSHIP_DOWN => "down",
            CASTIO_MEMBERSHIP_FAILED => "failed",
            CASTIO_MEMBERSHIP_DEAF => "deaf",
            _ => "unknown",
        })?;
        write_place(f, &self.interface, self.error)
    }
}

fn write_place(f: &mut fmt::Formatter<'_>, interface: &str, error: c_int) -> fmt::Result {
    if !interface.is_empty() {
        write!(f, " {interface}")?;
    }
    match error {
        0 => Ok(()),
        error => write!(f, " {}", castio::error::name(-error).to_string_lossy()),
    }
}

/// A handle on a host, closed when it goes.
pub struct Membership<'host> {
    host: &'host Host,
    handle: *mut castio_membership,
}

// SAFETY: a handle is for one thread at a time, and the host's is the one.
unsafe impl Send for Membership<'_> {}
// SAFETY: as above.
unsafe impl Sync for Membership<'_> {}

impl<'host> Membership<'host> {
    pub fn open(host: &'host Host, socket: &impl AsRawFd) -> Membership<'host> {
        Membership::with(host, socket, OPTIONS)
    }

    pub fn with(host: &'host Host, socket: &impl AsRawFd, options: castio_membership_options) -> Membership<'host> {
        let fd = socket.as_raw_fd();
        host.run(|| {
            let mut handle = ptr::null_mut();
            // SAFETY: options and a place.
            let result = call(|| unsafe { castio_membership_open(fd, &raw const options, &raw mut handle) });
            assert_eq!(result, Ok(0));
            Membership { host, handle }
        })
    }

    /// A call on the host, with the handle.
    fn run<T: Send>(&self, work: impl FnOnce(*mut castio_membership) -> T + Send) -> T {
        self.host.run(|| work(self.handle))
    }

    pub fn add(&self, group: &str, source: Option<&str>, interfaces: Option<&str>) -> Outcome {
        self.by_text(castio_membership_add, group, source, interfaces)
    }

    pub fn remove(&self, group: &str, source: Option<&str>, interfaces: Option<&str>) -> Outcome {
        self.by_text(castio_membership_remove, group, source, interfaces)
    }

    fn by_text(&self, function: ByText, group: &str, source: Option<&str>, interfaces: Option<&str>) -> Outcome {
        let (group, source, interfaces) = (text(group), source.map(text), interfaces.map(text));
        // SAFETY: a handle, and text that ends in a NUL or NULL.
        self.run(|handle| call(|| unsafe { function(handle, group.as_ptr(), pointer(&source), pointer(&interfaces)) }))
    }

    pub fn add_addr(&self, group: &str, source: Option<&str>, index: u32) -> Outcome {
        self.by_address(castio_membership_add_addr, group, source, index)
    }

    pub fn remove_addr(&self, group: &str, source: Option<&str>, index: u32) -> Outcome {
        self.by_address(castio_membership_remove_addr, group, source, index)
    }

    fn by_address(&self, function: ByAddress, group: &str, source: Option<&str>, index: u32) -> Outcome {
        self.run(|handle| {
            let ((group, group_len), source) = (storage(group), source.map(storage));
            let (source, source_len) =
                source.as_ref().map_or((ptr::null(), 0), |(source, len)| (&raw const *source, *len));
            let group = (&raw const group).cast();
            // SAFETY: a handle, and addresses of these lengths or NULL.
            call(|| unsafe { function(handle, group, group_len, source.cast(), source_len, index) })
        })
    }

    pub fn fd(&self) -> RawFd {
        // SAFETY: a handle.
        self.run(|handle| call(|| unsafe { castio_membership_fd(handle) })).unwrap() as RawFd
    }

    pub fn receive_fd(&self) -> RawFd {
        // SAFETY: a handle.
        self.run(|handle| call(|| unsafe { castio_membership_receive_fd(handle) })).unwrap() as RawFd
    }

    pub fn timeout_ms(&self) -> c_int {
        let mut timeout_ms = c_int::MIN;
        let place = &mut timeout_ms;
        // SAFETY: a handle and a place.
        assert_eq!(self.run(|handle| call(|| unsafe { castio_membership_timeout_ms(handle, place) })), Ok(0));
        timeout_ms
    }

    pub fn process(&self) -> Outcome {
        // SAFETY: a handle.
        self.run(|handle| call(|| unsafe { castio_membership_process(handle) }))
    }

    pub fn wait(&self, timeout_ms: c_int) -> Outcome {
        // SAFETY: a handle.
        self.run(|handle| call(|| unsafe { castio_membership_wait(handle, timeout_ms) }))
    }

    /// Takes the events that wait, a few at a time.
    pub fn events(&self) -> Vec<Event> {
        self.run(|handle| {
            // SAFETY: all zero is an event of nothing.
            let mut room: [castio_membership_event; 3] = unsafe { std::mem::zeroed() };
            let mut all = Vec::new();
            loop {
                room[0].struct_size = size_of::<castio_membership_event>();
                let at = room.as_mut_ptr();
                // SAFETY: a handle and an array.
                let count = call(|| unsafe { castio_membership_events(handle, at, room.len()) as i64 }).unwrap();
                all.extend(room[..count as usize].iter().map(event));
                if (count as usize) < room.len() {
                    return all;
                }
            }
        })
    }

    /// Exactly these events come, in this order: "lost eth0 ENODEV".
    #[track_caller]
    pub fn tells(&self, expected: &[&str]) {
        let mut told = Vec::new();
        while told.len() < expected.len() && self.wait(PATIENCE_MS).is_ok() {
            told.extend(self.lines());
        }
        self.process().unwrap();
        told.extend(self.lines());
        assert_eq!(told, expected, "listed: {:?}", self.states());
    }

    fn lines(&self) -> Vec<String> {
        self.events().iter().map(Event::to_string).collect()
    }

    pub fn list(&self) -> Vec<State> {
        self.run(|handle| {
            // SAFETY: a handle; NULL without capacity asks for the number.
            let count = call(|| unsafe { castio_membership_list(handle, ptr::null_mut(), 0) as i64 }).unwrap();
            // SAFETY: all zero is the state of nothing.
            let mut room: Vec<castio_membership_state> = vec![unsafe { std::mem::zeroed() }; count as usize + 1];
            room[0].struct_size = size_of::<castio_membership_state>();
            // SAFETY: a handle and an array.
            let listed = call(|| unsafe { castio_membership_list(handle, room.as_mut_ptr(), room.len()) as i64 });
            assert_eq!(listed, Ok(count));
            room[..count as usize].iter().map(state).collect()
        })
    }

    /// The list as lines, "live eth0", in alphabetical order.
    pub fn states(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.list().iter().map(State::to_string).collect();
        lines.sort();
        lines
    }

    pub fn sockets(&self) -> Vec<RawFd> {
        self.run(|handle| {
            // SAFETY: a handle; NULL without capacity asks for the number.
            let count = call(|| unsafe { castio_membership_sockets(handle, ptr::null_mut(), 0) as i64 }).unwrap();
            let mut room = vec![-1; count as usize];
            // SAFETY: a handle and an array.
            let told = call(|| unsafe { castio_membership_sockets(handle, room.as_mut_ptr(), room.len()) as i64 });
            assert_eq!(told, Ok(count));
            room
        })
    }

    pub fn receive(&self, capacity: usize, timeout_ms: c_int) -> Result<Vec<Arrival>, Errno> {
        self.host.run(|| self.receive_here(capacity, timeout_ms))
    }

    /// In the calling thread, which nobody else must disturb.
    pub fn receive_here(&self, capacity: usize, timeout_ms: c_int) -> Result<Vec<Arrival>, Errno> {
        let mut views: Vec<castio_datagram_view> = vec![datagrams::empty_view(); capacity];
        let at = views.as_mut_ptr();
        // SAFETY: a handle and an array.
        let count = call(|| unsafe { castio_membership_receive(self.handle, at, capacity, timeout_ms) as i64 })?;
        Ok(views[..count as usize].iter().map(datagrams::arrival_of).collect())
    }

    /// The next datagrams, so many and no more.
    #[track_caller]
    pub fn arrivals(&self, count: usize) -> Vec<Arrival> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.receive(64, PATIENCE_MS).unwrap_or_else(|error| panic!("{error:?} after {}", all.len())));
        }
        assert_eq!(all.len(), count);
        all
    }

    /// Processes until there is nothing to do, now or later.
    pub fn is_idle(&self) -> bool {
        self.process().unwrap();
        self.timeout_ms() == -1 && !is_readable(self.fd())
    }

    pub fn comes_to_rest(&self) {
        hosts::until("nothing left to do", || self.is_idle());
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        // SAFETY: a handle, for the last time.
        self.run(|handle| unsafe { castio_membership_close(handle) });
    }
}

type ByText = unsafe extern "C" fn(*mut castio_membership, *const c_char, *const c_char, *const c_char) -> c_int;
type ByAddress = unsafe extern "C" fn(
    *mut castio_membership,
    *const libc::sockaddr,
    libc::socklen_t,
    *const libc::sockaddr,
    libc::socklen_t,
    c_uint,
) -> c_int;

/// Whether poll(2) says so now.
pub fn is_readable(fd: RawFd) -> bool {
    let mut wanted = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd.
    unsafe { libc::poll(&raw mut wanted, 1, 0) == 1 }
}

fn event(event: &castio_membership_event) -> Event {
    assert_eq!(event.struct_size, size_of::<castio_membership_event>());
    Event {
        what: event.what,
        error: event.error,
        index: event.ifindex,
        interface: words(&event.interface),
        group: ip(&event.group),
        source: ip(&event.source),
    }
}

fn state(state: &castio_membership_state) -> State {
    assert_eq!(state.struct_size, size_of::<castio_membership_state>());
    State {
        state: state.state,
        error: state.error,
        fd: state.fd,
        index: state.ifindex,
        interface: words(&state.interface),
        wished: words(&state.wished),
        group: ip(&state.group),
        source: ip(&state.source),
    }
}

/// Text in an array, which ends in a NUL.
fn words(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array.iter().map(|&byte| byte as u8).collect();
    let text: CString = CStr::from_bytes_until_nul(&bytes).unwrap().to_owned();
    text.into_string().unwrap()
}

/// An address, or nothing.
fn ip(address: &sockaddr_storage) -> String {
    sockaddr::from_storage(address).map_or(String::new(), |address| address.ip().to_string())
}
