//! One function of the library, called through its address, with everything looked at that a call
//! mustn't do.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use crate::arguments::{self, Argument, Choice};
use crate::handles::{Handle, Maker};
use crate::support::declarations::{self, Function};
use crate::support::descriptors::{Random, check};
use crate::support::errors::{self, Names};
use crate::support::library;
use crate::undocumented;

/// What a process says when all calls are made.
pub const DONE: &str = "calls made";
/// Calls of one function, if there are more combinations.
const ENOUGH: usize = 8000;
const RECORD_SIZE: usize = 4096;
/// Two streams behind pointers: see `clean_up`.
const TAKES_OVER: &str = "castio_fdopen";

/// Every parameter of the library is an integer or a pointer, and on Linux each of these takes one
/// register or one place on the stack (a uint64_t too, where words have 64 bits); what is too much the
/// callee doesn't look at.
type Any = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize) -> usize;

type Name = unsafe extern "C" fn(c_int) -> *const c_char;

pub struct Subject {
    function: Function,
    arguments: Vec<Argument>,
    library: *mut c_void,
    address: Any,
    error_name: Name,
    /// For a function that takes a handle or makes one.
    maker: Option<Maker>,
    record: *mut u8,
    /// What the header says that the function may return.
    documented: Names,
    /// Errors that it doesn't, each with the first call that returned it.
    undocumented: RefCell<BTreeMap<String, String>>,
}

impl Subject {
    pub fn load(name: &str, record: &Path) -> Subject {
        let header = declarations::castio_h();
        let function = header.functions.into_iter().find(|function| function.name == name);
        let function = function.unwrap_or_else(|| panic!("{name} is exported and not declared"));
        let arguments = arguments::of(&function).unwrap();
        // Rust's runtime ignores it, and then nobody would notice one.
        // SAFETY: sets no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let path = CString::new(library::path("libcastio.so").to_str().unwrap()).unwrap();
        // SAFETY: the library runs no code of its own when it is loaded.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        // SAFETY: after a failure there is a text.
        assert!(!handle.is_null(), "{:?}", unsafe { CStr::from_ptr(libc::dlerror()) });
        let symbol = |name: &str| symbol(handle, name);
        // SAFETY: see `Any`; and the header says what castio_error_name is.
        let (address, error_name) = unsafe {
            let error_name = symbol("castio_error_name");
            (
                std::mem::transmute::<*mut c_void, Any>(symbol(name)),
                std::mem::transmute::<*mut c_void, Name>(error_name),
            )
        };
        let documented = errors::documented().remove(name).unwrap();
        let documented = documented.union(&errors::of_every_function()).cloned().collect();
        let undocumented = RefCell::default();
        let (record, library, maker) = (map(record), handle, None);
        Subject { function, arguments, library, address, error_name, maker, record, documented, undocumented }
    }

    /// With handles, for a function that takes or makes one.
    pub fn with_maker(mut self) -> Subject {
        self.maker = self.new_maker();
        self
    }

    /// What it makes rather than what it makes it of.
    fn new_maker(&self) -> Option<Maker> {
        let handle = self.function.parameters.iter().rev().find_map(|parameter| Handle::of(&parameter.ctype));
        handle.map(|handle| Maker::new(handle, &self.function.name, |name| symbol(self.library, name)))
    }

    /// All combinations, or, where there are too many, each value beside good ones and a sample.
    pub fn survives_garbage(&self) {
        let sizes = self.arguments.iter().map(|argument| argument.choices.len());
        let combinations = sizes.fold(1usize, |product, size| product.checked_mul(size).unwrap());
        let before = open_descriptors();
        if combinations <= ENOUGH {
            (0..combinations).for_each(|number| _ = self.call(&self.combination(number)));
        } else {
            let mut random = Random(0x9E37_79B9_7F4A_7C15);
            self.each_beside_good_ones(|pick| _ = self.call(pick));
            (0..ENOUGH).for_each(|_| _ = self.call(&self.combination(random.below(combinations))));
        }
        if self.maker.is_some() {
            let good = self.call(&vec![0; self.arguments.len()]);
            assert!(good >= 0, "after all this a good call gives {good}");
        }
        assert_eq!(open_descriptors(), before, "descriptors have leaked");
        self.names_each_error();
        println!("{DONE}");
    }

    /// All errors that have come are those that the header names, but for those that are known.
    fn names_each_error(&self) {
        let mut found = self.undocumented.take();
        let known = undocumented::of(&self.function.name);
        let gone: Vec<&str> = known.iter().copied().filter(|name| found.remove(*name).is_none()).collect();
        let shown: Vec<String> = found.iter().map(|(name, call)| format!("  {name}: {call}")).collect();
        let function = &self.function.name;
        assert!(found.is_empty(), "the header doesn't say of {function}:\n{}", shown.join("\n"));
        assert!(gone.is_empty(), "take {gone:?} of {function} out of tests/sweep/undocumented.rs");
    }

    pub fn function(&self) -> &Function {
        &self.function
    }

    pub fn arguments(&self) -> &[Argument] {
        &self.arguments
    }

    pub fn documents(&self, error: &str) -> bool {
        self.documented.contains(error)
    }

    fn combination(&self, number: usize) -> Vec<usize> {
        let mut rest = number;
        let mut digit = |size| {
            let digit = rest % size;
            rest /= size;
            digit
        };
        self.arguments.iter().map(|argument| digit(argument.choices.len())).collect()
    }

    /// A good call must not fail by what the mistakes are about, or they would prove nothing.
    pub fn names_the_mistake(&self) {
        use libc::{EAFNOSUPPORT, EBADF, EFAULT, EINVAL, ENODEV, ENOTSOCK};
        let mistakes = [EAFNOSUPPORT, EBADF, EFAULT, EINVAL, ENODEV, ENOTSOCK];
        // To have no urgent byte, or no stream of the library's, is EINVAL too.
        let is_none_there = ["castio_recv_oob", "castio_release_stream"].contains(&self.function.name.as_str());
        let mut wrong = Vec::new();
        let good = self.call(&vec![0; self.arguments.len()]);
        let must_succeed = self.maker.is_some();
        if (mistakes.contains(&-(good as i32)) && !is_none_there) || (must_succeed && good < 0) {
            wrong.push(format!("{}({}) gives {good}", self.function.name, self.shown(&vec![0; self.arguments.len()])));
        }
        self.each_beside_good_ones(|pick| {
            let expected = self.picked(pick).find_map(|choice| choice.mistake);
            let result = self.call(pick);
            if expected.is_some_and(|errno| result != -(errno as isize)) {
                let (expected, got) = (self.name_of(-expected.unwrap()), self.name_of(result as i32));
                wrong.push(format!("{}({}): {got} and not {expected}", self.function.name, self.shown(pick)));
            }
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        println!("{DONE}");
    }

    fn each_beside_good_ones(&self, mut each: impl FnMut(&[usize])) {
        for (at, argument) in self.arguments.iter().enumerate() {
            for choice in 0..argument.choices.len() {
                let mut pick = vec![0; self.arguments.len()];
                pick[at] = choice;
                each(&pick);
            }
        }
    }

    fn picked(&self, pick: &[usize]) -> impl Iterator<Item = &Choice> {
        self.arguments.iter().zip(pick.to_vec()).map(|(argument, choice)| &argument.choices[choice])
    }

    fn shown(&self, pick: &[usize]) -> String {
        let each = self.arguments.iter().zip(self.picked(pick));
        each.map(|(argument, choice)| format!("{} = {}", argument.name, choice.label)).collect::<Vec<_>>().join("; ")
    }

    fn name_of(&self, result: i32) -> String {
        // SAFETY: takes any number and gives a static string.
        let name = unsafe { CStr::from_ptr((self.error_name)(result)) };
        if result >= 0 { result.to_string() } else { name.to_str().unwrap().to_owned() }
    }

    /// Makes one call and looks at all that it must leave alone. Its result; 0 for a string.
    fn call(&self, pick: &[usize]) -> isize {
        let shown = format!("{}({})", self.function.name, self.shown(pick));
        self.write_record(&shown);
        self.picked(pick).flat_map(|choice| &choice.memory).for_each(|memory| memory.restore());
        let lowest_before = lowest_free();
        let mut words: Vec<usize> =
            self.picked(pick).flat_map(|choice| self.words(self.maker.as_ref(), choice)).collect();
        assert_eq!(words.len(), self.function.parameters.len());
        assert!(words.len() <= 9, "{shown}: more parameters than `Any` has");
        words.resize(9, 0);
        let given = words[0] as i32;
        let takes_descriptor = self.function.parameters.first().is_some_and(|parameter| parameter.name == "fd");
        let is_taken_over = takes_descriptor && self.function.name == TAKES_OVER && given >= 0;
        if is_taken_over {
            // SAFETY: no pointer. A closed number stays one.
            let copy = unsafe { libc::fcntl(given, libc::F_DUPFD_CLOEXEC, 0) };
            words[0] = if copy < 0 { words[0] } else { copy as usize };
        }
        let fd = words[0] as i32;
        // A copy took the lowest number, which must be free again when all is done.
        let is_copy = is_taken_over && fd != given;
        let lowest = match is_copy {
            true => fd,
            // A handle of its own may have had descriptors.
            false if self.function.name.ends_with("_close") => lowest_before,
            false => lowest_free(),
        };
        let flags = status_flags(fd);
        // SAFETY: errno is this thread's own; the arguments are what the header allows.
        let ((raw, errno), state) = cancelled(|| unsafe {
            *libc::__errno_location() = 0;
            (self.with_words(&words), *libc::__errno_location())
        });
        assert_eq!(state, PTHREAD_CANCEL_ENABLE, "{shown}: the cancellation state");
        let result = self.checked_result(raw, errno, &shown);
        if takes_descriptor {
            assert_eq!(status_flags(fd), flags, "{shown}: the descriptor's mode or the descriptor itself");
        }
        self.clean_up(result, &words, is_copy);
        assert_eq!(lowest_free(), lowest, "{shown}: a descriptor has leaked");
        for choice in self.picked(pick) {
            let same = choice.memory.iter().all(|memory| memory.is_unchanged());
            assert!(
                choice.memory.iter().all(|memory| memory.gap_is_unchanged()),
                "{shown}: wrote before {}",
                choice.label
            );
            assert!(!(choice.is_counted && same), "{shown}: the count wasn't written");
            assert!(same || result >= 0 || !choice.keeps_on_failure, "{shown}: failed and changed {}", choice.label);
        }
        result
    }

    /// # Safety
    /// The arguments are what the header allows.
    unsafe fn with_words(&self, words: &[usize]) -> usize {
        let [a, b, c, d, e, f, g, h, i] = words[..] else { unreachable!() };
        // SAFETY: the caller's promise.
        unsafe { (self.address)(a, b, c, d, e, f, g, h, i) }
    }

    /// A good call in a process of its own: its arguments are those of `pick`, but for a descriptor, if it
    /// takes one, and for handles, which are made now.
    pub fn good_call(&self, pick: &[usize], fd: Option<c_int>) -> impl FnOnce() -> isize {
        let maker = self.new_maker();
        let mut words: Vec<usize> = self.picked(pick).flat_map(|choice| self.words(maker.as_ref(), choice)).collect();
        words.resize(9, 0);
        if let Some(fd) = fd {
            words[0] = fd as usize;
        }
        move || {
            // Closing what was made isn't part of the call.
            std::mem::forget(maker);
            // SAFETY: the arguments are good ones.
            let raw = unsafe { self.with_words(&words) };
            match self.function.returns.as_str() {
                "int" => raw as i32 as isize,
                "ssize_t" => raw as isize,
                _ => 0,
            }
        }
    }

    /// A function that closes a handle gets one of its own.
    fn words(&self, maker: Option<&Maker>, choice: &Choice) -> Vec<usize> {
        match maker {
            Some(maker) if choice.is_handle && self.function.name.ends_with("_close") => vec![maker.make()],
            Some(maker) if choice.is_handle => vec![maker.lasting()],
            _ => choice.words.clone(),
        }
    }

    /// The result rule: 0 or more, or a negative errno that Linux has, and errno like it.
    fn checked_result(&self, raw: usize, errno: c_int, shown: &str) -> isize {
        let result = match self.function.returns.as_str() {
            "int" => raw as i32 as isize,
            "ssize_t" => raw as isize,
            "void" => return 0,
            "uint32_t" => return raw as u32 as isize,
            "const char *" => {
                // SAFETY: the header promises a string; NULL would be a bug that shows here.
                let text = unsafe { CStr::from_ptr(raw as *const c_char) };
                assert!(!text.is_empty(), "{shown}: empty");
                return 0;
            }
            other => panic!("{shown} returns {other}: teach tests/sweep/subject.rs"),
        };
        if result < 0 {
            assert!(result >= -4095, "{shown}: {result}");
            assert_ne!(self.name_of(result as i32), "EUNKNOWN", "{shown}: {result}");
            assert_ne!(result as i32, -libc::ENOTRECOVERABLE, "{shown}: the library has panicked");
            assert_eq!(errno, -(result as i32), "{shown}: errno");
            let name = self.name_of(result as i32);
            if !self.documented.contains(&name) {
                self.undocumented.borrow_mut().entry(name).or_insert_with(|| shown.to_owned());
            }
        }
        result
    }

    /// Closes what the call has made.
    fn clean_up(&self, result: isize, words: &[usize], is_copy: bool) {
        if self.function.name.starts_with("castio_open_") && result >= 0 {
            // SAFETY: a new descriptor.
            check(unsafe { libc::close(result as i32) });
        }
        let is_made = |ctype: &str| ctype.ends_with("**") && Handle::of(ctype).is_some();
        let made = self.function.parameters.iter().position(|parameter| is_made(&parameter.ctype));
        if let (Some(maker), Some(place), true) = (&self.maker, made, result >= 0) {
            // SAFETY: the call has written a handle.
            maker.unmake(unsafe { (words[place] as *const usize).read() });
        }
        if self.function.name == TAKES_OVER && result >= 0 {
            // SAFETY: the call has written two streams.
            for place in [words[2], words[3]] {
                unsafe { libc::fclose((place as *const *mut libc::FILE).read()) };
            }
        } else if is_copy {
            // SAFETY: the copy; after a failure it is ours still.
            check(unsafe { libc::close(words[0] as i32) });
        }
    }

    fn write_record(&self, text: &str) {
        let len = text.len().min(RECORD_SIZE - 1);
        // SAFETY: the record is mapped with this size.
        unsafe {
            self.record.copy_from_nonoverlapping(text.as_ptr(), len);
            self.record.add(len).write_bytes(0, RECORD_SIZE - len);
        }
    }
}

const PTHREAD_CANCEL_ENABLE: c_int = 0;
const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_cancel(thread: libc::pthread_t) -> c_int;
}

/// Runs a call in a thread that is cancelled already: a cancellation point in it would end the process. Its
/// result, and the cancellation state that it leaves.
fn cancelled<T>(call: impl FnOnce() -> T) -> (T, c_int) {
    let mut state = 0;
    // SAFETY: the thread is this one, whose state is disabled outside of the call: nothing acts there.
    unsafe {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut state);
        pthread_cancel(libc::pthread_self());
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &raw mut state);
        let result = call();
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut state);
        (result, state)
    }
}

fn symbol(library: *mut c_void, name: &str) -> *mut c_void {
    let name = CString::new(name).unwrap();
    // SAFETY: the library is open, the name ends in a NUL.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    assert!(!found.is_null(), "{name:?} isn't there");
    found
}

/// A file as memory: what is in it stays when the process crashes.
fn map(path: &Path) -> *mut u8 {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    file.set_len(RECORD_SIZE as u64).unwrap();
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: a new mapping.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), RECORD_SIZE, access, libc::MAP_SHARED, fd, 0) };
    assert_ne!(mapped, libc::MAP_FAILED);
    mapped.cast()
}

/// O_NONBLOCK and the like; -1 if it isn't open.
fn status_flags(fd: c_int) -> c_int {
    // SAFETY: no pointer.
    unsafe { libc::fcntl(fd, libc::F_GETFL) }
}

/// The number that the next descriptor would get.
fn lowest_free() -> c_int {
    // SAFETY: no pointers; 1 is open, and the copy is ours.
    unsafe {
        let copy = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 0);
        check(libc::close(copy));
        copy
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
