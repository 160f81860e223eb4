//! The language a person wants to be written to in.

use std::fmt;

use super::Invalid;

/// Room enough for every tag that RFC 5646, 4.4.1 expects in practice.
const MAX_CHARS: usize = 35;

/// A language tag (BCP 47) that is well-formed, in the capitals that RFC 5646, 2.1.1 recommends: `de`, `pt-BR`,
/// `zh-Hant-TW`. Whether the registry knows its subtags is not asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Locale(String);

impl Locale {
    /// The most characters that it has.
    pub(crate) const LONGEST: usize = MAX_CHARS;

    /// Reads a tag in any capitals: a language of 2 to 8 letters, then subtags of 1 to 8 letters and digits.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let mut subtags = raw.split('-');
        let is_language = subtags.next().is_some_and(is_language);
        if raw.len() > MAX_CHARS || !is_language || !subtags.all(is_subtag) || is_unfinished(raw) {
            return Err(Invalid::new("Must be a language tag, such as de or pt-BR."));
        }
        Ok(Self(with_usual_capitals(raw)))
    }

    /// The tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn is_language(subtag: &str) -> bool {
    (2..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphabetic())
}

fn is_subtag(subtag: &str) -> bool {
    (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A singleton such as `u` or `x` announces subtags of an extension, so it can't be the last.
fn is_unfinished(raw: &str) -> bool {
    raw.rsplit('-').next().is_some_and(|last| last.len() == 1)
}

/// Two letters in capitals, four with one capital, all else small; everything small from the first singleton on.
fn with_usual_capitals(raw: &str) -> String {
    let mut is_plain = true;
    let subtags = raw.split('-').enumerate().map(|(position, subtag)| {
        let small = subtag.to_ascii_lowercase();
        is_plain &= small.len() > 1;
        match small.len() {
            2 if position > 0 && is_plain => small.to_ascii_uppercase(),
            4 if position > 0 && is_plain => small[..1].to_ascii_uppercase() + &small[1..],
            _ => small,
        }
    });
    subtags.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_get_their_usual_capitals() {
        for (raw, usual) in [
            ("de", "de"),
            ("DE", "de"),
            ("pt-br", "pt-BR"),
            ("ZH-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("de-ch-1996", "de-CH-1996"),
            ("EN-US-U-CA-GREGORY", "en-US-u-ca-gregory"),
        ] {
            assert_eq!(Locale::parse(raw).unwrap().as_str(), usual);
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        let long = format!("de{}", "-abcdefgh".repeat(4));
        for raw in
            ["", "d", "de-", "-de", "de--AT", "de_AT", "12", "de-AT-u", "français", "de AT", "x-y", &long]
        {
            assert!(Locale::parse(raw).is_err(), "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_reads_to_itself(raw in "[a-zA-Z]{2,3}(-[a-zA-Z0-9]{1,8}){0,3}") {
            if let Ok(tag) = Locale::parse(&raw) {
                prop_assert_eq!(Locale::parse(tag.as_str()), Ok(tag));
            }
        }
    }
}
