//! Pictures ready to be sent, and those that are kept so.

use std::sync::Arc;

use bytes::Bytes;
use moka::sync::Cache;
use poem::http::HeaderValue;
use uuid::Uuid;

use super::initials::Initials;
use crate::platform::telemetry::metrics::Tally;

/// Memory for generated pictures.
const GENERATED: u64 = 8 * 1024 * 1024;
/// Memory for pictures that people have chosen, whole and scaled down.
const CHOSEN: u64 = 16 * 1024 * 1024;
/// What an entry takes beside its bytes.
const OVERHEAD: usize = 256;

/// A picture with its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The file.
    pub bytes: Bytes,
    /// Names these bytes and no others.
    pub etag: HeaderValue,
    /// `image/png` or `image/jpeg`.
    pub media_type: HeaderValue,
}

/// What has been drawn or read lately. Nothing in it can be out of date: the key says all that the bytes depend on.
pub(super) struct Shelf {
    generated: Cache<(Initials, u16), Arc<Ready>>,
    chosen: Cache<(Uuid, Option<u16>), Arc<Ready>>,
    looks: Tally,
}

impl Shelf {
    pub(super) fn new() -> Self {
        Self { generated: cache(GENERATED), chosen: cache(CHOSEN), looks: Tally::default() }
    }

    pub(super) fn generated(&self, initials: Initials, size: u16) -> Option<Arc<Ready>> {
        let found = self.peek_generated(initials, size);
        self.looks.count(found.is_some());
        found
    }

    pub(super) fn keep_generated(&self, initials: Initials, size: u16, ready: &Arc<Ready>) {
        self.generated.insert((initials, size), Arc::clone(ready));
    }

    /// A chosen picture by where its bytes are, whole or of one size.
    pub(super) fn chosen(&self, blob: Uuid, size: Option<u16>) -> Option<Arc<Ready>> {
        let found = self.peek_chosen(blob, size);
        self.looks.count(found.is_some());
        found
    }

    /// Without counting the look, for who may look again.
    pub(super) fn peek_generated(&self, initials: Initials, size: u16) -> Option<Arc<Ready>> {
        self.generated.get(&(initials, size))
    }

    /// Without counting the look, for who may look again.
    pub(super) fn peek_chosen(&self, blob: Uuid, size: Option<u16>) -> Option<Arc<Ready>> {
        self.chosen.get(&(blob, size))
    }

    /// How often a picture was ready.
    pub(super) const fn looks(&self) -> &Tally {
        &self.looks
    }

    pub(super) fn keep_chosen(&self, blob: Uuid, size: Option<u16>, ready: &Arc<Ready>) {
        self.chosen.insert((blob, size), Arc::clone(ready));
    }
}

fn cache<K: std::hash::Hash + Eq + Send + Sync + 'static>(bytes: u64) -> Cache<K, Arc<Ready>> {
    let weigh = |_: &K, ready: &Arc<Ready>| u32::try_from(ready.bytes.len() + OVERHEAD).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(bytes).weigher(weigh).build()
}
