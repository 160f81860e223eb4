//! From texts to values: every setting is asked for here, and every text that means nothing is noted.

use std::borrow::Cow;

use super::catalogue::Setting;
use super::kinds::{Kind, Shape};
use super::mistake::Mistake;
use super::oauth;
use super::resolve::{Found, Texts, resolve};
use super::server::ENVIRONMENT;
use super::settings;
use super::sources::{KeyUse, Origin, Sources};

/// Proof that a mistake was noted: a section can be given up only with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted(());

/// Reads settings and collects what is wrong with them.
pub(super) struct Reader {
    texts: Texts,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
    key_use: KeyUse,
}

/// What a setting is now, and where that comes from.
#[derive(Clone)]
pub struct Effective {
    /// The name of the setting.
    pub name: Cow<'static, str>,
    /// Its text, masked where it is secret; empty for none.
    pub shown: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl Reader {
    /// A reader of `sources`, with what is already wrong with them.
    pub fn new(sources: &Sources) -> Self {
        let (texts, mistakes) = resolve(sources);
        Self { texts, mistakes, warnings: Vec::new(), key_use: sources.key_use }
    }

    /// The value of the setting `name`. A default that can't be read was made from another setting, and is noted
    /// only where that one wasn't.
    pub fn value<K: Kind>(&mut self, name: &str, kind: &K) -> Result<K::Value, Noted> {
        let text = self.text(name);
        match kind.parse(&text) {
            Some(value) => Ok(value),
            None if self.found(name).is_none() && !self.mistakes.is_empty() => Err(Noted(())),
            None => Err(self.refuse(name, &kind.accepts())),
        }
    }

    /// The same, for a look from elsewhere that notes nothing.
    pub fn glimpse<K: Kind>(&self, name: &str, kind: &K) -> Option<K::Value> {
        kind.parse(&self.text(name))
    }

    /// Whether `ENVIRONMENT` is `local`, or can't be read: that is noted as a mistake of its own, and no others are
    /// made of it.
    pub fn is_local(&self) -> bool {
        self.glimpse("ENVIRONMENT", &ENVIRONMENT).is_none_or(|environment| environment.is_local())
    }

    /// The text of the setting `name`, its default if nobody set it.
    pub fn text(&self, name: &str) -> String {
        match self.found(name) {
            Some(found) => found.text.clone(),
            None => self.expanded(setting(name).map_or("", |setting| setting.default)),
        }
    }

    /// What happens where `local` has no master secret yet. A start that will be refused leaves nothing behind.
    pub fn key_use(&self) -> KeyUse {
        if self.mistakes.is_empty() { self.key_use } else { KeyUse::Look }
    }

    /// What somebody wrote for the setting `name`.
    pub fn found(&self, name: &str) -> Option<&Found> {
        self.texts.get(name)
    }

    /// Everything that somebody wrote.
    pub fn all_found(&self) -> impl Iterator<Item = (&str, &Found)> {
        self.texts.iter().map(|(name, found)| (&**name, found))
    }

    /// Notes that the setting `name` is not what is `accepted`.
    pub fn refuse(&mut self, name: &str, accepted: &str) -> Noted {
        let mistake = match self.found(name) {
            Some(found) => {
                // What is named after an issuer may be a secret, too.
                let shown = setting(name).map(|setting| setting.shape.shown(&found.text));
                let shown = shown.filter(|shown| *shown == found.text);
                Mistake::refused(&found.variable, shown.as_deref(), &found.origin, accepted)
            }
            None => Mistake::new(format!("{name} is not set: it must be {accepted}")),
        };
        self.note(mistake)
    }

    /// Notes a mistake.
    pub fn note(&mut self, mistake: Mistake) -> Noted {
        self.mistakes.push(mistake);
        Noted(())
    }

    /// Tells of something that is allowed and rarely meant.
    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Records that the setting `name` was made up and is kept at `origin`.
    pub fn keep(&mut self, name: &'static str, text: &str, origin: Origin) {
        self.texts.insert(name.into(), Found { variable: name.to_owned(), text: text.to_owned(), origin });
    }

    /// Every setting as it is now. Those of each issuer stand behind the list of issuers.
    pub fn effective(&self) -> Vec<Effective> {
        let mut effective = Vec::new();
        for setting in settings() {
            effective.push(self.effective_of(setting.name.into(), setting.shape));
            if setting.name == oauth::ISSUERS {
                let of_issuers = oauth::settings_of_issuers(self).into_iter();
                effective.extend(of_issuers.map(|(name, shape)| self.effective_of(name.into(), shape)));
            }
        }
        effective
    }

    fn effective_of(&self, name: Cow<'static, str>, shape: &dyn Shape) -> Effective {
        let text = self.text(&name);
        let shown = if text.is_empty() { text } else { shape.shown(&text) };
        let origin = self.found(&name).map_or(Origin::Default, |found| found.origin.clone());
        Effective { name, shown, origin }
    }

    /// What was noted: mistakes, sorted and each once, and warnings.
    pub fn finish(mut self) -> (Vec<Mistake>, Vec<String>) {
        self.mistakes.sort();
        self.mistakes.dedup();
        (self.mistakes, self.warnings)
    }

    /// `default` with every `{NAME}` replaced by the text of that setting.
    fn expanded(&self, default: &str) -> String {
        let Some((before, rest)) = default.split_once('{') else { return default.to_owned() };
        let Some((name, after)) = rest.split_once('}') else { return default.to_owned() };
        format!("{before}{}{}", self.text(name), self.expanded(after))
    }
}

fn setting(name: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.name == name)
}
