//! Programs that a test needs: found, or skipped with the reason and what to install.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program on this machine.
pub struct Tool(PathBuf);

impl Tool {
    pub fn name(&self) -> &str {
        self.0.file_name().and_then(OsStr::to_str).unwrap()
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn command(&self) -> Command {
        Command::new(&self.0)
    }
}

/// A program by name, or a skip that says which package has it.
pub fn find(name: &str, package: &str) -> Option<Tool> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("{name} isn't installed; apt install {package}"));
    }
    found.map(Tool)
}

/// Tells why a test isn't run. Where nothing may be missing (CASTIO_NO_SKIP is set) that is a failure.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CASTIO_NO_SKIP").is_none(), "skipped, and CASTIO_NO_SKIP is set: {reason}");
    // To the terminal itself: the test runner keeps what a passing test prints.
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
