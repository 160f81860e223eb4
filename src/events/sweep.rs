//! Forgets what is past its time, and what told of people who are gone for good.

use futures_util::FutureExt;
use sea_orm::DbErr;

use super::{Events, store};

/// Rows of one step.
const STEP: u64 = 500;

impl Events {
    /// Forgets old events, but none that the broker is still to get; and empties those of people who are gone for good,
    /// once they were told. In small steps, so that nobody waits.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        let (before, broker) = (self.clock.now().before(self.settings.retention), self.settings.broker);
        let forget =
            || self.db.write::<_, DbErr, _>(move |tx| store::forget(tx, before, broker, STEP).boxed());
        while forget().await? > 0 {}
        let empty = || {
            self.db.write::<_, DbErr, _>(move |tx| store::empty_of_purged(tx, before, broker, STEP).boxed())
        };
        while empty().await? > 0 {}
        Ok(())
    }
}
