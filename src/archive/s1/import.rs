//! The import of a database of S1: converted beside, then imported as any other file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use sea_orm::DbErr;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{Converted, convert, recognises};
use crate::archive::{Archive, Counts, ImportRefusal, Order, TableCounts, letters};
use crate::users::store as people;

/// What stands for the notes of a conversion among the tables.
const NOTES: &str = "s1";
/// Letters that are queued together.
const LETTERS: usize = 200;

impl Archive {
    /// Whether a file is a database of S1.
    pub(in crate::archive) async fn is_s1(&self, path: &Path) -> Result<bool, ImportRefusal> {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || recognises(&path)).await.map_err(anyhow::Error::from)?
    }

    /// Imports it. What was not kept as it was stands in the counts, as notes of `s1`.
    pub(in crate::archive) async fn import_s1(
        &self,
        path: &Path,
        order: &Order,
    ) -> Result<Counts, ImportRefusal> {
        order.progress.say("reading S1");
        let scratch = self.scratch(&self.parts.data_dir).await?;
        let temp = scratch.path("s1.db");
        let work = async {
            let (converted, done) = self.convert(path, &temp, order.options.files_root.clone()).await;
            let imported = match done {
                Ok(()) => self.import_converted(&temp, &converted, order).await,
                Err(refusal) => Err(refusal),
            };
            // Nobody's are those of rows that were not taken, and all of them if nothing was changed.
            self.parts.files.discard_rowless(&converted.blobs).await?;
            Ok::<_, ImportRefusal>((imported?, converted.notes))
        };
        let (mut counts, notes) = self.parts.files.without_sweeping(Box::pin(work)).await??;
        let notes = notes.lines().collect();
        counts.insert(NOTES, TableCounts { notes, ..TableCounts::default() });
        Ok(counts)
    }

    async fn convert(
        &self,
        path: &Path,
        into: &Path,
        root: Option<PathBuf>,
    ) -> (Converted, Result<(), ImportRefusal>) {
        let (parts, path, into) = (Arc::clone(&self.parts), path.to_owned(), into.to_owned());
        let runtime = Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            let mut converted = Converted::default();
            let done = convert(&parts, &path, root.as_deref(), &into, &mut converted, runtime);
            (converted, done.map_err(ImportRefusal::from))
        });
        work.await.unwrap_or_else(|error| (Converted::default(), Err(anyhow::Error::from(error).into())))
    }

    async fn import_converted(
        &self,
        path: &Path,
        converted: &Converted,
        order: &Order,
    ) -> Result<Counts, ImportRefusal> {
        let mut before = HashSet::new();
        for id in &converted.without_factor {
            if people::by_id(self.parts.db.reader(), *id).await?.is_some() {
                before.insert(*id);
            }
        }
        let counts = self.import_gatehouse(path, order).await?;
        let new: Vec<Uuid> =
            converted.without_factor.iter().filter(|id| !before.contains(id)).copied().collect();
        for some in new.chunks(LETTERS) {
            self.tell(some.to_vec()).await?;
        }
        Ok(counts)
    }

    /// Tells people that their second factor is gone.
    async fn tell(&self, people: Vec<Uuid>) -> Result<(), DbErr> {
        let parts = Arc::clone(&self.parts);
        let told = self
            .parts
            .db
            .write(move |tx| async move { letters::second_factors_gone(tx, &parts, &people).await }.boxed());
        told.await
    }
}
