//! `--help`, the same for all.

/// Whether it is asked for; then it is given.
pub fn is_asked_for(text: &str) -> bool {
    let is_asked = std::env::args().any(|argument| argument == "--help" || argument == "-h");
    if is_asked {
        println!("{text}");
    }
    is_asked
}
