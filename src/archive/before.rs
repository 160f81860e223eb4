//! What was there before the last import: the way back for whoever has read in the wrong file.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use super::{Counts, ImportRefusal};

/// What was there before the last import.
const BEFORE: &str = "before-import.db";
/// What is there now, while an import is under way.
const NEW: &str = "before-import.db.new";

/// A copy of what is there now. It takes the place of the one before only once there is something to go back from; an
/// import that is refused takes nobody's way back.
pub(super) struct Before {
    folder: PathBuf,
    is_settled: bool,
}

impl Before {
    /// The copy that is to be written to [`Before::place`].
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, is_settled: false }
    }

    /// Where it is until the import has ended.
    pub fn place(&self) -> PathBuf {
        self.folder.join(NEW)
    }

    /// The import has ended. Where nobody can tell how, both copies stay.
    pub fn settle(mut self, done: &Result<Counts, ImportRefusal>) {
        match done {
            Ok(_) => {
                self.is_settled = true;
                let renamed = fs::rename(self.place(), self.folder.join(BEFORE));
                if let Err(error) = renamed.and_then(|()| File::open(&self.folder)?.sync_all()) {
                    tracing::error!(%error, "what was there before the import stays under the name {NEW}");
                }
            }
            Err(ImportRefusal::Broken(_)) => {
                self.is_settled = true;
                tracing::warn!("the import broke; what was there before it is kept as {NEW}");
            }
            Err(_) => {}
        }
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        if !self.is_settled
            && let Err(error) = fs::remove_file(self.place())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a copy that is not needed could not be removed");
        }
    }
}
