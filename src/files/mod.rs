//! Files that people upload, and their pictures: rows, and the bytes that belong to them.
//!
//! Bytes come first and go last. An upload is written beside everything, made durable, moved to where it belongs, and
//! only then gets its row, in one transaction that also decides about name and quota; a file is deleted by its row, and
//! its bytes after the commit. So whatever happens in between leaves bytes without a row at worst, never a row without
//! its bytes, and the sweeper takes those away when no upload could still be waiting for its row.

mod api;
mod bring;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kind;
mod name;
mod quota;
mod range;
mod rules;
mod shown;
mod storage;
pub(crate) mod store;
mod sweep;
mod target;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sea_orm::DbErr;
use uuid::Uuid;

use crate::platform::clock::Clock;
use crate::platform::config;
use crate::platform::db::Database;
use crate::platform::ground::Ground;
use crate::platform::random::Random;
use crate::platform::secrets::{Key32, Secrets};
use crate::platform::tasks::Tasks;
use crate::users::Users;

pub use api::{FileApi, description_of, shapes};
pub use bring::{Brought, pieces_of};
pub use kind::is_shown_inline;
pub use name::{FileName, disposition};
pub use range::Content;
pub use rules::{ChangeRefusal, FileRefusal, NewFile, NewPicture, UploadRefusal};
pub use shown::{File, picture_url};
pub use storage::{Bucket, Disk, Pieces, Received, Storage, StorageFault};
pub(crate) use store::file;
pub use sweep::{Quiet, Unquiet};
pub use target::FileTarget;

/// What the operator decides about files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest file, in bytes.
    pub max_bytes: u64,
    /// How much each user may keep, in bytes.
    pub max_user_bytes: u64,
    /// How many files each user may keep.
    pub max_user_files: u64,
    /// Where clients reach the API, without a slash at its end.
    pub api_url: String,
}

/// The feature: what it owns.
#[derive(Clone)]
pub struct Files {
    db: Database,
    clock: Clock,
    random: Random,
    users: Users,
    tasks: Tasks,
    storage: Storage,
    settings: Arc<Settings>,
    cursor_key: Arc<Key32>,
    swept_at: Arc<AtomicI64>,
}

/// The earlier features that files are built on.
pub struct Parts<'a> {
    /// Database, time and chance.
    pub ground: Ground,
    /// Keys from the master secret.
    pub secrets: &'a Secrets,
    /// Whose files they are.
    pub users: Users,
    /// Where what was begun goes on to its end.
    pub tasks: Tasks,
}

impl Files {
    /// Opens the feature on its storage.
    #[must_use]
    pub fn new(parts: Parts<'_>, storage: Storage, settings: Settings) -> Self {
        let Parts { ground: Ground { db, clock, random }, secrets, users, tasks } = parts;
        let cursor_key = Arc::new(secrets.derive("cursor"));
        let swept_at = Arc::new(AtomicI64::new(i64::MIN));
        Self { db, clock, random, users, tasks, storage, settings: Arc::new(settings), cursor_key, swept_at }
    }

    /// What the operator decides about files.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many files there are, pictures among them, and their bytes together. Reads every row: for whoever remembers the
    /// answer.
    pub async fn kept(&self) -> Result<(u64, u64), DbErr> {
        store::kept(self.db.reader()).await
    }

    /// A place on the disk for something large that is on its way. What is left there is swept within hours.
    #[must_use]
    pub fn place_for_a_while(&self) -> std::path::PathBuf {
        self.storage.place_for_a_while(self.random.uuid_v7(self.clock.now()))
    }

    /// How many bytes are kept under a blob's name; none where there is no such blob.
    pub async fn size_of(&self, blob: Uuid) -> Result<Option<u64>, StorageFault> {
        self.storage.size(blob).await
    }

    /// Whether the storage answers, and where it is, in words for an operator.
    pub async fn check(&self) -> Result<String, String> {
        let words = self.storage.words();
        match self.storage.owner().await {
            Ok(_) => Ok(format!("kept in {words}")),
            Err(fault) => Err(format!("{words} can't be used: {fault}")),
        }
    }
}

/// The storage of the settings; the folder is made if there is none.
pub fn open_storage(folder: &Path, settings: &config::Files) -> anyhow::Result<Storage> {
    let disk = Disk::open(folder)?;
    Ok(match &settings.storage {
        None => Storage::Disk(disk),
        Some(address) => Storage::Bucket(Bucket::open(address, settings)?, disk),
    })
}
