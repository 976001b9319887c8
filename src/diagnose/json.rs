//! JSON (RFC 8259), as far as writing it: values, and their text on one line.

use std::fmt::{self, Display, Formatter, Write};
use std::net::IpAddr;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// What isn't known, or isn't there.
    Null,
    /// true or false
    Bool(bool),
    /// A whole number: of 64 bits, with or without a sign.
    Number(i128),
    /// Text.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object: its members, in their order.
    Object(Vec<(&'static str, Value)>),
}

/// An object of these members.
pub fn object<const COUNT: usize>(members: [(&'static str, Value); COUNT]) -> Value {
    Value::Object(members.into())
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(on) => write!(f, "{on}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Text(text) => quoted(text, f),
            Value::List(items) => between(f, '[', items, ']', |item, f| item.fmt(f)),
            Value::Object(members) => between(f, '{', members, '}', |(name, value), f| {
                quoted(name, f)?;
                f.write_char(':')?;
                value.fmt(f)
            }),
        }
    }
}

fn between<T>(
    f: &mut Formatter<'_>,
    open: char,
    items: &[T],
    close: char,
    each: impl Fn(&T, &mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    f.write_char(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_char(',')?;
        }
        each(item, f)?;
    }
    f.write_char(close)
}

/// What may not stand in a string as it is: its own signs, and control characters, NUL among them.
fn quoted(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for letter in text.chars() {
        match letter {
            '"' | '\\' => write!(f, "\\{letter}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\0'..='\x1f' | '\x7f' => write!(f, "\\u{:04x}", u32::from(letter))?,
            _ => f.write_char(letter)?,
        }
    }
    f.write_char('"')
}

impl From<bool> for Value {
    fn from(on: bool) -> Value {
        Value::Bool(on)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<IpAddr> for Value {
    fn from(ip: IpAddr) -> Value {
        Value::Text(ip.to_string())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Value {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl From<$number> for Value {
            fn from(number: $number) -> Value {
                Value::Number(number as i128)
            }
        })*
    };
}

numbers! { i32 i64 u16 u32 u64 usize }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reads_back_as_it_was() {
        let awkward: String = ('\0'..='\u{ff}').chain("☃\u{1f980}\u{2028}".chars()).collect();
        let value = object([
            ("nothing", Value::Null),
            ("on", true.into()),
            ("least", i64::MIN.into()),
            ("most", u64::MAX.into()),
            ("text", awkward.clone().into()),
            ("empty \"text\"", "".into()),
            ("list", vec![1_u16, 2, 3].into()),
            ("none", Value::List(Vec::new())),
            ("missing", None::<u32>.into()),
            ("inner", object([("ip", IpAddr::from([239, 1, 2, 3]).into())])),
            ("hollow", object([])),
        ]);
        let text = value.to_string();
        assert!(!text.contains(|letter: char| letter.is_ascii_control()), "{text}");
        let expected = serde_json::json!({
            "nothing": null,
            "on": true,
            "least": i64::MIN,
            "most": u64::MAX,
            "text": awkward,
            "empty \"text\"": "",
            "list": [1, 2, 3],
            "none": [],
            "missing": null,
            "inner": {"ip": "239.1.2.3"},
            "hollow": {},
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    }
}
