//! The relay: gives events their positions, in the order in which they were written, and tells of the newest.
//!
//! SQLite has one writer: there an event has its position from the start. On PostgreSQL numbers become visible in another
//! order than they were drawn, so nobody can read behind a number without missing some. A position is given once, by one
//! relay at a time, to what is committed. Each instance has a relay and none is the leader: whoever finds unplaced events
//! takes a lock for one statement. So nobody has to notice that another died, and an event waits for its own instance only,
//! or for the next look of another.

use std::time::Duration;

use sea_orm::{DbBackend, DbErr};

use super::{Events, store};

/// Events that are placed by one statement at most.
const AT_ONCE: u64 = 1000;
/// What is written within this time is placed together: each time is a commit.
const GATHERING: Duration = Duration::from_millis(25);
/// How often the table is looked at where other instances write to it.
const EVERY: Duration = Duration::from_millis(250);
/// How often where nobody else does.
const EVERY_ALONE: Duration = Duration::from_secs(1);
/// How long a database that is away is left alone.
const PAUSE: Duration = Duration::from_secs(2);

impl Events {
    /// Places whatever is written, until the stop.
    pub async fn relay(self) {
        let every = match self.db.backend() {
            DbBackend::Sqlite => EVERY_ALONE,
            _ => EVERY,
        };
        loop {
            if let Err(error) = self.place().await {
                tracing::warn!(%error, "events could not be placed; it is tried again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            if tokio::time::timeout(every, self.written.notified()).await.is_ok() {
                tokio::time::sleep(GATHERING).await;
            }
        }
    }

    /// Places all that is there, and tells of the newest position.
    pub async fn place(&self) -> Result<(), DbErr> {
        loop {
            let found = store::unplaced(self.db.reader()).await?;
            self.tell(found.newest);
            if !found.is_any {
                return Ok(());
            }
            let placed = self.db.write::<_, DbErr, _>(|tx| Box::pin(store::place(tx, AT_ONCE))).await?;
            if placed == 0 {
                return Ok(()); // another instance is at it
            }
        }
    }

    fn tell(&self, newest: i64) {
        self.placed.send_if_modified(|known| {
            let moved_on = newest > *known;
            *known = newest.max(*known);
            moved_on
        });
    }
}
