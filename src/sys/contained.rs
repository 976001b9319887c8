//! The frame around every call from C: a panic doesn't get out and isn't printed, and pthread_cancel(3)
//! waits until the call has returned.

use std::ffi::c_int;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Not in the libc crate; the same number in glibc and musl.
const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

/// Runs `call` with cancellation disabled in this thread. A panic, which would be a bug of ours, becomes
/// `on_panic`'s value.
///
/// Nearly every system call is a cancellation point, and glibc cancels by unwinding, which Rust's frames
/// answer with abort(3). A request that comes meanwhile stays pending. With the asynchronous type it acts
/// inside the second pthread_setcancelstate(3) and unwinds this frame and its callers: they are
/// `extern "C"` and call nothing that can panic, so that they have no landing pads for it to run into.
#[inline(always)]
#[allow(improper_ctypes_definitions, reason = "Rust alone calls it; the ABI is for the unwinder")]
pub extern "C" fn contained<T>(call: impl FnOnce() -> T, on_panic: impl FnOnce() -> T) -> T {
    let mut before = 0;
    // SAFETY: there is room for the old state.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut before) };
    let result = caught(call, on_panic);
    // SAFETY: a state that this thread had; NULL asks for no old one.
    unsafe { pthread_setcancelstate(before, ptr::null_mut()) };
    result
}

/// A frame of its own: it has the landing pads.
#[inline(never)]
#[allow(improper_ctypes_definitions, reason = "as above")]
extern "C" fn caught<T>(call: impl FnOnce() -> T, on_panic: impl FnOnce() -> T) -> T {
    if !HAS_HOOK.load(Ordering::Relaxed) {
        set_hook();
    }
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| on_panic())
}

static HAS_HOOK: AtomicBool = AtomicBool::new(false);

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// A Rust program's own hook. In a C program the library's copy of std has none but the default one.
static HOOK_BEFORE: OnceLock<Hook> = OnceLock::new();

/// std's default hook prints to descriptor 2, which may be anything of the program's. Allocates nothing
/// where no other hook is set: the first call may be in a signal handler.
#[cold]
fn set_hook() {
    // A panicking thread mustn't change the hook (std panics); a later call does it.
    if std::thread::panicking() || HAS_HOOK.swap(true, Ordering::Relaxed) {
        return;
    }
    let _ = HOOK_BEFORE.set(panic::take_hook());
    panic::set_hook(Box::new(|info| {
        if let (false, Some(before)) = (is_contained(), HOOK_BEFORE.get()) {
            before(info);
        }
    }));
}

/// Whether this thread is inside [`contained`]: nobody else who runs Rust code disables cancellation.
fn is_contained() -> bool {
    let mut state = 0;
    // SAFETY: there is room for the old state, and it is put back.
    unsafe {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut state);
        pthread_setcancelstate(state, ptr::null_mut());
    }
    state == PTHREAD_CANCEL_DISABLE
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn cancel_state() -> c_int {
        if is_contained() { PTHREAD_CANCEL_DISABLE } else { 0 }
    }

    #[test]
    fn cancellation_is_disabled_inside_and_as_before_after() {
        assert_eq!(contained(cancel_state, || 7), PTHREAD_CANCEL_DISABLE);
        assert_eq!(cancel_state(), 0);
        assert_eq!(contained(|| panic!("inside"), cancel_state), PTHREAD_CANCEL_DISABLE);
        assert_eq!(cancel_state(), 0, "after a panic too");
        let nested = contained(|| (contained(cancel_state, || 7), cancel_state()), || (7, 7));
        assert_eq!(nested, (PTHREAD_CANCEL_DISABLE, PTHREAD_CANCEL_DISABLE));
    }

    /// What a process writes to descriptor 2 when this runs in a thread that libtest doesn't listen to.
    fn printed_by(start: extern "C" fn(*mut c_void) -> *mut c_void) -> String {
        let (mut from, to) = UnixStream::pair().unwrap();
        // SAFETY: the child makes a thread, waits for it and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the thread is joined before the child ends.
            unsafe {
                libc::dup2(to.as_raw_fd(), 2);
                let mut thread = std::mem::zeroed();
                let made = libc::pthread_create(&raw mut thread, ptr::null(), start, ptr::null_mut());
                libc::_exit(made | libc::pthread_join(thread, ptr::null_mut()));
            }
        }
        drop(to);
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        let mut status = 0;
        // SAFETY: a child of ours, and room for its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "{text}");
        text
    }

    extern "C" fn panics_inside(_: *mut c_void) -> *mut c_void {
        let value = contained(|| panic!("a bug of the library"), || 5);
        ptr::without_provenance_mut(if value == 5 { 0 } else { 1 })
    }

    extern "C" fn panics_outside(_: *mut c_void) -> *mut c_void {
        contained(|| (), || ());
        let _ = catch_unwind(|| panic!("a bug of the program"));
        ptr::null_mut()
    }

    #[test]
    fn a_panic_of_the_library_is_not_printed_and_the_programs_own_is() {
        assert_eq!(printed_by(panics_inside), "");
        assert!(printed_by(panics_outside).contains("a bug of the program"));
    }
}
