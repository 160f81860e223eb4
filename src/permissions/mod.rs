//! Who may do what: Cedar policies, decisions and their explanation.
//!
//! A handler names its permission in its signature ([`Permission`]); whoever has the object at hand asks
//! [`Permissions::decide`]. The rules are files (`policies/default.cedar`, or those in `DATA_DIR/policies`), written
//! in the words of `policies/schema.cedarschema`. What no rule permits is denied.

mod action;
mod allowed;
mod cedar;
mod memo;
mod mistake;
mod policies;
mod question;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use action::{Action, UnknownAction};
pub use allowed::{Allowed, Gate, Object, Permission, System, forbidden, not_found};
pub use mistake::PolicyMistake;
pub use question::{Account, Context, Field, Fields, File, Resource, Subject, UnknownField};

use cedar::Vocabulary;
use memo::Key;
use policies::Policies;
use question::Question;

/// The answer to who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

impl Decision {
    /// Whether they may.
    #[must_use]
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// The policies in force.
pub struct Permissions {
    vocabulary: Vocabulary,
    live: ArcSwap<Policies>,
    folder: Option<PathBuf>,
}

impl Permissions {
    /// Opens the policies of the folder, or those that come with the program where it holds none.
    pub fn open(folder: Option<&Path>) -> Result<Self, PolicyMistake> {
        let vocabulary = Vocabulary::open()?;
        let policies = Policies::built_in(&vocabulary)?;
        Ok(Self { vocabulary, live: ArcSwap::from(Arc::new(policies)), folder: folder.map(Path::to_owned) })
    }

    /// Whether the subject may do this to the resource.
    #[must_use]
    pub fn decide(
        &self,
        subject: &Subject,
        action: Action,
        resource: &Resource<'_>,
        context: &Context,
    ) -> Decision {
        let question = Question::new(subject, action, resource, context);
        let policies = self.live.load();
        if policies.by_name.has(action) {
            return self.ask(&question, &policies);
        }
        let key = Key::of(&question);
        if let Some(decision) = policies.memo.recall(key) {
            return decision;
        }
        let decision = self.ask(&question, &policies);
        policies.memo.keep(key, decision);
        decision
    }

    /// Cedar's answer.
    fn ask(&self, question: &Question, policies: &Policies) -> Decision {
        match self.vocabulary.ask(question, &policies.set) {
            Ok(response) => verdict(question, &response),
            // The schema does not know such a question: whatever was meant, nobody was permitted to do it.
            Err(_) => Decision::Deny,
        }
    }
}

/// Allowed is what Cedar allows without a mishap. A policy that can't be evaluated is passed over by Cedar; if it was
/// a `forbid`, that would allow what it forbids.
fn verdict(question: &Question, response: &cedar_policy::Response) -> Decision {
    if let Some(error) = response.diagnostics().errors().next() {
        tracing::error!(action = question.action.name(), %error, "a policy could not be evaluated: denied");
        return Decision::Deny;
    }
    match response.decision() {
        cedar_policy::Decision::Allow => Decision::Allow,
        cedar_policy::Decision::Deny => Decision::Deny,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::Role;
    use uuid::Uuid;

    #[test]
    fn smoke() {
        let permissions = Permissions::open(None).unwrap();
        let me = Subject::account(Uuid::from_u128(1), Role::Moderator.into());
        let other = Resource::Account(Account::active(Uuid::from_u128(2), Role::User.into()));
        let context = Context::default();
        assert_eq!(permissions.decide(&me, Action::UserBan, &other, &context), Decision::Allow);
        assert_eq!(permissions.decide(&me, Action::UserUnban, &other, &context), Decision::Deny);
        let v = cedar_policy::Validator::new(permissions.vocabulary.schema.clone())
            .validate(&permissions.live.load().set, cedar_policy::ValidationMode::Strict);
        assert!(v.validation_passed_without_warnings(), "{v}");
    }
}
