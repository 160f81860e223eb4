//! People: their rows, their history, whom they block.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use rusqlite::types::Value;
use serde::Deserialize;
use uuid::Uuid;

use super::source::{Row, USERS};
use super::values::{id_value, moment, stable_id, words};
use super::{Owners, Unfit, Work};
use crate::platform::hashing::is_usable;
use crate::sessions::{Role, Roles};
use crate::users::{Description, DisplayName, Email, Metadata, Username};

/// What S1 writes where a password's hash would be, for who comes by another provider only.
const NO_PASSWORD: &str = "ThirdPartyOnlyAcc";
/// S1's own shortest user name, in characters.
const SHORTEST: usize = 5;
/// The longest action and description of a line of history.
const ACTION: usize = 64;
const WORDS: usize = 500;

const USER_COLUMNS: &str = "id, username, display_name, search_name, email, email_verified, description, \
    password_hash, roles, is_active, is_external_only, otp_method, metadata, token_version, revision, \
    created_at, updated_at";
const HISTORY_COLUMNS: &str = "id, user_id, at, action, description, by_id";
const BLOCK_COLUMNS: &str = "user_id, blocked_id, created_at";

/// Who there is.
#[derive(Default)]
pub(super) struct People {
    /// When each account was made.
    pub made: HashMap<Uuid, i64>,
    /// Whose picture a file is.
    pub pictures: Owners,
    /// Whose a user name is, capitals aside.
    names: HashMap<String, Uuid>,
    addresses: HashSet<String>,
}

/// A line of history as S1 keeps it.
#[derive(Deserialize)]
struct Line {
    time: String,
    action: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    by: Option<String>,
}

impl Work<'_> {
    pub(super) fn people(&mut self) -> Result<(), Unfit> {
        let mut after = i64::MIN;
        loop {
            let rows = self.source.portion(USERS, after)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.number;
            let users = rows.iter().map(|row| self.person(row)).collect::<Result<Vec<_>, _>>()?;
            self.write("users", USER_COLUMNS, users)?;
        }
    }

    fn person(&mut self, row: &Row) -> Result<Vec<Value>, Unfit> {
        let id = row.uuid("uuid")?;
        let username = self.username(row, id)?;
        let (created_at, updated_at) = (row.moment("created_at")?, row.moment("updated_at")?);
        if self.people.made.insert(id, created_at).is_some() {
            return Err(row.unfit("uuid", "is another account's, too"));
        }
        let email = self.email(row, &username)?;
        let email_verified = row.boolean("email_verified")? && email.is_some();
        let display_name = self.display_name(row, &username)?;
        let description = self.description(row, &username)?;
        let password_hash = self.password_hash(row, &username)?;
        let otp_method = self.second_factor(row, id, &username, email_verified)?;
        if let Some(file) = row.optional_integer("profile_picture_id")? {
            self.people.pictures.entry(file).or_insert(id);
        }
        Ok(vec![
            id_value(id),
            username.as_str().to_owned().into(),
            display_name.as_str().to_owned().into(),
            display_name.search_key().into(),
            email.into(),
            email_verified.into(),
            description.into(),
            password_hash.into(),
            i64::from(self.roles(row, &username)?.bits()).into(),
            row.boolean("is_active")?.into(),
            row.boolean("is_external_only")?.into(),
            otp_method.to_owned().into(),
            Metadata::default().into_json().into(),
            0_i64.into(),
            0_i64.into(),
            created_at.into(),
            updated_at.into(),
        ])
    }

    /// The user name, folded. One outside of the rule is kept if it can be looked up and is nobody else's.
    fn username(&mut self, row: &Row, id: Uuid) -> Result<Username, Unfit> {
        let raw = row.text("username")?;
        let Some(username) = Username::for_lookup(raw).filter(Username::is_plain) else {
            let words = format!(
                "`{}` can't be kept: it must be at most 32 characters that can be seen, without spaces and @; give the \
                 user another name in S1",
                words(raw, WORDS)
            );
            return Err(row.unfit("username", &words));
        };
        match self.people.names.entry(username.as_str().to_lowercase()) {
            Entry::Occupied(_) => {
                let words = format!(
                    "`{raw}` is another user's name, but for capitals; give one of them another name in S1"
                );
                return Err(row.unfit("username", &words));
            }
            Entry::Vacant(free) => free.insert(id),
        };
        if Username::parse(raw, SHORTEST).is_err() {
            self.note(format!(
                "{username}: the user name `{raw}` is outside of the rule; it is kept as {username}"
            ));
        }
        Ok(username)
    }

    /// The address in its normal form; whoever came first keeps one that two accounts have.
    fn email(&mut self, row: &Row, username: &Username) -> Result<Option<String>, Unfit> {
        let Some(raw) = row.optional_text("email")?.filter(|raw| !raw.is_empty()) else { return Ok(None) };
        let Ok(email) = Email::parse(raw) else {
            self.note(format!("{username}: left without an address, because the one in S1 is none"));
            return Ok(None);
        };
        if !self.people.addresses.insert(email.as_str().to_owned()) {
            self.note(format!(
                "{username}: left without an address, because an older account has the same one"
            ));
            return Ok(None);
        }
        Ok(Some(email.as_str().to_owned()))
    }

    fn display_name(&mut self, row: &Row, username: &Username) -> Result<DisplayName, Unfit> {
        let raw = row.text("display_name")?;
        let read = if self.parts.users.settings().display_name_free {
            DisplayName::free(raw)
        } else {
            DisplayName::of_username(raw, username)
        };
        Ok(read.unwrap_or_else(|_| {
            self.note(format!(
                "{username}: the display name does not fit the user name; it is the user name now"
            ));
            DisplayName::from_username(username)
        }))
    }

    fn description(&mut self, row: &Row, username: &Username) -> Result<Option<String>, Unfit> {
        let raw = row.optional_text("description")?.filter(|raw| !raw.is_empty());
        let Some(read) = raw.map(Description::parse) else { return Ok(None) };
        if read.is_err() {
            self.note(format!("{username}: the description is too long, or no plain text; it is left out"));
        }
        Ok(read.ok().map(|description| description.as_str().to_owned()))
    }

    fn password_hash(&mut self, row: &Row, username: &Username) -> Result<Option<String>, Unfit> {
        let hash = row.optional_text("hashed_password")?;
        let Some(hash) = hash.filter(|hash| !hash.is_empty() && *hash != NO_PASSWORD) else {
            return Ok(None);
        };
        if is_usable(hash) {
            return Ok(Some(hash.to_owned()));
        }
        self.note(format!(
            "{username}: left without a password, because S1's hash of it is of no known kind"
        ));
        Ok(None)
    }

    /// Codes by mail need no secret, so they can go on. S1's secrets can be computed by others: their owners enrol again.
    fn second_factor(
        &mut self,
        row: &Row,
        id: Uuid,
        username: &Username,
        email_verified: bool,
    ) -> Result<&'static str, Unfit> {
        match row.optional_text("otp_method")?.unwrap_or("none") {
            "none" => return Ok("none"),
            "email" if email_verified && self.parts.mail.is_on() => return Ok("email"),
            "email" | "authenticator" => {}
            _ => return Err(row.unfit("otp_method", "must be none, email or authenticator")),
        }
        self.converted.without_factor.push(id);
        self.note(format!("{username}: the second factor does not come along; it has to be set up again"));
        Ok("none")
    }

    fn roles(&mut self, row: &Row, username: &Username) -> Result<Roles, Unfit> {
        let names: Vec<String> = row.list("roles")?;
        let roles: Result<Roles, _> = names.iter().map(|name| name.parse::<Role>()).collect();
        let roles = roles.map_err(|_| row.unfit("roles", "must be of admin, moderator, tester and user"))?;
        if roles.is_empty() {
            self.note(format!("{username}: has no role in S1; is a user now"));
            return Ok(Role::User.into());
        }
        Ok(roles)
    }

    /// Everybody is known now, so what names others can be read.
    pub(super) fn histories_and_blocks(&mut self) -> Result<(), Unfit> {
        let mut after = i64::MIN;
        loop {
            let rows = self.source.portion(USERS, after)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.number;
            // One account's at a time: each may have as much as a row can hold.
            for row in &rows {
                let lines = self.history(row)?;
                self.write("user_history", HISTORY_COLUMNS, lines)?;
                let blocks = self.blocks(row)?;
                self.write("user_blocks", BLOCK_COLUMNS, blocks)?;
            }
        }
    }

    fn history(&mut self, row: &Row) -> Result<Vec<Vec<Value>>, Unfit> {
        let user = row.uuid("uuid")?;
        let name = user.to_string();
        let (mut lines, mut unread) = (Vec::new(), 0);
        for (place, line) in row.list::<Line>("user_history")?.into_iter().enumerate() {
            let Some(at) = moment(&line.time) else {
                unread += 1;
                continue;
            };
            // Those of one second keep their order.
            let within = i64::try_from(place.min(999)).unwrap_or(0);
            let parts = [&*name, "history", &place.to_string(), &line.time, &line.action];
            let by = line.by.as_deref().and_then(|by| self.people.named(by));
            lines.push(vec![
                id_value(stable_id(at.millis() + within, &parts)),
                id_value(user),
                at.millis().into(),
                action(&line.action).into(),
                words(line.description.as_deref().unwrap_or_default(), WORDS).into(),
                by.map_or(Value::Null, id_value),
            ]);
        }
        if unread > 0 {
            self.note(format!(
                "{user}: {unread} line(s) of history without a moment that can be read are left out"
            ));
        }
        Ok(lines)
    }

    fn blocks(&mut self, row: &Row) -> Result<Vec<Vec<Value>>, Unfit> {
        let (user, at) = (row.uuid("uuid")?, row.moment("updated_at")?);
        let named: Vec<String> = row.list("blocked_uuids")?;
        let listed = named.len();
        let known = named.iter().filter_map(|text| Uuid::try_parse(text).ok());
        let known: HashSet<Uuid> =
            known.filter(|id| *id != user && self.people.made.contains_key(id)).collect();
        if known.len() < listed {
            let gone = listed - known.len();
            self.note(format!(
                "{user}: {gone} entries of the block list name nobody, or twice; they are left out"
            ));
        }
        Ok(known.into_iter().map(|blocked| vec![id_value(user), id_value(blocked), at.into()]).collect())
    }
}

/// The name of what was done, as history here writes names.
fn action(text: &str) -> String {
    let fitting = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = text.trim().chars().map(fitting).take(ACTION).collect();
    if name.is_empty() { "s1".to_owned() } else { name }
}

impl People {
    /// Whom S1 means by an id or a user name.
    fn named(&self, text: &str) -> Option<Uuid> {
        let by_id = Uuid::try_parse(text).ok().filter(|id| self.made.contains_key(id));
        by_id.or_else(|| self.names.get(&text.to_lowercase()).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_has_a_name() {
        for (text, name) in [
            ("created", "created"),
            ("Profile Updated", "profile_updated"),
            (" OTP-method ", "otp_method"),
            ("Änderung", "_nderung"),
            ("", "s1"),
        ] {
            assert_eq!(action(text), name);
        }
        assert_eq!(action(&"x".repeat(100)).len(), ACTION);
    }
}
