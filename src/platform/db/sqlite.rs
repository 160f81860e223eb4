//! SQLite: write-ahead log, every commit on disk before it is answered, one writing connection, readers that don't
//! wait for it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::damage::Damage;
use super::lack::Lack;
use super::links::Links;
use super::writer::Writer;
use super::{Database, Reader};

/// How long a lock held by another process (a backup tool, the command line) is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// Reads are short and the page cache is shared by the system: more connections than this only cost memory.
const READERS: u32 = 8;

/// Opens the file, making it if there is none.
pub async fn open(path: &Path, max_connections: u32, acquire: Duration) -> Result<Database, DbErr> {
    make_private(path);
    let options = options(path);
    // The writer goes first: it makes the file and switches it to the write-ahead log.
    let writer = pool(options.clone(), 1, acquire).await?;
    fold(&writer).await?;
    let readers = options.pragma("query_only", "ON").create_if_missing(false);
    let readers = pool(readers, max_connections.clamp(1, READERS), acquire).await?;
    let (damage, lack) = (Damage::default(), Lack::default());
    let writer = Writer::start_queue(Links::of_sqlite_writer(writer, damage.clone(), lack.clone()));
    Ok(Database::new(Reader::new(Links::of_sqlite(readers), None), writer, damage, lack))
}

/// Writes what is in the log into the database, and syncs that. After a sync that failed the system may show a log that is
/// not on the disk; what is written behind it would go with it when the power goes (decision 0053).
async fn fold(writer: &SqlitePool) -> Result<(), DbErr> {
    let mut connection = writer.acquire().await.map_err(refused)?;
    let folded = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_all(&mut *connection).await;
    if folded.is_err() {
        // Closed, it would try once more, and might be told that all is well.
        std::mem::forget(connection);
    }
    folded.map(drop).map_err(refused)
}

fn refused(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

/// A new database is its owner's alone, and so are the files that SQLite puts beside it, which take after it. What
/// can't be made here SQLite will complain of.
fn make_private(path: &Path) {
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path));
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .statement_cache_capacity(256)
        .pragma("journal_size_limit", "67108864")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("trusted_schema", "OFF")
}

async fn pool(options: SqliteConnectOptions, size: u32, acquire: Duration) -> Result<SqlitePool, DbErr> {
    SqlitePoolOptions::new()
        .max_connections(size)
        .min_connections(1)
        .acquire_timeout(acquire)
        .test_before_acquire(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_with(options)
        .await
        .map_err(refused)
}
