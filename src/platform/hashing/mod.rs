//! Slow hashes of secrets: argon2id (RFC 9106), on threads of its own.
//!
//! A hash costs milliseconds of a core and megabytes of memory, so a storm of sign-ins must neither starve other
//! requests nor grow without bound. `threads` holds the queue that sees to this, `phc` the arithmetic and the
//! text form. This module knows bytes; that they are passwords, and which are good ones, is known elsewhere.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod limits;
mod memory;
mod phc;
mod threads;

use zeroize::Zeroizing;

pub use limits::{Busy, Load};
pub use phc::{InvalidCost, PhcString, is_usable};

use limits::Limits;
use phc::{Cost, verify};
use threads::HashThreads;

use super::random::Random;
use super::telemetry::metrics::{Family, Measure, Sample, number, size};
use super::telemetry::spans::within;

/// What a hash costs, and how many are made at a time. Memory is bounded by `threads` × `memory_kib`.
#[derive(Clone, Copy, Debug)]
pub struct HashSettings {
    /// Memory of one hash, in KiB; at least 8 for each lane.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes of the memory. They are filled one after another: the cores are busy with other hashes.
    pub lanes: u32,
    /// Hashes made at a time; at least one.
    pub threads: usize,
}

/// What a comparison of a secret with a stored hash found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is another secret, or there is no hash to compare with.
    Wrong,
    /// It is the secret.
    Right,
    /// It is the secret, but its hash is not of the configured kind and cost: hash it anew, or the account keeps a
    /// timing of its own.
    RightButOld,
}

/// Makes and compares slow hashes. Dropping it ends its threads, each after the hash that it is at.
#[derive(Debug)]
pub struct Hasher {
    cost: Cost,
    random: Random,
    threads: HashThreads,
}

impl Hasher {
    /// Starts the threads. Fails on a cost that argon2 does not know, or when the system gives no threads.
    pub fn start(settings: HashSettings, random: Random) -> anyhow::Result<Self> {
        let cost = Cost::new(settings.memory_kib, settings.iterations, settings.lanes)?;
        let threads = HashThreads::start(settings.threads.max(1), cost.blocks(), Limits::default())?;
        Ok(Self { cost, random, threads })
    }

    /// The hash of `secret` under a new salt. [`Busy`] when its turn would not come soon enough; dropping the
    /// future takes the work back.
    pub async fn hash(&self, secret: &[u8]) -> Result<PhcString, Busy> {
        let (secret, cost) = (Zeroizing::new(secret.to_vec()), self.cost.clone());
        let salt = self.random.bytes();
        let work = self.threads.run(move |memory| PhcString::of(&secret, salt, &cost, memory));
        within("hash a password", &[], work).await?
    }

    /// Compares `secret` with a stored hash: argon2id, or bcrypt of an import, which looks at 72 bytes only.
    ///
    /// Without a hash that can be compared with — no such user, no password, S1's `ThirdPartyOnlyAcc`, a cost beyond
    /// reason — a hash of the configured cost is made all the same, so that time tells nobody.
    pub async fn verify(&self, secret: &[u8], stored: Option<&str>) -> Result<Verdict, Busy> {
        let (secret, cost) = (Zeroizing::new(secret.to_vec()), self.cost.clone());
        let stored = stored.map(str::to_owned);
        let work = self.threads.run(move |memory| verify(&secret, stored.as_deref(), &cost, memory));
        within("verify a password", &[], work).await?
    }

    /// Whether there is room for a hash now; for refusing before anything else is done for it.
    pub fn room(&self) -> Result<(), Busy> {
        self.threads.room()
    }

    /// What the threads do now, and did since they started.
    #[must_use]
    pub fn load(&self) -> Load {
        self.threads.load()
    }

    /// As measurements.
    #[must_use]
    pub fn measures(&self) -> Vec<Family> {
        let load = self.load();
        let given_up = |reason, count| Sample::labelled([("reason", reason)], number(count));
        let took = Sample { labels: Vec::new(), measure: Measure::Spread(self.threads.took()) };
        vec![
            Family::gauge(
                "gatehouse_hashes_waiting",
                "Password hashes that wait for a thread.",
                vec![Sample::plain(size(load.waiting))],
            ),
            Family::gauge(
                "gatehouse_hashes_running",
                "Password hashes that are being made.",
                vec![Sample::plain(size(load.running))],
            ),
            Family::counter(
                "gatehouse_hashes_given_up_total",
                "Password hashes that were not made: refused at once, expired in the queue, or taken back by their callers.",
                vec![
                    given_up("refused", load.refused),
                    given_up("expired", load.expired),
                    given_up("withdrawn", load.withdrawn),
                ],
            ),
            Family::histogram(
                "gatehouse_hash_duration_seconds",
                "Making a password hash, in seconds.",
                vec![took],
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: HashSettings = HashSettings { memory_kib: 64, iterations: 1, lanes: 1, threads: 2 };

    fn hasher(settings: HashSettings) -> Hasher {
        Hasher::start(settings, Random::seeded(1)).unwrap()
    }

    #[tokio::test]
    async fn a_secret_of_any_length_is_known_again_to_its_last_byte() {
        let hasher = hasher(CHEAP);
        for length in [0, 1, 7, 64, 72, 73, 127, 128, 129, 1024, 4096] {
            let secret = vec![b'x'; length];
            let stored = hasher.hash(&secret).await.unwrap();
            assert_eq!(hasher.verify(&secret, Some(stored.as_str())).await, Ok(Verdict::Right), "{length}");

            let mut other = secret.clone();
            other.push(b'x');
            assert_eq!(
                hasher.verify(&other, Some(stored.as_str())).await,
                Ok(Verdict::Wrong),
                "{length} + 1"
            );
            if let Some(last) = other.get_mut(length.saturating_sub(1)) {
                *last = b'y';
            }
            let other = &other[..length.max(1)];
            assert_eq!(
                hasher.verify(other, Some(stored.as_str())).await,
                Ok(Verdict::Wrong),
                "{length}, changed"
            );
        }
    }

    #[tokio::test]
    async fn a_nul_does_not_end_the_secret() {
        let hasher = hasher(CHEAP);
        let stored = hasher.hash(b"one\0two").await.unwrap();
        assert_eq!(hasher.verify(b"one\0three", Some(stored.as_str())).await, Ok(Verdict::Wrong));
    }

    #[tokio::test]
    async fn the_same_secret_never_has_the_same_hash() {
        let hasher = hasher(CHEAP);
        assert_ne!(
            hasher.hash(b"secret").await.unwrap().as_str(),
            hasher.hash(b"secret").await.unwrap().as_str()
        );
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_to_be_made_anew() {
        let (weaker, dearer) = (hasher(CHEAP), hasher(HashSettings { iterations: 2, ..CHEAP }));
        let stored = weaker.hash(b"secret").await.unwrap();
        assert_eq!(dearer.verify(b"secret", Some(stored.as_str())).await, Ok(Verdict::RightButOld));
        let stored = dearer.hash(b"secret").await.unwrap();
        assert_eq!(dearer.verify(b"secret", Some(stored.as_str())).await, Ok(Verdict::Right));
        assert_eq!(weaker.verify(b"secret", Some(stored.as_str())).await, Ok(Verdict::RightButOld));
    }

    #[tokio::test]
    async fn parallel_work_is_done_by_the_threads_there_are_and_all_of_it() {
        let hasher = hasher(CHEAP);
        let all = (0..48_u8).map(|n| {
            let hasher = &hasher;
            async move {
                let stored = hasher.hash(&[n]).await?;
                hasher.verify(&[n], Some(stored.as_str())).await
            }
        });
        let verdicts = futures_util::future::join_all(all).await;
        assert!(verdicts.into_iter().all(|verdict| verdict == Ok(Verdict::Right)));
        let load = hasher.load();
        assert_eq!((load.waiting, load.refused, load.expired, load.withdrawn), (0, 0, 0, 0));
        assert!(load.most_running <= 2);
    }

    #[test]
    fn a_cost_that_argon2_does_not_know_is_refused_at_the_start() {
        for (memory_kib, iterations, lanes) in
            [(7, 1, 1), (64, 0, 1), (64, 1, 0), (64, 1, 9), (2 << 20, 1, 1)]
        {
            let settings = HashSettings { memory_kib, iterations, lanes, threads: 1 };
            assert!(Hasher::start(settings, Random::seeded(1)).is_err(), "{settings:?}");
        }
    }
}
