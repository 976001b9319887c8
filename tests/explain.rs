//! `castio_explain`: its text, its table against the header, and the document that is made of it.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, c_char};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::ptr;

use castio::error;
use castio::explain::table::{NEVER_FAIL, Row, rows, rows_of_any};
use castio::ffi::explain::castio_explain;
use castio::ffi::multicast::membership::{castio_join_group, castio_leave_group};
use castio::ffi::vectored::castio_iov_length;
use support::descriptors::errno;
use support::{declarations, errors};

/// The functions of a row, in full.
fn functions(row: &Row) -> Vec<String> {
    let names = row.functions().map(|(name, twin)| (format!("castio_{name}"), twin));
    names.flat_map(|(name, twin)| [twin.map(|twin| format!("{name}{twin}")), Some(name)]).flatten().collect()
}

/// What castio_explain writes, and what it returns.
fn explain_in(room: usize, code: i32, call: Option<&str>) -> (String, i32) {
    let call = call.map(|call| CString::new(call).unwrap());
    let call = call.as_ref().map_or(ptr::null(), |call| call.as_ptr());
    let mut buf = vec![b'#'; room + 4];
    // SAFETY: there is room, and a little behind it.
    let len = unsafe { castio_explain(code, call, buf.as_mut_ptr().cast::<c_char>(), room) };
    assert_eq!(buf[room..], *b"####", "nothing is written behind the room");
    let end = buf[..room].iter().position(|byte| *byte == 0).expect("a NUL within the room");
    (String::from_utf8(buf[..end].to_vec()).unwrap(), len)
}

/// The whole text.
#[track_caller]
fn explain(code: i32, call: Option<&str>) -> String {
    let (text, len) = explain_in(512, code, call);
    assert_eq!(len, text.len() as i32, "{code} {call:?}");
    text
}

/// Fails with all complaints, or passes without any.
#[track_caller]
fn nothing(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn an_error_that_happened_is_explained() {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    // SAFETY: texts that end in a NUL.
    let (leave, join) = unsafe {
        (
            castio_leave_group(socket.as_raw_fd(), c"239.1.2.3".as_ptr(), c"lo".as_ptr()),
            castio_join_group(-1, c"239.1.2.3".as_ptr(), ptr::null()),
        )
    };
    assert_eq!(
        explain(leave, Some("castio_leave_group")),
        "EADDRNOTAVAIL from castio_leave_group: this socket has not joined that group on that interface, or several \
         interfaces have the address by which one was named. Join it first, or name the interface that it was joined \
         on by its name."
    );
    assert!(explain(join, Some("castio_join_group")).starts_with("EBADF from castio_join_group: fd isn't an open"));
    // SAFETY: a negative count is looked at first.
    let length = unsafe { castio_iov_length(ptr::null(), -1) };
    assert!(explain(length as i32, Some("castio_iov_length")).contains(": iovcnt is negative, or "));
}

#[test]
fn the_sign_of_the_number_and_the_prefix_of_the_name_do_not_matter() {
    let whole = explain(-libc::EADDRINUSE, Some("castio_join_source"));
    assert!(whole.starts_with("EADDRINUSE from castio_join_source: this source is joined already; or "), "{whole}");
    for (code, call) in [(98, "castio_join_source"), (-98, "join_source"), (98, "join_source")] {
        assert_eq!(explain(code, Some(call)), whole);
    }
    assert_eq!(explain(98, Some("join_source_addr")), whole.replace("join_source:", "join_source_addr:"));
}

#[test]
fn without_a_row_the_text_is_that_of_the_number() {
    for (code, call, text) in [
        (-libc::EADDRINUSE, None, "EADDRINUSE: Address already in use"),
        (libc::EADDRINUSE, None, "EADDRINUSE: Address already in use"),
        (-libc::EIO, Some("castio_leave_group"), "EIO from castio_leave_group: Input/output error"),
        (-libc::EADDRINUSE, Some("version"), "EADDRINUSE from castio_version: Address already in use"),
        (-4711, Some("leave_group"), "EUNKNOWN from castio_leave_group: Unknown error 4711"),
        (i32::MIN, None, "EUNKNOWN: Unknown error 2147483648"),
        (0, Some("castio_leave_group"), "OK"),
        (0, None, "OK"),
    ] {
        assert_eq!(explain(code, call), text);
    }
}

#[test]
fn a_name_that_no_function_has_is_an_error() {
    for call in [
        "castio_leave",
        "leave_groups",
        "",
        "castio_",
        "castio_castio_leave_group",
        "leave_group_addr_addr",
        "enable_broadcast_addr",
        "leave_group[_addr]",
        "leave_group join_group",
        " leave_group",
        "CASTIO_LEAVE_GROUP",
    ] {
        // SAFETY: a place of this thread's own.
        unsafe { *libc::__errno_location() = 0 };
        let found = explain_in(64, -libc::EADDRNOTAVAIL, Some(call));
        assert_eq!(found, ("castio has no function of that name".into(), -libc::EINVAL), "{call}");
        assert_eq!(errno(), libc::EINVAL);
    }
    // SAFETY: text that ends in a NUL, and there is room.
    unsafe {
        let mut buf = [0; 8];
        assert_eq!(castio_explain(1, c"\xFF\xFE".as_ptr(), buf.as_mut_ptr(), 8), -libc::EINVAL);
    }
}

#[test]
fn the_text_is_cut_to_fit_and_always_ends() {
    let whole = explain(-libc::EADDRNOTAVAIL, Some("leave_group"));
    for room in 1..whole.len() + 8 {
        let kept = &whole[..whole.len().min(room - 1)];
        let found = explain_in(room, -libc::EADDRNOTAVAIL, Some("leave_group"));
        assert_eq!(found, (kept.into(), whole.len() as i32), "{room}");
    }
    // SAFETY: NULL is checked, and a length of 0 writes nothing.
    unsafe {
        let call = c"leave_group".as_ptr();
        assert_eq!(castio_explain(-99, call, ptr::null_mut(), 0), whole.len() as i32);
        assert_eq!(castio_explain(-99, call, ptr::null_mut(), 1), -libc::EFAULT);
        assert_eq!(castio_explain(-99, c"no".as_ptr(), ptr::null_mut(), 1), -libc::EFAULT);
        let mut untouched = b'#' as c_char;
        assert_eq!(castio_explain(-99, call, &raw mut untouched, 0), whole.len() as i32);
        assert_eq!(untouched, b'#' as c_char);
    }
}

#[test]
fn every_function_of_the_header_is_known() {
    let declared: BTreeSet<String> =
        declarations::castio_h().functions.into_iter().map(|function| function.name).collect();
    assert_eq!(errors::documented().into_keys().collect::<BTreeSet<_>>(), declared, "each has a comment");
    let unknown = declared.iter().filter(|function| explain_in(512, libc::EIO, Some(function)).1 < 0);
    nothing(&unknown.map(|function| format!("{function} isn't known")).collect::<Vec<_>>());
}

/// The file of the table in which a row belongs: that of the errno if there is but one, else the one in
/// which most of what is about the function stands.
fn file_for(errno: &str, function: &str) -> String {
    let of_errno: BTreeSet<&str> = rows().filter(|row| row.errno == errno).map(|row| row.file).collect();
    let mut of_function: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows().filter(|row| row.file != "everywhere" && functions(row).iter().any(|name| name == function)) {
        *of_function.entry(row.file).or_default() += 1;
    }
    let most = of_function.into_iter().max_by_key(|(_, rows)| *rows).map(|(file, _)| file);
    match (of_errno.contains("everywhere") && of_errno.len() == 1, most) {
        (false, Some(file)) => format!("src/explain/table/{file}.rs"),
        (false, None) => "the file of its room in src/explain/table".into(),
        (true, _) => "src/explain/table/everywhere.rs".into(),
    }
}

#[test]
fn every_error_that_the_header_documents_has_a_row() {
    let mut missing = Vec::new();
    for (function, names) in errors::documented() {
        let has = |name: &&String| rows().any(|row| row.errno == **name && functions(&row).contains(&function));
        let add = |name: &String| format!("no row for {name} from {function}: add it to {}", file_for(name, &function));
        missing.extend(names.iter().filter(|name| !has(name)).map(add));
    }
    nothing(&missing);
}

/// The head of the header names them; a row of the function's own goes before.
#[test]
fn what_any_function_may_fail_with_is_explained_for_all() {
    let names: errors::Names = rows_of_any().map(|row| row.errno.to_owned()).collect();
    assert_eq!(names, errors::of_every_function());
    for row in rows_of_any() {
        let code = errors::code(row.errno).unwrap();
        let text = explain(-code, Some("get_ttl"));
        assert_eq!(text, format!("{} from castio_get_ttl: {} {}", row.errno, row.cause, row.cure));
        let of_none = explain(-code, Some("version"));
        assert!(!of_none.contains(row.cure), "{of_none}");
    }
    assert!(explain(-libc::EPERM, Some("send_datagrams")).contains("firewall"));
}

#[test]
fn the_functions_that_never_fail_are_those_of_the_header() {
    let never: BTreeSet<String> = NEVER_FAIL.split(' ').map(|name| format!("castio_{name}")).collect();
    let documented = errors::documented().into_iter().filter(|(_, names)| names.is_empty());
    assert_eq!(never, documented.map(|(function, _)| function).collect(), "src/explain/table/mod.rs, NEVER_FAIL");
}

#[test]
fn every_row_is_documented_in_the_header_and_stands_there_once() {
    let documented = errors::documented();
    let (mut complaints, mut seen) = (Vec::new(), BTreeSet::new());
    for row in rows() {
        for function in functions(&row) {
            let at = format!("src/explain/table/{}.rs, {} from {function}:", row.file, row.errno);
            match documented.get(&function) {
                None => complaints.push(format!("{at} the header has no such function")),
                Some(names) if !names.contains(row.errno) => {
                    complaints
                        .push(format!("{at} not among the errors in the header; add it in src/ffi or take it out"));
                }
                Some(_) => {}
            }
            if !seen.insert((row.errno, function)) {
                complaints.push(format!("{at} another row before"));
            }
        }
    }
    assert!(seen.len() > 500, "{}", seen.len());
    nothing(&complaints);
}

#[test]
fn every_pair_is_found_by_the_function() {
    for row in rows() {
        let code = errors::code(row.errno).unwrap();
        for function in functions(&row) {
            let whole = format!("{} from {function}: {} {}", row.errno, row.cause, row.cure);
            assert_eq!(explain(-code, Some(&function)), whole);
        }
    }
}

#[test]
fn every_row_reads_as_sentences() {
    let mut complaints = Vec::new();
    for row in rows().chain(rows_of_any()) {
        let (cause, cure) = (row.cause, row.cure);
        let text = format!("{cause} {cure}");
        // A cause goes on behind a colon; names keep their letters.
        let is_name = |text: &str| ["CASTIO_", "connect()", "fclose()"].iter().any(|name| text.starts_with(name));
        let begins = (is_name(cause) || cause.starts_with(|letter: char| letter.is_ascii_lowercase() || letter == '('))
            && (is_name(cure) || cure.starts_with(|letter: char| letter.is_ascii_uppercase()));
        let ends =
            cause.ends_with('.') && cure.ends_with('.') && text.matches('(').count() == text.matches(')').count();
        let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.contains("  ");
        if !(begins && ends && is_plain) {
            complaints.push(format!("src/explain/table/{}.rs, {}: {text}", row.file, row.errno));
        }
    }
    nothing(&complaints);
}

/// Where the two differ, and an unclear form, must be noticed.
#[test]
fn the_headers_forms_are_understood() {
    let header = "
        /**
         * One.
         *
         * Errors (nothing has changed then):
         * -EIO, -ENOENT: no. -EINVAL also: a WORD, END.
         */
        int castio_one(int fd);
        /**
         * Two.
         *
         * Errors: as castio_one except -EIO, and
         * -EPERM: no.
         */
        int castio_two(int fd);
        struct castio_data {
            /**
             * Errors: none of a function.
             */
            int castio;
        };
        /**
         * Returns 0. Errors, threads as castio_two; -EACCES also. Since 0.1.0.
         */
        ssize_t castio_three(int fd);
        /**
         * Errors:
         * -EDOM: no. Others as castio_one and castio_two except -EINVAL, -ENOENT. -ERANGE: no.
         * -ELOOP: as castio_three. Others as send(): -EFBIG.
         */
        const char *castio_four(int fd);
        /**
         * Never fails.
         */
        void castio_five(int fd);
    ";
    let header = header.replace("a WORD, END", "a WORD, ends");
    let found = errors::in_header(&header);
    let names = |function: &str| found[function].iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(found.len(), 5);
    assert_eq!(names("castio_one"), "EINVAL EIO ENOENT");
    assert_eq!(names("castio_two"), "EINVAL ENOENT EPERM");
    assert_eq!(names("castio_three"), "EACCES EINVAL ENOENT EPERM");
    assert_eq!(names("castio_four"), "EDOM EFBIG EIO ELOOP EPERM ERANGE");
    assert_eq!(names("castio_five"), "");
    for bad in [
        header.replace("Never fails.", "Nothing."),
        header.replace("-EPERM", "-EPERMS"),
        header.replace("except -EIO", "except -EACCES"),
        header.replace("threads as castio_two", "threads as castio_six"),
    ] {
        assert!(std::panic::catch_unwind(|| errors::in_header(&bad)).is_err(), "{bad}");
    }
}

fn entry(functions: &str, row: &Row) -> String {
    let sentences = [row.cause, row.cure].map(|text| text.replace('*', "\\*"));
    format!("- {functions}: {}\n  **{}**\n", sentences[0], sentences[1])
}

/// The table for people: by errno, each with the functions that give it.
fn document() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         What each error means coming from each function, and what to do about it. The same text as\n\
         `castio_explain` gives. Made of src/explain/table by `UPDATE_DOCS=1 cargo test --test explain`; edits\n\
         here are lost.\n",
    );
    let names: BTreeSet<&str> = rows().chain(rows_of_any()).map(|row| row.errno).collect();
    for name in names {
        let meaning = error::text(errors::code(name).unwrap()).unwrap();
        text += &format!("\n## {name}: {meaning}\n\n");
        for row in rows().filter(|row| row.errno == name) {
            let mut functions = functions(&row);
            functions.sort();
            let functions = functions.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
            text += &entry(&functions, &row);
        }
        for row in rows_of_any().filter(|row| row.errno == name) {
            text += &entry("Any other function that makes a system call", &row);
        }
    }
    text
}

#[test]
fn the_committed_document_is_what_the_table_says() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors.md");
    let document = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == document, "docs/errors.md is out of date: run UPDATE_DOCS=1 cargo test --test explain");
}
