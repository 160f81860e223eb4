//! The OpenFeature Remote Evaluation Protocol (OFREP 0.1), so that any OpenFeature SDK can read the flags.
//!
//! The protocol has words of its own for what goes wrong; they stand as members in our problems. Whom a flag is decided
//! for is the caller, or, for who may ask that, anybody else. Only what is listed is a flag here: an SDK has a default of
//! its own for what is not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use poem::http::StatusCode;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags, Union};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::flag::{Decision, Flag, Person, Reason};
use super::{Flags, Version};
use crate::permissions::{Action, Gate, Subject};
use crate::platform::problem::{Breakage, Details, Failure, Problem};
use crate::platform::secrets::digest;
use crate::platform::web::{Json, RawJson, Unread, is_known};
use crate::sessions::{Caller, Sessions};

/// The operations of OFREP.
pub struct OfrepApi {
    /// The flags.
    pub flags: Flags,
    /// What roles others have.
    pub sessions: Arc<Sessions>,
    /// Who may ask for others.
    pub gate: Arc<Gate>,
}

#[derive(Tags)]
#[oai(rename_all = "UPPERCASE")]
enum Section {
    /// Flags for any OpenFeature SDK.
    Ofrep,
}

/// For whom flags are evaluated.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRequest {
    /// What is known of them. Of its members only `targetingKey`, the uuid of an account, is looked at.
    #[serde(default)]
    #[oai(nullable)]
    pub context: Option<HashMap<String, Value>>,
}

/// A flag's value.
#[derive(Debug, Serialize, Object)]
pub struct Evaluation {
    /// The flag's name.
    pub key: String,
    /// Whether it is on.
    pub value: bool,
    /// `STATIC`, `TARGETING_MATCH`, `SPLIT` or `DEFAULT` (no rule matches).
    pub reason: String,
    /// `on` or `off`.
    pub variant: String,
    /// The version of the flags and, if a rule decided, its place.
    pub metadata: BTreeMap<String, Value>,
}

/// Why a flag has no value.
#[derive(Debug, Serialize, Object)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase")]
pub struct EvaluationFailure {
    /// The flag's name.
    pub key: String,
    /// `TARGETING_KEY_MISSING`.
    pub error_code: String,
    /// The same for people.
    pub error_details: String,
}

/// A flag's value, or why it has none.
#[derive(Debug, Serialize, Union)]
#[serde(untagged)]
pub enum Evaluated {
    /// Its value.
    Value(Evaluation),
    /// Why it has none.
    Failure(EvaluationFailure),
}

/// Every flag's value.
#[derive(Debug, Serialize, Object)]
pub struct Evaluations {
    /// The flags, sorted by name.
    pub flags: Vec<Evaluated>,
}

/// Every flag, or that nothing has changed.
#[derive(ApiResponse)]
enum BulkAnswer {
    /// Every flag's value.
    #[oai(status = 200)]
    Ok(RawJson<Evaluations>, #[oai(header = "ETag")] String),
    /// Nothing has changed since the answer that `If-None-Match` names.
    #[oai(status = 304)]
    Unchanged(#[oai(header = "ETag")] String),
}

/// A refusal in the words of the protocol.
#[derive(Clone, Debug)]
pub struct Told {
    code: &'static str,
    key: Option<String>,
}

impl Details for Told {
    fn add_to(&self, problem: &mut Problem) {
        problem.members.insert("errorCode".to_owned(), self.code.into());
        problem.members.insert("errorDetails".to_owned(), problem.detail.clone().into());
        if let Some(key) = &self.key {
            problem.members.insert("key".to_owned(), key.clone().into());
        }
    }
}

crate::refusals! {
    /// Why no flag is evaluated.
    pub enum EvaluationRefusal {
        Unreadable(Problem) = 400 "bad_request" "The body is no request of the protocol (`PARSE_ERROR`, `INVALID_CONTEXT`).",
        NoUuid(Told) = 400 "invalid_context" "targetingKey must be the uuid of an account (`INVALID_CONTEXT`).",
        KeyMissing(Told) = 400 "targeting_key_missing" "The flag depends on who asks, and context.targetingKey is not given (`TARGETING_KEY_MISSING`).",
        Foreign(Told) = 403 "forbidden" "Of others you may not ask: targetingKey must be your own uuid.",
        Unknown(Told) = 404 "not_found" "There is no such flag (`FLAG_NOT_FOUND`).",
    }
}

#[OpenApi(prefix_path = "/ofrep/v1/evaluate", tag = "Section::Ofrep")]
impl OfrepApi {
    /// One flag's value
    ///
    /// As OFREP 0.1 has it. `context.targetingKey` must be the caller's own uuid, unless the caller has the permission
    /// flags:evaluate; flags without rules need none.
    #[oai(path = "/flags/:key", method = "post", operation_id = "evaluate_flag")]
    async fn one(
        &self,
        caller: Caller,
        /// The flag's name.
        key: Path<String>,
        request: &Request,
        body: Unread<Json<EvaluationRequest>>,
    ) -> Result<Json<Evaluation>, Failure<EvaluationRefusal>> {
        let person = self.person(&caller, request, body).await?;
        let told = |code| Told { code, key: Some(key.0.clone()) };
        let version = self.flags.in_force();
        let flag =
            version.set.get(&key.0).ok_or_else(|| EvaluationRefusal::Unknown(told("FLAG_NOT_FOUND")))?;
        let decision = version.set.decide(&key.0, person.as_ref());
        match evaluated(&key.0, flag, decision, &version) {
            Evaluated::Value(value) => Ok(Json(value)),
            Evaluated::Failure(_) => Err(EvaluationRefusal::KeyMissing(told("TARGETING_KEY_MISSING")).into()),
        }
    }

    /// Every flag's value
    ///
    /// As OFREP 0.1 has it, with `ETag` and `If-None-Match`. Without `context.targetingKey`, flags with rules have no value.
    #[oai(path = "/flags", method = "post", operation_id = "evaluate_flags")]
    async fn all(
        &self,
        caller: Caller,
        request: &Request,
        body: Unread<Json<EvaluationRequest>>,
    ) -> Result<BulkAnswer, Failure<EvaluationRefusal>> {
        let person = self.person(&caller, request, body).await?;
        let version = self.flags.in_force();
        let decisions = version.set.decisions(person.as_ref());
        let flags =
            decisions.map(|(name, flag, decision)| evaluated(name.as_str(), flag, decision, &version));
        let evaluations = Evaluations { flags: flags.collect() };
        let body = serde_json::to_vec(&evaluations).map_err(Breakage::from)?;
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest(&body)[..16]));
        if is_known(request.headers(), &etag) {
            return Ok(BulkAnswer::Unchanged(etag));
        }
        Ok(BulkAnswer::Ok(RawJson::new(body.into()), etag))
    }
}

impl OfrepApi {
    /// For whom is asked; nobody in particular if no key is given.
    async fn person(
        &self,
        caller: &Caller,
        request: &Request,
        body: Unread<Json<EvaluationRequest>>,
    ) -> Result<Option<Person>, Failure<EvaluationRefusal>> {
        let body = body.read(request).await.map_err(unreadable)?;
        let told = |code| Told { code, key: None };
        let key = body.context.and_then(|mut context| context.remove("targetingKey"));
        let id = match key {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(key) => key.as_str().and_then(|text| Uuid::try_parse(text).ok()),
        };
        let id = id.ok_or_else(|| EvaluationRefusal::NoUuid(told("INVALID_CONTEXT")))?;
        if id == caller.user_id {
            return Ok(Some(Person::from(caller)));
        }
        if !self.gate.allows_on_system(&Subject::from(caller), Action::FlagsEvaluate) {
            return Err(EvaluationRefusal::Foreign(told("GENERAL")).into());
        }
        let standing = self.sessions.standing(id).await?;
        Ok(Some(Person { id, roles: standing.map(|standing| standing.roles).unwrap_or_default() }))
    }
}

/// What is wrong with a body, by the protocol's code; what can be read but is wrong is 400 there.
fn unreadable(mut problem: Problem) -> EvaluationRefusal {
    let code = match problem.status {
        StatusCode::UNPROCESSABLE_ENTITY => "INVALID_CONTEXT",
        _ => "PARSE_ERROR",
    };
    if problem.status == StatusCode::UNPROCESSABLE_ENTITY {
        problem.status = StatusCode::BAD_REQUEST;
    }
    Told { code, key: None }.add_to(&mut problem);
    EvaluationRefusal::Unreadable(problem)
}

fn evaluated(key: &str, flag: &Flag, decision: Decision, version: &Version) -> Evaluated {
    if decision.reason == Reason::NeedsPerson {
        return Evaluated::Failure(EvaluationFailure {
            key: key.to_owned(),
            error_code: "TARGETING_KEY_MISSING".to_owned(),
            error_details: "The flag depends on who asks, and context.targetingKey is not given.".to_owned(),
        });
    }
    let mut metadata = BTreeMap::from([("version".to_owned(), json!(version.number))]);
    if let Reason::Rule(place) = decision.reason {
        metadata.insert("rule".to_owned(), json!(place));
    }
    Evaluated::Value(Evaluation {
        key: key.to_owned(),
        value: decision.on,
        reason: reason(flag, decision.reason).to_owned(),
        variant: if decision.on { "on" } else { "off" }.to_owned(),
        metadata,
    })
}

/// The reason in the words of OpenFeature (specification, 1.7).
fn reason(flag: &Flag, reason: Reason) -> &'static str {
    match (flag, reason) {
        (Flag::Rules(rules), Reason::Rule(place)) => {
            match rules.get(place).and_then(|rule| rule.percentage) {
                Some(_) => "SPLIT",
                None => "TARGETING_MATCH",
            }
        }
        (_, Reason::Admin) => "TARGETING_MATCH",
        (_, Reason::NoRule | Reason::NeedsPerson | Reason::Unlisted | Reason::Rule(_)) => "DEFAULT",
        (_, Reason::Switch | Reason::Always) => "STATIC",
    }
}
