//! Making a user while WorkOS keeps the directory: there first, then here.
//!
//! What WorkOS refuses is refused here; while it is away, nobody is made. Whom we made there and could not keep here is
//! taken back there, also when WorkOS made them later than anybody waited for, or the process died: until they are here
//! or gone there, an intent is kept of them (`intents.rs`). The event that tells of them leaves them to this act as long
//! as that is there. Of an id that the client chose there is none: the event may come first and make an account of that
//! id, and that becomes what was asked for, or goes by the event that tells of the taking back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use reqwest::StatusCode;
use sea_orm::DbErr;
use uuid::Uuid;

use super::client::{Client, Fault, Said};
use super::person::Person;
use super::{Workos, store};
use crate::platform::db::Tx;
use crate::platform::problem::{Breakage, Failure, FieldError, RetryAfter};
use crate::users::store::{by_email, by_id, by_username, is_spent, user};
use crate::users::{ChangeRefusal, Changes, CreateRefusal, Email, Names, NewUser, Origin, Source};

/// How long WorkOS is waited for, however often it is asked the same.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// The pauses before each look for somebody whom WorkOS may have made all the same.
const LOOKS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];
/// When trying again makes sense, in seconds, where WorkOS does not say.
const LATER: u64 = 5;
/// The latest that a client is sent away to, in seconds.
const LATEST: u64 = 300;
/// Fields that WorkOS may find wrong and that are ours, too.
const FIELDS: [&str; 4] = ["email", "email_verified", "first_name", "last_name"];

crate::refusals! {
    /// Why nobody is made there, and so nobody here.
    pub enum CreationRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        Away(RetryAfter) = 503 "unavailable" "The directory of users can't be reached. The user was not stored here; please try again in a moment.",
    }
    and Create(CreateRefusal)
}

/// Somebody who is there, and whether it was certainly this act that made them.
struct Made {
    person: Person,
    by_us: bool,
}

/// The ids of those who are being made, or taken back.
pub(super) type Turns = Arc<Mutex<HashSet<Uuid>>>;

/// The turn to make whoever is to have this id. Until it ends nobody else here makes them, or keeps whom this act is
/// about to take back.
struct Turn {
    id: Uuid,
    /// Whether the id was made here. Then whoever has it there is of our making, and there is an intent.
    is_ours: bool,
    turns: Turns,
}

impl Turn {
    /// None: it is somebody else's.
    fn take(turns: &Turns, id: Uuid, is_ours: bool) -> Option<Self> {
        let is_free = turns.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_free.then(|| Self { id, is_ours, turns: Arc::clone(turns) })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Workos {
    /// Makes a user there, then here; only here where WorkOS has no part in it.
    pub async fn create(
        &self,
        new: NewUser,
        origin: Origin,
    ) -> Result<user::Model, Failure<CreationRefusal>> {
        let Some(client) = self.client.clone() else {
            return self.users.create(new, origin).await.map_err(Failure::within);
        };
        if new.email.is_none() {
            let error =
                FieldError::new("email", "is required: the directory knows nobody without an address");
            return Err(CreationRefusal::Invalid(vec![error]).into());
        }
        let workos = self.clone();
        // In a task of its own: a client that leaves must not leave somebody there who is not here.
        let making = self.tasks.spawn(async move { workos.make_and_keep(&client, new, &origin).await });
        making.await.map_err(Breakage::from)?
    }

    /// Ends with somebody who is there and here, or in neither place, or with a search for them there.
    async fn make_and_keep(
        &self,
        client: &Client,
        mut new: NewUser,
        origin: &Origin,
    ) -> Result<user::Model, Failure<CreationRefusal>> {
        let is_chosen = new.id.is_some();
        let id = *new.id.get_or_insert_with(|| self.random.uuid_v7(self.clock.now()));
        let turn = Turn::take(&self.turns, id, !is_chosen).ok_or(CreationRefusal::Away(RetryAfter(LATER)))?;
        self.begin(&new, &turn).await?;
        if is_chosen && let Some(person) = self.there_before(client, id, &new).await? {
            return self.keep(client, new, &turn, &person, origin).await;
        }
        let made = tokio::time::timeout(PATIENCE, self.make(client, id, &new)).await;
        let Made { person, by_us } = match made.unwrap_or_else(|_| Err(late())) {
            Ok(made) => made,
            Err(refusal) => {
                if matches!(refusal, CreationRefusal::Away(_)) {
                    self.take_back_later(client, turn);
                } else {
                    self.forget_intent(id).await;
                }
                return Err(refusal.into());
            }
        };
        let kept = self.keep(client, new, &turn, &person, origin).await;
        let is_ours = by_us || turn.is_ours;
        if is_ours
            && kept.is_err()
            && self.may_take_back(&turn).await
            && !self.take_back(client, id, &person).await
        {
            self.take_back_later(client, turn);
        }
        kept
    }

    /// Whoever has the id there before this act. A client that chose it may have made them there itself: they are kept,
    /// and never taken back.
    async fn there_before(
        &self,
        client: &Client,
        id: Uuid,
        new: &NewUser,
    ) -> Result<Option<Person>, CreationRefusal> {
        match there(client, id).await? {
            Some(person) if person.email != new.email => Err(CreationRefusal::Create(CreateRefusal::IdTaken)),
            there => Ok(there),
        }
    }

    /// What is taken here is refused before WorkOS is asked. From then on an intent of an id of ours is there.
    async fn begin(&self, new: &NewUser, turn: &Turn) -> Result<(), Failure<CreationRefusal>> {
        let (username, email) = (new.username.clone(), new.email.clone());
        let (id, is_ours, now) = (turn.id, turn.is_ours, self.clock.now());
        let begun = self.db.write::<_, Failure<CreationRefusal>, _>(move |tx| {
            async move {
                if let Some(taken) = taken_in(tx, id, username.as_str(), email.as_ref()).await? {
                    return Err(CreationRefusal::Create(taken).into());
                }
                if is_ours {
                    store::intend(tx, id, now).await?;
                } else if !store::intended(tx, vec![id]).await?.is_empty() {
                    return Err(CreationRefusal::Away(RetryAfter(LATER)).into()); // whoever has it there is to go
                }
                Ok(())
            }
            .boxed()
        });
        begun.await
    }

    async fn make(&self, client: &Client, id: Uuid, new: &NewUser) -> Result<Made, CreationRefusal> {
        let said = match client.create(id, new).await {
            Ok(person) => return Ok(Made { person, by_us: true }),
            Err(Fault::Refused(said)) => said,
            Err(fault) => return Err(away(&fault)),
        };
        if taken(&said).is_some() {
            // The answer to an earlier attempt may have been lost on its way: then they are there, and they are ours.
            match client.by_external_id(id).await {
                Ok(Some(person)) if person.email == new.email => return Ok(Made { person, by_us: false }),
                Err(fault @ Fault::Away { .. }) => return Err(away(&fault)),
                _ => {}
            }
        }
        Err(refused(&said))
    }

    /// Stores what WorkOS answered.
    async fn keep(
        &self,
        client: &Client,
        new: NewUser,
        turn: &Turn,
        person: &Person,
        origin: &Origin,
    ) -> Result<user::Model, Failure<CreationRefusal>> {
        match self.keep_once(new.clone(), turn, person, origin).await {
            // Whoever follows the directory may have stored it a moment ago,
            Err(Failure::Refused(CreationRefusal::Create(CreateRefusal::IdTaken))) => {
                self.keep_once(new, turn, person, origin).await
            }
            // or was told of something newer, and left that to this act.
            Err(Failure::Refused(refusal @ CreationRefusal::Away(_))) => {
                let newest = there(client, turn.id).await?.ok_or(refusal)?;
                self.keep_once(new, turn, &newest, origin).await
            }
            kept => kept,
        }
    }

    async fn keep_once(
        &self,
        new: NewUser,
        turn: &Turn,
        person: &Person,
        origin: &Origin,
    ) -> Result<user::Model, Failure<CreationRefusal>> {
        let (workos, person, origin) = (self.clone(), person.clone(), origin.clone());
        let (id, is_ours, new) = (turn.id, turn.is_ours, as_told(new, &person));
        let kept = self.db.write::<_, Failure<CreationRefusal>, _>(move |tx| {
            async move {
                origin.hold_in(tx, id).await?;
                let at = person.updated_at.unwrap_or_default();
                if is_ours && !store::fulfil(tx, id, at).await? {
                    return Err(CreationRefusal::Away(RetryAfter(LATER)).into());
                }
                let kept = match store::known(tx, &person.id).await? {
                    None => match workos.users.create_in(tx, new, &origin).await {
                        Ok(made) => {
                            workos.note_in(tx, &person.id, made.id, at).await?;
                            Ok(made)
                        }
                        refused => refused,
                    },
                    Some(known) if known.user_id == Some(id) && known.deleted_at.is_none() => {
                        workos.adopt_in(tx, id, new, &origin).await
                    }
                    Some(_) => Err(CreateRefusal::EmailTaken.into()),
                };
                kept.map_err(Failure::within)
            }
            .boxed()
        });
        kept.await
    }

    /// Makes what was asked for of an account that an event had made.
    async fn adopt_in(
        &self,
        tx: &Tx,
        id: Uuid,
        new: NewUser,
        origin: &Origin,
    ) -> Result<user::Model, Failure<CreateRefusal>> {
        let changes = Changes {
            username: Some(new.username),
            display_name: new.display_name,
            middle_name: Some(new.names.middle),
            description: Some(new.description),
            locale: Some(new.locale),
            metadata: Some(new.metadata),
            roles: Some(new.roles),
            is_active: Some(new.is_active),
            ..Changes::default()
        };
        let mut user = self.users.update_in(tx, id, changes, None, origin).await.map_err(of_change)?;
        if let Some(hash) = new.password_hash {
            user = self.users.set_password_in(tx, id, hash, None, origin).await.map_err(of_change)?;
        }
        Ok(user)
    }

    /// Whether whoever has the id there may be deleted there. If that can't be said now, it is left to whoever follows.
    async fn may_take_back(&self, turn: &Turn) -> bool {
        if !turn.is_ours {
            return true;
        }
        let given_up = self.give_up(turn.id).await;
        given_up
            .inspect_err(|error| tracing::warn!(%error, "a user at WorkOS is taken back later"))
            .unwrap_or(false)
    }

    /// Takes back whom WorkOS may have made, or may make yet. The client does not wait for it.
    fn take_back_later(&self, client: &Client, turn: Turn) {
        let (workos, client) = (self.clone(), client.clone());
        self.tasks.spawn(async move { workos.find_and_take_back(&client, &turn).await });
    }

    async fn find_and_take_back(&self, client: &Client, turn: &Turn) {
        if !self.may_take_back(turn).await {
            return;
        }
        for pause in LOOKS {
            let is_stopping = tokio::time::timeout(pause, self.tasks.cancelled()).await.is_ok();
            let found = tokio::time::timeout(PATIENCE, client.by_external_id(turn.id)).await;
            if let Ok(Ok(Some(person))) = &found
                && self.take_back(client, turn.id, person).await
            {
                tracing::info!(id = %person.id, "a user whom WorkOS made too late was taken back there");
                return;
            }
            if is_stopping || matches!(found, Ok(Err(Fault::Refused(_)))) {
                break;
            }
        }
        tracing::warn!(id = %turn.id, "nobody was found at WorkOS to be taken back");
    }
}

/// What of somebody new is somebody's here.
async fn taken_in(
    tx: &Tx,
    id: Uuid,
    username: &str,
    email: Option<&Email>,
) -> Result<Option<CreateRefusal>, DbErr> {
    if by_id(tx, id).await?.is_some() || is_spent(tx, id).await? {
        return Ok(Some(CreateRefusal::IdTaken));
    }
    if by_username(tx, username).await?.is_some() {
        return Ok(Some(CreateRefusal::UsernameTaken));
    }
    match email {
        Some(email) if by_email(tx, email.as_str()).await?.is_some() => Ok(Some(CreateRefusal::EmailTaken)),
        _ => Ok(None),
    }
}

/// Whoever has this id of ours there.
async fn there(client: &Client, id: Uuid) -> Result<Option<Person>, CreationRefusal> {
    match tokio::time::timeout(PATIENCE, client.by_external_id(id)).await {
        Ok(Ok(there)) => Ok(there),
        Ok(Err(fault)) => Err(away(&fault)),
        Err(_) => Err(late()),
    }
}

/// Somebody new, with the address and the names that WorkOS has of them.
fn as_told(new: NewUser, person: &Person) -> NewUser {
    NewUser {
        email: person.email.clone().or(new.email),
        email_verified: person.email_verified,
        names: Names {
            first: person.first_name.clone(),
            middle: new.names.middle,
            last: person.last_name.clone(),
        },
        source: Source::Workos,
        ..new
    }
}

fn of_change(failure: Failure<ChangeRefusal>) -> Failure<CreateRefusal> {
    match failure {
        Failure::Refused(ChangeRefusal::UsernameTaken) => CreateRefusal::UsernameTaken.into(),
        Failure::Refused(ChangeRefusal::EmailTaken) => CreateRefusal::EmailTaken.into(),
        // What is adopted keeps its address, so no second factor depends on what changes.
        Failure::Refused(ChangeRefusal::SecondFactor | ChangeRefusal::Target(_)) => {
            CreateRefusal::IdTaken.into()
        }
        Failure::Broken(breakage) => breakage.into(),
    }
}

fn away(fault: &Fault) -> CreationRefusal {
    tracing::warn!(reason = %fault, "nobody can be made at WorkOS");
    let seconds = match fault {
        Fault::Away { after: Some(after), .. } => after.as_secs(),
        _ => LATER,
    };
    CreationRefusal::Away(RetryAfter(seconds.clamp(1, LATEST)))
}

fn late() -> CreationRefusal {
    tracing::warn!("WorkOS took too long to make a user");
    CreationRefusal::Away(RetryAfter(LATER))
}

/// What WorkOS says is somebody else's.
fn taken(said: &Said) -> Option<CreateRefusal> {
    let of_address = |code: &str| code.contains("email") || code.contains("exist");
    let code = said.code.as_deref().unwrap_or_default();
    let inner: Vec<&str> = said.details.iter().map(|detail| detail.code.as_str()).collect();
    match (said.status, code) {
        (_, "external_id_already_used") => Some(CreateRefusal::IdTaken),
        (StatusCode::CONFLICT, _) | (_, "email_not_available" | "user_already_exists") => {
            Some(CreateRefusal::EmailTaken)
        }
        // Whatever else could be wrong has a code of its own.
        (StatusCode::BAD_REQUEST, "user_creation_error") => {
            let is_address = inner.is_empty() || inner.iter().copied().any(of_address);
            is_address.then_some(CreateRefusal::EmailTaken)
        }
        _ => None,
    }
}

fn refused(said: &Said) -> CreationRefusal {
    if let Some(taken) = taken(said) {
        return CreationRefusal::Create(taken);
    }
    if !matches!(said.status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) {
        return away(&Fault::Refused(said.clone())); // our key is not what it must be
    }
    let named = said.details.iter().filter_map(|detail| detail.field.as_deref());
    let mut fields: Vec<&str> = named.filter(|field| FIELDS.contains(field)).collect();
    if fields.is_empty() {
        fields.push("email");
    }
    fields.sort_unstable();
    fields.dedup();
    let error = |field: &str| FieldError::new(field, "The directory of users does not take it.");
    CreationRefusal::Invalid(fields.into_iter().map(error).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::problem::Refusal;
    use crate::workos::client::Detail;

    fn told(status: u16, code: &str, details: &[(&str, Option<&str>)]) -> (u16, &'static str) {
        let details = details
            .iter()
            .map(|(code, field)| Detail { code: (*code).to_owned(), field: field.map(str::to_owned) });
        let said = Said {
            status: StatusCode::from_u16(status).unwrap(),
            code: Some(code.to_owned()).filter(|code| !code.is_empty()),
            message: String::new(),
            details: details.collect(),
        };
        let problem = refused(&said).problem();
        (problem.status.as_u16(), problem.code)
    }

    #[test]
    fn what_workos_refuses_is_refused_here() {
        let (taken, invalid) = ((409, "email_taken"), (422, "validation_failed"));
        assert_eq!(told(409, "", &[]), taken);
        assert_eq!(told(409, "user_already_exists", &[]), taken);
        assert_eq!(told(400, "user_creation_error", &[]), taken);
        assert_eq!(told(400, "user_creation_error", &[("email_not_available", None)]), taken);
        assert_eq!(told(400, "email_not_available", &[]), taken);
        assert_eq!(told(400, "external_id_already_used", &[]), (409, "user_id_taken"));
        assert_eq!(told(400, "user_creation_error", &[("name_too_long", None)]), invalid);
        assert_eq!(told(422, "invalid_request_parameters", &[("invalid", Some("email"))]), invalid);
        assert_eq!(told(400, "invalid_email", &[]), invalid);
        for status in [401, 403, 404] {
            assert_eq!(told(status, "", &[]), (503, "unavailable"), "{status}");
        }
    }
}
