//! Moves of data: everything into a file, and back out of one, whichever database it was and is.
//!
//! What travels stands in [`tables`], with what does not and why. An export reads one consistent view of the database
//! ([`Snapshot`](crate::platform::db::Snapshot)), table by table in the order of their keys, into a SQLite file that is a Gatehouse
//! database itself. An import trusts nothing of a file: its schema must be exactly one that the migrations make, it is
//! read under limits, each row must pass the rules of its feature ([`check`](self)), all of it before the first change; then
//! one transaction changes everything or nothing.

mod check;
mod export;
mod file;
mod progress;
mod reading;
mod row;
mod source;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sea_orm::DbErr;
use tokio::sync::Semaphore;
use uuid::Uuid;

pub use progress::Progress;
pub use reading::canonical_dump;
pub use row::{Cell, Flaw, Row};
pub use source::Source;
pub use tables::{Column, Kind, Part, STAYS, TRAVELS, Table};

use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;
use crate::sessions::{Roles, Sessions};
use crate::users::Users;

/// Exports that are written at once: each holds a connection.
const EXPORTS: usize = 2;

/// The feature: what it owns.
#[derive(Clone)]
pub struct Archive {
    parts: Arc<Parts>,
    exports: Arc<Semaphore>,
    imports: Arc<Semaphore>,
}

/// The earlier features that moves are built on.
pub struct Parts {
    /// The database.
    pub db: Database,
    /// What opens sealed values.
    pub secrets: Arc<Secrets>,
    /// Whose sessions end.
    pub sessions: Arc<Sessions>,
    /// Who is told of changes.
    pub users: Users,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
}

/// What an import does with rows that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Adds rows that are missing, fills what is empty, overwrites nothing.
    Import,
    /// Adds rows that are missing, overwrites what differs.
    Recover,
}

/// What whoever imports has decided.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Leaves out what no known secret opens, instead of refusing the file: second factors, whose owners then have none,
    /// and what other providers gave us.
    pub drop_second_factors: bool,
    /// Who asks for it: their own account can't be changed by it, nor may it give anybody what they don't have.
    /// None: the operator, at the command line.
    pub by: Option<Mover>,
}

/// Who asks for an import.
#[derive(Clone, Copy, Debug)]
pub struct Mover {
    /// The account.
    pub user: Uuid,
    /// What they are.
    pub roles: Roles,
}

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Rows of each table.
    pub rows: BTreeMap<&'static str, u64>,
    /// SHA-256 of the canonical dump of these rows: the same for the same rows, whichever database they stand in.
    pub digest: [u8; 32],
}

/// What an import did, table by table.
pub type Counts = BTreeMap<&'static str, TableCounts>;

/// What an import did to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Rows that were not there.
    pub added: u64,
    /// Rows in which something empty was filled.
    pub filled: u64,
    /// Rows in which something was overwritten.
    pub overwritten: u64,
    /// Rows that were there and stayed as they were.
    pub equal: u64,
    /// Rows that were not taken.
    pub left_out: u64,
    /// Why rows were not taken: a line for each of the first.
    pub notes: Vec<String>,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// The file can't be written.
    #[error("the file can't be written: {0}")]
    Unwritable(String),
}

/// Why an import changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefusal {
    /// It is no database of Gatehouse, or not one that can be trusted.
    #[error("the file was refused: {0}")]
    Foreign(String),
    /// It was made by a program that knows more than this one.
    #[error("the file was made by a newer Gatehouse: it has the step {0}")]
    Newer(String),
    /// It is damaged.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Reading it takes longer than any file of its size needs.
    #[error("the file was given up: reading it takes too long")]
    Slow,
    /// A row is not as it must be, or can't be taken.
    #[error("{table}, row {row}: {}: {}", flaw.column, flaw.words)]
    Row {
        /// The table.
        table: &'static str,
        /// What names the row.
        row: String,
        /// What is wrong.
        flaw: Flaw,
    },
    /// There would be no admin left.
    #[error("afterwards there would be no admin who can sign in")]
    LastAdmin,
    /// Something broke.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

impl From<DbErr> for ImportRefusal {
    fn from(error: DbErr) -> Self {
        Self::Broken(error.into())
    }
}

impl Archive {
    /// The feature.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let turns = |number| Arc::new(Semaphore::new(number));
        Self { parts: Arc::new(parts), exports: turns(EXPORTS), imports: turns(1) }
    }

    /// Writes everything that travels, as it is at one moment, into a SQLite file, which nobody else can read. Until it is
    /// complete it has another name.
    pub async fn export_to(&self, path: &Path, progress: &Progress) -> Result<Exported, ArchiveFault> {
        let name = format!(".{}.part", self.parts.random.uuid_v7(self.parts.clock.now()));
        let temp = path.with_file_name(name);
        let _turn = self.exports.acquire().await;
        export::export(&self.parts.db, path, temp, progress).await
    }

    /// Reads a file into the database: all of it, or nothing.
    pub async fn import_from(
        &self,
        path: &Path,
        how: How,
        options: &ImportOptions,
        progress: &Progress,
    ) -> Result<Counts, ImportRefusal> {
        progress.say(if how == How::Import && options.by.is_none() { "importing" } else { "reading" });
        let source = Source::open(path)?;
        for table in TRAVELS {
            source.rows(table, &mut |_| Ok(()))?;
        }
        Err(ImportRefusal::Foreign("imports come with the next commit".to_owned()))
    }
}
