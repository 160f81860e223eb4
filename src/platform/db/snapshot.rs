//! One view of the whole database, for reading much of it: what is written meanwhile is not in it.

use std::time::Duration;

use sea_orm::{DbBackend, DbErr, QueryResult, Statement};

use super::links::{Borrowed, Links};
use super::patience::within;
use super::traced::{kind_of, traced};

/// PostgreSQL gives a statement up before that (`statement_timeout`): a server that is silent for longer is gone.
const PATIENCE: Duration = Duration::from_secs(35);

/// A transaction that only reads, on a connection of its own. Dropped in the middle, it closes the connection.
pub struct Snapshot {
    link: Borrowed,
}

impl Snapshot {
    pub(super) async fn take(links: &Links) -> Result<Self, DbErr> {
        let mut link = links.borrow().await?;
        let begin: &[&str] = match link.backend() {
            // The view is that of the first statement that reads.
            DbBackend::Sqlite => &["BEGIN", "SELECT COUNT(*) FROM sqlite_schema"],
            // Whoever writes a large file between two statements is no forgotten transaction.
            _ => &[
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                "SET LOCAL idle_in_transaction_session_timeout = '10min'",
            ],
        };
        link.begins();
        for sql in begin {
            within(patience(&link), link.execute_unprepared(sql)).await?;
        }
        Ok(Self { link })
    }

    /// Which of the two databases it is of.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        self.link.backend()
    }

    /// The rows of a statement that only reads.
    pub async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let kind = kind_of(&statement.sql);
        let patience = patience(&self.link);
        traced(self.link.backend(), kind, within(patience, self.link.query_all(statement))).await
    }

    /// Gives the connection back.
    pub async fn end(mut self) -> Result<(), DbErr> {
        within(patience(&self.link), self.link.execute_unprepared("COMMIT")).await?;
        self.link.ended();
        Ok(())
    }
}

/// How long an answer is waited for. A file of SQLite answers, or the program has other troubles.
fn patience(link: &Borrowed) -> Option<Duration> {
    (link.backend() == DbBackend::Postgres).then_some(PATIENCE)
}
