//! Control messages (cmsg(3)): what goes with a datagram beside its payload.

use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::c_int;

use super::sockaddr;

/// Not in the libc crate for every target: udp(7).
const UDP_SEGMENT: c_int = 103;
const UDP_GRO: c_int = 104;

/// Since Linux 6.5, not in the libc crate.
const SCM_PIDFD: c_int = 4;

/// Room for one message of each kind that [`ControlBuffer`] can hold, and some to spare.
const SEND_ROOM: usize = 160;

/// Control data to send.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct ControlBuffer {
    bytes: [u8; SEND_ROOM],
    len: usize,
}

impl ControlBuffer {
    /// Nothing.
    pub const EMPTY: ControlBuffer = ControlBuffer { bytes: [0; SEND_ROOM], len: 0 };

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// UDP_SEGMENT: the payload is cut into datagrams of this size.
    pub fn segment_size(&mut self, size: u16) {
        self.push(libc::SOL_UDP, UDP_SEGMENT, size);
    }

    /// IP_PKTINFO or IPV6_PKTINFO: the interface (0: any) and the source address (unspecified: any).
    pub fn packet_info(&mut self, source: IpAddr, interface: u32) {
        match source {
            IpAddr::V4(source) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: interface as c_int,
                    ipi_spec_dst: sockaddr::in_addr(source),
                    ipi_addr: sockaddr::in_addr(Ipv4Addr::UNSPECIFIED),
                };
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            IpAddr::V6(source) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: interface,
                };
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    /// IP_TTL or IPV6_HOPLIMIT.
    pub fn ttl(&mut self, v6: bool, ttl: c_int) {
        match v6 {
            false => self.push(libc::IPPROTO_IP, libc::IP_TTL, ttl),
            true => self.push(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, ttl),
        }
    }

    /// IP_TOS or IPV6_TCLASS.
    pub fn traffic_class(&mut self, v6: bool, class: c_int) {
        match v6 {
            false => self.push(libc::IPPROTO_IP, libc::IP_TOS, class),
            true => self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class),
        }
    }

    /// Puts it into a message.
    pub(super) fn attach(&mut self, message: &mut libc::msghdr) {
        message.msg_control = if self.len == 0 { std::ptr::null_mut() } else { self.bytes.as_mut_ptr().cast() };
        message.msg_controllen = self.len as _;
    }

    fn push<T: Copy>(&mut self, level: c_int, kind: c_int, value: T) {
        // SAFETY: arithmetic on a size.
        let (space, len) = unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32), libc::CMSG_LEN(size_of::<T>() as u32)) };
        let Some(place) = self.bytes.get_mut(self.len..self.len + space as usize) else {
            return; // Each kind is pushed once at most, so this doesn't happen.
        };
        // SAFETY: all zero is a header.
        let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.cmsg_len = len as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let first = place.as_mut_ptr();
        // SAFETY: `place` has CMSG_SPACE bytes, which hold a header and the value behind it; the
        // buffer is aligned for headers, and CMSG_SPACE keeps it so.
        unsafe {
            first.cast::<libc::cmsghdr>().write(header);
            first.add(libc::CMSG_LEN(0) as usize).cast::<T>().write_unaligned(value);
        }
        self.len += space as usize;
    }
}

/// What the control data of a received datagram tells; `None` where it is silent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// The size of the segments that were coalesced (UDP_GRO).
    pub segment_size: Option<usize>,
    /// The address it was sent to, and the interface it came in by.
    pub destination: Option<(IpAddr, u32)>,
    /// TTL or hop limit.
    pub ttl: Option<c_int>,
    /// Traffic class.
    pub traffic_class: Option<c_int>,
    /// When the kernel received it, in nanoseconds.
    pub time_ns: Option<u64>,
    /// How many the socket dropped so far, modulo 2^32 (SO_RXQ_OVFL).
    pub drops: Option<u32>,
}

/// Reads a received message's control data.
pub(super) fn read(message: &libc::msghdr) -> Told {
    let mut told = Told::default();
    entries(message).for_each(|entry| take(&mut told, &entry));
    told
}

/// Closes the descriptors in a received message's control data, which nobody asked for: the kernel has
/// installed those that fit, also where it says that it cut some (`MSG_CTRUNC`). Once for each message.
pub(super) fn close_descriptors(message: &libc::msghdr) {
    for entry in entries(message) {
        if matches!((entry.level, entry.kind), (libc::SOL_SOCKET, libc::SCM_RIGHTS | SCM_PIDFD)) {
            let mut index = 0;
            while let Some(fd) = entry.value_at::<c_int>(index) {
                // A pidfd that couldn't be made is an error number instead.
                if fd >= 0 {
                    // SAFETY: the kernel made it for this message, and nobody else knows of it.
                    unsafe { libc::close(fd) };
                }
                index += 1;
            }
        }
    }
}

/// One control message that was received: its header, and what stands behind it.
pub(super) struct Entry {
    pub level: c_int,
    pub kind: c_int,
    data: *const u8,
    len: usize,
}

impl Entry {
    /// The value; `None` if what was received is shorter.
    pub fn value<T: Copy>(&self) -> Option<T> {
        self.value_at(0)
    }

    /// One of several.
    fn value_at<T: Copy>(&self, index: usize) -> Option<T> {
        let end = (index + 1).checked_mul(size_of::<T>())?;
        // SAFETY: `len` bytes of the message's control buffer are at `data`, and all kinds of `T` here are
        // integers, for which any bytes will do.
        (end <= self.len).then(|| unsafe { self.data.cast::<T>().add(index).read_unaligned() })
    }
}

/// The control messages that a message was received with.
pub(super) fn entries(message: &libc::msghdr) -> impl Iterator<Item = Entry> {
    // SAFETY: recvmsg filled the control buffer and says how far; the macros stay within.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    #[allow(clippy::unnecessary_cast, reason = "an int in other C libraries")]
    let end = message.msg_control.addr() + message.msg_controllen as usize;
    std::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: a whole header in the buffer, which is aligned for headers. The pointer comes from the
        // buffer's own, so that it may be followed to the data too.
        let (header, data) = unsafe { (next.read(), libc::CMSG_DATA(next)) };
        // SAFETY: arithmetic on a size.
        let before = unsafe { libc::CMSG_LEN(0) } as usize;
        #[allow(clippy::unnecessary_cast, reason = "an int in other C libraries")]
        let len = (header.cmsg_len as usize).saturating_sub(before).min(end.saturating_sub(data.addr()));
        // SAFETY: as for the first one.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
        Some(Entry { level: header.cmsg_level, kind: header.cmsg_type, data, len })
    })
}

fn take(told: &mut Told, entry: &Entry) {
    match (entry.level, entry.kind) {
        (libc::SOL_UDP, UDP_GRO) => {
            told.segment_size =
                entry.value::<c_int>().and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
        }
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            told.destination = entry
                .value::<libc::in_pktinfo>()
                .map(|info| (sockaddr::from_in_addr(info.ipi_addr).into(), info.ipi_ifindex.unsigned_abs()));
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            told.destination = entry
                .value::<libc::in6_pktinfo>()
                .map(|info| (Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), info.ipi6_ifindex));
        }
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => told.ttl = entry.value(),
        // One byte in IPv4, an int in IPv6.
        (libc::IPPROTO_IP, libc::IP_TOS) => told.traffic_class = entry.value::<u8>().map(c_int::from),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => told.traffic_class = entry.value(),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) => {
            told.time_ns =
                entry.value::<libc::timespec>().map(|time| nanoseconds(time.tv_sec as u64, time.tv_nsec as u64));
        }
        (libc::SOL_SOCKET, libc::SO_TIMESTAMP) => {
            told.time_ns = entry
                .value::<libc::timeval>()
                .map(|time| nanoseconds(time.tv_sec as u64, (time.tv_usec as u64).saturating_mul(1000)));
        }
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => told.drops = entry.value(),
        _ => {}
    }
}

fn nanoseconds(seconds: u64, rest: u64) -> u64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const KINDS: [(c_int, c_int); 12] = [
        (libc::SOL_UDP, UDP_GRO),
        (libc::IPPROTO_IP, libc::IP_PKTINFO),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
        (libc::IPPROTO_IP, libc::IP_TTL),
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
        (libc::IPPROTO_IP, libc::IP_TOS),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
        (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL),
        (libc::SOL_SOCKET, libc::SCM_RIGHTS),
        (0, 0),
    ];

    const HEADER: usize = size_of::<libc::cmsghdr>();

    /// As the kernel lays them out: each header where a word may stand.
    fn laid_out(messages: &[((c_int, c_int), Vec<u8>)]) -> Vec<usize> {
        let mut bytes = Vec::new();
        for ((level, kind), value) in messages {
            bytes.extend((HEADER + value.len()).to_ne_bytes());
            bytes.extend([level.to_ne_bytes(), kind.to_ne_bytes()].concat());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        }
        bytes.chunks_exact(size_of::<usize>()).map(|word| usize::from_ne_bytes(word.try_into().unwrap())).collect()
    }

    proptest! {
        #[test]
        fn no_control_data_does_harm(
            messages in vec((prop::sample::select(&KINDS[..]), vec(any::<u8>(), 0..40)), 0..8),
        ) {
            let mut words = laid_out(&messages);
            // SAFETY: all zero is a message.
            let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            message.msg_control = words.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&words[..]) as _;
            let told = read(&message);
            prop_assert!(told.segment_size.is_none_or(|size| size > 0));
            let has = |wanted: (c_int, c_int), len| {
                let last = messages.iter().rev().find(|(kind, _)| *kind == wanted);
                last.is_some_and(|(_, value)| value.len() >= len)
            };
            // What is too short isn't read.
            prop_assert_eq!(told.drops.is_some(), has((libc::SOL_SOCKET, libc::SO_RXQ_OVFL), 4));
        }
    }
}
