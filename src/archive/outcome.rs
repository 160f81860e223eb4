//! What became of an export or an import, or why there was none.

use std::collections::BTreeMap;

use sea_orm::DbErr;

use super::row::Flaw;
use crate::files::Unquiet;
use crate::platform::problem::Problem;

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
    #[error("{table}, row {row}: {}: {}", .flaw.column, .flaw.words)]
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
    /// Whoever asks for it may not do so any more.
    #[error("whoever asked for it may not do so any more: {0}")]
    NoLonger(Box<Problem>),
    /// Another file is being read in, and that takes its time.
    #[error("another file is being read in")]
    Busy,
    /// Files are swept, and rows must not come meanwhile.
    #[error(transparent)]
    Sweeping(Unquiet),
    /// Something broke.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

impl From<Unquiet> for ImportRefusal {
    fn from(unquiet: Unquiet) -> Self {
        match unquiet {
            Unquiet::Busy => Self::Sweeping(unquiet),
            Unquiet::Database(error) => error.into(),
        }
    }
}

impl From<DbErr> for ImportRefusal {
    fn from(error: DbErr) -> Self {
        Self::Broken(error.into())
    }
}
