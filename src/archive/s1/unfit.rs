//! Why a file is not brought over.

use super::super::ImportRefusal;
use super::super::file::unreadable;
use crate::files::StorageFault;

/// Why a file can't be read as a database of S1.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Something in it is not as S1 writes it, or can't be kept.
    #[error("{table}: {words}")]
    Refused {
        /// The table.
        table: &'static str,
        /// What, and in which row.
        words: String,
    },
    /// The file can't be read as a database at all.
    #[error(transparent)]
    File(#[from] ImportRefusal),
    /// It could not be brought over for another reason.
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
}

impl Unfit {
    pub(super) fn refused(table: &'static str, words: impl Into<String>) -> Self {
        Self::Refused { table, words: words.into() }
    }
}

impl From<Unfit> for ImportRefusal {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Refused { .. } => Self::Foreign(unfit.to_string()),
            Unfit::File(refusal) => refusal,
            Unfit::Broken(error) => Self::Broken(error),
        }
    }
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(unreadable(&error))
    }
}

impl From<StorageFault> for Unfit {
    fn from(fault: StorageFault) -> Self {
        Self::Broken(fault.into())
    }
}

impl From<std::io::Error> for Unfit {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.into())
    }
}
