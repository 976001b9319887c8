//! Tunnels: AMT relay.

use std::ffi::{c_char, c_int, c_uint};

use super::convert::{self, Place};
use super::guard::guard;
use super::handle::{self, Handle, enter, opaque};
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::tunnel::amt::server::{Options, Server};

/// Serves gateways: see castio_amt_relay_open().
pub struct castio_amt_relay(Handle<Server>);
opaque!(castio_amt_relay, Server);

/// castio_amt_relay_options: packets keep their TTL, and those that have come with a TTL of 1 are
/// forwarded, which no router does. For sources on this host's own network that leave it at 1.
pub const CASTIO_AMT_RELAY_KEEP_TTL: c_uint = 1;

/// How a relay is to be: see castio_amt_relay_open(). All zero but struct_size is the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct castio_amt_relay_options {
    /// sizeof(struct castio_amt_relay_options).
    pub struct_size: usize,
    /// The addresses to listen at, "192.0.2.1, 2001:db8::1"; NULL for all of this host's.
    pub listen: *const c_char,
    /// The addresses to tell gateways that ask an anycast address, at most one of each family; NULL for
    /// the address that was asked.
    pub advertise: *const c_char,
    /// The interfaces that multicast comes from, each as with castio_membership_add: "eth0", "eth*",
    /// "192.0.2.2", "3", "*"; several with commas between. NULL: for each group that of the route to it.
    pub upstream: *const c_char,
    /// The UDP ports to forward. NULL: whole packets, to any port and of any protocol, which takes
    /// CAP_NET_RAW.
    pub ports: *const u16,
    /// How many ports.
    pub port_count: usize,
    /// CASTIO_AMT_RELAY_*.
    pub flags: c_uint,
    /// The UDP port to listen at; 0 for AMT's, 2268.
    pub port: c_uint,
    /// How often gateways shall report, in seconds, at most 31,744; 0 for 125.
    pub query_interval_s: c_uint,
    /// How many reports in a row may be lost, at most 7; 0 for 2.
    pub robustness: c_uint,
    /// The most tunnels; 0 for 10,000. Near it new gateways are told to look for another relay.
    pub tunnels: c_uint,
    /// The most tunnels from one IPv4 address or IPv6 /64, so that none takes them all; 0 for 1,024. Near
    /// it gateways there are told to look for another relay.
    pub tunnels_per_address: c_uint,
    /// The most groups of a tunnel; 0 for 256.
    pub groups: c_uint,
    /// The most sources of a group of a tunnel; 0 for 64.
    pub sources: c_uint,
    /// The most groups of all tunnels together; 0 for 65,536.
    pub groups_in_all: c_uint,
    /// The most groups and sources of groups of all tunnels together, each counted for each tunnel that wants
    /// it, so that memory has an end; 0 for 262,144. One that nobody else wants takes about a kilobyte.
    pub entries: c_uint,
    /// The most answers in a second to an IPv4 address or an IPv6 /64 from where there is no tunnel;
    /// 0 for 16. See castio_amt_relay_open().
    pub answers_per_second: c_uint,
    /// The MTU of the networks to gateways, 1,280 at least; 0 for 1,500.
    pub mtu: c_uint,
    /// The most bytes of multicast to a tunnel in a second; 0 for no limit.
    pub bytes_per_second: u64,
    /// The most groups of all tunnels from one IPv4 address or IPv6 /64, counted for each tunnel. 0 for an
    /// eighth of groups_in_all, or for as many as a tunnel may have if that is more, but not for more than half.
    pub groups_per_address: c_uint,
    /// The most groups and sources of groups of these, counted as for entries; 0 for the same shares of entries.
    pub entries_per_address: c_uint,
    /// The most records of reports in a second from one IPv4 address or IPv6 /64, each of which tells of one
    /// group; after a pause 8 times as many at once. 0 for 1,024.
    pub records_per_second: c_uint,
    /// The most answers in a second to all addresses from where there is no tunnel, together; 0 for 10,000.
    pub answers_in_all: c_uint,
}

/// Opens an AMT relay (RFC 7450): hosts without multicast reach it by unicast UDP, tell which groups
/// they listen to, and get what comes to these groups here. It joins upstream what any of them wants,
/// and only that. Without a thread: call castio_amt_relay_process when castio_amt_relay_fd is readable
/// or castio_amt_relay_timeout_ms has passed, or let castio_amt_relay_run do it.
///
/// Packets come in by UDP sockets on given ports, which needs no privilege, and get new headers, with
/// the source's address and port; or whole from packet sockets (`AF_PACKET`), among which isn't what this host
/// itself sends. A packet loses 1 of its TTL, as at
/// every router. One that doesn't fit into a tunnel is fragmented first if it is of IPv4 and may be, as what
/// comes by UDP sockets may; else it is dropped and counted. What ICMP says of the path to a gateway doesn't
/// count, since anybody can say it: where a path is narrower than mtu, lower that. Groups that don't leave
/// their link (224.0.0.0/24, ff01::, ff02::) are neither joined nor forwarded, nor is what comes from a
/// link-local address (169.254.0.0/16, fe80::/10). Groups for joining by source (232.0.0.0/8, ff3x::/32) aren't
/// joined for a gateway that names no source.
///
/// With CAP_NET_RAW the source of what is dropped for its size is told what fits into all tunnels that want
/// it: in IPv6 by ICMPv6's Packet Too Big, in IPv4, if the group is in 232.0.0.0/8, by ICMP's Destination
/// Unreachable with code 4 (fragmentation needed); as often as with castio_bridge_open, an IPv4 address as
/// often as a /64. A sender may hear of it by IP_RECVERR or IPV6_RECVERR, a connected one by an -EMSGSIZE.
/// Linux then fragments what it sends to that group; of IPv4 only what takes a route for multicast
/// (224.0.0.0/4 or narrower) from a socket that names the interface, as castio_open_sender's does if it is
/// told one, or that has no address. What is sent without DF (IP_MTU_DISCOVER) is fragmented here instead.
///
/// Nothing is kept of a gateway before it has shown that it gets what is sent to its address. Before
/// that AMT's answers are larger than what asks for them: 12 or 24 bytes for 8, and 66 or 106 for 8, IP's
/// and UDP's headers not counted. So that nobody can have them sent to a victim in numbers, each address
/// gets only so many in a second (answers_per_second) unless it has a tunnel, and all of them together no more
/// than answers_in_all. A gateway with a tunnel has answers of its own, known by the nonce of its last Update:
/// Requests that others send in its name take none from it. Linux's gateways, which have the flags at other
/// bits, are served too, and so are those whose Request has a ninth byte (VLC): their Queries have no G fields.
///
/// What one host asks for has an end, so that others get something: see the limits of an address in
/// castio_amt_relay_options. Gateways behind one NAT share them. What is over is dropped and counted.
///
/// - options: its struct_size set, or NULL for the default.
/// - out: written with the handle, for castio_amt_relay_close.
///
/// Returns 0.
///
/// Errors:
/// -EPERM: no ports are given, and this process may not open packet sockets.
/// -EADDRINUSE: the port is taken. -EADDRNOTAVAIL: an address isn't this host's.
/// -EACCES: the port is a privileged one.
/// -EINVAL: struct_size is too small, or an option is no address, no interface, or out of its range.
/// -ENODEV: an address names an interface that there isn't. -EFAULT: out is NULL, or ports with a count.
/// -EAFNOSUPPORT: an IPv6 address on a host without IPv6.
/// -EMFILE, -ENFILE: no descriptor left. -ENOMEM: there isn't so much memory.
/// -ENOSPC: fs.epoll.max_user_watches is reached.
///
/// A handle is for one thread at a time, in the network namespace where it was opened. Since 0.1.0. See
/// RFC 7450, RFC 3376, RFC 3810, packet(7).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_relay_open(
    options: *const castio_amt_relay_options,
    out: *mut *mut castio_amt_relay,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(out)? };
        // SAFETY: NULL or a struct of the size that it says, as the header asks.
        let options = unsafe { chosen(options)? };
        place.put(handle::open(Server::open(options)?));
        Ok(())
    })
}

/// # Safety
/// NULL, or a struct of the size that it says, whose pointers are as the header says.
unsafe fn chosen(options: *const castio_amt_relay_options) -> Result<Options> {
    let mut chosen = Options::default();
    if options.is_null() {
        chosen.listen(None, 0)?;
        return Ok(chosen);
    }
    // SAFETY: promised by the caller.
    let given = unsafe { convert::options(options)? }.ok_or(Errno::EFAULT)?;
    // SAFETY: texts that end in a NUL, or NULL.
    let (listen, advertise, upstream) = unsafe {
        let text = |text| convert::optional_text(text);
        (text(given.listen), text(given.advertise), text(given.upstream))
    };
    chosen.listen(listen, u16::try_from(given.port).map_err(|_| Errno::EINVAL)?)?;
    advertise.map_or(Ok(()), |text| chosen.advertise(text))?;
    upstream.map_or(Ok(()), |text| chosen.upstream(text))?;
    // SAFETY: so many ports, as the caller promises.
    let ports = unsafe { convert::elements(given.ports, given.port_count)? }.to_vec();
    if !ports.is_empty() {
        chosen.ports(&ports)?;
    }
    if given.flags & !CASTIO_AMT_RELAY_KEEP_TTL != 0 {
        return Err(Errno::EINVAL);
    }
    chosen.keep_ttl = given.flags & CASTIO_AMT_RELAY_KEEP_TTL != 0;
    chosen.queries(given.query_interval_s, given.robustness)?;
    chosen.mtu(given.mtu)?;
    let settings = &mut chosen.settings;
    let or_default = |given: c_uint, default: &mut usize| *default = if given > 0 { given as usize } else { *default };
    or_default(given.tunnels, &mut settings.tunnels);
    or_default(given.tunnels_per_address, &mut settings.tunnels_per_address);
    or_default(given.groups, &mut settings.groups);
    or_default(given.sources, &mut settings.sources);
    or_default(given.groups_in_all, &mut settings.channels);
    or_default(given.entries, &mut settings.entries);
    or_default(given.groups_per_address, &mut settings.groups_per_address);
    or_default(given.entries_per_address, &mut settings.entries_per_address);
    let or_default = |given: c_uint, default: &mut u32| *default = if given > 0 { given } else { *default };
    or_default(given.answers_per_second, &mut settings.answers_per_second);
    or_default(given.answers_in_all, &mut settings.answers_in_all);
    or_default(given.records_per_second, &mut settings.records_per_second);
    settings.bytes_per_second = given.bytes_per_second;
    Ok(chosen)
}

/// Leaves all groups, closes the relay's sockets, and frees it. Gateways aren't told: AMT has no message
/// for it, and they look for another relay when this one answers no more. In a child after fork() it only frees
/// the child's copy. NULL is fine.
///
/// Never fails. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_relay_close(relay: *mut castio_amt_relay) {
    // SAFETY: NULL or from castio_amt_relay_open, and closed once, as the header asks.
    guard(|| unsafe { handle::close(relay) });
}

/// The descriptor to poll() for POLLIN: call castio_amt_relay_process when it is readable. It belongs to
/// the handle: don't read from it, don't close it.
///
/// - relay: from castio_amt_relay_open.
///
/// Returns the descriptor.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: relay is NULL.
///
/// Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_relay_fd(relay: *mut castio_amt_relay) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| Ok(unsafe { enter(relay)? }.fd()))
}

/// When to call castio_amt_relay_process although the descriptor isn't readable: something runs out.
/// Made for poll().
///
/// - relay: from castio_amt_relay_open.
/// - timeout_ms: written with the time in milliseconds.
///
/// Returns 0.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: relay or timeout_ms is NULL.
///
/// One thread at a time. Since 0.1.0. See poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_relay_timeout_ms(relay: *mut castio_amt_relay, timeout_ms: *mut c_int) -> c_int {
    guard(|| {
        // SAFETY: NULL or an open handle, as the header asks.
        let server = unsafe { enter(relay)? };
        // SAFETY: NULL or a place for the result, as the header asks.
        let place = unsafe { Place::new(timeout_ms)? };
        place.put(Deadline::At(server.timer()).remaining_ms());
        Result::Ok(())
    })
}

/// Does what there is to do: answers gateways, forwards what has come by multicast, and does what is due
/// by time. Takes one batch from each socket; where there is more, the descriptor stays readable. Waits for
/// nothing to arrive. Where the kernel has no room for what is to be sent, it gets 2 milliseconds to make
/// some; what finds none then is dropped and counted.
///
/// - relay: from castio_amt_relay_open.
///
/// Returns how many messages and packets came in.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: relay is NULL. -ENOMEM, -ENOBUFS, -EMFILE, -ENFILE: the kernel had no room for something; the
///   next call goes on.
///
/// One thread at a time. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_relay_process(relay: *mut castio_amt_relay) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| Ok(i32::try_from(unsafe { enter(relay)? }.process()?).unwrap_or(i32::MAX)))
}

/// castio_amt_relay_process again and again, until the time has passed.
///
/// - relay: from castio_amt_relay_open.
/// - timeout_ms: as in poll(): -1 goes on for ever, 0 does what there is to do now.
///
/// Returns 0 when the time has passed.
///
/// Errors:
/// -EBUSY: another call is in the handle.
/// -EFAULT: relay is NULL. Others as castio_amt_relay_process.
///
/// One thread at a time. A signal handler that returns doesn't end the call. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn castio_amt_relay_run(relay: *mut castio_amt_relay, timeout_ms: c_int) -> c_int {
    // SAFETY: NULL or an open handle, as the header asks.
    guard(|| unsafe { enter(relay)? }.run(Deadline::from_timeout_ms(timeout_ms)))
}
