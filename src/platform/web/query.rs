//! Checks of `name=value&…` text (query strings and forms) that the parsers behind don't make: broken
//! percent-encoding, and a value given twice where one is meant.

use std::borrow::Cow;

use crate::platform::problem::{FieldError, Problem};
use poem::http::StatusCode;

/// What is wrong with a query string or form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryFault {
    /// A `%` without two hexadecimal digits, or bytes that are no UTF-8.
    Broken,
    /// This name stands there twice.
    Twice(String),
    /// More pairs than allowed.
    TooMany,
}

impl QueryFault {
    /// The refusal: 400 for what can't be read, else 422.
    #[must_use]
    pub fn problem(self) -> Problem {
        match self {
            Self::Broken => bad_request("The percent-encoding is broken."),
            Self::Twice(name) => Problem::invalid(vec![FieldError::new(name, "is given more than once")]),
            Self::TooMany => Problem::invalid(vec![FieldError::new("", "has too many fields")]),
        }
    }
}

/// 400 with these words.
pub(crate) fn bad_request(words: &'static str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", words)
}

/// Checks a query string: every escape whole, no name twice except those in `repeatable`.
pub fn check_query(query: &str, repeatable: &[impl AsRef<str>]) -> Result<(), QueryFault> {
    let mut names = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name)?;
        decoded(value)?;
        if !repeatable.iter().any(|exception| exception.as_ref() == name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    match names.windows(2).find(|two| two[0] == two[1]) {
        Some(two) => Err(QueryFault::Twice(shortened(&two[0]))),
        None => Ok(()),
    }
}

/// Names come from outside: what is shown of them is bounded.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// The text behind `+` and `%XX`.
pub(super) fn decoded(text: &str) -> Result<Cow<'_, str>, QueryFault> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    if !escapes_are_whole(text.as_bytes()) {
        return Err(QueryFault::Broken);
    }
    let spaced = text.replace('+', " ");
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(&spaced).collect();
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| QueryFault::Broken)
}

fn escapes_are_whole(text: &[u8]) -> bool {
    let is_hex = |at: usize| text.get(at).is_some_and(u8::is_ascii_hexdigit);
    (0..text.len()).filter(|at| text[*at] == b'%').all(|at| is_hex(at + 1) && is_hex(at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &[&str] = &[];

    #[test]
    fn a_value_given_twice_is_refused() {
        assert_eq!(check_query("a=1&b=2&a=3", NONE), Err(QueryFault::Twice("a".into())));
        assert_eq!(check_query("a=1&%61=3", NONE), Err(QueryFault::Twice("a".into())));
        assert_eq!(check_query("a&a", NONE), Err(QueryFault::Twice("a".into())));
    }

    #[test]
    fn a_list_may_repeat() {
        assert_eq!(check_query("users_ids=1&users_ids=2&x=1", &["users_ids"]), Ok(()));
    }

    #[test]
    fn broken_escapes_are_refused() {
        for bad in ["a=%", "a=%4", "a=%zz", "%=1", "a=%ff", "a=%c0%ae", "a=b%"] {
            assert_eq!(check_query(bad, NONE), Err(QueryFault::Broken), "{bad}");
        }
    }

    #[test]
    fn whole_queries_pass() {
        for good in ["", "&", "a", "a=", "a=1&b=2", "a=%20+%C3%A9", "a=b=c"] {
            assert_eq!(check_query(good, NONE), Ok(()), "{good}");
        }
    }
}
