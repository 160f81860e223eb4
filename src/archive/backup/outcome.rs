//! What became of a backup, and why one is not made or not restored.

use std::io;
use std::path::{Path, PathBuf};

use super::layout::Manifest;
use crate::archive::{ArchiveFault, Counts, ImportRefusal};
use crate::files::StorageFault;

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is, in bytes.
    pub size: u64,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupFault {
    /// The database can't be read, or its export not written.
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    /// The bytes of files can't be read.
    #[error("the files can't be read: {0}")]
    Storage(#[from] StorageFault),
    /// It can't be written.
    #[error("the backup can't be written: {0}")]
    Disk(#[from] io::Error),
    /// So it is, and where.
    #[error("the backup can't be written to {folder}: {reason}")]
    Folder {
        /// The folder of backups.
        folder: String,
        /// What the system said.
        reason: io::Error,
    },
    /// Something broke.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

impl BackupFault {
    /// The same, with the folder that it could not be written to.
    pub(super) fn in_folder(self, folder: &Path) -> Self {
        match self {
            Self::Disk(reason) => Self::Folder { folder: folder.display().to_string(), reason },
            other => other,
        }
    }
}

/// Why a backup is not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreRefusal {
    /// There are people here already.
    #[error(
        "the database is not empty: {0} account(s); --over restores all the same, and overwrites what differs"
    )]
    NotEmpty(u64),
    /// It can't be read.
    #[error("the backup can't be read: {0}")]
    Unreadable(io::Error),
    /// It is cut short, changed or none.
    #[error("the backup is damaged, or none: {0}")]
    Damaged(String),
    /// Its database is refused.
    #[error("the backup's database: {0}")]
    Database(#[from] ImportRefusal),
    /// The bytes of files can't be kept.
    #[error("the files can't be kept: {0}")]
    Storage(#[from] StorageFault),
    /// Something broke.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

impl RestoreRefusal {
    pub(super) fn damaged(words: impl Into<String>) -> Self {
        Self::Damaged(words.into())
    }

    /// What went wrong while it was read: the file's fault, or the disk's.
    pub(super) fn of_reading(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::damaged("it is cut short"),
            io::ErrorKind::InvalidData => Self::damaged(error.to_string()),
            _ => Self::Unreadable(error),
        }
    }
}

/// What was found in a backup.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// What it says of itself; all of it was found to be so.
    pub manifest: Manifest,
    /// Files of whose bytes it has none, or others: those are left alone.
    pub flawed: u64,
    /// Sealed things that no known secret opens.
    pub unopened: u64,
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup holds.
    pub inspected: Inspected,
    /// What became of its rows.
    pub counts: Counts,
    /// Files whose bytes here are wrong and could not be replaced by those of the backup.
    pub unmended: u64,
}
