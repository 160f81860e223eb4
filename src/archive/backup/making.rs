//! Making a backup.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use sea_orm::DbErr;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::layout::{DATABASE, TAPE};
use super::names::name_of;
use super::outcome::{BackupFault, Made};
use super::packing::Packer;
use crate::archive::moves::entry;
use crate::archive::unfinished::{WorkFolder, move_to, sweep};
use crate::archive::{Archive, Progress};
use crate::platform::folders;

impl Archive {
    /// Makes a backup in a folder, which is made if there is none. It has its name when it is complete, and not before.
    pub async fn back_up(&self, folder: &Path, progress: &Progress) -> Result<Made, BackupFault> {
        self.make_backup(folder, progress).await.map_err(|fault| fault.in_folder(folder))
    }

    async fn make_backup(&self, folder: &Path, progress: &Progress) -> Result<Made, BackupFault> {
        let now = self.parts.ground.clock.now();
        let (beside, id) = (folder.to_owned(), self.parts.ground.random.uuid_v7(now));
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
}

/// Gives the complete backup its name; how long it is.
fn settle(work: &WorkFolder, path: &Path) -> io::Result<u64> {
    if path.try_exists()? {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "one of this second is there already"));
    }
    move_to(&work.path(TAPE), path)?;
    Ok(fs::metadata(path)?.len())
}
