//! Work that one instance at a time may do: a lease in the database, by the database's clock.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sea_orm::{DbBackend, DbErr, Statement, Value};
use uuid::Uuid;

use super::{Database, Tx};

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
        let now = self.now();
        let sql = format!(
            "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, {now} + $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE leases.holder = excluded.holder OR leases.expires_at <= {now} \
             OR leases.expires_at > {now} + $4"
        );
        let furthest = millis(self.lasts.saturating_add(AHEAD));
        let values = vec![self.name.into(), self.holder.into(), millis(self.lasts).into(), furthest.into()];
        self.write(sql, values).await
    }

    /// Takes it from whoever holds it. They learn so when they ask again; until then they may do what is theirs no more.
    pub async fn seize(&self) -> Result<(), DbErr> {
        let sql = format!(
            "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, {} + $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at",
            self.now()
        );
        let values = vec![self.name.into(), self.holder.into(), millis(self.lasts).into()];
        self.write(sql, values).await.map(|_| ())
    }

    /// Holds it for longer; `false` if another instance has taken it since, also if that one has given it back already.
    pub async fn renew(&self) -> Result<bool, DbErr> {
        let lease = self.clone();
        self.db.write(move |tx| async move { lease.renew_in(tx).await }.boxed()).await
    }

    /// The same in a transaction. Nobody else can take it before that ends.
    pub async fn renew_in(&self, tx: &Tx) -> Result<bool, DbErr> {
        let sql =
            format!("UPDATE leases SET expires_at = {} + $3 WHERE name = $1 AND holder = $2", self.now());
        Ok(tx.run(&sql, [self.name.into(), self.holder.into(), millis(self.lasts).into()]).await? == 1)
    }

    /// Holds it for longer again and again. Ends when it is lost: another instance has taken it or, as the database has
    /// said nothing for as long as it lasts, may have.
    pub async fn lost(&self) {
        let mut held = Instant::now();
        loop {
            let left = self.lasts.saturating_sub(held.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(self.lasts / 4)).await;
            let asked = Instant::now();
            match tokio::time::timeout(self.lasts.saturating_sub(held.elapsed()), self.renew()).await {
                Ok(Ok(true)) => held = asked,
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, %error, "a lease was not held for longer; it is tried again");
                }
            }
        }
    }

    /// Lets others take it at once; whether it was held.
    pub async fn give_back(&self) -> Result<bool, DbErr> {
        let sql = "DELETE FROM leases WHERE name = $1 AND holder = $2".to_owned();
        self.write(sql, vec![self.name.into(), self.holder.into()]).await
    }

    /// The database's clock, in milliseconds.
    fn now(&self) -> &'static str {
        match self.db.backend() {
            DbBackend::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            _ => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
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
    use sea_orm::ConnectionTrait;

    use super::*;
    use crate::platform::db::sqlite;

    const LASTS: Duration = Duration::from_mins(1);

    async fn database() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let db = sqlite::open(&folder.path().join("test.db"), 2, Duration::from_secs(3)).await.unwrap();
        run(&db, "CREATE TABLE leases (name TEXT PRIMARY KEY, holder BLOB, expires_at BIGINT)").await;
        (folder, db)
    }

    async fn run(db: &Database, sql: &'static str) {
        let done = db.write::<_, DbErr, _>(move |tx| async move { tx.execute_unprepared(sql).await }.boxed());
        done.await.unwrap();
    }

    fn lease_of(db: &Database, number: u128, lasts: Duration) -> Lease {
        Lease::new(db.clone(), "relay", Uuid::from_u128(number), lasts)
    }

    #[tokio::test]
    async fn one_holds_it_until_it_is_given_back_or_runs_out() {
        let (_folder, db) = database().await;
        let lease = |number, lasts| lease_of(&db, number, lasts);
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
        let (_folder, db) = database().await;
        let (first, second) = (lease_of(&db, 1, LASTS), lease_of(&db, 2, LASTS));
        assert!(first.take().await.unwrap());
        // What stands in the row is what a clock that is a day ahead would have written.
        run(&db, "UPDATE leases SET expires_at = expires_at + 86400000").await;
        assert!(second.take().await.unwrap(), "whoever held it is dead, or asks again");
        assert!(!first.take().await.unwrap(), "it lasts as long as others by now");
        run(&db, "UPDATE leases SET expires_at = expires_at + 86400000").await;
        assert!(second.take().await.unwrap(), "its holder holds it all the same");
        assert!(!first.take().await.unwrap(), "and has set it right");
    }

    #[tokio::test]
    async fn it_is_renewed_only_where_nobody_else_has_had_it() {
        let (_folder, db) = database().await;
        let (first, second) = (lease_of(&db, 1, Duration::ZERO), lease_of(&db, 2, Duration::ZERO));
        assert!(!first.renew().await.unwrap(), "it was never taken");
        assert!(first.take().await.unwrap());
        assert!(first.renew().await.unwrap(), "it ran out, and nobody came");
        assert!(second.take().await.unwrap());
        assert!(!first.renew().await.unwrap(), "another has it");
        assert!(second.give_back().await.unwrap());
        assert!(!first.renew().await.unwrap(), "another has had it");
    }

    #[tokio::test]
    async fn one_that_is_seized_is_another_s_at_once() {
        let (_folder, db) = database().await;
        let (first, second) = (lease_of(&db, 1, LASTS), lease_of(&db, 2, LASTS));
        assert!(first.take().await.unwrap());
        second.seize().await.unwrap();
        assert!(!first.renew().await.unwrap() && !first.take().await.unwrap());
        assert!(second.renew().await.unwrap());
    }

    /// Within this time what is to end has ended, however busy the machine is.
    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_is_lost_once_another_has_it() {
        let (_folder, db) = database().await;
        let lease = lease_of(&db, 1, Duration::from_secs(2));
        assert!(lease.take().await.unwrap());
        run(&db, "UPDATE leases SET holder = zeroblob(16)").await;
        tokio::time::timeout(SOON, lease.lost()).await.unwrap();
    }

    #[tokio::test]
    async fn it_is_lost_once_the_database_was_away_for_as_long_as_it_lasts_and_not_before() {
        let (_folder, db) = database().await;
        let lasts = Duration::from_millis(400);
        let lease = lease_of(&db, 1, lasts);
        assert!(lease.take().await.unwrap());
        run(&db, "ALTER TABLE leases RENAME TO away").await;
        let begun = Instant::now();
        tokio::time::timeout(SOON, lease.lost()).await.unwrap();
        assert!(begun.elapsed() >= lasts, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_database_that_is_away_for_a_moment_loses_nothing() {
        let (_folder, db) = database().await;
        // Long enough that no stall of the machine takes it, and a quarter of it goes by.
        let lease = lease_of(&db, 1, Duration::from_secs(8));
        assert!(lease.take().await.unwrap());
        run(&db, "UPDATE leases SET expires_at = 0").await;
        run(&db, "ALTER TABLE leases RENAME TO away").await;
        let mended = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            run(&db, "ALTER TABLE away RENAME TO leases").await;
            let sql = "SELECT 1 FROM leases WHERE expires_at > 0";
            let renewed = || db.reader().query_one_raw(Statement::from_string(db.backend(), sql));
            while renewed().await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = lease.lost() => panic!("it was lost"),
            () = mended => {}
        }
    }
}
