//! What a person types to say who they are.

use super::text::folded;
use super::{Email, Username};

/// As much of an unknown identifier as tells it apart, in characters: more than the longest address.
const MAX_UNKNOWN_CHARS: usize = 256;

/// Who somebody says they are, as typed at sign-in: the one reading that looking up, throttling and the audit share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identifier {
    /// The address of an account.
    Email(Email),
    /// The name of an account.
    Username(Username),
    /// Neither: no account can have it. Folded and cut, so that its spellings count as one.
    Unknown(String),
}

impl Identifier {
    /// Reads what was typed; with an `@` it can only be an address, without one only a username.
    #[must_use]
    pub fn parse(raw: &str) -> Self {
        let known = if raw.contains('@') {
            Email::parse(raw).ok().map(Self::Email)
        } else {
            Username::for_lookup(raw).map(Self::Username)
        };
        known.unwrap_or_else(|| Self::Unknown(canonical(raw)))
    }

    /// The identifier in one spelling, for the key of a throttle when no account was found.
    #[must_use]
    pub fn canonical(&self) -> &str {
        match self {
            Self::Email(email) => email.as_str(),
            Self::Username(username) => username.as_str(),
            Self::Unknown(folded) => folded,
        }
    }
}

fn canonical(raw: &str) -> String {
    // PostgreSQL can't be asked about NUL; no name has the character in its place either.
    let askable = |c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c };
    let start: String = raw.trim().chars().map(askable).take(MAX_UNKNOWN_CHARS).collect();
    folded(&start).chars().take(MAX_UNKNOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_at_sign_makes_it_an_address() {
        assert!(
            matches!(Identifier::parse("Ann@X.test"), Identifier::Email(email) if email.as_str() == "ann@x.test")
        );
        assert!(
            matches!(Identifier::parse("Ann_01"), Identifier::Username(name) if name.as_str() == "ann_01")
        );
    }

    #[test]
    fn spellings_of_one_identifier_have_one_canonical_form() {
        for (one, other) in [
            ("ann_01", "ANN_01"),
            ("ann@x.test", "ANN@X.TEST"),
            ("ann@x.test", "ann@x.test "),
            ("ann@x.test", "ann\u{FF20}x.test"),
            ("ann@x.test", "ａnn@x.test"),
        ] {
            assert_eq!(Identifier::parse(one).canonical(), Identifier::parse(other).canonical(), "{other:?}");
        }
    }

    #[test]
    fn a_megabyte_makes_a_short_key() {
        let raw = "\u{FDFA}".repeat(350_000);
        assert!(Identifier::parse(&raw).canonical().chars().count() <= 256);
    }

    proptest! {
        #[test]
        fn reading_never_fails(raw in any::<String>()) {
            prop_assert!(Identifier::parse(&raw).canonical().chars().count() <= 256);
        }
    }
}
