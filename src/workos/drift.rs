//! `gatehouse workos-check`: what here is not as WorkOS says, line by line. Nothing is changed.

use std::collections::{HashMap, HashSet};
use std::fmt;

use futures_util::FutureExt;
use sea_orm::DbErr;
use uuid::Uuid;

use super::client::{Fault, PAGE};
use super::event::{Received, UNKNOWN_TYPE};
use super::person::Person;
use super::store::{self, known};
use super::{Halt, Workos};
use crate::platform::clock::Timestamp;
use crate::users::store::{by_email, by_id, user};
use crate::users::{Email, PersonName};

/// What was set aside is shown up to here.
const MOST_SHOWN: u64 = 10_000;
/// What is forgotten at once.
const AT_ONCE: i64 = 1000;

/// One thing that is not as WorkOS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drifted {
    /// There, and not here.
    MissingHere(String),
    /// Here, and not there.
    MissingThere(String, Uuid),
    /// There, and deleted here.
    DeletedHere(String, Option<Uuid>),
    /// Other fields.
    Differs(String, Uuid, Vec<&'static str>),
    /// The address is another account's here; theirs has none.
    Taken(String, Uuid, String),
    /// The address is none here.
    OddAddress(String, Uuid),
    /// Something could not be understood, or not be done.
    SetAside(String, String),
}

impl fmt::Display for Drifted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingHere(id) => write!(out, "missing here      {id}"),
            Self::MissingThere(id, user) => write!(out, "missing there     {id}  {user}"),
            Self::DeletedHere(id, Some(user)) => write!(out, "deleted here      {id}  {user}"),
            Self::DeletedHere(id, None) => write!(out, "purged here       {id}"),
            Self::Differs(id, user, fields) => {
                write!(out, "differs           {id}  {user}  {}", fields.join(", "))
            }
            Self::Taken(id, user, email) => write!(out, "address taken     {id}  {user}  {email}"),
            Self::OddAddress(id, user) => write!(out, "no address here   {id}  {user}"),
            Self::SetAside(id, reason) => write!(out, "set aside         {id}  {reason}"),
        }
    }
}

/// How what is here and what is there compare.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    /// How many users there are there.
    pub there: u64,
    /// What is not as it should be.
    pub found: Vec<Drifted>,
    /// What was passed over because nobody here knows its type.
    pub unknown: u64,
}

impl Workos {
    /// Compares everybody there with everybody here; none where WorkOS has no part in anything.
    pub async fn drift(&self) -> Result<Option<Drift>, Halt> {
        let Some(client) = &self.client else { return Ok(None) };
        let (mut drift, mut seen, mut after) = (Drift::default(), HashSet::new(), None::<String>);
        loop {
            let page = client.users(after.as_deref(), PAGE).await?;
            seen.extend(page.items.iter().filter_map(|item| item.id.clone()));
            self.compare(&page.items, &mut drift).await?;
            if page.after.is_none() {
                break;
            }
            if page.after == after {
                return Err(Fault::Away { words: "a listing that leads nowhere".into(), after: None }.into());
            }
            after = page.after;
        }
        self.missing_there(&seen, &mut drift).await?;
        for odd in store::set_aside_of(self.db.reader(), MOST_SHOWN).await? {
            if odd.reason == UNKNOWN_TYPE {
                drift.unknown += 1;
            } else {
                drift.found.push(Drifted::SetAside(odd.id, odd.reason));
            }
        }
        Ok(Some(drift))
    }

    async fn compare(&self, page: &[Received], drift: &mut Drift) -> Result<(), DbErr> {
        let reader = self.db.reader();
        let ids = page.iter().filter_map(|item| item.id.as_deref());
        let known = store::known_of(reader, ids).await?.into_iter().map(|known| (known.id.clone(), known));
        let known: HashMap<String, known::Model> = known.collect();
        for item in page {
            drift.there += 1;
            let person = match &item.told {
                Ok(told) => told.person.as_ref(),
                Err(flaw) => {
                    drift.found.push(Drifted::SetAside(item.key(), (*flaw).to_owned()));
                    None
                }
            };
            let Some(person) = person else { continue };
            let known = known.get(&person.id).filter(|known| known.deleted_at.is_none());
            let found = match known {
                None => Some(Drifted::MissingHere(person.id.clone())),
                Some(known) => self.of_person(person, known.user_id).await?,
            };
            drift.found.extend(found);
        }
        Ok(())
    }

    async fn of_person(&self, person: &Person, user: Option<Uuid>) -> Result<Option<Drifted>, DbErr> {
        let (reader, id) = (self.db.reader(), person.id.clone());
        let Some(user) = user else { return Ok(Some(Drifted::DeletedHere(id, None))) };
        let here = by_id(reader, user).await?.filter(|here| here.deleted_at.is_none());
        let Some(here) = here else { return Ok(Some(Drifted::DeletedHere(id, Some(user)))) };
        let email = person.email.as_ref().map(Email::as_str);
        if here.email.is_none()
            && let Some(email) = email
            && by_email(reader, email).await?.is_some()
        {
            return Ok(Some(Drifted::Taken(id, user, email.to_owned())));
        }
        let fields = differing(person, &here);
        if fields.is_empty() && email.is_none() {
            return Ok(Some(Drifted::OddAddress(id, user)));
        }
        Ok((!fields.is_empty()).then_some(Drifted::Differs(id, user, fields)))
    }

    async fn missing_there(&self, seen: &HashSet<String>, drift: &mut Drift) -> Result<(), DbErr> {
        let (reader, mut last) = (self.db.reader(), String::new());
        loop {
            let rows = store::behind(reader, &last, PAGE as u64).await?;
            let Some(end) = rows.last() else { return Ok(()) };
            last.clone_from(&end.id);
            for row in rows.iter().filter(|row| !seen.contains(&row.id)) {
                let Some(user) = row.user_id else { continue };
                // Of whom there is only a tombstone, an account must not live on.
                let lives = by_id(reader, user).await?.is_some_and(|here| here.deleted_at.is_none());
                if lives || row.deleted_at.is_none() {
                    drift.found.push(Drifted::MissingThere(row.id.clone(), user));
                }
            }
        }
    }

    /// Forgets everything that was set aside; how much that was.
    pub async fn forget_set_aside(&self) -> Result<u64, DbErr> {
        self.forget_set_aside_before(Timestamp::from_millis(i64::MAX)).await
    }

    pub(super) async fn forget_set_aside_before(&self, moment: Timestamp) -> Result<u64, DbErr> {
        let mut forgotten = 0;
        loop {
            let forget =
                self.db.write::<_, DbErr, _>(move |tx| store::forget_set_aside(tx, moment, AT_ONCE).boxed());
            let some = forget.await?;
            forgotten += some;
            if some < AT_ONCE.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }
}

fn differing(person: &Person, here: &user::Model) -> Vec<&'static str> {
    let first = person.first_name.as_ref().map(PersonName::as_str);
    let last = person.last_name.as_ref().map(PersonName::as_str);
    let email = person.email.as_ref().map(Email::as_str);
    let fields = [
        ("email", email != here.email.as_deref()),
        ("email_verified", person.email_verified && email.is_some() && !here.email_verified),
        ("first_name", first != here.first_name.as_deref()),
        ("last_name", last != here.last_name.as_deref()),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
