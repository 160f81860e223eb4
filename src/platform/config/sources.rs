//! Where settings are written: a file, `.env`, the environment. Later ones win.

use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::mistake::Mistake;
use super::names;
use super::{dotenv, toml_file};

/// The file that is read when no other is named.
const FILE: &str = "gatehouse.toml";
/// The file of variables in the working directory.
const DOTENV: &str = ".env";

/// Everything that was written down somewhere, unjudged; the last layer wins.
#[derive(Default)]
pub struct Sources {
    pub(super) layers: Vec<Layer>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) key_use: KeyUse,
}

/// What happens where `local` has no master secret yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum KeyUse {
    /// One is made and kept in the data folder.
    #[default]
    Keep,
    /// One is made and forgotten with the process: a look must not leave files behind, least of all root's.
    Look,
}

/// One place and what it says.
pub(super) struct Layer {
    pub origin: Origin,
    pub pairs: Vec<Pair>,
    /// Whether nobody else writes there, so that an unknown name is a mistake even without our prefix.
    pub is_ours_alone: bool,
}

/// A name and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub name: String,
    pub text: String,
}

impl Pair {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file: `gatehouse.toml`, `.env`, or one that a variable `…_FILE` names.
    File(PathBuf),
    /// The process environment.
    Environment,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Environment => out.write_str("environment"),
        }
    }
}

impl Sources {
    /// What this process was given: `file`, or `gatehouse.toml` where there is one; `.env`; the environment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the process environment")]
    pub fn of_process(file: Option<&Path>) -> Self {
        let sources = match file {
            Some(file) => Self::default().with_file(file, Presence::Required),
            None => Self::default().with_file(Path::new(FILE), Presence::Optional),
        };
        sources.with_dotenv_file(Path::new(DOTENV)).with_environment(std::env::vars_os())
    }

    /// For commands that only look: loading these sources writes nothing.
    #[must_use]
    pub fn only_looking(mut self) -> Self {
        self.key_use = KeyUse::Look;
        self
    }

    /// Adds a TOML file.
    #[must_use]
    pub fn with_file(mut self, path: &Path, presence: Presence) -> Self {
        match self.read(path, presence) {
            Some(text) => self.with_toml(path, &text),
            None => self,
        }
    }

    /// Adds a file of `NAME=value` lines, where there is one.
    #[must_use]
    pub fn with_dotenv_file(mut self, path: &Path) -> Self {
        match self.read(path, Presence::Optional) {
            Some(text) => self.with_dotenv(path, &text),
            None => self,
        }
    }

    /// Adds the content of a TOML file.
    #[must_use]
    pub fn with_toml(self, path: &Path, text: &str) -> Self {
        let (pairs, mistakes) = toml_file::parse(path, text);
        self.with_layer(Layer { origin: Origin::File(path.to_owned()), pairs, is_ours_alone: true }, mistakes)
    }

    /// Adds the content of a file of `NAME=value` lines.
    #[must_use]
    pub fn with_dotenv(self, path: &Path, text: &str) -> Self {
        let (pairs, mistakes) = dotenv::parse(path, text);
        let origin = Origin::File(path.to_owned());
        self.with_layer(Layer { origin, pairs: unquoted(pairs), is_ours_alone: false }, mistakes)
    }

    /// Adds an environment. What isn't UTF-8 and isn't ours is nobody's mistake.
    #[must_use]
    pub fn with_environment(self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut pairs = Vec::new();
        let mut mistakes = Vec::new();
        for (name, text) in variables {
            match (name.into_string(), text.into_string()) {
                (Ok(name), Ok(text)) => pairs.push(Pair::new(name, text)),
                (Ok(name), Err(_)) if names::is_ours(&name) => {
                    mistakes.push(Mistake::new(format!("{name} (environment) is not UTF-8")));
                }
                _ => {}
            }
        }
        self.with_layer(
            Layer { origin: Origin::Environment, pairs: unquoted(pairs), is_ours_alone: false },
            mistakes,
        )
    }

    /// Adds an environment of these variables.
    #[must_use]
    pub fn with_variables(self, variables: &[(&str, &str)]) -> Self {
        self.with_environment(variables.iter().map(|(name, text)| (name.into(), text.into())))
    }

    fn with_layer(mut self, layer: Layer, mistakes: Vec<Mistake>) -> Self {
        self.layers.push(layer);
        self.mistakes.extend(mistakes);
        self
    }

    fn read(&mut self, path: &Path, presence: Presence) -> Option<String> {
        match std::fs::read(path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Some(text),
                Err(_) => self.mistakes.push(Mistake::new(format!("{} is not UTF-8", path.display()))),
            },
            Err(error) if error.kind() == ErrorKind::NotFound && presence == Presence::Optional => {}
            Err(error) => {
                self.mistakes.push(Mistake::new(format!("{} can't be read: {error}", path.display())));
            }
        }
        None
    }
}

/// Whether a file must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Somebody named it.
    Required,
    /// It is read if it is there.
    Optional,
}

fn unquoted(pairs: Vec<Pair>) -> Vec<Pair> {
    pairs.into_iter().map(|pair| Pair::new(pair.name, unquote(&pair.text))).collect()
}

/// Without the spaces round it and without one pair of quotes.
fn unquote(text: &str) -> &str {
    let text = text.trim();
    ['"', '\''].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(text)
}
