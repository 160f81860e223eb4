//! What must hold of the parsers whatever strangers send them.
//!
//! Each target takes any bytes and panics where its promise is broken: that what was taken reads the same again, that it is
//! within its bounds, that it can lead nowhere else. `fuzz/` looks for such bytes (`scripts/fuzz`); the test below tries those
//! that are kept in `fuzz/corpus`, among them whatever once broke a promise, on every run of the tests.
//!
//! The promises stand beside the parsers, since most of these are nobody else's business; this is the one door to them, and
//! it is there only for tests and with the feature `fuzzing`, so that nothing inside has to be public for their sake.

use url::Url;

use crate::flags::{FlagSet, LARGEST};
use crate::oauth::{Place, Places};
use crate::platform::clock::Timestamp;
use crate::platform::config::RedirectRule;
use crate::platform::cron::Cron;
use crate::users::{Description, DisplayName, Email, Identifier, Locale, Metadata, PersonName, Username};

macro_rules! targets {
    ($($words:literal $name:ident = $holds:path;)+) => {
        $(
            #[doc = $words]
            pub fn $name(input: &[u8]) {
                $holds(input);
            }
        )+

        /// Every target by its name.
        #[cfg(test)]
        const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name)),+];
    };
}

targets! {
    "Access tokens: header and claims behind a good signature, and any text in a token's place."
    access_token = crate::sessions::fuzzing::access_token;
    "Bodies: JSON and forms."
    body = crate::platform::web::fuzzing::body;
    "Crontab lines."
    cron = holds_of_cron;
    "Cursors of lists."
    cursor = crate::platform::web::fuzzing::cursor;
    "Uploads: what the file is called, and what it is."
    file = crate::files::fuzzing::file;
    "The file of flags."
    flags = holds_of_flags;
    "The frames of HTTP/2."
    frames = crate::server::fuzzing::frames;
    "Heads of HTTP/1."
    head = crate::server::fuzzing::head;
    "Header fields: who the client is, entity tags, traces."
    headers = crate::platform::web::fuzzing::headers;
    "HTML of letters."
    html = crate::mail::fuzzing::html;
    "Names, addresses and what else people write about themselves."
    people = holds_of_people;
    "Stored hashes that come from elsewhere."
    phc = crate::platform::hashing::fuzzing::phc;
    "Pictures."
    picture = crate::pictures::fuzzing::picture;
    "Where somebody wants to go on."
    place = holds_of_place;
    "`Range`."
    range = crate::files::fuzzing::range;
    "Files of settings."
    settings = crate::platform::config::fuzzing::settings;
    "Signatures of WorkOS."
    signature = crate::workos::fuzzing::signature;
    "Backups: the archive around them."
    tape = crate::archive::fuzzing::tape;
}

/// What is due is due again, each time later, at a full minute.
fn holds_of_cron(input: &[u8]) {
    let Some(cron) = std::str::from_utf8(input).ok().and_then(Cron::parse) else { return };
    let mut moment = Timestamp::from_seconds(1_800_000_000);
    for _ in 0..3 {
        let next = cron.next_after(moment);
        assert!(
            next.is_some_and(|next| next > moment && next.seconds() % 60 == 0),
            "{cron:?} behind {moment:?}"
        );
        moment = next.unwrap_or(moment);
    }
}

/// What was read is written, and reads the same.
fn holds_of_flags(input: &[u8]) {
    let Ok(set) = FlagSet::parse(input) else { return };
    let text = set.text();
    assert!(text.len() <= LARGEST);
    assert_eq!(FlagSet::parse(text.as_bytes()).as_ref(), Ok(&set));
    assert!(set.written().keys().all(|name| set.get(name).is_some()));
}

/// What was taken is safe, within its bounds, and taken again as the same.
fn holds_of_people(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(email) = Email::parse(text) {
        let normal = email.as_str();
        assert!(normal.len() <= 254 && normal.matches('@').count() == 1, "{normal}");
        assert!(
            !normal.contains(|c: char| c.is_whitespace() || c.is_control() || ",;<>\"()[]\\:".contains(c)),
            "{normal}"
        );
        assert!(email.domain().is_ascii(), "{normal}");
        assert_eq!(Identifier::parse(text), Identifier::Email(email.clone()));
        assert_eq!(Email::parse(normal).as_ref(), Ok(&email));
    }
    if let Ok(name) = Username::parse(text, 3) {
        assert!(name.as_str() == text && name.is_plain());
        assert_eq!(Username::for_lookup(&text.to_ascii_uppercase()), Some(name));
    }
    if let Some(name) = Username::for_lookup(text) {
        assert_eq!(Username::for_lookup(name.as_str()).as_ref(), Some(&name));
    }
    if let Ok(name) = DisplayName::free(text) {
        assert!(name.as_str() == text && text.chars().count() <= 64 && text.trim() == text);
        assert!(matches!(PersonName::parse(text), Ok(Some(_))));
    }
    let key = DisplayName::search_key_of(text);
    assert_eq!(DisplayName::search_key_of(&key), key, "of {text:?}");
    if let Ok(description) = Description::parse(text) {
        assert!(description.as_str() == text && text.chars().count() <= 256 && !text.contains('\0'));
    }
    if let Ok(locale) = Locale::parse(text) {
        assert!(locale.as_str().eq_ignore_ascii_case(text));
        assert_eq!(Locale::parse(locale.as_str()).as_ref(), Ok(&locale));
    }
    assert!(Identifier::parse(text).canonical().chars().count() <= 256);
    assert!(!Identifier::parse(text).canonical().contains('\0'));
    if let Ok(Ok(metadata)) = serde_json::from_str(text).map(Metadata::parse) {
        assert!(metadata.as_json().len() <= 16 * 1024);
    }
}

/// What may be gone to is of this server or among what is allowed, and is still allowed when it is read again.
fn holds_of_place(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let [own, below, exactly] = ["https://gate.test/", "https://app.test/in/", "https://one.test/in?x=1"]
        .map(|address| Url::parse(address).unwrap_or_else(|_| unreachable!("these are addresses")));
    let rules = vec![RedirectRule::Below(below.clone()), RedirectRule::Exactly(exactly.clone())];
    let places = Places::new(rules, Place::Own("/user".to_owned()));
    let Some(place) = places.read(Some(text)) else { return };
    assert_eq!(places.read(Some(place.as_str())).as_ref(), Some(&place));
    let gone_to = own.join(&place.with(&[("code", "a b&c")]));
    let gone_to = gone_to.unwrap_or_else(|_| unreachable!("{place:?} is no address with a code"));
    assert!(gone_to.query_pairs().any(|(name, value)| name == "code" && value == "a b&c"), "{gone_to}");
    match place {
        Place::Own(_) => assert_eq!(gone_to.origin(), own.origin(), "{gone_to}"),
        Place::App(_) if gone_to.origin() == below.origin() => {
            assert!(gone_to.path().starts_with("/in/"), "{gone_to}");
        }
        Place::App(_) => assert!(gone_to.as_str().starts_with(exactly.as_str()), "{gone_to}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::platform::random::Random;

    /// How often each file that is kept is changed.
    const CHANGES: usize = 20;

    fn names_in(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// What is kept for a target, in the order of the files' names.
    fn kept_for(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!paths.is_empty(), "nothing is kept for {name}");
        paths.sort();
        paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    /// Changes some bytes, or brings in some of another input.
    fn change(input: &mut Vec<u8>, other: &[u8], random: &Random) {
        let [kind, high, low, length, byte] = random.bytes();
        let at = usize::from(u16::from_be_bytes([high, low])) % (input.len() + 1);
        let end = (at + usize::from(length)).min(input.len());
        match kind % 5 {
            0 => input.insert(at, byte),
            1 => input.iter_mut().skip(at).take(1).for_each(|changed| *changed ^= 1 << (byte % 8)),
            2 => drop(input.drain(at..end)),
            3 => {
                input.truncate(at);
                input.extend_from_slice(&other[at.min(other.len())..]);
            }
            _ => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
        }
    }

    #[test]
    fn every_promise_holds_for_what_is_kept() {
        for (name, holds) in TARGETS {
            for (path, input) in kept_for(name) {
                let held = std::panic::catch_unwind(|| holds(&input));
                assert!(held.is_ok(), "{name} does not hold for {}", path.display());
            }
        }
    }

    /// The same changes in every run; `scripts/fuzz` looks further.
    #[test]
    fn every_promise_holds_for_what_is_nearly_the_same() {
        let random = Random::seeded(1);
        for (name, holds) in TARGETS {
            let kept = kept_for(name);
            for ((_, input), (_, other)) in kept.iter().zip(kept.iter().cycle().skip(1)) {
                let mut changed = input.clone();
                for number in 0..CHANGES {
                    if number % 4 == 0 {
                        changed.clone_from(input);
                    }
                    change(&mut changed, other, &random);
                    let held = std::panic::catch_unwind(|| holds(&changed));
                    assert!(held.is_ok(), "{name} does not hold for {:?}", String::from_utf8_lossy(&changed));
                }
            }
        }
    }

    #[test]
    fn every_promise_is_a_target_of_the_fuzzer() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names_in(&fuzz.join("corpus")), names);
        assert_eq!(names_in(&fuzz.join("fuzz_targets")), names);
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for name in names {
            let target = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(target.contains(&format!("gatehouse::fuzzing::{name}")), "{name}");
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
    }
}
