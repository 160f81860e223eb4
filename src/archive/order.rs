//! What is asked of an import, and by whom.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use uuid::Uuid;

use super::outcome::ImportRefusal;
use super::progress::Progress;
use crate::permissions::Action;
use crate::platform::clock::Timestamp;
use crate::sessions::Caller;

/// Bytes of a file that are read at once.
const PIECE: usize = 256 * 1024;

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
    pub(super) fn user(&self) -> Uuid {
        self.caller.user_id
    }
}

/// An import, as it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) how: How,
    pub(super) options: ImportOptions,
    pub(super) progress: Progress,
    /// SHA-256 of the file that was handed in, for the log of what staff did.
    pub(super) sha256: [u8; 32],
    /// Whose second factor a database of S1 could not bring along: those of them who are added are told.
    pub(super) without_factor: Vec<Uuid>,
}

impl Order {
    pub(super) async fn new(
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
