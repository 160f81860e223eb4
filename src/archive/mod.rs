//! Moves of data: everything into a file, and back out of one, whichever database it was and is.
//!
//! What travels stands in `tables.rs`, with what does not and why. An export reads one consistent view of the database
//! ([`Snapshot`](crate::platform::db::Snapshot)), table by table in the order of their keys, into a SQLite file that is a Gatehouse
//! database itself. An import trusts nothing of a file: its schema must be exactly one that the migrations make, it is
//! read under limits, each row must pass the rules of its feature ([`check`](self)), all of it before the first change; then
//! one transaction changes everything or nothing.

mod api;
mod backup;
mod batch;
mod before;
mod blank;
mod check;
mod export;
mod file;
mod import;
mod letters;
mod merge;
mod person;
mod progress;
mod reading;
mod row;
mod s1;
mod schedule;
mod tables;
mod unfinished;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

pub use api::ArchiveApi;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use backup::fuzzing;
pub use backup::{BackupFault, Inspected, Made, Manifest, RestoreRefusal, Restored};
pub use progress::Progress;
pub use reading::canonical_dump;
pub use row::{Cell, Flaw, Row};
pub use schedule::{Plan, Schedule};
pub use tables::{Column, Kind, Part, STAYS, TRAVELS, Table};

use before::Before;
use file::GatehouseFile;
use import::Import;

use crate::audit::{Audit, Entry, Subject};
use crate::files::{Files, Quiet, Received, Unquiet, UploadRefusal};
use crate::mail::Mail;
use crate::oauth::Oauth;
use crate::otp::Otp;
use crate::permissions::{self, Action, Gate, forbidden};
use crate::pictures::Pictures;
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::db::Database;
use crate::platform::problem::{Failure, Problem};
use crate::platform::random::Random;
use crate::platform::tasks::Tasks;
use crate::platform::web::Upload;
use crate::sessions::{Caller, Sessions};
use crate::users::{self, Users};

/// Exports that are written at once: each holds a connection.
const EXPORTS: usize = 2;
/// How long an import waits for the one before it.
const TURN: Duration = Duration::from_secs(10);
/// Bytes of a file that are read at once.
const PIECE: usize = 256 * 1024;

/// The feature: what it owns.
#[derive(Clone)]
pub struct Archive {
    parts: Arc<Parts>,
    exports: Arc<Semaphore>,
    imports: Arc<Semaphore>,
}

/// The earlier features that moves are built on.
pub struct Parts {
    /// The database.
    pub db: Database,
    /// What staff did.
    pub audit: Audit,
    /// Whose sessions end, and who asks.
    pub sessions: Arc<Sessions>,
    /// Who may do what.
    pub gate: Arc<Gate>,
    /// What goes on when nobody waits for it any more.
    pub tasks: Tasks,
    /// Who is told of changes.
    pub users: Users,
    /// What bytes there are.
    pub files: Files,
    /// What makes pictures that may be shown.
    pub pictures: Pictures,
    /// Who is told of what did not come along.
    pub mail: Mail,
    /// What opens second factors.
    pub otp: Otp,
    /// What opens what other providers gave us.
    pub oauth: Oauth,
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Where what was there before an import is kept.
    pub data_dir: PathBuf,
    /// Largest file that is taken over HTTP, in bytes.
    pub most_bytes: u64,
}

/// What an import does with rows that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Adds rows that are missing, fills what is empty, overwrites nothing.
    Import,
    /// Adds rows that are missing, overwrites what differs.
    Recover,
}

/// What whoever imports has decided.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Leaves out what no known secret opens, instead of refusing the file: second factors, whose owners then have none,
    /// and what other providers gave us.
    pub drop_second_factors: bool,
    /// Takes the log of what staff did along into a database that has none: what a backup is restored with.
    pub audit_log: bool,
    /// The folder that the files of a database of S1 lie in; without it they are left out.
    pub files_root: Option<PathBuf>,
    /// Who asks for it: their own account can't be changed by it, nor may it give anybody what they don't have.
    /// None: the operator, at the command line.
    pub by: Option<Mover>,
}

/// Who asks for an import over HTTP. A body may take its time, and so may those before it: they are asked about again
/// when it is there, and once more when nobody can change accounts any more.
#[derive(Clone, Debug)]
pub struct Mover {
    /// Who.
    pub caller: Caller,
    /// What they must be allowed to do.
    pub action: Action,
    /// When all of the file had arrived. Their proof of who they are must be fresh then: not when they began, which is up
    /// to them, nor when it is their turn, which is not.
    pub arrived: Timestamp,
}

impl Mover {
    fn user(&self) -> Uuid {
        self.caller.user_id
    }
}

/// An import, as it was asked for.
#[derive(Clone, Debug)]
struct Order {
    how: How,
    options: ImportOptions,
    progress: Progress,
    /// SHA-256 of the file that was handed in, for the log of what staff did.
    sha256: [u8; 32],
    /// Whose second factor a database of S1 could not bring along: those of them who are added are told.
    without_factor: Vec<Uuid>,
}

impl Order {
    async fn new(
        path: &Path,
        how: How,
        options: &ImportOptions,
        progress: &Progress,
    ) -> Result<Self, ImportRefusal> {
        let file = path.to_owned();
        let sha256 = tokio::task::spawn_blocking(move || digest_of(&file)).await;
        let sha256 = sha256.map_err(anyhow::Error::from)??;
        let (options, progress) = (options.clone(), progress.clone());
        Ok(Self { how, options, progress, sha256, without_factor: Vec::new() })
    }
}

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Rows of each table.
    pub rows: BTreeMap<&'static str, u64>,
    /// SHA-256 of the canonical dump of these rows: the same for the same rows, whichever database they stand in.
    pub digest: [u8; 32],
}

/// What an import did, table by table.
pub type Counts = BTreeMap<&'static str, TableCounts>;

/// What an import did to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Rows that were not there.
    pub added: u64,
    /// Rows in which something empty was filled.
    pub filled: u64,
    /// Rows in which something was overwritten.
    pub overwritten: u64,
    /// Rows that were there and stayed as they were.
    pub equal: u64,
    /// Rows that were not taken.
    pub left_out: u64,
    /// Why rows were not taken: a line for each of the first.
    pub notes: Vec<String>,
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// The file can't be written.
    #[error("the file can't be written: {0}")]
    Unwritable(String),
}

/// Why an import changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefusal {
    /// It is no database of Gatehouse, or not one that can be trusted.
    #[error("the file was refused: {0}")]
    Foreign(String),
    /// It was made by a program that knows more than this one.
    #[error("the file was made by a newer Gatehouse: it has the step {0}")]
    Newer(String),
    /// It is damaged.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Reading it takes longer than any file of its size needs.
    #[error("the file was given up: reading it takes too long")]
    Slow,
    /// A row is not as it must be, or can't be taken.
    #[error("{table}, row {row}: {}: {}", .flaw.column, .flaw.words)]
    Row {
        /// The table.
        table: &'static str,
        /// What names the row.
        row: String,
        /// What is wrong.
        flaw: Flaw,
    },
    /// There would be no admin left.
    #[error("afterwards there would be no admin who can sign in")]
    LastAdmin,
    /// Whoever asks for it may not do so any more.
    #[error("whoever asked for it may not do so any more: {0}")]
    NoLonger(Box<Problem>),
    /// Another file is being read in, and that takes its time.
    #[error("another file is being read in")]
    Busy,
    /// Files are swept, and rows must not come meanwhile.
    #[error(transparent)]
    Sweeping(Unquiet),
    /// Something broke.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

impl From<Unquiet> for ImportRefusal {
    fn from(unquiet: Unquiet) -> Self {
        match unquiet {
            Unquiet::Busy => Self::Sweeping(unquiet),
            Unquiet::Database(error) => error.into(),
        }
    }
}

impl From<DbErr> for ImportRefusal {
    fn from(error: DbErr) -> Self {
        Self::Broken(error.into())
    }
}

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
        let name = format!(".{}.part", self.parts.random.uuid_v7(self.parts.clock.now()));
        let _turn = self.exports.acquire().await;
        let (temp, exported) = export::export(&self.parts.db, path.with_file_name(name), progress).await?;
        temp.becomes(path)?;
        Ok(exported)
    }

    /// The same into a file that has no name any more: it is gone once it is closed.
    async fn export_for_a_while(&self) -> Result<(tokio::fs::File, Exported), ArchiveFault> {
        let _turn = self.exports.acquire().await;
        let place = self.parts.files.place_for_a_while();
        let (temp, exported) = export::export(&self.parts.db, place, &Progress::Silent).await?;
        Ok((tokio::fs::File::open(temp.path()).await?, exported))
    }

    /// Notes in the log of what staff did that everything was taken out.
    pub async fn note_export(&self, by: Option<Uuid>, exported: &Exported) -> Result<(), DbErr> {
        let rows: u64 = exported.rows.values().sum();
        self.parts.audit.record_alone(entry(by, "database_exported").with("rows", rows)).await
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Reads an upload, which is gone when it is dropped.
    async fn receive(&self, upload: Upload) -> Result<Received, Failure<UploadRefusal>> {
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
            self.parts.may_go_on(self.parts.db.reader(), by).await?;
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
    async fn import_in_quiet(
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
    async fn import_gatehouse(
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
        let done = self.parts.db.write_at_leisure(move |tx| import.run(tx, pieces).boxed()).await;
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
        if !users::store::is_any(self.parts.db.reader()).await? {
            return Ok(None);
        }
        let before = Before::new(self.parts.data_dir.clone());
        self.export_to(&before.place(), progress).await.map_err(anyhow::Error::from)?;
        Ok(Some(before))
    }
}

/// What stands in the log of what staff did.
fn entry(by: Option<Uuid>, action: &'static str) -> Entry {
    let operator = || Entry::by_operator(action, Subject::Database);
    by.map_or_else(operator, |by| Entry::by(by, action, Subject::Database))
}

/// The SHA-256 of a file.
fn digest_of(path: &Path) -> Result<[u8; 32], ImportRefusal> {
    let read = || -> io::Result<[u8; 32]> {
        let (mut file, mut piece) = (File::open(path)?, vec![0; PIECE]);
        let mut sum = digest::Context::new(&digest::SHA256);
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => sum.update(&piece[..read]),
            }
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(sum.finish().as_ref());
        Ok(sha256)
    };
    read().map_err(|error| ImportRefusal::Foreign(format!("it can't be read: {error}")))
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

/// Whether a known secret opens what is sealed for this id.
type Opens = fn(&Parts, Uuid, &[u8]) -> bool;

impl Parts {
    /// Who asks, as they are now. Refused as a new request of theirs would be.
    async fn may_go_on(&self, db: &impl ConnectionTrait, by: &Mover) -> Result<Caller, ImportRefusal> {
        let again = self.sessions.again(db, &by.caller).await?;
        let caller = again.and_then(|caller| {
            let subject = permissions::Subject::from(&caller);
            if !self.gate.allows_on_system(&subject, by.action) {
                return Err(forbidden());
            }
            caller.require_proof(by.arrived)?;
            Ok(caller)
        });
        caller.map_err(|problem| ImportRefusal::NoLonger(Box::new(problem)))
    }

    /// The column of a row that is sealed in a way that no known secret opens.
    fn unopened(&self, row: &Row) -> Option<&'static str> {
        let (column, opens): (_, Opens) = match row.table.name {
            "second_factors" => ("sealed_seed", |parts, user, sealed| parts.otp.opens(user, sealed)),
            "external_accounts" => {
                ("sealed_grant", |parts, account, sealed| parts.oauth.opens(account, sealed))
            }
            _ => return None,
        };
        let (Some(Cell::Id(id)), Some(sealed)) = (row.key().first(), row.bytes(column)) else { return None };
        (!opens(self, *id, sealed)).then_some(column)
    }
}
