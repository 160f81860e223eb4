//! The passwords that everybody tries first.

/// Common passwords in lower case, sorted by byte, after a notice of where they are from.
const LIST: &str = include_str!("../../../static/passwords.txt");

/// A word of the list in a longer password counts when it has at least so many letters.
const MIN_CORE_CHARS: usize = 4;

/// The common passwords, ready to be searched.
#[derive(Debug)]
pub(super) struct CommonPasswords(Vec<&'static str>);

impl CommonPasswords {
    /// The list that is part of the program.
    pub(super) fn embedded() -> Self {
        let words = LIST.split_once("\n\n").map_or("", |(_, words)| words);
        Self(words.lines().collect())
    }

    /// Whether `folded` (in lower case) is a common password, or one dressed up: with digits and signs for letters,
    /// or with fewer than `allowed_rest` characters that are no letters before and after it.
    pub(super) fn contains(&self, folded: &str, allowed_rest: usize) -> bool {
        let core = folded.trim_matches(|c: char| !c.is_alphabetic());
        let rest = folded.chars().count() - core.chars().count();
        let is_core = core.chars().count() >= MIN_CORE_CHARS && rest < allowed_rest;
        self.has_spelling(folded) || (is_core && self.has_spelling(core))
    }

    fn has_spelling(&self, word: &str) -> bool {
        let has = |word: &str| self.0.binary_search(&word).is_ok();
        has(word) || ['i', 'l'].into_iter().any(|one| has(&undressed(word, one)))
    }
}

/// The word with letters for the digits and signs that stand for them; `1` stands for `i` or `l`.
fn undressed(word: &str, one: char) -> String {
    let letter = |c| match c {
        '0' => 'o',
        '1' | '!' | '|' => one,
        '2' => 'z',
        '3' | '€' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '6' | '9' => 'g',
        '7' | '+' => 't',
        '8' => 'b',
        other => other,
    };
    word.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_folded_and_long_enough() {
        let list = CommonPasswords::embedded();
        assert!(list.0.is_sorted_by(|one, next| one < next));
        assert!(list.0.iter().all(|word| word.to_lowercase() == *word && !word.starts_with("# ")));
        // ASVS 6.2.4: the 3000 most common that the smallest and the default minimum length let through.
        for min_length in [8, 10] {
            assert!(list.0.iter().filter(|word| word.len() >= min_length).count() >= 3000, "{min_length}");
        }
    }

    #[test]
    fn a_common_password_is_found_plain_and_dressed_up() {
        let list = CommonPasswords::embedded();
        for word in [
            "password123",
            "qwertyuiop",
            "p@ssw0rd",
            "pa$$word2024!",
            "!!dragon!!99",
            "m0nk3y12345",
            "l3tme1n777",
        ] {
            assert!(list.contains(word, 8), "{word}");
        }
    }

    #[test]
    fn a_common_word_among_much_else_is_not_held_against_it() {
        let list = CommonPasswords::embedded();
        for word in ["correct horse battery staple", "dragon-on-a-tuesday", "dragon 84 71 90 22"] {
            assert!(!list.contains(word, 8), "{word}");
        }
    }
}
