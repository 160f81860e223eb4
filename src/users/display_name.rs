//! The name that others see.

use std::fmt;

use super::text::{fits_name, folded, is_visible};
use super::{Invalid, Username};

/// The longest display name, in code points.
const MAX_CHARS: usize = 64;

/// The name of a person as shown: of the username with other capitals and spaces, or free, as the operator decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DisplayName(String);

impl DisplayName {
    /// The most characters that it has.
    pub(crate) const LONGEST: usize = MAX_CHARS;

    /// A display name that is the username up to capitals and spaces for underscores: it can't pass for another
    /// person's.
    pub fn of_username(raw: &str, username: &Username) -> Result<Self, Invalid> {
        let name = Self(raw.to_owned());
        if !name.fits(username) {
            return Err(Invalid::new(
                "Must be the username; only capitals, and spaces for underscores, are free.",
            ));
        }
        Ok(name)
    }

    /// A display name of one's own choice (`DISPLAY_NAME_FREE`): 1 to 64 code points of any script, kept as typed.
    /// Nothing invisible, and no space at either end.
    pub fn free(raw: &str) -> Result<Self, Invalid> {
        check_name(raw)?;
        Ok(Self(raw.to_owned()))
    }

    /// The username as display name: what one has who chose none, or whose choice no longer fits.
    #[must_use]
    pub fn from_username(username: &Username) -> Self {
        Self(username.as_str().to_owned())
    }

    /// The display name that an account gets with another user name: none if the one it has may stay.
    #[must_use]
    pub fn after_rename(held: &str, username: &Username, free: bool) -> Option<Self> {
        let may_stay = free || Self(held.to_owned()).fits(username);
        (!may_stay).then(|| Self::from_username(username))
    }

    /// Whether the name is `username` up to capitals and spaces for underscores.
    #[must_use]
    pub fn fits(&self, username: &Username) -> bool {
        self.0.replace(' ', "_").eq_ignore_ascii_case(username.as_str())
    }

    /// The name as it is searched: see [`DisplayName::search_key_of`].
    #[must_use]
    pub fn search_key(&self) -> String {
        Self::search_key_of(&self.0)
    }

    /// What to compare with search keys: NFKC, lower case, `_` for a space, so that `Alice Sm` and `alice_sm` find
    /// the same people. A prefix of a name has a key that is a prefix of the name's key, but for a last character
    /// that is only half typed.
    #[must_use]
    pub fn search_key_of(query: &str) -> String {
        folded(query).replace(' ', "_")
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The rule of every free name; a person's parts of a name follow it, too.
pub(super) fn check_name(raw: &str) -> Result<(), Invalid> {
    let words = if raw.chars().take(MAX_CHARS + 1).count() > MAX_CHARS {
        "Must be at most 64 characters."
    } else if !raw.chars().all(fits_name) {
        "Must not contain control or invisible characters."
    } else if !raw.chars().any(is_visible) {
        "Must not be blank."
    } else if raw.trim() != raw {
        "Must not begin or end with a space."
    } else {
        return Ok(());
    };
    Err(Invalid::new(words))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn username(raw: &str) -> Username {
        Username::parse(raw, 1).unwrap()
    }

    #[test]
    fn capitals_and_spaces_are_free() {
        for raw in ["alice_smith", "Alice Smith", "ALICE_SMITH", "alice smith"] {
            assert!(DisplayName::of_username(raw, &username("alice_smith")).is_ok(), "{raw}");
        }
    }

    #[test]
    fn anything_else_than_the_username_is_refused() {
        for raw in
            ["", "Bob", "Alice  Smith", "Alice-Smith", "Alice Smith ", "Аlice Smith", "Alice\u{A0}Smith"]
        {
            assert!(DisplayName::of_username(raw, &username("alice_smith")).is_err(), "{raw}");
        }
        assert!(DisplayName::of_username("\u{212A}im", &username("kim")).is_err());
    }

    #[test]
    fn a_rename_shows_whether_the_name_still_fits() {
        let name = DisplayName::of_username("Alice Smith", &username("alice_smith")).unwrap();
        assert!(!name.fits(&username("alice_jones")));
        assert_eq!(DisplayName::from_username(&username("alice_jones")).as_str(), "alice_jones");
    }

    #[test]
    fn free_names_are_of_any_script() {
        for raw in [
            "李小龍",
            "Þórður Ægisson",
            "مریم می\u{200C}رزاخانی",
            "Zoë 👩\u{200D}🚀",
            "e\u{301}va",
            "O'Neil, Jr.",
        ] {
            assert_eq!(DisplayName::free(raw).unwrap().as_str(), raw);
        }
    }

    #[test]
    fn free_names_show_something_and_hide_nothing() {
        for raw in [
            "",
            " ",
            " Ann",
            "Ann ",
            "\u{200D}",
            "\u{3164}",
            "\u{2800}",
            "\u{301}",
            "Ann\u{202E}nhoJ",
            "Ann\u{2066}",
            "Ann\u{200B}",
            "Ann\u{200F}",
            "Ann\nJohn",
            "Ann\u{0}",
            "Ann\u{E0041}",
            "Ann\u{FFFF}",
        ] {
            assert!(DisplayName::free(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn the_limit_counts_code_points_not_bytes_or_graphemes() {
        assert!(DisplayName::free(&"é".repeat(64)).is_ok());
        assert!(DisplayName::free(&"👩".repeat(64)).is_ok());
        assert!(DisplayName::free(&"e\u{301}".repeat(32)).is_ok());
        assert!(DisplayName::free(&"a".repeat(65)).is_err());
        assert!(DisplayName::free(&"e\u{301}".repeat(33)).is_err());
    }

    #[test]
    fn spellings_of_a_name_are_found_alike() {
        let key = DisplayName::search_key_of("alice_smith");
        for raw in ["Alice Smith", "ALICE SMITH", "Ａlice\u{3000}Smith"] {
            assert_eq!(DisplayName::free(raw).unwrap().search_key(), key, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn search_keys_are_stable(raw in r"\PC{1,64}") {
            let key = DisplayName::search_key_of(&raw);
            prop_assert_eq!(DisplayName::search_key_of(&key), key);
        }

        #[test]
        fn every_capitalisation_fits(raw in "[a-zA-Z0-9_ ]{5,32}") {
            let name = username(&raw.replace(' ', "_").to_ascii_lowercase());
            prop_assert!(DisplayName::of_username(&raw, &name).is_ok());
        }
    }
}
