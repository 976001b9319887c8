//! The header: generated, current, and one that every C and C++ compiler takes.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::declarations::{self, Header};
use support::tools::{self, Tool};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/castio.h")
}

/// What goes between the includes and the first declaration. The version has one source, Cargo.toml.
fn prologue() -> String {
    let part = |text: &str| text.parse::<u32>().unwrap();
    let (major, minor, patch) = (
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    );
    let number = major * 1_000_000 + minor * 1_000 + patch;
    format!(
        "\n/* The version of this header. castio_version_number() is the library's. */\n\
         #define CASTIO_VERSION_MAJOR {major}\n\
         #define CASTIO_VERSION_MINOR {minor}\n\
         #define CASTIO_VERSION_PATCH {patch}\n\
         #define CASTIO_VERSION_NUMBER {number}\n\
         #define CASTIO_VERSION_STRING \"{major}.{minor}.{patch}\"\n\
         \n#ifdef __cplusplus\nextern \"C\" {{\n#endif"
    )
}

/// The files of the C face, in the order in which `src/ffi/mod.rs` names them.
fn rooms(module: &Path) -> Vec<PathBuf> {
    let folder = module.parent().unwrap();
    let text = fs::read_to_string(module).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names
        .flat_map(|name| match folder.join(name).join("mod.rs") {
            inner if inner.is_file() => rooms(&inner),
            _ => vec![folder.join(format!("{name}.rs"))],
        })
        .collect()
}

/// A heading above the first function of a room: the first line of its file.
fn with_heading(header: String, room: &Path) -> String {
    let text = fs::read_to_string(room).unwrap();
    let title = text.lines().next().unwrap().trim_start_matches("//! ").trim_end_matches('.');
    let (_, after) = text.split_once("extern \"C\" fn ").unwrap();
    let function = format!("{}(", after.split_once('(').unwrap().0);
    // The declaration, not a mention in a comment.
    let is_declaration = |at: &usize| {
        let line = header[..*at].rsplit('\n').next().unwrap();
        !line.trim_start().starts_with('*') && line.ends_with([' ', '*'])
    };
    let at = header.match_indices(&function).map(|(at, _)| at).find(is_declaration);
    let comment = header[..at.unwrap()].rfind("/**").unwrap();
    let rule = "=".repeat(96 - title.len());
    format!("{}/* {title} {rule} */\n\n{}", &header[..comment], &header[comment..])
}

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    config.after_includes = Some(prologue());
    let rooms = rooms(&root.join("src/ffi/mod.rs"));
    let builder = cbindgen::Builder::new().with_src(root.join("src/sys/c_types.rs"));
    let builder = rooms.iter().fold(builder, |builder, room| builder.with_src(room));
    let mut text = Vec::new();
    builder.with_config(config).generate().unwrap().write(&mut text);
    let mut header = String::from_utf8(text).unwrap();
    while header.contains("\n\n\n") {
        header = header.replace("\n\n\n", "\n\n");
    }
    rooms.iter().fold(header, |header, room| with_heading(header, room))
}

#[test]
fn the_committed_header_is_what_the_source_says() {
    let generated = generated();
    if std::env::var_os("UPDATE_HEADER").is_some() {
        // At one stroke: the compilers of the other tests read it meanwhile.
        let new = committed().with_extension("h.new");
        fs::write(&new, &generated).unwrap();
        fs::rename(new, committed()).unwrap();
    }
    let committed = fs::read_to_string(committed()).unwrap();
    assert!(committed == generated, "include/castio.h is out of date: run UPDATE_HEADER=1 cargo test --test header");
}

/// Compiles a program that uses nothing but the header, once and twice included.
fn compiles(compiler: &Tool, language: &str, standard: &str) {
    let folder = tempfile::tempdir().unwrap();
    let strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"];
    for (name, includes) in [("alone", 1), ("twice", 2)] {
        let source = folder.path().join(format!("{name}.{language}"));
        let text = "#include <castio.h>\n".repeat(includes)
            + "int main(void) { return castio_version_number() != CASTIO_VERSION_NUMBER; }\n";
        fs::write(&source, text).unwrap();
        let mut command = compiler.command();
        command.arg(format!("-std={standard}")).arg("-I").arg(committed().parent().unwrap());
        if compiler.name() == "tcc" {
            command.args(["-Wall", "-Werror", "-c", "-o"]).arg(folder.path().join("out.o"));
        } else {
            command.args(strict);
        }
        let output = command.arg(&source).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} -std={standard}, {name}: {said}", compiler.name());
    }
}

#[test]
fn gcc_takes_it_in_every_standard() {
    let Some(gcc) = tools::find("gcc", "gcc") else { return };
    for standard in ["c99", "c11", "c17", "c2x"] {
        compiles(&gcc, "c", standard);
    }
    let Some(gpp) = tools::find("g++", "g++") else { return };
    for standard in ["c++11", "c++14", "c++17", "c++20"] {
        compiles(&gpp, "cc", standard);
    }
}

#[test]
fn clang_takes_it_in_every_standard() {
    let Some(clang) = tools::find("clang", "clang") else { return };
    for standard in ["c99", "c11", "c17", "c2x"] {
        compiles(&clang, "c", standard);
    }
    let Some(clangpp) = tools::find("clang++", "clang") else { return };
    for standard in ["c++11", "c++14", "c++17", "c++20"] {
        compiles(&clangpp, "cc", standard);
    }
}

#[test]
fn tcc_takes_it() {
    let Some(tcc) = tools::find("tcc", "tcc") else { return };
    compiles(&tcc, "c", "c99");
    compiles(&tcc, "c", "c11");
}

/// Every complaint about what a foreign function interface can't express, or what couldn't grow
/// without breaking programs that are compiled already.
fn complaints(header: &Header) -> Vec<String> {
    let scalars =
        ["int", "unsigned int", "size_t", "ssize_t", "socklen_t", "pid_t", "uint16_t", "uint32_t", "uint64_t"];
    let is_plain = |ctype: &str| ctype.ends_with('*') || scalars.contains(&ctype);
    let words = ["enum", "union", "typedef", "static", "inline", "bool", "_Bool", "long", "float", "double", "extern"];
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut found = Vec::new();

    let (_, inside) = header.code.split_once("extern \"C\" {").unwrap();
    found.extend(inside.split(|letter| !is_of_name(letter)).filter(|word| words.contains(word)).map(str::to_owned));
    found.extend(["...", "(*", ":"].iter().filter(|sign| inside.contains(**sign)).map(|sign| (*sign).to_owned()));
    for function in &header.functions {
        let returns = Some(&function.returns).filter(|ctype| *ctype != "void");
        let types = function.parameters.iter().map(|parameter| &parameter.ctype).chain(returns);
        found.extend(types.filter(|ctype| !is_plain(ctype)).map(|ctype| format!("{}: {ctype}", function.name)));
    }
    for made in &header.structs {
        let first = made.members.first().map(|member| (member.ctype.as_str(), member.name.as_str()));
        if first != Some(("size_t", "struct_size")) {
            found.push(format!("struct {} doesn't start with its size", made.name));
        }
    }
    for handle in &header.opaque {
        let close = format!("{handle}_close");
        if !header.functions.iter().any(|function| function.name == close && function.returns == "void") {
            found.push(format!("struct {handle} is never closed"));
        }
    }
    for line in &header.macros {
        let name = line.split_whitespace().next().unwrap();
        if !name.starts_with("CASTIO_") || name.contains('(') {
            found.push(format!("#define {line}"));
        }
    }
    found
}

#[test]
fn it_holds_nothing_that_another_language_cannot_call() {
    let header = declarations::castio_h();
    assert!(header.functions.len() > 60 && header.structs.len() >= 2 && header.macros.len() > 10);
    assert_eq!(complaints(&header), Vec::<String>::new());
}

/// The test above looks for these; here it finds each.
#[test]
fn what_another_language_cannot_call_is_found() {
    for bad in [
        "int castio_printf(const char *format, ...);",
        "int castio_send(struct castio_message message);",
        "struct in_addr castio_address(void);",
        "enum castio_state castio_look(int fd);",
        "int castio_each(int (*visit)(int));",
        "long castio_length(void);",
        "static inline int castio_zero(void);",
        "struct castio_flags { size_t struct_size; unsigned int on: 1; };",
        "struct castio_fixed { int first; };",
        "int castio_take(void nothing);",
        "struct castio_lost;",
        "struct castio_whole; void castio_whole_close(struct castio_whole whole);",
        "\n#define CASTIO_MAX(a, b) a\n",
        "\n#define BUFFER_SIZE 10\n",
    ] {
        let text = format!("#ifdef __cplusplus\nextern \"C\" {{\n#endif\n{bad}\n#ifdef __cplusplus\n}}\n#endif\n");
        // Where it isn't even taken for a declaration, that is a failure of the test above too.
        let refused = std::panic::catch_unwind(|| !complaints(&declarations::parse(&text)).is_empty());
        assert!(refused.unwrap_or(true), "not found: {bad}");
    }
}
