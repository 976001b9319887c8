//! No function raises SIGPIPE or SIGXFSZ, and none touches the signal's handling to avoid it. Also on kernels
//! before Linux 6.18, whose pwritev2() has no RWF_NOSIGNAL: a filter makes this one like them.

mod support;

use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use castio::ffi::nowait::{castio_send_nowait, castio_writev_nowait};
use castio::ffi::urgent::castio_send_oob;
use castio::ffi::vectored::{castio_write_all, castio_writev_all};
use libc::{EPIPE, SIGPIPE, sigset_t};
use support::descriptors::*;
use support::seccomp;

/// What can be closed at the other end.
const KINDS: [Kind; 6] = [UnixStream, SeqPacket, Pipe, Fifo, Tcp4, Tcp6];

type Call = fn(RawFd) -> isize;

/// Each way to write "data".
const CALLS: [(&str, Call); 5] = [
    ("write_all for ever", |fd| write_all(fd, -1)),
    ("write_all with a deadline", |fd| write_all(fd, 10_000)),
    ("writev_all at once", |fd| {
        let list = [buffer(b"da"), buffer(b"ta")];
        // SAFETY: a valid array.
        unsafe { castio_writev_all(fd, list.as_ptr(), 2, 0, std::ptr::null_mut()) }
    }),
    ("send_nowait", |fd| {
        // SAFETY: the bytes are readable.
        unsafe { castio_send_nowait(fd, b"data".as_ptr().cast(), 4) }
    }),
    ("writev_nowait", |fd| {
        let list = [buffer(b"da"), buffer(b"ta")];
        // SAFETY: a valid array.
        unsafe { castio_writev_nowait(fd, list.as_ptr(), 2) }
    }),
];

fn write_all(fd: RawFd, timeout_ms: i32) -> isize {
    // SAFETY: the bytes are readable.
    unsafe { castio_write_all(fd, b"data".as_ptr().cast(), 4, timeout_ms, std::ptr::null_mut()) }
}

/// Writers whose peers are closed, in every kind of descriptor.
fn broken() -> Vec<(Kind, OwnedFd)> {
    pairs(&KINDS)
        .map(|Pair { kind, writer, reader }| {
            if kind == Tcp4 || kind == Tcp6 {
                reset(reader);
                wait_for(&writer, libc::POLLHUP);
                // The reset itself is told once; from then on a write is to a broken pipe.
                let mut byte = 0u8;
                // SAFETY: the byte is writable.
                unsafe { libc::recv(writer.as_raw_fd(), (&raw mut byte).cast(), 1, 0) };
                assert_eq!(errno(), libc::ECONNRESET);
            } else {
                drop(reader);
            }
            (kind, writer)
        })
        .collect()
}

fn signal_mask() -> sigset_t {
    // SAFETY: there is room for the mask.
    unsafe {
        let mut mask = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
        mask
    }
}

fn is_in(set: &sigset_t, signal: c_int) -> bool {
    // SAFETY: the set is filled.
    unsafe { libc::sigismember(set, signal) == 1 }
}

fn same(one: &sigset_t, other: &sigset_t) -> bool {
    (1..64).all(|signal| is_in(one, signal) == is_in(other, signal))
}

fn is_pending() -> bool {
    // SAFETY: there is room for the set.
    unsafe {
        let mut pending = std::mem::zeroed();
        libc::sigpending(&raw mut pending);
        is_in(&pending, SIGPIPE)
    }
}

fn block_sigpipe() {
    // SAFETY: the set is filled.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Runs a step in a child in which SIGPIPE kills, on this kernel and on an older one. The step
/// gives 0, or says what went wrong.
#[track_caller]
fn in_mortal_child(what: &str, step: impl Fn() -> i32) {
    for older in [false, true] {
        let status = in_child(|| {
            // SAFETY: the default action needs no handler.
            unsafe { libc::signal(SIGPIPE, libc::SIG_DFL) };
            if older {
                seccomp::no_nosignal();
            }
            step()
        });
        assert!(!libc::WIFSIGNALED(status), "{what}, older {older}: killed by signal {}", libc::WTERMSIG(status));
        assert_eq!(libc::WEXITSTATUS(status), 0, "{what}, older {older}");
    }
}

#[test]
fn without_the_library_the_child_is_killed() {
    // The kernel raises none on seqpacket sockets.
    for (kind, writer) in broken().into_iter().filter(|(kind, _)| *kind != SeqPacket) {
        let status = in_child(|| {
            // SAFETY: the bytes are readable.
            unsafe {
                libc::signal(SIGPIPE, libc::SIG_DFL);
                libc::write(writer.as_raw_fd(), b"data".as_ptr().cast(), 4);
            }
            0
        });
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == SIGPIPE, "{kind:?}: {status:#x}");
    }
}

#[test]
fn no_write_raises_the_signal() {
    for (kind, writer) in broken() {
        for (name, call) in CALLS {
            in_mortal_child(&format!("{kind:?} {name}"), || {
                let result = call(writer.as_raw_fd());
                i32::from(result != -EPIPE as isize)
            });
        }
    }
}

#[test]
fn sending_urgent_data_raises_none_either() {
    for (kind, writer) in broken() {
        if !STREAM_SOCKETS.contains(&kind) {
            continue;
        }
        in_mortal_child(&format!("{kind:?}"), || {
            // SAFETY: the bytes are readable.
            let result =
                unsafe { castio_send_oob(writer.as_raw_fd(), b"!".as_ptr().cast(), 1, -1, std::ptr::null_mut()) };
            i32::from(result != -EPIPE as isize)
        });
    }
}

#[test]
fn the_signal_mask_and_the_handler_stay() {
    for (kind, writer) in broken() {
        for (name, call) in CALLS {
            in_mortal_child(&format!("{kind:?} {name}"), || {
                let before = signal_mask();
                call(writer.as_raw_fd());
                // SAFETY: all zero has room for the action.
                let handler = unsafe {
                    let mut action: libc::sigaction = std::mem::zeroed();
                    libc::sigaction(SIGPIPE, std::ptr::null(), &raw mut action);
                    action.sa_sigaction
                };
                i32::from(!same(&before, &signal_mask())) + 2 * i32::from(handler != libc::SIG_DFL)
            });
        }
    }
}

#[test]
fn where_it_is_blocked_none_is_left_pending() {
    for (kind, writer) in broken() {
        for (name, call) in CALLS {
            in_mortal_child(&format!("{kind:?} {name}"), || {
                block_sigpipe();
                call(writer.as_raw_fd());
                i32::from(is_pending()) + 2 * i32::from(!is_in(&signal_mask(), SIGPIPE))
            });
        }
    }
}

#[test]
fn one_that_was_pending_before_stays_pending() {
    for (kind, writer) in broken() {
        for (name, call) in CALLS {
            in_mortal_child(&format!("{kind:?} {name}"), || {
                block_sigpipe();
                // To this thread, as a write raises it.
                // SAFETY: takes no pointer.
                unsafe { libc::pthread_kill(libc::pthread_self(), SIGPIPE) };
                call(writer.as_raw_fd());
                i32::from(!is_pending())
            });
        }
    }
}

#[test]
fn an_older_kernel_writes_the_same() {
    for kind in [Pipe, Fifo, File, Terminal, TerminalMaster, UnixStream] {
        for (name, call) in CALLS {
            let Pair { writer, reader, .. } = pair(kind);
            let [now, older] = [false, true].map(|older| {
                let status = in_child(|| {
                    if older {
                        seccomp::no_nosignal();
                    }
                    call(writer.as_raw_fd()) as i32
                });
                let sent = libc::WEXITSTATUS(status) as usize;
                assert_eq!(take_exact(&reader, sent), b"data"[..sent], "{kind:?} {name} older {older}");
                sent
            });
            assert!(now > 0 && now == older, "{kind:?} {name}: {now}, {older}");
        }
    }
}

#[test]
fn an_older_kernel_neither_blocks_nor_loses() {
    for kind in [Pipe, Fifo, Terminal, TerminalMaster] {
        let Pair { writer, reader, .. } = pair(kind);
        let mut filled = fill(&writer);
        // A terminal makes room as the kernel moves data on; it is used, and it ends.
        until("it is full", || {
            let full = writer.try_clone().unwrap();
            let status = promptly(move || {
                in_child(|| {
                    seccomp::no_nosignal();
                    // SAFETY: the bytes are readable.
                    unsafe { castio_send_nowait(full.as_raw_fd(), b"data".as_ptr().cast(), 4) as i32 }
                })
            });
            // As the exit code has it: 8 bits.
            let result = libc::WEXITSTATUS(status) as i8;
            filled += usize::try_from(result).unwrap_or(0);
            i32::from(result) == -libc::EAGAIN
        });
        assert_eq!(take_exact(&reader, filled).len(), filled, "{kind:?}");
        assert!(is_empty(&reader), "{kind:?}");
    }
}

/// The kernel raises the signal for a write of which a part went out, too.
#[test]
fn a_reader_that_goes_away_during_a_long_write_raises_none() {
    for kind in [Pipe, Fifo] {
        for timeout_ms in [-1, 20_000] {
            in_mortal_child(&format!("{kind:?} {timeout_ms}"), || {
                let Pair { writer, reader, .. } = pair(kind);
                let (bytes, mut done) = (vec![0; 1 << 20], 0);
                let result = std::thread::scope(|scope| {
                    scope.spawn(|| {
                        take_exact(&reader, 100_000);
                        drop(reader);
                    });
                    let (at, len) = (bytes.as_ptr().cast(), bytes.len());
                    // SAFETY: the bytes are readable, and there is a place for the count.
                    unsafe { castio_write_all(writer.as_raw_fd(), at, len, timeout_ms, &raw mut done) }
                });
                i32::from(result != -EPIPE as isize) + 2 * i32::from(done < 100_000)
            });
        }
    }
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// Each is waited for, so that one that a failing write took away would be missed for ever.
#[test]
fn signals_that_others_send_to_the_process_meanwhile_are_all_handled() {
    const MANY: usize = 2_000;
    let Pair { writer, reader, .. } = pair(Pipe);
    drop(reader);
    in_mortal_child("signals of others", || {
        // SAFETY: the handler only counts.
        unsafe { libc::signal(SIGPIPE, count as extern "C" fn(c_int) as libc::sighandler_t) };
        let (is_over, start) = (AtomicBool::new(false), Instant::now());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                block_sigpipe();
                for number in 1..=MANY {
                    // SAFETY: takes no pointer.
                    unsafe { libc::kill(libc::getpid(), SIGPIPE) };
                    while HANDLED.load(Ordering::SeqCst) < number && start.elapsed() < PATIENCE / 2 {
                        std::thread::yield_now();
                    }
                }
                is_over.store(true, Ordering::SeqCst);
            });
            while !is_over.load(Ordering::SeqCst) {
                write_all(writer.as_raw_fd(), 0);
            }
        });
        i32::from(HANDLED.load(Ordering::SeqCst) != MANY) + 2 * i32::from(start.elapsed() > PATIENCE / 2)
    });
}

#[test]
fn a_file_at_its_limit_raises_none_either() {
    let file = pair(File).writer;
    for (name, call) in CALLS {
        in_mortal_child(&format!("RLIMIT_FSIZE, {name}"), || {
            let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
            let (bytes, mut done) = (vec![0; 10_000], 0);
            let before = signal_mask();
            // SAFETY: the limit and the bytes are readable, and there is a place for the count.
            let result = unsafe {
                libc::ftruncate(file.as_raw_fd(), 0);
                libc::lseek(file.as_raw_fd(), 0, libc::SEEK_SET);
                libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
                castio_write_all(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), -1, &raw mut done)
            };
            i32::from(result != -libc::EFBIG as isize)
                + 2 * i32::from(done != 4096)
                + 4 * i32::from(call(file.as_raw_fd()) != -libc::EFBIG as isize)
                + 8 * i32::from(!same(&before, &signal_mask()))
        });
    }
}
