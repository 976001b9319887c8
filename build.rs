//! Sets the soname; under the feature `c-examples` compiles every C program of the repository.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcastio.so.0");
    }
    #[cfg(feature = "c-examples")]
    c_programs::compile();
}

#[cfg(feature = "c-examples")]
mod c_programs {
    use std::path::{Path, PathBuf};

    /// Where C programs live: each `.c` file is one program.
    const FOLDERS: [&str; 2] = ["c_examples", "tests/c"];

    /// Compiles each program to an object; tests link them and find them by this variable.
    pub fn compile() {
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        println!("cargo:rustc-env=CASTIO_C_OBJECTS={}", out.display());
        println!("cargo:rerun-if-changed=include/castio.h");
        for folder in FOLDERS {
            println!("cargo:rerun-if-changed={folder}");
            let objects = out.join(folder);
            for source in sources(Path::new(folder)) {
                object(&source, &objects);
            }
        }
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "c"))
            .collect();
        found.sort();
        found
    }

    /// `folder/name.c` becomes `objects/name.o`, under the name that the tests look for.
    fn object(source: &Path, objects: &Path) {
        let made = cc::Build::new()
            .file(source)
            .include("include")
            .std("c99")
            .define("_POSIX_C_SOURCE", "200809L")
            .warnings(true)
            .extra_warnings(true)
            .warnings_into_errors(true)
            .cargo_metadata(false)
            .out_dir(objects)
            .try_compile_intermediates()
            .unwrap_or_else(|error| {
                panic!("{} doesn't compile: {error}\nA C compiler is needed: apt install gcc", source.display())
            });
        let name = source.file_stem().expect("a source has a name");
        let plain = objects.join(name).with_extension("o");
        std::fs::copy(&made[0], plain).expect("the object can be copied");
    }
}
