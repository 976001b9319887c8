//! Good and bad values of what the datagram functions take: arrays of datagrams, of destinations and
//! of views, and options.

use std::mem::offset_of;

use castio::ffi::datagram_receive::castio_receiver_options;
use castio::ffi::datagram_send::castio_sender_options;
use castio::sys::c_types::{CASTIO_DATAGRAM_TRAFFIC_CLASS, CASTIO_DATAGRAM_TTL};
use castio::sys::c_types::{castio_datagram, castio_datagram_view};
use libc::{EAFNOSUPPORT, EFAULT, EINVAL, EMSGSIZE, ENOMEM};

use crate::arguments::{Choice, foreign_sockaddrs, sockaddr};
use crate::image::{self, Image, choice};
use crate::memory::Guarded;
use crate::values::{IMPOSSIBLE, LARGE, memory, null, room, storage, vector};

/// Where datagrams go: the sweep's own host.
const HERE: &str = "127.0.0.1";

/// Memory that elements of an array point to. It is never freed.
fn pointed_to(bytes: &[u8]) -> usize {
    Guarded::read_only(bytes).address()
}

/// One datagram to the peer from these buffers.
fn datagram(buffers: &[(usize, usize)]) -> Image {
    Image::of::<castio_datagram>()
        .word(offset_of!(castio_datagram, iov), pointed_to(&vector(buffers)))
        .int(offset_of!(castio_datagram, iovcnt), buffers.len() as i32)
}

fn list(label: &str, elements: &[Image]) -> Choice {
    let image: Vec<u8> = elements.iter().flat_map(|element| element.0.iter().copied()).collect();
    memory(label, &image, true, &[elements.len()])
}

/// Datagrams to send. What an element points to is as long as the element says.
pub fn datagrams() -> Vec<Choice> {
    let payload = Guarded::read_only(&[0; 64]);
    let good = datagram(&[(payload.address(), 64)]);
    let two = [good.clone(), good.clone()];
    let mut all = vec![list("two", &two), list("one", &two[..1]), list("none", &[])];
    all.push(list("many", &vec![good.clone(); 1100]));
    all.extend(payloads(&good, payload.address(), payload.beyond()));
    all.extend(destinations_and_sources(&good));
    all.extend(manners(&good));

    let of_size = |label: &str, size: usize| list(label, &two.clone().map(|each| each.word(0, size)));
    let size = size_of::<castio_datagram>();
    for small in [0, 1, size - 1] {
        all.push(of_size(&format!("of a small size {small}"), small).mistake(EINVAL));
    }
    for later in [size + 8, LARGE] {
        all.push(list("of a later version", &two.clone().map(|each| each.grown(later))));
    }
    for impossible in [usize::MAX, isize::MAX as usize - 7] {
        all.push(of_size("of an impossible size", impossible).mistake(EINVAL));
    }
    all.push(memory("all ones", &vec![0xFF; 2 * size], true, &[2]).mistake(EINVAL));
    all.extend([null(0), null(1).mistake(EFAULT), null(usize::MAX)]);
    let image = good.0.repeat(2);
    all.extend(IMPOSSIBLE.map(|count| memory("two", &image, true, &[count]).mistake(EINVAL)));
    let odd = Guarded::writable(&vec![0; size + 1]);
    all.push(Choice::new("misaligned, 1", &[odd.address(), 1]).with(odd).mistake(EFAULT));
    all
}

fn payloads(good: &Image, at: usize, beyond: usize) -> Vec<Choice> {
    let (iov, iovcnt) = (offset_of!(castio_datagram, iov), offset_of!(castio_datagram, iovcnt));
    let sizes = [datagram(&[(at, 64); 1024]), datagram(&[(at, 1), (beyond, 0)]), datagram(&[]), datagram(&[(at, 64)])];
    let mut all = vec![list("an empty one", &sizes[2..3]), list("of different sizes", &sizes[1..])];
    all.push(list("too long", &sizes[..1]).mistake(EMSGSIZE));
    all.push(list("1025 buffers", &[datagram(&[(0, 0); 1025])]).mistake(EMSGSIZE));
    for (label, base) in [("an unmapped buffer", beyond), ("a NULL buffer", 0)] {
        let bad = datagram(&[(base, 64)]);
        all.push(list(&format!("{label} behind a good one"), &[good.clone(), bad.clone()]).mistake(EFAULT));
        all.push(list(label, &[bad]).mistake(EFAULT));
    }
    all.push(list("NULL for a buffer", &[good.clone().word(iov, 0)]).mistake(EFAULT));
    all.push(list("NULL for none", &[good.clone().word(iov, 0).int(iovcnt, 0)]));
    for count in [-1, i32::MIN] {
        all.push(list(&format!("{count} buffers"), &[good.clone().int(iovcnt, count)]).mistake(EINVAL));
    }
    all.push(list("all ones in a buffer", &[datagram(&[(usize::MAX, usize::MAX)])]));
    all.push(list("a sum over SSIZE_MAX", &[datagram(&[(at, isize::MAX as usize), (at, 1)])]));
    all
}

fn destinations_and_sources(good: &Image) -> Vec<Choice> {
    let to = |address: &[u8], len: usize| {
        let image = good.clone().word(offset_of!(castio_datagram, to), pointed_to(address));
        image.int(offset_of!(castio_datagram, to_len), len as i32)
    };
    let from = |address: &[u8], len: usize| {
        let image = good.clone().word(offset_of!(castio_datagram, from), pointed_to(address));
        image.int(offset_of!(castio_datagram, from_len), len as i32)
    };
    let (v4, v6) = (sockaddr(HERE), sockaddr("::1"));
    let mut all = vec![list("to IPv4", &[to(&v4, 16)]), list("from IPv4", &[from(&v4, 16)])];
    all.push(list("to IPv4 in a storage", &[to(&storage(HERE), 128)]));
    all.push(list("to IPv6", &[to(&v6, 28)]));
    all.push(list("from IPv6", &[from(&v6, 28)]).mistake(EINVAL));
    all.push(list("from nobody's address", &[from(&sockaddr("10.9.9.9"), 16)]));
    for len in [15, 2, 1] {
        all.push(list(&format!("to {len} bytes"), &[to(&v4, len)]).mistake(EINVAL));
        all.push(list(&format!("from {len} bytes"), &[from(&v4, len)]).mistake(EINVAL));
    }
    all.push(list("to no bytes", &[to(&[], 0)]));
    all.push(list("from no bytes", &[from(&[], 0)]).mistake(EINVAL));
    for (label, bytes, errno) in foreign_sockaddrs() {
        all.push(list(&format!("to {label}"), &[to(&bytes, bytes.len())]));
        all.push(list(&format!("from {label}"), &[from(&bytes, bytes.len())]).mistake(errno));
    }
    // Without an address its length doesn't count.
    let lengths = [(offset_of!(castio_datagram, to_len), -1), (offset_of!(castio_datagram, from_len), -1)];
    all.push(list("lengths of NULL", &[good.clone().ints(lengths)]));
    all
}

fn manners(good: &Image) -> Vec<Choice> {
    let (flags, ttl) = (offset_of!(castio_datagram, flags), offset_of!(castio_datagram, ttl));
    let class = offset_of!(castio_datagram, traffic_class);
    let with = |members: [(usize, i32); 2]| good.clone().ints(members);
    let mut all = vec![list("values without flags", &[with([(ttl, -1), (class, -1)])])];
    for unknown in [4, 1 << 31, -1] {
        all.push(list(&format!("flags {unknown:#x}"), &[with([(flags, unknown), (ttl, 1)])]).mistake(EINVAL));
    }
    let (has_ttl, has_class) = (CASTIO_DATAGRAM_TTL as i32, CASTIO_DATAGRAM_TRAFFIC_CLASS as i32);
    for value in [1, 255, 0, 256, -1, i32::MIN, i32::MAX] {
        let (is_ttl, is_class) = ((1..=255).contains(&value), (0..=255).contains(&value));
        let choice = list(&format!("ttl {value}"), &[with([(flags, has_ttl), (ttl, value)])]);
        all.push(choice.mistake_if(!is_ttl, EINVAL));
        let choice = list(&format!("traffic class {value}"), &[with([(flags, has_class), (class, value)])]);
        all.push(choice.mistake_if(!is_class, EINVAL));
    }
    for index in [1, 4711, i32::MAX, -1] {
        let image = good.clone().int(offset_of!(castio_datagram, ifindex), index);
        all.push(list(&format!("interface {index}"), &[image]));
    }
    all
}

/// Where one payload goes.
pub fn destinations() -> Vec<Choice> {
    let list = |label: &str, image: &[u8]| memory(label, image, true, &[image.len() / 128]);
    let good = storage(HERE).repeat(2);
    let mut all = vec![list("good ones", &good), list("one", &good[..128]), list("none", &[])];
    all.push(list("many", &good.repeat(600)));
    all.push(list("another family", &storage("fd01::2")));
    all.push(list("all zero", &[0; 256]).mistake(EAFNOSUPPORT));
    all.push(list("all ones", &[0xFF; 256]).mistake(EAFNOSUPPORT));
    all.push(list("all ones behind a good one", &[&good[..128], &[0xFF; 128]].concat()).mistake(EAFNOSUPPORT));
    all.extend([null(0), null(1).mistake(EFAULT), null(usize::MAX)]);
    all.extend(IMPOSSIBLE.map(|count| memory("good ones", &good, true, &[count]).mistake(EINVAL)));
    all
}

/// Where received datagrams are told of.
pub fn views() -> Vec<Choice> {
    room(size_of::<castio_datagram_view>(), Some(size_of::<usize>()))
}

/// Buffers and views, with one capacity for both. The library writes to the buffers itself, so that
/// each has the room that it says.
pub fn buffers_and_views() -> Vec<Choice> {
    let buffer = |len: usize| Guarded::writable(&vec![0; len]);
    let buffers: Vec<Guarded> = [64, 5, 0, 64].map(buffer).into();
    let entries: Vec<(usize, usize)> =
        buffers.iter().zip([64, 5, 0, 64]).map(|(at, len)| (at.address(), len)).collect();
    let array = |entries: &[(usize, usize)]| Guarded::read_only(&vector(entries));
    let beside = |buffers: Guarded, views: Choice| {
        let words = [&[buffers.address()], views.words.as_slice()].concat();
        Choice { label: format!("buffers, {}", views.label), words, ..views }.with(buffers)
    };
    // Every choice of views, with as many buffers as are told.
    let enough =
        |views: &Choice| array(&entries.iter().cycle().take(views.words[1].min(100)).copied().collect::<Vec<_>>());
    let mut all: Vec<Choice> = views().into_iter().map(|views| beside(enough(&views), views)).collect();
    let four = || views().swap_remove(0);
    let mut with = |label: &str, entry: (usize, usize), errno: Option<i32>| {
        let list = [entries[0], entry, entries[2], entries[3]];
        let mut choice = beside(array(&list), four());
        (choice.label, choice.mistake) = (format!("{label} among them, {}", choice.label), errno);
        all.push(choice);
    };
    with("NULL without a length", (0, 0), None);
    with("NULL", (0, 64), Some(EFAULT));
    for len in IMPOSSIBLE {
        with("an impossible length", (entries[0].0, len), Some(EINVAL));
    }
    let mut without = four();
    without.words.insert(0, 0);
    all.push(Choice { label: "NULL, room, 4".into(), ..without }.mistake(EFAULT));
    all.push(Choice::new("NULL, NULL, 0", &[0, 0, 0]));
    // The first four are filled, and the first choice is the good one.
    all[0].memory.extend(buffers);
    all
}

/// With each of the flags that there are, and with others.
fn options(image: &Image, flags: usize, known: i32) -> Vec<Choice> {
    let mut all = image::options("the default", image);
    for each in 1..=known {
        all.push(choice(&format!("flags {each}"), image.clone().int(flags, each)));
    }
    for unknown in [known + 1, 1 << 31, -1] {
        all.push(choice(&format!("flags {unknown:#x}"), image.clone().int(flags, unknown)).mistake(EINVAL));
    }
    all
}

/// Never with a pace: that would wait.
pub fn sender_options() -> Vec<Choice> {
    options(&Image::of::<castio_sender_options>(), offset_of!(castio_sender_options, flags), 3)
}

pub fn receiver_options() -> Vec<Choice> {
    let good = Image::of::<castio_receiver_options>();
    let (slots, slot_size) =
        (offset_of!(castio_receiver_options, slots), offset_of!(castio_receiver_options, slot_size));
    let mut all = options(&good, offset_of!(castio_receiver_options, flags), 3);
    let of = |count: usize, size: usize| {
        let image = good.clone().word(slots, count).word(slot_size, size);
        memory(&format!("{count:#x} slots of {size:#x}"), &image.0, true, &[])
    };
    all.extend([of(1, 1), of(1024, 0), of(0, 1)]);
    all.extend([1025, usize::MAX].map(|count| of(count, 1).mistake(EINVAL)));
    all.extend(
        [(1, usize::MAX), (0, usize::MAX), (2, isize::MAX as usize)]
            .map(|(count, size)| of(count, size).mistake(ENOMEM)),
    );
    all
}
