//! A first, middle or last name.

use std::fmt;

use super::display_name::check_name;
use super::{DisplayName, Invalid};

/// One part of a person's name: 1 to 64 code points of any script, kept as typed, nothing invisible.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PersonName(String);

impl PersonName {
    /// The most characters that it has.
    pub(crate) const LONGEST: usize = DisplayName::LONGEST;

    /// Reads a part of a name; empty input is no name.
    pub fn parse(raw: &str) -> Result<Option<Self>, Invalid> {
        if raw.is_empty() {
            return Ok(None);
        }
        check_name(raw)?;
        Ok(Some(Self(raw.to_owned())))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_no_name_but_blank_is_a_mistake() {
        assert_eq!(PersonName::parse(""), Ok(None));
        assert!(PersonName::parse("  ").is_err());
    }

    #[test]
    fn names_of_any_script_are_kept_as_typed() {
        for raw in ["Müller-Lüdenscheidt", "de la Cruz", "O'Neil", "शर्मा", "e\u{301}", "X Æ A-12"]
        {
            assert_eq!(PersonName::parse(raw).unwrap().unwrap().as_str(), raw);
        }
    }

    #[test]
    fn the_limit_is_64_code_points() {
        assert!(PersonName::parse(&"龍".repeat(64)).is_ok());
        assert!(PersonName::parse(&"龍".repeat(65)).is_err());
    }
}
