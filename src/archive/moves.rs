//! Exports and imports, each in its turn.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::before::Before;
use super::file::GatehouseFile;
use super::import::{self, Import};
use super::order::Order;
use super::tables::TRAVELS;
use super::{
    Archive, ArchiveFault, Counts, Exported, How, ImportOptions, ImportRefusal, Parts, Progress, export,
};
use crate::audit::{Entry, Subject};
use crate::files::{Quiet, Received, UploadRefusal};
use crate::platform::clock::Timestamp;
use crate::platform::problem::Failure;
use crate::platform::web::Upload;
use crate::users;

/// Exports that are written at once: each holds a connection.
const EXPORTS: usize = 2;
/// How long an import waits for the one before it.
const TURN: Duration = Duration::from_secs(10);

impl Archive {
    /// The feature.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let turns = |number| Arc::new(Semaphore::new(number));
        Self { parts: Arc::new(parts), exports: turns(EXPORTS), imports: turns(1) }
    }

    /// Writes everything that travels, as it is at one moment, into a SQLite file, which nobody else can read. Until it is
    /// complete it has another name.
    pub async fn export_to(&self, path: &Path, progress: &Progress) -> Result<Exported, ArchiveFault> {
        let name = format!(".{}.part", self.parts.ground.random.uuid_v7(self.parts.ground.clock.now()));
        let _turn = self.exports.acquire().await;
        let (temp, exported) =
            export::export(&self.parts.ground.db, path.with_file_name(name), progress).await?;
        temp.becomes(path)?;
        Ok(exported)
    }

    /// The same into a file that has no name any more: it is gone once it is closed.
    pub(super) async fn export_for_a_while(&self) -> Result<(tokio::fs::File, Exported), ArchiveFault> {
        let _turn = self.exports.acquire().await;
        let place = self.parts.files.place_for_a_while();
        let (temp, exported) = export::export(&self.parts.ground.db, place, &Progress::Silent).await?;
        Ok((tokio::fs::File::open(temp.path()).await?, exported))
    }

    /// Notes in the log of what staff did that everything was taken out.
    pub async fn note_export(&self, by: Option<Uuid>, exported: &Exported) -> Result<(), DbErr> {
        let rows: u64 = exported.rows.values().sum();
        self.parts.audit.record_alone(entry(by, "database_exported").with("rows", rows)).await
    }

    pub(super) fn now(&self) -> Timestamp {
        self.parts.ground.clock.now()
    }

    /// Reads an upload, which is gone when it is dropped.
    pub(super) async fn receive(&self, upload: Upload) -> Result<Received, Failure<UploadRefusal>> {
        self.parts.files.receive_up_to(upload, self.parts.most_bytes).await
    }

    /// Reads a file into the database: all of it, or nothing. What was there before is kept beside, in `before-import.db`.
    pub async fn import_from(
        &self,
        path: &Path,
        how: How,
        options: &ImportOptions,
        progress: &Progress,
    ) -> Result<Counts, ImportRefusal> {
        if let Some(by) = &options.by {
            self.parts.may_go_on(self.parts.ground.db.reader(), by).await?;
        }
        let _turn = self.turn().await?;
        progress.say("checking");
        let is_s1 = self.is_s1(path).await?;
        let order = Order::new(path, how, options, progress).await?;
        if is_s1 {
            return Box::pin(self.import_s1(path, &order)).await;
        }
        // The bytes of its files may have been brought already.
        let import = |quiet| Box::pin(self.import_gatehouse(path, &order, quiet));
        self.parts.files.without_sweeping(import).await?
    }

    /// The same of a database of Gatehouse, while nobody sweeps files.
    pub(super) async fn import_in_quiet(
        &self,
        path: &Path,
        how: How,
        options: &ImportOptions,
        progress: &Progress,
        quiet: Quiet,
    ) -> Result<Counts, ImportRefusal> {
        let _turn = self.turn().await?;
        let order = Order::new(path, how, options, progress).await?;
        Box::pin(self.import_gatehouse(path, &order, quiet)).await
    }

    /// One file after the other; who would have to wait for long comes again.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, ImportRefusal> {
        let turn = tokio::time::timeout(TURN, self.imports.acquire()).await;
        let turn = turn.map_err(|_| ImportRefusal::Busy)?;
        Ok(turn.map_err(anyhow::Error::from)?)
    }

    /// Reads in what was ordered. It is judged before the first change.
    pub(super) async fn import_gatehouse(
        &self,
        path: &Path,
        order: &Order,
        quiet: Quiet,
    ) -> Result<Counts, ImportRefusal> {
        let path = path.to_owned();
        // The file stays open from here on: it may be the very one that was kept by the last import.
        let checked = tokio::task::spawn_blocking(move || check_all(GatehouseFile::open(&path)?)).await;
        let (file, rows) = checked.map_err(anyhow::Error::from)??;
        let before = self.keep_what_is_there(&order.progress).await?;
        order.progress.say(if order.how == How::Import { "importing" } else { "recovering" });
        order.progress.expect(rows);
        let import = Import::new(Arc::clone(&self.parts), order.clone(), quiet);
        let pieces = import::begin_reading(file, order.options.audit_log);
        let done = self.parts.ground.db.write_at_leisure(move |tx| import.run(tx, pieces).boxed()).await;
        order.progress.finish();
        if let Some(before) = before {
            before.settle(&done);
        }
        done
    }
}

impl Archive {
    /// Whoever has read in the wrong file finds beside what was there before; the last one only.
    async fn keep_what_is_there(&self, progress: &Progress) -> Result<Option<Before>, ImportRefusal> {
        if !users::store::is_any(self.parts.ground.db.reader()).await? {
            return Ok(None);
        }
        let before = Before::new(self.parts.data_dir.clone());
        self.export_to(&before.place(), progress).await.map_err(anyhow::Error::from)?;
        Ok(Some(before))
    }
}

/// What stands in the log of what staff did.
pub(super) fn entry(by: Option<Uuid>, action: &'static str) -> Entry {
    let operator = || Entry::by_operator(action, Subject::Database);
    by.map_or_else(operator, |by| Entry::by(by, action, Subject::Database))
}

/// Reads all of a file before anything is changed; how many rows it has.
fn check_all(file: GatehouseFile) -> Result<(GatehouseFile, u64), ImportRefusal> {
    let mut rows = 0;
    for table in TRAVELS {
        file.rows(table, &mut |_| {
            rows += 1;
            Ok(())
        })?;
    }
    Ok((file, rows))
}
