//! A set of policies that may be asked: parsed, named, validated against the schema.

use std::collections::BTreeSet;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use uuid::Uuid;

use super::action::Actions;
use super::cedar::Vocabulary;
use super::memo::Memo;
use super::{Action, PolicyMistake, depth};

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
    /// For each action, by its number, the policies that speak of it: Cedar looks at every policy it is given.
    of_action: Vec<PolicySet>,
    count: usize,
    /// The files that they came from; none for those of the program.
    pub(super) files: Vec<String>,
    /// Actions on which some policy names a particular account or file, so that an answer for one of them says
    /// nothing about the next.
    pub(super) by_name: Actions,
    pub(super) memo: Memo,
}

impl Policies {
    /// Those that were found in the operator's folder, or the program's own where there are none.
    pub(super) fn found(sources: Option<&[Source]>, vocabulary: &Vocabulary) -> Result<Self, PolicyMistake> {
        match sources {
            None | Some([]) => Self::built_in(vocabulary),
            Some(sources) => Self::of(sources, vocabulary),
        }
    }

    fn built_in(vocabulary: &Vocabulary) -> Result<Self, PolicyMistake> {
        let source = Source { name: "default.cedar".to_owned(), text: DEFAULT.to_owned() };
        Ok(Self { files: Vec::new(), ..Self::of(&[source], vocabulary)? })
    }

    /// Those of the files, or what is wrong with the first bad one.
    fn of(sources: &[Source], vocabulary: &Vocabulary) -> Result<Self, PolicyMistake> {
        let mut set = PolicySet::new();
        for source in sources {
            for policy in parse(source, vocabulary)? {
                let taken = format!("two policies are called `{}`", policy.id());
                set.add(policy).map_err(|_| PolicyMistake::new(&source.name, taken))?;
            }
        }
        let of_action = Action::ALL.iter().map(|action| about(*action, &set, vocabulary));
        let of_action: Vec<_> = of_action.collect::<Result<_, _>>()?;
        let names_some = |action: &Action| {
            of_action[*action as usize].policies().any(|policy| names_somebody(policy, vocabulary))
        };
        let by_name = Action::ALL.iter().copied().filter(names_some).collect();
        let files = sources.iter().map(|source| source.name.clone()).collect();
        Ok(Self { of_action, count: set.num_of_policies(), files, by_name, memo: Memo::default() })
    }

    /// The policies that speak of this action.
    pub(super) fn about(&self, action: Action) -> &PolicySet {
        &self.of_action[action as usize]
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// One line about what is in force now.
    pub(super) fn log(&self) {
        let from = if self.files.is_empty() { "the program".to_owned() } else { self.files.join(", ") };
        tracing::info!(policies = self.len(), from, "policies in force");
    }
}

/// The policies of one file, each under the name of its `@id`.
fn parse(source: &Source, vocabulary: &Vocabulary) -> Result<Vec<Policy>, PolicyMistake> {
    depth::check(source)?;
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
    check_ids(source, &set, vocabulary)?;
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

/// Refuses ids that nothing can have: a policy with one would silently never match. Names of roles, fields and actions
/// are in the schema, and the validator has looked at them.
fn check_ids(source: &Source, set: &PolicySet, vocabulary: &Vocabulary) -> Result<(), PolicyMistake> {
    let ids: BTreeSet<EntityUid> = set.policies().flat_map(Policy::entity_literals).collect();
    let mistake = |uid: &EntityUid| {
        let what = format!("`{uid}` {}", flaw_of(uid, vocabulary)?);
        let line = depth::line_of(&source.text, &format!("\"{}\"", uid.id().escaped()));
        Some(PolicyMistake { line, ..PolicyMistake::new(&source.name, what) })
    };
    let mistakes: Vec<PolicyMistake> = ids.iter().filter_map(mistake).collect();
    let others = mistakes.len().saturating_sub(1);
    let first = mistakes.into_iter().min_by_key(|mistake| mistake.line.unwrap_or(usize::MAX));
    first.map_or(Ok(()), |first| Err(first.and(others)))
}

/// What is wrong with the id of an account or a file, which questions are asked with in exactly one form.
fn flaw_of(uid: &EntityUid, vocabulary: &Vocabulary) -> Option<&'static str> {
    let id = uid.id().unescaped();
    let (form, flaw) = if *uid.type_name() == vocabulary.account {
        let form = Uuid::try_parse(id).ok().map(|id| id.to_string());
        (form, "can be nobody: the id of an account is a UUID in lower case, with hyphens")
    } else if *uid.type_name() == vocabulary.file {
        let form = id.parse::<i64>().ok().filter(|id| *id > 0).map(|id| id.to_string());
        (form, "can be no file: the id of a file is its number")
    } else {
        return None;
    };
    (form.as_deref() != Some(id)).then_some(flaw)
}

/// The policy under its `@id`, or under file and number where it has none.
fn named(policy: &Policy, source: &Source) -> Policy {
    let id = match policy.annotation("id") {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => format!("{}/{}", source.name, policy.id()),
    };
    policy.new_id(PolicyId::new(id))
}

/// The policies of the set that speak of the action.
fn about(action: Action, set: &PolicySet, vocabulary: &Vocabulary) -> Result<PolicySet, PolicyMistake> {
    let about = set.policies().filter(|policy| is_about(policy, action, vocabulary)).cloned();
    PolicySet::from_policies(about).map_err(|error| PolicyMistake::new("policies", error.to_string()))
}

/// Whether the policy's scope admits the action. The schema has no groups of actions, so names are all there is.
fn is_about(policy: &Policy, action: Action, vocabulary: &Vocabulary) -> bool {
    let action = vocabulary.action_uid(action);
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => one == *action,
        ActionConstraint::In(some) => some.contains(action),
    }
}

/// Whether the policy names a particular account or file.
fn names_somebody(policy: &Policy, vocabulary: &Vocabulary) -> bool {
    let particular = [&vocabulary.account, &vocabulary.file];
    policy.entity_literals().iter().any(|uid| particular.contains(&uid.type_name()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn load(texts: &[&str]) -> Result<Policies, PolicyMistake> {
        let source =
            |(number, text): (usize, &&str)| Source { name: format!("{number}.cedar"), text: (*text).into() };
        let sources: Vec<_> = texts.iter().enumerate().map(source).collect();
        Policies::of(&sources, &Vocabulary::open().unwrap())
    }

    /// What is said about a file with this one policy.
    fn mistake(text: &str) -> String {
        load(&[text]).err().expect("it is refused").to_string()
    }

    #[test]
    fn the_policies_of_the_program_pass_the_strict_validator_without_a_warning() {
        let vocabulary = Vocabulary::open().unwrap();
        let set: PolicySet = DEFAULT.parse().unwrap();
        let found = Validator::new(vocabulary.schema).validate(&set, ValidationMode::Strict);
        assert!(found.validation_passed_without_warnings(), "{found}");
    }

    #[test]
    fn every_policy_of_the_program_has_a_name_and_a_description() {
        let set: PolicySet = DEFAULT.parse().unwrap();
        for policy in set.policies() {
            let id = policy.annotation("id").unwrap_or_default();
            assert!(
                !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{policy}"
            );
            assert!(policy.annotation("description").is_some_and(|words| words.ends_with('.')), "{policy}");
        }
    }

    #[test]
    fn no_policy_of_the_program_names_anybody() {
        let vocabulary = Vocabulary::open().unwrap();
        assert_eq!(Policies::found(None, &vocabulary).unwrap().by_name, Actions::default());
    }

    #[test]
    fn the_schema_and_the_program_know_the_same_actions() {
        let vocabulary = Vocabulary::open().unwrap();
        let of_schema: HashSet<_> = vocabulary.schema.actions().collect();
        assert_eq!(of_schema, Action::ALL.iter().map(|action| vocabulary.action_uid(*action)).collect());
        assert_eq!(vocabulary.schema.action_groups().count(), 0, "`is_about` would have to know them");
    }

    #[test]
    fn a_mistake_tells_the_file_the_line_and_what_is_wrong() {
        let text = "permit (principal, action, resource)\nwhen { resource.colour == 1 };";
        let said = "0.cedar, line 2: for policy `policy0`, attribute `colour` ";
        assert!(mistake(text).starts_with(said), "{}", mistake(text));
        assert!(!mistake(text).contains('\n'));
    }

    #[test]
    fn unknown_words_are_refused() {
        for text in [
            r#"permit (principal in Role::"amdin", action, resource);"#,
            r#"permit (principal, action == Action::"user:fly", resource);"#,
            "permit (principal is Robot, action, resource);",
            r#"permit (principal, action == Action::"user:update", resource)
               when { [Field::"e-mail"].containsAll(context.fields) };"#,
            r#"permit (principal, action == Action::"user:ban", resource)
               when { [Field::"email"].containsAll(context.fields) };"#,
        ] {
            mistake(text);
        }
    }

    #[test]
    fn an_id_that_nothing_can_have_is_refused_with_its_line() {
        let ann = "0193d1f0-0000-7000-8000-00000000000a";
        let bans = r#"permit (principal, action == Action::"user:ban", resource)"#;
        let account = "can be nobody: the id of an account is a UUID in lower case, with hyphens";
        for id in ["ann", "", &ann[1..], &ann.to_uppercase(), &ann.replace('-', ""), &format!("{{{ann}}}")] {
            let text = format!("// \"{id}\"\n{bans}\nwhen {{ principal == Account::\"{id}\" }};");
            assert_eq!(mistake(&text), format!("0.cedar, line 3: `Account::\"{id}\"` {account}"));
        }
        for scope in [
            r#"principal == Account::"ann", action, resource"#,
            r#"principal, action == Action::"user:ban", resource in Account::"ann""#,
        ] {
            let said = mistake(&format!("{bans};\nforbid ({scope});"));
            assert_eq!(said, format!("0.cedar, line 2: `Account::\"ann\"` {account}"));
        }
        for id in ["a.txt", "07", "+7", "0", "-7", "7.0", "99999999999999999999"] {
            let text =
                format!("permit (principal, action == Action::\"file:read\", resource == File::\"{id}\");");
            let said = mistake(&text);
            assert!(said.starts_with(&format!("0.cedar, line 1: `File::\"{id}\"` can be no file")), "{said}");
        }
        let two = format!("{bans}\nwhen {{\n[Account::\"eve\",\nAccount::\"ann\"].contains(principal) }};");
        let said = mistake(&two);
        assert!(said.starts_with("0.cedar, line 3: `Account::\"eve\"`"), "{said}");
        assert!(said.ends_with("; and 1 more"), "{said}");
        load(&[&format!("{bans} when {{ principal == Account::\"{ann}\" }};")]).unwrap();
    }

    #[test]
    fn templates_are_refused() {
        let said = "0.cedar: policy templates (`?principal`, `?resource`) have no use here";
        assert_eq!(mistake("permit (principal == ?principal, action, resource);"), said);
    }

    #[test]
    fn what_goes_too_deep_is_refused_before_it_overflows_the_stack() {
        for (open, close) in
            [("(", ")"), ("!(", ")"), ("[", "]"), ("{a: ", "}"), ("if true then true else ", "")]
        {
            let (open, close) = (open.repeat(40_000), close.repeat(40_000));
            let text = format!("permit (principal, action, resource) when {{ {open}true{close} }};");
            assert!(mistake(&text).starts_with("0.cedar, line 1: a policy may not have more than "));
        }
    }

    #[test]
    fn what_goes_as_deep_as_it_may_is_checked_to_the_ground() {
        let inner = "if resource.active then true else ".repeat(31) + "1";
        let deepest = format!("{}{inner}{}", "(".repeat(15), ")".repeat(15));
        let scope = r#"principal, action == Action::"user:ban", resource"#;
        let text = format!("permit ({scope}) when {{ {deepest} }};");
        let said = mistake(&text);
        assert!(said.contains("the types __cedar::internal::True and Long are not compatible"), "{said}");
    }

    #[test]
    fn names_are_unique_over_all_files() {
        let policy = r#"@id("same") permit (principal, action, resource);"#;
        let said = load(&[policy, policy]).err().unwrap().to_string();
        assert_eq!(said, "1.cedar: two policies are called `same`");
    }

    #[test]
    fn a_policy_without_a_name_is_called_after_file_and_number() {
        let policy = "permit (principal, action, resource);";
        let loaded = load(&[policy, policy]).unwrap();
        assert!(loaded.about(Action::UserBan).policy(&PolicyId::new("1.cedar/policy0")).is_some());
    }
}
