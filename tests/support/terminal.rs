//! A program at a terminal: what it shows there, Ctrl-C, and how it leaves the terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::hosts;

/// Killed when dropped.
pub struct Terminal {
    child: Child,
    master: File,
    slave: OwnedFd,
    settings: Vec<u32>,
    shown: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts a command at a terminal of its own, of 24 lines and 120 columns.
    pub fn start(mut command: Command) -> Terminal {
        let (master, slave) = open();
        let end = || slave.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm");
        let take = || {
            // SAFETY: no more than system calls, between fork and exec.
            let result = unsafe { if libc::setsid() < 0 { -1 } else { libc::ioctl(0, libc::TIOCSCTTY, 0) } };
            if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        };
        // SAFETY: as said in the closure.
        unsafe { command.pre_exec(take) };
        let settings = settings(&slave);
        let child = command.spawn().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let reader = read_into(master.try_clone().unwrap(), Arc::clone(&shown));
        Terminal { child, master, slave, settings, shown, reader: Some(reader) }
    }

    /// All that was shown so far, as it was written.
    pub fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Waits until what was shown is so.
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        hosts::until(what, || is_so(&self.shown()));
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&mut self) {
        self.master.write_all(b"\x03").unwrap();
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads one winsize.
        assert_eq!(unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// Waits for its end. The terminal has to be as it was before: its settings, the cursor, wrapping.
    pub fn finish(mut self) -> (ExitStatus, String) {
        let mut ended = None;
        hosts::until("the program ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(settings(&self.slave), self.settings);
        // The reader comes to its end when nobody has the terminal open any more.
        let null = File::open("/dev/null").unwrap();
        drop(std::mem::replace(&mut self.slave, null.into()));
        self.reader.take().unwrap().join().unwrap();
        let shown = self.shown();
        for mode in ["\x1b[?25", "\x1b[?7", "\x1b[?1049"] {
            let (off, on) = if mode.ends_with("1049") { ('h', 'l') } else { ('l', 'h') };
            assert!(shown.rfind(&format!("{mode}{off}")) <= shown.rfind(&format!("{mode}{on}")), "{mode:?}: {shown:?}");
        }
        (ended.unwrap(), shown)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open() -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let null = std::ptr::null_mut();
    // SAFETY: two places, no name, the kernel's own settings, and a size.
    let result = unsafe { libc::openpty(&raw mut master, &raw mut slave, null, null.cast(), &raw const size) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    for fd in [master, slave] {
        // SAFETY: no memory involved.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: openpty has just made both.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

fn settings(slave: &OwnedFd) -> Vec<u32> {
    // SAFETY: all zeros is a termios, and there is a place for one.
    let found = unsafe {
        let mut found: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(slave.as_raw_fd(), &raw mut found), 0);
        found
    };
    let flags = [found.c_iflag, found.c_oflag, found.c_cflag, found.c_lflag];
    flags.into_iter().chain(found.c_cc.map(u32::from)).collect()
}

fn read_into(mut master: File, shown: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    })
}

pub fn has_colours(shown: &str) -> bool {
    let parts = shown.split("\x1b[").skip(1);
    parts.into_iter().any(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
}

/// Without colours and movements of the cursor.
pub fn plain(shown: &str) -> String {
    let mut parts = shown.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit() || ";?".contains(c)));
    rest.fold(first, |text, part| text + part.get(1..).unwrap_or_default())
}
