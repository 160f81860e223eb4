//! Writing a backup.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt;
use rusqlite::{Connection, OpenFlags};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::layout::{DATABASE, FILES, FORMAT, MANIFEST, Manifest, SUMS, TAPE, line_of};
use super::log;
use super::outcome::BackupFault;
use super::tape::{Entry, Writer};
use crate::archive::unfinished::new_file;
use crate::archive::{Exported, Parts};
use crate::files::StorageFault;
use crate::migrations::STEPS;
use crate::platform::clock::Timestamp;
use crate::platform::hexadecimal;

/// Files whose bytes were not as they should be that are named.
const NAMED: usize = 100;

/// Writes a backup, on a thread that may wait.
pub(super) struct Packer {
    pub(super) parts: Arc<Parts>,
    /// Where it is made, and the export of the database is.
    pub(super) folder: PathBuf,
    pub(super) runtime: Handle,
    /// Set when nobody waits for it any more.
    pub(super) given_up: CancellationToken,
    pub(super) now: Timestamp,
}

/// A file's bytes, as its row knows them.
struct Blob {
    name: Uuid,
    size: u64,
    sha256: Vec<u8>,
}

/// How far a backup is.
struct Packed {
    tape: Writer,
    sums: BufWriter<File>,
    files: u64,
    file_bytes: u64,
    flawed: Vec<Uuid>,
}

impl Packer {
    pub(super) fn pack(&self, exported: &Exported) -> Result<Manifest, BackupFault> {
        let database = self.folder.join(DATABASE);
        log::write(&self.parts.audit, &self.runtime, &database)?;
        let sums = new_file(&self.folder.join(SUMS))?;
        let mut packed = Packed {
            tape: Writer::new(new_file(&self.folder.join(TAPE))?),
            sums: BufWriter::new(sums.try_clone()?),
            files: 0,
            file_bytes: 0,
            flawed: Vec::new(),
        };
        let mut file = File::open(&database)?;
        let entry = Entry { name: DATABASE.to_owned(), size: file.metadata()?.len() };
        packed.entry(&entry, |tape| self.copy(&mut file, tape))?;
        for_each_blob(&database, |blob| self.blob(&mut packed, blob))?;
        self.finish(packed, sums, exported)
    }

    fn copy(&self, from: &mut File, tape: &mut Writer) -> Result<(), BackupFault> {
        let mut piece = vec![0; 256 * 1024];
        loop {
            self.goes_on()?;
            match from.read(&mut piece)? {
                0 => return Ok(()),
                read => tape.write(&piece[..read])?,
            }
        }
    }

    fn goes_on(&self) -> io::Result<()> {
        if self.given_up.is_cancelled() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "it was given up"));
        }
        Ok(())
    }

    /// What is deleted meanwhile, or has been lost, is noted, and makes no backup impossible.
    fn blob(&self, packed: &mut Packed, blob: &Blob) -> Result<(), BackupFault> {
        self.goes_on()?;
        let there = self.runtime.block_on(self.parts.files.size_of(blob.name))?;
        let pieces = (there == Some(blob.size))
            .then(|| self.runtime.block_on(self.parts.files.bytes_of(blob.name, blob.size)));
        let mut pieces = match pieces {
            Some(Ok(pieces)) => pieces,
            None | Some(Err(StorageFault::Gone)) => {
                packed.flawed.push(blob.name);
                return Ok(());
            }
            Some(Err(fault)) => return Err(fault.into()),
        };
        let entry = Entry { name: format!("{FILES}{}", blob.name), size: blob.size };
        let (place, right) = (packed.tape.place(), hexadecimal::written(&blob.sha256));
        let sum = packed.entry_without_sum(&entry, |tape| {
            while let Some(piece) = self.runtime.block_on(pieces.try_next()).map_err(StorageFault::Broken)? {
                self.goes_on()?;
                tape.write(&piece)?;
            }
            Ok(())
        })?;
        if sum != right {
            // Wrong bytes would be put over right ones, where those are.
            packed.tape.back_to(place)?;
            packed.flawed.push(blob.name);
            return Ok(());
        }
        packed.note(&sum, &entry.name)?;
        packed.files += 1;
        packed.file_bytes += blob.size;
        Ok(())
    }

    fn finish(
        &self,
        mut packed: Packed,
        mut sums: File,
        exported: &Exported,
    ) -> Result<Manifest, BackupFault> {
        let moment = chrono::DateTime::from_timestamp(self.now.seconds(), 0).unwrap_or_default();
        let manifest = Manifest {
            format: FORMAT,
            gatehouse: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            schema: STEPS.last().map_or("", |step| step.name).to_owned(),
            dump: hexadecimal::written(&exported.digest),
            rows: exported.rows.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect(),
            files: packed.files,
            file_bytes: packed.file_bytes,
            flawed: packed.flawed.len() as u64,
            flawed_blobs: packed.flawed.iter().copied().take(NAMED).collect(),
        };
        let text = serde_json::to_vec_pretty(&manifest).map_err(anyhow::Error::from)?;
        let entry = Entry { name: MANIFEST.to_owned(), size: text.len() as u64 };
        packed.entry(&entry, |tape| Ok(tape.write(&text)?))?;
        packed.sums.flush()?;
        sums.rewind()?;
        packed.tape.begin(&Entry { name: SUMS.to_owned(), size: sums.metadata()?.len() })?;
        self.copy(&mut sums, &mut packed.tape)?;
        packed.tape.end()?;
        packed.tape.finish()?;
        Ok(manifest)
    }
}

impl Packed {
    /// Writes an entry and the line of its sum.
    fn entry(
        &mut self,
        entry: &Entry,
        fill: impl FnOnce(&mut Writer) -> Result<(), BackupFault>,
    ) -> Result<(), BackupFault> {
        let sum = self.entry_without_sum(entry, fill)?;
        self.note(&sum, &entry.name)
    }

    /// Writes an entry alone; its sum.
    fn entry_without_sum(
        &mut self,
        entry: &Entry,
        fill: impl FnOnce(&mut Writer) -> Result<(), BackupFault>,
    ) -> Result<String, BackupFault> {
        self.tape.begin(entry)?;
        fill(&mut self.tape)?;
        Ok(self.tape.end()?)
    }

    fn note(&mut self, sum: &str, name: &str) -> Result<(), BackupFault> {
        Ok(self.sums.write_all(line_of(sum, name).as_bytes())?)
    }
}

/// The bytes that the rows of an export speak of, in the order of their files' numbers.
fn for_each_blob<E>(database: &Path, mut each: impl FnMut(&Blob) -> Result<(), E>) -> Result<(), E>
where
    E: From<anyhow::Error>,
{
    let broken = |error: rusqlite::Error| E::from(anyhow::Error::from(error));
    let connection =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(broken)?;
    let sql = "SELECT blob, size, sha256 FROM files ORDER BY id";
    let mut statement = connection.prepare(sql).map_err(broken)?;
    let mut rows = statement.query([]).map_err(broken)?;
    while let Some(row) = rows.next().map_err(broken)? {
        let (name, size): (Vec<u8>, i64) =
            row.get(0).and_then(|name| Ok((name, row.get(1)?))).map_err(broken)?;
        let name = Uuid::from_slice(&name).map_err(anyhow::Error::from)?;
        each(&Blob { name, size: size.unsigned_abs(), sha256: row.get(2).map_err(broken)? })?;
    }
    Ok(())
}
