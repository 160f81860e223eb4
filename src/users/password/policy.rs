//! Which passwords may be chosen.

use std::borrow::Cow;

use zeroize::Zeroizing;
use zxcvbn::{Score, zxcvbn};

use super::Password;
use super::common::CommonPasswords;
use crate::users::text::folded;

/// Context words are looked for from so many characters on.
const MIN_CONTEXT_CHARS: usize = 4;
/// What is known about a password — context words, a common password — doesn't matter when so much else is there.
const ENOUGH_CHARS: usize = 8;
/// The strength is estimated in pieces of so many characters. zxcvbn's time grows with more than their square, and
/// beyond 20 of them its arithmetic overflows (21! possible orders of matches, 28 turns on a keyboard).
const PIECE_CHARS: usize = 20;
/// So many pieces are looked at; as many characters as zxcvbn itself would read.
const PIECES: usize = 5;

/// Why a password may not be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFlaw {
    /// Fewer code points than the operator asks for.
    #[error("Must be at least {min_length} characters long.")]
    TooShort {
        /// `PASSWORD_MIN_LENGTH`.
        min_length: usize,
    },
    /// On the list of common passwords, as it is or thinly dressed up.
    #[error("Is one of the most common passwords.")]
    Common,
    /// Little more than the username, the e-mail address or the name of the site.
    #[error("Is too close to the username, the e-mail address or the name of this site.")]
    Context,
    /// A pattern that is guessed early.
    #[error("Is too easy to guess; longer, or a few unrelated words, is better.")]
    Guessable,
    /// The operator asks for kinds of characters, and one is missing.
    #[error("Must contain a capital letter, a small letter, a digit and another character.")]
    Composition,
}

impl PasswordFlaw {
    /// The sentence, for the field error of RFC 9457.
    #[must_use]
    pub fn words(self) -> Cow<'static, str> {
        self.to_string().into()
    }
}

/// What a new password must be.
#[derive(Debug)]
pub struct PasswordPolicy {
    min_length: usize,
    wants_composition: bool,
    project: String,
    common: CommonPasswords,
}

impl PasswordPolicy {
    /// The rule of `PASSWORD_MIN_LENGTH` in code points and `PASSWORD_COMPOSITION`, for the site called `project`.
    #[must_use]
    pub fn new(min_length: usize, wants_composition: bool, project: &str) -> Self {
        let project = folded(project);
        Self { min_length, wants_composition, project, common: CommonPasswords::embedded() }
    }

    /// Every flaw of a password that somebody wants to choose; `context` is what others know about them: username
    /// and local part of the e-mail address.
    ///
    /// The strength estimate takes milliseconds of a core: call it off the async threads.
    pub fn check(&self, password: &Password, context: &[&str]) -> Result<(), Vec<PasswordFlaw>> {
        let folded = Zeroizing::new(folded(&password.0));
        let mut flaws = Vec::new();
        let mut note = |is_flawed, flaw| flaws.extend(if is_flawed { Some(flaw) } else { None });

        let min_length = self.min_length;
        let is_common = self.common.contains(&folded, ENOUGH_CHARS);
        let is_context = !is_common && self.is_mostly_context(&folded, context);
        note(password.chars() < min_length, PasswordFlaw::TooShort { min_length });
        note(is_common, PasswordFlaw::Common);
        note(is_context, PasswordFlaw::Context);
        note(self.wants_composition && !has_all_kinds(&password.0), PasswordFlaw::Composition);
        if flaws.is_empty() && is_guessable(&password.0) {
            flaws.push(PasswordFlaw::Guessable);
        }
        if flaws.is_empty() { Ok(()) } else { Err(flaws) }
    }

    /// Whether context words leave too little of the password to make it one.
    fn is_mostly_context(&self, folded_password: &str, context: &[&str]) -> bool {
        let mut words: Vec<String> = context.iter().map(|word| folded(word)).collect();
        words.push(self.project.clone());
        words.retain(|word| word.chars().count() >= MIN_CONTEXT_CHARS);
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));

        let mut rest = Zeroizing::new(folded_password.to_owned());
        for word in &words {
            rest = Zeroizing::new(rest.replace(word, ""));
        }
        rest.len() < folded_password.len() && rest.chars().count() < ENOUGH_CHARS
    }
}

/// Whether no piece reaches score 3 of zxcvbn: at least 10^8 guesses, beyond what can be tried against a server.
/// Context words have a rule of their own, so the estimate doesn't know them.
fn is_guessable(password: &str) -> bool {
    let chars: Zeroizing<Vec<char>> = Zeroizing::new(password.chars().collect());
    let mut pieces = chars.chunks(PIECE_CHARS).take(PIECES);
    !pieces.any(|piece| {
        let piece: Zeroizing<String> = Zeroizing::new(piece.iter().collect());
        zxcvbn(&piece, &[]).score() >= Score::Three
    })
}

/// S1's rule. A letter without capitals, as in Chinese, counts as another character.
fn has_all_kinds(password: &str) -> bool {
    let has = |kind: fn(char) -> bool| password.chars().any(kind);
    has(char::is_uppercase)
        && has(char::is_lowercase)
        && has(char::is_numeric)
        && has(|c| !c.is_uppercase() && !c.is_lowercase() && !c.is_numeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flaws_of(raw: &str, context: &[&str]) -> Vec<PasswordFlaw> {
        let policy = PasswordPolicy::new(10, false, "Gatehouse");
        policy.check(&Password::parse(raw).unwrap(), context).err().unwrap_or_default()
    }

    #[test]
    fn good_passwords_are_good() {
        for raw in [
            "correct horse battery staple",
            "Tr0ub4dor&3-zebra",
            "纸飞机飞过蓝色的大海上空",
            "🦊🌧️🚲🎷🧊🪁🥨🗝️🛶🎯",
            "kV9#mQ2$xL7!",
            "ann likes ann's own dogs",
        ] {
            assert_eq!(flaws_of(raw, &["alice_01"]), [], "{raw}");
        }
    }

    #[test]
    fn nine_characters_are_too_few_and_ten_are_not() {
        assert_eq!(flaws_of("kV9#mQ2$x", &[]), [PasswordFlaw::TooShort { min_length: 10 }]);
        assert_eq!(flaws_of("kV9#mQ2$xL", &[]), []);
        assert_eq!(flaws_of("纸飞机飞过蓝色的大", &[]), [PasswordFlaw::TooShort { min_length: 10 }]);
    }

    #[test]
    fn common_passwords_are_named_as_such() {
        for raw in ["password123", "Password123", "P@ssw0rd2024!", "1234567890", "qwertyuiop", "Ｐassword123"]
        {
            assert_eq!(flaws_of(raw, &[]), [PasswordFlaw::Common], "{raw}");
        }
    }

    #[test]
    fn context_words_count_when_little_else_is_there() {
        for raw in ["alice_smith-7x", "Gatehouse#4711", "x7Alice_Smith", "gatehousealice_smith42"] {
            assert_eq!(flaws_of(raw, &["alice_smith"]), [PasswordFlaw::Context], "{raw}");
        }
        assert_eq!(flaws_of("alice_smith kV9#mQ2$", &["alice_smith"]), [], "8 characters more");
        assert_eq!(flaws_of("ann-kV9#mQ2", &["ann"]), [], "too short to count");
    }

    #[test]
    fn patterns_are_guessable() {
        for raw in ["aaaaaaaaaaaaaaaa", "abcdefghijklmno", "2019-04-23", "          "] {
            assert!(!flaws_of(raw, &[]).is_empty(), "{raw}");
        }
    }

    #[test]
    fn composition_counts_only_where_it_is_asked_for() {
        let strict = PasswordPolicy::new(10, true, "Gatehouse");
        let check = |raw| strict.check(&Password::parse(raw).unwrap(), &[]);
        assert_eq!(check("correct horse battery staple"), Err(vec![PasswordFlaw::Composition]));
        assert_eq!(check("Correct horse 7 battery staple"), Ok(()));
    }

    #[test]
    fn the_answer_names_every_reason_but_no_score() {
        let flaws = flaws_of("alice_01", &["alice_01"]);
        assert_eq!(flaws, [PasswordFlaw::TooShort { min_length: 10 }, PasswordFlaw::Context]);
        assert_eq!(flaws[0].words(), "Must be at least 10 characters long.");
    }

    #[test]
    fn a_weak_start_is_forgiven_when_a_strong_piece_follows() {
        assert_eq!(flaws_of(&format!("{}kV9#mQ2$xL7!", "x".repeat(20)), &[]), []);
        assert_eq!(flaws_of(&"x".repeat(1024), &[]), [PasswordFlaw::Guessable]);
    }

    proptest! {
        #[test]
        fn no_password_breaks_the_estimate(raw in r"[\PC ]{1,120}|[0-9oO]{1,120}|[a-iA-I ]{1,120}|([0-9]{2}){1,60}") {
            flaws_of(&raw, &["alice_01"]);
        }

        #[test]
        fn no_pattern_breaks_the_estimate(raw in "[qwerty0-9aiu4@({\\[<1!|$5+7%]{1,8}", times in 1_usize..100) {
            flaws_of(&raw.repeat(times), &[]);
        }
    }
}
