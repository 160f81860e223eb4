//! The questions about people.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sea_orm::DbErr;
use uuid::Uuid;

use super::listing::{Filter, Page};
use super::rows::{self, Beside, External};
use super::store::{self, Listed, Named, Seen, history, user};
use super::{Email, Identifier, Users};

/// A number of users, when it was counted, and as of which change.
#[derive(Clone, Copy, Debug)]
pub struct Total {
    number: u64,
    as_of: u64,
    counted: Instant,
    took: Duration,
    /// Somebody is counting again; the others need not.
    renewed: bool,
}

/// Counting that took longer than this (some hundred thousand accounts) may be answered from memory for a moment.
const SLOW_COUNT: Duration = Duration::from_millis(5);
/// That moment. Were everybody to count who finds it over, a list in steady use would be counted by all its readers at
/// once; so the first to come in its second half counts for all.
const REMEMBER_SLOW: Duration = Duration::from_secs(2);
/// For so long any number may be answered from memory; other instances' changes show after it.
const REMEMBER: Duration = Duration::from_secs(1);

/// The account that wants to sign in, and whether it must be restored first.
#[derive(Clone, Debug)]
pub struct SigningIn {
    /// The account.
    pub user: user::Model,
    /// Whether its owner deleted it and may still take that back.
    pub deleted: bool,
}

impl Users {
    /// The user so named as `viewer` meets them, deleted or not.
    pub async fn seen_by(&self, viewer: Uuid, named: &Named) -> Result<Option<Seen>, DbErr> {
        rows::seen_by(self.db.reader(), viewer, named, None).await
    }

    /// The same with what a full profile shows beside the row.
    pub async fn seen_in_full_by(
        &self,
        viewer: Uuid,
        named: &Named,
        lines: u64,
    ) -> Result<Option<Seen>, DbErr> {
        rows::seen_by(self.db.reader(), viewer, named, Some(lines)).await
    }

    /// What a user's full profile shows beside the row, with so many lines of history.
    pub async fn beside(&self, user: Uuid, lines: u64) -> Result<Beside, DbErr> {
        rows::beside(self.db.reader(), user, lines).await
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

    /// A page of users.
    pub async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<Listed>, DbErr> {
        store::list(self.db.reader(), filter, page).await
    }

    /// How many users the filter finds. Exact, unless counting is slow: then up to two seconds old.
    pub async fn total(&self, filter: &Filter) -> Result<u64, DbErr> {
        let as_of = self.db.freshness().of_everyone();
        if let Some(total) = self.totals.get(filter) {
            if total.is_good(as_of) {
                return Ok(total.number);
            }
            self.totals.insert(filter.clone(), Total { renewed: true, ..total });
        }
        let counted = Instant::now();
        let number = store::count(self.db.reader(), filter).await?;
        let total = Total { number, as_of, counted, took: counted.elapsed(), renewed: false };
        self.totals.insert(filter.clone(), total);
        Ok(number)
    }

    /// A user's history, newest first, and how long it is.
    pub async fn history(
        &self,
        user: Uuid,
        offset: u64,
        limit: u64,
    ) -> Result<(Vec<history::Model>, u64), DbErr> {
        let lines = store::history_of(self.db.reader(), user, offset, limit).await?;
        let total = store::history_count(self.db.reader(), user).await?;
        Ok((lines, total))
    }

    /// The newest lines of a user's history.
    pub async fn recent_history(&self, user: Uuid, limit: u64) -> Result<Vec<history::Model>, DbErr> {
        store::history_of(self.db.reader(), user, 0, limit).await
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
            let gone = self
                .db
                .write::<_, DbErr, _>(move |tx| store::purge(tx, id, Some(long_ago), now).boxed())
                .await?;
            if gone {
                tracing::info!(user_id = %id, "removed an account that was deleted long ago");
            }
        }
        let before = now.before(self.settings.history_retention);
        let forget =
            || self.db.write::<_, DbErr, _>(move |tx| store::forget_history(tx, before, 500).boxed());
        while forget().await? > 0 {}
        Ok(())
    }
}

impl Total {
    fn is_good(&self, as_of: u64) -> bool {
        let age = self.counted.elapsed();
        if self.took > SLOW_COUNT {
            age < REMEMBER || (self.renewed && age < REMEMBER_SLOW)
        } else {
            self.as_of == as_of && age < REMEMBER
        }
    }
}
