//! What each parameter of a prototype is given: something good first, then NULL and garbage.
//!
//! A pointer and its length are one argument: a length is either true, or so large that it must be
//! refused. To say 1 GiB of 64 KiB would be the caller's own fault, and such lies aren't told.

use castio::ffi::amt_receive::castio_amt_info;
use castio::ffi::multicast::manager_state::{castio_membership_event, castio_membership_state};
use castio::ffi::subscription::castio_subscription_info;
use libc::{AF_INET, AF_INET6, AF_UNIX};
use libc::{EAFNOSUPPORT, EBADF, EFAULT, EINVAL, ENODEV, ENOTSOCK, EOPNOTSUPP, EPROTOTYPE};

use crate::amt;
use crate::datagrams;
use crate::handles::Handle;
use crate::memberships;
use crate::memory::Guarded;
use crate::relays;
use crate::support::declarations::{Function, Variable};
use crate::tunnels;
use crate::values;
use crate::zoo::{self, Sort};

/// One value of an argument: a word for each of its parameters.
pub struct Choice {
    pub label: String,
    pub words: Vec<usize>,
    pub memory: Vec<Guarded>,
    /// The errno, if this is the only mistake of the call.
    pub mistake: Option<i32>,
    /// A count that is always written: `memory` holds all ones before the call.
    pub is_counted: bool,
    /// What the caller's array must still hold when the call fails.
    pub keeps_on_failure: bool,
    /// Its word is a handle, which is made when the library is loaded.
    pub is_handle: bool,
}

impl Choice {
    pub fn new(label: impl Into<String>, words: &[usize]) -> Choice {
        let (label, words) = (label.into(), words.to_vec());
        let (mistake, memory) = (None, Vec::new());
        Choice { label, words, memory, mistake, is_counted: false, keeps_on_failure: false, is_handle: false }
    }

    pub fn with(mut self, memory: Guarded) -> Choice {
        self.memory.push(memory);
        self
    }

    pub fn mistake(self, errno: i32) -> Choice {
        self.mistake_if(true, errno)
    }

    pub fn mistake_if(mut self, is_mistake: bool, errno: i32) -> Choice {
        self.mistake = is_mistake.then_some(errno);
        self
    }
}

pub struct Argument {
    pub name: String,
    pub choices: Vec<Choice>,
}

/// Functions that take any descriptor; all others say ENOTSOCK to what is no socket.
const NOT_ONLY_SOCKETS: [&str; 12] = [
    "castio_writev_all",
    "castio_readv_all",
    "castio_write_all",
    "castio_read_all",
    "castio_send_nowait",
    "castio_recv_nowait",
    "castio_writev_nowait",
    "castio_readv_nowait",
    "castio_peek_available",
    "castio_peek_info",
    "castio_inspect",
    "castio_inspect_socket",
];

/// Functions that tell what a descriptor is, one that is open for its path alone too.
const INSPECTING: [&str; 2] = ["castio_inspect", "castio_inspect_socket"];

/// Functions of which only a stream socket knows anything.
const URGENT: [&str; 7] = [
    "castio_send_oob",
    "castio_recv_oob",
    "castio_at_mark",
    "castio_recv_to_mark",
    "castio_wait_oob",
    "castio_set_oob_inline",
    "castio_get_oob_inline",
];

/// Functions of which a stream socket knows nothing.
const MESSAGES: [&str; 2] = ["castio_sender_open", "castio_receiver_open"];

/// All arguments of a function. An `Err` names the parameter that nothing here knows.
pub fn of(function: &Function) -> Result<Vec<Argument>, String> {
    let (mut arguments, mut rest) = (Vec::new(), function.parameters.as_slice());
    while let [first, behind @ ..] = rest {
        let unknown = || format!("{}: nothing is known of `{} {}`", function.name, first.ctype, first.name);
        let choices = choices(function, first, behind).ok_or_else(unknown)?;
        let taken = choices[0].words.len();
        let name = rest[..taken].iter().map(|parameter| parameter.name.as_str()).collect::<Vec<_>>().join(", ");
        arguments.push(Argument { name, choices });
        rest = &rest[taken..];
    }
    Ok(arguments)
}

fn choices(function: &Function, first: &Variable, behind: &[Variable]) -> Option<Vec<Choice>> {
    let (called, name) = (function.name.as_str(), first.name.as_str());
    let with = behind.first().map(|second| (second.ctype.as_str(), second.name.as_str()));
    Some(match (first.ctype.as_str(), with) {
        ("int", _) if name == "fd" => descriptors(called),
        ("int", _) if name == "timeout_ms" => vec![Choice::new("0", &[0]), Choice::new("1", &[1])],
        ("int" | "pid_t", _) => ints(name),
        ("unsigned int", _) if name == "flags" => flags(),
        ("unsigned int", _) => indices(called),
        ("uint16_t", _) if called == "castio_subscribe" => amt::ports(),
        ("uint16_t", _) => [9, 0, 1, 255, 0xFFFF].map(|port| Choice::new(port.to_string(), &[port])).into(),
        ("uint64_t", _) if name == "token" => tokens(),
        ("size_t", _) if name == "bytes" => sizes(called),
        ("const void *", Some(("size_t", "len"))) => values::buffers(true),
        ("void *", Some(("size_t", "len"))) => values::buffers(false),
        ("char *", Some(("size_t", "len"))) => values::text_buffers(),
        ("const char *", _) => values::texts(called, name),
        ("const char * const *" | "const char *const *", Some(("size_t", "count"))) => values::text_lists(called),
        ("const struct iovec *", Some(("struct castio_datagram_view *", _))) => datagrams::buffers_and_views(),
        ("const struct iovec *", Some(("int", "iovcnt"))) => values::vectors(called.contains("read"), true),
        ("struct iovec *", Some(("int", "iovcnt"))) => values::vectors(false, false),
        ("const struct sockaddr *", Some(("socklen_t", _))) => values::addresses(called, name),
        ("const struct sockaddr_storage *", Some(("size_t", "count"))) if called.contains("send") => {
            datagrams::destinations()
        }
        ("const struct sockaddr_storage *", Some(("size_t", "count"))) => values::address_lists(called),
        ("struct sockaddr_storage *", Some(("size_t", "capacity"))) => values::room(128, None),
        ("int *", Some(("size_t", "capacity"))) => values::room(4, None),
        ("const struct iovec *", Some(("size_t", "count"))) => tunnels::packets(),
        ("struct iovec *", Some(("size_t", "capacity"))) => values::room(size_of::<libc::iovec>(), None),
        (ctype, _) if ctype.ends_with("**") && Handle::of(ctype).is_some() => places(size_of::<usize>(), false),
        (ctype, _) if Handle::of(ctype).is_some() => handles(called),
        ("size_t *", _) => places(size_of::<usize>(), true),
        ("uint64_t *", _) => places(size_of::<u64>(), name == "done"),
        ("int *" | "unsigned int *" | "pid_t *" | "struct in_addr *", _) => places(4, false),
        ("FILE * *" | "FILE **", _) => places(size_of::<usize>(), false),
        ("FILE *", _) => vec![foreign_stream(), Choice::new("NULL", &[0]).mistake(EFAULT)],
        _ => return structs(first.ctype.as_str(), with),
    })
}

/// A stream that isn't the library's, and stays open.
fn foreign_stream() -> Choice {
    // SAFETY: texts that end in a NUL.
    let stream = unsafe { libc::fopen(c"/dev/null".as_ptr(), c"r".as_ptr()) };
    Choice::new("a stream of a file", &[stream.addr()])
}

/// What the library's own structs are given: one, or an array of them.
fn structs(ctype: &str, with: Option<(&str, &str)>) -> Option<Vec<Choice>> {
    Some(match (ctype, with) {
        ("struct castio_interface *", Some(("size_t", "capacity"))) => {
            values::room(size_of::<castio::ffi::interface::castio_interface>(), Some(size_of::<usize>()))
        }
        ("struct castio_finding *", Some(("size_t", "capacity"))) => {
            values::room(size_of::<castio::ffi::diagnose::castio_finding>(), Some(size_of::<usize>()))
        }
        ("struct castio_peek_info *", _) => values::growing_struct(size_of::<castio::ffi::peek::castio_peek_info>()),
        ("struct castio_socket_info *", _) => {
            values::growing_struct(size_of::<castio::ffi::inspect::castio_socket_info>())
        }
        ("struct castio_membership_event *", Some(("size_t", "capacity"))) => {
            values::room(size_of::<castio_membership_event>(), Some(size_of::<usize>()))
        }
        ("struct castio_membership_state *", Some(("size_t", "capacity"))) => {
            values::room(size_of::<castio_membership_state>(), Some(size_of::<usize>()))
        }
        ("const struct castio_membership_options *", _) => memberships::options(),
        ("const struct castio_tunnel_options *", _) => tunnels::tunnel_options(),
        ("const struct castio_bridge_options *", _) => tunnels::bridge_options(),
        ("struct castio_tunnel_info *", _) => {
            values::growing_struct(size_of::<castio::ffi::tunnel_info::castio_tunnel_info>())
        }
        ("struct castio_bridge_info *", _) => {
            values::growing_struct(size_of::<castio::ffi::bridge::castio_bridge_info>())
        }
        ("const struct castio_amt_relay_options *", _) => relays::options(),
        ("struct castio_amt_relay_info *", _) => {
            values::growing_struct(size_of::<castio::ffi::amt_relay_info::castio_amt_relay_info>())
        }
        ("const struct castio_amt_options *", _) => amt::amt_options(),
        ("const struct castio_subscribe_options *", _) => amt::subscribe_options(),
        ("struct castio_amt_info *", _) => values::growing_struct(size_of::<castio_amt_info>()),
        ("struct castio_subscription_info *", _) => values::growing_struct(size_of::<castio_subscription_info>()),
        ("const struct castio_datagram *", Some(("size_t", "count"))) => datagrams::datagrams(),
        ("struct castio_datagram_view *", Some(("size_t", "capacity"))) => datagrams::views(),
        ("const struct castio_sender_options *", _) => datagrams::sender_options(),
        ("const struct castio_receiver_options *", _) => datagrams::receiver_options(),
        _ => return None,
    })
}

/// A descriptor that suits the function comes first.
fn descriptors(function: &str) -> Vec<Choice> {
    let is_about = |words: &[&str]| words.iter().any(|word| function.contains(word));
    let good = match function {
        _ if is_about(&["oob", "mark", "fdopen", "peek_all"]) => "Tcp4 reader",
        // Bound to 127.0.0.1 it couldn't leave by eth0.
        _ if is_about(&["broadcast"]) => "wildcard UDP socket",
        _ => "Udp4 writer",
    };
    let mut animals = zoo::open();
    animals.sort_by_key(|animal| animal.label != good);
    assert_eq!(animals[0].label, good);
    let errno = |animal: &zoo::Animal| match animal.sort {
        Sort::Closed => Some(EBADF),
        Sort::PathOnly if !INSPECTING.contains(&function) => Some(EBADF),
        Sort::NoSocket if !NOT_ONLY_SOCKETS.contains(&function) => Some(ENOTSOCK),
        Sort::Stream if MESSAGES.contains(&function) => Some(EPROTOTYPE),
        Sort::Message if function == "castio_fdopen" => Some(EPROTOTYPE),
        Sort::Message if URGENT.contains(&function) => Some(EOPNOTSUPP),
        _ => None,
    };
    let choice = |animal: zoo::Animal| Choice {
        mistake: errno(&animal),
        ..Choice::new(animal.label, &[animal.fd as isize as usize])
    };
    animals.into_iter().map(choice).collect()
}

fn ints(name: &str) -> Vec<Choice> {
    let good = if name == "mode" { 0 } else { 1 };
    let is_wrong = |value: i32| match name {
        "ttl" => !(0..=255).contains(&value),
        "mode" => !(0..=1).contains(&value),
        "kind" => !(1..=4).contains(&value),
        "owner" => value == i32::MIN,
        "tid" => value < 0,
        _ => false,
    };
    [good, 1 - good, -1, i32::MIN, i32::MAX, 255, 256]
        .map(|value| Choice::new(value.to_string(), &[value as isize as usize]).mistake_if(is_wrong(value), EINVAL))
        .into()
}

/// CASTIO_DIAGNOSE_*.
fn flags() -> Vec<Choice> {
    let choice = |flags: u32| Choice::new(flags.to_string(), &[flags as usize]).mistake_if(flags > 3, EINVAL);
    [0, 1, 2, 3, 4, 7, 0x8000_0000, u32::MAX].map(choice).into()
}

/// Indices of interfaces. Leaving and asking by an index that is gone means: not joined there; a wish can
/// wait for one, and a diagnosis has a finding for it.
fn indices(function: &str) -> Vec<Choice> {
    let may_be_gone = ["leave_group", "get_source_filter", "membership", "diagnose", "subscribe"];
    let must_exist = !may_be_gone.iter().any(|word| function.contains(word));
    let unknown = [4711, 0x7FFF_FFFF, 0xFFFF_FFFF].map(|index: u32| (index, must_exist));
    let mut all = vec![(values::good_index(), false), (1, false), (0, false)];
    all.extend(unknown);
    let choice =
        |(index, wrong): (u32, bool)| Choice::new(index.to_string(), &[index as usize]).mistake_if(wrong, ENODEV);
    all.into_iter().map(choice).collect()
}

fn sizes(function: &str) -> Vec<Choice> {
    let good = [1, 0, 64].map(|size: usize| Choice::new(size.to_string(), &[size]));
    let bad = values::IMPOSSIBLE.map(|size| Choice::new(format!("{size:#x}"), &[size]).mistake(EINVAL));
    let mut all: Vec<Choice> = good.into_iter().chain(bad).collect();
    if function == "castio_set_receive_buffer" {
        let most = i32::MAX as usize / 2;
        all.push(Choice::new("INT_MAX / 2", &[most]));
        all.push(Choice::new("INT_MAX / 2 and one more", &[most + 1]).mistake(EINVAL));
    }
    all
}

/// Nothing is sent without copying, so that no token but 0 was ever given.
fn tokens() -> Vec<Choice> {
    [0, 1, usize::MAX].map(|token| Choice::new(format!("{token:#x}"), &[token]).mistake_if(token > 0, EINVAL)).into()
}

/// A handle, or none: then there is nothing to close either.
fn handles(function: &str) -> Vec<Choice> {
    let handle = Choice { is_handle: true, ..Choice::new("a handle", &[0]) };
    vec![handle, Choice::new("NULL", &[0]).mistake_if(!function.ends_with("_close"), EFAULT)]
}

/// Where a result goes. A count may be left out.
fn places(size: usize, is_count: bool) -> Vec<Choice> {
    let place = |label: &str, byte: u8| {
        let memory = Guarded::writable(&vec![byte; size]);
        Choice::new(label, &[memory.address()]).with(memory)
    };
    let mut ones = place("a place of ones", 0xFF);
    ones.is_counted = is_count;
    vec![ones, place("a place of zeroes", 0), Choice::new("NULL", &[0]).mistake_if(!is_count, EFAULT)]
}

/// A socket address as bytes: family, port, address, and what follows.
pub fn sockaddr(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match text.parse::<std::net::IpAddr>().unwrap() {
        std::net::IpAddr::V4(ip) => {
            bytes.extend((AF_INET as u16).to_ne_bytes());
            bytes.extend(9u16.to_be_bytes());
            bytes.extend(ip.octets());
            bytes.resize(16, 0);
        }
        std::net::IpAddr::V6(ip) => {
            bytes.extend((AF_INET6 as u16).to_ne_bytes());
            bytes.extend(9u16.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(ip.octets());
            bytes.resize(28, 0);
        }
    }
    bytes
}

/// Addresses of families that no function takes, each with its errno.
pub fn foreign_sockaddrs() -> [(&'static str, Vec<u8>, i32); 3] {
    let mut unix = vec![b'x'; 110];
    unix[..2].copy_from_slice(&(AF_UNIX as u16).to_ne_bytes());
    [
        ("AF_UNIX", unix, EAFNOSUPPORT),
        ("all zero", vec![0; 128], EAFNOSUPPORT),
        ("all ones", vec![0xFF; 128], EAFNOSUPPORT),
    ]
}
