//! Uploads on their way into memory: all of them together take no more than there is room for, however many come and
//! however slowly.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rules::{LATER, PictureRefusal};
use crate::platform::web::Upload;

/// Largest upload, in bytes.
pub(super) const MOST_BYTES: usize = 2 * 1024 * 1024;
/// What uploads that are read or wait for their turn may have together, in units of [`UNIT`]: 64 MiB.
const UNITS: usize = 1024;
/// Bytes that room is taken for at a time.
const UNIT: usize = 64 * 1024;

/// The room for uploads.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// An upload that is in memory, and its place there.
pub(super) struct InMemory {
    pub bytes: Bytes,
    pub place: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(UNITS)))
    }

    /// Reads an upload. Refused as busy as soon as there is no room for what has come of it.
    pub(super) async fn read(&self, upload: Upload) -> Result<InMemory, PictureRefusal> {
        let mut place = self.take(1)?;
        let mut incoming = upload.open().await.map_err(PictureRefusal::Unreadable)?;
        let mut bytes = BytesMut::new();
        while let Some(piece) =
            incoming.piece(bytes.len() as u64).await.map_err(PictureRefusal::Unreadable)?
        {
            let whole = bytes.len() + piece.len();
            if whole > MOST_BYTES {
                return Err(PictureRefusal::TooLarge);
            }
            let (units, taken) = (whole.div_ceil(UNIT), place.num_permits());
            if units > taken {
                // Doubled, as memory grows.
                let grown = units.max(2 * taken).min(MOST_BYTES / UNIT);
                place.merge(self.take(grown - taken)?);
                bytes.reserve(grown * UNIT - bytes.len());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(InMemory { bytes: bytes.freeze(), place })
    }

    fn take(&self, units: usize) -> Result<OwnedSemaphorePermit, PictureRefusal> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(units).map_err(|_| PictureRefusal::Busy(LATER))
    }
}
