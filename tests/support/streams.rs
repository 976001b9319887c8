//! Both streams of a socket, and what stdio does with them.

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::ptr;

use castio::ffi::stdio::castio_fdopen;
use libc::FILE;

/// The two streams, for threads that share them: stdio has its own locks.
#[derive(Clone, Copy)]
pub struct Streams {
    pub input: *mut FILE,
    pub output: *mut FILE,
}

// SAFETY: a FILE is locked by each call.
unsafe impl Send for Streams {}
// SAFETY: likewise.
unsafe impl Sync for Streams {}

impl Streams {
    pub fn open(socket: OwnedFd, timeout_ms: i32) -> Streams {
        let (mut input, mut output) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the socket is handed over, and there is room for two streams.
        let result = unsafe { castio_fdopen(socket.into_raw_fd(), timeout_ms, &raw mut input, &raw mut output) };
        assert_eq!(result, 0);
        Streams { input, output }
    }

    pub fn print(self, text: &CStr) {
        // SAFETY: an open stream, and text that ends in a NUL.
        let printed = unsafe { libc::fprintf(self.output, c"%s, %d\n".as_ptr(), text.as_ptr(), 4711 as c_int) };
        assert_eq!(printed as usize, text.to_bytes().len() + 7);
    }

    pub fn write(self, bytes: &[u8]) -> usize {
        // SAFETY: an open stream, and readable bytes.
        unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), self.output) }
    }

    pub fn flush(self) -> c_int {
        // SAFETY: an open stream.
        unsafe { libc::fflush(self.output) }
    }

    pub fn read(self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        // SAFETY: an open stream, and room for the bytes.
        let count = unsafe { libc::fread(bytes.as_mut_ptr().cast(), 1, len, self.input) };
        bytes.truncate(count);
        bytes
    }

    /// By fgets(3); `None` at the end and on error.
    pub fn line(self) -> Option<String> {
        let mut line = [0 as c_char; 200];
        // SAFETY: an open stream, and room for the line, which ends in a NUL.
        unsafe {
            let found = libc::fgets(line.as_mut_ptr(), line.len() as c_int, self.input);
            (!found.is_null()).then(|| CStr::from_ptr(found).to_str().unwrap().to_owned())
        }
    }

    /// By getline(3).
    pub fn long_line(self) -> Option<Vec<u8>> {
        let (mut line, mut room) = (ptr::null_mut::<c_char>(), 0);
        // SAFETY: an open stream; the line is allocated by getline and freed once.
        unsafe {
            let len = libc::getline(&raw mut line, &raw mut room, self.input);
            let bytes =
                usize::try_from(len).ok().map(|len| std::slice::from_raw_parts(line.cast::<u8>(), len).to_vec());
            libc::free(line.cast());
            bytes
        }
    }

    pub fn close_input(self) -> c_int {
        // SAFETY: open, and closed once.
        unsafe { libc::fclose(self.input) }
    }

    pub fn close_output(self) -> c_int {
        // SAFETY: open, and closed once.
        unsafe { libc::fclose(self.output) }
    }

    pub fn close(self) {
        self.close_output();
        self.close_input();
    }
}

pub fn has_error(stream: *mut FILE) -> bool {
    // SAFETY: an open stream.
    unsafe { libc::ferror(stream) != 0 }
}

pub fn clear_error(stream: *mut FILE) {
    // SAFETY: an open stream.
    unsafe { libc::clearerr(stream) }
}
