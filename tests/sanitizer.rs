//! AddressSanitizer is really in the library and in the C programs when a run says so: what it is
//! there to find is found. `.ci/sanitizers` makes such a run.

mod support;

use std::io::Write;
use std::path::Path;

use object::read::elf::ElfFile;
use object::{Object, ObjectSymbol};
use support::library::{self, Elf};
use support::programs::{self, BOTH};

/// The program that gives the library bad memory.
const PROGRAM: &str = "tests/c/bad_caller";

/// Whether machine code calls the sanitizer's runtime.
fn is_instrumented(code: &[u8]) -> bool {
    let elf = ElfFile::<Elf>::parse(code).unwrap();
    let mut symbols = elf.symbols().chain(elf.dynamic_symbols());
    symbols.any(|symbol| symbol.name().is_ok_and(|name| name.starts_with("__asan_report_")))
}

#[test]
fn the_sanitizer_is_in_the_library_and_in_the_c_programs() {
    let object = Path::new(env!("CASTIO_C_OBJECTS")).join(PROGRAM).with_extension("o");
    let expected = library::is_sanitized();
    assert_eq!(is_instrumented(&library::read("libcastio.so")), expected, "libcastio.so");
    assert_eq!(is_instrumented(&std::fs::read(object).unwrap()), expected, "{PROGRAM}");
}

#[test]
fn the_sanitizer_stops_bad_memory_on_its_way_through_the_library() {
    if !library::is_sanitized() {
        // No skip, which is a failure where nothing may be missing: there is a run of its own.
        let _ = writeln!(std::io::stderr(), "skipped: not built with AddressSanitizer; .ci/sanitizers does that");
        return;
    }
    for linkage in BOTH {
        let Some(program) = programs::link(PROGRAM, linkage) else { return };
        for (mistake, found, function) in [
            ("short", "heap-buffer-overflow", "castio_strerror"),
            ("freed", "heap-use-after-free", "castio_write_all"),
            ("leak", "detected memory leaks", "bad_caller"),
        ] {
            let finished = program.run(&[mistake]);
            assert!(!finished.status.success(), "{linkage:?} {mistake}: {finished:?}");
            // On its way through the library, not before.
            for part in [found, function] {
                assert!(finished.errors.contains(part), "{linkage:?} {mistake}: no {part} in {}", finished.errors);
            }
        }
        assert!(program.run(&[]).passed());
    }
}
