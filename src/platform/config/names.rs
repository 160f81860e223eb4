//! What a variable's name means: which setting, by which of its names, or nothing of ours.

use std::borrow::Cow;

use super::catalogue::{Alias, Setting};
use super::{oauth, settings};

/// What every variable may begin with.
pub const PREFIX: &str = "GATEHOUSE_";
/// The end of a variable that names a file with the value (Docker and Kubernetes secrets).
pub const FILE: &str = "_FILE";

/// A variable that means a setting.
#[derive(Clone)]
pub(super) struct Spelling {
    /// The setting's own name.
    pub setting: Cow<'static, str>,
    pub way: Way,
    pub prefixed: bool,
}

/// How the text of a variable gives the value of its setting.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// It is the value.
    Plain,
    /// It names a file that holds the value.
    File,
    /// It is a switch; on, it means this value.
    Switch(&'static str),
}

/// The setting that `name` means.
pub(super) fn spelling(name: &str) -> Option<Spelling> {
    let bare = name.strip_prefix(PREFIX);
    let prefixed = bare.is_some();
    let bare = bare.unwrap_or(name);
    let known = plain(bare).or_else(|| file(bare));
    let known = known.map(|(setting, way)| (Cow::Borrowed(setting.name), way));
    let (setting, way) = known.or_else(|| of_issuer(bare))?;
    Some(Spelling { setting, way, prefixed })
}

/// A setting that is named after an OpenID Connect issuer.
fn of_issuer(name: &str) -> Option<(Cow<'static, str>, Way)> {
    let (name, way) = name.strip_suffix(FILE).map_or((name, Way::Plain), |name| (name, Way::File));
    oauth::issuer_of(name).map(|_| (Cow::Owned(name.to_owned()), way))
}

fn plain(name: &str) -> Option<(&'static Setting, Way)> {
    settings().find_map(|setting| {
        let alias = setting.aliases.iter().find(|alias| alias.name() == name);
        match alias {
            Some(Alias::Switch(_, meaning)) => Some((setting, Way::Switch(meaning))),
            Some(Alias::Same(_)) => Some((setting, Way::Plain)),
            None => (setting.name == name).then_some((setting, Way::Plain)),
        }
    })
}

fn file(name: &str) -> Option<(&'static Setting, Way)> {
    match plain(name.strip_suffix(FILE)?)? {
        (setting, Way::Plain) => Some((setting, Way::File)),
        _ => None,
    }
}

/// Whether `name` claims to be one of ours.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || spelling(name).is_some()
}

/// Whether Kubernetes put it there: it describes each Service of the namespace to every pod, and a Service named
/// `gatehouse` or `postgres` looks as if it were a setting.
pub(super) fn is_from_kubernetes(name: &str, text: &str) -> bool {
    let addresses = name.ends_with("_PORT") && text.starts_with("tcp://");
    let described = name
        .strip_prefix(PREFIX)
        .is_some_and(|bare| bare.starts_with("SERVICE_") || bare.starts_with("PORT_"));
    addresses || (described && spelling(name).is_none())
}

/// The known name that `name` was probably meant to be, with the prefix if `name` has it.
pub(super) fn nearest(name: &str) -> Option<String> {
    const LIKELY: f64 = 0.7;
    let (prefix, bare) = name.strip_prefix(PREFIX).map_or(("", name), |bare| (PREFIX, bare));
    settings()
        .flat_map(Setting::names)
        .map(|known| (strsim::normalized_damerau_levenshtein(bare, known), known))
        .filter(|(likeness, _)| *likeness >= LIKELY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| format!("{prefix}{known}"))
}
