//! The acts on accounts elsewhere: who somebody is here who is known there, linking and unlinking.
//!
//! Who is who is decided by provider and subject alone. An address joins two accounts only where both sides have proved
//! it; everything else is a new account, or nothing.

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::joining::Joining;
use super::store::{self, external_account};
use super::told::{AccountLinked, AccountUnlinked};
use super::trouble::Trouble;
use super::{Oauth, names};
use crate::platform::db::{Tx, violated_unique};
use crate::platform::problem::Failure;
use crate::platform::web::ClientInfo;
use crate::sessions::Role;
use crate::users::store::{by_email, held, user};
use crate::users::{
    CreateRefusal, Deed, DisplayName, Email, Locale, Metadata, Names, NewUser, Origin, Source, Username,
};

crate::refusals! {
    /// Why an account elsewhere is not linked.
    pub enum LinkRefusal {
        Own = 409 "conflict" "An account at this provider is linked to yours already.",
        Others = 409 "conflict" "This account at the provider is linked to somebody else.",
    }
}

crate::refusals! {
    /// Why an account elsewhere is not unlinked.
    pub enum UnlinkRefusal {
        NotFound = 404 "not_found" "No account at this provider is linked to yours." oauth "invalid_request",
        Last = 409 "conflict" "It is the last way to sign in to your account. Choose a password first, or let the account be deleted with it (`delete_account=true`)." oauth "invalid_request",
    }
}

/// Who somebody is here, who is known there.
#[derive(Debug)]
pub enum Recognised {
    /// Whose account there is linked to theirs here, deleted by themselves perhaps.
    Linked(Box<user::Model>),
    /// Who has proved the same address on both sides: it joins once everything else is proved.
    Joins(Box<user::Model>),
    /// Nobody yet.
    New,
    /// Nobody who may come in so.
    Refused(Trouble),
}

/// What is decided on.
#[derive(Clone, Copy, Debug)]
struct Owner {
    is_active: bool,
    is_verified: bool,
    has_one_there: bool,
}

/// What an address of somebody unknown leads to (`api.md` 4, 2 to 4): none, or one that its provider does not vouch for,
/// to a new account.
fn decide(owner: Option<Owner>, link_unverified_local: bool) -> Decision {
    match owner {
        None => Decision::New,
        // What is proved on one side only proves nothing about the other.
        Some(owner) if !owner.is_verified && !link_unverified_local => {
            Decision::Refused(Trouble::LinkRequired)
        }
        Some(owner) if !owner.is_active => Decision::Refused(Trouble::Inactive),
        // The address has another owner there by now: it was somebody else's before.
        Some(owner) if owner.has_one_there => Decision::Refused(Trouble::LinkRequired),
        Some(_) => Decision::Joins,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Joins,
    New,
    Refused(Trouble),
}

impl Oauth {
    /// Who somebody is here. An account that is found is held.
    pub async fn recognise_in(&self, tx: &Tx, joining: &Joining) -> Result<Recognised, DbErr> {
        if let Some(user) = self.owner_in(tx, &joining.provider, &joining.subject).await? {
            return Ok(if user.is_active && self.may_come_back_in(tx, &user).await? {
                Recognised::Linked(Box::new(user))
            } else {
                Recognised::Refused(Trouble::Inactive)
            });
        }
        let Some(email) = &joining.email else { return Ok(Recognised::New) };
        let owner = by_email(tx, email).await?;
        let owner = match owner {
            Some(owner) => held(tx, owner.id).await?.filter(|owner| owner.email.as_ref() == Some(email)),
            None => None,
        };
        let known = match &owner {
            Some(owner) => Some(self.seen_in(tx, owner, &joining.provider).await?),
            None => None,
        };
        // Between the two looks somebody else may have brought the same identity: then it is they, or oneself.
        if known.is_some_and(|owner| owner.has_one_there)
            && store::account(tx, &joining.provider, &joining.subject).await?.is_some()
        {
            return Ok(Recognised::Refused(Trouble::Late));
        }
        Ok(match (decide(known, self.settings.link_unverified_local), owner) {
            (Decision::Joins, Some(owner)) => Recognised::Joins(Box::new(owner)),
            (Decision::Refused(trouble), _) => Recognised::Refused(trouble),
            (Decision::New | Decision::Joins, _) => Recognised::New,
        })
    }

    async fn seen_in(&self, tx: &Tx, owner: &user::Model, provider: &str) -> Result<Owner, DbErr> {
        let accounts = store::accounts_of(tx, owner.id).await?;
        Ok(Owner {
            is_active: owner.is_active,
            is_verified: owner.email_verified,
            has_one_there: accounts.iter().any(|account| account.provider == provider),
        })
    }

    /// Whose an account elsewhere is, held, if it still is then.
    async fn owner_in(&self, tx: &Tx, provider: &str, subject: &str) -> Result<Option<user::Model>, DbErr> {
        let Some(account) = store::account(tx, provider, subject).await? else { return Ok(None) };
        let user = held(tx, account.user_id).await?;
        // Whoever unlinks it holds the user, too.
        let still = store::account(tx, provider, subject).await?;
        Ok(user.filter(|user| still.is_some_and(|account| account.user_id == user.id)))
    }

    /// A deleted account comes back only if its owner deleted it, and only for a while.
    pub async fn may_come_back_in(&self, tx: &Tx, user: &user::Model) -> Result<bool, DbErr> {
        let Some(deleted_at) = user.deleted_at else { return Ok(true) };
        let since = self.clock.now().before(self.users.settings().deleted_retention);
        if deleted_at < since.millis() {
            return Ok(false);
        }
        self.users.was_left_by_owner(tx, user.id).await
    }

    /// Makes an account for somebody who is known elsewhere only. Somebody who does so at the same moment may be first:
    /// [`Trouble::Late`] asks to look again.
    pub async fn make_in(
        &self,
        tx: &Tx,
        joining: &Joining,
        client: &ClientInfo,
    ) -> Result<user::Model, Failure<Trouble>> {
        let id = self.random.uuid_v7(self.clock.now());
        let origin = Origin::of_oneself(id, None, client);
        let username = self.free_name_in(tx, joining).await?.ok_or(Trouble::Late)?;
        let new = self.new_user(id, username, joining);
        let made = self.users.create_in(tx, new, &origin).await.map_err(Failure::within::<Trouble>)?;
        match self.keep_in(tx, id, joining).await {
            Ok(()) => Ok(made),
            Err(Failure::Refused(_)) => Err(Trouble::Late.into()),
            Err(Failure::Broken(breakage)) => Err(breakage.into()),
        }
    }

    async fn free_name_in(&self, tx: &Tx, joining: &Joining) -> Result<Option<Username>, DbErr> {
        let called = [joining.username.as_deref(), joining.display_name.as_deref()];
        let candidates = names::candidates(&called, self.users.settings().username_min, &self.random);
        names::first_free(tx, candidates).await
    }

    fn new_user(&self, id: Uuid, username: Username, joining: &Joining) -> NewUser {
        let shown = joining.display_name.as_deref();
        let display_name = if self.users.settings().display_name_free {
            shown.and_then(|name| DisplayName::free(&name.chars().take(64).collect::<String>()).ok())
        } else {
            shown.and_then(|name| DisplayName::of_username(name, &username).ok())
        };
        NewUser {
            id: Some(id),
            username,
            display_name,
            email: joining.email.as_deref().and_then(|email| Email::parse(email).ok()),
            email_verified: true,
            names: Names::default(),
            description: None,
            locale: joining.locale.as_deref().and_then(|locale| Locale::parse(locale).ok()),
            password_hash: None,
            roles: Role::User.into(),
            is_active: true,
            is_external_only: true,
            metadata: Metadata::default(),
            source: Source::Oauth(joining.provider.clone()),
        }
    }

    /// Links an account elsewhere to one here, which is held. It must be nobody's, and theirs must have none there.
    pub async fn link_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        joining: &Joining,
        origin: &Origin,
    ) -> Result<(), Failure<LinkRefusal>> {
        match store::account(tx, &joining.provider, &joining.subject).await? {
            Some(account) if account.user_id == user.id => return Err(LinkRefusal::Own.into()),
            Some(_) => return Err(LinkRefusal::Others.into()),
            None => {}
        }
        if self.is_linked(tx, user.id, &joining.provider).await? {
            return Err(LinkRefusal::Own.into());
        }
        self.keep_in(tx, user.id, joining).await?;
        let words = joining.provider.clone();
        self.users.note_in(tx, user.id, Deed::ExternalAccountLinked, words, origin).await?;
        Ok(self.tell_of_linked_in(tx, user.id, &joining.provider, origin).await?)
    }

    /// Tells of an account at a provider that belongs to somebody from now on, in the transaction that keeps it.
    pub async fn tell_of_linked_in(
        &self,
        tx: &Tx,
        user: Uuid,
        provider: &str,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        self.users.tell_in(tx, user, &AccountLinked { provider }, origin).await
    }

    /// Whether somebody has an account at this provider.
    pub async fn is_linked(
        &self,
        db: &impl ConnectionTrait,
        user: Uuid,
        provider: &str,
    ) -> Result<bool, DbErr> {
        let accounts = store::accounts_of(db, user).await?;
        Ok(accounts.iter().any(|account| account.provider == provider))
    }

    /// Lets an account elsewhere join one here, which is held, now that everything else is proved. That both sides have
    /// proved the same address is decided again: time has passed.
    pub async fn join_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        joining: &Joining,
        origin: &Origin,
    ) -> Result<bool, Failure<LinkRefusal>> {
        let account = store::account(tx, &joining.provider, &joining.subject).await?;
        if account.is_some_and(|account| account.user_id == user.id) {
            self.refresh_in(tx, joining).await?;
            return Ok(false); // it was faster in another window
        }
        let is_proved = user.email_verified || self.settings.link_unverified_local;
        if joining.email.is_none() || joining.email != user.email || !is_proved {
            return Err(LinkRefusal::Others.into());
        }
        self.link_in(tx, user, joining, origin).await?;
        Ok(true)
    }

    async fn keep_in(&self, tx: &Tx, user: Uuid, joining: &Joining) -> Result<(), Failure<LinkRefusal>> {
        let now = self.clock.now();
        let id = self.random.uuid_v7(now);
        let row = external_account::Model {
            id,
            provider: joining.provider.clone(),
            subject: joining.subject.clone(),
            user_id: user,
            username: joining.username.clone(),
            display_name: joining.display_name.clone(),
            email: joining.email.clone(),
            picture_url: joining.picture_url.clone(),
            sealed_grant: joining.grant.as_ref().map(|grant| self.seal_grant(id, grant)).transpose()?,
            created_at: now.millis(),
            updated_at: now.millis(),
        };
        match store::insert_account(tx, row).await {
            Ok(()) => {
                self.adopt_picture_after(tx, user, joining);
                Ok(())
            }
            Err(error) if violated_unique(&error).is_some() => Err(LinkRefusal::Others.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what a provider says by now of an account that is linked, and what it gave us.
    pub async fn refresh_in(&self, tx: &Tx, joining: &Joining) -> anyhow::Result<()> {
        let Some(account) = store::account(tx, &joining.provider, &joining.subject).await? else {
            return Ok(());
        };
        let sealed_grant = match &joining.grant {
            Some(grant) => Some(self.seal_grant(account.id, grant)?),
            None => account.sealed_grant.clone(),
        };
        let new = external_account::Model {
            username: joining.username.clone(),
            display_name: joining.display_name.clone(),
            email: joining.email.clone(),
            picture_url: joining.picture_url.clone(),
            ..account.clone()
        };
        let looks_other = new != account;
        let (user, now) = (account.user_id, self.clock.now().millis());
        if looks_other || sealed_grant != account.sealed_grant {
            store::update_account(tx, external_account::Model { sealed_grant, updated_at: now, ..new })
                .await?;
        }
        if looks_other {
            self.users.looks_other_in(tx, user).await?;
        }
        Ok(())
    }

    /// Takes the account at a provider away from one here, which is held. Whether it was the last way in, for an account
    /// that is to go with it.
    pub async fn unlink_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        provider: &str,
        with_account: bool,
        origin: &Origin,
    ) -> Result<Unlinked, Failure<UnlinkRefusal>> {
        let account = store::take_account(tx, user.id, provider).await?.ok_or(UnlinkRefusal::NotFound)?;
        let others = store::accounts_of(tx, user.id).await?;
        // A provider that is no longer configured lets nobody in.
        let is_way = |account: &external_account::Model| self.connections.named(&account.provider).is_some();
        let is_last = user.password_hash.is_none() && !others.iter().any(is_way);
        if is_last && !(with_account && user.is_external_only) {
            return Err(UnlinkRefusal::Last.into());
        }
        self.tell_of_unlinking_in(tx, user.id, provider, origin).await?;
        Ok(Unlinked { account, was_last: is_last })
    }

    /// Takes all accounts elsewhere away from one here, which is held: they may be somebody else's. That there is
    /// another way in is the caller's to see to.
    pub async fn unlink_all_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        origin: &Origin,
    ) -> Result<Vec<external_account::Model>, DbErr> {
        let mut gone = Vec::new();
        for account in store::accounts_of(tx, user.id).await? {
            gone.extend(store::take_account(tx, user.id, &account.provider).await?);
            self.tell_of_unlinking_in(tx, user.id, &account.provider, origin).await?;
        }
        Ok(gone)
    }

    async fn tell_of_unlinking_in(
        &self,
        tx: &Tx,
        user: Uuid,
        provider: &str,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        self.users.note_in(tx, user, Deed::ExternalAccountUnlinked, provider.to_owned(), origin).await?;
        self.users.tell_in(tx, user, &AccountUnlinked { provider }, origin).await
    }
}

/// An account elsewhere that is no longer linked.
#[derive(Debug)]
pub struct Unlinked {
    /// What there was.
    pub account: external_account::Model,
    /// Whether there is no other way in.
    pub was_last: bool,
}

/// Somebody else was faster: looking again finds what they made.
impl From<CreateRefusal> for Trouble {
    fn from(_: CreateRefusal) -> Self {
        Self::Late
    }
}

impl From<LinkRefusal> for Trouble {
    fn from(refusal: LinkRefusal) -> Self {
        match refusal {
            LinkRefusal::Own => Self::Own,
            LinkRefusal::Others => Self::Others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVED: Owner = Owner { is_active: true, is_verified: true, has_one_there: false };

    #[test]
    fn two_proofs_of_one_address_join_and_one_does_not() {
        let unproved = Owner { is_verified: false, ..PROVED };
        let banned = Owner { is_active: false, ..PROVED };
        let another = Owner { has_one_there: true, ..PROVED };
        for (owner, of_old, expected) in [
            (None, false, Decision::New),
            (Some(PROVED), false, Decision::Joins),
            (Some(unproved), false, Decision::Refused(Trouble::LinkRequired)),
            (Some(unproved), true, Decision::Joins),
            (Some(banned), false, Decision::Refused(Trouble::Inactive)),
            (Some(banned), true, Decision::Refused(Trouble::Inactive)),
            (Some(another), false, Decision::Refused(Trouble::LinkRequired)),
            (Some(another), true, Decision::Refused(Trouble::LinkRequired)),
        ] {
            assert_eq!(decide(owner, of_old), expected, "{owner:?} {of_old}");
        }
    }
}
