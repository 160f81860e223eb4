//! The import of a database of S1: converted beside, then imported as any other file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Converted, convert, recognises};
use crate::archive::order::Order;
use crate::archive::{Archive, Counts, ImportRefusal, TableCounts};

/// What stands for the notes of a conversion among the tables.
const NOTES: &str = "s1";

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
        let temp = &temp;
        let work = |quiet| async move {
            let (mut converted, done) = self.convert(path, temp, order.options.files_root.clone()).await;
            let imported = match done {
                Ok(()) => {
                    let without_factor = std::mem::take(&mut converted.without_factor);
                    let order = Order { without_factor, ..order.clone() };
                    self.import_gatehouse(temp, &order, quiet).await
                }
                Err(refusal) => Err(refusal),
            };
            // Nobody's are those of rows that were not taken, and all of them if nothing was changed.
            self.parts.files.discard_rowless(&converted.blobs).await?;
            Ok::<_, ImportRefusal>((imported?, converted.notes))
        };
        let (mut counts, notes) = self.parts.files.without_sweeping(|quiet| Box::pin(work(quiet))).await??;
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
}
