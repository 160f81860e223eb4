//! A set of policies that may be asked: parsed, named, validated against the schema.

use cedar_policy::{Policy, PolicyId, PolicySet, ValidationMode, Validator};

use super::action::Actions;
use super::cedar::Vocabulary;
use super::memo::Memo;
use super::{Action, PolicyMistake};

/// The policies that come with the program.
pub(super) const DEFAULT: &str = include_str!("../../policies/default.cedar");

/// A policy file: its name and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

/// Policies in force, with the answers that they gave so far.
pub(super) struct Policies {
    pub(super) set: PolicySet,
    /// The files that they came from; none for those of the program.
    pub(super) files: Vec<String>,
    /// Actions on which some policy names a particular account or file, so that an answer for one of them says
    /// nothing about the next.
    pub(super) by_name: Actions,
    pub(super) memo: Memo,
}

impl Policies {
    /// The program's own.
    pub(super) fn built_in(vocabulary: &Vocabulary) -> Result<Self, PolicyMistake> {
        let source = Source { name: "default.cedar".to_owned(), text: DEFAULT.to_owned() };
        Ok(Self { files: Vec::new(), ..Self::of(&[source], vocabulary)? })
    }

    /// Those of the files, or what is wrong with the first bad one.
    pub(super) fn of(sources: &[Source], vocabulary: &Vocabulary) -> Result<Self, PolicyMistake> {
        let mut set = PolicySet::new();
        for source in sources {
            for policy in parse(source, vocabulary)? {
                let taken = format!("two policies are called `{}`", policy.id());
                set.add(policy).map_err(|_| PolicyMistake::new(&source.name, taken))?;
            }
        }
        let files = sources.iter().map(|source| source.name.clone()).collect();
        let by_name = set.policies().flat_map(|policy| named_in(policy, vocabulary)).collect();
        Ok(Self { set, files, by_name, memo: Memo::default() })
    }
}

/// The policies of one file, each under the name of its `@id`.
fn parse(source: &Source, vocabulary: &Vocabulary) -> Result<Vec<Policy>, PolicyMistake> {
    let set: PolicySet = source.text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        let others = errors.iter().count().saturating_sub(1);
        PolicyMistake::at(&source.name, &source.text, &errors).and(others)
    })?;
    if set.num_of_templates() > 0 {
        return Err(PolicyMistake::new(
            &source.name,
            "policy templates (`?principal`, `?resource`) have no use here",
        ));
    }
    if set.is_empty() {
        return Err(PolicyMistake::new(&source.name, "there is no policy in it"));
    }
    validate(source, &set, vocabulary)?;
    Ok(set.policies().map(|policy| named(policy, source)).collect())
}

fn validate(source: &Source, set: &PolicySet, vocabulary: &Vocabulary) -> Result<(), PolicyMistake> {
    let found = Validator::new(vocabulary.schema.clone()).validate(set, ValidationMode::Strict);
    let mut errors = found.validation_errors();
    if let Some(first) = errors.next() {
        return Err(PolicyMistake::at(&source.name, &source.text, first).and(errors.count()));
    }
    for warning in found.validation_warnings() {
        let doubt = PolicyMistake::at(&source.name, &source.text, warning);
        tracing::warn!(
            file = doubt.file,
            line = doubt.line,
            doubt = doubt.what,
            "a policy may not mean what it says"
        );
    }
    Ok(())
}

/// The policy under its `@id`, or under file and number where it has none.
fn named(policy: &Policy, source: &Source) -> Policy {
    let id = match policy.annotation("id") {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => format!("{}/{}", source.name, policy.id()),
    };
    policy.new_id(PolicyId::new(id))
}

/// The actions that this policy may decide by the name of a particular account or file.
fn named_in(policy: &Policy, vocabulary: &Vocabulary) -> Vec<Action> {
    let particular = [&vocabulary.account, &vocabulary.file];
    if !policy.entity_literals().iter().any(|uid| particular.contains(&uid.type_name())) {
        return Vec::new();
    }
    let cases = policy.get_valid_request_envs(&vocabulary.schema);
    cases.filter_map(|case| vocabulary.action(case.action())).collect()
}
