//! Good and bad values of buffers, arrays, texts, addresses and structs.

use libc::{EAFNOSUPPORT, EFAULT, EINVAL, ENOBUFS, ENODEV};

use crate::arguments::{Choice, foreign_sockaddrs, sockaddr};
use crate::memory::Guarded;

/// Lengths that no memory has.
pub const IMPOSSIBLE: [usize; 2] = [usize::MAX, isize::MAX as usize + 1];
/// As large as the memory gets.
pub const LARGE: usize = 64 * 1024;
/// The interface of the sweep's host, beside "lo".
const INTERFACE: &str = "eth0";

pub fn good_index() -> u32 {
    // SAFETY: the name ends in a NUL.
    let index = unsafe { libc::if_nametoindex(c"eth0".as_ptr()) };
    assert_ne!(index, 0, "no {INTERFACE} here");
    index
}

fn hex(value: usize) -> String {
    if value > LARGE { format!("{value:#x}") } else { value.to_string() }
}

/// Memory with a word of its own for each further parameter.
pub fn memory(label: &str, image: &[u8], read_only: bool, more: &[usize]) -> Choice {
    let memory = if read_only { Guarded::read_only(image) } else { Guarded::writable(image) };
    let words = [&[memory.address()], more].concat();
    let more: String = more.iter().map(|word| format!(", {}", hex(*word))).collect();
    Choice::new(format!("{label}{more}"), &words).with(memory)
}

pub fn null(len: usize) -> Choice {
    Choice::new(format!("NULL, {}", hex(len)), &[0, len])
}

/// Memory for the kernel alone, which says EFAULT where it can't go.
pub fn buffers(read_only: bool) -> Vec<Choice> {
    let zeroes = |len: usize| memory("zeroes", &vec![0; len], read_only, &[len]);
    let mut all = vec![zeroes(64), zeroes(1), zeroes(LARGE), memory("ones", &[0xFF; 64], read_only, &[64])];
    all.push(memory("ones", &[0xFF; LARGE], read_only, &[LARGE]));
    all.push(memory("nothing", &[], read_only, &[0]));
    all.extend([null(0), null(1).mistake(EFAULT), null(64).mistake(EFAULT)]);
    for len in IMPOSSIBLE {
        all.push(memory("zeroes", &[0; 64], read_only, &[len]).mistake(EINVAL));
        all.push(null(len));
    }
    let end = Guarded::writable(&[0; 64]);
    all.push(Choice::new("unmapped, 64", &[end.beyond(), 64]).with(end));
    all
}

/// Memory for text, which the library writes itself.
pub fn text_buffers() -> Vec<Choice> {
    let room = |len: usize| memory("room", &vec![0xFF; len], false, &[len]);
    vec![
        room(64),
        room(0),
        room(1),
        room(2),
        room(LARGE),
        null(0),
        null(1).mistake(EFAULT),
        null(usize::MAX).mistake(EFAULT),
    ]
}

/// `iovec`s as bytes.
pub fn vector(entries: &[(usize, usize)]) -> Vec<u8> {
    entries.iter().flat_map(|(base, len)| [base.to_ne_bytes(), len.to_ne_bytes()].concat()).collect()
}

/// Arrays of buffers that are filled or sent; an array that isn't const is unchanged after a failure.
pub fn vectors(filled: bool, read_only: bool) -> Vec<Choice> {
    let buffer = |len: usize| if filled { Guarded::writable(&vec![0; len]) } else { Guarded::read_only(&vec![1; len]) };
    let (short, long) = (buffer(64), buffer(LARGE / 2));
    let (at, far, beyond) = (short.address(), long.address(), short.beyond());
    let array = |label: &str, entries: &[(usize, usize)], count: i32| {
        let mut choice = memory(label, &vector(entries), read_only, &[count as isize as usize]);
        choice.keeps_on_failure = !read_only;
        choice
    };
    let minus = |count: i32| array("one buffer", &[(at, 64)], count).mistake(EINVAL);
    let mut all = vec![array("three buffers", &[(at, 10), (at + 10, 0), (far, 500)], 3).with(short).with(long)];
    all.push(array("a large buffer", &[(far, LARGE / 2)], 1));
    all.extend([array("none", &[], 0), minus(-1), minus(i32::MIN)]);
    all.push(array("many empty", &[(0, 0); 4096], 4096));
    all.push(array("many short", &[(at, 1); 1025], 1025));
    all.push(array("all ones", &[(usize::MAX, usize::MAX)], 1).mistake(EINVAL));
    all.push(array("all ones", &[(usize::MAX, usize::MAX); 4096], 4096).mistake(EINVAL));
    all.push(array("a sum over SSIZE_MAX", &[(at, isize::MAX as usize), (at, 1)], 2).mistake(EINVAL));
    all.push(array("an unmapped buffer", &[(beyond, 64)], 1));
    all.push(array("an unmapped buffer behind a good one", &[(at, 8), (beyond, 64)], 2));
    all.push(array("a NULL buffer", &[(0, 64)], 1));
    let count = |count: i32| count as isize as usize;
    all.extend([null(0), null(1).mistake(EFAULT), null(count(i32::MAX)).mistake(EFAULT)]);
    all.push(Choice::new("NULL, -1", &[0, count(-1)]).mistake(EINVAL));
    // A whole entry, but not where one may stand.
    let odd = Guarded::writable(&[0; 17]);
    all.push(Choice::new("misaligned, 1", &[odd.address(), 1]).with(odd).mistake(EFAULT));
    all
}

/// Text in memory that ends with its NUL.
fn text(text: &[u8]) -> Choice {
    let shown: String = String::from_utf8_lossy(text).chars().take(24).collect();
    memory(&format!("{shown:?}"), &[text, b"\0"].concat(), true, &[])
}

pub fn good_text(name: &str) -> &'static str {
    match name {
        "group" => "239.1.2.3",
        "source" => "10.1.0.2",
        "interface" | "interfaces" => INTERFACE,
        "cidr" => "192.12.34.7/24",
        "call" => "castio_leave_group",
        "relays" => "10.1.0.2, [fd01::2]:2268",
        "local" => "10.1.0.1",
        "remote" => "10.1.0.2",
        _ => panic!("no text is known for {name}"),
    }
}

/// What the header says may be NULL.
fn is_optional(function: &str, name: &str) -> bool {
    match name {
        "interface" => !["castio_broadcast_address", "castio_interface_index"].contains(&function),
        "source" if function == "castio_amt_find_relays" => false,
        "source" => ["castio_open_receiver", "castio_membership", "castio_diagnose", "castio_amt", "castio_subscribe"]
            .iter()
            .any(|room| function.starts_with(room)),
        "call" | "interfaces" | "relays" | "local" => true,
        _ => false,
    }
}

pub fn texts(function: &str, name: &str) -> Vec<Choice> {
    // Interfaces that are wished for need not be there; but nothing can be called so.
    let is_thinkable = |garbage: &[u8]| name == "interfaces" && garbage.is_ascii() && garbage.len() < 48;
    let errno = if name == "interface" { ENODEV } else { EINVAL };
    let mut all = vec![text(good_text(name).as_bytes())];
    all.push(text(b"").mistake(EINVAL));
    all.push(Choice::new("NULL", &[0]).mistake_if(!is_optional(function, name), EFAULT));
    let long = vec![b'a'; LARGE - 1];
    for garbage in [b"%".as_slice(), b"\xFF\xFE\x80garbage\x01", b"/", b"nope", b" ", b"239.1.2", &long] {
        // A diagnosis has a finding for it.
        let is_found = name == "interface" && function.starts_with("castio_diagnose");
        all.push(text(garbage).mistake_if(!is_found && !is_thinkable(garbage), errno));
    }
    let well_formed =
        ["239.1.2.3", "ff02::1", "ff02::1%lo", "ff15::7%eth0", "239.1.2.3%nope", "::ffff:239.1.2.3", "lo", "::1"];
    let numbers = ["1", "0", "-1", "4294967296", "127.0.0.1", "127.0.0.1/8", "127.0.0.1/33", "127.0.0.1/255.0.255.0"];
    all.extend(well_formed.iter().chain(&numbers).map(|sound| text(sound.as_bytes())));
    if name == "group" || name == "source" {
        let other = if name == "group" { "127.0.0.1" } else { "239.9.9.9" };
        all.push(text(other.as_bytes()).mistake(EINVAL));
        all.push(text(b"ff15::7"));
    }
    all
}

/// What an impossible count is: where the kernel has a limit, too many.
fn impossible_count(function: &str) -> i32 {
    if function.starts_with("castio_amt") { EINVAL } else { ENOBUFS }
}

pub fn text_lists(function: &str) -> Vec<Choice> {
    let list = |label: &str, texts: &[Option<&str>]| {
        let texts: Vec<Option<Guarded>> =
            texts.iter().map(|text| text.map(|text| Guarded::read_only(format!("{text}\0").as_bytes()))).collect();
        let addresses = texts.iter().map(|text| text.as_ref().map_or(0, Guarded::address));
        let image: Vec<u8> = addresses.flat_map(usize::to_ne_bytes).collect();
        let mut choice = memory(label, &image, true, &[texts.len()]);
        choice.memory.extend(texts.into_iter().flatten());
        choice
    };
    let good = [Some("10.1.0.2"), Some("10.1.0.3")];
    let mut all =
        vec![list("good ones", &good), list("one", &good[..1]), list("none", &[]), list("too many", &[good[0]; 100])];
    all.push(list("a NULL among them", &[good[0], None]).mistake(EFAULT));
    all.push(list("garbage", &[Some("%"), good[0]]).mistake(EINVAL));
    all.push(list("a group", &[Some("239.1.2.3")]).mistake(EINVAL));
    all.push(list("another family", &[Some("fd01::2")]).mistake(EAFNOSUPPORT));
    all.extend([null(0), null(1).mistake(EFAULT)]);
    all.extend(IMPOSSIBLE.map(null));
    let misled = IMPOSSIBLE.map(|count| Choice {
        words: vec![all[0].words[0], count],
        ..Choice::new(format!("good ones, {count:#x}"), &[])
    });
    all.extend(misled.map(|choice| choice.mistake(impossible_count(function))));
    all
}

pub fn addresses(function: &str, name: &str) -> Vec<Choice> {
    let good = sockaddr(good_text(name));
    let short = |bytes: &[u8], len: usize| memory("cut short", &bytes[..len], true, &[len]).mistake(EINVAL);
    let v6 = sockaddr(if name == "group" { "ff15::7" } else { "fd01::2" });
    let mut all = vec![memory("IPv4", &good, true, &[16]), memory("IPv6", &v6, true, &[28])];
    all.extend([short(&good, 15), short(&good, 2), short(&good, 1), short(&good, 0), short(&v6, 27), short(&v6, 16)]);
    let mut roomy = good.clone();
    roomy.resize(128, 0xFF);
    all.push(memory("IPv4 in a storage", &roomy, true, &[128]));
    let other = sockaddr(if name == "group" { "127.0.0.1" } else { "239.9.9.9" });
    all.push(memory("the wrong kind", &other, true, &[16]).mistake(EINVAL));
    all.push(memory("0.0.0.0", &sockaddr("0.0.0.0"), true, &[16]).mistake(EINVAL));
    all.push(memory("a mapped group", &sockaddr("::ffff:239.1.2.3"), true, &[28]));
    all.push(memory("a link's group", &sockaddr("ff02::1"), true, &[28]));
    all.extend(
        foreign_sockaddrs().map(|(label, bytes, errno)| memory(label, &bytes, true, &[bytes.len()]).mistake(errno)),
    );
    all.push(null(16).mistake_if(!is_optional(function, name), EFAULT));
    all.push(null(0).mistake_if(!is_optional(function, name), EFAULT));
    all.push(null(u32::MAX as usize));
    all
}

/// An address in a `sockaddr_storage`.
pub fn storage(text: &str) -> Vec<u8> {
    let mut bytes = sockaddr(text);
    bytes.resize(128, 0);
    bytes
}

pub fn address_lists(function: &str) -> Vec<Choice> {
    let list = |label: &str, image: &[u8]| memory(label, image, true, &[image.len() / 128]);
    let good = [storage("10.1.0.2"), storage("10.1.0.3")].concat();
    let mut all = vec![list("good ones", &good), list("one", &good[..128]), list("none", &[])];
    all.push(list("too many", &good.repeat(50)));
    all.push(list("a group", &storage("239.1.2.3")).mistake(EINVAL));
    all.push(list("another family", &storage("fd01::2")).mistake(EAFNOSUPPORT));
    all.push(list("all zero", &[0; 256]).mistake(EAFNOSUPPORT));
    all.push(list("all ones", &[0xFF; 256]).mistake(EAFNOSUPPORT));
    all.extend([null(0), null(1).mistake(EFAULT), null(usize::MAX)]);
    all.extend(IMPOSSIBLE.map(|count| memory("good ones", &good, true, &[count]).mistake(impossible_count(function))));
    all
}

/// An array that is filled; of structs that begin with their size, if `header` says how long that is.
pub fn room(element: usize, header: Option<usize>) -> Vec<Choice> {
    let array = |label: &str, size: usize, elements: usize, capacity: usize| {
        let mut image = vec![0xFF; element.max(size.min(LARGE)) * elements];
        if let (Some(header), false) = (header, image.is_empty()) {
            image[..header].copy_from_slice(&size.to_ne_bytes());
        }
        memory(label, &image, false, &[capacity])
    };
    let mut all = vec![array("room", element, 4, 4), array("room", element, 1, 1), array("room", element, 100, 100)];
    all.push(array("no room", element, 0, 0));
    all.extend([null(0), null(1).mistake(EFAULT), null(usize::MAX)]);
    all.extend(IMPOSSIBLE.map(|capacity| array("room", element, 1, capacity).mistake(EINVAL)));
    if header.is_some() {
        all.extend([0, 1, element - 1].map(|size| array("of a small size", size, 4, 4).mistake(EINVAL)));
        all.push(array("of a later version", element + 8, 4, 4));
        all.push(array("of a much later version", LARGE, 2, 2));
        // More than all memory there is.
        all.push(array("of an impossible size", usize::MAX, 2, 2).mistake(EINVAL));
        all.push(array("of an impossible size", isize::MAX as usize, 3, 3).mistake(EINVAL));
        // In all, though not each; and aligned.
        all.push(array("of an impossible size", isize::MAX as usize - 7, 2, 2).mistake(EINVAL));
    }
    all
}

/// One struct that begins with its size.
pub fn growing_struct(size: usize) -> Vec<Choice> {
    let of_size = |label: &str, said: usize| {
        let mut image = vec![0xFF; size.max(said.min(LARGE))];
        image[..size_of::<usize>()].copy_from_slice(&said.to_ne_bytes());
        memory(&format!("{label}: {}", hex(said)), &image, false, &[])
    };
    let mut all =
        vec![of_size("its size", size), of_size("a later version", size + 8), of_size("a later version", LARGE)];
    all.extend([0, 1, size - 1].map(|small| of_size("too small", small).mistake(EINVAL)));
    all.push(of_size("a huge size", usize::MAX));
    all.push(Choice::new("NULL", &[0]).mistake(EFAULT));
    all
}
