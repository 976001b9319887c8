//! What the functions of AMT relays are given.

use std::any::Any;
use std::ffi::{CString, c_int, c_void};
use std::mem::offset_of;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use castio::ffi::amt_relay::castio_amt_relay_options;
use libc::{EFAULT, EINVAL};

use crate::arguments::Choice;
use crate::image::{self, Image, choice};
use crate::support::descriptors::check;

/// What lasts as long as the process, where a leak checker still sees it.
static KEPT: Mutex<Vec<Box<dyn Any + Send>>> = Mutex::new(Vec::new());

fn lasting<T: Any + Send>(value: T) -> usize {
    let kept = Box::new(value);
    let at = std::ptr::from_ref(&*kept) as usize;
    KEPT.lock().unwrap().push(kept);
    at
}

fn text(text: &str) -> usize {
    let kept = CString::new(text).unwrap();
    let at = kept.as_ptr() as usize;
    KEPT.lock().unwrap().push(Box::new(kept));
    at
}

/// A relay for one UDP port, which takes no privilege.
fn good() -> Image {
    let ports = offset_of!(castio_amt_relay_options, ports);
    let count = offset_of!(castio_amt_relay_options, port_count);
    Image::of::<castio_amt_relay_options>().word(ports, lasting([5000_u16, 0])).word(count, 1)
}

/// NULL is the default.
pub fn options() -> Vec<Choice> {
    use castio_amt_relay_options as Options;
    let mut all = image::options("one port", &good());
    for (name, offset, values) in [
        ("flags", offset_of!(Options, flags), [2, -1]),
        ("port", offset_of!(Options, port), [65_536, -1]),
        ("query_interval_s", offset_of!(Options, query_interval_s), [31_745, -1]),
        ("robustness", offset_of!(Options, robustness), [8, -1]),
        ("mtu", offset_of!(Options, mtu), [1279, -1]),
    ] {
        all.extend(values.map(|value| choice(&format!("{name} {value}"), good().int(offset, value)).mistake(EINVAL)));
    }
    for (name, offset) in [
        ("tunnels", offset_of!(Options, tunnels)),
        ("groups", offset_of!(Options, groups)),
        ("sources", offset_of!(Options, sources)),
        ("groups_in_all", offset_of!(Options, groups_in_all)),
        ("answers_per_second", offset_of!(Options, answers_per_second)),
        ("groups_per_address", offset_of!(Options, groups_per_address)),
        ("entries_per_address", offset_of!(Options, entries_per_address)),
        ("records_per_second", offset_of!(Options, records_per_second)),
        ("answers_in_all", offset_of!(Options, answers_in_all)),
    ] {
        all.extend([1, -1].map(|value| choice(&format!("{name} {value}"), good().int(offset, value))));
    }
    let (listen, advertise) = (offset_of!(Options, listen), offset_of!(Options, advertise));
    for offset in [listen, advertise, offset_of!(Options, upstream)] {
        all.push(choice("an empty text", good().word(offset, text(""))).mistake(EINVAL));
    }
    for offset in [listen, advertise] {
        all.push(choice("no address", good().word(offset, text("nowhere"))).mistake(EINVAL));
        all.push(choice("a good address", good().word(offset, text("127.0.0.1"))));
    }
    let (ports, count) = (offset_of!(Options, ports), offset_of!(Options, port_count));
    all.push(choice("port 0", good().word(count, 2)).mistake(EINVAL));
    all.push(choice("ports NULL", good().word(ports, 0)).mistake(EFAULT));
    all.push(choice("too many ports", good().word(count, usize::MAX)).mistake(EINVAL));
    all
}

/// castio_amt_relay_open.
pub type Open = unsafe extern "C" fn(*const c_void, *mut usize) -> c_int;

/// A relay at an address of this process's own, and at a port of its own there.
pub fn open(open: Open) -> usize {
    static PORT: AtomicI32 = AtomicI32::new(3000);
    let [_, first, second, third] = std::process::id().to_be_bytes();
    let address = text(&format!("127.{first}.{second}.{third}"));
    let image = good().word(offset_of!(castio_amt_relay_options, listen), address);
    let image = image.int(offset_of!(castio_amt_relay_options, port), PORT.fetch_add(1, Ordering::Relaxed));
    let mut made = 0;
    // SAFETY: options with their size, and a place for the handle.
    check(unsafe { open(image.0.as_ptr().cast(), &raw mut made) });
    made
}
