//! Making a user while WorkOS keeps the directory: there first, then here.
//!
//! What WorkOS refuses is refused here; while it is away, nobody is made. Whom we made there and could not keep here is
//! taken back there. The event that tells of them comes later and finds them; should it come first, it made an account
//! of the id that we had given them, and that becomes what was asked for.

use std::time::Duration;

use futures_util::FutureExt;
use reqwest::StatusCode;
use uuid::Uuid;

use super::client::{Client, Fault, Said};
use super::person::Person;
use super::{Workos, store};
use crate::platform::db::Tx;
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::users::store::{by_email, by_id, by_username, is_spent, user};
use crate::users::{ChangeRefusal, Changes, CreateRefusal, Names, NewUser, Origin, Source};

/// How long WorkOS is waited for, all its answers together.
const PATIENCE: Duration = Duration::from_secs(8);
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
        Away(RetryAfter) = 503 "unavailable" "The directory of users can't be reached. Nothing was stored; please try again in a moment.",
    }
    and Create(CreateRefusal)
}

/// Somebody who is there, and whether it was this act that made them.
struct Made {
    person: Person,
    by_us: bool,
}

impl Workos {
    /// Makes a user there, then here; only here where WorkOS has no part in it.
    pub async fn create(
        &self,
        mut new: NewUser,
        origin: Origin,
    ) -> Result<user::Model, Failure<CreationRefusal>> {
        let Some(client) = &self.client else {
            return self.users.create(new, origin).await.map_err(Failure::within);
        };
        if new.email.is_none() {
            let error =
                FieldError::new("email", "is required: the directory knows nobody without an address");
            return Err(CreationRefusal::Invalid(vec![error]).into());
        }
        let id = *new.id.get_or_insert_with(|| self.random.uuid_v7(self.clock.now()));
        self.check_free(&new, id).await?;
        let Ok(made) = tokio::time::timeout(PATIENCE, self.make(client, id, &new)).await else {
            tracing::warn!("WorkOS took too long to make a user");
            return Err(CreationRefusal::Away(RetryAfter(LATER)).into());
        };
        let Made { person, by_us } = made?;
        let kept = self.keep(new, id, &person, &origin).await;
        if by_us && kept.is_err() {
            self.take_back(client, &person.id).await;
        }
        kept.map_err(Failure::within)
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

    async fn make(&self, client: &Client, id: Uuid, new: &NewUser) -> Result<Made, Failure<CreationRefusal>> {
        let said = match client.create(id, new).await {
            Ok(person) => return Ok(Made { person, by_us: true }),
            Err(Fault::Refused(said)) => said,
            Err(fault) => return Err(away(&fault).into()),
        };
        // The answer to an earlier attempt may have been lost on its way: then they are there, and they are ours.
        if taken(&said).is_some()
            && let Ok(Some(person)) = client.by_external_id(id).await
            && person.email == new.email
        {
            return Ok(Made { person, by_us: false });
        }
        Err(refused(&said).into())
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

    async fn take_back(&self, client: &Client, id: &str) {
        if let Err(fault) = client.delete(id).await {
            tracing::warn!(id, reason = %fault, "a user at WorkOS could not be kept here, nor taken back there");
        }
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
