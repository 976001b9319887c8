//! In a sandbox that refuses a system call, and on older kernels: what an older call can do goes on by it, and what
//! was found out once isn't tried again. Each case is a process of its own.

mod support;

use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use castio::ffi::inspect::castio_inspect;
use castio::ffi::nowait::*;
use castio::ffi::peek::*;
use castio::ffi::vectored::*;
use libc::{ENOSYS, EPERM, c_long, iovec};
use support::datagrams::{List, OPTIONS, PATIENCE_MS, Receiver, Sender, Socket, numbered, payloads};
use support::descriptors::*;
use support::seccomp::{self, Answer};

/// A child in which a panic is a failure, and not a second run of the tests.
#[track_caller]
fn in_a_process_of_its_own(what: &str, step: impl FnOnce()) {
    let status = in_child(|| match catch_unwind(AssertUnwindSafe(step)) {
        Ok(()) => 0,
        Err(_) => 1,
    });
    assert!(libc::WIFEXITED(status), "{what}: killed by signal {}", libc::WTERMSIG(status));
    assert_eq!(libc::WEXITSTATUS(status), 0, "{what}");
}

fn write_all(fd: &OwnedFd, bytes: &[u8], timeout_ms: i32) -> (isize, usize) {
    let mut done = 0;
    // SAFETY: the bytes are readable, and there is a place for the count.
    (unsafe { castio_write_all(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), timeout_ms, &raw mut done) }, done)
}

fn read_all(fd: &OwnedFd, len: usize, timeout_ms: i32) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let at = bytes.as_mut_ptr().cast();
    // SAFETY: there is room.
    let count = unsafe { castio_read_all(fd.as_raw_fd(), at, len, timeout_ms, std::ptr::null_mut()) };
    bytes.truncate(check(count));
    bytes
}

fn available(fd: &OwnedFd) -> isize {
    // SAFETY: takes no pointer.
    unsafe { castio_peek_available(fd.as_raw_fd()) }
}

/// Each function on a descriptor of its kind, and its effect at the other end.
const USES: [(&str, fn()); 9] = [
    ("whole transfers", || transfer_whole(&[Pipe, UnixStream, Tcp4])),
    ("whole transfers elsewhere", || transfer_whole(&[Fifo, Terminal, TerminalMaster])),
    ("more than a pipe holds", || {
        for kind in [Pipe, Fifo] {
            let Pair { writer, reader, .. } = pair(kind);
            let bytes = pattern(300_000);
            std::thread::scope(|scope| {
                scope.spawn(|| assert_eq!(write_all(&writer, &bytes, -1), (300_000, 300_000)));
                assert!(read_all(&reader, 300_000, 20_000) == bytes, "{kind:?}");
            });
        }
    }),
    ("transfers that don't wait", || {
        for kind in [Pipe, Fifo, UnixStream] {
            let Pair { writer, reader, .. } = pair(kind);
            let mut bytes = [0_u8; 9];
            // SAFETY: the bytes can be read and written.
            unsafe {
                let at = bytes.as_mut_ptr().cast();
                assert_eq!(castio_recv_nowait(reader.as_raw_fd(), at, 9), -libc::EAGAIN as isize, "{kind:?}");
                assert_eq!(castio_send_nowait(writer.as_raw_fd(), b"hello".as_ptr().cast(), 5), 5, "{kind:?}");
                assert_eq!(castio_recv_nowait(reader.as_raw_fd(), at, 9), 5, "{kind:?}");
            }
            assert_eq!(&bytes[..5], b"hello", "{kind:?}");
            fill(&writer);
            // SAFETY: the byte is readable.
            let full = unsafe { castio_send_nowait(writer.as_raw_fd(), b"x".as_ptr().cast(), 1) };
            assert_eq!(full, -libc::EAGAIN as isize, "{kind:?}");
        }
    }),
    ("a pipe that nobody reads", || {
        let Pair { writer, reader, .. } = pair(Pipe);
        drop(reader);
        // SAFETY: the default action needs no handler; the byte is readable.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            assert_eq!(castio_send_nowait(writer.as_raw_fd(), b"x".as_ptr().cast(), 1), -libc::EPIPE as isize);
        }
        assert_eq!(write_all(&writer, b"x", -1), (-libc::EPIPE as isize, 0));
    }),
    ("a file", || {
        let mut file = tempfile::tempfile().unwrap();
        let fd: OwnedFd = file.try_clone().unwrap().into();
        assert_eq!(write_all(&fd, b"hello", 0), (5, 5));
        file.rewind().unwrap();
        assert_eq!(read_all(&fd, 9, 0), b"hello");
        file.write_all(b" there").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello there");
        assert_eq!(read_all(&fd, 0, 0), b"");
    }),
    ("looking", || {
        let Pair { writer, reader, .. } = pair(UnixStream);
        put(&writer, &pattern(5_000));
        assert_eq!(available(&reader), 5_000);
        let mut bytes = vec![0; 5_000];
        // SAFETY: there is room.
        let found = unsafe { castio_peek_all(reader.as_raw_fd(), bytes.as_mut_ptr().cast(), 5_000, 10_000) };
        assert_eq!((found, bytes == pattern(5_000)), (5_000, true));
    }),
    ("datagrams in batches", || {
        let any: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let (receiving, sending) = (Socket::bound(any), Socket::bound(any));
        let (receiver, sender) = (Receiver::open(&receiving, OPTIONS), Sender::open(&sending));
        // Of sizes that make no train.
        let sent: Vec<Vec<u8>> = (0..5).map(|number| numbered(number, 100 + number)).collect();
        for _ in 0..2 {
            sender.sends(&List::of(&sent, Some(receiving.address())));
            wait_for_datagrams(&receiving);
            assert_eq!(payloads(&receiver.receive(8, PATIENCE_MS).unwrap()), sent, "in one call");
            assert_eq!(receiver.receive(8, 0), Err(libc::EAGAIN));
        }
    }),
    ("what a descriptor is", || {
        for kind in [Pipe, UnixStream, Udp4] {
            let Pair { writer, .. } = pair(kind);
            let mut text = [0; 8192];
            // SAFETY: there is room.
            assert!(unsafe { castio_inspect(writer.as_raw_fd(), text.as_mut_ptr(), text.len()) } > 0, "{kind:?}");
        }
    }),
];

/// Those that make their descriptors by the calls that say what one is.
const PREPARED_BY_CALLS: [&str; 4] =
    ["whole transfers elsewhere", "more than a pipe holds", "transfers that don't wait", "a file"];

fn transfer_whole(kinds: &[Kind]) {
    for kind in kinds {
        for timeout_ms in [-1, 10_000, 0] {
            let Pair { writer, reader, .. } = pair(*kind);
            assert_eq!(write_all(&writer, b"hello", timeout_ms), (5, 5), "{kind:?}");
            wait_for(&reader, libc::POLLIN);
            until("all is there", || !kind.is_terminal() || take_count(&reader) >= 5);
            assert_eq!(read_all(&reader, 5, timeout_ms), b"hello", "{kind:?}");
        }
    }
}

/// What FIONREAD says, or enough where that is refused.
fn take_count(fd: &OwnedFd) -> i32 {
    let mut count = 0;
    // SAFETY: FIONREAD writes one int.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result < 0 { i32::MAX } else { count }
}

fn wait_for_datagrams(socket: &Socket) {
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    assert_eq!(unsafe { libc::poll(&raw mut entry, 1, PATIENCE_MS) }, 1);
}

/// Every call that there is another way for.
const OPTIONAL: [(&str, c_long); 10] = [
    ("preadv2", libc::SYS_preadv2),
    ("pwritev2", libc::SYS_pwritev2),
    ("recvmmsg", libc::SYS_recvmmsg),
    ("sendmmsg", libc::SYS_sendmmsg),
    ("newfstatat", libc::SYS_newfstatat),
    ("fstat", libc::SYS_fstat),
    ("statx", libc::SYS_statx),
    ("fcntl", libc::SYS_fcntl),
    ("getrandom", libc::SYS_getrandom),
    ("fstatfs", libc::SYS_fstatfs),
];

#[test]
fn what_an_older_call_can_do_goes_on_by_it() {
    for (name, call) in OPTIONAL {
        for error in [EPERM, ENOSYS] {
            for (what, used) in USES {
                let asks = matches!(name, "fcntl" | "newfstatat" | "fstat" | "statx");
                if asks && PREPARED_BY_CALLS.contains(&what) {
                    continue;
                }
                in_a_process_of_its_own(&format!("{name} refused with {error}: {what}"), || {
                    seccomp::answer(call, None, Answer::Errno(error));
                    used();
                });
            }
        }
    }
}

#[test]
fn what_a_descriptor_is_is_found_out_without_fstat() {
    let calls = [libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx];
    for refused in [&calls[..2], &calls] {
        for kind in [File, Pipe, Fifo, Terminal, TerminalMaster] {
            let Pair { writer, reader, .. } = pair(kind);
            in_a_process_of_its_own(&format!("{kind:?}, {} calls refused", refused.len()), || {
                refused.iter().for_each(|call| seccomp::answer(*call, None, Answer::Errno(EPERM)));
                assert_eq!(write_all(&writer, b"hello", 10_000), (5, 5));
                assert_eq!(read_all(&reader, 5, 10_000), b"hello");
                let mut byte = 0_u8;
                // SAFETY: the byte can be written.
                let none = unsafe { castio_recv_nowait(reader.as_raw_fd(), (&raw mut byte).cast(), 1) };
                assert_eq!(none, if kind == File { 0 } else { -libc::EAGAIN as isize });
            });
        }
    }
}

/// The object's own EPERM isn't the sandbox's.
#[test]
fn a_sealed_file_stays_an_error_and_nothing_is_concluded_from_it() {
    // SAFETY: the name ends in a NUL.
    let fd = check(unsafe { libc::memfd_create(c"sealed".as_ptr(), libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC) });
    // SAFETY: just made, and nobody else has it.
    let sealed = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32) };
    // SAFETY: F_ADD_SEALS takes an int.
    check(unsafe { libc::fcntl(sealed.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) });
    in_a_process_of_its_own("a sealed file, and then a full pipe", || {
        assert_eq!(write_all(&sealed, b"hello", -1), (-EPERM as isize, 0));
        assert!(takes_more_than_a_page());
    });
}

/// Whether a pipe is written to by RWF_NOWAIT: by poll(2) and PIPE_BUF it would be a page at a time.
fn takes_more_than_a_page() -> bool {
    let Pair { writer, reader, .. } = pair(Pipe);
    let bytes = pattern(10_000);
    // SAFETY: the bytes are readable.
    let sent = check(unsafe { castio_send_nowait(writer.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) });
    assert!(take_exact(&reader, sent) == bytes[..sent]);
    sent > 4096
}

/// A call that fails is made once in a process: the second time it would kill.
#[test]
fn what_was_found_out_is_remembered() {
    let write = |kind| {
        let Pair { writer, reader, .. } = pair(kind);
        for timeout_ms in [0, 10_000, -1] {
            assert_eq!(write_all(&writer, b"hello", timeout_ms), (5, 5));
            assert_eq!(read_all(&reader, 5, timeout_ms), b"hello");
        }
    };
    in_a_process_of_its_own("no RWF_NOSIGNAL", || {
        seccomp::no_nosignal();
        write(Pipe);
        seccomp::answer(libc::SYS_pwritev2, Some(seccomp::NOSIGNAL), Answer::Kill);
        write(Pipe);
        write(Fifo);
    });
    in_a_process_of_its_own("no RWF_NOWAIT on pipes", || {
        seccomp::no_nowait();
        write(Pipe);
        for call in [libc::SYS_preadv2, libc::SYS_pwritev2] {
            seccomp::answer(call, Some(seccomp::NOWAIT), Answer::Kill);
        }
        write(Pipe);
    });
    for call in [libc::SYS_preadv2, libc::SYS_pwritev2] {
        in_a_process_of_its_own("a call refused", || {
            seccomp::answer(call, None, Answer::Errno(EPERM));
            write(Pipe);
            seccomp::answer(call, None, Answer::Kill);
            write(Pipe);
            write(Fifo);
        });
    }
}

/// A FIFO never knows RWF_NOWAIT; a pipe of this kernel does, and is written to by it afterwards too.
#[test]
fn a_fifo_says_nothing_about_pipes() {
    in_a_process_of_its_own("a FIFO, then a pipe", || {
        let fifo = pair(Fifo);
        assert_eq!(write_all(&fifo.writer, b"hello", 0), (5, 5));
        assert!(takes_more_than_a_page());
    });
    in_a_process_of_its_own("an older kernel", || {
        seccomp::no_nowait();
        assert!(!takes_more_than_a_page());
    });
}

#[test]
fn small_buffers_are_gathered_up_to_a_page() {
    for kind in [Pipe, Fifo] {
        in_a_process_of_its_own(&format!("{kind:?}"), || {
            seccomp::no_nowait();
            let Pair { writer, reader, .. } = pair(kind);
            let bytes = pattern(3_000);
            let list: Vec<iovec> = bytes.chunks(3).map(buffer).collect();
            // SAFETY: a valid array.
            let sent = unsafe { castio_writev_nowait(writer.as_raw_fd(), list.as_ptr(), 1_000) };
            assert_eq!(sent, 3_000);
            assert!(take_exact(&reader, 3_000) == bytes);
            // One buffer of more than a page, and a small one.
            let bytes = pattern(5_000);
            let list = [buffer(&bytes[..4_990]), buffer(&bytes[4_990..])];
            // SAFETY: a valid array.
            let sent = unsafe { castio_writev_all(writer.as_raw_fd(), list.as_ptr(), 2, 0, std::ptr::null_mut()) };
            assert_eq!(sent, 5_000);
            assert!(take_exact(&reader, 5_000) == bytes);
        });
    }
}
