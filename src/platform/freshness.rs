//! Which cached views of a user are still true.
//!
//! Every committed change of a user moves that user's generation on, before the change is answered. A cached view
//! remembers the generation from before it was read; if the generation has moved since, the view is out of date.
//! So a ban, a role change or a sign-out made here counts from the very next request. What another instance changes
//! is seen after [`MAX_AGE`] at the latest.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use uuid::Uuid;

/// How long a view may be used without asking the database again.
pub const MAX_AGE: Duration = Duration::from_secs(1);

/// Generations are kept per slot, not per user: two users in one slot only cost each other a reload.
const SLOTS: usize = 4096;

/// The generation of every user.
#[derive(Debug)]
pub struct Freshness {
    generations: Box<[AtomicU64]>,
    everyone: AtomicU64,
    hasher: RandomState,
}

/// The state of knowledge at one moment: taken before reading, kept with what was read.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    generation: u64,
    taken: Instant,
}

impl Default for Freshness {
    fn default() -> Self {
        let generations = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { generations, everyone: AtomicU64::new(0), hasher: RandomState::new() }
    }
}

impl Freshness {
    /// To be taken before reading what will be cached.
    #[must_use]
    pub fn stamp(&self, user: Uuid) -> Stamp {
        Stamp { generation: self.slot(user).load(Ordering::Acquire), taken: Instant::now() }
    }

    /// Whether what was read after `stamp` is still true.
    #[must_use]
    pub fn is_current(&self, user: Uuid, stamp: &Stamp) -> bool {
        self.slot(user).load(Ordering::Acquire) == stamp.generation && stamp.taken.elapsed() < MAX_AGE
    }

    /// Out of date from now on: every cached view of `user`.
    pub fn touch(&self, user: Uuid) {
        self.slot(user).fetch_add(1, Ordering::AcqRel);
        self.everyone.fetch_add(1, Ordering::AcqRel);
    }

    /// The same for several users.
    pub fn touch_all(&self, users: &[Uuid]) {
        for user in users {
            self.touch(*user);
        }
    }

    /// Moves with every change of any user; for what is cached about all of them, such as their number.
    #[must_use]
    pub fn of_everyone(&self) -> u64 {
        self.everyone.load(Ordering::Acquire)
    }

    fn slot(&self, user: Uuid) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(user) % SLOTS as u64).unwrap_or(0);
        &self.generations[hash]
    }
}

/// A bounded cache of one view per user that never shows what is out of date.
#[derive(Clone)]
pub struct FreshCache<V> {
    freshness: Arc<Freshness>,
    views: Cache<Uuid, (Stamp, V)>,
}

impl<V: Clone + Send + Sync + 'static> FreshCache<V> {
    /// Room for `capacity` views.
    #[must_use]
    pub fn new(freshness: Arc<Freshness>, capacity: u64) -> Self {
        let views = Cache::builder().max_capacity(capacity).time_to_live(MAX_AGE * 5).build();
        Self { freshness, views }
    }

    /// The view of `user`, if one is kept and still true.
    #[must_use]
    pub fn get(&self, user: Uuid) -> Option<V> {
        let (stamp, view) = self.views.get(&user)?;
        self.freshness.is_current(user, &stamp).then_some(view)
    }

    /// The view of `user`, read by `load` whether one is kept or not: for who knows that it must have changed.
    pub async fn load<E>(&self, user: Uuid, load: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let stamp = self.freshness.stamp(user);
        let view = load.await?;
        self.views.insert(user, (stamp, view.clone()));
        Ok(view)
    }

    /// The view of `user`, read by `load` if none is kept or it is out of date.
    pub async fn get_or_load<E>(&self, user: Uuid, load: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        if let Some(view) = self.get(user) {
            return Ok(view);
        }
        self.load(user, load).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_read_before_a_change_is_out_of_date_after_it() {
        let freshness = Freshness::default();
        let (ann, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let (of_ann, of_bob) = (freshness.stamp(ann), freshness.stamp(bob));
        freshness.touch(ann);
        assert!(!freshness.is_current(ann, &of_ann));
        assert!(freshness.is_current(ann, &freshness.stamp(ann)));
        assert!(
            freshness.is_current(bob, &of_bob)
                || freshness.slot(ann).as_ptr() == freshness.slot(bob).as_ptr()
        );
    }

    #[tokio::test]
    async fn a_change_during_the_load_is_not_hidden_by_the_loaded_view() {
        let freshness = Arc::new(Freshness::default());
        let cache = FreshCache::new(Arc::clone(&freshness), 8);
        let ann = Uuid::from_u128(1);
        let load = async {
            freshness.touch(ann); // the row was read, then somebody else's change committed
            Ok::<_, ()>("old")
        };
        assert_eq!(cache.get_or_load(ann, load).await, Ok("old"));
        assert_eq!(cache.get(ann), None);
    }
}
