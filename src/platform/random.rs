//! Chance, as a value that tests can repeat.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::{ChaCha20Rng, SysRng};
use rand::{Rng, SeedableRng, TryRng};
use uuid::Uuid;

use super::clock::Timestamp;

/// Where random bytes come from.
#[derive(Clone)]
pub enum Random {
    /// The operating system's generator.
    System,
    /// A repeatable sequence; for tests only.
    Seeded(Arc<Mutex<ChaCha20Rng>>),
}

impl std::fmt::Debug for Random {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::System => "Random::System",
            Self::Seeded(_) => "Random::Seeded",
        })
    }
}

impl Random {
    /// The same bytes for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(ChaCha20Rng::seed_from_u64(seed))))
    }

    /// Fills `target`.
    ///
    /// # Panics
    /// When the system has no randomness to give: without it no secret may be made.
    #[expect(clippy::panic, reason = "stop, don't go on with secrets that are none")]
    pub fn fill(&self, target: &mut [u8]) {
        match self {
            Self::System => SysRng
                .try_fill_bytes(target)
                .unwrap_or_else(|error| panic!("the system's random generator failed: {error}")),
            Self::Seeded(generator) => {
                generator.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(target);
            }
        }
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A UUIDv7 (RFC 9562, 5.7) of the time `now`: sorts by creation.
    #[must_use]
    pub fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let millis = u64::try_from(now.millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.bytes()).into_uuid()
    }
}
