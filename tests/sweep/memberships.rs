//! What the functions that keep memberships are given, and a handle that there is something to do for.

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::mem::offset_of;
use std::ptr;

use castio::ffi::multicast::manager::castio_membership_options;
use libc::{sockaddr, socklen_t};

use crate::arguments::{self, Choice};
use crate::image::{self, Image, choice};
use crate::support::descriptors::check;
use crate::values::{self, good_text};

/// NULL is the default.
pub fn options() -> Vec<Choice> {
    let good = Image::of::<castio_membership_options>();
    let mut all = image::options("the default", &good);
    let (reannounce, events) =
        (offset_of!(castio_membership_options, reannounce_s), offset_of!(castio_membership_options, events));
    all.extend([1, -1].map(|every| choice(&format!("every {every} s"), good.clone().int(reannounce, every))));
    all.extend([1, usize::MAX].map(|count| choice(&format!("{count:#x} events"), good.clone().word(events, count))));
    all
}

type Add = unsafe extern "C" fn(usize, *const c_char, *const c_char, *const c_char) -> c_int;
type AddAddress = unsafe extern "C" fn(usize, *const sockaddr, socklen_t, *const sockaddr, socklen_t, c_uint) -> c_int;
type Descriptor = unsafe extern "C" fn(usize) -> c_int;

/// The functions that a new handle is prepared with.
pub struct Prepare {
    function: String,
    add: Add,
    add_address: AddAddress,
    receive_fd: Descriptor,
}

impl Prepare {
    /// For calls of this function.
    pub fn new(function: &str, symbol: impl Fn(&str) -> *mut c_void) -> Prepare {
        // SAFETY: the header says what they are.
        unsafe {
            Prepare {
                function: function.to_owned(),
                add: std::mem::transmute::<*mut c_void, Add>(symbol("castio_membership_add")),
                add_address: std::mem::transmute::<*mut c_void, AddAddress>(symbol("castio_membership_add_addr")),
                receive_fd: std::mem::transmute::<*mut c_void, Descriptor>(symbol("castio_membership_receive_fd")),
            }
        }
    }

    /// Whether each call changes what the next one would find.
    pub fn is_for_one_call(&self) -> bool {
        ["_add", "_remove"].iter().any(|change| self.function.contains(change))
    }

    /// An event waits, all descriptors are open that a call may need, and what a good call takes back is
    /// wished for.
    pub fn prepare(&self, handle: usize) {
        let text = |text: &str| CString::new(text).unwrap();
        let [group, source, interfaces] = ["group", "source", "interfaces"].map(|name| text(good_text(name)));
        let another = text("239.255.255.1");
        // SAFETY: a handle, text that ends in a NUL or NULL, and addresses with their lengths.
        unsafe {
            if !self.is_for_one_call() {
                check((self.receive_fd)(handle));
            }
            check((self.add)(handle, another.as_ptr(), ptr::null(), ptr::null()));
            check(match self.function.as_str() {
                "castio_membership_remove" => (self.add)(handle, group.as_ptr(), source.as_ptr(), interfaces.as_ptr()),
                "castio_membership_remove_addr" => {
                    let [group, source] = ["group", "source"].map(|name| arguments::sockaddr(good_text(name)));
                    let (len, index) = (group.len() as socklen_t, values::good_index());
                    (self.add_address)(handle, group.as_ptr().cast(), len, source.as_ptr().cast(), len, index)
                }
                _ => 0,
            });
        }
    }
}
