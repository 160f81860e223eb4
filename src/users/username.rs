//! The name a person signs in with.

use std::fmt;

use unicode_normalization::is_nfkc;

use super::Invalid;
use super::text::is_plain;

/// The longest username, in characters.
const MAX_CHARS: usize = 32;

/// The name of an account, folded: two usernames that differ only in capitals are the same value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Username(String);

impl Username {
    /// The most characters that it has.
    pub(crate) const LONGEST: usize = MAX_CHARS;

    /// A name for a new account: `min_len` to 32 of `a`–`z`, `0`–`9` and `_`, nothing folded or trimmed, so that
    /// what was typed is what the account is called.
    pub fn parse(raw: &str, min_len: usize) -> Result<Self, Invalid> {
        let is_of_length = (min_len..=MAX_CHARS).contains(&raw.len());
        if !raw.bytes().all(is_username_byte) || !is_of_length {
            let words = format!("Must be {min_len} to {MAX_CHARS} characters of a-z, 0-9 and _.");
            return Err(Invalid::new(words));
        }
        Ok(Self(raw.to_owned()))
    }

    /// A name that may belong to an account, as typed at sign-in or in a path: ASCII capitals are folded, nothing
    /// is trimmed. Wider than [`Username::parse`], because an import keeps names that were chosen under other
    /// rules; `None` is a name that no account can have: with an `@`, white space, controls or not in NFKC.
    #[must_use]
    pub fn for_lookup(raw: &str) -> Option<Self> {
        let is_possible = |c: char| c != '@' && !c.is_whitespace() && !c.is_control();
        let is_of_length = (1..=MAX_CHARS).contains(&raw.chars().take(MAX_CHARS + 1).count());
        let is_name = is_of_length && raw.chars().all(is_possible) && is_nfkc(raw);
        is_name.then(|| Self(raw.to_ascii_lowercase()))
    }

    /// Whether the name can be told from others by looking at it: each of its characters leaves ink, or a mark on one that
    /// does, and none moves others about. Others may be known here from before; none is taken in any more.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.chars().all(is_plain)
    }

    /// Whether the name would let its owner pass for the operator or for a part of the site. Such a name is only
    /// for accounts that the operator makes.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        let letters = self.0.replace('_', "");
        RESERVED.split_ascii_whitespace().any(|reserved| reserved == letters)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn is_username_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')
}

/// Names of roles, of RFC 2142 mailboxes, of this server's paths and of what programs print for nobody. Compared
/// without underscores, so that `_admin_` and `web_master` are among them.
const RESERVED: &str = "
    abuse account accounts admin administration administrator admins all anonymous api auth
    authentication authorization billing bot callback config contact daemon db default deleted docs
    email everyone false favicon files forgot ftp gatehouse guest health healthcheck help helpdesk
    hostmaster info interactivedocs legal local localhost login logout mail mailerdaemon me metrics
    moderator moderators news nobody noc none noreply null oauth official operator otp owner password
    postmaster privacy public register reset robots root sales security service setup signin signout
    signup staff static status superuser support sysadmin system team terms test tester true undefined
    user webmaster wellknown
";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_name_is_kept() {
        for name in ["alice", "alice_01", "_____", "00000", "abcdefghijklmnopqrstuvwxyz_01234"] {
            assert_eq!(Username::parse(name, 5).map(|name| name.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn a_name_outside_the_rule_is_refused() {
        let of_33 = "a".repeat(33);
        for name in [
            "",
            "abcd",
            &of_33,
            "Alice_01",
            "alice_01 ",
            " alice_01",
            "alice 01",
            "alice-01",
            "a@b_c",
            "alice\u{0}",
            "аlice_01",
            "alice_01\u{200B}",
            "ﬁvefive",
            "alıce",
            "straße",
            "\u{212A}elvin",
            "ａｌｉｃｅ",
            "alice\u{301}",
            "\u{200F}alice",
            "alice\u{E0041}",
            "alice\n",
        ] {
            assert!(Username::parse(name, 5).is_err(), "{name:?}");
        }
    }

    #[test]
    fn local_names_may_be_as_short_as_one_character() {
        assert!(Username::parse("a", 1).is_ok());
        assert!(Username::parse("", 1).is_err());
    }

    #[test]
    fn capitals_find_the_same_account() {
        assert_eq!(Username::for_lookup("ALICE_01"), Username::parse("alice_01", 5).ok());
    }

    #[test]
    fn characters_that_only_look_alike_find_another_account() {
        let alice = Username::parse("alice_k", 5).ok();
        for name in ["аlice_k", "alice_\u{212A}", "ALİCE_K", "alıce_k", "alice_k\u{200B}"] {
            assert_ne!(Username::for_lookup(name), alice, "{name:?}");
        }
    }

    #[test]
    fn what_no_account_can_be_called_is_not_looked_up() {
        let of_33 = "a".repeat(33);
        for name in ["", &of_33, "a@b", "alice ", "alice\n", "al\u{0}ice", "\u{3000}"] {
            assert_eq!(Username::for_lookup(name), None, "{name:?}");
        }
    }

    #[test]
    fn the_reserved_names_are_sorted_and_can_be_typed() {
        let names: Vec<_> = RESERVED.split_ascii_whitespace().collect();
        assert!(names.is_sorted());
        assert!(names.iter().all(|name| Username::parse(name, 1).is_ok()));
    }

    #[test]
    fn a_reserved_name_is_one_with_underscores_too() {
        for name in ["admin", "_admin_", "web_master", "support", "root"] {
            assert!(Username::for_lookup(name).is_some_and(|name| name.is_reserved()), "{name}");
        }
        assert!(!Username::for_lookup("adminette").is_some_and(|name| name.is_reserved()));
    }

    proptest! {
        #[test]
        fn whatever_parses_is_of_the_rule_and_found_again(raw in r"\PC{0,40}") {
            if let Ok(name) = Username::parse(&raw, 5) {
                prop_assert_eq!(name.as_str(), raw.as_str());
                prop_assert_eq!(Username::for_lookup(&raw.to_ascii_uppercase()), Some(name));
            }
        }

        #[test]
        fn every_name_of_the_rule_parses(raw in "[a-z0-9_]{5,32}") {
            prop_assert!(Username::parse(&raw, 5).is_ok());
        }

        #[test]
        fn looking_up_is_idempotent(raw in r"\PC{0,40}") {
            if let Some(name) = Username::for_lookup(&raw) {
                prop_assert_eq!(Username::for_lookup(name.as_str()), Some(name));
            }
        }
    }
}
