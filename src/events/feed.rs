//! What was told, to be read again, and to be sent again.

use futures_util::FutureExt;
use sea_orm::DbErr;
use uuid::Uuid;

use super::Events;
use super::store::{self, Filter, event};
use crate::audit::{Audit, Entry};
use crate::platform::db::Tx;
use crate::platform::problem::{Failure, FieldError};
use crate::platform::shape::Words;

/// The types of events. Names are part of the contract with whoever listens: never rename.
pub const TYPES: [&str; 17] = [
    "user.created",
    "user.updated",
    "user.username_updated",
    "user.full_name_updated",
    "user.deleted",
    "user.restored",
    "user.purged",
    "user.banned",
    "user.unbanned",
    "user.roles_changed",
    "user.email_verified",
    "user.password_changed",
    "user.otp_changed",
    "user.account_linked",
    "user.account_unlinked",
    "session.created",
    "session.ended",
];

/// Positions that one statement goes through at most when events are to be sent again.
const STEP: i64 = 1000;

crate::refusals! {
    /// Why events are not shown.
    pub enum FeedRefusal {
        NotFound = 404 "not_found" "There is no event with the id in `after`, or it is no longer kept, or has no place in the feed yet.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

crate::refusals! {
    /// Why events are not sent again.
    pub enum ReplayRefusal {
        NotFound = 404 "not_found" "There is no such event, or it is no longer kept.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

crate::refusals! {
    /// Why an event is not given up.
    pub enum SkipRefusal {
        NotFound = 404 "not_found" "There is no such event, or it is no longer kept.",
        NotParked = 409 "not_parked" "Only an event that is parked can be given up.",
    }
}

/// The types, for the OpenAPI document.
#[must_use]
pub(crate) fn type_words() -> Words {
    Words { name: "EventType", about: "What happened.", all: TYPES.to_vec() }
}

/// The type so named.
#[must_use]
pub fn type_named(name: &str) -> Option<&'static str> {
    TYPES.into_iter().find(|known| *known == name)
}

/// Which events are asked for.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Which of them.
    pub filter: Filter,
    /// The last one that is known already.
    pub after: Option<Uuid>,
    /// How many at most.
    pub limit: u64,
}

/// Which events are to be sent to the broker again.
#[derive(Clone, Debug)]
pub enum Replay {
    /// These.
    These(Vec<Uuid>),
    /// All behind one (all from the first on, if none is named), up to another one and with it.
    Range {
        /// The last one that is not meant.
        after: Option<Uuid>,
        /// The last one that is.
        until: Uuid,
    },
}

impl Events {
    /// Events, oldest first. What is written but not placed yet comes with a later answer.
    pub async fn feed(&self, feed: &Feed) -> Result<Vec<event::Model>, Failure<FeedRefusal>> {
        let position = match feed.after {
            Some(after) => self.position_of(after).await?.ok_or(FeedRefusal::NotFound)?,
            None => 0,
        };
        Ok(store::matching(self.db.reader(), &feed.filter, position, feed.limit).await?)
    }

    /// Lets the broker have events again, under the same ids; how many it had been given, or had refused. `entry` tells of it
    /// in the log of what staff did.
    pub async fn replay(
        &self,
        replay: Replay,
        audit: &Audit,
        entry: Entry,
    ) -> Result<u64, Failure<ReplayRefusal>> {
        let audit = audit.clone();
        let count = match replay {
            Replay::These(ids) => {
                let replayed = self.db.write::<_, Failure<ReplayRefusal>, _>(move |tx| {
                    replay_these_in(tx, ids, audit, entry).boxed()
                });
                replayed.await?
            }
            Replay::Range { after, until } => self.replay_range((after, until), audit, entry).await?,
        };
        self.placed.send_modify(|_| ());
        Ok(count)
    }

    /// Gives up an event that the broker refuses, so that its user's later ones go on; how many of them wait. `entry` tells
    /// of it in the log of what staff did.
    pub async fn skip(&self, id: Uuid, audit: &Audit, entry: Entry) -> Result<u64, Failure<SkipRefusal>> {
        let audit = audit.clone();
        let skipped =
            self.db.write::<_, Failure<SkipRefusal>, _>(move |tx| skip_in(tx, id, audit, entry).boxed());
        let released = skipped.await?;
        self.placed.send_modify(|_| ());
        Ok(released)
    }

    async fn replay_range(
        &self,
        (after, until): (Option<Uuid>, Uuid),
        audit: Audit,
        entry: Entry,
    ) -> Result<u64, Failure<ReplayRefusal>> {
        let after = match after {
            Some(after) => self.position_of(after).await?.ok_or(ReplayRefusal::NotFound)?,
            None => 0,
        };
        let until = self.position_of(until).await?.ok_or(ReplayRefusal::NotFound)?;
        let oldest = store::after(self.db.reader(), after, 1).await?;
        let mut from = oldest.first().and_then(|event| event.position).map_or(until, |first| first - 1);
        // Before the first step: a range that was begun counts as well.
        audit.record_alone(entry).await?;
        let mut count = 0;
        while from < until {
            let to = until.min(from + STEP);
            let step = self.db.write::<_, DbErr, _>(move |tx| store::unpublish_range(tx, from, to).boxed());
            count += step.await?;
            from = to;
        }
        Ok(count)
    }

    async fn position_of(&self, id: Uuid) -> Result<Option<i64>, DbErr> {
        Ok(store::by_id(self.db.reader(), id).await?.and_then(|event| event.position))
    }
}

async fn replay_these_in(
    tx: &Tx,
    ids: Vec<Uuid>,
    audit: Audit,
    entry: Entry,
) -> Result<u64, Failure<ReplayRefusal>> {
    if store::how_many(tx, &ids).await? < ids.len() as u64 {
        return Err(ReplayRefusal::NotFound.into());
    }
    let count = store::unpublish(tx, &ids).await?;
    audit.record(tx, entry).await?;
    Ok(count)
}

async fn skip_in(tx: &Tx, id: Uuid, audit: Audit, entry: Entry) -> Result<u64, Failure<SkipRefusal>> {
    let Some(released) = store::skip(tx, id).await? else {
        let is_there = store::how_many(tx, &[id]).await? == 1;
        return Err(if is_there { SkipRefusal::NotParked } else { SkipRefusal::NotFound }.into());
    };
    audit.record(tx, entry).await?;
    Ok(released)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_documented() {
        let documented = include_str!("../../docs/events.md");
        for name in TYPES {
            assert!(documented.contains(&format!("`{name}`")), "{name}");
        }
    }
}
