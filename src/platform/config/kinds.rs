//! The kinds of values that settings take: how text becomes a value, and how the kind describes itself.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

/// How a kind of value describes itself.
pub trait Shape: Sync {
    /// What is accepted, in words that complete "it must be …".
    fn accepts(&self) -> String;

    /// The JSON Schema of its values.
    fn schema(&self) -> Value {
        json!({ "type": "string" })
    }

    /// Whether its values must never be shown.
    fn is_secret(&self) -> bool {
        false
    }

    /// `text` as `gatehouse config` may print it.
    fn shown(&self, text: &str) -> String {
        if self.is_secret() { MASK.to_owned() } else { text.to_owned() }
    }
}

/// What stands in the place of a secret.
pub const MASK: &str = "********";

/// A kind of value.
pub trait Kind: Shape {
    /// What the program works with.
    type Value;

    /// The value that `text` means; none when it means nothing of this kind. Must not panic on any text.
    fn parse(&self, text: &str) -> Option<Self::Value>;
}

/// A value that a function reads from the whole text.
pub struct Word<T> {
    /// What is accepted, in words that complete "it must be …".
    pub accepts: &'static str,
    /// The value that a text means.
    pub parse: fn(&str) -> Option<T>,
}

impl<T> Shape for Word<T> {
    fn accepts(&self) -> String {
        self.accepts.to_owned()
    }
}

impl<T> Kind for Word<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        (self.parse)(text)
    }
}

/// `true/false/1/0/yes/no/on/off` in any case.
pub struct Flag;

impl Shape for Flag {
    fn accepts(&self) -> String {
        "true, false, 1, 0, yes, no, on or off".to_owned()
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }
}

impl Kind for Flag {
    type Value = bool;

    fn parse(&self, text: &str) -> Option<bool> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

/// A whole number in a range, both ends included.
pub struct Whole<T>(pub T, pub T);

impl<T: fmt::Display + Serialize + Sync> Shape for Whole<T> {
    fn accepts(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": self.0, "maximum": self.1 })
    }
}

impl<T: FromStr + PartialOrd + fmt::Display + Serialize + Sync> Kind for Whole<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        text.parse().ok().filter(|number| (&self.0..=&self.1).contains(&number))
    }
}

/// A time span, written as a whole number of one unit.
pub struct Span {
    unit: &'static str,
    millis: u64,
    range: Whole<u64>,
}

/// A span in milliseconds.
pub const fn milliseconds(from: u64, to: u64) -> Span {
    Span { unit: "milliseconds", millis: 1, range: Whole(from, to) }
}

/// A span in seconds.
pub const fn seconds(from: u64, to: u64) -> Span {
    Span { unit: "seconds", millis: 1000, range: Whole(from, to) }
}

/// A span in minutes.
pub const fn minutes(from: u64, to: u64) -> Span {
    Span { unit: "minutes", millis: 60_000, range: Whole(from, to) }
}

/// A span in hours.
pub const fn hours(from: u64, to: u64) -> Span {
    Span { unit: "hours", millis: 3_600_000, range: Whole(from, to) }
}

/// A span in days of 24 hours.
pub const fn days(from: u64, to: u64) -> Span {
    Span { unit: "days", millis: 86_400_000, range: Whole(from, to) }
}

impl Shape for Span {
    fn accepts(&self) -> String {
        format!("{}, in {}", self.range.accepts(), self.unit)
    }

    fn schema(&self) -> Value {
        self.range.schema()
    }
}

impl Kind for Span {
    type Value = Duration;

    fn parse(&self, text: &str) -> Option<Duration> {
        self.range.parse(text).map(|count| Duration::from_millis(count.saturating_mul(self.millis)))
    }
}

/// One of a few words, in any case.
pub struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Sync> Shape for Choice<T> {
    fn accepts(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        }
    }

    fn schema(&self) -> Value {
        json!({ "enum": self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
    }
}

impl<T: Copy + Sync> Kind for Choice<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, meaning)| *meaning)
    }
}

/// A value that may be absent: empty text means none.
pub struct Optional<K>(pub K);

impl<K: Shape> Shape for Optional<K> {
    fn accepts(&self) -> String {
        self.0.accepts()
    }

    fn schema(&self) -> Value {
        self.0.schema()
    }

    fn is_secret(&self) -> bool {
        self.0.is_secret()
    }

    fn shown(&self, text: &str) -> String {
        self.0.shown(text)
    }
}

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        if text.is_empty() { Some(None) } else { self.0.parse(text).map(Some) }
    }
}

/// Values separated by commas; spaces round them and empty ones don't count.
pub struct List<K>(pub K);

impl<K: Shape> Shape for List<K> {
    fn accepts(&self) -> String {
        format!("a list with commas between; each must be {}", self.0.accepts())
    }

    fn is_secret(&self) -> bool {
        self.0.is_secret()
    }
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| self.0.parse(item))
            .collect()
    }
}

/// A kind whose values must never be shown.
pub struct Secret<K>(pub K);

impl<K: Shape> Shape for Secret<K> {
    fn accepts(&self) -> String {
        self.0.accepts()
    }

    fn is_secret(&self) -> bool {
        true
    }
}

impl<K: Kind> Kind for Secret<K> {
    type Value = K::Value;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        self.0.parse(text)
    }
}

/// Any text on one line.
pub const TEXT: Word<String> = Word {
    accepts: "text without control characters",
    parse: |text| (!text.chars().any(char::is_control)).then(|| text.to_owned()),
};

/// Any text, kept where it can't be printed.
pub const SECRET_TEXT: Secret<Word<SecretString>> =
    Secret(Word { accepts: "text", parse: |text| Some(SecretString::from(text)) });
