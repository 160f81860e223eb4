//! Intents: whom we are about to make at WorkOS, so that nobody stays there of whom nothing came here.
//!
//! An intent is committed before WorkOS is asked. The transaction that makes the account ends it, and so does WorkOS's
//! word that nobody of that id is there any more. As long as it is there, nobody else makes an account of that id:
//! neither an event nor a list, which leave it to the act, and tell it that there is something newer. Where the act did
//! not come to its end, since the process died or WorkOS was away, whoever follows the directory takes back whom WorkOS
//! made. To do so the intent is given up first, by one statement that finds no account of the id; from then on none can
//! be made.
//!
//! Nothing of the person is kept here. The id is one that we made up for this act, so whoever has it there is of our
//! making. One that a client chose has no intent: the client may have made them there itself.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;
use uuid::Uuid;

use super::Workos;
use super::client::Client;
use super::creation::PATIENCE;
use super::event::Received;
use super::person::{Flaw, Person};
use super::store::{self, intent};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;

/// How long an act is left alone with its intent, and how long after each look the next one comes: longer than WorkOS is
/// asked, and looked through, by the act itself.
const LEFT_ALONE: Duration = Duration::from_mins(2);
/// What is older is forgotten. An old copy of a database may hold the intent of somebody who lives, and must not delete
/// them there.
const OLDEST: Duration = Duration::from_hours(24);
/// What is written down then, by our id.
const LEFT_THERE: Flaw = "made there and not here, and not to be deleted there within a day";
/// How many are looked for at once.
const AT_ONCE: i64 = 20;

impl Workos {
    /// Takes back there whom nobody has made here in time.
    pub(super) async fn take_back_overdue(&self, client: &Client) -> Result<(), DbErr> {
        let now = self.clock.now();
        let overdue = store::overdue(self.db.reader(), now.before(LEFT_ALONE), now, AT_ONCE).await?;
        for intent in overdue {
            if now.since(Timestamp::from_millis(intent.begun_at)) > OLDEST {
                self.abandon(intent).await?;
            } else if self.give_up(intent.id).await? {
                let settled = tokio::time::timeout(PATIENCE, self.find_and_settle(client, intent.id)).await;
                if !settled.unwrap_or(false) {
                    return Ok(()); // the others are not due any later for it
                }
            }
        }
        Ok(())
    }

    /// Takes nobody back any more. If something was told of them, that was passed over: people should look.
    async fn abandon(&self, intent: intent::Model) -> Result<(), DbErr> {
        tracing::warn!(id = %intent.id, "a user who may be at WorkOS was not taken back there within a day");
        let now = self.clock.now();
        let abandoned = self.db.write::<_, DbErr, _>(move |tx| {
            async move {
                if intent.told_at.is_some() {
                    store::set_aside(tx, &intent.id.to_string(), String::new(), LEFT_THERE, now).await?;
                }
                store::forget_intent(tx, intent.id).await
            }
            .boxed()
        });
        abandoned.await
    }

    /// Whether nobody of this id is there any more.
    async fn find_and_settle(&self, client: &Client, id: Uuid) -> bool {
        match client.by_external_id(id).await {
            Ok(Some(person)) => {
                tracing::info!(id = %person.id, "a user who was made at WorkOS and not here is taken back there");
                self.take_back(client, id, &person).await
            }
            Ok(None) => {
                self.forget_intent(id).await;
                true
            }
            Err(fault) => {
                tracing::warn!(%id, reason = %fault, "nobody can be looked for at WorkOS to be taken back");
                false
            }
        }
    }

    /// Whether they are gone there now.
    pub(super) async fn take_back(&self, client: &Client, id: Uuid, person: &Person) -> bool {
        if let Err(fault) = client.delete(&person.id).await {
            let id = &person.id;
            tracing::warn!(id, reason = %fault, "a user at WorkOS could not be kept here, nor taken back there");
            return false;
        }
        let (theirs, at, now) = (person.id.clone(), person.updated_at.unwrap_or_default(), self.clock.now());
        let settled = self.db.write::<_, DbErr, _>(move |tx| {
            async move {
                // The event that they were made may come yet.
                store::bury_unknown(tx, &theirs, at, now).await?;
                store::forget_intent(tx, id).await
            }
            .boxed()
        });
        if let Err(error) = settled.await {
            tracing::debug!(%error, "a user was taken back at WorkOS, and is looked for once more");
        }
        self.nudge(); // an account that an event made of them goes at once
        true
    }

    /// Whether nobody is here with this id, nor will be by this intent: whoever has it there can be taken back.
    pub(super) async fn give_up(&self, id: Uuid) -> Result<bool, DbErr> {
        let now = self.clock.now();
        self.db.write(move |tx| async move { store::give_up(tx, id, now).await }.boxed()).await
    }

    /// Forgets an intent of which nothing is there; if that fails, it is looked at again.
    pub(super) async fn forget_intent(&self, id: Uuid) {
        let forgotten = self.db.write::<_, DbErr, _>(move |tx| store::forget_intent(tx, id).boxed());
        if let Err(error) = forgotten.await {
            tracing::debug!(%error, "an intent could not be forgotten");
        }
    }
}

/// Those on a page whom somebody is about to make, or to take back. That act learns how new what was told is.
pub(super) async fn awaited_in(tx: &Tx, page: &[Received]) -> Result<HashSet<Uuid>, DbErr> {
    let told = page.iter().filter_map(|received| received.told.as_ref().ok());
    let named = told.filter_map(|told| Some((told.person.as_ref()?.external_id?, told.at)));
    let mut named: Vec<(Uuid, Timestamp)> = named.collect();
    let mut awaited = HashSet::new();
    if named.is_empty() {
        return Ok(awaited);
    }
    let ids: Vec<Uuid> = named.iter().map(|(id, _)| *id).collect();
    let intended = store::intended(tx, ids).await?;
    named.retain(|(id, _)| intended.contains(id));
    named.sort_unstable(); // as everybody would hold several
    for (id, at) in named {
        if store::told_of_intended(tx, id, at).await? {
            awaited.insert(id);
        }
    }
    Ok(awaited)
}
