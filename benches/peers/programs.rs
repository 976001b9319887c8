//! The programs that are compared, and building them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// How a library is found.
enum Library {
    None,
    Castio,
    /// The pkg-config module and Debian's package.
    Module(&'static str, &'static str),
    /// A header, for a library that is nothing else, and Debian's package.
    Header(&'static str, &'static str),
}

/// A program to be.
struct Recipe {
    name: &'static str,
    title: &'static str,
    source: &'static str,
    library: Library,
    is_peer: bool,
}

const fn recipe(
    name: &'static str,
    title: &'static str,
    source: &'static str,
    library: Library,
    is_peer: bool,
) -> Recipe {
    Recipe { name, title, source, library, is_peer }
}

const RECIPES: [Recipe; 9] = [
    recipe("castio", "castio", "castio.c", Library::Castio, false),
    recipe("segment", "bare UDP_SEGMENT/UDP_GRO", "segment.c", Library::None, false),
    recipe("sendmmsg", "bare sendmmsg/recvmmsg", "sendmmsg.c", Library::None, false),
    recipe("sendto", "bare sendto/recvfrom", "sendto.c", Library::None, false),
    recipe("libuv", "libuv", "libuv.c", Library::Module("libuv", "libuv1-dev"), true),
    recipe("glib", "GLib", "glib.c", Library::Module("gio-2.0", "libglib2.0-dev"), true),
    recipe("libevent", "libevent", "libevent.c", Library::Module("libevent", "libevent-dev"), true),
    recipe("apr", "APR", "apr.c", Library::Module("apr-1", "libapr1-dev"), true),
    recipe("asio", "asio", "asio.cc", Library::Header("asio.hpp", "libasio-dev"), true),
];

/// A program of the comparison.
pub struct Program {
    pub name: &'static str,
    /// With the library's version.
    pub title: String,
    /// Whether it is a library that a user may pick instead.
    pub is_peer: bool,
    /// Where it is, or what is missing.
    pub path: Result<PathBuf, String>,
}

/// Builds all of them. What isn't installed is told and stays in the list; what doesn't compile is an
/// error.
pub fn build() -> Result<Vec<Program>, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    if !works(Command::new("cc").arg("--version")) {
        return Err("no C compiler: apt install gcc".to_owned());
    }
    eprint!("building the programs");
    compile(Command::new("cc").args(C).arg("-c").arg(source("harness.c")).arg("-o").arg(folder.join("harness.o")))?;
    let made: Vec<Result<Program, String>> = thread::scope(|scope| {
        let threads: Vec<_> = RECIPES.iter().map(|recipe| scope.spawn(|| recipe.build(&folder))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    eprint!("\r\x1b[K");
    let programs = made.into_iter().collect::<Result<Vec<_>, _>>()?;
    for program in &programs {
        if let Err(missing) = &program.path {
            eprintln!("missing: {}: {missing}", program.title);
        }
    }
    Ok(programs)
}

const C: [&str; 4] = ["-std=gnu11", "-O2", "-Wall", "-Wextra"];

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/c").join(name)
}

fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn compile(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}:\n{}", String::from_utf8_lossy(&output.stderr)))
}

impl Recipe {
    fn build(&self, folder: &Path) -> Result<Program, String> {
        let (title, path) = match self.find() {
            Ok((version, flags)) => {
                let path = folder.join(self.name);
                self.compiler().arg(folder.join("harness.o")).args(flags).arg("-o").arg(&path).run()?;
                (format!("{} {version}", self.title).trim_end().to_owned(), Ok(path))
            }
            Err(package) => (self.title.to_owned(), Err(format!("not installed: apt install {package}"))),
        };
        Ok(Program { name: self.name, title, is_peer: self.is_peer, path })
    }

    fn compiler(&self) -> Command {
        let is_c = self.source.ends_with(".c");
        let mut command = Command::new(if is_c { "cc" } else { "c++" });
        if is_c {
            command.args(C);
        } else {
            command.args(["-std=c++17", "-O2", "-Wall", "-Wextra"]);
        }
        command.arg(source(self.source));
        command
    }

    /// The library's version, and what to compile with. The package where it isn't there.
    fn find(&self) -> Result<(String, Vec<String>), String> {
        match self.library {
            Library::None => Ok((String::new(), Vec::new())),
            Library::Castio => Ok((env!("CARGO_PKG_VERSION").to_owned(), castio())),
            Library::Module(module, package) => {
                let ask = |what: &[&str]| {
                    let output = Command::new("pkg-config").args(what).arg(module).output();
                    let output = output.map_err(|_| format!("pkg-config {package}"))?;
                    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                    if output.status.success() { Ok(said) } else { Err(package.to_owned()) }
                };
                let flags = ask(&["--cflags", "--libs"])?;
                Ok((ask(&["--modversion"])?, flags.split_whitespace().map(str::to_owned).collect()))
            }
            Library::Header(header, package) => {
                let mut look = Command::new("c++");
                look.args(["-std=c++17", "-dM", "-E", "-x", "c++", "-include", header, "/dev/null"]);
                let output = look.output().map_err(|_| format!("g++ {package}"))?;
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                if !output.status.success() {
                    return Err(package.to_owned());
                }
                // #define ASIO_VERSION 102201 is 1.22.1.
                let number = said.lines().find_map(|line| line.strip_prefix("#define ASIO_VERSION "));
                let number: u32 = number.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
                let version = format!("{}.{}.{}", number / 100_000, number / 100 % 1000, number % 100);
                Ok((version, vec!["-pthread".to_owned()]))
            }
        }
    }
}

/// The static library that cargo built for this benchmark, optimised as a release, lies beside it.
fn castio() -> Vec<String> {
    let library = std::env::current_exe().unwrap().with_file_name("libcastio.a");
    let include = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include");
    let native = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"];
    [include, library.to_str().unwrap()].into_iter().chain(native).map(str::to_owned).collect()
}

trait Run {
    fn run(&mut self) -> Result<(), String>;
}

impl Run for Command {
    fn run(&mut self) -> Result<(), String> {
        compile(self)
    }
}
