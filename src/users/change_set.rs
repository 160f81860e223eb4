//! What is to be changed of an account, and what it amounts to.

use sea_orm::ActiveValue::Set;

use super::changes::Deed;
use super::rules::{is_active_admin, text};
use super::store::user;
use super::{Description, DisplayName, Email, Locale, Metadata, OtpMethod, PersonName, Username};
use crate::platform::clock::Timestamp;
use crate::sessions::{Role, Roles};

/// What is to be changed; `None` leaves a field as it is, `Some(None)` empties it.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Another user name.
    pub username: Option<Username>,
    /// Another display name.
    pub display_name: Option<DisplayName>,
    /// Another address, not proved.
    pub email: Option<Option<Email>>,
    /// The address that is to be the account's once it is proved.
    pub pending_email: Option<Option<Email>>,
    /// Whether the address is proved; for those who may say so.
    pub email_verified: Option<bool>,
    /// Another first name.
    pub first_name: Option<Option<PersonName>>,
    /// Another middle name.
    pub middle_name: Option<Option<PersonName>>,
    /// Another last name.
    pub last_name: Option<Option<PersonName>>,
    /// Another description.
    pub description: Option<Option<Description>>,
    /// Another language.
    pub locale: Option<Option<Locale>>,
    /// Other notes of admins.
    pub metadata: Option<Metadata>,
    /// Other roles.
    pub roles: Option<Roles>,
    /// Whether the account may be used.
    pub is_active: Option<bool>,
}

impl Changes {
    /// Whether it gives power or takes it: roles, whether the account may be used, the address that it is recovered by.
    #[must_use]
    pub const fn is_grave(&self) -> bool {
        self.email.is_some()
            || self.pending_email.is_some()
            || self.email_verified.is_some()
            || self.roles.is_some()
            || self.is_active.is_some()
    }

    /// Whether what a directory decides, where there is one, is to be another: the address, whether it is proved, the
    /// names.
    #[must_use]
    pub fn touches_directory(&self, held: &user::Model) -> bool {
        differs(self.email.as_ref(), Email::as_str, held.email.as_deref())
            || self.email_verified.is_some_and(|verified| verified != held.email_verified)
            || self.changes_full_name(held)
    }

    /// What it amounts to: the deeds that history will tell, none when nothing is asked for.
    pub(super) fn deeds(&self, held: &user::Model) -> Vec<(Deed, String)> {
        let mut deeds = Vec::new();
        if let Some(name) = &self.username
            && name.as_str() != held.username
        {
            deeds.push((Deed::Renamed, format!("from {} to {}", held.username, name.as_str())));
        }
        if self.changes_full_name(held) {
            deeds.push((Deed::FullNameChanged, String::new()));
        }
        let fields = self.profile_fields(held);
        if !fields.is_empty() {
            deeds.push((Deed::Updated, fields.join(", ")));
        }
        if let Some(roles) = self.roles.filter(|roles| roles.bits() != held.roles) {
            let before = Roles::from_bits(held.roles).names().join(", ");
            deeds.push((Deed::RolesChanged, format!("from {before} to {}", roles.names().join(", "))));
        }
        if let Some(active) = self.is_active.filter(|active| *active != held.is_active) {
            deeds.push((if active { Deed::Activated } else { Deed::Deactivated }, String::new()));
        }
        deeds
    }

    fn changes_full_name(&self, held: &user::Model) -> bool {
        differs(self.first_name.as_ref(), PersonName::as_str, held.first_name.as_deref())
            || differs(self.middle_name.as_ref(), PersonName::as_str, held.middle_name.as_deref())
            || differs(self.last_name.as_ref(), PersonName::as_str, held.last_name.as_deref())
    }

    /// The other fields that get another value.
    fn profile_fields(&self, held: &user::Model) -> Vec<String> {
        let description = held.description.as_deref();
        let fields = [
            ("display_name", self.display_name.as_ref().is_some_and(|new| new.as_str() != held.display_name)),
            ("email", differs(self.email.as_ref(), Email::as_str, held.email.as_deref())),
            (
                "pending_email",
                differs(self.pending_email.as_ref(), Email::as_str, held.pending_email.as_deref()),
            ),
            ("email_verified", self.email_verified.is_some_and(|new| new != held.email_verified)),
            ("description", differs(self.description.as_ref(), Description::as_str, description)),
            ("locale", differs(self.locale.as_ref(), Locale::as_str, held.locale.as_deref())),
            ("metadata", self.metadata.as_ref().is_some_and(|new| new.as_json() != held.metadata)),
        ];
        let changed = fields.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(name, _)| self.told_of_field(name, held)).collect()
    }

    /// What history says of a field that gets another value. The shown name can be put back, so both are told, in quotes
    /// that nothing in them ends.
    fn told_of_field(&self, name: &str, held: &user::Model) -> String {
        match (name, &self.display_name) {
            ("display_name", Some(new)) => {
                let quoted = |name: &str| serde_json::Value::from(name).to_string();
                format!("display_name from {} to {}", quoted(&held.display_name), quoted(new.as_str()))
            }
            _ => name.to_owned(),
        }
    }

    /// Whether an active admin would be one no more.
    pub(super) fn ends_admin(&self, held: &user::Model) -> bool {
        let demoted = self.roles.is_some_and(|roles| !roles.has(Role::Admin));
        is_active_admin(held) && (demoted || self.is_active == Some(false))
    }

    /// Whether the second factor, where it is codes by e-mail, would lose the proved address that they go to: nobody
    /// could sign in with it any more.
    pub(super) fn cuts_off_second_factor(&self, held: &user::Model) -> bool {
        let has_address = self.email.as_ref().map_or(held.email.is_some(), Option::is_some);
        let other_email = differs(self.email.as_ref(), Email::as_str, held.email.as_deref());
        let is_proved = has_address && self.email_verified.unwrap_or(held.email_verified && !other_email);
        let loses_address = held.email.is_some() && !has_address;
        let loses_proof = held.email_verified && !is_proved;
        held.otp_method == OtpMethod::Email && (loses_address || loses_proof)
    }

    /// Whether the account's other sessions must end: it was switched off, or its way of recovery has changed.
    pub(super) fn signs_out(&self, held: &user::Model) -> bool {
        let other_email = differs(self.email.as_ref(), Email::as_str, held.email.as_deref());
        other_email || self.is_active == Some(false)
    }

    pub(super) fn columns(self, held: &user::Model, free: bool, now: Timestamp) -> user::ActiveModel {
        let voids_tokens = self.roles.is_some_and(|roles| roles.bits() != held.roles)
            || self.is_active.is_some_and(|active| active != held.is_active);
        let mut row = user::ActiveModel {
            updated_at: Set(now.millis()),
            token_version: Set(held.token_version + i64::from(voids_tokens)),
            ..Default::default()
        };
        self.rename(held, free, &mut row);
        if let Some(email) = self.email {
            let email = email.map(|email| email.as_str().to_owned());
            if email != held.email {
                row.email_verified = Set(false);
            }
            row.email = Set(email);
            row.pending_email = Set(None);
        }
        if let Some(pending) = self.pending_email {
            row.pending_email = Set(text(pending.as_ref(), Email::as_str));
        }
        if let Some(verified) = self.email_verified {
            let has_email = row.email.try_as_ref().unwrap_or(&held.email).is_some();
            row.email_verified = Set(verified && has_email);
        }
        let names = [
            (self.first_name, &mut row.first_name),
            (self.middle_name, &mut row.middle_name),
            (self.last_name, &mut row.last_name),
        ];
        for (name, column) in names {
            if let Some(name) = name {
                *column = Set(text(name.as_ref(), PersonName::as_str));
            }
        }
        if let Some(description) = self.description {
            row.description = Set(text(description.as_ref(), Description::as_str));
        }
        if let Some(locale) = self.locale {
            row.locale = Set(text(locale.as_ref(), Locale::as_str));
        }
        if let Some(metadata) = self.metadata {
            row.metadata = Set(metadata.into_json());
        }
        if let Some(roles) = self.roles {
            row.roles = Set(roles.bits());
        }
        if let Some(active) = self.is_active {
            row.is_active = Set(active);
        }
        row
    }

    /// Another user name takes the display name along, unless that still fits.
    fn rename(&self, held: &user::Model, free: bool, row: &mut user::ActiveModel) {
        let display_name = match (&self.display_name, &self.username) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(username)) => DisplayName::after_rename(&held.display_name, username, free),
            (None, None) => None,
        };
        if let Some(username) = &self.username {
            row.username = Set(username.as_str().to_owned());
        }
        if let Some(name) = display_name {
            row.search_name = Set(name.search_key());
            row.display_name = Set(name.as_str().to_owned());
        }
    }
}

/// Whether a field is given and has another value than the one that is kept.
fn differs<V>(given: Option<&Option<V>>, as_str: impl Fn(&V) -> &str, held: Option<&str>) -> bool {
    given.is_some_and(|given| given.as_ref().map(as_str) != held)
}
