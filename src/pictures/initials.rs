//! The initials of a person's name: one to three letters of any script.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The most letters that are shown.
const MOST: usize = 3;
/// The most marks that a letter keeps.
const MOST_MARKS: usize = 2;
/// Code points of a letter with its marks.
const WIDTH: usize = 1 + MOST_MARKS;

/// One to three letters in capitals, each with the marks that it can't be written without; or none, where a name has no
/// letter that can be drawn. Small and without memory of its own, because it is the key that pictures are kept under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Initials([Letter; MOST]);

/// A letter and its marks; zeros where there is none.
pub(super) type Letter = [char; WIDTH];

impl Initials {
    /// The initials of `name`: of its first two words and of its last, as far as `is_drawn` knows their letters.
    /// Words are parted by spaces, underscores and hyphens; a digit counts as a letter.
    pub(super) fn of(name: &str, is_drawn: impl Fn(char) -> bool) -> Self {
        let folded: String = name.nfkc().collect();
        let words =
            folded.split(|c: char| c.is_whitespace() || matches!(c, '_' | '-' | '\u{2010}'..='\u{2015}'));
        let mut letters = words.filter_map(|word| letter_of(word, &is_drawn));
        let mut initials = Self::default();
        for (place, letter) in initials.0.iter_mut().zip(letters.by_ref()) {
            *place = letter;
        }
        if let Some(last) = letters.last() {
            initials.0[MOST - 1] = last;
        }
        initials
    }

    /// The letters in the order of reading.
    pub(super) fn letters(&self) -> impl DoubleEndedIterator<Item = &Letter> {
        self.0.iter().filter(|letter| letter[0] != '\0')
    }

    /// Whether the script is written from right to left.
    pub(super) fn is_right_to_left(&self) -> bool {
        // Hebrew, Arabic, Syriac, Thaana, NKo and their relatives stand together in Unicode, old scripts in a plane's part.
        matches!(self.0[0][0], '\u{590}'..='\u{8FF}' | '\u{10800}'..='\u{10FFF}')
    }
}

/// The first letter of a word, in capitals where they can be drawn, with its marks.
fn letter_of(word: &str, is_drawn: &impl Fn(char) -> bool) -> Option<Letter> {
    let mut rest = word.chars().skip_while(|c| !stands_alone(*c));
    let typed = rest.next()?;
    let marks = rest.take_while(|c| is_combining_mark(*c));
    // The capital of ß is SS, that of ŉ an apostrophe and N: one letter of it is enough.
    let capital = typed.to_uppercase().nfkc().find(|c| stands_alone(*c) && is_drawn(*c));
    let base = capital.or_else(|| Some(typed).filter(|c| is_drawn(*c)))?;
    let mut letter = ['\0'; WIDTH];
    let composed = std::iter::once(base).chain(marks).nfc().filter(|c| is_drawn(*c));
    for (place, c) in letter.iter_mut().zip(composed) {
        *place = c;
    }
    Some(letter).filter(|letter| stands_alone(letter[0]))
}

/// Whether it is a letter or a digit: neither a mark nor a sign that only changes the letter beside it.
fn stands_alone(c: char) -> bool {
    c.is_alphanumeric() && !is_combining_mark(c) && c.general_category() != GeneralCategory::ModifierLetter
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn initials(name: &str) -> String {
        let initials = Initials::of(name, |_| true);
        initials.letters().flatten().filter(|c| **c != '\0').collect()
    }

    #[test]
    fn a_name_has_the_first_letter_of_each_of_its_words() {
        for (name, expected) in [
            ("John Doe", "JD"),
            ("john_doe", "JD"),
            ("Cher", "C"),
            ("Jean-Luc Picard", "JLP"),
            ("  ada   lovelace ", "AL"),
            ("mary jane watson", "MJW"),
            ("R2_D2", "RD"),
            ("007 bond", "0B"),
            ("(Bob) 'Ross'", "BR"),
            ("a\u{2011}b", "AB"),
        ] {
            assert_eq!(initials(name), expected, "{name}");
        }
    }

    #[test]
    fn of_many_words_the_first_two_and_the_last_count() {
        assert_eq!(initials("Pablo Diego José Francisco de Paula Ruiz"), "PDR");
        assert_eq!(initials("one two three four"), "OTF");
    }

    #[test]
    fn every_script_has_its_capitals() {
        for (name, expected) in [
            ("иван петров", "ИП"),
            ("αλέξης ζορμπάς", "ΑΖ"),
            ("արամ խաչատրյան", "ԱԽ"),
            ("שלום לוי", "של"),
            ("李 小龍", "李小"),
            ("ßeta ǆungla ﬁn", "SDF"),
            ("ŉ ａlice", "NA"),
        ] {
            assert_eq!(initials(name), expected, "{name}");
        }
    }

    #[test]
    fn marks_stay_with_their_letter_and_are_composed_where_they_can_be() {
        assert_eq!(initials("e\u{301}va o\u{308}zil"), "ÉÖ");
        assert_eq!(initials("x\u{302}enia"), "X\u{302}");
        // More than two marks are an ornament.
        assert_eq!(initials(&format!("x{}", "\u{302}".repeat(60))), "X\u{302}\u{302}");
    }

    #[test]
    fn a_letter_that_can_t_be_drawn_is_left_out() {
        let latin = |c: char| c.is_ascii();
        let drawn = |name| Initials::of(name, latin).letters().map(|letter| letter[0]).collect::<String>();
        assert_eq!(drawn("李 Smith"), "S");
        assert_eq!(drawn("李 小龍"), "");
        assert_eq!(drawn("éva"), "");
        assert_eq!(drawn("🚀 🚀"), "");
        assert_eq!(drawn(""), "");
    }

    #[test]
    fn the_direction_of_the_script_is_known() {
        assert!(Initials::of("שלום", |_| true).is_right_to_left());
        assert!(Initials::of("مریم", |_| true).is_right_to_left());
        assert!(!Initials::of("John", |_| true).is_right_to_left());
        assert!(!Initials::default().is_right_to_left());
    }

    proptest! {
        #[test]
        fn any_name_has_at_most_three_letters(name in r"\PC{0,64}") {
            prop_assert!(Initials::of(&name, |_| true).letters().count() <= MOST);
        }
    }
}
