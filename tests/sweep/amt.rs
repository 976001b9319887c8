//! What the functions of tunnels are given, and somebody at the other end.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::offset_of;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ptr;
use std::time::Duration;

use castio::ffi::amt::castio_amt_options;
use castio::ffi::subscribe::castio_subscribe_options;
use libc::EINVAL;

use crate::arguments::Choice;
use crate::image::{Image, choice, options};
use crate::memory::Guarded;
use crate::support::amt::packet;
use crate::support::descriptors::check;
use crate::values::good_text;

/// Where the sender is, on the sweep's own host.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// A group that no call is about.
const ANOTHER: &str = "239.255.255.1";
/// The port of good subscriptions.
const PORT: u16 = 9;

/// Text in an option, or NULL. It is never freed.
fn text_at(text: Option<&str>) -> usize {
    text.map_or(0, |text| Guarded::read_only(&[text.as_bytes(), b"\0"].concat()).address())
}

pub fn amt_options() -> Vec<Choice> {
    let good = Image::of::<castio_amt_options>();
    let (local, slots) = (offset_of!(castio_amt_options, local), offset_of!(castio_amt_options, slots));
    let flags = offset_of!(castio_amt_options, flags);
    let mut all = options("the default", &good);
    all.push(choice("from here", good.clone().word(local, text_at(Some("10.1.0.1")))));
    all.push(choice("from nowhere", good.clone().word(local, text_at(Some("here")))).mistake(EINVAL));
    all.push(choice("one slot", good.clone().word(slots, 1)));
    all.extend(
        [1025, usize::MAX].map(|slots_| choice("too many slots", good.clone().word(slots, slots_)).mistake(EINVAL)),
    );
    all.push(choice("all flags", good.clone().int(flags, 7)));
    all.extend([8, -1].map(|bad| choice(&format!("flags {bad}"), good.clone().int(flags, bad)).mistake(EINVAL)));
    all
}

pub fn subscribe_options() -> Vec<Choice> {
    let good = Image::of::<castio_subscribe_options>();
    let (relays, amt) = (offset_of!(castio_subscribe_options, relays), offset_of!(castio_subscribe_options, amt));
    let mut all = options("the default", &good);
    all.push(choice("a relay", good.clone().word(relays, text_at(Some("10.1.0.2")))));
    all.push(choice("no relay", good.clone().word(relays, text_at(Some("")))).mistake(EINVAL));
    let inner = Guarded::read_only(&Image::of::<castio_amt_options>().word(0, 1).0).address();
    all.push(choice("a gateway's of a small size", good.clone().word(amt, inner)).mistake(EINVAL));
    all
}

/// Ports to be subscribed to.
pub fn ports() -> Vec<Choice> {
    [usize::from(PORT), 0, 1, 255, 0xFFFF]
        .map(|port| Choice::new(port.to_string(), &[port]).mistake_if(port == 0, EINVAL))
        .into()
}

type Open = unsafe extern "C" fn(*const c_char, *const c_void, *mut usize) -> c_int;
type Subscribe =
    unsafe extern "C" fn(*const c_char, u16, *const c_char, *const c_char, *const c_void, *mut usize) -> c_int;
type Join = unsafe extern "C" fn(usize, *const c_char, *const c_char) -> c_int;

/// Who sends to the handle: a relay, or a multicast sender.
pub struct Far {
    socket: UdpSocket,
    relay: Option<Relay>,
}

struct Relay {
    function: String,
    join: Join,
    /// Where the gateway is.
    gateway: Cell<Option<SocketAddr>>,
}

impl Far {
    pub fn relay(function: &str, symbol: impl Fn(&str) -> *mut c_void) -> Far {
        let socket = UdpSocket::bind((HERE, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // SAFETY: the header says what it is.
        let join = unsafe { std::mem::transmute::<*mut c_void, Join>(symbol("castio_amt_join")) };
        let (function, gateway) = (function.to_owned(), Cell::new(None));
        Far { socket, relay: Some(Relay { function, join, gateway }) }
    }

    pub fn sender() -> Far {
        Far { socket: UdpSocket::bind((HERE, 0)).unwrap(), relay: None }
    }

    /// Whether each call changes what the next one would find.
    pub fn is_for_one_call(&self) -> bool {
        let is_change = |relay: &Relay| ["_join", "_leave"].iter().any(|change| relay.function.contains(change));
        self.relay.as_ref().is_some_and(is_change)
    }

    /// A handle, with what a good call takes back.
    pub fn make(&self, open: *mut c_void) -> usize {
        let text = |text: &str| CString::new(text).unwrap();
        let [group, source] = ["group", "source"].map(|name| text(good_text(name)));
        let mut made = 0;
        let Some(relay) = &self.relay else {
            let interface = text(good_text("interfaces"));
            // SAFETY: the header says what it is.
            let subscribe = unsafe { std::mem::transmute::<*mut c_void, Subscribe>(open) };
            let (group, interface) = (group.as_ptr(), interface.as_ptr());
            // SAFETY: text, NULL, and a place.
            check(unsafe { subscribe(group, PORT, ptr::null(), interface, ptr::null(), &raw mut made) });
            return made;
        };
        // SAFETY: the header says what it is.
        let open = unsafe { std::mem::transmute::<*mut c_void, Open>(open) };
        let (relays, another) = (text(&self.socket.local_addr().unwrap().to_string()), text(ANOTHER));
        // SAFETY: text, NULL, a place, and the handle in it.
        unsafe {
            check(open(relays.as_ptr(), ptr::null(), &raw mut made));
            check((relay.join)(made, another.as_ptr(), ptr::null()));
            if relay.function.contains("_leave") {
                check((relay.join)(made, group.as_ptr(), source.as_ptr()));
            }
        }
        let (_, from) = self.socket.recv_from(&mut [0; 64]).unwrap();
        relay.gateway.set(Some(from));
        made
    }

    /// Something to receive.
    pub fn send(&self) {
        let Some(relay) = &self.relay else {
            self.socket.send_to(b"text", (good_text("group"), PORT)).unwrap();
            return;
        };
        let data = [&[6, 0], packet("10.1.0.2", ANOTHER, PORT, "text").as_slice()].concat();
        self.socket.send_to(&data, relay.gateway.get().unwrap()).unwrap();
    }
}
