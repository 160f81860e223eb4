//! Who may do what: Cedar policies, decisions and their explanation.
//!
//! A handler names its permission in its signature ([`Permission`]); whoever has the object at hand asks
//! [`Permissions::decide`]. The rules are files (`policies/default.cedar`, or those in `DATA_DIR/policies`), written
//! in the words of `policies/schema.cedarschema`. What no rule permits is denied.

mod action;
mod allowed;
mod cedar;
mod decision;
mod depth;
mod explanation;
mod folder;
#[cfg(test)]
mod law;
mod memo;
mod mistake;
mod policies;
mod question;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

pub use action::{Action, UnknownAction};
pub use allowed::{Allowed, Gate, Object, Permission, System, forbidden, not_found};
pub use decision::Decision;
pub use explanation::{DeterminingPolicy, Explanation};
pub use mistake::PolicyMistake;
pub use question::{Account, Context, Field, Fields, File, Resource, Subject, UnknownField};
pub use watch::{Adoption, NoteAdoption};

use cedar::Vocabulary;
use memo::Key;
use policies::Policies;
use question::Question;
use watch::Latest;

/// The policies in force. Meant to be shared in an [`Arc`].
pub struct Permissions {
    vocabulary: Vocabulary,
    live: ArcSwap<Policies>,
    folder: Option<PathBuf>,
    latest: Mutex<Latest>,
}

/// How the policies are: for the health report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyStatus {
    /// How many policies are in force.
    pub policies: usize,
    /// The files that they come from; none for those of the program.
    pub files: Vec<String>,
    /// What is wrong with newer files, which are therefore not in force.
    pub mistake: Option<PolicyMistake>,
}

impl Permissions {
    /// Opens the policies of the folder (`DATA_DIR/policies`), or those of the program where it holds none. A bad
    /// file is an error here: a start is the moment to notice.
    pub fn open(folder: Option<&Path>) -> Result<Self, PolicyMistake> {
        let vocabulary = Vocabulary::open()?;
        let found = folder.map_or(Ok(None), folder::read)?;
        let policies = Policies::found(found.as_deref(), &vocabulary)?;
        policies.log();
        Ok(Self {
            vocabulary,
            live: ArcSwap::from(Arc::new(policies)),
            folder: folder.map(Path::to_owned),
            latest: Mutex::new(Latest { reading: Ok(found), mistake: None }),
        })
    }

    /// Whether the subject may do this to the resource. Costs a table look-up where the like was asked before.
    #[must_use]
    pub fn decide(
        &self,
        subject: &Subject,
        action: Action,
        resource: &Resource<'_>,
        context: &Context,
    ) -> Decision {
        let question = Question::new(subject, action, resource, *context);
        let policies = self.live.load();
        if policies.by_name.has(action) {
            return self.ask(&question, &policies);
        }
        let key = Key::of(&question);
        policies.memo.recall(key).unwrap_or_else(|| {
            let decision = self.ask(&question, &policies);
            policies.memo.keep(key, decision);
            decision
        })
    }

    /// The same answer as [`Permissions::decide`] gives, with the policies that made it.
    #[must_use]
    pub fn explain(
        &self,
        subject: &Subject,
        action: Action,
        resource: &Resource<'_>,
        context: &Context,
    ) -> Explanation {
        let question = Question::new(subject, action, resource, *context);
        let policies = self.live.load();
        match self.vocabulary.ask(&question, policies.about(action)) {
            Ok(response) => Explanation::of(&question, &response, policies.about(action)),
            Err(unfit) => Explanation::unfit(&question, &unfit),
        }
    }

    /// Which policies are in force, and whether newer ones were refused.
    #[must_use]
    pub fn status(&self) -> PolicyStatus {
        let policies = self.live.load();
        PolicyStatus {
            policies: policies.len(),
            files: policies.files.clone(),
            mistake: self.latest().mistake.clone(),
        }
    }

    /// Cedar's answer. Where the schema knows no such question, nobody was permitted anything.
    fn ask(&self, question: &Question, policies: &Policies) -> Decision {
        let answer = self.vocabulary.ask(question, policies.about(question.action));
        answer.map_or(Decision::Deny, |response| Decision::from_cedar(&response))
    }
}

impl std::fmt::Debug for Permissions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Permissions").field(&self.status()).finish()
    }
}
