//! All options of a socket, as getsockopt(2) gives them.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

/// What changes by itself or by being read: SO_ERROR, SO_INCOMING_CPU, SO_MEMINFO, SO_INCOMING_NAPI_ID; and what
/// is another one's on each socket: SO_COOKIE.
const RESTLESS: [(i32, i32); 5] = [
    (libc::SOL_SOCKET, libc::SO_ERROR),
    (libc::SOL_SOCKET, libc::SO_INCOMING_CPU),
    (libc::SOL_SOCKET, 55),
    (libc::SOL_SOCKET, 56),
    (libc::SOL_SOCKET, 57),
];

pub const LEVELS: [i32; 4] = [libc::SOL_SOCKET, libc::IPPROTO_IP, libc::IPPROTO_IPV6, libc::IPPROTO_UDP];

/// By level and name, for the first 128 names of each level.
pub type Options = BTreeMap<(i32, i32), Vec<u8>>;

pub fn options(socket: &impl AsRawFd) -> Options {
    let all = LEVELS.into_iter().flat_map(|level| (0..128).map(move |name| (level, name)));
    all.filter(|option| !RESTLESS.contains(option)).filter_map(|option| Some((option, get(socket, option)?))).collect()
}

pub fn get(socket: &impl AsRawFd, (level, name): (i32, i32)) -> Option<Vec<u8>> {
    let mut value = vec![0_u8; 256];
    let mut len = value.len() as libc::socklen_t;
    let at = value.as_mut_ptr().cast();
    // SAFETY: there is room for as many bytes.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, at, &raw mut len) };
    value.truncate(len as usize);
    (result == 0).then_some(value)
}

/// Whether it could be set.
pub fn set(socket: &impl AsRawFd, (level, name): (i32, i32), value: &[u8]) -> bool {
    let (at, len) = (value.as_ptr().cast(), value.len() as libc::socklen_t);
    // SAFETY: the value is readable for its length.
    unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, at, len) == 0 }
}

/// Those that differ.
pub fn differences(one: &Options, other: &Options) -> Vec<(i32, i32)> {
    let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).copied().collect();
    names.into_iter().filter(|name| one.get(name) != other.get(name)).collect()
}
