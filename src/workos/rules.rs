//! What something that WorkOS tells means for the accounts here: the decision, and the act.
//!
//! Who is who is decided by WorkOS's id alone. Nobody of the directory gets an account that is here already, whatever their
//! address is, and nobody gets a role above `user` by coming from there.

use std::collections::HashSet;

use sea_orm::DbErr;
use uuid::Uuid;

use super::event::{Deed, Told};
use super::person::{Flaw, Person};
use super::store::{self, known};
use super::{Unapplied, Workos};
use crate::oauth::{free_name_in, name_candidates};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::problem::Failure;
use crate::sessions::{Ending, Role};
use crate::users::store::{by_email, by_id, held, is_spent, user};
use crate::users::{
    ChangeRefusal, Changes, DeleteRefusal, Email, Metadata, Names, NewUser, Origin, PersonName, Source,
    Username,
};

/// The last admin keeps the account: somebody must be able to see what happened.
const LAST_ADMIN: Flaw =
    "the last active admin was deleted there: the sessions have ended, the account stays";

/// Without the address whose codes are their second factor, nobody could sign in any more.
const MAILED_FACTOR: Flaw =
    "codes to the proved address are the second factor here: neither the address nor the names were changed";

/// What came of something that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An account was made.
    Made,
    /// An account was changed.
    Changed,
    /// An account was deleted.
    Removed,
    /// It was written down, and no account is another for it.
    Noted,
    /// There was nothing to do: it is older than what is known, or the same.
    Skipped,
    /// It could not be done, and people should look.
    SetAside(Flaw),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Nothing,
    Make,
    Change(Uuid),
    Delete(Uuid),
    /// Only the tombstone: there is no account.
    Bury,
}

fn decide(known: Option<&known::Model>, deed: Deed, at: Timestamp) -> Decision {
    match (deed, known) {
        (Deed::Deleted, Some(known)) if known.deleted_at.is_some() => Decision::Nothing,
        (Deed::Deleted, Some(known)) => known.user_id.map_or(Decision::Bury, Decision::Delete),
        (Deed::Deleted, None) => Decision::Bury,
        (_, None) => Decision::Make,
        // Who was deleted there is not brought back by something that was said before.
        (_, Some(known)) if known.deleted_at.is_some() || is_old(known, deed, at) => Decision::Nothing,
        // Who was purged here stays away.
        (_, Some(known)) => known.user_id.map_or(Decision::Nothing, Decision::Change),
    }
}

/// A listing tells of this moment, so that what it says again may heal; an event that says nothing newer is a repetition, and
/// of two changes in one millisecond it may be the first.
fn is_old(known: &known::Model, deed: Deed, at: Timestamp) -> bool {
    at.millis() < known.updated_at || (deed != Deed::Listed && at.millis() == known.updated_at)
}

impl Workos {
    /// Does what is told, in the transaction that moves the cursor. Whoever is `awaited` is left to who makes them, or takes
    /// them back.
    pub(super) async fn apply_in(
        &self,
        tx: &Tx,
        told: &Told,
        awaited: &HashSet<Uuid>,
    ) -> Result<Outcome, Unapplied> {
        let known = store::known(tx, &told.id).await?;
        match (decide(known.as_ref(), told.deed, told.at), &told.person) {
            (Decision::Delete(user), _) => self.delete_in(tx, user, &told.id, told.at).await,
            (Decision::Bury, _) => {
                store::bury(tx, &told.id, told.at, self.clock.now()).await?;
                Ok(Outcome::Noted)
            }
            (Decision::Make, Some(Person { external_id: Some(id), .. })) if awaited.contains(id) => {
                Ok(Outcome::Skipped)
            }
            (Decision::Make, Some(person)) => self.make_in(tx, told, person).await,
            (Decision::Change(user), Some(person)) => self.change_in(tx, user, told, person).await,
            _ => Ok(Outcome::Skipped),
        }
    }

    async fn make_in(&self, tx: &Tx, told: &Told, person: &Person) -> Result<Outcome, Unapplied> {
        let new = NewUser {
            id: self.free_id_in(tx, person).await?,
            ..self.new_user(
                self.free_username_in(tx, person).await?,
                self.free_email_in(tx, told.at, person, None).await?,
                person,
            )
        };
        let made = self.users.create_in(tx, new, &Origin::default()).await?;
        self.note_in(tx, &told.id, made.id, told.at).await?;
        Ok(Outcome::Made)
    }

    /// Writes who somebody of the directory is here.
    pub(super) async fn note_in(&self, tx: &Tx, id: &str, user: Uuid, at: Timestamp) -> Result<(), DbErr> {
        let (noted_at, updated_at) = (self.clock.now().millis(), at.millis());
        let row = known::Model {
            id: id.to_owned(),
            user_id: Some(user),
            updated_at,
            deleted_at: None,
            noted_at,
            listing: 0,
        };
        store::add(tx, row).await
    }

    fn new_user(&self, username: Username, email: Option<Email>, person: &Person) -> NewUser {
        let free = self.users.settings().display_name_free;
        NewUser {
            id: None,
            username,
            display_name: person.display_name().filter(|_| free),
            email_verified: person.email_verified && email.is_some(),
            email,
            names: Names { first: person.first_name.clone(), middle: None, last: person.last_name.clone() },
            description: None,
            locale: person.locale.clone(),
            password_hash: None,
            roles: Role::User.into(),
            is_active: true,
            is_external_only: true,
            metadata: Metadata::default(),
            source: Source::Workos,
        }
    }

    /// The id that we gave them when we made them there, unless it is somebody's.
    async fn free_id_in(&self, tx: &Tx, person: &Person) -> Result<Option<Uuid>, DbErr> {
        let Some(id) = person.external_id else { return Ok(None) };
        let is_free = by_id(tx, id).await?.is_none() && !is_spent(tx, id).await?;
        Ok(is_free.then_some(id))
    }

    /// Their address as of this moment, unless it is somebody else's here.
    async fn free_email_in(
        &self,
        tx: &Tx,
        at: Timestamp,
        person: &Person,
        user: Option<Uuid>,
    ) -> Result<Option<Email>, Unapplied> {
        let Some(email) = &person.email else { return Ok(None) };
        let is_free = match by_email(tx, email.as_str()).await? {
            Some(owner) => Some(owner.id) == user || self.yields_in(tx, at, owner.id).await?,
            None => true,
        };
        Ok(is_free.then(|| email.clone()))
    }

    /// Whether the owner of an address gives it away. There it is one person's: whoever has it here from there, as of no
    /// later moment, has another by now, or is gone, and that is yet to be told.
    async fn yields_in(&self, tx: &Tx, at: Timestamp, owner: Uuid) -> Result<bool, Unapplied> {
        if !store::keeps_as_of(tx, owner, at).await? {
            return Ok(false);
        }
        let Some(owner) = held(tx, owner).await? else { return Ok(false) };
        let without = Changes { email: Some(None), email_verified: Some(false), ..Changes::default() };
        match self.users.update_held_in(tx, &owner, without, &Origin::default()).await {
            // Codes to that address let them in.
            Err(Failure::Refused(ChangeRefusal::SecondFactor)) => Ok(false),
            updated => Ok(updated.map(|_| true)?),
        }
    }

    async fn free_username_in(&self, tx: &Tx, person: &Person) -> Result<Username, Unapplied> {
        // What stands behind a `+` sorts mail; it is no part of a name.
        let local_part = person.email.as_ref().map(Email::local_part).unwrap_or_default();
        let local_part = local_part.split('+').next();
        let names = [local_part, person.first_name.as_ref().map(PersonName::as_str)];
        let candidates = name_candidates(&names, self.users.settings().username_min, &self.random);
        free_name_in(tx, candidates).await?.ok_or(Unapplied::Late("a user name"))
    }

    async fn change_in(
        &self,
        tx: &Tx,
        user: Uuid,
        told: &Told,
        person: &Person,
    ) -> Result<Outcome, Unapplied> {
        store::changed(tx, &told.id, told.at).await?;
        // Whoever was deleted here is not brought back by a change, but finds it made when they come back.
        let Some(held) = held(tx, user).await? else { return Ok(Outcome::Skipped) };
        let email = self.free_email_in(tx, told.at, person, Some(user)).await?;
        let changes = changes(&held, person, email);
        let updated = match self.users.update_held_in(tx, &held, changes, &Origin::default()).await {
            Err(Failure::Refused(ChangeRefusal::SecondFactor)) => {
                return Ok(Outcome::SetAside(MAILED_FACTOR));
            }
            updated => updated?,
        };
        Ok(if updated.revision == held.revision { Outcome::Skipped } else { Outcome::Changed })
    }

    /// Deletes somebody here who is gone there, with all sessions.
    pub(super) async fn delete_in(
        &self,
        tx: &Tx,
        user: Uuid,
        id: &str,
        at: Timestamp,
    ) -> Result<Outcome, Unapplied> {
        let origin = Origin::default();
        let outcome = match self.users.delete_in(tx, user, None, &origin).await {
            Err(Failure::Refused(DeleteRefusal::LastAdmin)) => {
                self.sessions.end_all(tx, user, None, Ending::Deleted).await?;
                Outcome::SetAside(LAST_ADMIN)
            }
            // Its owner may have deleted it, and could come back to what nobody manages any more.
            Err(Failure::Refused(DeleteRefusal::Deleted)) => {
                self.users.delete_again_in(tx, user, &origin).await?;
                Outcome::Noted
            }
            Ok(_) => Outcome::Removed,
            Err(Failure::Refused(_)) => Outcome::Noted, // purged already
            Err(failure) => return Err(failure.into()),
        };
        store::bury(tx, id, at, self.clock.now()).await?;
        Ok(outcome)
    }
}

/// What is to be changed so that an account is as the directory says. An address that was proved here stays so while it is
/// the same.
fn changes(held: &user::Model, person: &Person, email: Option<Email>) -> Changes {
    let is_same = email.as_ref().map(Email::as_str) == held.email.as_deref();
    let verified = person.email_verified || (is_same && held.email_verified);
    Changes {
        email_verified: Some(verified && email.is_some()),
        email: (!is_same).then_some(email),
        first_name: Some(person.first_name.clone()),
        last_name: Some(person.last_name.clone()),
        ..Changes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(updated_at: i64, user: Option<u128>, deleted: bool) -> known::Model {
        known::Model {
            id: "user_01".to_owned(),
            user_id: user.map(Uuid::from_u128),
            updated_at,
            deleted_at: deleted.then_some(updated_at),
            noted_at: 0,
            listing: 0,
        }
    }

    #[test]
    fn what_is_older_changes_nothing_and_what_is_said_twice_is_said_once() {
        let ann = known(1000, Some(1), false);
        let decided = |deed, at| decide(Some(&ann), deed, Timestamp::from_millis(at));
        let change = Decision::Change(Uuid::from_u128(1));
        for (deed, older, same) in [
            (Deed::Created, Decision::Nothing, Decision::Nothing),
            (Deed::Listed, Decision::Nothing, change),
            (Deed::Updated, Decision::Nothing, Decision::Nothing),
        ] {
            assert_eq!((decided(deed, 999), decided(deed, 1000)), (older, same), "{deed:?}");
            assert_eq!(decided(deed, 1001), change, "{deed:?}");
        }
    }

    #[test]
    fn who_is_deleted_stays_deleted_whenever_that_was_said() {
        let (living, gone) = (known(1000, Some(1), false), known(1000, Some(1), true));
        let at = Timestamp::from_millis;
        assert_eq!(decide(Some(&living), Deed::Deleted, at(1)), Decision::Delete(Uuid::from_u128(1)));
        for deed in [Deed::Created, Deed::Updated, Deed::Listed, Deed::Deleted] {
            assert_eq!(decide(Some(&gone), deed, at(9999)), Decision::Nothing, "{deed:?}");
        }
    }

    #[test]
    fn who_was_never_here_is_made_or_buried_and_who_was_purged_stays_away() {
        let at = Timestamp::from_millis(1);
        assert_eq!(decide(None, Deed::Deleted, at), Decision::Bury);
        for deed in [Deed::Created, Deed::Updated, Deed::Listed] {
            assert_eq!(decide(None, deed, at), Decision::Make, "{deed:?}");
            assert_eq!(decide(Some(&known(0, None, false)), deed, at), Decision::Nothing, "{deed:?}");
        }
        assert_eq!(decide(Some(&known(0, None, false)), Deed::Deleted, at), Decision::Bury);
    }
}
