//! Work that one instance at a time may do: a lease in the database, by the database's clock.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{DbBackend, DbErr, Statement, Value};
use uuid::Uuid;

use super::Database;

/// What one of several instances holds for a while: who holds it must ask again before it runs out. An instance that
/// died holds it no longer than that. Clones hold the same.
#[derive(Clone)]
pub struct Lease {
    db: Database,
    name: &'static str,
    holder: Uuid,
    lasts: Duration,
}

impl Lease {
    /// A lease that nobody has taken yet. `holder` names this instance and is drawn anew at each start.
    #[must_use]
    pub const fn new(db: Database, name: &'static str, holder: Uuid, lasts: Duration) -> Self {
        Self { db, name, holder, lasts }
    }

    /// Takes it, or holds it for longer; `false` if another instance holds it.
    pub async fn take(&self) -> Result<bool, DbErr> {
        let now = match self.db.backend() {
            DbBackend::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            _ => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        };
        let sql = format!(
            "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, {now} + $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE leases.holder = excluded.holder OR leases.expires_at <= {now}"
        );
        let lasts = i64::try_from(self.lasts.as_millis()).unwrap_or(i64::MAX);
        self.write(sql, vec![self.name.into(), self.holder.into(), lasts.into()]).await
    }

    /// Lets others take it at once; whether it was held.
    pub async fn give_back(&self) -> Result<bool, DbErr> {
        let sql = "DELETE FROM leases WHERE name = $1 AND holder = $2".to_owned();
        self.write(sql, vec![self.name.into(), self.holder.into()]).await
    }

    async fn write(&self, sql: String, values: Vec<Value>) -> Result<bool, DbErr> {
        let statement = Statement::from_sql_and_values(self.db.backend(), sql, values);
        let written: Result<u64, DbErr> =
            self.db.write(move |tx| async move { tx.execute_alone(statement).await }.boxed()).await;
        Ok(written? == 1)
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait;

    use super::*;
    use crate::platform::db::sqlite;

    #[tokio::test]
    async fn one_holds_it_until_it_is_given_back_or_runs_out() {
        let folder = tempfile::tempdir().unwrap();
        let db = sqlite::open(&folder.path().join("test.db"), 2, Duration::from_secs(3)).await.unwrap();
        let table = "CREATE TABLE leases (name TEXT PRIMARY KEY, holder BLOB, expires_at BIGINT)";
        db.write::<_, DbErr, _>(move |tx| async move { tx.execute_unprepared(table).await }.boxed())
            .await
            .unwrap();
        let lease = |number, lasts| Lease::new(db.clone(), "relay", Uuid::from_u128(number), lasts);
        let (first, second) = (lease(1, Duration::from_mins(1)), lease(2, Duration::ZERO));

        assert!(first.take().await.unwrap(), "nobody held it");
        assert!(first.take().await.unwrap(), "its holder may hold it longer");
        assert!(!second.take().await.unwrap(), "the first one holds it");
        assert!(!second.give_back().await.unwrap(), "nobody gives back what is another's");
        assert!(first.give_back().await.unwrap());
        assert!(second.take().await.unwrap(), "it was given back");
        assert!(first.take().await.unwrap(), "the second one's ran out at once");
    }
}
