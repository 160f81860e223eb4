//! Chance, as a value that tests can repeat.

use std::sync::atomic::{AtomicU64, Ordering};
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

/// The lowest of all `UUIDv7` of this moment: ids of before are below it, others are not.
#[must_use]
pub fn first_uuid_v7(moment: Timestamp) -> Uuid {
    let millis = u128::try_from(moment.millis()).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}

/// Numbers that differ from one another and look like chance: for what must be unique and is no secret. No system call is
/// spent on them.
#[derive(Debug)]
pub struct UniqueNumbers(AtomicU64);

impl UniqueNumbers {
    /// Numbers that start anywhere.
    #[must_use]
    pub fn new(random: &Random) -> Self {
        Self(AtomicU64::new(u64::from_le_bytes(random.bytes())))
    }

    /// Another one (`SplitMix64`). What mixes the count is one to one, so that no two counts give the same.
    #[must_use]
    pub fn draw(&self) -> u64 {
        let count = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let bits = (count ^ (count >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// Ids (`UUIDv7`) that sort by the order in which they were asked for, also within a millisecond (RFC 9562, 6.2, method 1).
#[derive(Debug, Default)]
pub struct OrderedIds {
    /// Milliseconds of the last id, and behind them its place among those of that millisecond, in twelve bits.
    last: AtomicU64,
}

impl OrderedIds {
    /// The next id. When there are more than 4096 in a millisecond, or the clock steps back, it runs ahead of the clock.
    #[must_use]
    pub fn next(&self, random: &Random, now: Timestamp) -> Uuid {
        let floor = u64::try_from(now.millis()).unwrap_or(0) << 12;
        let after = |last: u64| Some(floor.max(last + 1));
        let last =
            self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).unwrap_or_else(|last| last);
        let place = floor.max(last + 1);
        let mut bytes: [u8; 10] = random.bytes();
        let within = (place & 0xfff).to_be_bytes();
        [bytes[0], bytes[1]] = [within[6], within[7]];
        uuid::Builder::from_unix_timestamp_millis(place >> 12, &bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_of_asking_whatever_the_clock_does() {
        let (ids, random) = (OrderedIds::default(), Random::seeded(1));
        let times = (0..10_000).map(|_| 1_000_000).chain([999_999, 2_000_000]);
        let made: Vec<Uuid> = times.map(|millis| ids.next(&random, Timestamp::from_millis(millis))).collect();
        assert!(made.windows(2).all(|two| two[0] < two[1]));
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn ids_of_before_a_moment_are_below_its_first_and_others_are_not() {
        let (random, moment) = (Random::seeded(2), Timestamp::from_millis(1_700_000_000_123));
        let before = Timestamp::from_millis(moment.millis() - 1);
        assert!(random.uuid_v7(before) < first_uuid_v7(moment));
        assert!(first_uuid_v7(moment) < random.uuid_v7(moment));
        assert_eq!(first_uuid_v7(Timestamp::from_millis(-1)), Uuid::nil());
    }
}
