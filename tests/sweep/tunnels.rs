//! What the functions of tunnels and bridges are given, and open ones.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::offset_of;
use std::net::{Ipv4Addr, UdpSocket};
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use castio::ffi::bridge::castio_bridge_options;
use castio::ffi::tunnel::{CASTIO_TUNNEL_UDP, castio_tunnel_options};
use castio::tunnel::ip::v4;
use libc::{EBADMSG, EFAULT, EINVAL, ENODEV};

use crate::arguments::Choice;
use crate::image::{self, Image, choice};
use crate::memory::Guarded;
use crate::support::descriptors::check;
use crate::values::{IMPOSSIBLE, LARGE, memory, null, vector};

/// For a kind without GRE. NULL is the default.
pub fn tunnel_options() -> Vec<Choice> {
    use castio_tunnel_options as Options;
    let good = Image::of::<Options>();
    let mut all = image::options("good ones", &good);
    for (name, offset, values) in [
        ("flags", offset_of!(Options, flags), [1, -1]),
        ("flags", offset_of!(Options, flags), [2, 4]),
        ("ttl", offset_of!(Options, ttl), [256, -1]),
    ] {
        let with = |value| choice(&format!("{name} {value}"), good.clone().int(offset, value)).mistake(EINVAL);
        all.extend(values.map(with));
    }
    for (name, offset) in [("mtu", offset_of!(Options, mtu)), ("slots", offset_of!(Options, slots))] {
        let with = |value| choice(&format!("{name} {value:#x}"), good.clone().word(offset, value)).mistake(EINVAL);
        all.extend([LARGE * 2, usize::MAX].map(with));
    }
    all.push(choice("CASTIO_TUNNEL_FRAGMENT", good.int(offset_of!(Options, flags), 8)));
    all
}

/// What comes out of the tunnel goes onto an interface.
fn bridge() -> Image {
    Image::of::<castio_bridge_options>().word(offset_of!(castio_bridge_options, egress), c"eth0".as_ptr() as usize)
}

pub fn bridge_options() -> Vec<Choice> {
    use castio_bridge_options as Options;
    let good = bridge();
    let mut all = image::sizes("good ones", &good);
    all.push(Choice::new("NULL", &[0]).mistake(EFAULT));
    for (name, offset, values) in [
        ("flags", offset_of!(Options, flags), [4, -1]),
        ("least_ttl", offset_of!(Options, least_ttl), [1, 256]),
        ("least_scope", offset_of!(Options, least_scope), [2, 16]),
    ] {
        let with = |value| choice(&format!("{name} {value}"), good.clone().int(offset, value)).mistake(EINVAL);
        all.extend(values.map(with));
    }
    let (ingress, groups) = (offset_of!(Options, ingress), offset_of!(Options, groups));
    let egress = offset_of!(Options, egress);
    all.push(choice("no interface", good.clone().word(egress, 0)).mistake(EINVAL));
    for offset in [ingress, egress] {
        let unknown = good.clone().word(offset, c"nope".as_ptr() as usize);
        all.push(choice("an unknown interface", unknown).mistake(ENODEV));
    }
    let both = good.word(ingress, c"eth0".as_ptr() as usize);
    all.push(choice("what is asked for", both.clone()));
    for text in [c"*", c"239.1.2.3, ff15::7"] {
        all.push(choice("groups", both.clone().word(groups, text.as_ptr() as usize)));
    }
    for text in [c"", c"10.1.2.3", c"%"] {
        all.push(choice("no groups", both.clone().word(groups, text.as_ptr() as usize)).mistake(EINVAL));
    }
    all
}

/// A packet to a group, with nothing in it.
fn packet() -> Vec<u8> {
    let header = v4::Header {
        source: [10, 77, 0, 1].into(),
        destination: [239, 1, 2, 3].into(),
        protocol: 17,
        ttl: 9,
        traffic_class: 0,
        identification: 1,
        dont_fragment: false,
        router_alert: false,
        payload_len: 0,
    };
    header.build().unwrap().to_vec()
}

/// Arrays of packets to send.
pub fn packets() -> Vec<Choice> {
    let (good, garbage) = (Guarded::read_only(&packet()), Guarded::read_only(&[0xFF; 100]));
    let (at, bad) = (good.address(), garbage.address());
    let array = |label: &str, entries: &[(usize, usize)]| memory(label, &vector(entries), true, &[entries.len()]);
    let mut all = vec![array("two packets", &[(at, 20), (at, 20)]).with(good).with(garbage)];
    all.push(array("none", &[]));
    all.push(array("many", &[(at, 20); 300]));
    all.push(array("a packet that is cut", &[(at, 19)]).mistake(EBADMSG));
    all.push(array("no packet", &[(bad, 100)]).mistake(EBADMSG));
    all.push(array("an empty one", &[(at, 0)]).mistake(EBADMSG));
    all.push(array("NULL with nothing", &[(0, 0)]).mistake(EBADMSG));
    all.push(array("NULL among them", &[(at, 20), (0, 20)]).mistake(EFAULT));
    all.extend(IMPOSSIBLE.map(|len| array("of an impossible length", &[(at, 20), (at, len)]).mistake(EINVAL)));
    all.extend([null(0), null(1).mistake(EFAULT)]);
    all.extend(IMPOSSIBLE.map(null));
    all
}

/// The port of the other end.
const PEER: u16 = 2999;

/// One that no other process of the sweep has.
fn own_ip() -> Ipv4Addr {
    let [_, first, second, third] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, first, second, third)
}

/// castio_tunnel_open and castio_bridge_open.
type OpenTunnel = unsafe extern "C" fn(c_int, *const c_char, *const c_char, *const c_void, *mut usize) -> c_int;
type OpenBridge = unsafe extern "C" fn(usize, *const c_void, *mut usize) -> c_int;
type CloseTunnel = unsafe extern "C" fn(usize);

/// Opens what calls are given.
pub struct Opener {
    /// The other end of all tunnels.
    peer: UdpSocket,
    /// The port of the last tunnel.
    last: Cell<u16>,
    tunnel: OpenTunnel,
    bridge: OpenBridge,
    close: CloseTunnel,
}

impl Opener {
    /// `symbol` gives the address of a function of the library.
    pub fn new(symbol: impl Fn(&str) -> *mut c_void) -> Opener {
        let (peer, last) = (UdpSocket::bind((own_ip(), PEER)).unwrap(), Cell::new(0));
        // SAFETY: the header says what they are.
        unsafe {
            Opener {
                peer,
                last,
                tunnel: std::mem::transmute::<*mut c_void, OpenTunnel>(symbol("castio_tunnel_open")),
                bridge: std::mem::transmute::<*mut c_void, OpenBridge>(symbol("castio_bridge_open")),
                close: std::mem::transmute::<*mut c_void, CloseTunnel>(symbol("castio_tunnel_close")),
            }
        }
    }

    /// A tunnel at a port of its own, at an address of this process's own.
    pub fn tunnel(&self) -> usize {
        static PORT: AtomicU16 = AtomicU16::new(3000);
        let (ip, port) = (own_ip(), PORT.fetch_add(1, Ordering::Relaxed));
        self.last.set(port);
        let mut made = 0;
        let [local, remote] = [port, PEER].map(|port| CString::new(format!("{ip}:{port}")).unwrap());
        // SAFETY: texts that end in a NUL, and a place for the handle.
        check(unsafe { (self.tunnel)(CASTIO_TUNNEL_UDP, local.as_ptr(), remote.as_ptr(), ptr::null(), &raw mut made) });
        made
    }

    /// Frees one.
    pub fn close(&self, tunnel: usize) {
        // SAFETY: each is closed once; NULL is fine.
        unsafe { (self.close)(tunnel) };
    }

    /// The last tunnel has something to receive.
    pub fn feed(&self) {
        let bytes = [&[6, 0], &packet()[..]].concat();
        for _ in 0..3 {
            self.peer.send_to(&bytes, (own_ip(), self.last.get())).unwrap();
        }
    }

    /// A bridge of a tunnel.
    pub fn bridge(&self, tunnel: usize) -> usize {
        let mut made = 0;
        // SAFETY: a handle, options with their size, and a place.
        check(unsafe { (self.bridge)(tunnel, bridge().0.as_ptr().cast(), &raw mut made) });
        made
    }
}
