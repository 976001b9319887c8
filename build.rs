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
    use std::process::{Command, Stdio};

    /// Where C programs live: each `.c` file is one program, and a folder of its name holds its
    /// other parts.
    const FOLDERS: [&str; 2] = ["c_examples", "tests/c"];

    /// Compiles each program to objects, `name.o` and `name/part.o`; tests link them and find them
    /// by these variables.
    pub fn compile() {
        let out = out_dir();
        println!("cargo:rustc-env=CASTIO_C_OBJECTS={}", out.display());
        println!("cargo:rustc-env=CASTIO_NATIVE_LIBRARIES={}", native_libraries());
        println!("cargo:rerun-if-changed=include/castio.h");
        for folder in FOLDERS {
            let objects = out.join(folder);
            // An object whose source is gone would still be linked and run.
            let _ = std::fs::remove_dir_all(&objects);
            println!("cargo:rerun-if-changed={folder}");
            for program in sources(Path::new(folder)) {
                object(&program, &objects);
                let name = program.file_stem().expect("a source has a name");
                for part in sources(&program.with_extension("")) {
                    object(&part, &objects.join(name));
                }
            }
        }
    }

    fn out_dir() -> PathBuf {
        PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"))
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
            .flag("-Wpedantic")
            .warnings_into_errors(true)
            .cargo_metadata(false)
            .out_dir(objects.join("compiled"))
            .try_compile_intermediates()
            .unwrap_or_else(|error| {
                panic!("{} doesn't compile: {error}\nA C compiler is needed: apt install gcc", source.display())
            });
        let name = source.file_stem().expect("a source has a name");
        let plain = objects.join(name).with_extension("o");
        std::fs::copy(&made[0], plain).expect("the object can be copied");
    }

    /// What a program that takes the static library links besides. rustc knows; an empty library
    /// of the same target makes it say so.
    fn native_libraries() -> String {
        let set = |name| std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
        let output = Command::new(set("RUSTC"))
            .args(["--crate-type=staticlib", "--crate-name=empty", "--print=native-static-libs", "-o"])
            .arg(out_dir().join("libempty.a"))
            .arg("--target")
            .arg(set("TARGET"))
            .arg("-")
            .stdin(Stdio::null())
            .output()
            .expect("rustc runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let found = said.lines().find_map(|line| line.split_once("native-static-libs: "));
        found.unwrap_or_else(|| panic!("rustc names no native libraries: {said}")).1.to_owned()
    }
}
