//! What an errno means coming from one function of the C face, and what to do about it.

pub mod table;

use std::ffi::CStr;
use std::fmt;

use crate::error::{self, Errno, Result};
use table::Row;

/// What every function of the C face is called before its own name.
pub const PREFIX: &str = "castio_";

/// What to say of a name that no function has.
pub const NO_SUCH_FUNCTION: &str = "castio has no function of that name";

/// An error number explained; its text is made as it is written, without allocating.
#[derive(Clone, Copy, Debug)]
pub struct Explanation<'a> {
    code: i32,
    /// The function's name without the prefix.
    function: Option<&'a str>,
    row: Option<Row>,
}

/// Explains an error number, negative or positive, that a function returned; without a function, what
/// it means in general. `EINVAL` if there is no such function.
pub fn explain(code: i32, function: Option<&CStr>) -> Result<Explanation<'_>> {
    let Some(function) = function else {
        return Ok(Explanation { code, function: None, row: None });
    };
    let name = function.to_str().map_err(|_| Errno::EINVAL)?;
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    Ok(Explanation { code, function: Some(name), row: table::find(errno_name(code), name)? })
}

fn errno_name(code: i32) -> &'static str {
    error::name(code).to_str().unwrap_or_default()
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(errno_name(self.code))?;
        if self.code == 0 {
            return Ok(());
        }
        if let Some(function) = self.function {
            write!(f, " from {PREFIX}{function}")?;
        }
        match (self.row, error::text(self.code)) {
            (Some(Row { cause, cure, .. }), _) => write!(f, ": {cause} {cure}"),
            (None, Some(text)) => write!(f, ": {text}"),
            (None, None) => write!(f, ": Unknown error {}", self.code.unsigned_abs()),
        }
    }
}
