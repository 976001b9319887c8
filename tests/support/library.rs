//! The libraries as `cargo test` built them, beside the test itself.

use std::collections::BTreeSet;
use std::path::PathBuf;

use object::read::elf::ElfFile;
use object::{Endianness, Object, ObjectSymbol};

#[cfg(target_pointer_width = "64")]
pub type Elf = object::elf::FileHeader64<Endianness>;
#[cfg(target_pointer_width = "32")]
pub type Elf = object::elf::FileHeader32<Endianness>;

/// Where one of them is: "libcastio.so", "libcastio.a".
pub fn path(name: &str) -> PathBuf {
    std::env::current_exe().unwrap().with_file_name(name)
}

pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// Whether this run has AddressSanitizer in the library and in the C programs.
pub fn is_sanitized() -> bool {
    std::env::var("CASTIO_SANITIZE").is_ok_and(|which| which == "address")
}

/// The names that the shared library defines for others, without those of a sanitizer.
pub fn exported() -> BTreeSet<String> {
    let library = read("libcastio.so");
    let elf = ElfFile::<Elf>::parse(&*library).unwrap();
    let defined = elf.dynamic_symbols().filter(|symbol| symbol.is_definition());
    let names = defined.map(|symbol| symbol.name().unwrap().to_owned());
    names.filter(|name| !(is_sanitized() && name.starts_with("__"))).collect()
}
