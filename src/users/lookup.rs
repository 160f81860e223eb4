//! The questions about people.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::changes::Deed;
use super::listing::{Filter, LineMark, Sort, UserMark};
use super::rows::{self, Beside, External, InFull, With};
use super::store::{self, Listed, Named, Seen, history, user};
use super::{Email, Identifier, Users};
use crate::events::store::{event, of_user as events_of_user};
use crate::platform::db::Span;

/// A number of users: as of which change, since when it is asked for, and what was found, once that is known. Whoever asks
/// meanwhile waits for the same count.
#[derive(Debug)]
pub struct Total {
    as_of: u64,
    asked: Instant,
    is_slow: bool,
    counted: OnceCell<Counted>,
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    number: u64,
    took: Duration,
}

/// Counting that took longer than this (some hundred thousand accounts) may be answered from memory for a moment.
const SLOW_COUNT: Duration = Duration::from_millis(5);
/// That moment; other instances' changes show after it, too.
const REMEMBER_SLOW: Duration = Duration::from_secs(2);
const REMEMBER: Duration = Duration::from_secs(1);

/// The account that wants to sign in, and whether it must be restored first.
#[derive(Clone, Debug)]
pub struct SigningIn {
    /// The account.
    pub user: user::Model,
    /// Whether it is deleted, still in its grace period.
    pub deleted: bool,
}

impl Users {
    /// The user so named as `viewer` meets them, deleted or not.
    pub async fn seen_by(&self, viewer: Uuid, named: &Named) -> Result<Option<Seen>, DbErr> {
        rows::seen_by(self.db.reader(), viewer, named, With::Nothing).await
    }

    /// The same with something beside the row.
    pub async fn seen_with_by(&self, viewer: Uuid, named: &Named, with: With) -> Result<Option<Seen>, DbErr> {
        rows::seen_by(self.db.reader(), viewer, named, with).await
    }

    /// What a user's full profile shows beside the row.
    pub async fn beside(&self, user: Uuid, in_full: InFull) -> Result<Beside, DbErr> {
        rows::beside(self.db.reader(), user, in_full).await
    }

    /// The user with this id, deleted or not.
    pub async fn by_id(&self, id: Uuid) -> Result<Option<user::Model>, DbErr> {
        store::by_id(self.db.reader(), id).await
    }

    /// The account that has this address.
    pub async fn by_email(&self, email: &Email) -> Result<Option<user::Model>, DbErr> {
        store::by_email(self.db.reader(), email.as_str()).await
    }

    /// The users with these ids that are not deleted, in the order of the ids, unknown ones left out; so are those
    /// whom `viewer`, if named, may not see.
    pub async fn by_ids(&self, ids: &[Uuid], viewer: Option<Uuid>) -> Result<Vec<user::Model>, DbErr> {
        let found = store::by_ids(self.db.reader(), ids, viewer).await?;
        let mut by_id: HashMap<Uuid, user::Model> = found.into_iter().map(|user| (user.id, user)).collect();
        Ok(ids.iter().filter_map(|id| by_id.remove(id)).collect())
    }

    /// The account that signs in by this user name or e-mail address.
    pub async fn signing_in(&self, identifier: &Identifier) -> Result<Option<SigningIn>, DbErr> {
        let (reader, name) = (self.db.reader(), identifier.canonical());
        let living = match identifier {
            Identifier::Email(_) => store::by_email(reader, name).await?,
            Identifier::Username(_) | Identifier::Unknown(_) => store::by_username(reader, name).await?,
        };
        // Asked in any case: the number of queries must not tell who has an account.
        let since = self.clock.now().before(self.settings.deleted_retention);
        let deleted = store::deleted_since(reader, name, since).await?;
        let deleted = deleted.map(|user| SigningIn { user, deleted: true });
        Ok(living.map(|user| SigningIn { user, deleted: false }).or(deleted))
    }

    /// The accounts at other providers of each of these users, the oldest first.
    pub async fn external_of(&self, users: &[Uuid]) -> Result<HashMap<Uuid, Vec<External>>, DbErr> {
        let mut accounts: HashMap<Uuid, Vec<External>> = HashMap::new();
        if users.is_empty() {
            return Ok(accounts);
        }
        for (user, account) in rows::external_of(self.db.reader(), users).await? {
            accounts.entry(user).or_default().push(account);
        }
        Ok(accounts)
    }

    /// A part of a list of users that is sorted so.
    pub async fn list(
        &self,
        filter: &Filter,
        sort: Sort,
        span: &Span<UserMark>,
    ) -> Result<Vec<Listed>, DbErr> {
        store::list(self.db.reader(), filter, sort, span).await
    }

    /// How many users the filter finds. Exact, unless counting is slow: then up to two seconds old.
    pub async fn total(&self, filter: &Filter) -> Result<u64, DbErr> {
        let as_of = self.db.freshness().of_everyone();
        let is_slow = self.totals.get(filter).is_some_and(|total| total.is_slow());
        let anew = || Arc::new(Total { as_of, asked: Instant::now(), is_slow, counted: OnceCell::new() });
        let total = self.totals.entry_by_ref(filter).or_insert_with_if(anew, |known| !known.is_good(as_of));
        let total = total.into_value();
        let counted = total.counted.get_or_try_init(async || {
            let started = Instant::now();
            let number = store::count(self.db.reader(), filter).await?;
            Ok::<_, DbErr>(Counted { number, took: started.elapsed() })
        });
        Ok(counted.await?.number)
    }

    /// A part of a user's history.
    pub async fn history(&self, user: Uuid, span: &Span<LineMark>) -> Result<Vec<history::Model>, DbErr> {
        store::history_of(self.db.reader(), user, span).await
    }

    /// How many lines a user's history has.
    pub async fn history_count(&self, user: Uuid) -> Result<u64, DbErr> {
        store::history_count(self.db.reader(), user).await
    }

    /// What other systems were told of a user behind one of its sequence, in that order.
    pub async fn told_of(&self, user: Uuid, sequence: i64, limit: u64) -> Result<Vec<event::Model>, DbErr> {
        events_of_user(self.db.reader(), user, sequence, limit).await
    }

    /// Whether it was the owner of a deleted account who deleted it, and nobody has done so again since: only then it comes
    /// back by signing in.
    pub async fn was_left_by_owner(&self, db: &impl ConnectionTrait, user: Uuid) -> Result<bool, DbErr> {
        let line = store::last_told(db, user, &[Deed::Deleted.name()]).await?;
        Ok(line.is_some_and(|line| line.by_id == Some(user)))
    }

    /// Whom a user blocks, oldest block first.
    pub async fn blocked_by(&self, user: Uuid) -> Result<Vec<Uuid>, DbErr> {
        store::blocked_by(self.db.reader(), user).await
    }

    /// Whom each of these users blocks, oldest block first.
    pub async fn blocks_of(&self, users: &[Uuid]) -> Result<HashMap<Uuid, Vec<Uuid>>, DbErr> {
        let mut blocks: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
        if users.is_empty() {
            return Ok(blocks);
        }
        for (user, blocked) in store::blocks_of(self.db.reader(), users).await? {
            blocks.entry(user).or_default().push(blocked);
        }
        Ok(blocks)
    }

    /// Whether any admin could sign in.
    pub async fn has_admin(&self) -> Result<bool, DbErr> {
        store::has_admin(self.db.reader()).await
    }

    /// Forgets what is past its time: accounts deleted long ago, old history. In small steps, so that nobody waits.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        let long_ago = now.before(self.settings.deleted_retention);
        for id in store::deleted_before(self.db.reader(), long_ago, 1000).await? {
            // Whether it is still deleted is decided again: it may have been restored meanwhile.
            let users = self.clone();
            let gone = self.db.write::<_, DbErr, _>(move |tx| {
                async move { users.forget_deleted_in(tx, id, long_ago).await }.boxed()
            });
            if gone.await? {
                tracing::info!(user_id = %id, "removed an account that was deleted long ago");
            }
        }
        let before = now.before(self.settings.history_retention);
        self.db.write_in_steps(move |tx, most| store::forget_history(tx, before, most).boxed()).await
    }
}

impl Total {
    /// Whether counting took long, or did so the last time.
    fn is_slow(&self) -> bool {
        self.counted.get().map_or(self.is_slow, |counted| counted.took > SLOW_COUNT)
    }

    fn is_good(&self, as_of: u64) -> bool {
        let age = self.asked.elapsed();
        if self.is_slow() {
            age < REMEMBER_SLOW || !self.counted.initialized()
        } else {
            self.as_of == as_of && age < REMEMBER
        }
    }
}
