//! The letters' templates: those of the program, over which the operator's files in `DATA_DIR/templates/email` win.
//!
//! A file there may change while the program runs. What is broken, or asks for a value that its letter does not have,
//! is refused with a line in the log, and what was good before it stays.

mod folder;
mod languages;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use serde_json::{Map, json};

use super::html;
use super::letter::Languages;
use folder::Files;

pub(crate) use languages::wanted;

/// The language that every letter is written in.
pub(super) const ENGLISH: &str = "en";
/// The files of a letter.
const PARTS: [&str; 3] = ["subject.txt", "body.txt", "body.html"];
/// What a template may do before it is given up: one that never ends would hold a worker for ever.
const FUEL: u64 = 1_000_000;

/// Calls `$callback` with the folder of each letter.
macro_rules! for_each_letter {
    ($callback:ident, $language:literal) => {
        $callback!(
            $language,
            [
                "verification",
                "add-password",
                "reset",
                "code",
                "sign-up-attempt",
                "new-device",
                "password-changed",
                "email-changed",
                "second-factor-changed",
                "recovery-code-used",
                "recovery-codes-replaced",
                "second-factor-guessed",
                "account-locked",
                "account-linked",
                "account-unlinked",
                "account-deleted",
                "webhook-disabled",
                "test",
                "custom",
            ]
        )
    };
}

/// A template of the program: its name and its text.
macro_rules! embedded {
    ($name:expr) => {
        ($name, include_str!(concat!("../../templates/email/", $name)))
    };
}

macro_rules! names {
    ($language:literal, [$($letter:literal),+ $(,)?]) => { &[$($letter),+] };
}

macro_rules! files_of {
    ($language:literal, [$($letter:literal),+ $(,)?]) => {
        &[
            embedded!(concat!($language, "/occasion.txt")),
            embedded!(concat!($language, "/occasion.html")),
            embedded!(concat!($language, "/footer.txt")),
            embedded!(concat!($language, "/footer.html")),
            $(
                embedded!(concat!($language, "/", $letter, "/subject.txt")),
                embedded!(concat!($language, "/", $letter, "/body.txt")),
                embedded!(concat!($language, "/", $letter, "/body.html")),
            )+
        ]
    };
}

const LETTERS: &[&str] = for_each_letter!(names, "");

const EMBEDDED: [&[(&str, &str)]; 4] = [
    &[embedded!("layout.txt"), embedded!("layout.html"), embedded!("parts.html")],
    for_each_letter!(files_of, "en"),
    for_each_letter!(files_of, "de"),
    for_each_letter!(files_of, "fr"),
];

/// A letter as people read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// For programs that show no HTML.
    pub text: String,
    /// For those that do.
    pub html: String,
}

/// Everything there is to render letters with.
pub(super) struct Templates {
    folder: PathBuf,
    current: ArcSwap<Set>,
    seen: Mutex<Files>,
}

/// Templates that fit together.
struct Set {
    files: Arc<Files>,
    environment: Environment<'static>,
    /// For each letter, the languages that have all its files.
    languages: BTreeMap<String, BTreeSet<String>>,
}

impl Templates {
    /// The program's templates, and over them what is in `folder`.
    pub(super) fn open(folder: PathBuf) -> Self {
        // A test proves those of the program: a start need not.
        let current = ArcSwap::from_pointee(Set::unproved(embedded_files()));
        let templates = Self { folder, current, seen: Mutex::new(Files::new()) };
        templates.refresh();
        templates
    }

    /// Looks whether the operator's files have changed, and uses what is good of them. Reads files: not for a thread
    /// that others wait for.
    pub(super) fn refresh(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = folder::read(&self.folder);
        if found == *seen {
            return;
        }
        self.adopt(&found);
        *seen = found;
    }

    /// All of it if it is good together; else file by file, leaving out what is broken.
    fn adopt(&self, found: &Files) {
        let mut wanted = embedded_files();
        wanted.extend(found.clone());
        if let Ok(set) = Set::of(wanted) {
            tracing::info!(files = found.len(), "mail templates of DATA_DIR/templates/email are in use");
            return self.current.store(Arc::new(set));
        }
        // What was taken away is gone; what was good of a file that is broken now stays.
        let mut good = embedded_files();
        good.extend(
            Files::clone(&self.current.load().files).into_iter().filter(|(name, _)| found.contains_key(name)),
        );
        let mut current = match Set::of(good) {
            Ok(set) => set,
            Err(error) => {
                return tracing::error!(error = format!("{error:#}"), "mail templates stay as they were");
            }
        };
        for (file, text) in found {
            if current.files.get(file) == Some(text) {
                continue;
            }
            let mut files = Files::clone(&current.files);
            files.insert(file.clone(), text.clone());
            match Set::of(files) {
                Ok(set) => current = set,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(file, error, "a mail template was refused; the last good one stays");
                }
            }
        }
        self.current.store(Arc::new(current));
    }

    /// The language to write a letter in: the first of the reader's that it is there in, else English.
    pub(super) fn language(&self, letter: &str, languages: &Languages) -> String {
        let set = self.current.load();
        let known = set.languages.get(letter);
        let wanted = languages::wanted(languages);
        let found = wanted.into_iter().find(|language| known.is_some_and(|known| known.contains(language)));
        found.unwrap_or_else(|| ENGLISH.to_owned())
    }

    /// Writes a letter. `shown` must hold every value that its templates ask for.
    pub(super) fn render(&self, language: &str, letter: &str, shown: &Value) -> anyhow::Result<Rendered> {
        self.current.load().render(language, letter, shown)
    }
}

impl Set {
    /// The files, each compiled when it is first asked for.
    fn unproved(files: Files) -> Self {
        let languages = languages_of(&files);
        let files = Arc::new(files);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let texts = Arc::clone(&files);
        environment.set_loader(move |name| Ok(texts.get(name).cloned()));
        Self { files, environment, languages }
    }

    /// Compiles the files and writes each letter once in each language, so that what is broken shows now.
    fn of(files: Files) -> anyhow::Result<Self> {
        let set = Self::unproved(files);
        for name in set.files.keys() {
            set.environment.get_template(name)?;
        }
        for (letter, languages) in &set.languages {
            for language in languages {
                for sample in samples(letter) {
                    set.render(language, letter, &sample)?;
                }
            }
        }
        Ok(set)
    }

    fn render(&self, language: &str, letter: &str, shown: &Value) -> anyhow::Result<Rendered> {
        let has_it = self.languages.get(letter).is_some_and(|languages| languages.contains(language));
        let language = if has_it { language } else { ENGLISH };
        let part = |part: &str| {
            let template = self.environment.get_template(&format!("{language}/{letter}/{part}"))?;
            template.render(context! { language => language, ..shown.clone() })
        };
        Ok(Rendered {
            subject: one_line(&part(PARTS[0])?),
            text: html::tidy(&part(PARTS[1])?),
            html: part(PARTS[2])?,
        })
    }
}

fn embedded_files() -> Files {
    EMBEDDED.into_iter().flatten().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// The languages that have every file of a letter: a letter is never in two languages.
fn languages_of(files: &Files) -> BTreeMap<String, BTreeSet<String>> {
    let all: BTreeSet<&str> = files.keys().filter_map(|name| Some(name.split_once('/')?.0)).collect();
    let has = |language: &str, letter: &str| {
        PARTS.iter().all(|part| files.contains_key(&format!("{language}/{letter}/{part}")))
    };
    let of_letter = |letter: &&str| {
        let languages =
            all.iter().filter(|language| has(language, letter)).map(|language| (*language).to_owned());
        ((*letter).to_owned(), languages.collect())
    };
    LETTERS.iter().map(of_letter).collect()
}

/// A header can't hold line ends, nor anything else that is no letter to the eye.
fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Values as a letter may have them: with all that can be there, and with as little as there can be.
fn samples(letter: &str) -> [Value; 2] {
    let full = json!({
        "time": "2026-01-31 17:05 UTC", "ip": "192.0.2.1", "browser": "Firefox", "system": "Linux", "place": "Berlin",
    });
    let scarce = json!({ "time": null, "ip": null, "browser": null, "system": null, "place": null });
    let of_letter = |number: u64, until: serde_json::Value, method: &str| match letter {
        "verification" | "add-password" => {
            json!({ "username": "ann", "link": "https://example.com/?a=1&b=2", "hours": number })
        }
        "reset" => json!({ "username": "ann", "link": "https://example.com/?a=1&b=2", "minutes": number }),
        "code" => json!({ "username": "ann", "code": "12345678", "minutes": number }),
        "email-changed" => json!({ "username": "ann", "new_address": "a***@example.com" }),
        "second-factor-changed" => json!({ "username": "ann", "method": method }),
        "recovery-code-used" => json!({ "username": "ann", "left": number }),
        "account-linked" | "account-unlinked" => json!({ "username": "ann", "provider": "Example" }),
        "account-deleted" => json!({ "username": "ann", "until": until }),
        "webhook-disabled" => json!({
            "host": "example.com", "description": "", "reason": if number > 1 { "failing" } else { "gone" },
            "since": if number > 1 { Some("2026-01-31 17:05 UTC") } else { None },
            "link": "https://example.com/?a=1&b=2",
        }),
        "test" => json!({}),
        "custom" => json!({ "subject": "Hello", "text": "Hello", "html": "<p>Hello</p>" }),
        _ => json!({ "username": "ann" }),
    };
    let common = |occasion: serde_json::Value, known: Option<&str>| {
        json!({
            "occasion": occasion, "contact": known, "trace_id": known,
            "project_name": "Gatehouse", "base_url": "https://example.com",
        })
    };
    let joined = |letter: serde_json::Value, common: serde_json::Value| {
        let mut values = Map::new();
        for part in [letter, common] {
            if let serde_json::Value::Object(part) = part {
                values.extend(part);
            }
        }
        Value::from(Serde(values))
    };
    [
        joined(of_letter(2, json!("2026-01-31"), "authenticator"), common(full, Some("help@example.com"))),
        joined(
            of_letter(1, json!(null), "none"),
            common(if matches!(letter, "webhook-disabled" | "test") { json!(null) } else { scarce }, None),
        ),
    ]
}

#[cfg(test)]
mod tests;
