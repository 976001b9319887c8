//! Called from another language: Python drives the built library by ctypes.

mod support;

use std::path::Path;

use support::{hosts, library, tools};

#[test]
fn python_calls_the_library_and_the_other_end_sees_it() {
    let Some(python) = tools::find("python3", "python3") else { return };
    if library::is_sanitized() {
        return tools::skip("the sanitizer's runtime would have to be in Python itself");
    }
    // In a network of its own, so that the group's datagram can't meet anybody else.
    hosts::test(|network| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/castio_from_python.py");
        let host = network.host("python");
        let said = host.run(|| python.command().arg(&script).arg(library::path("libcastio.so")).output().unwrap());
        let (printed, errors) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert!(said.status.success(), "{}\n{printed}\n{errors}", said.status);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(
            lines,
            [
                concat!("version: ", env!("CARGO_PKG_VERSION")),
                "gather: 20 bytes of 4 buffers arrived as 'gathered from Python'",
                "peek: 10 bytes wait, the first are 'HELLO', and recv still took 10",
                "join: 239.77.1.2 on lo received 'to the group'",
                "ttl: the receiver saw TTL 7",
                "error: -9 is EBADF, 'Bad file descriptor', and errno is 9",
            ]
        );
    });
}
