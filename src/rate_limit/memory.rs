//! Buckets in memory: governor decides, on a store of our own that is bounded and never forgives whom it limits.
//!
//! governor's own stores grow with every key, and can only be told to drop what is long over. Here a full shard drops
//! what is over, then the buckets with the least in them, never one that is refusing somebody. Where there is nothing
//! else, newcomers share one bucket until there is room again: nobody is forgiven, and nobody passes uncounted.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::rate::Rate;
use crate::platform::clock::{Clock, Timestamp};

/// Enough that requests seldom wait for one another, and that making room holds up few.
const SHARDS: usize = 64;
/// Of the buckets of a full shard, how many go so that there is room for a while: one in so many.
const ROOM: usize = 8;

/// Time since it was first asked for, which governor does when it is built; the clock's steps back and ahead don't count.
#[derive(Clone, Debug)]
pub(super) struct Stopwatch {
    clock: Clock,
    begun: Arc<OnceLock<(Instant, Timestamp)>>,
}

impl Stopwatch {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), begun: Arc::default() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        let now = (Instant::now(), self.clock.now());
        let begun = self.begun.get_or_init(|| now);
        match self.clock {
            Clock::System => now.0.saturating_duration_since(begun.0),
            Clock::Manual(_) => now.1.since(begun.1),
        }
    }
}

impl governor::clock::Clock for Stopwatch {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.elapsed().into()
    }
}

/// The buckets of one rate, by key.
pub(super) struct Memory {
    governor: RateLimiter<u64, Cells, Stopwatch, StateInformationMiddleware>,
    cells: Cells,
    keys: RandomState,
}

impl Memory {
    /// None yet, and at most `most` of them in each of 64 shards.
    pub(super) fn new(rate: Rate, most: usize, clock: &Clock) -> Self {
        let watch = Stopwatch::new(clock);
        let cells = Cells(Arc::new(Shards {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            watch: watch.clone(),
            tolerance: nanos(rate.tolerance()),
            most,
        }));
        // A period is a microsecond or more; for none there would be no quota.
        let quota = Quota::with_period(rate.period()).unwrap_or(Quota::per_second(rate.limit()));
        let governor = RateLimiter::new(quota.allow_burst(rate.limit()), cells.clone(), watch);
        Self { governor, cells, keys: RandomState::new() }
    }

    /// The key of a client or network. 64 bits of a keyed hash: two clients that share a key by chance are one in
    /// millions of years, and nobody can choose them.
    pub(super) fn key(&self, ip: IpAddr) -> u64 {
        self.keys.hash_one(ip)
    }

    /// Books one request: how many more would pass now, or how long to wait.
    pub(super) fn count(&self, key: u64) -> Result<u32, Duration> {
        match self.governor.check_key(&key) {
            Ok(state) => Ok(state.remaining_burst_capacity()),
            Err(refused) => Err(refused.wait_time_from(self.governor.clock().now())),
        }
    }

    /// Takes back so much of what was booked.
    pub(super) fn give_back(&self, key: u64, amount: Duration) {
        let mut shard = self.cells.shard(key);
        if let Some(until) = shard.cells.get_mut(&key) {
            *until = until.saturating_sub(nanos(amount));
        }
    }

    /// What is booked ahead of now.
    pub(super) fn level(&self, key: u64) -> Duration {
        let until = self.cells.shard(key).cells.get(&key).copied().unwrap_or_default();
        Duration::from_nanos(until.saturating_sub(self.cells.now()))
    }

    /// Books ahead up to this level, if less is: somebody else has counted, and this is what they found.
    pub(super) fn raise(&self, key: u64, level: Duration) {
        let until = self.cells.now().saturating_add(nanos(level));
        let Ok(()) = self.cells.measure_and_replace(&key, |booked: Option<Nanos>| {
            let booked = booked.map_or(0, Nanos::as_u64);
            Ok::<_, Infallible>(((), booked.max(until).into()))
        });
    }

    /// Drops what is over, and the room it took.
    pub(super) fn sweep(&self) {
        let now = self.cells.now();
        for shard in &self.cells.0.shards {
            let mut shard = held(shard);
            shard.keep(|until| until > now);
            shard.cells.shrink_to_fit();
        }
    }

    /// How many buckets there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.cells.0.shards.iter().map(|shard| held(shard).cells.len()).sum()
    }
}

/// Until when each key is booked, in nanoseconds of the stopwatch.
#[derive(Clone)]
struct Cells(Arc<Shards>);

struct Shards {
    shards: Box<[Mutex<Shard>]>,
    watch: Stopwatch,
    tolerance: u64,
    most: usize,
}

#[derive(Default)]
struct Shard {
    cells: HashMap<u64, u64, BuildHasherDefault<AsItIs>>,
    /// What newcomers share while every bucket here is refusing somebody.
    crowd: Option<u64>,
}

impl Cells {
    fn now(&self) -> u64 {
        nanos(self.0.watch.elapsed())
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        // The map in the shard goes by the lowest and the highest bits.
        let number = usize::try_from(key >> 32).unwrap_or_default() % SHARDS;
        held(&self.0.shards[number])
    }
}

impl StateStore for Cells {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(*key);
        if let Some(until) = shard.cells.get_mut(key) {
            let (outcome, next) = decide(Some((*until).into()))?;
            *until = next.into();
            return Ok(outcome);
        }
        if shard.cells.len() < self.0.most || shard.make_room(self.now(), &self.0) {
            let (outcome, next) = decide(None)?;
            shard.cells.insert(*key, next.into());
            return Ok(outcome);
        }
        let (outcome, next) = decide(shard.crowd.map(Nanos::from))?;
        shard.crowd = Some(next.into());
        Ok(outcome)
    }
}

impl Shard {
    /// Drops what is over; if that is not enough, those with the least in them. Whether there is room now.
    fn make_room(&mut self, now: u64, shards: &Shards) -> bool {
        self.keep(|until| until > now);
        let enough = shards.most - (shards.most / ROOM).max(1);
        if self.cells.len() > enough {
            let limiting = now.saturating_add(shards.tolerance);
            let mut may_go: Vec<u64> =
                self.cells.values().copied().filter(|until| *until <= limiting).collect();
            let mut go = (self.cells.len() - enough).min(may_go.len());
            if let Some(last) = go.checked_sub(1) {
                let (_, least, _) = may_go.select_nth_unstable(last);
                let least = *least;
                self.keep(|until| {
                    let goes = go > 0 && until <= least;
                    go -= usize::from(goes);
                    !goes
                });
            }
        }
        self.cells.len() < shards.most
    }

    /// Keeps those of which this is true, in a new table: one with gaps of removed entries would grow.
    fn keep(&mut self, mut is_kept: impl FnMut(u64) -> bool) {
        let old = std::mem::take(&mut self.cells);
        self.cells.reserve(old.len());
        self.cells.extend(old.into_iter().filter(|(_, until)| is_kept(*until)));
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

fn held(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
