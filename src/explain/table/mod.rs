//! The table of every error that a function of the C face documents: its cause, and its cure.
//!
//! Each file is one text of lines, four to a row, so that the library has nothing to relocate when it
//! is loaded; a row is looked up so rarely that reading them all costs nothing. tests/explain.rs holds
//! the table to the header, in both directions, and writes docs/errors.md from it.

use crate::error::{Errno, Result};

/// Makes a file's text of its rows: an errno, the functions that give it (without the prefix;
/// `join_group[_addr]` is `join_group` and `join_group_addr`), its cause and its cure.
macro_rules! rows {
    ($($errno:ident: $functions:expr => $cause:literal => $cure:literal;)*) => {
        $(const _: crate::error::Errno = crate::error::Errno::$errno;)*
        pub(super) const ROWS: &str =
            concat!($(stringify!($errno), "\n", $functions, "\n", $cause, "\n", $cure, "\n"),*);
    };
}

mod amt;
mod amt_relay;
mod any;
mod broadcast;
mod datagram;
mod diagnose;
mod everywhere;
mod membership;
mod multicast;
mod transfer;
mod tunnel;
mod urgent;

/// Each file, by its name.
const FILES: [(&str, &str); 11] = [
    ("everywhere", everywhere::ROWS),
    ("transfer", transfer::ROWS),
    ("urgent", urgent::ROWS),
    ("multicast", multicast::ROWS),
    ("membership", membership::ROWS),
    ("broadcast", broadcast::ROWS),
    ("datagram", datagram::ROWS),
    ("tunnel", tunnel::ROWS),
    ("amt_relay", amt_relay::ROWS),
    ("amt", amt::ROWS),
    ("diagnose", diagnose::ROWS),
];

/// What is said of every function.
const OF_ANY: [(&str, &str); 1] = [("any", any::ROWS)];

/// Functions that never fail, and so are in no row.
pub const NEVER_FAIL: &str = "version version_number error_name finding_name sender_close receiver_close membership_close amt_relay_close \
     amt_close subscription_close tunnel_close bridge_close";

/// The second form of some functions, which has the errors of the first.
const TWIN: &str = "_addr";

/// One errno of some functions that all mean the same by it.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub errno: &'static str,
    /// The functions, with spaces between them.
    functions: &'static str,
    /// Why: a sentence that goes on behind a colon.
    pub cause: &'static str,
    /// What to do: a sentence, or some.
    pub cure: &'static str,
    /// The file that it stands in, without its folder and ending.
    pub file: &'static str,
}

impl Row {
    /// The functions' names without the prefix; a name's second word is what its twin ends in, if it
    /// has one.
    pub fn functions(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> + use<> {
        self.functions.split(' ').map(|name| match name.strip_suffix("[_addr]") {
            Some(first) => (first, Some(TWIN)),
            None => (name, None),
        })
    }

    #[inline(never)]
    fn is_of(&self, function: &str) -> bool {
        self.functions().any(|(name, twin)| match function.strip_prefix(name) {
            Some("") => true,
            rest => rest.is_some() && rest == twin,
        })
    }
}

/// All rows, in the order in which they stand.
pub fn rows() -> Rows {
    Rows { files: FILES.iter(), file: "", lines: "".lines() }
}

/// The rows of what any function may fail with, each for the functions that have none of their own.
pub fn rows_of_any() -> Rows {
    Rows { files: OF_ANY.iter(), file: "", lines: "".lines() }
}

/// See [`rows`].
pub struct Rows {
    files: std::slice::Iter<'static, (&'static str, &'static str)>,
    file: &'static str,
    lines: std::str::Lines<'static>,
}

impl Iterator for Rows {
    type Item = Row;

    #[inline(never)] // Small rather than fast, like all of this.
    fn next(&mut self) -> Option<Row> {
        let errno = loop {
            match self.lines.next() {
                Some(errno) => break errno,
                None => {
                    let (file, text) = self.files.next()?;
                    (self.file, self.lines) = (file, text.lines());
                }
            }
        };
        let mut line = || self.lines.next().unwrap_or_default();
        Some(Row { errno, functions: line(), cause: line(), cure: line(), file: self.file })
    }
}

/// The row of an errno, by its name, from a function, if there is one. `EINVAL` if the C face has no such
/// function.
pub(super) fn find(errno: &str, function: &str) -> Result<Option<Row>> {
    if NEVER_FAIL.split(' ').any(|name| name == function) {
        return Ok(None);
    }
    let mut is_function = false;
    for row in rows().filter(|row| row.is_of(function)) {
        if row.errno == errno {
            return Ok(Some(row));
        }
        is_function = true;
    }
    let of_any = rows_of_any().find(|row| row.errno == errno);
    if is_function { Ok(of_any) } else { Err(Errno::EINVAL) }
}
