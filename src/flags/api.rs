//! The operations on flags: as they are for the caller, and as they are written.

use std::collections::{BTreeMap, HashMap};

use poem::Request;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags, Union};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::flag::{Flag, Person, Reason};
use super::operations::shelter_of;
use super::written::{self, FlagRule, FlagValue, Written};
use super::{Author, Change, ChangeRefusal, Flags, Shelter, Source, Version, store};
use crate::permissions::{Allowed, System};
use crate::platform::clock::Clock;
use crate::platform::db::Order;
use crate::platform::problem::{Failure, FieldError, Problem};
use crate::platform::web::{ClientInfo, Json, Listing, Paging, PartQuery, if_match};
use crate::sessions::{Anybody, Caller, Described, Enrolling};

/// The operations on flags.
pub struct FlagsApi {
    /// The flags.
    pub flags: Flags,
    /// Time.
    pub clock: Clock,
}

#[derive(Tags)]
enum Section {
    /// What is switched on, and for whom.
    Flags,
}

crate::permissions! {
    /// Read the flags with their rules.
    ReadFlags: FlagsRead on System;
    /// Change the flags.
    UpdateFlags: FlagsUpdate on System;
}

/// Flags to be removed and added, in this order.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct FlagChange {
    /// Names of the flags that go. What is not there counts as on.
    #[serde(default)]
    #[oai(nullable)]
    pub remove: Option<Removal>,
    /// The flags that come, or get another value, by their names.
    #[serde(default)]
    #[oai(nullable)]
    pub add: Option<HashMap<String, FlagValue>>,
}

/// Names, or an object whose members have these names.
#[derive(Debug, Deserialize, Union)]
#[serde(untagged, expecting = "a list or an object")]
pub enum Removal {
    /// Names.
    Names(Vec<String>),
    /// Members with these names; their values do not matter.
    Members(HashMap<String, Value>),
}

/// How a flag is for the caller: a switch for who is not signed in, with what decided for who is.
#[derive(Debug, Serialize, Union)]
#[serde(untagged)]
pub enum FlagShown {
    /// Whether it is on.
    Switch(bool),
    /// The same, and why.
    Explained(FlagExplained),
}

/// How a flag is for the caller, and why.
#[derive(Debug, Serialize, Object)]
pub struct FlagExplained {
    /// Whether it is on.
    pub enabled: bool,
    /// What decided: `switch`, `rule`, `no_rule`, `always` (can't be switched off) or `admin` (not for admins).
    pub reason: String,
    /// The rule that matches.
    #[oai(nullable)]
    pub rule: Option<FlagRule>,
    /// The same for people.
    pub explanation: String,
}

/// A change of the flags.
#[derive(Debug, Serialize, Object)]
pub struct FlagHistory {
    /// The version that it made.
    pub version: i64,
    /// When, in seconds since the Unix epoch.
    pub time: i64,
    /// How it came in: `api`, `file` (edited by hand) or `start` (operations that had no flag yet).
    pub source: String,
    /// Who made it; null: nobody who was signed in.
    #[oai(nullable)]
    pub by: Option<Uuid>,
    /// The trace id of the request.
    #[oai(nullable)]
    pub trace_id: Option<String>,
    /// Each flag that is another than before.
    pub changes: Vec<FlagDifference>,
}

/// A flag before and after a change.
#[derive(Debug, Serialize, Object)]
pub struct FlagDifference {
    /// The flag's name.
    pub flag: String,
    /// Its value before; null: it was not there.
    #[oai(nullable)]
    pub before: Option<FlagValue>,
    /// Its value after; null: it is no longer there.
    #[oai(nullable)]
    pub after: Option<FlagValue>,
}

crate::refusals! {
    /// Why somebody is not told how the flags are for them.
    pub enum ReadRefusal {
        Invalid(Problem) = 401 "token_invalid" "The access token is not valid, or no longer.",
    }
}

crate::refusals! {
    /// Why the history is not shown.
    pub enum HistoryRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

/// All flags, and what `If-Match` wants.
#[derive(ApiResponse)]
enum FlagsAnswer {
    /// All flags by their names.
    #[oai(status = 200)]
    Ok(Json<Written>, #[oai(header = "ETag")] String),
}

#[OpenApi(tag = "Section::Flags")]
impl FlagsApi {
    /// The flags as they are for the caller
    ///
    /// Without signing in: whether each is on. Signed in: with the rule that decided.
    #[oai(path = "/flags", method = "get", operation_id = "read_flags")]
    async fn read_own(
        &self,
        _known: Described<Anybody>,
        request: &Request,
    ) -> Result<Json<BTreeMap<String, FlagShown>>, Failure<ReadRefusal>> {
        let caller = Enrolling::of_any(request).await.map_err(ReadRefusal::Invalid)?;
        let person = caller.map(|caller| Person::from(&*caller));
        let version = self.flags.in_force();
        let shown = version.set.decisions(person.as_ref()).map(|(name, flag, decision)| {
            let shown = match person {
                None => FlagShown::Switch(decision.on),
                Some(_) => FlagShown::Explained(explained(flag, decision.reason, decision.on)),
            };
            (name.as_str().to_owned(), shown)
        });
        Ok(Json(shown.collect()))
    }

    /// All flags with their rules
    ///
    /// `ETag` names the version, for `If-Match`.
    #[oai(path = "/admin/feature-flags", method = "get", operation_id = "read_feature_flags")]
    async fn read(&self, _allowed: Allowed<ReadFlags>) -> FlagsAnswer {
        answer(&self.flags.in_force())
    }

    /// Change flags
    ///
    /// Removes, then adds; answers all flags. They count, and are on the disk, before the answer. Needs a proof of who
    /// one is that is not older than ten minutes. With `If-Match`, only the version that was read is changed.
    #[oai(path = "/admin/feature-flags", method = "patch", operation_id = "update_feature_flags")]
    async fn update(
        &self,
        allowed: Allowed<UpdateFlags>,
        client: ClientInfo,
        request: &Request,
        body: Json<FlagChange>,
    ) -> Result<FlagsAnswer, Failure<ChangeRefusal>> {
        self.changed(&allowed.caller, &client, request, body.0).await
    }

    /// All flags with their rules (as `/admin/feature-flags`)
    ///
    /// The path of older clients.
    #[oai(
        path = "/admin/feature_flags",
        method = "get",
        operation_id = "read_feature_flags_again",
        deprecated
    )]
    async fn read_again(&self, _allowed: Allowed<ReadFlags>) -> FlagsAnswer {
        answer(&self.flags.in_force())
    }

    /// Change flags (as `/admin/feature-flags`)
    ///
    /// The path of older clients.
    #[oai(
        path = "/admin/feature_flags",
        method = "patch",
        operation_id = "update_feature_flags_again",
        deprecated
    )]
    async fn update_again(
        &self,
        allowed: Allowed<UpdateFlags>,
        client: ClientInfo,
        request: &Request,
        body: Json<FlagChange>,
    ) -> Result<FlagsAnswer, Failure<ChangeRefusal>> {
        self.changed(&allowed.caller, &client, request, body.0).await
    }

    /// Who changed which flags
    ///
    /// Newest first, unless `order=asc` asks for the oldest. The newest five hundred changes are kept.
    #[oai(path = "/admin/feature-flags/history", method = "get", operation_id = "read_feature_flags_history")]
    async fn history(
        &self,
        _allowed: Allowed<ReadFlags>,
        paging: Paging,
    ) -> Result<Listing<FlagHistory>, Failure<HistoryRefusal>> {
        let key = self.flags.0.parts.cursor_key.bytes();
        let asked = PartQuery::of(&paging, key, Order::Desc).map_err(HistoryRefusal::Invalid)?;
        let (entries, total) = self.flags.history(&asked.span).await?;
        Ok(asked.part(entries, total, |entry| entry.version).listing(FlagHistory::from))
    }
}

impl FlagsApi {
    async fn changed(
        &self,
        caller: &Caller,
        client: &ClientInfo,
        request: &Request,
        change: FlagChange,
    ) -> Result<FlagsAnswer, Failure<ChangeRefusal>> {
        caller.require_proof_or(self.clock.now(), ChangeRefusal::Unproved)?;
        let wanted = if_match(request).map_err(|problem| ChangeRefusal::Invalid(problem.errors))?;
        let change = read(change).map_err(ChangeRefusal::Invalid)?;
        let author = Author {
            source: Source::Api,
            by: Some(caller.clone()),
            trace_id: Some(client.trace_id.to_string()),
        };
        let version = self.flags.change(change, wanted.map(str::to_owned), author).await?;
        tracing::info!(by = %caller.user_id, version = version.number, "the flags were changed");
        Ok(answer(&version))
    }
}

fn answer(version: &Version) -> FlagsAnswer {
    FlagsAnswer::Ok(Json(version.set.written()), version.etag())
}

/// Reads a change; everything that is wrong with it.
fn read(change: FlagChange) -> Result<Change, Vec<FieldError>> {
    let mut errors = Vec::new();
    if change.remove.is_none() && change.add.is_none() {
        errors.push(FieldError::new("body", "must name what to remove or to add"));
    }
    let names = change.remove.map_or_else(Vec::new, |removal| match removal {
        Removal::Names(names) => names,
        Removal::Members(members) => members.into_keys().collect(),
    });
    let mut read = Change::default();
    for name in names {
        match name.parse() {
            Ok(name) => drop(read.remove.insert(name)),
            Err(error) => errors.push(FieldError::new("remove", error.to_string())),
        }
    }
    for (name, value) in change.add.into_iter().flatten() {
        match written::read("add", &name, value) {
            Ok((name, flag)) if flag != Flag::On && shelter_of(name.as_str()) == Shelter::All => {
                errors.push(FieldError::new(format!("add.{name}"), "can't be switched off"));
            }
            Ok((name, flag)) => drop(read.add.insert(name, flag)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(read) } else { Err(errors) }
}

fn explained(flag: &Flag, reason: Reason, enabled: bool) -> FlagExplained {
    let rule = match (flag, reason) {
        (Flag::Rules(rules), Reason::Rule(place)) => rules.get(place).map(FlagRule::from),
        _ => None,
    };
    FlagExplained { enabled, reason: reason.name().to_owned(), rule, explanation: words_for(reason, enabled) }
}

fn words_for(reason: Reason, enabled: bool) -> String {
    match reason {
        Reason::Switch if enabled => "It is on for everybody.".to_owned(),
        Reason::Switch => "It is off for everybody.".to_owned(),
        Reason::Rule(place) => format!("Rule {} of the flag matches you.", place + 1),
        Reason::NoRule => "No rule of the flag matches you.".to_owned(),
        Reason::NeedsPerson => "It depends on who asks.".to_owned(),
        Reason::Unlisted => "There is no such flag; what is not listed is on.".to_owned(),
        Reason::Always => "It can't be switched off, whatever the flag says.".to_owned(),
        Reason::Admin => "It can't be switched off for admins, whatever the flag says.".to_owned(),
    }
}

impl From<store::Entry> for FlagHistory {
    fn from(entry: store::Entry) -> Self {
        let store::Entry { version, changes, source, by, trace_id, at } = entry;
        let difference = |super::Difference { flag, before, after }| FlagDifference { flag, before, after };
        let changes = changes.into_iter().map(difference).collect();
        Self { version, time: at.seconds(), source, by, trace_id, changes }
    }
}
