//! The database: SQLite with one writer and many readers, or PostgreSQL; one way to read and one way to write.
//!
//! Reads go to [`Database::reader`]. Writes go through [`Database::write`], which runs an act in a transaction and
//! answers only after the commit is durable. What an act changes of a user it names with [`Tx::touch`]; after the
//! commit, and before the answer, every cached view of that user is out of date (see [`Freshness`]).

mod cells;
mod damage;
mod errors;
mod lack;
mod lease;
mod links;
mod lock;
mod patience;
pub mod postgres;
mod reader;
mod schema;
mod single;
mod snapshot;
mod span;
pub mod sqlite;
mod traced;
mod tx;
mod values;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use uuid::Uuid;

pub use cells::Cells;
pub use errors::{is_passing, violated_unique};
pub use lack::Missing;
pub use lease::Lease;
pub use lock::Lock;
pub use reader::Reader;
pub use schema::{Direction, Schema, SchemaFault, StepStatus, sqlite_script};
pub use single::{counted, scalar, scalars};
pub use snapshot::Snapshot;
pub use span::{Mark, Order, Span};
pub use tx::Tx;
pub use values::{Values, columns, signed};

use super::freshness::Freshness;
use super::telemetry::metrics::{Family, Sample, size};
use super::telemetry::spans::within;
use damage::Damage;
use lack::Lack;
use links::Pressure;
use writer::Writer;

/// How long it is waited for whether a small change is taken: whoever asks for it is a probe, with little patience.
const TRIAL: Duration = Duration::from_secs(1);
/// Rows that one step of [`Database::write_in_steps`] may change of each kind.
const STEP: i64 = 500;

/// A connected database.
#[derive(Clone)]
pub struct Database {
    reader: Reader,
    writer: Writer,
    freshness: Arc<Freshness>,
    damage: Damage,
    lack: Lack,
    _unclosed: Arc<Unclosed>,
}

/// Keeps a SQLite database that was found damaged from being closed, whoever gives it up: the last connection that closes
/// would fold the log. The end of the process closes none.
struct Unclosed(Reader, Damage);

impl Drop for Unclosed {
    fn drop(&mut self) {
        if self.1.is_found() {
            std::mem::forget(self.0.clone());
        }
    }
}

impl Database {
    fn new(reader: Reader, writer: Writer, damage: Damage, lack: Lack) -> Self {
        let unclosed = Arc::new(Unclosed(reader.clone(), damage.clone()));
        Self { reader, writer, freshness: Arc::new(Freshness::default()), damage, lack, _unclosed: unclosed }
    }

    /// The connections for reading. On SQLite they can't write and never wait for the writer.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Which cached views are still true.
    #[must_use]
    pub fn freshness(&self) -> &Arc<Freshness> {
        &self.freshness
    }

    /// Which of the two databases it is.
    #[must_use]
    pub fn backend(&self) -> DbBackend {
        self.reader.get_database_backend()
    }

    /// One view of everything, as it is now, for as long as it is held: reading it waits for nobody, and nobody for it.
    pub async fn snapshot(&self) -> Result<Snapshot, DbErr> {
        Snapshot::take(self.reader.links()).await
    }

    /// Runs `act` in a transaction: `Ok` commits, `Err` undoes everything. Returns after the commit is on disk.
    ///
    /// An act that must both refuse and keep something (a counted failure) returns the refusal inside `Ok`.
    pub async fn write<T, E, F>(&self, act: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<DbErr> + Send + 'static,
    {
        // On the heap, where the acts of all callers do not make their futures large.
        within("write to the database", &[], Box::pin(self.writer.write(&self.freshness, act))).await
    }

    /// The same for what takes its time, such as a migration or an import: it is waited for however long that is.
    pub async fn write_at_leisure<T, E, F>(&self, act: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<DbErr> + Send + 'static,
    {
        self.writer.at_leisure().write(&self.freshness, act).await
    }

    /// Changes many rows that nobody waits for, such as those whose time is over, in small steps, so that whoever else
    /// writes has their turn in between. Each step is told how many rows it may change, and is a transaction of its
    /// own; the one that finds nothing left is the last.
    pub async fn write_in_steps<F>(&self, step: F) -> Result<(), DbErr>
    where
        F: for<'t> Fn(&'t Tx, i64) -> BoxFuture<'t, Result<u64, DbErr>> + Copy + Send + 'static,
    {
        while self.write::<u64, DbErr, _>(move |tx| step(tx, STEP)).await? > 0 {}
        Ok(())
    }

    /// How busy the connections are, as measurements.
    #[must_use]
    pub fn measures(&self) -> Vec<Family> {
        let Pressure { most, borrowed, waiting } = self.reader.pressure();
        let gauge = |name, help, value| Family::gauge(name, help, vec![Sample::plain(size(value))]);
        let queue = self.writer.waiting().map(|waiting| Sample::plain(size(waiting)));
        vec![
            gauge("gatehouse_db_connections_max", "Connections for reading that there may be.", most),
            gauge("gatehouse_db_connections_in_use", "Connections for reading in use.", borrowed),
            gauge("gatehouse_db_waiting", "Statements that wait for a connection.", waiting),
            Family::gauge(
                "gatehouse_db_writer_queue",
                "Changes that wait for SQLite's one writer; PostgreSQL has none.",
                queue.into_iter().collect(),
            ),
        ]
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.reader.query_one_raw(Statement::from_string(self.backend(), "SELECT 1")).await.map(|_| ())
    }

    /// What is missing for it to be written to, if a change failed for want of it. Asking tries a small change then, at
    /// most once a second, and only when that is made it is over. Were it left to others to write, then where nobody
    /// writes any more nothing would ever tell.
    pub async fn lacks(&self) -> Option<Missing> {
        let missing = self.lack.missing()?;
        if !self.lack.may_try() {
            return Some(missing);
        }
        let trial = self.write::<(), DbErr, _>(|tx| try_out(tx).boxed());
        match tokio::time::timeout(TRIAL, trial).await {
            Ok(Ok(())) => {
                self.lack.is_over();
                None
            }
            // Whatever it was, it was not written.
            Ok(Err(_)) | Err(_) => Some(missing),
        }
    }

    /// Whether SQLite could not say any more what is on the disk. Nothing is written then, and the program should end.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damage.is_found()
    }

    /// Returns once that is so.
    pub async fn damaged(&self) {
        self.damage.found().await;
    }

    /// Closes the connections; SQLite folds its write-ahead log into the database file. It does not where it was found
    /// damaged: the files stay as they are, for the next start to read from the disk.
    pub async fn close(self) {
        if self.is_damaged() {
            return;
        }
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// A change that leaves nothing behind, and must be written all the same. It needs no room of its own where others have
/// left some: that it succeeds does not say that a large one would.
async fn try_out(tx: &Tx) -> Result<(), DbErr> {
    let insert = "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3)";
    tx.run(insert, ["trial".into(), Uuid::nil().into(), 0_i64.into()]).await?;
    tx.run("DELETE FROM leases WHERE name = $1", ["trial".into()]).await.map(|_| ())
}
