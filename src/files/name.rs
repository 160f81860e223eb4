//! What a file is called.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::users::is_noncharacter;

/// The longest name, in bytes: what file systems take.
const MAX_BYTES: usize = 255;
/// The longest ending that survives when a name is cut.
const MAX_ENDING: usize = 16;
/// What a file is called whose name says nothing.
const NAMELESS: &str = "file";
/// What needs no escape in `filename*` (RFC 8187, 3.2.1, attr-char).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// A name as its owner typed it, in NFC, without paths and without what can't be seen: data, never part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// Cleans what a client says. Of a path the last part counts; of a name that is too long, beginning and ending.
    #[must_use]
    pub fn of(typed: &str) -> Self {
        Self::of_those(typed, |c| is_seen(c) && !is_noncharacter(c))
    }

    /// Whether this may stand in a row: what [`FileName::of`] makes, or what it made when it still kept noncharacters.
    #[must_use]
    pub fn may_stand(name: &str) -> bool {
        Self::of_those(name, is_seen).0 == name
    }

    /// Cleans what a client says down to characters that stay.
    fn of_those(typed: &str, stays: fn(char) -> bool) -> Self {
        let last = typed.rsplit(['/', '\\']).next().unwrap_or_default();
        // What goes may have stood between a letter and its mark: they are brought together after that.
        let clean: String = last.chars().filter(|c| stays(*c)).nfc().collect();
        let short = shortened(clean.trim());
        if short.chars().all(|c| matches!(c, '.' | ' ')) {
            return Self(NAMELESS.to_owned());
        }
        Self(short)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind its last dot, in lower case.
    #[must_use]
    pub fn ending(&self) -> Option<String> {
        let (before, ending) = self.0.rsplit_once('.')?;
        (!before.is_empty() && !ending.is_empty()).then(|| ending.to_lowercase())
    }
}

/// Not a control character, nor one that turns text around or breaks lines (UAX #9, 2).
fn is_seen(c: char) -> bool {
    let turns =
        matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(
        c.general_category(),
        GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator
    );
    !turns && !breaks && c != '\u{FEFF}'
}

fn shortened(name: &str) -> String {
    if name.len() <= MAX_BYTES {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= MAX_ENDING);
    let ending = dot.map_or("", |dot| &name[dot..]);
    let mut end = MAX_BYTES - ending.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", name[..end].trim_end())
}

/// The value of `Content-Disposition` (RFC 6266): the name for old clients in plain ASCII, and as it is for all others.
#[must_use]
pub fn disposition(inline: bool, name: &str) -> String {
    let kind = if inline { "inline" } else { "attachment" };
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    let value = format!("{kind}; filename=\"{plain}\"");
    if plain == name {
        return value;
    }
    format!("{value}; filename*=UTF-8''{}", utf8_percent_encode(name, ESCAPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(typed: &str) -> String {
        FileName::of(typed).as_str().to_owned()
    }

    //
    #[test]
    fn of_a_path_only_the_last_part_is_left() {
        for (typed, name) in [
            ("../../x", "x"),
            ("..\\..\\x", "x"),
            ("/etc/passwd", "passwd"),
            ("C:\\x", "x"),
            ("a/../../b", "b"),
            ("....//", "file"),
            ("%2e%2e%2f", "%2e%2e%2f"),
            ("x\0.png", "x.png"),
            ("a\r\nX-Evil: 1.txt", "aX-Evil: 1.txt"),
            ("a\u{202E}gnp.exe", "agnp.exe"),
            ("a\u{FDD0}\u{FFFE}\u{10FFFF}.txt", "a.txt"),
            ("e\u{FDEF}\u{301}.txt", "\u{e9}.txt"),
        ] {
            assert_eq!(cleaned(typed), name, "{typed:?}");
        }
    }

    #[test]
    fn a_name_from_before_may_stay_where_it_stands() {
        for name in ["a.txt", "a\u{FDD0}.txt", "\u{FFFF}"] {
            assert!(FileName::may_stand(name), "{name:?}");
        }
        for name in ["", "..", "../x", "a\u{202E}b", "a\0", "e\u{301}", " a"] {
            assert!(!FileName::may_stand(name), "{name:?}");
        }
    }

    #[test]
    fn a_name_that_says_nothing_becomes_one_that_does() {
        for typed in ["", ".", "..", "....", " ", ". .", "/", "\\", "\0", "\u{202E}", "\u{FFFE}", "a/"] {
            assert_eq!(cleaned(typed), "file", "{typed:?}");
        }
    }

    #[test]
    fn everything_else_is_kept_as_typed() {
        for typed in
            ["CON", "a b.txt", ".env", "Ünïcödé 名前.pdf", "\"quoted\".txt", "<b>.html", "👩‍👩‍👧.png", "a'; DROP"]
        {
            assert_eq!(cleaned(typed), typed);
        }
        assert_eq!(cleaned("e\u{301}.txt"), "\u{e9}.txt");
    }

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_ending() {
        for (character, count) in [("a", 300), ("a", 5000), ("é", 300), ("名", 200)] {
            let name = cleaned(&format!("{}.jpeg", character.repeat(count)));
            assert!(name.len() <= 255 && name.len() > 250, "{name}");
            assert!(name.ends_with(&format!("{character}.jpeg")), "{name}");
        }
        assert_eq!(cleaned(&format!("a.{}", "b".repeat(300))).len(), 255);
    }

    #[test]
    fn the_header_is_well_formed_whatever_the_name() {
        for (name, value) in [
            ("a.txt", "attachment; filename=\"a.txt\""),
            ("a b.txt", "attachment; filename=\"a b.txt\""),
            ("a\"b", "attachment; filename=\"a_b\"; filename*=UTF-8''a%22b"),
            ("é.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A9.txt"),
            ("%41", "attachment; filename=\"_41\"; filename*=UTF-8''%2541"),
        ] {
            assert_eq!(disposition(false, name), value);
            assert!(poem::http::HeaderValue::try_from(disposition(true, name)).is_ok());
        }
    }

    #[test]
    fn an_ending_is_what_stands_behind_the_last_dot() {
        let ending = |name: &str| FileName::of(name).ending();
        assert_eq!(ending("a.tar.GZ"), Some("gz".to_owned()));
        assert_eq!(ending(".env"), None);
        assert_eq!(ending("a."), None);
        assert_eq!(ending("a"), None);
    }
}
