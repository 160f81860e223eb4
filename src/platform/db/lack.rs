//! A database that takes nothing more for now: its disk is full, or it may only be read.
//!
//! Reading goes on then, and all that is written is undone and answered with 503. So a `SELECT` does not find out: what
//! the writers meet with is remembered, until something was written again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::errors::missing;

/// Whoever asks whether it can be written again makes it try no more often than this.
const APART: Duration = Duration::from_secs(1);

/// What is missing for a database to be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Room on the disk, or in a quota.
    Room,
    /// The permission to write.
    Permission,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Room => "the disk is full, or takes no more",
            Self::Permission => "the database may only be read",
        })
    }
}

/// What writing lacks. Clones mean the same database.
#[derive(Clone, Debug, Default)]
pub(super) struct Lack(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    missing: Option<Missing>,
    tried: Option<Instant>,
}

impl Lack {
    /// Looks at what a statement has met with. It is told once, until it is over.
    pub(super) fn look_at(&self, error: &sqlx::Error) {
        let Some(missing) = missing(error) else { return };
        let before = self.seen().missing.replace(missing);
        if before.is_none() {
            tracing::error!(%error, "nothing can be written for now: {missing}");
        }
    }

    /// What is missing, as far as is known.
    pub(super) fn missing(&self) -> Option<Missing> {
        self.seen().missing
    }

    /// Whether it is time to try anew; whoever is told so does it.
    pub(super) fn may_try(&self) -> bool {
        let mut seen = self.seen();
        let is_time = seen.tried.is_none_or(|tried| tried.elapsed() >= APART);
        if is_time {
            seen.tried = Some(Instant::now());
        }
        is_time
    }

    /// Something was written.
    pub(super) fn is_over(&self) {
        let before = self.seen().missing.take();
        if before.is_some() {
            tracing::info!("the database can be written again");
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use sea_orm::{ConnectionTrait, DbErr};

    use super::*;
    use crate::platform::db::{Database, is_passing, sqlite};

    const LINES: &str = "CREATE TABLE lines (line TEXT)";
    const LEASES: &str =
        "CREATE TABLE leases (name TEXT PRIMARY KEY, holder BLOB NOT NULL, expires_at BIGINT NOT NULL)";

    async fn database() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let db = sqlite::open(&folder.path().join("test.db"), 2, Duration::from_secs(3)).await.unwrap();
        run(&db, LINES).await.unwrap();
        (folder, db)
    }

    async fn run(db: &Database, sql: &'static str) -> Result<(), DbErr> {
        db.write(move |tx| async move { tx.execute_unprepared(sql).await.map(|_| ()) }.boxed()).await
    }

    #[tokio::test]
    async fn what_finds_no_room_is_remembered_until_something_was_written() {
        let (_folder, db) = database().await;
        run(&db, LEASES).await.unwrap();
        assert_eq!(db.lacks().await, None);
        // It may not become larger than it is.
        run(&db, "PRAGMA max_page_count = 1").await.unwrap();
        let error = run(&db, "INSERT INTO lines VALUES (hex(zeroblob(100000)))").await.unwrap_err();
        assert!(is_passing(&error), "{error}");
        assert_eq!(db.lack.missing(), Some(Missing::Room));
        assert_eq!(db.lacks().await, None, "what is small finds room");
        assert_eq!(db.lack.missing(), None);
        let leases =
            db.reader().query_all_raw(sea_orm::Statement::from_string(db.backend(), "SELECT * FROM leases"));
        assert!(leases.await.unwrap().is_empty(), "trying leaves something behind");
    }

    #[tokio::test]
    async fn what_may_not_be_written_is_remembered_as_long_as_trying_fails() {
        let (_folder, db) = database().await;
        run(&db, "PRAGMA query_only = ON").await.unwrap();
        let error = run(&db, "INSERT INTO lines VALUES ('x')").await.unwrap_err();
        assert!(is_passing(&error), "{error}");
        // There is no table yet to try it with.
        assert_eq!(db.lacks().await, Some(Missing::Permission));
        run(&db, LEASES).await.unwrap();
        let over = async {
            while db.lacks().await.is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), over).await.unwrap();
    }
}
