//! A file on its way in: written to disk as it comes, its digest made on the way; gone if it is dropped.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use aws_lc_rs::digest::{self, SHA256};
use bytes::Bytes;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::disk::{Disk, for_writing};
use crate::files::kind::LOOKED_AT;

/// Bytes that are handed to the disk at once.
const PORTION: usize = 256 * 1024;

/// A file that came in whole and is on disk, not yet where it belongs. Dropped, it is gone.
#[derive(Debug)]
pub struct Received {
    /// What the client called it, if it did.
    pub name: Option<String>,
    /// The name of its bytes.
    pub blob: Uuid,
    /// How many bytes.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// The first of them.
    pub head: Vec<u8>,
    temp: Temp,
}

impl Received {
    /// Where the bytes are, until they are kept or this is dropped.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.temp.path
    }

    /// Its bytes are elsewhere now.
    pub(super) fn is_placed(&mut self) {
        self.temp.exists = false;
    }
}

/// A file of which more may come. The disk works on one portion while the next comes in.
pub struct Writing {
    disk: Disk,
    blob: Uuid,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    size: u64,
    work: Work,
}

/// What the disk is doing.
enum Work {
    /// Nothing yet: a file that comes in one portion costs one trip.
    NotBegun,
    Busy(JoinHandle<io::Result<Sink>>),
    Lost,
}

/// The file on disk, and what is known of it so far.
struct Sink {
    temp: Temp,
    file: File,
    digest: digest::Context,
    head: Vec<u8>,
}

/// A path that is removed with its owner.
#[derive(Debug)]
struct Temp {
    path: PathBuf,
    exists: bool,
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.exists
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "an unfinished upload could not be removed; it is swept later");
        }
    }
}

impl Writing {
    pub(super) fn new(disk: &Disk, blob: Uuid) -> Self {
        let disk = disk.clone();
        Self { disk, blob, waiting: Vec::new(), waiting_bytes: 0, size: 0, work: Work::NotBegun }
    }

    /// How many bytes came so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes a piece.
    pub async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        self.size += piece.len() as u64;
        self.waiting_bytes += piece.len();
        self.waiting.push(piece);
        if self.waiting_bytes < PORTION {
            return Ok(());
        }
        let sink = self.sink().await?;
        let (portion, path) = (self.take_portion(), self.disk.temp_path(self.blob));
        self.work = Work::Busy(self.disk.hands.begin(move || Sink::at(sink, path)?.take(&portion)).await?);
        Ok(())
    }

    /// It is all there: makes it durable.
    pub async fn finish(mut self, name: Option<String>) -> io::Result<Received> {
        let sink = self.sink().await?;
        let (portion, path) = (self.take_portion(), self.disk.temp_path(self.blob));
        let (blob, size) = (self.blob, self.size);
        let finish = move || {
            let Sink { temp, file, digest, head } = Sink::at(sink, path)?.take(&portion)?;
            file.sync_all()?;
            let mut sha256 = [0; 32];
            sha256.copy_from_slice(digest.finish().as_ref());
            Ok(Received { name, blob, size, sha256, head, temp })
        };
        self.disk.hands.run(finish).await
    }

    fn take_portion(&mut self) -> Vec<Bytes> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// What the disk has made of the portions before; none before the first.
    async fn sink(&mut self) -> io::Result<Option<Sink>> {
        match std::mem::replace(&mut self.work, Work::Lost) {
            Work::NotBegun => Ok(None),
            Work::Busy(work) => work.await.map_err(io::Error::other)?.map(Some),
            Work::Lost => Err(io::Error::other("the upload has failed before")),
        }
    }
}

impl Sink {
    fn at(sink: Option<Self>, path: PathBuf) -> io::Result<Self> {
        if let Some(sink) = sink {
            return Ok(sink);
        }
        let file = for_writing().open(&path)?;
        let temp = Temp { path, exists: true };
        Ok(Self { temp, file, digest: digest::Context::new(&SHA256), head: Vec::new() })
    }

    fn take(mut self, portion: &[Bytes]) -> io::Result<Self> {
        for piece in portion {
            self.file.write_all(piece)?;
            self.digest.update(piece);
            let room = LOOKED_AT.saturating_sub(self.head.len()).min(piece.len());
            self.head.extend_from_slice(&piece[..room]);
        }
        Ok(self)
    }
}
