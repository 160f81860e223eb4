//! What is not complete yet: it has a place of its own until it is, and goes with its owner.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

/// How the name of a folder for it begins.
const WORK: &str = ".gatehouse-work-";
/// What holds such a folder for as long as its process lives.
const LOCK: &str = "lock";

/// A new file, for nobody else to read.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Gives a complete file its place, for good.
pub(super) fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A file that is removed with its owner, unless it becomes what it was made for.
pub(super) struct UnfinishedFile(PathBuf);

impl UnfinishedFile {
    /// Makes it, empty, for nobody else to read.
    pub(super) fn make(path: PathBuf) -> io::Result<Self> {
        new_file(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// It is complete: this is its place from now on.
    pub(super) fn becomes(mut self, path: &Path) -> io::Result<()> {
        move_to(&self.0, path)?;
        self.0 = PathBuf::new();
        Ok(())
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty()
            && let Err(error) = fs::remove_file(&self.0)
        {
            tracing::warn!(%error, "an unfinished export could not be removed");
        }
    }
}

/// A folder for what is not complete yet; it goes with its owner, and what a crash leaves goes with the next backup.
pub(super) struct WorkFolder {
    folder: PathBuf,
    _lock: File,
}

impl WorkFolder {
    /// Makes one in the folder `beside`.
    pub(super) fn begin(beside: &Path, id: Uuid) -> io::Result<Self> {
        let folder = beside.join(format!("{WORK}{id}"));
        DirBuilder::new().mode(0o700).create(&folder)?;
        let lock = new_file(&folder.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where something of this name is in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, "the folder of an unfinished backup could not be removed");
        }
    }
}

/// Removes what was left by processes that are no more.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_one = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.strip_prefix(WORK).is_some_and(|id| Uuid::try_parse(id).is_ok()));
        if is_one && entry.file_type()?.is_dir() && is_left(&entry.path()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Whether nobody holds the folder's lock. One without a lock is only just being made.
fn is_left(folder: &Path) -> bool {
    let lock = File::open(folder.join(LOCK));
    lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_living_one_does_stays() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join(format!("{WORK}{}", Uuid::from_u128(1)));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("database.db"), "half").unwrap();
        let foreign = folder.path().join(format!("{WORK}mine"));
        fs::create_dir(&foreign).unwrap();
        let living = WorkFolder::begin(folder.path(), Uuid::from_u128(2)).unwrap();
        sweep(folder.path()).unwrap();
        assert!(!dead.exists() && foreign.exists() && living.folder.exists());
        let held = living.folder.clone();
        drop(living);
        assert!(!held.exists());
    }
}
