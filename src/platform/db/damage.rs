//! A SQLite database that can't be relied on any more.
//!
//! After a sync that failed nobody knows what is on the disk: the system may have dropped what it could not write, and call
//! the next sync of that file a success. Trying again and answering 2xx would be a lie. So the first such error of the
//! writer ends all writing, and then the program (docs/decisions/0053-a-failed-sync-ends-the-program.md); PostgreSQL ends
//! itself for the same reason.

use tokio_util::sync::CancellationToken;

use super::errors::is_damage;

/// Whether the database was found damaged. Clones mean the same database.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage(CancellationToken);

impl Damage {
    /// Looks at what a statement has met with. The first error that is damage is told, once.
    pub(super) fn look_at(&self, error: &sqlx::Error) {
        if is_damage(error) && !self.is_found() {
            self.0.cancel();
            tracing::error!(
                %error,
                "the database can't be relied on any more: nothing is written from now on, and the program ends; look at the disk"
            );
        }
    }

    /// Whether it was.
    pub(super) fn is_found(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once it is.
    pub(super) async fn found(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    use futures_util::FutureExt;
    use sea_orm::{ConnectionTrait, DbErr};

    use crate::platform::db::{Database, is_passing, sqlite};

    async fn run(db: &Database, sql: &'static str) -> Result<(), DbErr> {
        db.write(move |tx| async move { tx.execute_unprepared(sql).await.map(|_| ()) }.boxed()).await
    }

    #[tokio::test]
    async fn a_database_that_is_found_malformed_is_written_to_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let open = async || sqlite::open(&path, 2, Duration::from_secs(3)).await.unwrap();
        let db = open().await;
        run(&db, "CREATE TABLE lines (line TEXT)").await.unwrap();
        run(&db, "INSERT INTO lines SELECT hex(randomblob(100)) FROM pragma_function_list").await.unwrap();
        db.close().await;
        let page = 4096;
        let behind = usize::try_from(fs::metadata(&path).unwrap().len() - page).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xff; behind], page).unwrap();

        let db = open().await;
        assert!(!db.is_damaged());
        let error = run(&db, "DELETE FROM lines").await.unwrap_err();
        assert!(is_passing(&error), "{error}");
        db.damaged().await;
        let error = run(&db, "CREATE TABLE third (line TEXT)").await.unwrap_err();
        assert!(is_passing(&error) && error.to_string().contains("did not happen"), "{error}");
        drop(db);
        open().await.close().await;
        assert!(path.with_extension("db-wal").exists(), "a start that gave up has folded its log");
    }
}
