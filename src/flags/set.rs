//! All flags together: read from text, compared, changed, asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::flag::{Decision, Flag, Person, Reason, Shelter};
use super::name::Name;
use super::operations::shelter_of;
use super::written::{self, FlagValue, Written};
use crate::platform::problem::FieldError;
use crate::platform::web::read_json;

/// Largest text of a set, in bytes.
pub const LARGEST: usize = 256 * 1024;
/// Flags of one set.
const MOST_FLAGS: usize = 1000;
/// Members of a text as large as that.
const MOST_MEMBERS: usize = LARGEST / 4;

/// All flags by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlagSet(BTreeMap<Name, Entry>);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    flag: Flag,
    shelter: Shelter,
}

/// What makes one set of another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The flags that go.
    pub remove: BTreeSet<Name>,
    /// The flags that come or get another value; after the removals.
    pub add: BTreeMap<Name, Flag>,
}

/// One flag before and after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The flag's name.
    pub flag: String,
    /// Its value before; none: it was not there.
    pub before: Option<FlagValue>,
    /// Its value after; none: it is no longer there.
    pub after: Option<FlagValue>,
}

impl FlagSet {
    /// Reads the text of a file, or says in one line what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(too_large());
        }
        if text.starts_with(b"\xef\xbb\xbf") {
            return Err("it begins with a byte order mark; save it as UTF-8 without one".to_owned());
        }
        let written: Written =
            read_json(text, MOST_MEMBERS).map_err(|problem| match problem.errors.first() {
                Some(error) => told(error),
                None => where_it_breaks(text),
            })?;
        let flags = written.into_iter().map(|(name, value)| written::read("", &name, value));
        let flags: BTreeMap<Name, Flag> = flags.collect::<Result<_, _>>().map_err(|error| told(&error))?;
        let set = Self::of(flags);
        set.check().map(|()| set)
    }

    fn of(flags: BTreeMap<Name, Flag>) -> Self {
        Self(flags.into_iter().map(|(name, flag)| Entry::of(name, flag)).collect())
    }

    /// As a file holds it: one JSON, sorted by name, with a line break at its end.
    #[must_use]
    pub fn text(&self) -> String {
        // Names and values have no state that JSON can't hold.
        let mut text = serde_json::to_string_pretty(&self.written()).unwrap_or_default();
        text.push('\n');
        text
    }

    /// As answers hold it.
    #[must_use]
    pub fn written(&self) -> Written {
        self.0.iter().map(|(name, entry)| (name.as_str().to_owned(), FlagValue::from(&entry.flag))).collect()
    }

    /// How a flag is for somebody, or for nobody in particular. One that is not there is on.
    #[must_use]
    pub fn decide(&self, name: &str, who: Option<&Person>) -> Decision {
        match self.0.get_key_value(name) {
            Some((name, entry)) => entry.flag.decide(name, entry.shelter, who),
            None => Decision { on: true, reason: Reason::Unlisted },
        }
    }

    /// The same for each flag.
    pub fn decisions(&self, who: Option<&Person>) -> impl Iterator<Item = (&Name, &Flag, Decision)> {
        let decide = move |(name, entry): (&Name, &Entry)| entry.flag.decide(name, entry.shelter, who);
        self.0.iter().map(move |(name, entry)| (name, &entry.flag, decide((name, entry))))
    }

    /// The flag of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Flag> {
        self.0.get(name).map(|entry| &entry.flag)
    }

    /// The flags that are not on although what they belong to can't be switched off for everybody.
    pub fn without_effect(&self) -> impl Iterator<Item = &Name> {
        let idle = |entry: &Entry| entry.shelter == Shelter::All && entry.flag != Flag::On;
        self.0.iter().filter(move |(_, entry)| idle(entry)).map(|(name, _)| name)
    }

    /// The set after a change, unless that would be too much.
    pub fn after(&self, change: &Change) -> Result<Self, String> {
        let mut set = self.clone();
        set.0.retain(|name, _| !change.remove.contains(name));
        set.0.extend(change.add.iter().map(|(name, flag)| Entry::of(name.clone(), flag.clone())));
        set.check().map(|()| set)
    }

    /// What makes `other` of this set.
    #[must_use]
    pub fn change_to(&self, other: &Self) -> Change {
        let gone = self.0.keys().filter(|name| !other.0.contains_key(*name)).cloned();
        let new = other.0.iter().filter(|(name, entry)| self.0.get(*name) != Some(*entry));
        Change {
            remove: gone.collect(),
            add: new.map(|(name, entry)| (name.clone(), entry.flag.clone())).collect(),
        }
    }

    /// The flags that are another in `other`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let Change { remove, add } = self.change_to(other);
        let names: BTreeSet<&Name> = remove.iter().chain(add.keys()).collect();
        let value = |set: &Self, name: &Name| set.get(name.as_str()).map(FlagValue::from);
        let difference = |name: &Name| Difference {
            flag: name.as_str().to_owned(),
            before: value(self, name),
            after: value(other, name),
        };
        names.into_iter().map(difference).collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.0.len() > MOST_FLAGS {
            return Err(format!("there are more than {MOST_FLAGS} flags"));
        }
        if self.text().len() > LARGEST { Err(too_large()) } else { Ok(()) }
    }
}

impl Entry {
    fn of(name: Name, flag: Flag) -> (Name, Self) {
        let shelter = shelter_of(name.as_str());
        (name, Self { flag, shelter })
    }
}

impl Change {
    /// Whether nothing comes of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// That these flags are on, where they are not there.
    #[must_use]
    pub fn of_missing<'a>(set: &FlagSet, names: impl IntoIterator<Item = &'a Name>) -> Self {
        let missing = names.into_iter().filter(|name| set.get(name.as_str()).is_none());
        Self { add: missing.map(|name| (name.clone(), Flag::On)).collect(), ..Self::default() }
    }
}

fn too_large() -> String {
    format!("it is larger than {} KiB", LARGEST / 1024)
}

fn told(error: &FieldError) -> String {
    format!("{}: {}", error.field, error.message)
}

/// Line and column of what is no JSON; nothing of the text itself.
fn where_it_breaks(text: &[u8]) -> String {
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Err(error) => format!("it is no JSON from line {}, column {} on", error.line(), error.column()),
        Ok(_) => "it is no JSON that can be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> FlagSet {
        FlagSet::parse(text.as_bytes()).unwrap()
    }

    fn mistake(text: &str) -> String {
        FlagSet::parse(text.as_bytes()).unwrap_err()
    }

    const GOOD: &str =
        r#"{"A": true, "B": false, "C": [{"percentageOfUsers": 0.5, "userRoles": ["tester"]}, {}]}"#;

    #[test]
    fn what_is_written_is_read_back() {
        let good = set(GOOD);
        assert_eq!(set(&good.text()), good);
        assert_eq!(set(&GOOD.replace(", ", ",\r\n\t")), good);
        assert!(good.text().ends_with("}\n"));
        assert_eq!(set("{}"), FlagSet::default());
        assert_eq!(set(r#"{"A":[{"percentageOfUsers":null,"userRoles":null}]}"#), set(r#"{"A":[{}]}"#));
    }

    #[test]
    fn a_set_that_is_cut_off_is_refused_wherever_it_ends() {
        for end in 0..GOOD.len() {
            assert!(FlagSet::parse(&GOOD.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, words) in [
            ("", "it is no JSON from line 1, column 0 on"),
            ("{", "it is no JSON from line 1, column 1 on"),
            ("{\n\"A\": tru}", "it is no JSON from line 2, column 9 on"),
            ("\u{feff}{}", "it begins with a byte order mark; save it as UTF-8 without one"),
            ("[]", "body: must be an object"),
            ("null", "body: must be an object"),
            (r#"{"A": 1}"#, "A: must be true, false or a list of rules"),
            (r#"{"A": "true"}"#, "A: must be true, false or a list of rules"),
            (r#"{"A": null}"#, "A: must be true, false or a list of rules"),
            (r#"{"A": {}}"#, "A: must be true, false or a list of rules"),
            (r#"{"A": [true]}"#, "A[0]: must be an object"),
            (r#"{"A": [{"percentageOfUsers": NaN}]}"#, "it is no JSON from line 1, column 30 on"),
            (r#"{"A": [{"percentageOfUsers": -1}]}"#, "A[0].percentageOfUsers: must be a number from 0 to 1"),
            (
                r#"{"A": [{}, {"percentageOfUsers": 2}]}"#,
                "A[1].percentageOfUsers: must be a number from 0 to 1",
            ),
            (r#"{"A": [{"percentageOfUsers": "1"}]}"#, "A[0].percentageOfUsers: must be a number"),
            (r#"{"A": [{"percentageOfUsers": 1e999}]}"#, "it is no JSON that can be read"),
            (
                r#"{"A": [{"userRoles": ["king"]}]}"#,
                "A[0].userRoles: must be admin, moderator, tester or user",
            ),
            (r#"{"A": [{"userRoles": "user"}]}"#, "A[0].userRoles: must be a list"),
            (r#"{"A": [{"roles": []}]}"#, "A[0].roles: is not known here"),
            (r#"{"A": true, "A": false}"#, "A: is given more than once"),
            (
                r#"{"a b": true}"#,
                ": the name of a flag has 1 to 128 letters, digits, or characters of _ - . :",
            ),
        ] {
            assert_eq!(mistake(text), words, "{text}");
        }
        let many: Vec<String> = (0..1001).map(|number| format!("\"F{number}\":true")).collect();
        assert_eq!(mistake(&format!("{{{}}}", many.join(","))), "there are more than 1000 flags");
        let rules = vec!["{}"; 33].join(",");
        assert_eq!(mistake(&format!("{{\"A\":[{rules}]}}")), "A: has more than 32 rules");
        assert_eq!(mistake(&" ".repeat(LARGEST + 1)), "it is larger than 256 KiB");
        let deep = format!("{{\"A\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(mistake(&deep), "body: is nested too deeply");
    }

    #[test]
    fn a_change_leads_from_one_set_to_the_other() {
        let (one, other) = (set(r#"{"A":true,"B":true,"C":true}"#), set(r#"{"B":false,"C":true,"D":[{}]}"#));
        let change = one.change_to(&other);
        assert_eq!(one.after(&change), Ok(other.clone()));
        assert!(one.change_to(&one).is_empty());
        let named: Vec<String> =
            one.differences(&other).into_iter().map(|difference| difference.flag).collect();
        assert_eq!(named, ["A", "B", "D"]);
    }

    #[test]
    fn missing_flags_are_added_as_on_and_others_are_left_alone() {
        let one = set(r#"{"A":false}"#);
        let names = ["A", "B"].map(|name| name.parse::<Name>().unwrap());
        assert_eq!(one.after(&Change::of_missing(&one, &names)), Ok(set(r#"{"A":false,"B":true}"#)));
    }

    #[test]
    fn an_unknown_flag_is_on() {
        assert_eq!(set("{}").decide("NEW", None), Decision { on: true, reason: Reason::Unlisted });
    }
}
