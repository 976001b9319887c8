//! Pairs of connected descriptors of every kind, and the plain system calls at their other end.

use std::fs::OpenOptions;
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use libc::{c_int, c_void, iovec, socklen_t};

use super::tools;

/// How long anything that must happen may take: far longer than it does.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp4,
    Tcp6,
    UnixStream,
    SeqPacket,
    UnixDatagram,
    Udp4,
    Udp6,
    Pipe,
    /// A pipe with a name: here RWF_NOWAIT doesn't work.
    Fifo,
    File,
    /// The side of a pseudo-terminal that a program sees, in raw mode.
    Terminal,
    /// Its controlling side.
    TerminalMaster,
}

pub use Kind::*;

pub const STREAM_SOCKETS: [Kind; 3] = [Tcp4, Tcp6, UnixStream];
pub const MESSAGE_SOCKETS: [Kind; 4] = [SeqPacket, UnixDatagram, Udp4, Udp6];
/// Where bytes wait for a reader, and a writer for room.
pub const STREAMS: [Kind; 7] = [Tcp4, Tcp6, UnixStream, Pipe, Fifo, Terminal, TerminalMaster];
pub const EVERY_KIND: [Kind; 12] =
    [Tcp4, Tcp6, UnixStream, SeqPacket, UnixDatagram, Udp4, Udp6, Pipe, Fifo, File, Terminal, TerminalMaster];

impl Kind {
    pub fn is_socket(self) -> bool {
        STREAM_SOCKETS.contains(&self) || MESSAGE_SOCKETS.contains(&self)
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, Terminal | TerminalMaster)
    }
}

/// What is written to `writer` can be read from `reader`. Both block.
pub struct Pair {
    pub kind: Kind,
    pub writer: OwnedFd,
    pub reader: OwnedFd,
}

/// A pair of each kind; without IPv6 on this host those are skipped.
pub fn pairs(kinds: &[Kind]) -> impl Iterator<Item = Pair> {
    let mut kinds = kinds.to_vec();
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        tools::skip("no IPv6 on the loopback interface");
        kinds.retain(|kind| !matches!(kind, Tcp6 | Udp6));
    }
    kinds.into_iter().map(pair)
}

pub fn pair(kind: Kind) -> Pair {
    let (writer, reader) = match kind {
        Tcp4 => tcp("127.0.0.1:0"),
        Tcp6 => tcp("[::1]:0"),
        UnixStream => both(self::UnixStream::pair().unwrap()),
        UnixDatagram => both(self::UnixDatagram::pair().unwrap()),
        SeqPacket => seqpacket(),
        Udp4 => udp("127.0.0.1:0"),
        Udp6 => udp("[::1]:0"),
        Pipe => pipe(),
        Fifo => fifo(),
        File => file(),
        Terminal => terminal(),
        TerminalMaster => {
            let (slave, master) = terminal();
            (master, slave)
        }
    };
    Pair { kind, writer, reader }
}

fn both<T: Into<OwnedFd>>((one, other): (T, T)) -> (OwnedFd, OwnedFd) {
    (one.into(), other.into())
}

fn tcp(address: &str) -> (OwnedFd, OwnedFd) {
    let listener = TcpListener::bind(address).unwrap();
    let writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    both((writer, listener.accept().unwrap().0))
}

fn udp(address: &str) -> (OwnedFd, OwnedFd) {
    let (one, other) = (UdpSocket::bind(address).unwrap(), UdpSocket::bind(address).unwrap());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    both((one, other))
}

fn seqpacket() -> (OwnedFd, OwnedFd) {
    let mut made = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: there is room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, made.as_mut_ptr()) });
    (owned(made[0]), owned(made[1]))
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut made = [0; 2];
    // SAFETY: there is room for two descriptors.
    check(unsafe { libc::pipe2(made.as_mut_ptr(), libc::O_CLOEXEC) });
    (owned(made[1]), owned(made[0]))
}

fn fifo() -> (OwnedFd, OwnedFd) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name ends in a NUL.
    check(unsafe { libc::mkfifo(name.as_ptr(), 0o600) });
    // A reader can come first without a writer only if it doesn't wait for one.
    let reader: OwnedFd = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap().into();
    let writer = OpenOptions::new().write(true).open(&path).unwrap().into();
    set_nonblocking(&reader, false);
    (writer, reader)
}

fn file() -> (OwnedFd, OwnedFd) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let reader = file.reopen().unwrap();
    (file.into_file().into(), reader.into())
}

/// The slave and the master.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let nothing = std::ptr::null_mut();
    // SAFETY: there is room for both descriptors, and NULL asks for nothing else.
    check(unsafe { libc::openpty(&raw mut master, &raw mut slave, nothing, nothing.cast(), nothing.cast()) });
    let (master, slave) = (owned(master), owned(slave));
    change_terminal(&slave, |settings| {
        // SAFETY: the settings are the terminal's own.
        unsafe { libc::cfmakeraw(settings) }
    });
    (slave, master)
}

pub fn change_terminal(fd: &OwnedFd, change: impl FnOnce(&mut libc::termios)) {
    // SAFETY: all zero is a termios, tcgetattr fills it and tcsetattr reads it.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        check(libc::tcgetattr(fd.as_raw_fd(), &raw mut settings));
        change(&mut settings);
        check(libc::tcsetattr(fd.as_raw_fd(), libc::TCSANOW, &raw const settings));
    }
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: just made, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The result of a system call that mustn't fail.
#[track_caller]
pub fn check<T: TryInto<i64> + Copy>(result: T) -> usize {
    let value = result.try_into().ok().unwrap();
    assert!(value >= 0, "{}", std::io::Error::last_os_error());
    value as usize
}

pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

pub fn status_flags(fd: &OwnedFd) -> usize {
    // SAFETY: F_GETFL takes no pointer.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })
}

pub fn set_nonblocking(fd: &OwnedFd, on: bool) {
    let others = status_flags(fd) as c_int & !libc::O_NONBLOCK;
    // SAFETY: F_SETFL takes an int.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, others | if on { libc::O_NONBLOCK } else { 0 }) });
}

pub fn set_option<T>(fd: &OwnedFd, level: c_int, name: c_int, value: T) {
    let (at, len) = ((&raw const value).cast(), size_of::<T>() as socklen_t);
    // SAFETY: the value is readable for its size.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, at, len) });
}

fn option(fd: &OwnedFd, level: c_int, name: c_int) -> Option<Vec<u8>> {
    let mut value = [0u8; 64];
    let mut len = value.len() as socklen_t;
    // SAFETY: `len` says how much room there is.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    (result == 0).then(|| value[..len as usize].to_vec())
}

/// Everything about a descriptor that a transfer could have meddled with.
pub fn state(fd: &OwnedFd) -> (usize, Vec<Option<Vec<u8>>>) {
    use libc::*;
    let sockets = [
        SO_RCVLOWAT,
        SO_RCVTIMEO,
        SO_SNDTIMEO,
        SO_KEEPALIVE,
        SO_LINGER,
        SO_OOBINLINE,
        SO_REUSEADDR,
        SO_REUSEPORT,
        SO_BROADCAST,
        SO_PRIORITY,
        SO_PEEK_OFF,
        SO_TIMESTAMP,
        SO_PASSCRED,
        SO_DONTROUTE,
        SO_BUSY_POLL,
        SO_ZEROCOPY,
    ];
    let sockets = sockets.map(|name| option(fd, SOL_SOCKET, name));
    let tcp = [TCP_NODELAY, TCP_CORK, TCP_KEEPIDLE, TCP_USER_TIMEOUT].map(|name| option(fd, IPPROTO_TCP, name));
    (status_flags(fd), sockets.into_iter().chain(tcp).collect())
}

/// poll(2) for at most [`PATIENCE`].
#[track_caller]
pub fn wait_for(fd: &OwnedFd, events: i16) {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry.
    let found = unsafe { libc::poll(&raw mut entry, 1, PATIENCE.as_millis() as c_int) };
    assert_eq!(found, 1, "no event {events:#x}");
}

/// write(2) of all bytes, or of one message.
#[track_caller]
pub fn put(fd: &OwnedFd, bytes: &[u8]) {
    // SAFETY: the bytes are readable.
    assert_eq!(check(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }), bytes.len());
}

/// One read(2), when there is something: at most `limit` bytes.
#[track_caller]
pub fn take(fd: &OwnedFd, limit: usize) -> Vec<u8> {
    wait_for(fd, libc::POLLIN);
    let mut bytes = vec![0; limit];
    // SAFETY: there is room for `limit` bytes.
    let count = check(unsafe { libc::read(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), limit) });
    bytes.truncate(count);
    bytes
}

/// As many reads as it takes to get `len` bytes; fewer at the end.
#[track_caller]
pub fn take_exact(fd: &OwnedFd, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let more = take(fd, (len - bytes.len()).min(1 << 20));
        if more.is_empty() {
            break;
        }
        bytes.extend(more);
    }
    bytes
}

/// Whether a read would wait.
pub fn is_empty(fd: &OwnedFd) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    check(unsafe { libc::poll(&raw mut entry, 1, 0) }) == 0
}

/// Writes until there is no room, in pieces of 1,000 bytes and then of one; how much went in.
pub fn fill(fd: &OwnedFd) -> usize {
    set_nonblocking(fd, true);
    let bytes = [b'f'; 1000];
    let mut filled = 0;
    for piece in [bytes.len(), 1] {
        loop {
            // SAFETY: the bytes are readable.
            match unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), piece) } {
                -1 => break,
                count => filled += count as usize,
            }
        }
        assert_eq!(errno(), libc::EAGAIN);
    }
    set_nonblocking(fd, false);
    filled
}

/// Closes a TCP socket so that the peer gets a reset.
pub fn reset(fd: OwnedFd) {
    set_option(&fd, libc::SOL_SOCKET, libc::SO_LINGER, libc::linger { l_onoff: 1, l_linger: 0 });
}

/// What the kernel may read.
pub fn buffer(bytes: &[u8]) -> iovec {
    iovec { iov_base: bytes.as_ptr().cast::<c_void>().cast_mut(), iov_len: bytes.len() }
}

/// What the kernel may write.
pub fn room(bytes: &mut [u8]) -> iovec {
    iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

/// An address at which nobody has memory.
pub fn nowhere(iov_len: usize) -> iovec {
    iovec { iov_base: std::ptr::without_provenance_mut(16), iov_len }
}

/// Bytes that show when some are lost, doubled or out of order.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_ne_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// xorshift64: the same numbers in each run.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Waits until something is so, looking again and again.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a call that mustn't hang, in a thread of its own: fails the test instead of hanging with it.
#[track_caller]
pub fn promptly<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, hear) = mpsc::channel();
    std::thread::spawn(move || tell.send(call()));
    hear.recv_timeout(PATIENCE).expect("the call hangs or panicked")
}

/// Runs a call in a forked child, which exits with its result; the wait status. The child has one
/// thread, and must not panic: it would go on as a second copy of the test. (glibc's malloc works
/// after fork.)
pub fn in_child(call: impl FnOnce() -> i32) -> c_int {
    // SAFETY: the child calls nothing but `call`.
    match check(unsafe { libc::fork() }) {
        // SAFETY: ends the child without running the parent's destructors.
        0 => unsafe { libc::_exit(call()) },
        child => wait_status(child as libc::pid_t),
    }
}

pub fn wait_status(child: libc::pid_t) -> c_int {
    let mut status = 0;
    until("the child ends", || {
        // SAFETY: there is room for the status.
        check(unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) }) != 0
    });
    status
}
