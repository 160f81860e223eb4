//! Forgets what is past its time, and what told of people who are gone for good.

use futures_util::FutureExt;
use sea_orm::DbErr;

use super::{Events, store};

impl Events {
    /// Forgets old events, but none that the broker is still to get; and empties those of people who are gone for good,
    /// once they were told. In small steps, so that nobody waits.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        let (before, broker) = (self.clock.now().before(self.settings.retention), self.settings.broker);
        self.db.write_in_steps(move |tx, most| store::forget(tx, before, broker, most).boxed()).await?;
        self.db.write_in_steps(move |tx, most| store::empty_of_purged(tx, before, broker, most).boxed()).await
    }
}
