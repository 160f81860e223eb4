//! Backups: everything that travels, and the bytes of the files, in one file that proves itself.
//!
//! It is a tar archive: `database.db`, an export; `files/<blob>` for each file; `manifest.json`; and last `SHA256SUMS` of all
//! of them, as `sha256sum -c` reads it, so that what was cut short has none. It is made in a folder of its
//! own beside the others and gets its name when it is complete and on disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::{FutureExt, TryStreamExt};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::source::Source;
use super::tables::TRAVELS;
use super::tape::{Entry, Reader, Writer};
use super::{Archive, ArchiveFault, Counts, Exported, How, ImportOptions, ImportRefusal, Parts, Progress};
use crate::files::StorageFault;
use crate::migrations::STEPS;
use crate::platform::clock::Timestamp;
use crate::platform::hexadecimal;
use crate::users::listing::Filter;
use crate::users::store as people;

/// The layout that is written and read.
const FORMAT: u32 = 1;
/// What a backup is called, before and behind its moment.
const BEGINS: &str = "gatehouse-";
const ENDS: &str = ".tar";
/// What the folder is called that one is made in.
const WORK: &str = ".gatehouse-work-";
/// What holds such a folder for as long as its process lives.
const LOCK: &str = "lock";
const TAPE: &str = "backup.tar";
const DATABASE: &str = "database.db";
const FILES: &str = "files/";
const SUMS: &str = "SHA256SUMS";
const MANIFEST: &str = "manifest.json";
/// The largest manifest, in bytes.
const LARGEST_MANIFEST: u64 = 1024 * 1024;
/// Files whose bytes were not as they should be that are named.
const NAMED: usize = 100;

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
    /// Something broke.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
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

/// The SHA-256 of the bytes that a backup has of each file, in hexadecimal: only where it is that of the file's row.
type Good = HashMap<Uuid, String>;

/// Which bytes a backup brings, and when.
#[derive(Default)]
struct Wanted {
    /// What is not here, or is nobody's here: before the rows.
    first: HashSet<Uuid>,
    /// What somebody has here, with other bytes: once the rows are in, since a refusal is to change nothing.
    later: HashSet<Uuid>,
}

impl Archive {
    /// Makes a backup in a folder, which is made if there is none. It has its name when it is complete, and not before.
    pub async fn back_up(&self, folder: &Path, progress: &Progress) -> Result<Made, BackupFault> {
        let now = self.parts.clock.now();
        let (beside, id) = (folder.to_owned(), self.parts.random.uuid_v7(now));
        let begin = move || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&beside)?;
            sweep_work(&beside)?;
            Work::begin(&beside, id)
        };
        let work = tokio::task::spawn_blocking(begin).await.map_err(anyhow::Error::from)??;
        let exported = self.export_to(&work.path(DATABASE), progress).await?;
        progress.say("backing up files");
        // Should nobody wait for it any more, the thread ends with its next piece.
        let waited_for = CancellationToken::new();
        let packer = Packer {
            parts: Arc::clone(&self.parts),
            folder: work.folder.clone(),
            runtime: Handle::current(),
            given_up: waited_for.clone(),
            now,
        };
        let _waiting = waited_for.drop_guard();
        let manifest = tokio::task::spawn_blocking(move || packer.pack(&exported)).await;
        let manifest = manifest.map_err(anyhow::Error::from)??;
        let path = folder.join(name_of(now));
        let name = path.clone();
        let size = tokio::task::spawn_blocking(move || work.becomes(&name)).await;
        let size = size.map_err(anyhow::Error::from)??;
        progress.finish();
        Ok(Made { path, size, manifest })
    }

    /// Notes in the log of what staff did that the operator took everything out.
    pub async fn note_backup(&self, made: &Made) -> Result<(), DbErr> {
        let entry =
            super::entry(None, "database_backed_up").with("rows", made.manifest.rows.values().sum::<u64>());
        let audit = self.parts.audit.clone();
        self.parts.db.write(move |tx| async move { audit.record(tx, entry).await }.boxed()).await
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
        let (inspected, good) = self.look(path, database.clone()).await?;
        progress.say("restoring files");
        let work = async {
            let (parts, runtime) = (Arc::clone(&self.parts), Handle::current());
            let wanted = tokio::task::spawn_blocking(move || wanted(&parts, &good, &runtime));
            let Wanted { first, later } = wanted.await.map_err(anyhow::Error::from)??;
            let brought = self.bring(path, first).await?;
            let counts = self.import_from(&database, how, options, progress).await;
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
        let (counts, unmended) = self.parts.files.without_sweeping(work).await??;
        Ok(Restored { inspected, counts, unmended })
    }

    /// Puts some of the bytes of a backup where they belong; their names.
    async fn bring(&self, path: &Path, wanted: HashSet<Uuid>) -> Result<Vec<Uuid>, RestoreRefusal> {
        let (parts, path, runtime) = (Arc::clone(&self.parts), path.to_owned(), Handle::current());
        let brought = tokio::task::spawn_blocking(move || bring(&parts, &path, &wanted, &runtime));
        brought.await.map_err(anyhow::Error::from)?
    }

    /// A folder for what is needed for a while; what others have left there goes.
    pub(super) async fn scratch(&self, folder: &Path) -> anyhow::Result<Work> {
        let (folder, id) = (folder.to_owned(), self.parts.random.uuid_v7(self.parts.clock.now()));
        let begin = move || {
            let begun = sweep_work(&folder).and_then(|()| Work::begin(&folder, id));
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

/// Removes the oldest backups of a folder but the newest `keep`; what is not one by its name stays. How many it removed.
pub fn keep_newest(folder: &Path, keep: usize) -> io::Result<usize> {
    let mut backups = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_one = entry.file_name().to_str().is_some_and(is_name) && entry.file_type()?.is_file();
        if is_one {
            backups.push(entry.path());
        }
    }
    backups.sort();
    let old = backups.len().saturating_sub(keep);
    for path in &backups[..old] {
        fs::remove_file(path)?;
    }
    Ok(old)
}

/// `gatehouse-20260101T030000Z.tar`: sorts by time.
fn name_of(now: Timestamp) -> String {
    let moment = chrono::DateTime::from_timestamp(now.seconds(), 0).unwrap_or_default();
    format!("{BEGINS}{}{ENDS}", moment.format("%Y%m%dT%H%M%SZ"))
}

fn is_name(name: &str) -> bool {
    let moment = name.strip_prefix(BEGINS).and_then(|rest| rest.strip_suffix(ENDS));
    moment.is_some_and(|moment| {
        let read = chrono::NaiveDateTime::parse_from_str(moment, "%Y%m%dT%H%M%SZ");
        read.is_ok_and(|read| read.format("%Y%m%dT%H%M%SZ").to_string() == moment)
    })
}

/// A folder for what is not complete yet; it goes with its owner, and what a crash leaves goes with the next backup.
pub(super) struct Work {
    folder: PathBuf,
    _lock: File,
}

impl Work {
    fn begin(beside: &Path, id: Uuid) -> io::Result<Self> {
        let folder = beside.join(format!("{WORK}{id}"));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let lock = new_file(&folder.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, _lock: lock })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Gives the complete backup its name; how long it is.
    fn becomes(self, path: &Path) -> io::Result<u64> {
        if path.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "one of this second is there already"));
        }
        fs::rename(self.path(TAPE), path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(fs::metadata(path)?.len())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, "the folder of an unfinished backup could not be removed");
        }
    }
}

/// Removes what was left by processes that are no more.
fn sweep_work(folder: &Path) -> io::Result<()> {
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

/// A new file, for nobody else to read.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a backup, on a thread that may wait.
struct Packer {
    parts: Arc<Parts>,
    folder: PathBuf,
    runtime: Handle,
    given_up: CancellationToken,
    now: Timestamp,
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
    fn pack(&self, exported: &Exported) -> Result<Manifest, BackupFault> {
        let database = self.folder.join(DATABASE);
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

/// A line of `SHA256SUMS`.
fn line_of(sum: &str, name: &str) -> String {
    format!("{sum}  {name}\n")
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

/// Reads a backup from its beginning to its end. `each` takes the database and the files, and returns their SHA-256.
fn read(
    path: &Path,
    mut each: impl FnMut(&Entry, &mut Reader) -> Result<String, RestoreRefusal>,
) -> Result<Manifest, RestoreRefusal> {
    let file = File::open(path).map_err(RestoreRefusal::Unreadable)?;
    let mut reader = Reader::new(file);
    let (mut digest, mut files, mut file_bytes) = (Context::new(&SHA256), 0, 0_u64);
    let (mut first, mut manifest) = (true, None);
    let manifest: Manifest = loop {
        let entry = reader.next().map_err(RestoreRefusal::of_reading)?;
        let entry = entry.ok_or_else(|| RestoreRefusal::damaged("it ends before its sums"))?;
        let sum = match (entry.name.as_str(), manifest.take()) {
            (SUMS, Some(manifest)) => break manifest,
            (MANIFEST, None) if !first && entry.size <= LARGEST_MANIFEST => {
                let (read, sum) = manifest_of(&mut reader)?;
                manifest = Some(read);
                sum
            }
            (DATABASE, None) if first => each(&entry, &mut reader)?,
            (name, None) if !first && name.starts_with(FILES) => {
                let too_much = || RestoreRefusal::damaged("it says that it has more bytes than there can be");
                file_bytes = file_bytes.checked_add(entry.size).ok_or_else(too_much)?;
                files += 1;
                each(&entry, &mut reader)?
            }
            (name, _) => return Err(RestoreRefusal::damaged(format!("{name} is not where it belongs"))),
        };
        first = false;
        digest.update(line_of(&sum, &entry.name).as_bytes());
    };
    let sums = reader.end().map_err(RestoreRefusal::of_reading)?;
    if sums != hexadecimal::written(digest.finish().as_ref()) {
        return Err(RestoreRefusal::damaged("what is in it is not what its SHA256SUMS say"));
    }
    if reader.next().map_err(RestoreRefusal::of_reading)?.is_some() {
        return Err(RestoreRefusal::damaged("it goes on behind its end"));
    }
    if (manifest.files, manifest.file_bytes) != (files, file_bytes) {
        return Err(RestoreRefusal::damaged("what is in it is not what its manifest says"));
    }
    Ok(manifest)
}

/// What a manifest of any layout says.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The manifest, and its SHA-256.
fn manifest_of(reader: &mut Reader) -> Result<(Manifest, String), RestoreRefusal> {
    let mut text = Vec::new();
    loop {
        let piece = reader.piece().map_err(RestoreRefusal::of_reading)?;
        if piece.is_empty() {
            break;
        }
        text.extend(piece);
    }
    let sum = reader.end().map_err(RestoreRefusal::of_reading)?;
    let unread = |_| RestoreRefusal::damaged("its manifest can't be read");
    let Format { format } = serde_json::from_slice(&text).map_err(unread)?;
    if format != FORMAT {
        return Err(RestoreRefusal::damaged(format!(
            "it is of the layout {format}, which this version does not know"
        )));
    }
    Ok((serde_json::from_slice(&text).map_err(unread)?, sum))
}

/// Reads all of a backup; its database goes to `database`, for its rows to be looked at. Also, which bytes in it are those of
/// their rows.
fn look(parts: &Parts, path: &Path, database: &Path) -> Result<(Inspected, Good), RestoreRefusal> {
    let mut sums: HashMap<Uuid, String> = HashMap::new();
    let manifest = read(path, |entry, reader| {
        if entry.name == DATABASE {
            return extract(reader, database);
        }
        let blob = blob_of(entry)?;
        let sum = reader.end().map_err(RestoreRefusal::of_reading)?;
        match sums.insert(blob, sum.clone()) {
            None => Ok(sum),
            Some(_) => Err(RestoreRefusal::damaged(format!("{} is in it twice", entry.name))),
        }
    })?;
    let source = Source::open(database)?;
    let (mut rows, mut unopened, mut flawed, mut good) = (BTreeMap::new(), 0, 0, Good::new());
    for table in TRAVELS {
        let mut count = 0;
        source.rows(table, &mut |row| {
            count += 1;
            unopened += u64::from(parts.unopened(&row).is_some());
            if let (Some(blob), Some(sha256)) = (row.id("blob"), row.bytes("sha256")) {
                let right = hexadecimal::written(sha256);
                if sums.get(&blob).is_some_and(|sum| *sum == right) {
                    good.insert(blob, right);
                } else {
                    flawed += 1;
                }
            }
            Ok(())
        })?;
        rows.insert(table.name.to_owned(), count);
    }
    if rows != manifest.rows {
        return Err(RestoreRefusal::damaged("its rows are not as many as its manifest says"));
    }
    Ok((Inspected { manifest, flawed, unopened }, good))
}

/// Which of a backup's good bytes are to be brought, and when. What is here already as it must be is left alone.
fn wanted(parts: &Parts, good: &Good, runtime: &Handle) -> Result<Wanted, RestoreRefusal> {
    let (mut wanted, mut differ) = (Wanted::default(), Vec::new());
    for (blob, right) in good {
        match runtime.block_on(sum_of(parts, *blob)) {
            Ok(sum) if sum == *right => {}
            Ok(_) => differ.push(*blob),
            Err(StorageFault::Gone) => {
                wanted.first.insert(*blob);
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    wanted.later = runtime.block_on(parts.files.with_rows(&differ)).map_err(anyhow::Error::from)?;
    wanted.first.extend(differ.into_iter().filter(|blob| !wanted.later.contains(blob)));
    Ok(wanted)
}

/// The SHA-256 of the bytes that are here under this name, in hexadecimal.
async fn sum_of(parts: &Parts, blob: Uuid) -> Result<String, StorageFault> {
    let size = parts.files.size_of(blob).await?.ok_or(StorageFault::Gone)?;
    let (mut pieces, mut sum) = (parts.files.bytes_of(blob, size).await?, Context::new(&SHA256));
    while let Some(piece) = pieces.try_next().await? {
        sum.update(&piece);
    }
    Ok(hexadecimal::written(sum.finish().as_ref()))
}

fn extract(reader: &mut Reader, to: &Path) -> Result<String, RestoreRefusal> {
    let written = |error: io::Error| anyhow::anyhow!("{}: {error}", to.display());
    let mut out = new_file(to).map_err(written)?;
    loop {
        let piece = reader.piece().map_err(RestoreRefusal::of_reading)?;
        if piece.is_empty() {
            break;
        }
        out.write_all(&piece).map_err(written)?;
    }
    reader.end().map_err(RestoreRefusal::of_reading)
}

fn blob_of(entry: &Entry) -> Result<Uuid, RestoreRefusal> {
    let name = entry.name.strip_prefix(FILES);
    let blob = name.and_then(|name| Uuid::try_parse(name).ok().filter(|blob| blob.to_string() == name));
    blob.ok_or_else(|| RestoreRefusal::damaged(format!("{} is none of a backup's", entry.name)))
}

/// Puts those bytes of a backup's files where they belong that are wanted; their names.
fn bring(
    parts: &Parts,
    path: &Path,
    wanted: &HashSet<Uuid>,
    runtime: &Handle,
) -> Result<Vec<Uuid>, RestoreRefusal> {
    let mut brought = Vec::new();
    let read = read(path, |entry, reader| {
        if entry.name == DATABASE {
            return reader.end().map_err(RestoreRefusal::of_reading);
        }
        let blob = blob_of(entry)?;
        if !wanted.contains(&blob) {
            return reader.end().map_err(RestoreRefusal::of_reading);
        }
        let pieces = std::iter::from_fn(|| match reader.piece() {
            Ok(piece) => (!piece.is_empty()).then(|| Ok(bytes::Bytes::from(piece))),
            Err(error) => Some(Err(error)),
        });
        let kept = runtime.block_on(parts.files.bring(Some(blob), futures_util::stream::iter(pieces)))?;
        brought.push(kept.blob);
        reader.end().map_err(RestoreRefusal::of_reading)
    });
    if let Err(refusal) = read {
        runtime.block_on(parts.files.discard_rowless(&brought)).map_err(anyhow::Error::from)?;
        return Err(refusal);
    }
    Ok(brought)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_nothing_else_is_one() {
        let name = name_of(Timestamp::from_seconds(1_767_236_400));
        assert_eq!(name, "gatehouse-20260101T030000Z.tar");
        assert!(is_name(&name));
        for other in [
            "gatehouse-20260101T030000Z.tar.gz",
            "gatehouse-20260101T030000Z.tar.gpg",
            "gatehouse-20260101.tar",
            "gatehouse-20261301T030000Z.tar",
            "gatehouse-.tar",
            "old-gatehouse-20260101T030000Z.tar",
            "gatehouse.db",
        ] {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn exactly_the_newest_are_kept_and_nothing_that_is_no_backup_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let name = |day: u32| format!("gatehouse-202601{day:02}T030000Z.tar");
        for day in 1..=9 {
            fs::write(path(&name(day)), "").unwrap();
        }
        let foreign = ["gatehouse-20250101T030000Z.tar.gpg", "notes.txt", "gatehouse-2025.tar", ".hidden"];
        for other in foreign {
            fs::write(path(other), "").unwrap();
        }
        fs::create_dir(path("gatehouse-20250101T030000Z.tar")).unwrap();
        std::os::unix::fs::symlink(path("notes.txt"), path("gatehouse-20250102T030000Z.tar")).unwrap();

        assert_eq!(keep_newest(folder.path(), 4).unwrap(), 5);
        for day in 1..=9 {
            assert_eq!(path(&name(day)).exists(), day > 5, "{day}");
        }
        for other in
            foreign.into_iter().chain(["gatehouse-20250101T030000Z.tar", "gatehouse-20250102T030000Z.tar"])
        {
            assert!(path(other).symlink_metadata().is_ok(), "{other}");
        }
        assert_eq!(keep_newest(folder.path(), 4).unwrap(), 0);
        assert_eq!(keep_newest(folder.path(), 100).unwrap(), 0);
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_living_one_does_stays() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join(format!("{WORK}{}", Uuid::from_u128(1)));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join(DATABASE), "half").unwrap();
        let foreign = folder.path().join(format!("{WORK}mine"));
        fs::create_dir(&foreign).unwrap();
        let living = Work::begin(folder.path(), Uuid::from_u128(2)).unwrap();
        sweep_work(folder.path()).unwrap();
        assert!(!dead.exists() && foreign.exists() && living.folder.exists());
        let held = living.folder.clone();
        drop(living);
        assert!(!held.exists());
    }
}
