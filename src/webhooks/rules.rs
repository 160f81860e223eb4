//! What admins do with webhooks.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use super::delivery::Attempt;
use super::secret::SigningSecret;
use super::store::{self, Delivery, webhook};
use super::target::EventTypes;
use super::{Webhooks, message};
use crate::audit::{Entry, Subject};
use crate::events::store::by_id;
use crate::platform::clock::Timestamp;
use crate::platform::db::{Order, Tx};
use crate::platform::problem::{Failure, FieldError};
use crate::platform::web::{Paging, Part, PartQuery, is_wanted};
use crate::sessions::Caller;

/// Webhooks that there may be.
const MOST: u64 = 50;
/// How long the secret before signs beside a new one.
const BOTH: Duration = Duration::from_hours(24);
/// How long deliveries are remembered.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);
/// Why a webhook is sent nothing that an admin has switched off.
pub(super) const BY_ADMIN: &str = "admin";

crate::refusals! {
    /// Why a webhook is not shown.
    pub enum ReadRefusal {
        NotFound = 404 "not_found" "There is no such webhook.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

crate::refusals! {
    /// Why a webhook is not made.
    pub enum CreateRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        TooMany = 409 "too_many_webhooks" "There are as many webhooks as there may be.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

crate::refusals! {
    /// Why a webhook stays as it is.
    pub enum ChangeRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        NotFound = 404 "not_found" "There is no such webhook.",
        Stale = 412 "precondition_failed" "The webhook has changed since you read it.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

crate::refusals! {
    /// Why a webhook's cursor stays where it is.
    pub enum ReplayRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        NotFound = 404 "not_found" "There is no such webhook.",
        NoEvent = 404 "event_not_found" "There is no such event, or it is no longer kept.",
    }
}

/// What an admin says of a webhook; what is none stays as it is.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub url: Option<Url>,
    pub description: Option<String>,
    pub event_types: Option<EventTypes>,
    pub enabled: Option<bool>,
}

/// A webhook, and its secret where that is told.
pub(super) struct WithSecret {
    pub webhook: webhook::Model,
    pub secret: SecretString,
}

impl Webhooks {
    /// All of them.
    pub(super) async fn all(&self) -> Result<Vec<webhook::Model>, DbErr> {
        store::all(self.0.db.reader()).await
    }

    /// One of them.
    pub(super) async fn find(&self, id: Uuid) -> Result<Option<webhook::Model>, DbErr> {
        store::find(self.0.db.reader(), id).await
    }

    /// Makes one: it is sent what happens from now on.
    pub(super) async fn create(
        &self,
        url: Url,
        change: Change,
        caller: &Caller,
    ) -> Result<WithSecret, Failure<CreateRefusal>> {
        let (now, secret) = (self.0.clock.now(), SigningSecret::new(&self.0.random));
        let id = self.0.random.uuid_v7(now);
        let enabled = change.enabled.unwrap_or(true);
        let row = webhook::Model {
            id,
            url: url.into(),
            description: change.description.unwrap_or_default(),
            event_types: change.event_types.unwrap_or_default().text(),
            sealed_secret: secret.seal(&self.0.secrets, &self.0.random, id),
            sealed_previous: None,
            previous_until: None,
            disabled: (!enabled).then(|| BY_ADMIN.to_owned()),
            disabled_at: (!enabled).then(|| now.millis()),
            position: 0,
            failing_since: None,
            attempts: 0,
            next_try_at: None,
            deliveries: 0,
            version: 1,
            created_by: caller.user_id,
            created_at: now.millis(),
            updated_at: now.millis(),
        };
        let entry = Entry::by(caller.user_id, "webhook_created", Subject::Webhook(id));
        let (audit, caller) = (self.0.audit.clone(), caller.clone());
        let made = self.0.db.write::<_, Failure<CreateRefusal>, _>(move |tx| {
            async move {
                caller.hold_in(tx, caller.user_id).await?;
                store::hold(tx).await?;
                if store::count(tx).await? >= MOST {
                    return Err(CreateRefusal::TooMany.into());
                }
                let row = webhook::Model { position: store::newest_position(tx).await?, ..row };
                store::insert(tx, row.clone()).await?;
                audit.record(tx, entry).await?;
                Ok(row)
            }
            .boxed()
        });
        Ok(WithSecret { webhook: made.await?, secret: secret.text() })
    }

    /// Changes one. An address that is another, or a webhook that is switched on, begins afresh where it stands.
    pub(super) async fn change(
        &self,
        id: Uuid,
        change: Change,
        wanted: Option<String>,
        caller: &Caller,
    ) -> Result<webhook::Model, Failure<ChangeRefusal>> {
        let now = self.0.clock.now();
        let entry = Entry::by(caller.user_id, "webhook_changed", Subject::Webhook(id));
        let entry = entry.with("fields", change.fields());
        let changed = self.changed(id, wanted, (caller, entry), move |row| apply(row, change, now)).await?;
        self.wake();
        Ok(changed)
    }

    /// Removes one, if it is the version that is wanted.
    pub(super) async fn remove(
        &self,
        id: Uuid,
        wanted: Option<String>,
        caller: &Caller,
    ) -> Result<(), Failure<ChangeRefusal>> {
        let entry = Entry::by(caller.user_id, "webhook_deleted", Subject::Webhook(id));
        let (audit, caller) = (self.0.audit.clone(), caller.clone());
        let removed = self.0.db.write::<_, Failure<ChangeRefusal>, _>(move |tx| {
            async move {
                caller.hold_in(tx, caller.user_id).await?;
                held(tx, id, wanted.as_deref()).await?;
                store::delete(tx, id).await?;
                audit.record(tx, entry).await?;
                Ok(())
            }
            .boxed()
        });
        removed.await
    }

    /// Gives one a new secret; the one before signs beside it for a day.
    pub(super) async fn rotate(
        &self,
        id: Uuid,
        wanted: Option<String>,
        caller: &Caller,
    ) -> Result<WithSecret, Failure<ChangeRefusal>> {
        let (now, secret) = (self.0.clock.now(), SigningSecret::new(&self.0.random));
        let sealed = secret.seal(&self.0.secrets, &self.0.random, id);
        let rotate = move |row: &mut webhook::Model| {
            row.sealed_previous = Some(std::mem::replace(&mut row.sealed_secret, sealed));
            row.previous_until = Some(now.after(BOTH).millis());
            row.updated_at = now.millis();
        };
        let entry = Entry::by(caller.user_id, "webhook_secret_rotated", Subject::Webhook(id));
        let webhook = self.changed(id, wanted, (caller, entry), rotate).await?;
        Ok(WithSecret { webhook, secret: secret.text() })
    }

    /// Sends a message that tells of nothing, now, and says what came back.
    pub(super) async fn test(
        &self,
        id: Uuid,
        by: Uuid,
        trace_id: String,
    ) -> Result<Option<(Uuid, Attempt)>, DbErr> {
        let Some(webhook) = self.find(id).await? else { return Ok(None) };
        let now = self.0.clock.now();
        let event = self.0.random.uuid_v7(now);
        let message = message::test(event, by, trace_id, now)?;
        let delivery = Delivery::begun(&message, 1, now);
        let attempt = self.try_to_send(&webhook, message).await;
        let delivery = delivery.with(&attempt);
        let logged = self.0.db.write::<_, DbErr, _>(move |tx| {
            async move {
                let Some(number) = store::count_delivery(tx, id).await? else { return Ok(()) };
                store::log(tx, id, Delivery { number, ..delivery }).await
            }
            .boxed()
        });
        logged.await?;
        Ok(Some((event, attempt)))
    }

    /// Puts the cursor of one behind an event: what came after it is sent, again or for the first time.
    pub(super) async fn replay(
        &self,
        id: Uuid,
        after: Uuid,
        caller: &Caller,
    ) -> Result<webhook::Model, Failure<ReplayRefusal>> {
        let now = self.0.clock.now();
        let entry = Entry::by(caller.user_id, "webhook_replayed", Subject::Webhook(id));
        let entry = entry.with("after", after.to_string());
        let (audit, caller) = (self.0.audit.clone(), caller.clone());
        let replayed = self.0.db.write::<_, Failure<ReplayRefusal>, _>(move |tx| {
            async move {
                caller.hold_in(tx, caller.user_id).await?;
                let event = by_id(tx, after).await?.and_then(|event| event.position);
                let Some(position) = event else { return Err(ReplayRefusal::NoEvent.into()) };
                if store::replay(tx, id, position, now).await? == 0 {
                    return Err(ReplayRefusal::NotFound.into());
                }
                audit.record(tx, entry).await?;
                store::find(tx, id).await?.ok_or_else(|| ReplayRefusal::NotFound.into())
            }
            .boxed()
        });
        let replayed = replayed.await?;
        self.wake();
        Ok(replayed)
    }

    /// Changes a webhook, if it is the version that is wanted.
    async fn changed(
        &self,
        id: Uuid,
        wanted: Option<String>,
        (caller, entry): (&Caller, Entry),
        change: impl FnOnce(&mut webhook::Model) + Send + 'static,
    ) -> Result<webhook::Model, Failure<ChangeRefusal>> {
        let (audit, caller) = (self.0.audit.clone(), caller.clone());
        let changed = self.0.db.write(move |tx: &Tx| {
            async move {
                caller.hold_in(tx, caller.user_id).await?;
                let mut row = held(tx, id, wanted.as_deref()).await?;
                change(&mut row);
                row.version += 1;
                store::update(tx, &row).await?;
                audit.record(tx, entry).await?;
                Ok(row)
            }
            .boxed()
        });
        changed.await
    }

    /// A part of what was delivered, the newest first unless the oldest are asked for.
    pub(super) async fn log(
        &self,
        id: Uuid,
        paging: &Paging,
    ) -> Result<Part<Delivery>, Failure<ReadRefusal>> {
        if self.find(id).await?.is_none() {
            return Err(ReadRefusal::NotFound.into());
        }
        let (key, reader) = (self.0.cursor_key.bytes(), self.0.db.reader());
        let asked = PartQuery::of(paging, key, Order::Desc).map_err(ReadRefusal::Invalid)?;
        let deliveries = store::deliveries(reader, id, &asked.span).await?;
        let total = store::count_deliveries(reader, id).await?;
        Ok(asked.part(deliveries, total, |delivery| delivery.number))
    }

    /// Forgets old deliveries, and secrets that no longer sign.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        let now = self.0.clock.now();
        let before = now.before(REMEMBERED);
        self.0.db.write::<_, DbErr, _>(move |tx| store::forget_secrets(tx, now).boxed()).await?;
        self.0.db.write_in_steps(move |tx, most| store::forget_deliveries(tx, before, most).boxed()).await
    }
}

impl Change {
    /// The fields that are given.
    fn fields(&self) -> Vec<&'static str> {
        let fields = [
            ("url", self.url.is_some()),
            ("description", self.description.is_some()),
            ("event_types", self.event_types.is_some()),
            ("enabled", self.enabled.is_some()),
        ];
        fields.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}

/// A webhook that nobody else changes until the transaction ends, if it is the version that is wanted.
async fn held(tx: &Tx, id: Uuid, wanted: Option<&str>) -> Result<webhook::Model, Failure<ChangeRefusal>> {
    let row = store::find_to_change(tx, id).await?.ok_or(ChangeRefusal::NotFound)?;
    if wanted.is_some_and(|wanted| !is_wanted(wanted, &etag(&row))) {
        return Err(ChangeRefusal::Stale.into());
    }
    Ok(row)
}

fn apply(row: &mut webhook::Model, change: Change, now: Timestamp) {
    let Change { url, description, event_types, enabled } = change;
    let mut begins_afresh = false;
    if let Some(url) = url {
        begins_afresh = url.as_str() != row.url;
        row.url = url.into();
    }
    if let Some(description) = description {
        row.description = description;
    }
    if let Some(types) = event_types {
        row.event_types = types.text();
    }
    match enabled {
        Some(true) => {
            (row.disabled, row.disabled_at) = (None, None);
            begins_afresh = true;
        }
        Some(false) if row.disabled.is_none() => {
            (row.disabled, row.disabled_at) = (Some(BY_ADMIN.to_owned()), Some(now.millis()));
        }
        Some(false) | None => {}
    }
    if begins_afresh {
        (row.failing_since, row.attempts, row.next_try_at) = (None, 0, None);
    }
    row.updated_at = now.millis();
}

/// The tag of a webhook as it is now.
pub(super) fn etag(webhook: &webhook::Model) -> String {
    format!("\"{}\"", webhook.version)
}
