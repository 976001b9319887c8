//! The C programs: linked against the library and run.
