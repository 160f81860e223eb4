//! Work that one instance at a time may do: a lease in the database, by the database's clock.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{DbBackend, DbErr, Statement, Value};
use uuid::Uuid;

use super::Database;

/// A lease that lasts so much longer than it can was taken before the clock of the database was set back: nobody waits
/// until that has caught up. Who holds it and lives takes it anew, or finds that somebody else has; less than this is
/// taken from nobody.
const AHEAD: Duration = Duration::from_secs(1);

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
             WHERE leases.holder = excluded.holder OR leases.expires_at <= {now} \
             OR leases.expires_at > {now} + $4"
        );
        let furthest = self.lasts.saturating_add(AHEAD);
        let values =
            vec![self.name.into(), self.holder.into(), millis(self.lasts).into(), millis(furthest).into()];
        self.write(sql, values).await
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sea_orm::ConnectionTrait;

    use super::*;
    use crate::platform::db::sqlite;

    const LASTS: Duration = Duration::from_mins(1);

    async fn write(db: &Database, sql: String) {
        db.write::<_, DbErr, _>(move |tx| async move { tx.execute_unprepared(&sql).await }.boxed())
            .await
            .unwrap();
    }

    /// A database with nothing but leases.
    async fn database(folder: &Path) -> Database {
        let db = sqlite::open(&folder.join("test.db"), 2, Duration::from_secs(3)).await.unwrap();
        write(&db, "CREATE TABLE leases (name TEXT PRIMARY KEY, holder BLOB, expires_at BIGINT)".to_owned())
            .await;
        db
    }

    #[tokio::test]
    async fn one_holds_it_until_it_is_given_back_or_runs_out() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(folder.path()).await;
        let lease = |number, lasts| Lease::new(db.clone(), "relay", Uuid::from_u128(number), lasts);
        let (first, second, brief) = (lease(1, LASTS), lease(2, LASTS), lease(2, Duration::ZERO));

        assert!(first.take().await.unwrap(), "nobody held it");
        assert!(first.take().await.unwrap(), "its holder may hold it longer");
        assert!(!second.take().await.unwrap(), "the first one holds it");
        assert!(!second.give_back().await.unwrap(), "nobody gives back what is another's");
        assert!(first.give_back().await.unwrap());
        assert!(brief.take().await.unwrap(), "it was given back");
        assert!(first.take().await.unwrap(), "the second one's ran out at once");
    }

    #[tokio::test]
    async fn one_that_lasts_longer_than_it_can_was_taken_before_the_clock_was_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let db = database(folder.path()).await;
        let lease = |number| Lease::new(db.clone(), "relay", Uuid::from_u128(number), LASTS);
        let (first, second) = (lease(1), lease(2));
        assert!(first.take().await.unwrap());
        // What stands in the row is what a clock that is a day ahead would have written.
        write(&db, "UPDATE leases SET expires_at = expires_at + 86400000".to_owned()).await;
        assert!(second.take().await.unwrap(), "whoever held it is dead, or asks again");
        assert!(!first.take().await.unwrap(), "it lasts as long as others by now");
        write(&db, "UPDATE leases SET expires_at = expires_at + 86400000".to_owned()).await;
        assert!(second.take().await.unwrap(), "its holder holds it all the same");
        assert!(!first.take().await.unwrap(), "and has set it right");
    }
}
