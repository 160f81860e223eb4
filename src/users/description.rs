//! What a person says about themselves.

use std::fmt;

use super::Invalid;
use super::text::fits_prose;

/// The longest description, in code points.
const MAX_CHARS: usize = 256;

/// Up to 256 code points of plain text, kept as typed; line breaks (`\n`) are the only control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Description(String);

impl Description {
    /// The most characters that it has.
    pub(crate) const LONGEST: usize = MAX_CHARS;

    /// Reads a description; it may be empty.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        if raw.chars().take(MAX_CHARS + 1).count() > MAX_CHARS {
            return Err(Invalid::new("Must be at most 256 characters."));
        }
        if !raw.chars().all(fits_prose) {
            return Err(Invalid::new(
                "Must be plain text; of the control characters, only line breaks are allowed.",
            ));
        }
        Ok(Self(raw.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Description {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_kept_as_typed() {
        for raw in [
            "",
            " two\nlines ",
            "<script>alert(1)</script>",
            "' OR 1=1 --",
            "🏴\u{E0067}\u{E007F}",
            "e\u{301}",
        ] {
            assert_eq!(Description::parse(raw).unwrap().as_str(), raw);
        }
    }

    #[test]
    fn the_limit_counts_code_points() {
        assert!(Description::parse(&"👩".repeat(256)).is_ok());
        assert!(Description::parse(&"a".repeat(257)).is_err());
    }

    #[test]
    fn controls_and_overrides_are_refused() {
        for raw in ["a\u{0}", "a\tb", "a\r\nb", "\u{1B}[31m", "\u{202E}evil", "\u{2066}", "\u{FFFE}"] {
            assert!(Description::parse(raw).is_err(), "{raw:?}");
        }
    }
}
