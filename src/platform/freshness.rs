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

use super::telemetry::metrics::Tally;

/// How long a view may be used without asking the database again.
pub const MAX_AGE: Duration = Duration::from_secs(1);

/// Generations are kept per slot, not per user: two users in one slot only cost each other a reload.
const SLOTS: usize = 4096;

/// What a view shows of a user. A change of the profile alone leaves the standing as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Anything.
    Profile,
    /// What decides about tokens: roles, whether the account may be used, its sessions.
    Standing,
}

/// The generation of every user.
#[derive(Debug)]
pub struct Freshness {
    profiles: Box<[AtomicU64]>,
    standings: Box<[AtomicU64]>,
    everyone: AtomicU64,
    hasher: RandomState,
}

/// The state of knowledge at one moment: taken before reading, kept with what was read.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    generation: u64,
    taken: Instant,
}

impl Stamp {
    /// What is known after one's own change of what was read, and nobody else's: whoever came between has moved the
    /// generation further than that.
    #[must_use]
    const fn after_own_change(self) -> Self {
        Self { generation: self.generation + 1, taken: self.taken }
    }
}

impl Default for Freshness {
    fn default() -> Self {
        let generations = || (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self {
            profiles: generations(),
            standings: generations(),
            everyone: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Freshness {
    /// To be taken before reading what will be cached.
    #[must_use]
    pub fn stamp(&self, view: View, user: Uuid) -> Stamp {
        Stamp { generation: self.slot(view, user).load(Ordering::Acquire), taken: Instant::now() }
    }

    /// Whether what was read after `stamp` is still true.
    #[must_use]
    pub fn is_current(&self, view: View, user: Uuid, stamp: &Stamp) -> bool {
        self.slot(view, user).load(Ordering::Acquire) == stamp.generation && stamp.taken.elapsed() < MAX_AGE
    }

    /// Out of date from now on: every cached view of `user`.
    pub fn touch(&self, user: Uuid) {
        self.slot(View::Standing, user).fetch_add(1, Ordering::AcqRel);
        self.touch_profile(user);
    }

    /// Out of date from now on: every cached view of `user` but their standing.
    pub fn touch_profile(&self, user: Uuid) {
        self.slot(View::Profile, user).fetch_add(1, Ordering::AcqRel);
        self.everyone.fetch_add(1, Ordering::AcqRel);
    }

    /// The same for several users: for each, all views or only those of the profile.
    pub fn touch_all(&self, touched: &[(View, Uuid)]) {
        for (view, user) in touched {
            match view {
                View::Standing => self.touch(*user),
                View::Profile => self.touch_profile(*user),
            }
        }
    }

    /// Moves with every change of any user; for what is cached about all of them, such as their number.
    #[must_use]
    pub fn of_everyone(&self) -> u64 {
        self.everyone.load(Ordering::Acquire)
    }

    fn slot(&self, view: View, user: Uuid) -> &AtomicU64 {
        let hash = usize::try_from(self.hasher.hash_one(user) % SLOTS as u64).unwrap_or(0);
        match view {
            View::Profile => &self.profiles[hash],
            View::Standing => &self.standings[hash],
        }
    }
}

/// A bounded cache of one view per user that never shows what is out of date.
#[derive(Clone)]
pub struct FreshCache<V> {
    view: View,
    freshness: Arc<Freshness>,
    views: Cache<Uuid, (Stamp, V)>,
    looks: Arc<Tally>,
}

impl<V: Clone + Send + Sync + 'static> FreshCache<V> {
    /// Room for `capacity` views.
    #[must_use]
    pub fn new(view: View, freshness: Arc<Freshness>, capacity: u64) -> Self {
        let views = Cache::builder().max_capacity(capacity).time_to_live(MAX_AGE * 5).build();
        Self { view, freshness, views, looks: Arc::default() }
    }

    /// How often a view was there.
    #[must_use]
    pub const fn looks(&self) -> &Arc<Tally> {
        &self.looks
    }

    /// The view of `user`, if one is kept and still true.
    #[must_use]
    pub fn get(&self, user: Uuid) -> Option<V> {
        self.get_stamped(user).map(|(_, view)| view)
    }

    /// The same with its stamp, for who is about to change it.
    #[must_use]
    pub fn get_stamped(&self, user: Uuid) -> Option<(Stamp, V)> {
        let found = self.kept(user);
        self.looks.count(found.is_some());
        found
    }

    /// The view of `user` like [`Self::get`], but the look is not counted: for who may look again.
    #[must_use]
    pub fn peek(&self, user: Uuid) -> Option<V> {
        self.kept(user).map(|(_, view)| view)
    }

    fn kept(&self, user: Uuid) -> Option<(Stamp, V)> {
        self.views.get(&user).filter(|(stamp, _)| self.freshness.is_current(self.view, user, stamp))
    }

    /// Keeps what one committed change, which touched `user` once, has made of a view that was true at `before`.
    pub fn keep_changed(&self, user: Uuid, before: Stamp, view: V) {
        self.views.insert(user, (before.after_own_change(), view));
    }

    /// The view of `user`, read by `load` whether one is kept or not: for who knows that it must have changed.
    pub async fn load<E>(&self, user: Uuid, load: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let stamp = self.freshness.stamp(self.view, user);
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
        for view in [View::Profile, View::Standing] {
            let (of_ann, of_bob) = (freshness.stamp(view, ann), freshness.stamp(view, bob));
            freshness.touch(ann);
            assert!(!freshness.is_current(view, ann, &of_ann));
            assert!(freshness.is_current(view, ann, &freshness.stamp(view, ann)));
            assert!(
                freshness.is_current(view, bob, &of_bob)
                    || freshness.slot(view, ann).as_ptr() == freshness.slot(view, bob).as_ptr()
            );
        }
    }

    #[test]
    fn a_change_of_the_profile_alone_leaves_the_standing() {
        let (freshness, ann) = (Freshness::default(), Uuid::from_u128(1));
        let [profile, standing] = [View::Profile, View::Standing].map(|view| freshness.stamp(view, ann));
        let everyone = freshness.of_everyone();
        freshness.touch_profile(ann);
        assert!(!freshness.is_current(View::Profile, ann, &profile));
        assert!(freshness.is_current(View::Standing, ann, &standing));
        assert_ne!(freshness.of_everyone(), everyone);
    }

    #[tokio::test]
    async fn what_ones_own_change_made_of_a_view_is_true_unless_somebody_else_changed_it_too() {
        let freshness = Arc::new(Freshness::default());
        let cache = FreshCache::new(View::Profile, Arc::clone(&freshness), 8);
        let ann = Uuid::from_u128(1);
        for others in 0..2 {
            cache.load(ann, async { Ok::<_, ()>("old") }).await.unwrap();
            let (before, _) = cache.get_stamped(ann).unwrap();
            (0..others).for_each(|_| freshness.touch(ann));
            freshness.touch_profile(ann); // our own commit
            cache.keep_changed(ann, before, "new");
            assert_eq!(cache.get(ann), (others == 0).then_some("new"));
        }
        cache.load(ann, async { Ok::<_, ()>("old") }).await.unwrap();
        let (before, _) = cache.get_stamped(ann).unwrap();
        freshness.touch_profile(ann);
        cache.keep_changed(ann, before, "new");
        freshness.touch(ann); // and somebody else afterwards
        assert_eq!(cache.get(ann), None);
    }

    #[tokio::test]
    async fn a_change_during_the_load_is_not_hidden_by_the_loaded_view() {
        let freshness = Arc::new(Freshness::default());
        let cache = FreshCache::new(View::Standing, Arc::clone(&freshness), 8);
        let ann = Uuid::from_u128(1);
        let load = async {
            freshness.touch(ann); // the row was read, then somebody else's change committed
            Ok::<_, ()>("old")
        };
        assert_eq!(cache.get_or_load(ann, load).await, Ok("old"));
        assert_eq!(cache.get(ann), None);
    }
}
