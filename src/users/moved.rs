//! What other systems are told of accounts that come out of a file.
//!
//! Their history comes with them, so none is written here: what a file says and what stands here afterwards are the same.

use sea_orm::DbErr;
use uuid::Uuid;

use super::Users;
use super::changes::Origin;
use super::store::user;
use super::told::{self, OtpChanged, PasswordChanged, Source, UserCreated, UserDeleted, UserRestored};
use crate::events::Event;
use crate::platform::db::Tx;

impl Users {
    /// Tells of accounts that were not there before, in the transaction that has added them; and of those that are
    /// deleted that they are, for they may come back.
    pub async fn tell_of_added_in(
        &self,
        tx: &Tx,
        rows: &[user::Model],
        origin: &Origin,
    ) -> Result<(), DbErr> {
        let now = self.clock.now();
        let trace_id = || origin.trace_id.clone();
        let created = rows
            .iter()
            .map(|row| Event::new(row.id, &UserCreated::of(row, &Source::Import), trace_id(), now));
        self.events.record_one_each(tx, created.collect::<Result<_, _>>()?).await?;
        let gone = rows.iter().filter(|row| row.deleted_at.is_some());
        let deleted = gone.map(|row| Event::new(row.id, &UserDeleted {}, trace_id(), now));
        self.events.record_one_each(tx, deleted.collect::<Result<_, _>>()?).await
    }

    /// Tells of accounts, each of which is named once, that have no second factor any more, in the transaction that took it.
    pub async fn tell_of_lost_factors_in(
        &self,
        tx: &Tx,
        users: &[Uuid],
        origin: &Origin,
    ) -> Result<(), DbErr> {
        let now = self.clock.now();
        let told = users.iter().map(|user| Event::new(*user, &OtpChanged {}, origin.trace_id.clone(), now));
        self.events.record_one_each(tx, told.collect::<Result<_, _>>()?).await
    }

    /// Tells of an account that is another one than before, in the transaction that has changed it.
    pub async fn tell_of_moved_in(
        &self,
        tx: &Tx,
        before: &user::Model,
        after: &user::Model,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        let now = self.clock.now();
        let mut told = told::of_change(before, after, origin, now)?;
        let trace_id = || origin.trace_id.clone();
        if before.password_hash != after.password_hash {
            told.push(Event::new(after.id, &PasswordChanged {}, trace_id(), now)?);
        }
        if before.otp_method != after.otp_method {
            told.push(Event::new(after.id, &OtpChanged {}, trace_id(), now)?);
        }
        match (before.deleted_at, after.deleted_at) {
            (None, Some(_)) => told.push(Event::new(after.id, &UserDeleted {}, trace_id(), now)?),
            (Some(_), None) => told.push(Event::new(after.id, &UserRestored {}, trace_id(), now)?),
            _ => {}
        }
        self.events.record_all(tx, told).await
    }
}
