//! Urgent data: one byte, its mark, and who is told of it.

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use castio::ffi::urgent::*;
use libc::{EAGAIN, EINVAL, ENOTSOCK, EOPNOTSUPP, EPIPE, ESRCH, ETIMEDOUT, pid_t};
use support::descriptors::*;

const FOR_EVER: i32 = -1;
const LONG: i32 = 20_000;

/// The result, and what `done` says.
fn send_oob(fd: &OwnedFd, bytes: &[u8], timeout_ms: i32) -> (isize, usize) {
    let (mut done, at) = (usize::MAX, bytes.as_ptr().cast());
    // SAFETY: the bytes are readable.
    let result = unsafe { castio_send_oob(fd.as_raw_fd(), at, bytes.len(), timeout_ms, &raw mut done) };
    (result, done)
}

fn recv_oob(fd: &OwnedFd) -> i32 {
    // SAFETY: takes no pointer.
    unsafe { castio_recv_oob(fd.as_raw_fd()) }
}

fn at_mark(fd: &OwnedFd) -> i32 {
    // SAFETY: takes no pointer.
    unsafe { castio_at_mark(fd.as_raw_fd()) }
}

fn wait_oob(fd: &OwnedFd, timeout_ms: i32) -> i32 {
    // SAFETY: takes no pointer.
    unsafe { castio_wait_oob(fd.as_raw_fd(), timeout_ms) }
}

/// What was read, and whether the mark is reached.
fn recv_to_mark(fd: &OwnedFd, limit: usize, timeout_ms: i32) -> Result<(Vec<u8>, i32), isize> {
    let (mut bytes, mut mark) = (vec![0; limit], 99);
    let at = bytes.as_mut_ptr().cast();
    // SAFETY: there is room.
    let count = unsafe { castio_recv_to_mark(fd.as_raw_fd(), at, limit, timeout_ms, &raw mut mark) };
    let Ok(count) = usize::try_from(count) else {
        assert_eq!(mark, 0);
        return Err(count);
    };
    bytes.truncate(count);
    Ok((bytes, mark))
}

fn set_owner(fd: &OwnedFd, owner: pid_t) -> i32 {
    // SAFETY: takes no pointer.
    unsafe { castio_set_oob_owner(fd.as_raw_fd(), owner) }
}

fn set_owner_thread(fd: &OwnedFd, tid: pid_t) -> i32 {
    // SAFETY: takes no pointer.
    unsafe { castio_set_oob_owner_thread(fd.as_raw_fd(), tid) }
}

fn owner(fd: &OwnedFd) -> pid_t {
    let mut owner = pid_t::MIN;
    // SAFETY: there is room.
    assert_eq!(unsafe { castio_get_oob_owner(fd.as_raw_fd(), &raw mut owner) }, 0);
    owner
}

fn own_pid() -> pid_t {
    std::process::id() as pid_t
}

#[test]
fn the_last_byte_alone_is_urgent() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        for timeout in [FOR_EVER, LONG, 0] {
            assert_eq!(send_oob(&writer, b"data!", timeout), (5, 5), "{kind:?}");
            assert_eq!(wait_oob(&reader, LONG), 0, "{kind:?}");
            assert_eq!(recv_oob(&reader), i32::from(b'!'), "{kind:?}");
            put(&writer, b"more");
            assert_eq!(take(&reader, 100), b"data", "{kind:?}: reading stops at the mark");
            assert_eq!(at_mark(&reader), 1, "{kind:?}");
            assert_eq!(take(&reader, 100), b"more", "{kind:?}");
            assert_eq!(at_mark(&reader), 0, "{kind:?}");
        }
    }
}

#[test]
fn every_value_of_a_byte_can_be_urgent() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        for byte in [0, 1, 127, 128, 255] {
            assert_eq!(send_oob(&writer, &[byte], LONG), (1, 1), "{kind:?}");
            assert_eq!(wait_oob(&reader, LONG), 0, "{kind:?}");
            assert_eq!(recv_oob(&reader), i32::from(byte), "{kind:?}");
        }
    }
}

#[test]
fn reading_to_the_mark_never_steps_over_it() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        assert_eq!(send_oob(&writer, b"before!", LONG), (7, 7));
        put(&writer, b"behind");
        wait_for(&reader, libc::POLLPRI);
        assert_eq!(recv_to_mark(&reader, 4, LONG), Ok((b"befo".to_vec(), 0)), "{kind:?}");
        assert_eq!(recv_to_mark(&reader, 100, LONG), Ok((b"re".to_vec(), 1)), "{kind:?}");
        for _ in 0..3 {
            assert_eq!(recv_to_mark(&reader, 100, FOR_EVER), Ok((vec![], 1)), "{kind:?}");
        }
        assert_eq!(recv_oob(&reader), i32::from(b'!'), "{kind:?}: not lost");
        assert_eq!(recv_to_mark(&reader, 100, FOR_EVER), Ok((vec![], 1)), "{kind:?}: still at the mark");
        assert_eq!(take(&reader, 100), b"behind", "{kind:?}");
        assert_eq!(recv_to_mark(&reader, 100, 0), Err(-EAGAIN as isize), "{kind:?}");
        drop(writer);
        assert_eq!(recv_to_mark(&reader, 100, FOR_EVER), Ok((vec![], 0)), "{kind:?}: the end");
    }
}

#[test]
fn reading_to_the_mark_gives_what_is_there_without_waiting_for_more() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        put(&writer, b"plain");
        let own = reader.try_clone().unwrap();
        let found = promptly(move || recv_to_mark(&own, 100, FOR_EVER));
        assert_eq!(found, Ok((b"plain".to_vec(), 0)), "{kind:?}");
        assert_eq!(recv_to_mark(&reader, 100, 30), Err(-ETIMEDOUT as isize), "{kind:?}");
    }
}

#[test]
fn a_mark_that_comes_while_reading_waits_is_seen() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        for _ in 0..50 {
            let mut got = Vec::new();
            thread::scope(|scope| {
                scope.spawn(|| assert_eq!(send_oob(&writer, b"some data!", LONG), (10, 10)));
                loop {
                    let (bytes, mark) = recv_to_mark(&reader, 4, LONG).unwrap();
                    got.extend(bytes);
                    if mark == 1 {
                        break;
                    }
                }
            });
            assert_eq!(got, b"some data", "{kind:?}");
            assert_eq!(wait_oob(&reader, LONG), 0);
            assert_eq!(recv_oob(&reader), i32::from(b'!'), "{kind:?}");
            put(&writer, b"x");
            assert_eq!(take(&reader, 100), b"x", "{kind:?}");
        }
    }
}

#[test]
fn a_second_urgent_byte_pushes_the_first_into_the_stream() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        assert_eq!(send_oob(&writer, b"a1", LONG), (2, 2));
        wait_for(&reader, libc::POLLPRI);
        assert_eq!(send_oob(&writer, b"b2", LONG), (2, 2));
        // Over TCP it takes a moment until the second one is the urgent one.
        until("the mark moves on", || castio_available(&reader) == 3);
        assert_eq!(recv_oob(&reader), i32::from(b'2'), "{kind:?}");
        let mut got = Vec::new();
        while got.len() < 3 {
            let (bytes, _) = recv_to_mark(&reader, 100, LONG).unwrap();
            got.extend(bytes);
        }
        assert_eq!(got, b"a1b", "{kind:?}");
        assert_eq!(at_mark(&reader), 1, "{kind:?}");
    }
}

fn castio_available(fd: &OwnedFd) -> isize {
    // SAFETY: takes no pointer.
    unsafe { castio::ffi::peek::castio_peek_available(fd.as_raw_fd()) }
}

#[test]
fn without_an_urgent_byte_there_is_none_to_take() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        assert_eq!(recv_oob(&reader), -EINVAL, "{kind:?}: none");
        put(&writer, b"plain");
        wait_for(&reader, libc::POLLIN);
        assert_eq!(recv_oob(&reader), -EINVAL, "{kind:?}: none");
        assert_eq!(send_oob(&writer, b"!", LONG), (1, 1));
        assert_eq!(wait_oob(&reader, LONG), 0);
        assert_eq!(recv_oob(&reader), i32::from(b'!'));
        assert_eq!(recv_oob(&reader), -EINVAL, "{kind:?}: taken");
        assert_eq!(take(&reader, 100), b"plain", "{kind:?}");
        assert_eq!(send_oob(&writer, b"", LONG), (-EINVAL as isize, 0), "{kind:?}");
    }
}

#[test]
fn waiting_ends_with_the_byte_the_time_or_the_peer() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        put(&writer, b"ordinary data isn't urgent");
        wait_for(&reader, libc::POLLIN);
        assert_eq!(wait_oob(&reader, 0), -EAGAIN, "{kind:?}");
        assert_eq!(wait_oob(&reader, 50), -ETIMEDOUT, "{kind:?}");
        thread::scope(|scope| {
            scope.spawn(|| send_oob(&writer, b"!", LONG));
            assert_eq!(wait_oob(&reader, FOR_EVER), 0, "{kind:?}");
        });
        assert_eq!(recv_oob(&reader), i32::from(b'!'), "{kind:?}");
        thread::scope(|scope| {
            scope.spawn(|| drop(writer));
            assert_eq!(wait_oob(&reader, FOR_EVER), -EPIPE, "{kind:?}");
        });
    }
}

#[test]
fn inline_it_stays_in_its_place() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        // SAFETY: takes no pointer.
        let (set, get) = unsafe {
            assert_eq!(castio_get_oob_inline(reader.as_raw_fd()), 0, "{kind:?}");
            (castio_set_oob_inline(reader.as_raw_fd(), 7), castio_get_oob_inline(reader.as_raw_fd()))
        };
        assert_eq!((set, get), (0, 1), "{kind:?}");
        assert_eq!(send_oob(&writer, b"data!", LONG), (5, 5));
        put(&writer, b"more");
        assert_eq!(wait_oob(&reader, LONG), 0, "{kind:?}");
        assert_eq!(recv_oob(&reader), -EINVAL, "{kind:?}: it is in the stream");
        assert_eq!(recv_to_mark(&reader, 100, LONG), Ok((b"data".to_vec(), 1)), "{kind:?}");
        assert_eq!(take_exact(&reader, 5), b"!more", "{kind:?}");
        // SAFETY: takes no pointer.
        unsafe {
            assert_eq!(castio_set_oob_inline(reader.as_raw_fd(), 0), 0, "{kind:?}");
            assert_eq!(castio_get_oob_inline(reader.as_raw_fd()), 0, "{kind:?}");
        }
    }
}

#[test]
fn a_full_stream_has_no_room_for_it() {
    for Pair { kind, writer, reader } in pairs(&[UnixStream]) {
        let filled = fill(&writer);
        assert_eq!(send_oob(&writer, b"data!", 0), (-EAGAIN as isize, 0), "{kind:?}");
        assert_eq!(send_oob(&writer, b"data!", 50), (-ETIMEDOUT as isize, 0), "{kind:?}");
        let sent = thread::scope(|scope| {
            scope.spawn(|| assert_eq!(take_exact(&reader, filled).len(), filled));
            send_oob(&writer, b"data!", FOR_EVER)
        });
        assert_eq!(sent, (5, 5));
        assert_eq!(take(&reader, 100), b"data");
        assert_eq!(recv_oob(&reader), i32::from(b'!'));
    }
}

#[test]
fn sockets_of_messages_have_none_and_lose_nothing() {
    for Pair { kind, writer, reader } in pairs(&MESSAGE_SOCKETS) {
        put(&writer, b"message");
        wait_for(&reader, libc::POLLIN);
        let reader_too = reader.try_clone().unwrap();
        let results = promptly(move || {
            [
                recv_oob(&reader_too),
                at_mark(&reader_too),
                wait_oob(&reader_too, FOR_EVER),
                recv_to_mark(&reader_too, 10, FOR_EVER).unwrap_err() as i32,
                // SAFETY: takes no pointer.
                unsafe { castio_set_oob_inline(reader_too.as_raw_fd(), 1) },
            ]
        });
        assert_eq!(results, [-EOPNOTSUPP; 5], "{kind:?}");
        assert_eq!(send_oob(&writer, b"x", FOR_EVER), (-EOPNOTSUPP as isize, 0), "{kind:?}");
        assert_eq!(take(&reader, 100), b"message", "{kind:?}: still there");
        assert!(is_empty(&reader), "{kind:?}");
    }
    let Pair { reader, writer, .. } = pair(Pipe);
    assert_eq!((recv_oob(&reader), set_owner(&writer, own_pid())), (-ENOTSOCK, -ENOTSOCK));
}

/// MPTCP's connections on loopback; `None` where the kernel has none.
fn mptcp() -> Option<[OwnedFd; 2]> {
    use std::os::fd::FromRawFd;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_be_bytes([127, 0, 0, 1]).to_be() },
        sin_zero: [0; 8],
    };
    let mut bound = address;
    let mut len = size_of_val(&address) as libc::socklen_t;
    let at = (&raw mut bound).cast();
    // SAFETY: an address, room for one, and new descriptors that are checked.
    unsafe {
        let [listener, one] = [(); 2].map(|()| libc::socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP));
        if listener < 0 {
            return None;
        }
        let [listener, one] = [listener, one].map(|fd| OwnedFd::from_raw_fd(fd));
        check(libc::bind(listener.as_raw_fd(), at, len));
        check(libc::listen(listener.as_raw_fd(), 1));
        check(libc::getsockname(listener.as_raw_fd(), at, &raw mut len));
        check(libc::connect(one.as_raw_fd(), at, len));
        let other = check(libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()));
        Some([one, OwnedFd::from_raw_fd(other as i32)])
    }
}

/// The kernel ignores MSG_OOB there, in both directions.
#[test]
fn mptcp_has_none_and_loses_no_byte() {
    let Some([one, other]) = mptcp() else {
        support::tools::skip("no MPTCP");
        return;
    };
    put(&one, b"hello");
    wait_for(&other, libc::POLLIN);
    let refused = -EOPNOTSUPP;
    assert_eq!((send_oob(&one, b"!", LONG), recv_oob(&other)), ((refused as isize, 0), refused));
    assert_eq!((at_mark(&other), wait_oob(&other, LONG)), (refused, refused));
    assert_eq!(recv_to_mark(&other, 9, LONG), Err(refused as isize));
    // SAFETY: no pointers.
    let inline = unsafe { (castio_set_oob_inline(other.as_raw_fd(), 1), castio_get_oob_inline(other.as_raw_fd())) };
    assert_eq!(inline, (refused, refused));
    assert_eq!(take(&other, 100), b"hello");
}

/// An urgent byte that was never taken, and what was in front of it.
#[test]
fn an_earlier_urgent_byte_is_lost_only_behind_all_that_was_read() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        for (front, inline) in [(&b""[..], false), (b"f", false), (b"", true)] {
            // SAFETY: no pointers.
            assert_eq!(unsafe { castio_set_oob_inline(reader.as_raw_fd(), inline.into()) }, 0);
            put(&writer, front);
            for urgent in [b"1", b"2"] {
                assert_eq!(send_oob(&writer, urgent, LONG), (1, 1));
                wait_for(&reader, libc::POLLPRI);
            }
            put(&writer, b"end");
            let mut expected = front.to_vec();
            if kind == UnixStream || !front.is_empty() || inline {
                expected.push(b'1');
            }
            expected.extend_from_slice(if inline { b"2end" } else { b"end" });
            until("the second one is here", || inline || recv_oob(&reader) == i32::from(b'2'));
            let mut came = Vec::new();
            until("all is here", || {
                came.extend(take(&reader, 100));
                came.ends_with(b"end")
            });
            assert_eq!(came, expected, "{kind:?} {front:?} {inline}");
        }
    }
}

#[test]
fn an_owner_that_is_no_process_or_group_is_refused_and_changes_nothing() {
    let Pair { reader, .. } = pair(Tcp4);
    assert_eq!(set_owner(&reader, own_pid()), 0);
    // This test's own thread isn't the one that leads the process.
    // SAFETY: takes nothing.
    let own = unsafe { libc::gettid() };
    assert_ne!(own, own_pid());
    assert_eq!((set_owner(&reader, own), owner(&reader)), (-ESRCH, own_pid()), "a thread is no process");
    assert_eq!((set_owner(&reader, -own), owner(&reader)), (-ESRCH, own_pid()), "nor a group");
    assert_eq!((set_owner_thread(&reader, own), owner(&reader)), (0, own));
    // SAFETY: takes nothing.
    let group = unsafe { libc::getpgrp() };
    assert_eq!((set_owner(&reader, -group), owner(&reader)), (0, -group));
}

#[test]
fn the_owner_is_a_process_a_group_a_thread_or_nobody() {
    // SAFETY: takes nothing, and can't fail.
    let (group, tid) = unsafe { (libc::getpgrp(), libc::gettid()) };
    for Pair { kind, reader, .. } in pairs(&STREAM_SOCKETS) {
        assert_eq!(owner(&reader), 0, "{kind:?}");
        assert_eq!((set_owner(&reader, own_pid()), owner(&reader)), (0, own_pid()), "{kind:?}");
        assert_eq!((set_owner(&reader, -group), owner(&reader)), (0, -group), "{kind:?}");
        assert_eq!((set_owner_thread(&reader, tid), owner(&reader)), (0, tid), "{kind:?}");
        assert_eq!((set_owner_thread(&reader, 0), owner(&reader)), (0, tid), "{kind:?}");
        assert_eq!((set_owner(&reader, i32::MIN), set_owner_thread(&reader, -1)), (-EINVAL, -EINVAL), "{kind:?}");
        assert_eq!(owner(&reader), tid, "{kind:?}: unchanged");
        assert_eq!((set_owner(&reader, 0), owner(&reader)), (0, 0), "{kind:?}");
    }
}

#[test]
fn a_dead_owner_is_refused() {
    let dead = dead_process();
    for Pair { kind, reader, .. } in pairs(&STREAM_SOCKETS) {
        assert_eq!(set_owner(&reader, own_pid()), 0);
        assert_eq!((set_owner(&reader, dead), set_owner(&reader, -dead)), (-ESRCH, -ESRCH), "{kind:?}");
        assert_eq!(set_owner_thread(&reader, dead), -ESRCH, "{kind:?}");
        assert_eq!(owner(&reader), own_pid(), "{kind:?}: unchanged");
    }
}

/// The id of a process that has ended and been waited for.
fn dead_process() -> pid_t {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id() as pid_t
}

/// Forks a child that waits for SIGURG and then takes the urgent byte; it exits with that byte.
fn child_that_waits(reader: &OwnedFd, prepare: impl Fn()) -> pid_t {
    let mut ready = [0; 2];
    // SAFETY: there is room for two descriptors; the child calls nothing that allocates.
    unsafe {
        check(libc::pipe2(ready.as_mut_ptr(), libc::O_CLOEXEC));
        let child = check(libc::fork()) as pid_t;
        if child == 0 {
            let mut signals = std::mem::zeroed();
            libc::sigemptyset(&raw mut signals);
            libc::sigaddset(&raw mut signals, libc::SIGURG);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
            prepare();
            libc::write(ready[1], b"r".as_ptr().cast(), 1);
            let patience = libc::timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
            // A signal that is ignored by default is queued only while it is blocked.
            let got = libc::sigtimedwait(&raw const signals, std::ptr::null_mut(), &raw const patience);
            libc::_exit(if got == libc::SIGURG { castio_recv_oob(reader.as_raw_fd()) } else { 1 });
        }
        let mut byte = 0u8;
        assert_eq!(check(libc::read(ready[0], (&raw mut byte).cast(), 1)), 1);
        libc::close(ready[0]);
        libc::close(ready[1]);
        child
    }
}

#[test]
fn a_child_process_gets_the_signal_and_takes_the_byte() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        let child = child_that_waits(&reader, || ());
        assert_eq!((set_owner(&reader, child), owner(&reader)), (0, child), "{kind:?}");
        assert_eq!(send_oob(&writer, b"data!", LONG), (5, 5));
        let status = wait_status(child);
        assert!(libc::WIFEXITED(status), "{kind:?}");
        assert_eq!(libc::WEXITSTATUS(status), i32::from(b'!'), "{kind:?}");
    }
}

#[test]
fn a_process_group_gets_the_signal() {
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        // SAFETY: makes the child the leader of a group of its own.
        let child = child_that_waits(&reader, || unsafe {
            libc::setpgid(0, 0);
        });
        assert_eq!((set_owner(&reader, -child), owner(&reader)), (0, -child), "{kind:?}");
        assert_eq!(send_oob(&writer, b"data!", LONG), (5, 5));
        assert_eq!(libc::WEXITSTATUS(wait_status(child)), i32::from(b'!'), "{kind:?}");
    }
}

static SIGNALLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_the_thread(_: libc::c_int) {
    // SAFETY: takes nothing, and can't fail.
    SIGNALLED.store(unsafe { libc::gettid() }, Ordering::SeqCst);
}

#[test]
fn the_signal_goes_to_the_thread_that_is_named() {
    // SAFETY: all zero is a sigaction without flags; the handler touches an atomic alone.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note_the_thread as *const () as usize;
        check(libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()));
    }
    for Pair { kind, writer, reader } in pairs(&STREAM_SOCKETS) {
        SIGNALLED.store(0, Ordering::SeqCst);
        thread::spawn(move || {
            assert_eq!(set_owner_thread(&reader, 0), 0);
            assert_eq!(send_oob(&writer, b"!", LONG), (1, 1));
            until("the handler runs", || SIGNALLED.load(Ordering::SeqCst) != 0);
            // SAFETY: takes nothing, and can't fail.
            assert_eq!(SIGNALLED.load(Ordering::SeqCst), unsafe { libc::gettid() }, "{kind:?}");
        })
        .join()
        .unwrap();
    }
}
