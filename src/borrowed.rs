//! The caller's sockets while handles work on them, and what the handles change there.
//!
//! The socket outlives the handle. Other handles use it too, and after fork(2) a child has copies of both. So
//! each change is counted by socket in this process, and the last handle that needs it undoes it; a copy in a
//! child undoes nothing. The descriptor may be closed before the handle, and its number may belong to another
//! file by then: the socket is recognised by its cookie and inode.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Errno, Result};
use crate::sys::descriptor::Descriptor;
use crate::sys::option::{self, IntOption};
use crate::sys::process::{self, PerProcess};
use crate::sys::status;

/// The process that opened a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin(i32);

impl Origin {
    /// This process.
    pub fn here() -> Origin {
        Origin(process::id())
    }

    /// `false` in a child after fork(2), where the handle is a copy.
    pub fn is_here(self) -> bool {
        self == Origin::here()
    }
}

/// What distinguishes a socket from all others. Cookies alone are unique in a network namespace only, on
/// kernels before 5.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    cookie: u64,
    inode: u64,
}

impl Identity {
    fn of(fd: BorrowedFd<'_>) -> Result<Identity> {
        let cookie = match option::cookie(fd) {
            // Kernels before 4.12.
            Err(Errno::ENOPROTOOPT) => 0,
            cookie => cookie?,
        };
        // A sandbox may refuse fstat(2).
        Ok(Identity { cookie, inode: status::stat(fd).map_or(0, |stat| stat.inode) })
    }
}

/// A group that a handle has joined on the caller's socket: group, source, interface.
pub type Joined = (IpAddr, Option<IpAddr>, u32);

/// What a handle has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Option(IntOption),
    Joined(Joined),
}

/// How many handles need a change, and the option's value before it.
struct Need {
    handles: usize,
    before: i32,
}

type Needs = BTreeMap<(Identity, Change), Need>;

static NEEDS: PerProcess<Mutex<Needs>> = PerProcess::new();

/// Held over the system calls too, so that two handles don't change a socket at the same time.
fn needs() -> MutexGuard<'static, Needs> {
    NEEDS.get().lock().unwrap_or_else(PoisonError::into_inner)
}

/// One handle's use of the caller's socket. Options that it has set get their value back when the last handle
/// that needs them is dropped.
pub struct Borrowed<'fd> {
    fd: Descriptor<'fd>,
    identity: Identity,
    origin: Origin,
    options: Vec<(IntOption, i32)>,
}

impl<'fd> Borrowed<'fd> {
    /// `EBADF`, `ENOTSOCK` as getsockopt(2).
    pub fn new(fd: impl Into<Descriptor<'fd>>) -> Result<Borrowed<'fd>> {
        let fd = fd.into();
        let identity = Identity::of(fd.as_fd())?;
        Ok(Borrowed { fd, identity, origin: Origin::here(), options: Vec::new() })
    }

    /// The descriptor.
    #[inline]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// `false` in a child after fork(2), where the handle is a copy.
    pub fn is_here(&self) -> bool {
        self.origin.is_here()
    }

    /// Whether this process opened the handle, and the descriptor still refers to the same socket.
    pub fn is_own(&self) -> bool {
        self.origin.is_here() && Identity::of(self.fd()) == Ok(self.identity)
    }

    /// Sets an option to the value that this handle needs, as long as it is open.
    pub fn require(&mut self, option: IntOption, value: i32) -> Result<()> {
        if !self.origin.is_here() {
            return option.set(self.fd(), value);
        }
        let mut needs = needs();
        let before = option.get(self.fd())?;
        if before != value {
            option.set(self.fd(), value)?;
        }
        match needs.get_mut(&(self.identity, Change::Option(option))) {
            Some(need) => need.handles += 1,
            // The caller has set it.
            None if before == value => return Ok(()),
            None => drop(needs.insert((self.identity, Change::Option(option)), Need { handles: 1, before })),
        }
        self.options.push((option, value));
        Ok(())
    }

    /// Joins by `join`, which is told whether another handle has joined the same on this socket.
    pub fn join(&self, joined: Joined, join: impl FnOnce(bool) -> Result<()>) -> Result<()> {
        if !self.origin.is_here() {
            return join(false);
        }
        let mut needs = needs();
        let change = (self.identity, Change::Joined(joined));
        join(needs.contains_key(&change))?;
        needs.entry(change).or_insert(Need { handles: 0, before: 0 }).handles += 1;
        Ok(())
    }

    /// Leaves by `leave`, unless another handle needs the same or the socket isn't there any more. In a child
    /// it is what the child asks for.
    pub fn leave(&self, joined: Joined, leave: impl FnOnce()) {
        if !self.origin.is_here() {
            return leave();
        }
        let mut needs = needs();
        if release(&mut needs, self.identity, Change::Joined(joined)).is_some() && self.is_own() {
            leave();
        }
    }

    /// Whether another handle has joined the same on this socket.
    pub fn is_shared(&self, joined: Joined) -> bool {
        let change = (self.identity, Change::Joined(joined));
        self.origin.is_here() && needs().get(&change).is_some_and(|need| need.handles > 1)
    }
}

/// One handle needs a change no longer; what there was before, if it was the last one.
fn release(needs: &mut Needs, identity: Identity, change: Change) -> Option<i32> {
    let need = needs.get_mut(&(identity, change))?;
    need.handles -= 1;
    let before = need.before;
    if need.handles > 0 {
        return None;
    }
    needs.remove(&(identity, change));
    Some(before)
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        // First: the lock may have been held by a thread of the parent.
        if !self.origin.is_here() || self.options.is_empty() {
            return;
        }
        let mut needs = needs();
        let is_own = self.is_own();
        for (option, value) in &self.options {
            let before = release(&mut needs, self.identity, Change::Option(*option));
            // Another value is somebody else's choice.
            if let Some(before) = before.filter(|_| is_own && option.get(self.fd()) == Ok(*value)) {
                // The socket may be closed meanwhile, and nobody is left to tell.
                let _ = option.set(self.fd(), before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::{AsFd, AsRawFd};

    const OPTION: IntOption = IntOption::IPV4_PACKET_INFO;

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn the_last_of_several_puts_an_option_back() {
        let socket = socket();
        let [mut one, mut other] = [(); 2].map(|()| Borrowed::new(socket.as_fd()).unwrap());
        one.require(OPTION, 1).unwrap();
        other.require(OPTION, 1).unwrap();
        drop(one);
        assert_eq!(OPTION.get(socket.as_fd()), Ok(1));
        drop(other);
        assert_eq!(OPTION.get(socket.as_fd()), Ok(0));
    }

    #[test]
    fn what_the_caller_set_stays_as_it_is() {
        let socket = socket();
        OPTION.set(socket.as_fd(), 1).unwrap();
        let mut borrowed = Borrowed::new(socket.as_fd()).unwrap();
        borrowed.require(OPTION, 1).unwrap();
        drop(borrowed);
        assert_eq!(OPTION.get(socket.as_fd()), Ok(1));

        let all = IntOption::IPV4_MULTICAST_ALL;
        let mut borrowed = Borrowed::new(socket.as_fd()).unwrap();
        borrowed.require(all, 0).unwrap();
        all.set(socket.as_fd(), 1).unwrap();
        drop(borrowed);
        assert_eq!(all.get(socket.as_fd()), Ok(1));
    }

    /// By another descriptor it is the same socket.
    #[test]
    fn two_descriptors_of_one_socket_are_one_socket() {
        let socket = socket();
        let twin = socket.try_clone().unwrap();
        let mut one = Borrowed::new(socket.as_fd()).unwrap();
        let mut other = Borrowed::new(twin.as_fd()).unwrap();
        one.require(OPTION, 1).unwrap();
        other.require(OPTION, 1).unwrap();
        drop(one);
        assert_eq!(OPTION.get(socket.as_fd()), Ok(1));
        drop(other);
        assert_eq!(OPTION.get(socket.as_fd()), Ok(0));
    }

    #[test]
    fn a_number_that_another_socket_has_now_is_left_alone() {
        let (first, other) = (socket(), socket());
        let mut borrowed = Borrowed::new(first.as_fd()).unwrap();
        let joined = ("239.1.2.3".parse().unwrap(), None, 1);
        borrowed.require(OPTION, 1).unwrap();
        borrowed.join(joined, |_| Ok(())).unwrap();
        OPTION.set(other.as_fd(), 1).unwrap();
        // SAFETY: both are open; the first one's number now refers to the other's socket.
        #[allow(unsafe_code)]
        let result = unsafe { libc::dup2(other.as_raw_fd(), first.as_raw_fd()) };
        assert!(result >= 0 && !borrowed.is_own());
        borrowed.leave(joined, || panic!("not ours"));
        drop(borrowed);
        assert_eq!(OPTION.get(other.as_fd()), Ok(1));
    }

    #[test]
    fn the_last_of_several_leaves() {
        let socket = socket();
        let [one, other] = [(); 2].map(|()| Borrowed::new(socket.as_fd()).unwrap());
        let (joined, mut left) = (("239.1.2.3".parse().unwrap(), None, 1), 0);
        one.join(joined, |is_shared| if is_shared { Err(Errno::EADDRINUSE) } else { Ok(()) }).unwrap();
        assert!(!one.is_shared(joined));
        other.join(joined, |is_shared| if is_shared { Ok(()) } else { Err(Errno::EADDRINUSE) }).unwrap();
        assert!(one.is_shared(joined) && other.is_shared(joined));
        one.leave(joined, || left += 1);
        assert_eq!(left, 0);
        other.leave(joined, || left += 1);
        assert_eq!(left, 1);
    }

    /// Another thread holds the lock at the moment of the fork, and the child doesn't have that thread.
    #[test]
    #[allow(unsafe_code)]
    fn a_child_is_not_kept_by_a_lock_of_its_parent() {
        let socket = socket();
        let mut borrowed = Borrowed::new(socket.as_fd()).unwrap();
        borrowed.require(OPTION, 1).unwrap();
        let held = needs();
        // SAFETY: the child makes and drops handles, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends a child that hangs.
            unsafe { libc::alarm(20) };
            drop(borrowed);
            let new = Borrowed::new(socket.as_fd()).and_then(|mut new| new.require(OPTION, 1));
            // SAFETY: without the parent's destructors.
            unsafe { libc::_exit(i32::from(new.is_err())) };
        }
        drop(held);
        let mut status = 0;
        // SAFETY: there is room for the status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!((status, OPTION.get(socket.as_fd())), (0, Ok(1)));
        drop(borrowed);
        assert_eq!(OPTION.get(socket.as_fd()), Ok(0));
    }
}
