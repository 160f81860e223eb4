//! What is wrong with the configuration, one line each, never with a secret in it.

use std::fmt;

/// One reason not to start: which variable, where it stands, what was found (never for secrets), what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(String);

impl Mistake {
    /// A mistake in words; line breaks and control characters are escaped, so that it stays one line.
    #[must_use]
    pub fn new(words: impl AsRef<str>) -> Self {
        Self(one_line(words.as_ref()))
    }

    /// `variable`, found at `place`, holds something else than what is `accepted`. `found` is what it holds;
    /// none for secrets.
    #[must_use]
    pub fn refused(variable: &str, found: Option<&str>, place: impl fmt::Display, accepted: &str) -> Self {
        match found {
            Some(found) => {
                Self::new(format!("{variable} is `{}` ({place}): it must be {accepted}", short(found)))
            }
            None => Self::new(format!("{variable} ({place}) must be {accepted}")),
        }
    }
}

/// Long values are cut: the line shall be read, not scrolled.
fn short(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_one_line_whatever_was_found() {
        let mistake = Mistake::refused("PORT", Some("80\n\u{1b}[31m00"), "environment", "a number");
        assert_eq!(mistake.to_string(), r"PORT is `80\n\u{1b}[31m00` (environment): it must be a number");
    }

    #[test]
    fn a_long_value_is_cut() {
        let mistake = Mistake::refused("PORT", Some(&"ä".repeat(5000)), "environment", "a number");
        assert!(mistake.to_string().chars().count() < 150);
    }
}
