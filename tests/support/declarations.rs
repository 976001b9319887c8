//! What include/castio.h declares: its functions with their parameters, its structs and handles, its
//! macros.
//!
//! The header is generated, so its C is of one simple shape; what isn't of that shape is an error
//! here, never skipped in silence.

use std::path::Path;

/// A function's prototype.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    pub returns: String,
    pub parameters: Vec<Variable>,
}

/// A parameter or a struct's member: its type, spelled with single spaces, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub ctype: String,
    pub name: String,
}

/// A struct's definition.
#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    pub members: Vec<Variable>,
}

/// A `#define`: everything that follows the word.
pub type Macro = String;

pub struct Header {
    pub functions: Vec<Function>,
    pub structs: Vec<Struct>,
    /// Structs of which nothing but the name is declared: handles.
    pub opaque: Vec<String>,
    pub macros: Vec<Macro>,
    /// The whole text without comments and preprocessor lines.
    pub code: String,
}

/// The header of this checkout.
pub fn castio_h() -> Header {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/castio.h");
    parse(&std::fs::read_to_string(path).unwrap())
}

/// Parses a whole header; panics at what it doesn't understand.
pub fn parse(text: &str) -> Header {
    let text = without_comments(text);
    let is_directive = |line: &&str| line.trim_start().starts_with('#');
    let macros = text.lines().filter_map(|line| line.trim().strip_prefix("#define ")).map(str::to_owned).collect();
    let code = text.lines().filter(|line| !is_directive(line)).collect::<Vec<_>>().join("\n");
    let (mut functions, mut structs, mut opaque) = (Vec::new(), Vec::new(), Vec::new());
    for statement in statements(&code) {
        match (statement.split_once('{'), handle(&statement)) {
            (Some((head, body)), _) => structs.push(structure(head.trim(), body)),
            (None, Some(name)) => opaque.push(name.to_owned()),
            (None, None) => functions.push(function(&statement)),
        }
    }
    Header { functions, structs, opaque, macros, code }
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, after) = part.split_once("*/").expect("a comment ends");
        kept.push_str(after);
    }
    kept
}

/// What stands between semicolons outside braces, without the braces of `extern "C"`.
fn statements(code: &str) -> Vec<String> {
    let (_, inside) = code.split_once("extern \"C\" {").expect("the header opens extern \"C\"");
    let (inside, after) = inside.rsplit_once('}').expect("the header closes extern \"C\"");
    assert!(after.trim().is_empty(), "behind the closing brace of extern \"C\": {after}");
    let (mut found, mut current, mut depth) = (Vec::new(), String::new(), 0);
    for letter in inside.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {
                found.push(std::mem::take(&mut current).trim().to_owned());
                continue;
            }
            _ => {}
        }
        current.push(letter);
    }
    assert!(current.trim().is_empty(), "no semicolon behind: {current}");
    found
}

/// The name in `struct castio_sender`, if that is all there is.
fn handle(statement: &str) -> Option<&str> {
    statement.strip_prefix("struct ").filter(|name| name.chars().all(is_of_name))
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn structure(head: &str, body: &str) -> Struct {
    let name = head.strip_prefix("struct ").unwrap_or_else(|| panic!("only structs are defined here: {head}"));
    let body = body.trim_end().strip_suffix('}').unwrap_or_else(|| panic!("struct {name} doesn't end: {body}"));
    let members = body.split(';').map(str::trim).filter(|member| !member.is_empty()).map(variable).collect();
    Struct { name: name.to_owned(), members }
}

fn function(statement: &str) -> Function {
    let (head, rest) = statement.split_once('(').unwrap_or_else(|| panic!("not a function: {statement}"));
    let inside = rest.strip_suffix(')').unwrap_or_else(|| panic!("not a function: {statement}"));
    let head = variable(head);
    let parameters = match inside.trim() {
        "void" => Vec::new(),
        list => list.split(',').map(variable).collect(),
    };
    Function { name: head.name, returns: head.ctype, parameters }
}

/// `const struct iovec *iov` is of type `const struct iovec *`, and `char name[16]` of `char[16]`.
fn variable(text: &str) -> Variable {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (text, array) = text.split_at(text.find('[').unwrap_or(text.len()));
    let start = text.rfind(|letter| !is_of_name(letter)).map_or(0, |at| at + 1);
    let (ctype, name) = text.split_at(start);
    let ctype = format!("{}{array}", ctype.trim());
    assert!(!ctype.is_empty() && !name.is_empty(), "neither a variable nor a function: {text}");
    Variable { ctype, name: name.to_owned() }
}
