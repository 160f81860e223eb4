//! What other systems are told of people.
//!
//! Nothing here is a secret, and no event holds an e-mail address: that it has changed is all there is to tell.

use sea_orm::DbErr;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::changes::Origin;
use super::store::user;
use crate::events::{Event, Told};
use crate::platform::clock::Timestamp;
use crate::sessions::Roles;

/// Where an account comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Signed up here, or made by somebody who may.
    #[default]
    Local,
    /// Came by this provider.
    Oauth(String),
    /// Came from the directory of `WorkOS`.
    Workos,
    /// Brought along from another server.
    Import,
}

impl Source {
    /// Its name in events: never rename.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Local => "local".to_owned(),
            Self::Oauth(provider) => format!("oauth:{provider}"),
            Self::Workos => "workos".to_owned(),
            Self::Import => "import".to_owned(),
        }
    }
}

/// An account was made.
#[derive(Debug, Serialize)]
pub(super) struct UserCreated<'a> {
    username: &'a str,
    display_name: &'a str,
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    middle_name: Option<&'a str>,
    source: String,
}

impl<'a> UserCreated<'a> {
    pub(super) fn of(user: &'a user::Model, source: &Source) -> Self {
        Self {
            username: &user.username,
            display_name: &user.display_name,
            first_name: user.first_name.as_deref(),
            last_name: user.last_name.as_deref(),
            middle_name: user.middle_name.as_deref(),
            source: source.name(),
        }
    }
}

/// Fields of a profile have other values.
#[derive(Debug, Serialize)]
pub struct UserUpdated {
    changes: Map<String, Value>,
}

impl UserUpdated {
    /// A profile has another picture, or none any more.
    #[must_use]
    pub fn image(is_there: bool) -> Self {
        Self { changes: Map::from_iter([("image".to_owned(), is_there.into())]) }
    }

    fn between(before: &user::Model, after: &user::Model) -> Self {
        type Read = fn(&user::Model) -> Value;
        let metadata: Read = |user| serde_json::from_str(&user.metadata).unwrap_or_default();
        let fields: [(&str, Read); 8] = [
            ("username", |user| json!(user.username)),
            ("display_name", |user| json!(user.display_name)),
            ("first_name", |user| json!(user.first_name)),
            ("last_name", |user| json!(user.last_name)),
            ("middle_name", |user| json!(user.middle_name)),
            ("description", |user| json!(user.description)),
            ("locale", |user| json!(user.locale)),
            ("metadata", metadata),
        ];
        let other = fields.into_iter().filter(|(_, of)| of(before) != of(after));
        let mut changes: Map<String, Value> = other.map(|(name, of)| (name.to_owned(), of(after))).collect();
        if before.email != after.email {
            changes.insert("email_changed".to_owned(), true.into());
        }
        if before.email_verified && !after.email_verified {
            changes.insert("email_verified".to_owned(), false.into());
        }
        Self { changes }
    }
}

/// Another user name.
#[derive(Debug, Serialize)]
struct UsernameUpdated<'a> {
    username: &'a str,
    previous_username: &'a str,
}

/// Another first, last or middle name.
#[derive(Debug, Serialize)]
struct FullNameUpdated<'a> {
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    middle_name: Option<&'a str>,
}

/// Other roles.
#[derive(Debug, Serialize)]
struct RolesChanged {
    before: Vec<&'static str>,
    after: Vec<&'static str>,
}

/// The account may not be used any more.
#[derive(Debug, Serialize)]
pub(super) struct UserBanned {
    /// In words, if somebody gave one.
    pub(super) reason: Option<String>,
}

/// The account may be used again.
#[derive(Debug, Serialize)]
pub(super) struct UserUnbanned {
    /// In words, if somebody gave one.
    pub(super) reason: Option<String>,
}

/// Makes a type of event without data from each line.
macro_rules! without_data {
    ( $( $(#[$doc:meta])* $name:ident = $text:literal ),+ $(,)? ) => { $(
        $(#[$doc])*
        #[derive(Debug, Serialize)]
        pub(super) struct $name {}

        impl Told for $name {
            const NAME: &'static str = $text;
        }
    )+ };
}

without_data! {
    /// The account was deleted; it can be restored for a while.
    UserDeleted = "user.deleted",
    /// The account is back.
    UserRestored = "user.restored",
    /// The account is gone for good.
    UserPurged = "user.purged",
    /// The e-mail address is proved.
    EmailVerified = "user.email_verified",
    /// Another password.
    PasswordChanged = "user.password_changed",
    /// Another second factor, or none.
    OtpChanged = "user.otp_changed",
}

impl Told for UserCreated<'_> {
    const NAME: &'static str = "user.created";
}

impl Told for UserUpdated {
    const NAME: &'static str = "user.updated";
}

impl Told for UsernameUpdated<'_> {
    const NAME: &'static str = "user.username_updated";
}

impl Told for FullNameUpdated<'_> {
    const NAME: &'static str = "user.full_name_updated";
}

impl Told for RolesChanged {
    const NAME: &'static str = "user.roles_changed";
}

impl Told for UserBanned {
    const NAME: &'static str = "user.banned";
}

impl Told for UserUnbanned {
    const NAME: &'static str = "user.unbanned";
}

/// What a change of a user's row tells, in this order: its parts that have events of their own, the profile as a whole,
/// then what concerns signing in.
pub(super) fn of_change(
    before: &user::Model,
    after: &user::Model,
    origin: &Origin,
    at: Timestamp,
) -> Result<Vec<Event>, DbErr> {
    let mut telling = Telling { after, origin, at, events: Vec::new() };
    if before.username != after.username {
        let (username, previous_username) = (&after.username, &before.username);
        telling.tell(&UsernameUpdated { username, previous_username })?;
    }
    if full_name(before) != full_name(after) {
        let [first_name, last_name, middle_name] = full_name(after);
        telling.tell(&FullNameUpdated { first_name, last_name, middle_name })?;
    }
    let updated = UserUpdated::between(before, after);
    if !updated.changes.is_empty() {
        telling.tell(&updated)?;
    }
    let was_proved = before.email_verified && before.email == after.email;
    if after.email_verified && !was_proved {
        telling.tell(&EmailVerified {})?;
    }
    if before.roles != after.roles {
        let names = |user: &user::Model| Roles::from_bits(user.roles).names();
        telling.tell(&RolesChanged { before: names(before), after: names(after) })?;
    }
    match (before.is_active, after.is_active) {
        (true, false) => telling.tell(&UserBanned { reason: None })?,
        (false, true) => telling.tell(&UserUnbanned { reason: None })?,
        _ => {}
    }
    Ok(telling.events)
}

/// The events of one change.
struct Telling<'a> {
    after: &'a user::Model,
    origin: &'a Origin,
    at: Timestamp,
    events: Vec<Event>,
}

impl Telling<'_> {
    fn tell<T: Told>(&mut self, told: &T) -> Result<(), DbErr> {
        self.events.push(Event::new(self.after.id, told, self.origin.trace_id.clone(), self.at)?);
        Ok(())
    }
}

fn full_name(user: &user::Model) -> [Option<&str>; 3] {
    [user.first_name.as_deref(), user.last_name.as_deref(), user.middle_name.as_deref()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{TYPES, type_named};

    #[test]
    fn whoever_listens_can_ask_for_each_type() {
        let names = [
            UserCreated::NAME,
            UserUpdated::NAME,
            UsernameUpdated::NAME,
            FullNameUpdated::NAME,
            UserDeleted::NAME,
            UserRestored::NAME,
            UserPurged::NAME,
            UserBanned::NAME,
            UserUnbanned::NAME,
            RolesChanged::NAME,
            EmailVerified::NAME,
            PasswordChanged::NAME,
            OtpChanged::NAME,
        ];
        for name in names {
            assert_eq!(type_named(name), Some(name));
        }
        assert_eq!(TYPES.len(), names.len() + 4, "two of other providers' accounts, two of sessions");
    }
}
