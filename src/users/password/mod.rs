//! Passwords: what may be one, and which are good enough to be chosen.
//!
//! Reading a [`Password`] settles its normal form and its length, for signing in and for choosing alike. Whether it
//! is good is asked by [`PasswordPolicy`] and only where one is chosen: who has an old, weak one must still get in.

mod common;
mod policy;

use std::fmt;

use subtle::ConstantTimeEq;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use zeroize::Zeroizing;

use super::Invalid;

pub use policy::{PasswordFlaw, PasswordPolicy};

/// The longest password, in code points.
const MAX_CHARS: usize = 1024;
/// The longest password, in bytes of UTF-8.
const MAX_BYTES: usize = 4096;

/// A password in the normal form that is hashed. It prints nothing of itself and is wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The most characters that it has.
    pub(crate) const LONGEST: usize = MAX_CHARS;

    /// Reads a password as RFC 8265, 4.2 (`OpaqueString`) says: every space becomes U+0020, then NFC, and nothing
    /// else; it is never trimmed, cut or folded. Refused are the empty one, control characters, more than 4096 bytes,
    /// before any work is done on them, and a normal form of more than that or of 1024 code points.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        if raw.is_empty() {
            return Err(Invalid::new("Must not be empty."));
        }
        if raw.len() > MAX_BYTES {
            return Err(too_long());
        }
        if raw.chars().any(char::is_control) {
            return Err(Invalid::new("Must not contain control characters."));
        }
        let password = Self(normalised(raw));
        if password.0.len() > MAX_BYTES || password.chars() > MAX_CHARS {
            return Err(too_long());
        }
        Ok(password)
    }

    /// What to hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether both are the same password; takes as long for any two of one length.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }

    /// Its length in code points.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password(…)")
    }
}

fn too_long() -> Invalid {
    Invalid::new("Must be at most 1024 characters and 4096 bytes.")
}

fn normalised(raw: &str) -> Zeroizing<String> {
    // NFC makes a text at most three times as long (UAX #15, 9.2): with the room at hand, growing leaves no copies.
    let mut normal = Zeroizing::new(String::with_capacity(raw.len() * 3));
    normal.extend(raw.chars().map(plain_space).nfc());
    normal
}

fn plain_space(c: char) -> char {
    if c.general_category() == GeneralCategory::SpaceSeparator { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(raw: &str) -> Vec<u8> {
        Password::parse(raw).unwrap().as_bytes().to_vec()
    }

    #[test]
    fn every_length_up_to_1024_code_points_is_kept_exactly() {
        for length in [1, 7, 8, 14, 15, 64, 72, 73, 127, 128, 255, 256, 1023, 1024] {
            assert_eq!(bytes(&"x".repeat(length)), vec![b'x'; length]);
        }
        assert_eq!(bytes(&"😀".repeat(1024)).len(), 4096);
    }

    #[test]
    fn what_is_longer_is_refused_before_any_work() {
        for raw in ["x".repeat(1025), "x".repeat(4097), "😀".repeat(1025), "x".repeat(1_000_000)] {
            assert!(Password::parse(&raw).is_err(), "{}", raw.len());
        }
    }

    #[test]
    fn the_length_is_that_of_the_normal_form() {
        assert!(Password::parse(&"e\u{301}".repeat(1024)).is_ok());
        assert!(Password::parse(&"\u{958}".repeat(513)).is_err(), "two code points each in NFC");
    }

    #[test]
    fn spellings_of_the_same_text_are_the_same_password() {
        assert_eq!(bytes("caf\u{E9}"), bytes("cafe\u{301}"));
        assert_eq!(bytes("correct\u{A0}horse\u{3000}battery"), b"correct horse battery");
    }

    #[test]
    fn nothing_else_is_changed() {
        for raw in
            ["Password ", " Password", "  ", "ﬁ", "Ａ", "\u{FEFF}bom", "a\u{200D}b", "ß", "İ", "\u{E0041}"]
        {
            assert_eq!(bytes(raw), raw.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn controls_and_nothing_at_all_are_refused() {
        for raw in [
            "",
            "\0",
            "\0password",
            "pass\0word",
            "password\0",
            "pass\nword",
            "pass\tword",
            "\u{7F}",
            "\u{9F}",
        ] {
            assert!(Password::parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_password_does_not_print_itself() {
        assert_eq!(format!("{:?}", Password::parse("canary").unwrap()), "Password(…)");
    }

    #[test]
    fn sameness_is_of_the_whole_password() {
        let password = |raw| Password::parse(raw).unwrap();
        assert!(password("cafe\u{301}").is_same_as(&password("café")));
        assert!(!password("secret").is_same_as(&password("secret ")));
        assert!(!password("secret").is_same_as(&password("Secret")));
    }

    proptest! {
        #[test]
        fn reading_the_normal_form_again_changes_nothing(raw in r"\PC{1,80}") {
            let once = bytes(&raw);
            prop_assert_eq!(bytes(std::str::from_utf8(&once).unwrap()), once);
        }
    }
}
