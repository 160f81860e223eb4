//! Which characters may stand in what people write about themselves.
//!
//! Lengths are counted in Unicode code points: what a database column, a JSON schema and every client library can
//! count alike. Text is kept exactly as typed or refused; normal forms are made only to compare and to search.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// Whether `c` may stand in a name. Nothing that is invisible or moves other characters about (UTS #39, 3.1.1;
/// UAX #9, 2), except the joiners, which Persian, Indic scripts and emoji are spelled with.
pub(crate) fn fits_name(c: char) -> bool {
    match c.general_category_group() {
        GeneralCategoryGroup::Other => {
            is_unassigned_character(c) || matches!(c, ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER)
        }
        GeneralCategoryGroup::Separator => c.general_category() == GeneralCategory::SpaceSeparator,
        _ => true,
    }
}

/// Whether `c` may stand in running text of several lines.
pub(crate) fn fits_prose(c: char) -> bool {
    c == '\n' || !(c.is_control() || is_noncharacter(c) || is_bidi_override(c))
}

/// Running text in which U+FFFD stands for whatever may not stand there.
pub(crate) fn as_prose(text: String) -> String {
    if text.chars().all(fits_prose) {
        return text;
    }
    text.chars().map(|c| if fits_prose(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Whether `c` leaves ink on the page: not a mark, a space, a joiner or a letter that is blank by design.
pub(super) fn is_visible(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Number, Punctuation, Symbol};
    let is_blank = matches!(c, '\u{115F}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}');
    matches!(c.general_category_group(), Letter | Number | Punctuation | Symbol) && !is_blank
}

/// Whether `c` can be seen in a name that people are told apart by: no joiner, and no mark that shows nothing (those that
/// Unicode calls default ignorable, `DerivedCoreProperties`).
pub(super) fn is_plain(c: char) -> bool {
    let shows_nothing = matches!(
        c,
        '\u{34F}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}'
    );
    (is_visible(c) || is_mark(c)) && !shows_nothing
}

/// Whether `c` is a letter, a mark or a number of any script.
pub(super) fn is_word(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Mark, Number};
    matches!(c.general_category_group(), Letter | Mark | Number)
}

/// Whether `c` is a mark that combines with the character before it.
pub(super) fn is_mark(c: char) -> bool {
    c.general_category_group() == GeneralCategoryGroup::Mark
}

/// The form in which two spellings of the same text are equal: NFKC, lower case, NFKC again.
pub(super) fn folded(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

/// A later version of Unicode may have given `c` a meaning; a noncharacter never gets one.
fn is_unassigned_character(c: char) -> bool {
    c.general_category() == GeneralCategory::Unassigned && !is_noncharacter(c)
}

/// The 66 code points that are no characters and never will be (Unicode 23.7).
pub(crate) fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE
}

/// Embeddings, overrides and isolates: they make text read otherwise than it is stored (CVE-2021-42574).
fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_noncharacter_is_refused_everywhere() {
        let all = (0..=0x0010_FFFF).filter_map(char::from_u32).filter(|c| is_noncharacter(*c));
        let mut count = 0;
        for c in all {
            assert!(!fits_name(c) && !fits_prose(c), "{c:?}");
            count += 1;
        }
        assert_eq!(count, 66);
    }

    #[test]
    fn what_moves_or_hides_text_fits_no_name() {
        for c in "\u{0}\n\t\u{7F}\u{85}\u{AD}\u{61C}\u{200B}\u{200E}\u{202E}\u{2028}\u{2060}\u{2066}\u{FEFF}\u{E0041}"
            .chars()
        {
            assert!(!fits_name(c), "{c:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_tells_nobody_apart() {
        for c in
            "\u{200B}\u{200C}\u{200D}\u{202E}\u{34F}\u{FE0F}\u{E0100}\u{1160}\u{2800}\u{E000}\u{378} ".chars()
        {
            assert!(!is_plain(c), "{c:?}");
        }
        assert!("ann_S1-ñßЖ王नि\u{301}7$".chars().all(is_plain));
    }

    #[test]
    fn prose_has_lines_but_no_other_control() {
        assert!(fits_prose('\n'));
        for c in "\u{0}\r\t\u{1B}\u{7F}\u{9F}\u{202A}\u{202E}\u{2066}\u{2069}".chars() {
            assert!(!fits_prose(c), "{c:?}");
        }
    }

    #[test]
    fn what_is_made_prose_shows_where_something_went() {
        assert_eq!(
            as_prose("a\u{FDD0}\t\u{202E}b\u{10FFFF}".to_owned()),
            "a\u{FFFD}\u{FFFD}\u{FFFD}b\u{FFFD}"
        );
        for text in ["", "two\nlines", "👩\u{200D}👧", "Ünïcödé 名前"] {
            assert_eq!(as_prose(text.to_owned()), text);
        }
    }

    #[test]
    fn folding_is_idempotent_on_the_characters_that_trip_it() {
        for text in ["İstanbul", "ẞ", "ﬀ", "K", "Ａｌｉｃｅ", "ΑΣ", "e\u{301}", "\u{1E9B}\u{323}", "ŉ", "ǰ"]
        {
            assert_eq!(folded(&folded(text)), folded(text), "{text}");
        }
    }
}
