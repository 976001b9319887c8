//! Which errors include/castio.h documents of which function: its "Errors:" paragraphs, and those of
//! other functions that they refer to.
//!
//! What isn't of the forms below is an error here, never skipped in silence:
//!     Errors:, Errors (...):, then -ENAME as often as there are some
//!     Errors: as castio_x, Others as castio_x and castio_y, Errors, threads as castio_x, each also with
//!     "except -ENAME, -ENAME" behind the names
//!     Never fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use castio::error;

/// The names of errors.
pub type Names = BTreeSet<String>;

/// What one function's own documentation says.
#[derive(Default)]
struct Documented {
    own: Names,
    /// Others' errors, but for some of them.
    others: Vec<(String, Names)>,
}

/// The errors that the head of the header says of every function.
pub fn of_every_function() -> Names {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/castio.h");
    let header = std::fs::read_to_string(path).unwrap();
    let (head, _) = header.split_once("*/").expect("the head ends");
    let paragraph = paragraphs(head).find(|text| text.starts_with("Errors of every function"));
    errors_in("the head", &paragraph.expect("the head names them"))
}

/// A comment's paragraphs, each as one line.
fn paragraphs(comment: &str) -> impl Iterator<Item = String> {
    let lines: Vec<&str> = comment.lines().map(|line| line.trim_start_matches([' ', '*'])).collect();
    let paragraphs: Vec<String> = lines.split(|line| line.is_empty()).map(|lines| lines.join(" ")).collect();
    paragraphs.into_iter()
}

/// Each function of the header with all its errors.
pub fn documented() -> BTreeMap<String, Names> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/castio.h");
    in_header(&std::fs::read_to_string(path).unwrap())
}

/// As [`documented`], of any such text.
pub fn in_header(header: &str) -> BTreeMap<String, Names> {
    let all: BTreeMap<String, Documented> =
        comments(header).map(|(function, comment)| (function.to_owned(), read(function, &comment))).collect();
    all.keys().map(|function| (function.clone(), resolved(function, &all))).collect()
}

/// Each function's comment, as paragraphs of one line.
fn comments(header: &str) -> impl Iterator<Item = (&str, Vec<String>)> {
    header.split("/**").skip(1).filter_map(|part| {
        let (comment, code) = part.split_once("*/").expect("a comment ends");
        let (head, _) = code.split_once('(').filter(|(head, _)| !head.contains([';', '{', '#']))?;
        let name = head.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next_back()?;
        Some((name, paragraphs(comment).collect()))
    })
}

fn read(function: &str, paragraphs: &[String]) -> Documented {
    let mut found = Documented::default();
    let about: Vec<&String> = paragraphs.iter().filter(|text| is_about_errors(text)).collect();
    for text in &about {
        let rest = take_references(text, &mut found.others);
        found.own.extend(errors_in(function, &rest));
    }
    let fails = !found.own.is_empty() || !found.others.is_empty();
    let never = paragraphs.iter().any(|text| text.contains("Never fails."));
    assert!(fails != never, "{function}: neither \"Never fails.\" nor errors in a form that is understood: {about:?}");
    found
}

fn is_about_errors(paragraph: &str) -> bool {
    paragraph.starts_with("Errors") || paragraph.contains("rrors, threads as ")
}

/// Takes references out of a text, with what they except.
fn take_references(text: &str, others: &mut Vec<(String, Names)>) -> String {
    let mut rest = text.to_owned();
    for start in ["Errors: as castio_", "Others as castio_", "rrors, threads as castio_"] {
        while let Some((before, after)) = rest.split_once(start) {
            let after = format!("castio_{after}");
            // A name is followed by " and " another one, or by what ends the reference.
            let mut words = after.split(' ').peekable();
            let mut functions = Vec::new();
            while let Some(word) = words.next_if(|word| word.starts_with("castio_")) {
                functions.push(word.trim_end_matches([',', '.', ';']).to_owned());
                let is_last = word.ends_with([',', '.', ';']);
                if is_last || words.next_if_eq(&"and").is_none() {
                    break;
                }
            }
            let mut except = Names::new();
            if words.next_if_eq(&"except").is_some() {
                while let Some(word) = words.next_if(|word| word.starts_with("-E")) {
                    except.insert(word[1..].trim_end_matches([',', '.', ';']).to_owned());
                    if word.ends_with(['.', ';']) {
                        break;
                    }
                }
            }
            others.extend(functions.into_iter().map(|function| (function, except.clone())));
            rest = format!("{before} {}", words.collect::<Vec<_>>().join(" "));
        }
    }
    rest
}

fn errors_in(function: &str, text: &str) -> Names {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let is_name = |word: &&str| {
        let is_upper = word.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit());
        word.len() > 2 && word.starts_with('E') && is_upper
    };
    let names: Names = text.split(|letter| !is_letter(letter)).filter(is_name).map(str::to_owned).collect();
    for name in &names {
        assert!(code(name).is_some(), "{function}: no errno is called {name}");
    }
    names
}

fn resolved(function: &str, all: &BTreeMap<String, Documented>) -> Names {
    let documented = all.get(function).unwrap_or_else(|| panic!("the header refers to {function}, which it hasn't"));
    let mut names = documented.own.clone();
    for (other, except) in &documented.others {
        let theirs = resolved(other, all);
        assert!(except.is_subset(&theirs), "{function}: {other} hasn't all of {except:?}");
        names.extend(theirs.difference(except).cloned());
    }
    names
}

/// The number of an error by its name.
pub fn code(name: &str) -> Option<i32> {
    (1..4096).find(|code| error::name(*code).to_str() == Ok(name))
}
