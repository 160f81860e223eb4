//! Whom people block.

use std::collections::HashSet;

use futures_util::FutureExt;
use sea_orm::ActiveValue::Set;
use sea_orm::{DbErr, SqlErr};
use uuid::Uuid;

use super::Users;
use super::changes::{Change, Deed, Origin};
use super::store::{self, user};
use crate::platform::db::Tx;
use crate::platform::problem::Failure;
use crate::sessions::{Role, Roles};

/// People one account may block.
const MOST_BLOCKS: usize = 1000;

crate::refusals! {
    /// Why a block list is not changed.
    pub enum BlockRefusal {
        NotFound = 404 "not_found" "There is no such user.",
        Deleted = 409 "user_deleted" "The user is deleted.",
        TooMany = 409 "quota_exceeded" "A block list holds at most 1000 users.",
        Oneself = 422 "validation_failed" "Nobody can block themselves.",
    }
}

/// How a block list is to change.
#[derive(Clone, Debug)]
pub enum BlockChange {
    /// To exactly these.
    Replace(Vec<Uuid>),
    /// By adding some and taking some away.
    Edit {
        /// To be blocked.
        add: Vec<Uuid>,
        /// No longer to be blocked.
        remove: Vec<Uuid>,
    },
}

impl BlockChange {
    /// What is really to be added and taken away, given the list as it is, and who is named without being on it. No id
    /// twice.
    fn against(self, before: &[Uuid]) -> (Vec<Uuid>, Vec<Uuid>, Vec<Uuid>) {
        // There are a thousand of both, and the writer waits.
        let blocked: HashSet<&Uuid> = before.iter().collect();
        let (wanted, remove) = match self {
            Self::Replace(wanted) => {
                let kept: HashSet<Uuid> = wanted.iter().copied().collect();
                let remove = before.iter().copied().filter(|id| !kept.contains(id)).collect();
                (wanted, remove)
            }
            Self::Edit { add, remove } => (add, remove),
        };
        let mut add: Vec<Uuid> = wanted.into_iter().filter(|id| !blocked.contains(id)).collect();
        add.sort_unstable();
        add.dedup();
        let (mut remove, mut strangers): (Vec<Uuid>, Vec<Uuid>) =
            remove.into_iter().partition(|id| blocked.contains(id));
        remove.sort_unstable();
        remove.dedup();
        strangers.extend(&add);
        strangers.sort_unstable();
        strangers.dedup();
        (add, remove, strangers)
    }
}

impl Users {
    /// Replaces a block list, or adds to it and takes from it; the list as it is then.
    pub async fn change_blocks(
        &self,
        owner: Uuid,
        change: BlockChange,
        origin: Origin,
    ) -> Result<Vec<Uuid>, Failure<BlockRefusal>> {
        let users = self.clone();
        self.db
            .write(move |tx| async move { users.change_blocks_in(tx, owner, change, &origin).await }.boxed())
            .await
    }

    async fn change_blocks_in(
        &self,
        tx: &Tx,
        owner: Uuid,
        change: BlockChange,
        origin: &Origin,
    ) -> Result<Vec<Uuid>, Failure<BlockRefusal>> {
        let held = store::held(tx, owner).await?.ok_or(BlockRefusal::NotFound)?;
        if held.deleted_at.is_some() {
            return Err(BlockRefusal::Deleted.into());
        }
        let before = store::blocked_by(tx, owner).await?;
        let (add, remove, strangers) = change.against(&before);
        if strangers.contains(&owner) {
            return Err(BlockRefusal::Oneself.into());
        }
        // Who is on the list is taken off it, whatever became of them.
        if store::by_ids(tx, &strangers, eyes(&held, origin)).await?.len() != strangers.len() {
            return Err(BlockRefusal::NotFound.into());
        }
        if add.is_empty() && remove.is_empty() {
            return Ok(before);
        }
        let now = self.clock.now();
        store::unblock(tx, owner, &remove).await?;
        store::block(tx, owner, &add, now).await.map_err(gone_meanwhile)?;
        let after = store::blocked_by(tx, owner).await?;
        if after.len() > MOST_BLOCKS {
            return Err(BlockRefusal::TooMany.into());
        }
        let columns = user::ActiveModel { updated_at: Set(now.millis()), ..Default::default() };
        store::update(tx, &held, columns).await?;
        let words = format!("blocked {}, unblocked {}", add.len(), remove.len());
        let change = Change { user: owner, deed: Deed::BlocksChanged, words, origin, at: now };
        self.record(tx, change, Vec::new()).await?;
        Ok(after)
    }
}

/// Whose eyes the people who are named must be visible to: the owner's, unless staff sees everybody. Were it not so,
/// a block list would tell somebody who is banned, or who blocks the owner, from somebody who does not exist.
fn eyes(owner: &user::Model, origin: &Origin) -> Option<Uuid> {
    let roles = Roles::from_bits(owner.roles);
    let is_staff = roles.has(Role::Admin) || roles.has(Role::Moderator);
    (origin.is(owner.id) && !is_staff).then_some(owner.id)
}

/// Somebody to be blocked was purged after they were looked up.
fn gone_meanwhile(error: DbErr) -> Failure<BlockRefusal> {
    match error.sql_err() {
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => BlockRefusal::NotFound.into(),
        _ => error.into(),
    }
}
