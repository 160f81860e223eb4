//! Bytes that come and go with a whole database: backups carry them, imports bring them before their rows.

use std::collections::HashSet;
use std::io;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use sea_orm::DbErr;
use tokio::io::{AsyncRead, AsyncReadExt};
use uuid::Uuid;

use super::name::FileName;
use super::storage::{Pieces, StorageFault};
use super::{Files, kind, store};

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;
/// Names that are looked for at once.
pub(super) const PORTION: usize = 500;

/// Bytes that are where they belong, and have no row yet.
#[derive(Debug)]
pub struct Brought {
    /// Their name.
    pub blob: Uuid,
    /// How many they are.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    head: Vec<u8>,
}

impl Brought {
    /// What they are, in a file of this name.
    #[must_use]
    pub fn media_type(&self, name: &FileName) -> &'static str {
        kind::of(&self.head, self.size <= self.head.len() as u64, name.ending().as_deref())
    }
}

impl Files {
    /// Puts bytes where they belong, under this name or a new one. Without a row they are swept a day after the time that
    /// their name tells.
    pub async fn bring(
        &self,
        blob: Option<Uuid>,
        mut pieces: impl Stream<Item = io::Result<Bytes>> + Unpin + Send,
    ) -> Result<Brought, StorageFault> {
        if let Some(again) = blob {
            // What was broken off must not be in the way of another try.
            self.storage.give_up(again).await?;
        }
        let mut writing = self.storage.receive(blob.unwrap_or_else(|| self.new_blob()));
        while let Some(piece) = pieces.try_next().await? {
            writing.write(piece).await?;
        }
        let mut received = writing.finish(None).await?;
        self.storage.place(&mut received).await?;
        let (blob, size, sha256) = (received.blob, received.size, received.sha256);
        Ok(Brought { blob, size, sha256, head: std::mem::take(&mut received.head) })
    }

    /// The bytes of this name, of which there are `size`.
    pub async fn bytes_of(&self, blob: Uuid, size: u64) -> Result<Pieces, StorageFault> {
        self.storage.read(blob, 0..size).await
    }

    /// The bytes of this owner's file of this name, if they are the same ones.
    pub async fn known(&self, owner: Uuid, name: &str, sha256: [u8; 32]) -> Result<Option<Uuid>, DbErr> {
        store::known(self.db.reader(), owner, name, sha256.to_vec()).await
    }

    /// Which of these bytes have a row.
    pub async fn with_rows(&self, blobs: &[Uuid]) -> Result<HashSet<Uuid>, DbErr> {
        let mut found = HashSet::new();
        for some in blobs.chunks(PORTION) {
            found.extend(store::with_blobs(self.db.reader(), some).await?);
        }
        Ok(found)
    }

    /// Removes those of these bytes that have no row.
    pub async fn discard_rowless(&self, blobs: &[Uuid]) -> Result<(), DbErr> {
        for some in blobs.chunks(PORTION) {
            self.discard(self.without_rows(some).await?).await;
        }
        Ok(())
    }
}

/// What can be read, piece by piece.
pub fn pieces_of<R: AsyncRead + Unpin + Send>(reader: R) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::try_unfold(reader, |mut reader| async move {
        let mut piece = bytes::BytesMut::with_capacity(PIECE);
        let read = reader.read_buf(&mut piece).await?;
        Ok((read > 0).then(|| (piece.freeze(), reader)))
    })
}
