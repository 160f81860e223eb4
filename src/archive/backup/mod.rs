//! Backups: everything that travels, and the bytes of the files, in one file that proves itself.
//!
//! It is a tar archive: `database.db`, an export with the log of what staff did; `files/<blob>` for each file; `manifest.json`; and last `SHA256SUMS` of all
//! of them, as `sha256sum -c` reads it, so that what was cut short has none. It is made in a folder of its
//! own beside the others and gets its name when it is complete and on disk.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod log;
mod names;
mod packing;
mod tape;
mod unpacking;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(super) use names::keep_newest;

use super::moves::entry;
use super::unfinished::{WorkFolder, move_to, sweep};
use super::{Archive, ArchiveFault, Counts, How, ImportOptions, ImportRefusal, Progress};
use crate::files::StorageFault;
use crate::platform::folders;
use crate::users::listing::Filter;
use crate::users::store as people;
use names::name_of;
use packing::Packer;
use unpacking::{Good, Wanted, bring, look, wanted};

/// The layout that is written and read.
const FORMAT: u32 = 1;
/// What it is called while it is made.
const TAPE: &str = "backup.tar";
/// What is in it.
const DATABASE: &str = "database.db";
const FILES: &str = "files/";
const SUMS: &str = "SHA256SUMS";
const MANIFEST: &str = "manifest.json";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The layout.
    pub format: u32,
    /// The version of the program that made it.
    pub gatehouse: String,
    /// When, in RFC 3339.
    pub made_at: String,
    /// The newest step of the schema.
    pub schema: String,
    /// SHA-256 of the canonical dump of its rows.
    pub dump: String,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// Files whose bytes are in it.
    pub files: u64,
    /// How many bytes those are.
    pub file_bytes: u64,
    /// Files whose bytes were gone, or were not those that belong to them, when it was made.
    pub flawed: u64,
    /// The first of these, by the names of their bytes.
    pub flawed_blobs: Vec<Uuid>,
}

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
    fn in_folder(self, folder: &Path) -> Self {
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
    fn damaged(words: impl Into<String>) -> Self {
        Self::Damaged(words.into())
    }

    /// What went wrong while it was read: the file's fault, or the disk's.
    fn of_reading(error: io::Error) -> Self {
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

impl Archive {
    /// Makes a backup in a folder, which is made if there is none. It has its name when it is complete, and not before.
    pub async fn back_up(&self, folder: &Path, progress: &Progress) -> Result<Made, BackupFault> {
        self.make_backup(folder, progress).await.map_err(|fault| fault.in_folder(folder))
    }

    async fn make_backup(&self, folder: &Path, progress: &Progress) -> Result<Made, BackupFault> {
        let now = self.parts.clock.now();
        let (beside, id) = (folder.to_owned(), self.parts.random.uuid_v7(now));
        let begin = move || {
            folders::make(&beside, 0o700)?;
            sweep(&beside)?;
            WorkFolder::begin(&beside, id)
        };
        let work = tokio::task::spawn_blocking(begin).await.map_err(anyhow::Error::from)??;
        let exported = self.export_to(&work.path(DATABASE), progress).await?;
        progress.say("backing up files");
        // Should nobody wait for it any more, the thread ends with its next piece.
        let waited_for = CancellationToken::new();
        let packer = Packer {
            parts: Arc::clone(&self.parts),
            folder: work.folder().to_owned(),
            runtime: Handle::current(),
            given_up: waited_for.clone(),
            now,
        };
        let _waiting = waited_for.drop_guard();
        let manifest = tokio::task::spawn_blocking(move || packer.pack(&exported)).await;
        let manifest = manifest.map_err(anyhow::Error::from)??;
        let path = folder.join(name_of(now));
        let name = path.clone();
        let size = tokio::task::spawn_blocking(move || settle(&work, &name)).await;
        let size = size.map_err(anyhow::Error::from)??;
        progress.finish();
        Ok(Made { path, size, manifest })
    }

    /// Notes in the log of what staff did that the operator took everything out.
    pub async fn note_backup(&self, made: &Made) -> Result<(), DbErr> {
        let rows: u64 = made.manifest.rows.values().sum();
        self.parts.audit.record_alone(entry(None, "database_backed_up").with("rows", rows)).await
    }

    /// Looks at a backup without touching anything: whether it is whole, whether its rows are as they must be and its
    /// files' bytes their own, and whether the secrets at hand open what is sealed in it. `scratch` is a folder with room
    /// for its database.
    pub async fn inspect(&self, path: &Path, scratch: &Path) -> Result<Inspected, RestoreRefusal> {
        let work = self.scratch(scratch).await?;
        Ok(self.look(path, work.path(DATABASE)).await?.0)
    }

    /// Fills the database and the storage of files from a backup. One that has accounts is left alone, unless `how` is to
    /// recover.
    pub async fn restore(
        &self,
        path: &Path,
        scratch: &Path,
        how: How,
        options: &ImportOptions,
        progress: &Progress,
    ) -> Result<Restored, RestoreRefusal> {
        let there = people::count(self.parts.db.reader(), &Filter::default()).await;
        let there = there.map_err(anyhow::Error::from)?;
        if there > 0 && how == How::Import {
            return Err(RestoreRefusal::NotEmpty(there));
        }
        progress.say("checking");
        let scratch = self.scratch(scratch).await?;
        let database = scratch.path(DATABASE);
        let options = &ImportOptions { audit_log: how == How::Import, ..options.clone() };
        let (inspected, good) = self.look(path, database.clone()).await?;
        progress.say("restoring files");
        let database = &database;
        let work = |quiet| async move {
            let (parts, runtime) = (Arc::clone(&self.parts), Handle::current());
            let wanted = tokio::task::spawn_blocking(move || wanted(&parts, &good, &runtime));
            let Wanted { first, later } = wanted.await.map_err(anyhow::Error::from)??;
            let brought = self.bring(path, first).await?;
            let counts = self.import_in_quiet(database, how, options, progress, quiet).await;
            // What has no row now has none because it was left out, or because nothing was changed.
            self.parts.files.discard_rowless(&brought).await.map_err(anyhow::Error::from)?;
            let (counts, differ) = (counts?, later.len() as u64);
            // The rows are in: what goes wrong from here on is told, and takes nothing back.
            let mended = if differ == 0 { Ok(Vec::new()) } else { self.bring(path, later).await };
            let mended = mended.unwrap_or_else(|refusal| {
                tracing::error!(%refusal, "bytes that are wrong here were not replaced");
                Vec::new()
            });
            Ok::<_, RestoreRefusal>((counts, differ - mended.len() as u64))
        };
        let (counts, unmended) =
            self.parts.files.without_sweeping(work).await.map_err(anyhow::Error::from)??;
        Ok(Restored { inspected, counts, unmended })
    }

    /// Puts some of the bytes of a backup where they belong; their names.
    async fn bring(&self, path: &Path, wanted: HashSet<Uuid>) -> Result<Vec<Uuid>, RestoreRefusal> {
        let (parts, path, runtime) = (Arc::clone(&self.parts), path.to_owned(), Handle::current());
        let brought = tokio::task::spawn_blocking(move || bring(&parts, &path, &wanted, &runtime));
        brought.await.map_err(anyhow::Error::from)?
    }

    /// A folder for what is needed for a while; what others have left there goes.
    pub(super) async fn scratch(&self, folder: &Path) -> anyhow::Result<WorkFolder> {
        let (folder, id) = (folder.to_owned(), self.parts.random.uuid_v7(self.parts.clock.now()));
        let begin = move || {
            let begun = sweep(&folder).and_then(|()| WorkFolder::begin(&folder, id));
            begun.map_err(|error| anyhow::anyhow!("{}: {error}", folder.display()))
        };
        tokio::task::spawn_blocking(begin).await?
    }

    async fn look(&self, path: &Path, database: PathBuf) -> Result<(Inspected, Good), RestoreRefusal> {
        let (parts, path) = (Arc::clone(&self.parts), path.to_owned());
        let looked = tokio::task::spawn_blocking(move || look(&parts, &path, &database));
        looked.await.map_err(anyhow::Error::from)?
    }
}

/// Gives the complete backup its name; how long it is.
fn settle(work: &WorkFolder, path: &Path) -> io::Result<u64> {
    if path.try_exists()? {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "one of this second is there already"));
    }
    move_to(&work.path(TAPE), path)?;
    Ok(fs::metadata(path)?.len())
}

/// A line of `SHA256SUMS`.
fn line_of(sum: &str, name: &str) -> String {
    format!("{sum}  {name}\n")
}
