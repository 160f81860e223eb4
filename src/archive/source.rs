//! What an import reads, row by row, whatever wrote it.

use std::path::Path;

use super::ImportRefusal;
use super::file::GatehouseFile;
use super::row::Row;
use super::tables::Table;

/// What is done with each row.
pub type Each<'a> = dyn FnMut(Row) -> Result<(), ImportRefusal> + 'a;

/// What an import reads: gives the rows of each table, as they would stand here. Reading blocks.
pub enum Source {
    /// A database of Gatehouse, of this schema or an older one.
    Gatehouse(GatehouseFile),
}

impl Source {
    /// Opens a file, whatever it is, and refuses what can't be trusted.
    pub fn open(path: &Path) -> Result<Self, ImportRefusal> {
        GatehouseFile::open(path).map(Self::Gatehouse)
    }

    /// The highest number that a file ever had where this comes from.
    pub fn highest_file_number(&self) -> Result<i64, ImportRefusal> {
        match self {
            Self::Gatehouse(file) => file.highest_file_number(),
        }
    }

    /// Hands on every row of a table. Each has passed the rules of its feature.
    pub fn rows(&self, table: &'static Table, each: &mut Each<'_>) -> Result<(), ImportRefusal> {
        match self {
            Self::Gatehouse(file) => file.rows(table, each),
        }
    }
}
