//! What the built libraries export and ask for: the header's functions, all of them, and no more.

mod support;

use std::collections::BTreeSet;

use object::elf::{DT_NEEDED, DT_SONAME};
use object::read::archive::ArchiveFile;
use object::read::elf::{Dyn, ElfFile, FileHeader, SectionHeader};
use object::{Object, ObjectSymbol};
use support::declarations;
use support::library::{self, Elf};
use support::programs::{self, BOTH};

fn declared() -> BTreeSet<String> {
    declarations::castio_h().functions.into_iter().map(|function| function.name).collect()
}

#[test]
fn the_shared_library_exports_what_the_header_declares_and_nothing_else() {
    let exported = library::exported();
    let declared = declared();
    let undeclared: Vec<_> = exported.difference(&declared).collect();
    let missing: Vec<_> = declared.difference(&exported).collect();
    assert!(undeclared.is_empty(), "exported and not in the header: {undeclared:?}");
    assert!(missing.is_empty(), "in the header and not exported: {missing:?}");
    assert!(declared.iter().all(|name| name.starts_with("castio_")), "{declared:?}");
}

#[test]
fn the_static_library_defines_the_same_functions() {
    let library = library::read("libcastio.a");
    let archive = ArchiveFile::parse(&*library).unwrap();
    let mut defined = BTreeSet::new();
    for member in archive.members() {
        let object = member.unwrap().data(&*library).unwrap();
        // rustc's metadata isn't an object.
        if !object.starts_with(b"\x7fELF") {
            continue;
        }
        let elf = ElfFile::<Elf>::parse(object).unwrap();
        let global = elf.symbols().filter(|symbol| symbol.is_definition() && symbol.is_global());
        let ours = global.filter_map(|symbol| Some(symbol.name().ok()?.to_owned()));
        defined.extend(ours.filter(|name| name.starts_with("castio_")));
    }
    assert_eq!(defined, declared());
}

/// The strings of the dynamic section's entries with this tag.
fn dynamic_strings(library: &[u8], tag: u32) -> Vec<String> {
    let elf = Elf::parse(library).unwrap();
    let endian = elf.endian().unwrap();
    let sections = elf.sections(endian, library).unwrap();
    let (entries, link) = sections
        .iter()
        .find_map(|section| section.dynamic(endian, library).unwrap())
        .expect("a shared library has a dynamic section");
    let strings = sections.strings(endian, library, link).unwrap();
    let of_tag = entries.iter().filter(|entry| entry.tag32(endian) == Some(tag));
    of_tag.map(|entry| String::from_utf8(entry.string(endian, strings).unwrap().to_vec()).unwrap()).collect()
}

#[test]
fn the_shared_library_has_a_versioned_name() {
    assert_eq!(dynamic_strings(&library::read("libcastio.so"), DT_SONAME), ["libcastio.so.0"]);
}

/// std's own keys of hash maps: making them panics in a process without getrandom(2) and /dev/urandom.
#[test]
fn the_shared_library_has_no_hasher_that_can_panic() {
    use object::{Object, ObjectSymbol};
    let code = library::read("libcastio.so");
    let elf = object::File::parse(code.as_slice()).unwrap();
    let found: Vec<_> = elf.symbols().filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect();
    assert!(found.iter().any(|name| name.contains("contained")), "the debug build has its symbols");
    assert!(!found.iter().any(|name| name.contains("hashmap_random_keys")));
}

/// The C library, the compiler's unwinder and the loader: every Linux with glibc has these.
#[test]
fn the_shared_library_needs_the_c_library_alone() {
    for needed in dynamic_strings(&library::read("libcastio.so"), DT_NEEDED) {
        let known = ["libc.so.6", "libgcc_s.so.1"].contains(&needed.as_str()) || needed.starts_with("ld-linux");
        assert!(known, "libcastio.so needs {needed}");
    }
}

/// A C program compares the header's macros with what the library says that it runs with.
#[test]
fn the_versions_of_header_and_library_agree() {
    for linkage in BOTH {
        let Some(program) = programs::link("tests/c/header_version", linkage) else { return };
        let finished = program.run(&[]);
        assert!(finished.passed());
        assert!(finished.output.contains(concat!("library ", env!("CARGO_PKG_VERSION"))), "{}", finished.output);
    }
}
