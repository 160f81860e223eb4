//! The words of the pages, in three languages.

use std::collections::BTreeMap;

use anyhow::Context;
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

use crate::mail::{Languages, wanted};

/// A language of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English, which everybody gets who reads none of the others.
    #[default]
    English,
    /// German.
    German,
    /// French.
    French,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::English, Self::German, Self::French];

    /// Its tag (BCP 47).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
        }
    }

    /// What those call it who read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
            Self::French => "Français",
        }
    }

    /// The language with this tag.
    #[must_use]
    pub fn of_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The best for somebody who reads these.
    #[must_use]
    pub fn for_reader(languages: &Languages) -> Self {
        wanted(languages).iter().find_map(|tag| Self::of_tag(tag)).unwrap_or_default()
    }

    const fn words(self) -> &'static str {
        match self {
            Self::English => include_str!("../../templates/page/words/en.json"),
            Self::German => include_str!("../../templates/page/words/de.json"),
            Self::French => include_str!("../../templates/page/words/fr.json"),
        }
    }
}

/// The sentences of the API, which are English, in the other languages.
const SAID: &str = include_str!("../../templates/page/words/said.json");

/// All words. They are read once.
#[derive(Debug)]
pub struct Words {
    words: BTreeMap<Language, BTreeMap<String, String>>,
    said: BTreeMap<String, BTreeMap<String, String>>,
}

impl Words {
    /// The words that the program carries.
    pub fn embedded() -> anyhow::Result<Self> {
        let read = |language: Language| {
            let words = serde_json::from_str(language.words());
            Ok((language, words.with_context(|| format!("words/{}.json", language.tag()))?))
        };
        let words = Language::ALL.into_iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { words, said: serde_json::from_str(SAID).context("words/said.json")? })
    }

    /// The word of this name; the name itself where there is none, which a test rules out.
    #[must_use]
    pub fn word<'a>(&'a self, language: Language, key: &'a str) -> &'a str {
        self.words.get(&language).and_then(|words| words.get(key)).map_or(key, String::as_str)
    }

    /// A sentence of the API in this language; as it is where nobody has put it into that one. Numbers in it stand as
    /// `#` where they differ from case to case.
    #[must_use]
    pub fn said(&self, language: Language, sentence: &str) -> String {
        let in_language = |sentence: &str| self.said.get(sentence)?.get(language.tag());
        if let Some(said) = in_language(sentence) {
            return said.clone();
        }
        let (masked, numbers) = without_numbers(sentence);
        let Some(said) = in_language(&masked) else { return sentence.to_owned() };
        numbers.into_iter().fold(said.clone(), |text, number| text.replacen('#', number, 1))
    }

    /// The words whose names begin so, and the sentences of the API: for scripts.
    #[must_use]
    pub fn for_scripts(&self, language: Language, prefixes: &[&str]) -> BTreeMap<&str, &str> {
        let wanted = |key: &str| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let words = self.words.get(&language).into_iter().flatten().filter(|(key, _)| wanted(key));
        let said =
            self.said.iter().filter_map(|(sentence, said)| Some((sentence, said.get(language.tag())?)));
        words.chain(said).map(|(key, word)| (key.as_str(), word.as_str())).collect()
    }

    /// What a template calls: `t("door.sign_in", name=…)`. A name that there is not is an error there.
    pub(super) fn sentence(&self, language: Language, key: &str, values: &Kwargs) -> Result<String, Error> {
        let words = self.words.get(&language).and_then(|words| words.get(key));
        let unknown = || Error::new(ErrorKind::InvalidOperation, format!("there is no word {key:?}"));
        let mut sentence = words.ok_or_else(unknown)?.clone();
        for name in values.args() {
            let value: Value = values.get(name)?;
            sentence = sentence.replace(&format!("{{{name}}}"), &value.to_string());
        }
        Ok(sentence)
    }
}

/// A sentence with `#` for each of its numbers, and the numbers.
fn without_numbers(sentence: &str) -> (String, Vec<&str>) {
    let numbers: Vec<&str> =
        sentence.split(|char: char| !char.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    let mut masked = String::with_capacity(sentence.len());
    for char in sentence.chars() {
        if !char.is_ascii_digit() {
            masked.push(char);
        } else if !masked.ends_with('#') {
            masked.push('#');
        }
    }
    (masked, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(sentence: &str) -> Vec<&str> {
        let mut places: Vec<&str> =
            sentence.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn every_language_has_the_same_words_with_the_same_places() {
        let words = Words::embedded().unwrap();
        let english = &words.words[&Language::English];
        for language in [Language::German, Language::French] {
            let other = &words.words[&language];
            let names = |words: &BTreeMap<String, String>| words.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(english), names(other), "{}", language.tag());
            for (key, sentence) in english {
                assert_eq!(places(sentence), places(&other[key]), "{key} in {}", language.tag());
                assert!(!other[key].trim().is_empty(), "{key} in {}", language.tag());
            }
        }
    }

    #[test]
    fn every_sentence_of_the_api_is_there_in_both_other_languages_and_in_the_source() {
        let source = source("src");
        for (sentence, said) in &Words::embedded().unwrap().said {
            let others: Vec<_> = said.keys().filter(|tag| *tag != "en").collect();
            assert_eq!(others, ["de", "fr"], "{sentence}");
            // In English again only where the sentence is one for programmers.
            assert_ne!(said.get("en"), Some(sentence));
            let is_made_up = sentence.contains('#');
            assert!(
                is_made_up || source.contains(sentence.as_str()),
                "nobody says this any more: {sentence}"
            );
        }
    }

    #[test]
    fn numbers_in_a_sentence_stay_what_they_are() {
        let words = Words::embedded().unwrap();
        let said = words.said(Language::German, "Must be at least 10 characters long.");
        assert_eq!(said, "Muss mindestens 10 Zeichen lang sein.");
        let unknown = "Nobody has put these 3 words into German.";
        assert_eq!(words.said(Language::German, unknown), unknown);
        assert_eq!(words.said(Language::English, "The password is wrong."), "The password is wrong.");
    }

    /// Every word is used, and every word that is used is there.
    #[test]
    fn pages_and_scripts_use_just_these_words() {
        let words = Words::embedded().unwrap();
        let english = &words.words[&Language::English];
        let used =
            source("src/pages") + &source("templates/page") + &source("static/js") + &source("src/server");
        // What is put together at run time, by its beginning.
        let made_up = ["problem.", "flash.", "history.", "error."];
        let on_the_console = [
            "condition.",
            "deed.",
            "field.",
            "files.",
            "flags.source.",
            "health.",
            "letter.",
            "mail.state.",
            "otp.",
            "part.",
            "place.",
            "role.",
            "subject.",
            "user.",
            "webhooks.reason.",
        ];
        let is_made_up = |key: &str| {
            let starts = |starts: &[&str], key: &str| starts.iter().any(|start| key.starts_with(start));
            starts(&made_up, key)
                || key.strip_prefix("console.").is_some_and(|key| starts(&on_the_console, key))
        };
        let named = |key: &str| used.contains(&format!("\"{key}\"")) || used.contains(&format!("'{key}'"));
        for key in english.keys() {
            assert!(is_made_up(key) || named(key), "nobody uses {key}");
        }
        for (call, quote) in [("t(\"", '"'), ("t('", '\''), (".word(\"", '"')] {
            for (place, _) in used.match_indices(call) {
                // `t(` ends the names of many functions; just so it is called by templates and scripts.
                let is_end =
                    used[..place].ends_with(|char: char| char.is_alphanumeric() || "_.!".contains(char));
                let key = used[place + call.len()..].split(quote).next().unwrap();
                let is_call = call.starts_with('.') || !is_end;
                let is_there = english.contains_key(key) || key.ends_with('.');
                assert!(!is_call || is_there, "there is no word {key:?}");
            }
        }
    }

    fn source(folder: &str) -> String {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut folders = vec![root.join(folder)];
        let mut text = String::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let is_words = path.ends_with("page/words");
                if path.is_dir() && !is_words {
                    folders.push(path);
                } else if path
                    .extension()
                    .is_some_and(|kind| ["rs", "html", "js"].contains(&kind.to_str().unwrap()))
                {
                    let file = std::fs::read_to_string(path).unwrap();
                    text.push_str(file.split("#[cfg(test)]").next().unwrap());
                }
            }
        }
        text
    }
}
