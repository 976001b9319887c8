//! Tunnels: which AMT relay carries a source

use std::ffi::{c_char, c_int};
use std::time::Duration;

use libc::ssize_t;

use super::convert;
use super::guard::guard;
use crate::address::Scoped;
use crate::error::Errno;
use crate::tunnel::amt::discovery;

/// Asks DNS which relays carry a source (DRIAD): the AMTRELAY records of its reverse name, names in them
/// made addresses, from the servers of /etc/resolv.conf. Writes them as castio_amt_open takes them, the
/// first to try first: "203.0.113.1,2001:db8::1,192.52.193.1,2001:3::1". The last two are the anycast
/// addresses, which stand alone when DNS knows no relay, and are left out when it says that no other is to
/// be used. (RFC 8777 prefers them; but most networks have no relay there, which costs time to find out.)
///
/// Open the gateway with CASTIO_AMT_DISCOVER: relays may insist on a Discovery, which the records tell and
/// the text doesn't, and none minds one.
///
/// - source: "198.51.100.12", "2001:db8::7": the address that the multicast is sent from.
/// - timeout_ms: in all, in milliseconds; negative: as long as it takes, at most 30 seconds for each question.
///   With 0 nothing is found.
/// - buf, len: where to; cut to fit and ended by a NUL. With len 0 nothing is written. 2,048 bytes are
///   enough for any list.
///
/// Returns the length of the whole text in bytes, without the NUL.
///
/// Errors:
/// -EINVAL: source isn't an address that a host can have, or names an interface.
/// -ENODEV: source names an interface behind % that isn't there.
/// -ENOENT: DNS says that no relay is to be used for this source.
/// -ETIMEDOUT: no server answered in time. -EIO: the servers couldn't find out, or answered nonsense.
/// -EAFNOSUPPORT: this host has no address family that a server is of. -EADDRINUSE: no port is left to ask from.
/// -ECONNREFUSED: no server where /etc/resolv.conf says. -ENETUNREACH, -EHOSTUNREACH: no way there.
/// -EACCES: /etc/resolv.conf can't be read.
/// -EFAULT: source is NULL, or buf with a length. -ENOMEM: there isn't so much memory. -EMFILE, -ENFILE: no
///   descriptor left.
///
/// Blocks; castio_amt_open with NULL does without DNS. Any thread. Since 0.1.0. See resolv.conf(5), RFC 8777.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_find_relays(
    source: *const c_char,
    timeout_ms: c_int,
    buf: *mut c_char,
    len: usize,
) -> ssize_t {
    guard(|| {
        // SAFETY: NULL or text that ends in a NUL, as the header asks.
        let source = Scoped::parse(unsafe { convert::text(source)? })?.without_interface()?;
        if buf.is_null() && len > 0 {
            return Err(Errno::EFAULT);
        }
        let timeout = u64::try_from(timeout_ms).map_or(Duration::MAX, Duration::from_millis);
        let relays = discovery::find_here(source, timeout)?;
        // SAFETY: NULL or room for `len` bytes, as the header asks.
        unsafe { convert::put_text(buf, len, &relays)? };
        Ok(relays.len())
    })
}
