//! What JSON must keep to before a type looks at it, and what a type's complaint means to the one who sent it.
//!
//! serde says what is wrong in the words of Rust and with the value that it found; here that becomes the name of
//! the field and a rule, without the value.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::query::{bad_request, shortened};
use crate::platform::problem::{FieldError, Problem};

const MAX_DEPTH: usize = 32;
const MAX_MEMBERS: usize = 1000;

/// Holds a JSON text to one reading: well formed, no key twice in an object, depth ≤ 32, ≤ 1000 members in all.
pub(super) fn check_json(text: &[u8]) -> Result<(), Problem> {
    check_json_within(text, MAX_MEMBERS)
}

/// The same with another limit of members.
pub(super) fn check_json_within(text: &[u8], most_members: usize) -> Result<(), Problem> {
    let mut tally = Tally { members: most_members, fault: None };
    let mut parser = serde_json::Deserializer::from_slice(text);
    let walked = Walk { tally: &mut tally, depth: 0 }.deserialize(&mut parser).and_then(|()| parser.end());
    match (tally.fault, walked) {
        (Some(fault), _) => Err(Problem::invalid(vec![fault])),
        (None, Err(_)) => Err(bad_request("The body is not JSON that can be read.")),
        (None, Ok(())) => Ok(()),
    }
}

struct Tally {
    /// How many more there may be.
    members: usize,
    fault: Option<FieldError>,
}

struct Walk<'a> {
    tally: &'a mut Tally,
    depth: usize,
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl Walk<'_> {
    fn refuse<E: serde::de::Error>(&mut self, field: &str, message: &str) -> E {
        self.tally.fault = Some(FieldError::new(shortened(field), message));
        E::custom(message)
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.refuse("body", "is nested too deeply")) } else { Ok(()) }
    }

    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        match self.tally.members.checked_sub(1) {
            Some(left) => {
                self.tally.members = left;
                Ok(())
            }
            None => Err(self.refuse("body", "has too many members")),
        }
    }

    fn inner(&mut self) -> Walk<'_> {
        Walk { tally: self.tally, depth: self.depth }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut seen = HashSet::new();
        while let Some(Key(key)) = map.next_key()? {
            self.count()?;
            if seen.contains(&key) {
                return Err(self.refuse(&key, "is given more than once"));
            }
            seen.insert(key);
            map.next_value_seed(self.inner())?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.enter()?;
        while list.next_element_seed(self.inner())?.is_some() {
            self.count()?;
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// 422 for what serde found wrong with a value of the right syntax.
pub(super) fn explain<E: fmt::Display>(error: &serde_path_to_error::Error<E>) -> Problem {
    let words = error.inner().to_string();
    let words = words.rfind(" at line ").map_or(words.as_str(), |end| &words[..end]);
    let path = error.path().to_string();
    let path = if path == "." { "" } else { path.as_str() };
    let (field, message) = told(path, words);
    let field = if field.is_empty() { "body".to_owned() } else { shortened(&field) };
    Problem::invalid(vec![FieldError::new(field, message)])
}

fn told(path: &str, words: &str) -> (String, Cow<'static, str>) {
    const ABOUT_NAMES: [(&str, &str); 3] = [
        ("missing field `", "is required"),
        ("unknown field `", "is not known here"),
        ("duplicate field `", "is given more than once"),
    ];
    for (start, message) in ABOUT_NAMES {
        if let Some((name, _)) = words.strip_prefix(start).and_then(|rest| rest.split_once('`')) {
            return (joined(path, name), Cow::Borrowed(message));
        }
    }
    (path.to_owned(), rule(words))
}

/// serde's path ends with the unknown field already, but not with the missing one.
fn joined(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        path => format!("{path}.{name}"),
    }
}

/// The rule without the value: what serde expected, or a value type's own words.
fn rule(words: &str) -> Cow<'static, str> {
    let shows_value = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant `"];
    if words.starts_with("UUID parsing failed") {
        return Cow::Borrowed("must be a UUID");
    }
    if !shows_value.iter().any(|start| words.starts_with(start)) {
        return Cow::Owned(words.to_owned());
    }
    let expected = words.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
    Cow::Owned(format!("must be {}", plain(expected)))
}

/// Rust's names of types in a client's words.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        of_rust if of_rust.starts_with("struct ") || of_rust.starts_with("internally ") => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Option<u16> {
        check_json(text.as_bytes()).err().map(|problem| problem.status.as_u16())
    }

    #[test]
    fn sound_json_passes() {
        for good in ["{}", "null", r#"{"a":{"b":1},"c":{"b":[1,-2.5e3,true,null,"x"]}}"#, " [ ] "] {
            assert_eq!(check(good), None, "{good}");
        }
    }

    #[test]
    fn what_is_not_json_is_400() {
        let surrogate = r#""\ud800""#;
        for bad in ["", "{", "NaN", "{}x", "\u{feff}{}", "{'a':1}", "[1,]", "1e309", surrogate] {
            assert_eq!(check(bad), Some(400), "{bad}");
        }
        let utf16 = b"\xff\xfe{\0}\0";
        assert_eq!(check_json(utf16).unwrap_err().status.as_u16(), 400);
    }

    #[test]
    fn a_key_given_twice_is_refused_however_deep_and_however_written() {
        for bad in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(check_json(bad.as_bytes()).unwrap_err().errors[0].field, "a", "{bad}");
        }
    }

    #[test]
    fn depth_and_members_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(32)), None);
        assert_eq!(check(&nested(33)), Some(422));
        assert_eq!(check(&"[".repeat(100_000)), Some(422));
        let many = |members: usize| format!("[{}]", vec!["1"; members].join(","));
        assert_eq!(check(&many(1000)), None);
        assert_eq!(check(&many(1001)), Some(422));
    }
}
