//! Bans: an account may not be used any more, until somebody lifts that.

use std::fmt;

use futures_util::FutureExt;
use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::changes::{Change, Deed, Origin};
use super::rules::is_active_admin;
use super::store::{self, user};
use super::text::fits_prose;
use super::told::{UserBanned, UserUnbanned};
use super::{Invalid, Users};
use crate::events::Told;
use crate::platform::db::Tx;
use crate::platform::problem::Failure;
use crate::sessions::Ending;

/// Characters of a reason.
const LONGEST: usize = 1000;

crate::refusals! {
    /// Why an account is not banned.
    pub enum BanRefusal {
        Forbidden = 403 "forbidden" "You may not ban this user.",
        NotFound = 404 "not_found" "There is no such user.",
        Deleted = 409 "user_deleted" "The user is deleted.",
        LastAdmin = 409 "last_admin" "Nobody could administer any more: this is the last active admin.",
        Conflict = 409 "conflict" "The user is banned already.",
    }
}

crate::refusals! {
    /// Why a ban is not lifted.
    pub enum UnbanRefusal {
        Forbidden = 403 "forbidden" "You may not lift the ban of this user.",
        NotFound = 404 "not_found" "There is no such user.",
        Deleted = 409 "user_deleted" "The user is deleted.",
        Conflict = 409 "conflict" "The user is not banned.",
    }
}

/// Why somebody is banned, or no longer: what staff wrote, kept and shown as it stands. It may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The most characters that it has.
    pub(crate) const LONGEST: usize = LONGEST;

    /// Takes what was typed, without space around it.
    pub fn parse(typed: &str) -> Result<Self, Invalid> {
        let typed = typed.trim();
        if typed.chars().count() > LONGEST {
            return Err(Invalid::new("Must be at most 1000 characters."));
        }
        if !typed.chars().all(fits_prose) {
            return Err(Invalid::new(
                "Must be plain text; of the control characters, only line breaks are allowed.",
            ));
        }
        Ok(Self(typed.to_owned()))
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn told(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.clone())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whether the one who acts may do so to the account as it is now, held: its roles may be others than a moment ago.
pub type Judge = Box<dyn Fn(&user::Model) -> bool + Send>;

impl Users {
    /// Bans an account: all its sessions end at once, and nothing that it was sent before will work again, even after the
    /// ban. The last active admin can't be banned.
    pub async fn ban(
        &self,
        target: Uuid,
        reason: Reason,
        may: Judge,
        origin: Origin,
    ) -> Result<user::Model, Failure<BanRefusal>> {
        let users = self.clone();
        let act = self
            .db
            .write(move |tx| async move { users.ban_in(tx, target, &reason, may, &origin).await }.boxed());
        act.await
    }

    async fn ban_in(
        &self,
        tx: &Tx,
        target: Uuid,
        reason: &Reason,
        may: Judge,
        origin: &Origin,
    ) -> Result<user::Model, Failure<BanRefusal>> {
        origin.hold_in(tx, target).await?;
        let held = store::held(tx, target).await?.ok_or(BanRefusal::NotFound)?;
        if held.deleted_at.is_some() {
            return Err(BanRefusal::Deleted.into());
        }
        if !may(&held) {
            return Err(BanRefusal::Forbidden.into());
        }
        if !held.is_active {
            return Err(BanRefusal::Conflict.into());
        }
        if is_active_admin(&held) && store::other_admins(tx, target).await? == 0 {
            return Err(BanRefusal::LastAdmin.into());
        }
        self.sessions.end_all(tx, target, None, Ending::Banned).await?;
        let told = UserBanned { reason: reason.told() };
        Ok(self.switch(tx, &held, Deed::Banned, reason, &told, origin).await?)
    }

    /// Lifts a ban. Who was signed in before it is not so again.
    pub async fn unban(
        &self,
        target: Uuid,
        reason: Reason,
        may: Judge,
        origin: Origin,
    ) -> Result<user::Model, Failure<UnbanRefusal>> {
        let users = self.clone();
        let act = self
            .db
            .write(move |tx| async move { users.unban_in(tx, target, &reason, may, &origin).await }.boxed());
        act.await
    }

    async fn unban_in(
        &self,
        tx: &Tx,
        target: Uuid,
        reason: &Reason,
        may: Judge,
        origin: &Origin,
    ) -> Result<user::Model, Failure<UnbanRefusal>> {
        origin.hold_in(tx, target).await?;
        let held = store::held(tx, target).await?.ok_or(UnbanRefusal::NotFound)?;
        if !may(&held) {
            return Err(UnbanRefusal::Forbidden.into());
        }
        if held.deleted_at.is_some() {
            return Err(UnbanRefusal::Deleted.into());
        }
        if held.is_active {
            return Err(UnbanRefusal::Conflict.into());
        }
        let told = UserUnbanned { reason: reason.told() };
        Ok(self.switch(tx, &held, Deed::Unbanned, reason, &told, origin).await?)
    }

    /// Switches an account on or off, with what is told of it. Everything that was issued before carries the version before,
    /// and is void.
    async fn switch<T: Told>(
        &self,
        tx: &Tx,
        held: &user::Model,
        deed: Deed,
        reason: &Reason,
        told: &T,
        origin: &Origin,
    ) -> Result<user::Model, DbErr> {
        let at = self.clock.now();
        let columns = user::ActiveModel {
            is_active: Set(deed == Deed::Unbanned),
            token_version: Set(held.token_version + 1),
            updated_at: Set(at.millis()),
            ..Default::default()
        };
        let row = store::update(tx, held, columns).await?;
        let change = Change { user: held.id, deed, words: reason.to_string(), origin, at };
        let told = vec![change.event(told)?];
        self.record(tx, change, told).await?;
        Ok(row)
    }

    /// Why an account may not be used, if staff gave a reason.
    pub async fn reason_of_ban(
        &self,
        db: &impl ConnectionTrait,
        user: Uuid,
    ) -> Result<Option<String>, DbErr> {
        let deeds = [Deed::Banned.name(), Deed::Deactivated.name()];
        let line = store::last_told(db, user, &deeds).await?;
        Ok(line.map(|line| line.description).filter(|reason| !reason.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_kept_as_it_was_written_without_the_space_around_it() {
        let long = "🦊".repeat(1000);
        for typed in ["", "spam", "<b>{{7*7}}</b>\nsecond line", &long] {
            assert_eq!(Reason::parse(&format!("  {typed} \n")).unwrap().as_str(), typed);
        }
    }

    #[test]
    fn what_is_too_long_or_moves_other_characters_about_is_no_reason() {
        let long = "a".repeat(1001);
        for typed in ["a\u{0}", "a\tb", "\u{1B}[31m", "\u{202E}evil", &long] {
            assert!(Reason::parse(typed).is_err(), "{typed:?}");
        }
    }
}
