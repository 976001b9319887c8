//! Values that live until the process ends.

use std::sync::Mutex;

/// Where they are: memory that nothing points to any more would be a leak to the sanitizer.
static ALL: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Keeps a value for ever.
pub fn for_ever<T>(value: T) -> &'static mut T {
    let kept = Box::leak(Box::new(value));
    ALL.lock().unwrap().push((&raw const *kept).addr());
    kept
}
