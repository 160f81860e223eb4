//! A decision with everything that led to it.

use cedar_policy::{Effect, PolicyId, PolicySet, Response};
use serde_json::{Map, Value, json};

use super::cedar::Unfit;
use super::question::{Object, Question, Told};
use super::{Account, Decision, Field};

/// A decision with everything that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The answer.
    pub decision: Decision,
    /// The policies that made it, by name. None when it is denied because nothing permits it.
    pub policies: Vec<DeterminingPolicy>,
    /// What the policies were shown: `principal`, `action`, `resource`, `context`.
    pub attributes: Value,
    /// Why the question or a policy could not be dealt with; the answer is no then.
    pub errors: Vec<String>,
}

/// A policy that made a decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeterminingPolicy {
    /// Its `@id`; file and number where it has none.
    pub id: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// Its `@description`; empty where it has none.
    pub description: String,
}

impl Explanation {
    /// Denied before anything was asked: there is no such action, resource or account.
    #[must_use]
    pub fn denied(why: impl Into<String>) -> Self {
        Self {
            decision: Decision::Deny,
            policies: Vec::new(),
            attributes: json!({}),
            errors: vec![why.into()],
        }
    }

    /// Denied because the schema knows no such question.
    pub(super) fn unfit(question: &Question, why: &Unfit) -> Self {
        Self { attributes: attributes(question), ..Self::denied(why.to_string()) }
    }

    pub(super) fn of(question: &Question, response: &Response, set: &PolicySet) -> Self {
        let found = response.diagnostics();
        let mut policies: Vec<_> = found.reason().filter_map(|id| DeterminingPolicy::of(id, set)).collect();
        let mut errors: Vec<_> = found.errors().map(ToString::to_string).collect();
        policies.sort_unstable();
        errors.sort_unstable();
        Self { decision: Decision::from_cedar(response), policies, attributes: attributes(question), errors }
    }
}

impl DeterminingPolicy {
    fn of(id: &PolicyId, set: &PolicySet) -> Option<Self> {
        let policy = set.policy(id)?;
        let effect = match policy.effect() {
            Effect::Permit => "permit",
            Effect::Forbid => "forbid",
        };
        let description = policy.annotation("description").unwrap_or_default().to_owned();
        Some(Self { id: id.to_string(), effect, description })
    }
}

fn attributes(question: &Question) -> Value {
    json!({
        "principal": question.principal().map_or_else(|| json!({ "type": "Anonymous" }), |it| account(&it)),
        "action": question.action.name(),
        "resource": resource(&question.object),
        "context": context(&question.told),
    })
}

fn resource(object: &Object) -> Value {
    match object {
        Object::System => json!({ "type": "System" }),
        Object::Account(it) => account(it),
        Object::File { id, owner, linked_to_subject } => json!({
            "type": "File",
            "id": id,
            "owner": account(owner),
            "linked_to_subject": linked_to_subject,
        }),
    }
}

fn account(account: &Account) -> Value {
    json!({
        "type": "Account",
        "id": account.id,
        "roles": account.roles.names(),
        "active": account.active,
        "deleted": account.deleted,
        "blocks_subject": account.blocks_subject,
        "blocked_by_subject": account.blocked_by_subject,
    })
}

fn context(told: &Told) -> Value {
    let mut shown = Map::new();
    if let Some(fields) = told.fields {
        shown.insert("fields".to_owned(), json!(fields.iter().map(Field::name).collect::<Vec<_>>()));
    }
    if let Some(roles) = told.roles {
        shown.insert("roles".to_owned(), json!(roles.names()));
    }
    if let Some(open) = told.directory_open {
        shown.insert("directory_open".to_owned(), json!(open));
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::permissions::{Action, Context, File, Permissions, Resource, Subject};
    use crate::sessions::Role;

    const ME: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn explain(role: Role, action: Action, resource: &Resource<'_>, context: Context) -> Explanation {
        Permissions::open(None).unwrap().explain(
            &Subject::account(ME, role.into()),
            action,
            resource,
            &context,
        )
    }

    fn user() -> Resource<'static> {
        Resource::Account(Account::active(OTHER, Role::User.into()))
    }

    fn ids(explanation: &Explanation) -> Vec<&str> {
        explanation.policies.iter().map(|policy| policy.id.as_str()).collect()
    }

    #[test]
    fn a_permission_names_its_policy() {
        let explanation = explain(Role::Moderator, Action::UserBan, &user(), Context::default());
        assert_eq!(explanation.decision, Decision::Allow);
        let [policy] = &explanation.policies[..] else { panic!("{explanation:?}") };
        assert_eq!(
            (policy.id.as_str(), policy.effect),
            ("moderators-look-after-ordinary-accounts", "permit")
        );
        assert!(policy.description.starts_with("Moderators ban"));
    }

    #[test]
    fn what_nothing_permits_is_denied_by_no_policy() {
        let explanation = explain(Role::User, Action::UserBan, &user(), Context::default());
        assert_eq!(explanation.decision, Decision::Deny);
        assert_eq!(explanation.policies, []);
        assert_eq!(explanation.errors, Vec::<String>::new());
    }

    #[test]
    fn a_prohibition_names_its_policy() {
        let oneself = Resource::Account(Account::active(ME, Role::Admin.into()));
        let explanation = explain(Role::Admin, Action::UserBan, &oneself, Context::default());
        assert_eq!(explanation.decision, Decision::Deny);
        assert_eq!(ids(&explanation), ["nobody-switches-oneself-on-or-off"]);
        assert_eq!(explanation.policies[0].effect, "forbid");
    }

    #[test]
    fn all_policies_that_permit_are_named_in_order() {
        let oneself = Resource::Account(Account::active(ME, Role::Admin.into()));
        let explanation = explain(Role::Admin, Action::UserReadImage, &oneself, Context::default());
        let all = [
            "admins-do-everything",
            "everybody-sees-the-own-account",
            "pictures-of-active-accounts-are-public",
        ];
        assert_eq!(ids(&explanation), all);
    }

    #[test]
    fn the_attributes_are_those_that_the_policies_were_shown() {
        let context = Context {
            fields: [Field::Email, Field::DisplayName].into_iter().collect(),
            roles: Role::Admin.into(), // not told for this action
            directory_open: true,      // nor this
        };
        let explanation = explain(Role::Moderator, Action::UserUpdate, &user(), context);
        let expected = json!({
            "principal": {
                "type": "Account", "id": ME, "roles": ["moderator"], "active": true, "deleted": false,
                "blocks_subject": false, "blocked_by_subject": false,
            },
            "action": "user:update",
            "resource": {
                "type": "Account", "id": OTHER, "roles": ["user"], "active": true, "deleted": false,
                "blocks_subject": false, "blocked_by_subject": false,
            },
            "context": { "fields": ["display_name", "email"] },
        });
        assert_eq!(explanation.attributes, expected);
    }

    #[test]
    fn a_file_is_shown_with_its_owner() {
        let owner = Account::active(OTHER, Role::User.into());
        let file = Resource::File(File { id: 7, owner, linked: &[ME] });
        let explanation = explain(Role::User, Action::FileRead, &file, Context::default());
        assert_eq!(ids(&explanation), ["users-read-their-files"]);
        assert_eq!(explanation.attributes["resource"]["owner"]["id"], json!(OTHER));
        assert_eq!(explanation.attributes["resource"]["linked_to_subject"], true);
    }

    #[test]
    fn a_question_that_the_schema_does_not_know_is_denied_with_the_reason() {
        let explanation = explain(Role::Admin, Action::UserBan, &Resource::System, Context::default());
        assert_eq!(explanation.decision, Decision::Deny);
        let [error] = &explanation.errors[..] else { panic!("{explanation:?}") };
        assert!(error.contains("user:ban") && error.contains("System"), "{error}");
        assert_eq!(explanation.attributes["resource"]["type"], "System");
    }

    #[test]
    fn an_action_that_is_not_known_is_denied() {
        let error = "user:fly".parse::<Action>().unwrap_err();
        let explanation = Explanation::denied(error.to_string());
        assert_eq!((explanation.decision, explanation.errors.len()), (Decision::Deny, 1));
    }
}
