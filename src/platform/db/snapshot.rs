//! One view of the whole database, for reading much of it: what is written meanwhile is not in it.

use sea_orm::{DbBackend, DbErr, QueryResult, Statement};

use super::links::{Borrowed, Links};
use super::traced::{kind_of, traced};

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
            link.execute_unprepared(sql).await?;
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
        traced(self.link.backend(), kind, self.link.query_all(statement)).await
    }

    /// Gives the connection back.
    pub async fn end(mut self) -> Result<(), DbErr> {
        self.link.execute_unprepared("COMMIT").await?;
        self.link.ended();
        Ok(())
    }
}
