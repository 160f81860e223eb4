//! Making a user while WorkOS keeps the directory: there first, then here.
//!
//! What WorkOS refuses is refused here; while it is away, nobody is made. Whom we made there and could not keep here is
//! taken back there, also when WorkOS made them later than anybody waited for. The event that tells of them comes later
//! and finds them; should it come first, it made an account of the id that we had given them, and that becomes what was
//! asked for, or goes by the event that tells of the taking back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use reqwest::StatusCode;
use uuid::Uuid;

use super::client::{Client, Fault, Said};
use super::person::Person;
use super::{Workos, store};
use crate::platform::db::Tx;
use crate::platform::problem::{Breakage, Failure, FieldError, RetryAfter};
use crate::users::store::{by_email, by_id, by_username, is_spent, user};
use crate::users::{ChangeRefusal, Changes, CreateRefusal, Names, NewUser, Origin, Source};

/// How long WorkOS is waited for, however often it is asked the same.
const PATIENCE: Duration = Duration::from_secs(8);
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
    turns: Turns,
}

impl Turn {
    /// None: it is somebody else's.
    fn take(turns: &Turns, id: Uuid) -> Option<Self> {
        let is_free = turns.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        is_free.then(|| Self { id, turns: Arc::clone(turns) })
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
        let turn = Turn::take(&self.turns, id).ok_or(CreationRefusal::Away(RetryAfter(LATER)))?;
        self.check_free(&new, id).await?;
        if is_chosen && let Some(person) = self.there_before(client, id, &new).await? {
            return self.keep(new, id, &person, origin).await.map_err(Failure::within);
        }
        let made = tokio::time::timeout(PATIENCE, self.make(client, id, &new)).await;
        let Made { person, by_us } = match made.unwrap_or_else(|_| Err(late())) {
            Ok(made) => made,
            Err(refusal) => {
                if matches!(refusal, CreationRefusal::Away(_)) {
                    self.take_back_later(client, turn);
                }
                return Err(refusal.into());
            }
        };
        let kept = self.keep(new, id, &person, origin).await;
        let is_ours = by_us || !is_chosen;
        if is_ours && kept.is_err() && !self.take_back(client, &person.id).await {
            self.take_back_later(client, turn);
        }
        kept.map_err(Failure::within)
    }

    /// Whoever has the id there before this act. A client that chose it may have made them there itself: they are kept,
    /// and never taken back.
    async fn there_before(
        &self,
        client: &Client,
        id: Uuid,
        new: &NewUser,
    ) -> Result<Option<Person>, CreationRefusal> {
        match tokio::time::timeout(PATIENCE, client.by_external_id(id)).await {
            Ok(Ok(Some(person))) if person.email != new.email => {
                Err(CreationRefusal::Create(CreateRefusal::IdTaken))
            }
            Ok(Ok(there)) => Ok(there),
            Ok(Err(fault)) => Err(away(&fault)),
            Err(_) => Err(late()),
        }
    }

    /// What is taken here is refused before WorkOS is asked.
    async fn check_free(&self, new: &NewUser, id: Uuid) -> Result<(), Failure<CreationRefusal>> {
        let (username, email) = (new.username.clone(), new.email.clone());
        let checked: Result<(), Failure<CreateRefusal>> = self
            .db
            .write(move |tx| {
                async move {
                    if by_id(tx, id).await?.is_some() || is_spent(tx, id).await? {
                        return Err(CreateRefusal::IdTaken.into());
                    }
                    if by_username(tx, username.as_str()).await?.is_some() {
                        return Err(CreateRefusal::UsernameTaken.into());
                    }
                    match email {
                        Some(email) if by_email(tx, email.as_str()).await?.is_some() => {
                            Err(CreateRefusal::EmailTaken.into())
                        }
                        _ => Ok(()),
                    }
                }
                .boxed()
            })
            .await;
        checked.map_err(Failure::within)
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

    /// Stores what WorkOS answered. Whoever follows the directory may have stored it a moment ago.
    async fn keep(
        &self,
        new: NewUser,
        id: Uuid,
        person: &Person,
        origin: &Origin,
    ) -> Result<user::Model, Failure<CreateRefusal>> {
        let new = NewUser {
            email: person.email.clone().or(new.email),
            email_verified: person.email_verified,
            names: Names {
                first: person.first_name.clone(),
                middle: new.names.middle,
                last: person.last_name.clone(),
            },
            source: Source::Workos,
            ..new
        };
        match self.keep_once(new.clone(), id, person, origin).await {
            Err(Failure::Refused(CreateRefusal::IdTaken)) => self.keep_once(new, id, person, origin).await,
            kept => kept,
        }
    }

    async fn keep_once(
        &self,
        new: NewUser,
        id: Uuid,
        person: &Person,
        origin: &Origin,
    ) -> Result<user::Model, Failure<CreateRefusal>> {
        let (workos, person, origin) = (self.clone(), person.clone(), origin.clone());
        let kept = self.db.write(move |tx| {
            async move {
                origin.hold_in(tx, id).await?;
                match store::known(tx, &person.id).await? {
                    None => {
                        let made = workos.users.create_in(tx, new, &origin).await?;
                        let at = person.updated_at.unwrap_or_default();
                        workos.note_in(tx, &person.id, made.id, at).await?;
                        Ok(made)
                    }
                    Some(known) if known.user_id == Some(id) && known.deleted_at.is_none() => {
                        workos.adopt_in(tx, id, new, &origin).await
                    }
                    Some(_) => Err(CreateRefusal::EmailTaken.into()),
                }
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

    /// Whether they are gone there now.
    async fn take_back(&self, client: &Client, id: &str) -> bool {
        let deleted = client.delete(id).await;
        match &deleted {
            Ok(()) => self.nudge(), // an account that an event made of them goes at once
            Err(fault) => {
                tracing::warn!(id, reason = %fault, "a user at WorkOS could not be kept here, nor taken back there");
            }
        }
        deleted.is_ok()
    }

    /// Takes back whom WorkOS may have made, or may make yet. The client does not wait for it.
    fn take_back_later(&self, client: &Client, turn: Turn) {
        let (workos, client) = (self.clone(), client.clone());
        self.tasks.spawn(async move { workos.find_and_take_back(&client, &turn).await });
    }

    async fn find_and_take_back(&self, client: &Client, turn: &Turn) {
        for pause in LOOKS {
            let is_stopping = tokio::time::timeout(pause, self.tasks.cancelled()).await.is_ok();
            let found = tokio::time::timeout(PATIENCE, client.by_external_id(turn.id)).await;
            if let Ok(Ok(Some(person))) = &found
                && self.take_back(client, &person.id).await
            {
                tracing::info!(id = %person.id, "a user whom WorkOS made too late was taken back there");
                return;
            }
            if is_stopping || matches!(found, Ok(Err(Fault::Refused(_)))) {
                break;
            }
        }
        tracing::warn!(id = %turn.id, "nobody was found at WorkOS to be taken back; whoever is made yet comes as an event");
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
