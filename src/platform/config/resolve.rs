//! From sources to one text per setting: which spelling counts, which source wins, what contradicts itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::kinds::{Flag, Kind, Shape};
use super::mistake::Mistake;
use super::names::{self, Spelling, Way};
use super::sources::{Layer, Origin, Sources};

/// The text that somebody gave a setting.
#[derive(Clone)]
pub(super) struct Found {
    /// The variable as it was spelled.
    pub variable: String,
    pub text: String,
    pub origin: Origin,
}

/// The texts, by setting.
pub(super) type Texts = HashMap<Cow<'static, str>, Found>;

/// The text of every setting that was given one.
pub(super) fn resolve(sources: &Sources) -> (Texts, Vec<Mistake>) {
    let mut winners = HashMap::new();
    let mut mistakes = sources.mistakes.clone();
    for layer in &sources.layers {
        let given = recognise(layer, &mut mistakes);
        for (name, candidates) in given {
            match choose(candidates, &layer.origin) {
                Ok(Some(candidate)) => drop(winners.insert(name, (candidate, layer.origin.clone()))),
                Ok(None) => {}
                Err(mistake) => mistakes.push(mistake),
            }
        }
    }
    let mut texts = Texts::new();
    for (name, (candidate, origin)) in winners {
        match candidate.into_found(origin) {
            Ok(found) => drop(texts.insert(name, found)),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    (texts, mistakes)
}

/// A variable that gives a setting a text.
#[derive(Clone)]
struct Candidate {
    spelling: Spelling,
    variable: String,
    text: String,
}

/// Sorts a layer's pairs by setting. Empty means unset.
fn recognise(layer: &Layer, mistakes: &mut Vec<Mistake>) -> HashMap<Cow<'static, str>, Vec<Candidate>> {
    let mut given: HashMap<_, Vec<Candidate>> = HashMap::new();
    for pair in &layer.pairs {
        if names::is_from_kubernetes(&pair.name, &pair.text) {
            continue;
        }
        match names::spelling(&pair.name) {
            Some(_) if pair.text.is_empty() => {}
            Some(spelling) => given.entry(spelling.setting.clone()).or_default().push(Candidate {
                spelling,
                variable: pair.name.clone(),
                text: pair.text.clone(),
            }),
            None if layer.is_ours_alone || pair.name.starts_with(names::PREFIX) => {
                mistakes.push(unknown(&pair.name, &layer.origin));
            }
            None => {}
        }
    }
    given
}

fn unknown(name: &str, origin: &Origin) -> Mistake {
    let hint = names::nearest(name).map_or_else(
        || "`gatehouse config --example` lists all".to_owned(),
        |nearest| format!("did you mean {nearest}?"),
    );
    Mistake::new(format!("{name} ({origin}) is no setting: {hint}"))
}

/// The one candidate that counts. A prefixed name was meant for us alone and beats a bare one; a switch says less
/// than a value; beyond that, two that differ contradict each other.
fn choose(mut candidates: Vec<Candidate>, origin: &Origin) -> Result<Option<Candidate>, Mistake> {
    if candidates.iter().any(|candidate| candidate.spelling.prefixed) {
        candidates.retain(|candidate| candidate.spelling.prefixed);
    }
    if candidates.iter().any(|candidate| !candidate.is_switch()) {
        candidates.retain(|candidate| !candidate.is_switch());
    }
    let Some(first) = candidates.first() else { return Ok(None) };
    if let Some(other) = candidates.iter().skip(1).find(|other| !first.agrees_with(other)) {
        return Err(first.contradicts(other, origin));
    }
    first.clone().switched(origin)
}

impl Candidate {
    fn is_switch(&self) -> bool {
        matches!(self.spelling.way, Way::Switch(_))
    }

    fn is_file(&self) -> bool {
        matches!(self.spelling.way, Way::File)
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.variable != other.variable && self.text == other.text && self.is_file() == other.is_file()
    }

    fn contradicts(&self, other: &Self, origin: &Origin) -> Mistake {
        if self.variable == other.variable {
            return Mistake::new(format!("{} is set twice ({origin}): keep one", self.variable));
        }
        Mistake::new(format!("{} and {} are both set ({origin}): keep one", self.variable, other.variable))
    }

    /// With a switch replaced by what it means: a value when on, nothing when off.
    fn switched(mut self, origin: &Origin) -> Result<Option<Self>, Mistake> {
        let Way::Switch(meaning) = self.spelling.way else { return Ok(Some(self)) };
        match Flag.parse(&self.text) {
            Some(true) => {
                meaning.clone_into(&mut self.text);
                Ok(Some(self))
            }
            Some(false) => Ok(None),
            None => Err(Mistake::refused(&self.variable, Some(&self.text), origin, &Flag.accepts())),
        }
    }

    fn into_found(self, origin: Origin) -> Result<Found, Mistake> {
        if !self.is_file() {
            return Ok(Found { variable: self.variable, text: self.text, origin });
        }
        let path = PathBuf::from(&self.text);
        let text = content(&path).map_err(|why| {
            Mistake::new(format!("{} ({origin}) names {}, which {why}", self.variable, path.display()))
        })?;
        Ok(Found { variable: self.variable, text, origin: Origin::File(path) })
    }
}

/// The content of a file without the line break at its end, which editors and `echo` add.
fn content(path: &Path) -> Result<String, String> {
    const LARGEST: u64 = 64 * 1024;
    let file = std::fs::File::open(path).map_err(|error| format!("can't be read: {error}"))?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("can't be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err("is larger than 64 KiB".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err("is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}
