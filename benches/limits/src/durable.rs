//! The least that a change can be: one statement, which is on disk when it has ended.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use uuid::Uuid;

const CHANGE: &str = "UPDATE users SET description = $1, revision = revision + 1 WHERE id = $2";

/// Where users are.
#[derive(Clone)]
pub enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// As Gatehouse opens it: on disk before it is answered; one writing connection on SQLite.
    pub async fn open(url: &str, clients: u32) -> anyhow::Result<Self> {
        if !url.starts_with("sqlite") {
            let pool = PgPoolOptions::new().max_connections(clients).test_before_acquire(false);
            return Ok(Self::Postgres(pool.connect(url).await?));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(60));
        Ok(Self::Sqlite(pool.test_before_acquire(false).connect_with(options).await?))
    }

    /// Gives the user with this id another description.
    pub async fn change(&self, text: String, id: Uuid) -> anyhow::Result<()> {
        let changed = match self {
            Self::Sqlite(pool) => sqlx::query(CHANGE).bind(text).bind(id).execute(pool).await?.rows_affected(),
            Self::Postgres(pool) => {
                sqlx::query(CHANGE).bind(text).bind(id).execute(pool).await?.rows_affected()
            }
        };
        anyhow::ensure!(changed == 1, "there is no user {id}");
        Ok(())
    }
}
