//! The operation that tells who may do what, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use poem_openapi::{Object, OpenApi, Tags, Union};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::files::Files;
use crate::permissions::{
    Action, Allowed, Context, Explanation, Field, Gate, Object as _, Resource, Subject, System,
};
use crate::platform::problem::{Failure, FieldError};
use crate::platform::web::{Json, object_or_null};
use crate::sessions::{Role, Roles};
use crate::users::Users;
use crate::users::store::Named;

/// The operation that tells who may do what, and why.
pub struct PermissionsApi {
    /// Who has an account.
    pub users: Users,
    /// Their files.
    pub files: Files,
    /// Who may do what.
    pub gate: Arc<Gate>,
}

#[derive(Tags)]
enum Section {
    /// The admin's tools.
    Admin,
}

crate::permissions! {
    /// Ask who may do what, and why.
    CheckPermissions: PermissionsCheck on System;
}

/// A question about permissions.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct PermissionQuestion {
    /// Who would do it; nobody in particular if not given.
    #[serde(default)]
    #[oai(nullable)]
    pub user: Option<Uuid>,
    /// What they would do, as `user:ban`.
    pub action: String,
    /// What it would be done to: an account by its uuid, a file by its number; Gatehouse itself if not given.
    #[serde(default)]
    #[oai(nullable)]
    pub resource: Option<QuestionResource>,
    /// What else is known.
    #[serde(default, deserialize_with = "object_or_null")]
    #[oai(nullable)]
    pub context: Option<QuestionContext>,
}

/// What something would be done to: an account by its uuid as a string, or a file by its number.
#[derive(Clone, Copy, Debug, Deserialize, Union)]
#[serde(untagged, expecting = "must be the uuid of an account or the number of a file")]
pub enum QuestionResource {
    /// An account.
    Account(Uuid),
    /// A file.
    File(i64),
}

/// What else is known of an act.
#[derive(Debug, Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct QuestionContext {
    /// The fields that would be written, for `user:create` and `user:update`.
    #[oai(default)]
    pub fields: Vec<String>,
    /// The roles that the account would have, for `user:create` and `user:set-roles`.
    #[oai(default)]
    pub roles: Vec<String>,
}

/// A decision and what led to it.
#[derive(Debug, Serialize, Object)]
pub struct PermissionAnswer {
    /// `allow` or `deny`.
    pub decision: String,
    /// The policies that made it; none when nothing permits it.
    pub policies: Vec<PolicyShown>,
    /// What the policies were shown.
    pub attributes: BTreeMap<String, Value>,
    /// Why something could not be evaluated; the decision is `deny` then.
    pub errors: Vec<String>,
}

/// A policy that made a decision.
#[derive(Debug, Serialize, Object)]
pub struct PolicyShown {
    /// Its name.
    pub id: String,
    /// `permit` or `forbid`.
    pub effect: String,
    /// What it says, in words.
    pub description: String,
}

crate::refusals! {
    /// Why a question is not answered.
    pub enum QuestionRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

#[OpenApi(prefix_path = "/admin", tag = "Section::Admin")]
impl PermissionsApi {
    /// Who may do what, and why
    ///
    /// Answers the decision, the policies that made it and the attributes that they were shown: those of the account or
    /// the file as it is now, so that the act itself would be decided in the same way. An action, an account or a file
    /// that does not exist is denied.
    #[oai(path = "/permissions/check", method = "post", operation_id = "check_permissions")]
    async fn check(
        &self,
        allowed: Allowed<CheckPermissions>,
        body: Json<PermissionQuestion>,
    ) -> Result<Json<PermissionAnswer>, Failure<QuestionRefusal>> {
        let context = body.0.context.as_ref().map(read_context).transpose()?.unwrap_or_default();
        let explanation = self.explain(&body.0, context).await?;
        tracing::info!(by = %allowed.caller.user_id, "a permission was explained");
        Ok(Json(explanation.into()))
    }
}

impl PermissionsApi {
    async fn explain(&self, question: &PermissionQuestion, context: Context) -> Result<Explanation, DbErr> {
        let Ok(action) = question.action.parse::<Action>() else {
            return Ok(Explanation::denied("there is no such action"));
        };
        let Some(subject) = self.subject(question.user).await? else {
            return Ok(Explanation::denied("there is no such user"));
        };
        let viewer = question.user.unwrap_or_default();
        match question.resource {
            None => Ok(self.gate.explain(&subject, action, &Resource::System, context)),
            Some(QuestionResource::Account(id)) => {
                let Some(seen) = self.users.seen_by(viewer, &Named::Id(id)).await? else {
                    return Ok(Explanation::denied("there is no such account"));
                };
                Ok(self.gate.explain(&subject, action, &Resource::Account(seen.account()), context))
            }
            Some(QuestionResource::File(id)) => {
                let Some(target) = self.files.target(viewer, id).await? else {
                    return Ok(Explanation::denied("there is no such file"));
                };
                Ok(self.gate.explain(&subject, action, &target.resource(), context))
            }
        }
    }

    async fn subject(&self, user: Option<Uuid>) -> Result<Option<Subject>, DbErr> {
        let Some(id) = user else { return Ok(Some(Subject::Anonymous)) };
        let user = self.users.by_id(id).await?;
        Ok(user.map(|user| Subject::Account {
            id,
            roles: Roles::from_bits(user.roles),
            active: user.is_active && user.deleted_at.is_none(),
        }))
    }
}

fn read_context(given: &QuestionContext) -> Result<Context, QuestionRefusal> {
    let fields = given.fields.iter().map(|name| name.parse::<Field>()).collect::<Result<_, _>>();
    let roles = given.roles.iter().map(|name| name.parse::<Role>()).collect::<Result<_, _>>();
    let refuse = |field: &str, words: &str| QuestionRefusal::Invalid(vec![FieldError::new(field, words)]);
    Ok(Context {
        fields: fields.map_err(|_| refuse("context.fields", "There is no such field."))?,
        roles: roles.map_err(|_| refuse("context.roles", "There is no such role."))?,
        directory_open: false,
    })
}

impl From<Explanation> for PermissionAnswer {
    fn from(explanation: Explanation) -> Self {
        let attributes = match explanation.attributes {
            Value::Object(attributes) => attributes.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        let shown = |policy: crate::permissions::DeterminingPolicy| PolicyShown {
            id: policy.id,
            effect: policy.effect.to_owned(),
            description: policy.description,
        };
        Self {
            decision: if explanation.decision.is_allow() { "allow" } else { "deny" }.to_owned(),
            policies: explanation.policies.into_iter().map(shown).collect(),
            attributes,
            errors: explanation.errors,
        }
    }
}
