//! Looking at a backup, and filling the database and the storage of files from it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use uuid::Uuid;

use super::layout::DATABASE;
use super::outcome::{Inspected, RestoreRefusal, Restored};
use super::unpacking::{Good, Wanted, bring, look, wanted};
use crate::archive::unfinished::{WorkFolder, sweep};
use crate::archive::{Archive, How, ImportOptions, Progress};
use crate::users::listing::Filter;
use crate::users::store as people;

impl Archive {
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
        let there = people::count(self.parts.ground.db.reader(), &Filter::default()).await;
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
    pub(in crate::archive) async fn scratch(&self, folder: &Path) -> anyhow::Result<WorkFolder> {
        let (folder, id) =
            (folder.to_owned(), self.parts.ground.random.uuid_v7(self.parts.ground.clock.now()));
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
