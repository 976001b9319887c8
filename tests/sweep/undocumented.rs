//! Errors that come out of functions whose documentation doesn't name them yet. One that is documented, or
//! comes no more, fails the sweep until it is taken out here.

/// By function.
const KNOWN: &[(&str, &[&str])] = &[];

/// What is known of a function.
pub fn of(function: &str) -> &'static [&'static str] {
    KNOWN.iter().find(|(name, _)| *name == function).map_or(&[], |(_, errors)| errors)
}

/// Likewise of those that come when a system call fails, and of what is changed then.
const AFTER_A_FAULT: &[(&str, &[&str])] = &[];

/// What is known of a function, when a system call of it fails.
pub fn after_a_fault(function: &str) -> &'static [&'static str] {
    AFTER_A_FAULT.iter().find(|(name, _)| *name == function).map_or(&[], |(_, errors)| errors)
}
