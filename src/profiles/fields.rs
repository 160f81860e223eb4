//! What clients send about people, and how it becomes values that are valid: every wrong field is named at once.

use std::collections::BTreeMap;

use poem_openapi::Object;
use poem_openapi::types::MaybeUndefined;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use uuid::Uuid;

use crate::permissions::{Field, Fields as FieldSet};
use crate::platform::problem::FieldError;
use crate::platform::web::given;
use crate::sessions::{Role, Roles};
use crate::users::{
    Changes, Description, DisplayName, Email, Invalid, Locale, Metadata, Names, NewUser, Password,
    PersonName, Settings, Source, Username,
};

/// An account to be made by somebody who may.
#[derive(Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(rename = "NewUser")]
pub struct NewUserBody {
    /// The account's id, if the client chooses it; else made here (UUIDv7).
    #[serde(default, deserialize_with = "chosen_id")]
    #[oai(nullable)]
    pub uuid: Option<Uuid>,
    /// The user name: 5 to 32 of a to z, 0 to 9 and `_`.
    pub username: String,
    /// The name that is shown: the user name up to capitals and spaces for underscores.
    #[serde(default)]
    #[oai(nullable)]
    pub display_name: Option<String>,
    /// The e-mail address.
    #[serde(default)]
    #[oai(nullable)]
    pub email: Option<String>,
    /// Whether the address is known to be theirs; admins only.
    #[serde(default)]
    #[oai(nullable)]
    pub email_verified: Option<bool>,
    /// The password, 10 to 1024 characters; without one they can't sign in by password.
    #[serde(default)]
    #[oai(nullable)]
    pub password: Option<String>,
    /// First name, at most 64 characters.
    #[serde(default)]
    #[oai(nullable)]
    pub first_name: Option<String>,
    /// Last name, at most 64 characters.
    #[serde(default)]
    #[oai(nullable)]
    pub last_name: Option<String>,
    /// Middle name, at most 64 characters.
    #[serde(default)]
    #[oai(nullable)]
    pub middle_name: Option<String>,
    /// About the person, at most 256 characters.
    #[serde(default)]
    #[oai(nullable)]
    pub description: Option<String>,
    /// Their language (BCP 47).
    #[serde(default)]
    #[oai(nullable)]
    pub locale: Option<String>,
    /// Among `admin`, `moderator`, `tester`, `user`; `user` if not given.
    #[serde(default)]
    #[oai(nullable)]
    pub roles: Option<Vec<String>>,
    /// Whether the account may be used; true if not given.
    #[serde(default)]
    #[oai(nullable)]
    pub is_active: Option<bool>,
    /// Notes of admins: an object of at most 16 KiB.
    #[serde(default)]
    #[oai(nullable)]
    pub metadata: Option<BTreeMap<String, Value>>,
}

/// An id as a path names it: with its hyphens, in any case (RFC 9562, 4). The nil one is nobody's.
fn chosen_id<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Uuid>, D::Error> {
    let Some(text) = Option::<String>::deserialize(reader)? else { return Ok(None) };
    let id = Uuid::try_parse(&text).ok().filter(|id| text.len() == 36 && !id.is_nil());
    id.map(Some).ok_or_else(|| D::Error::custom("must be a UUID with its hyphens, and not the nil one"))
}

/// What to change of an account: a field left out stays, `null` empties it.
#[derive(Debug, Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct UserPatch {
    /// Another user name.
    #[serde(deserialize_with = "given")]
    pub username: Option<String>,
    /// Another shown name.
    #[serde(deserialize_with = "given")]
    pub display_name: Option<String>,
    /// Another e-mail address; it is not proved then.
    #[oai(nullable)]
    pub email: MaybeUndefined<String>,
    /// Whether the address is known to be theirs; admins only.
    #[serde(deserialize_with = "given")]
    pub email_verified: Option<bool>,
    /// First name.
    #[oai(nullable)]
    pub first_name: MaybeUndefined<String>,
    /// Last name.
    #[oai(nullable)]
    pub last_name: MaybeUndefined<String>,
    /// Middle name.
    #[oai(nullable)]
    pub middle_name: MaybeUndefined<String>,
    /// About the person.
    #[oai(nullable)]
    pub description: MaybeUndefined<String>,
    /// Their language (BCP 47).
    #[oai(nullable)]
    pub locale: MaybeUndefined<String>,
    /// Roles, by those who may.
    #[serde(deserialize_with = "given")]
    pub roles: Option<Vec<String>>,
    /// Whether the account may be used, by those who may; never one's own.
    #[serde(deserialize_with = "given")]
    pub is_active: Option<bool>,
    /// Notes of admins.
    #[serde(deserialize_with = "given")]
    pub metadata: Option<BTreeMap<String, Value>>,
}

/// Another user name.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct NewUsername {
    /// The user name: 5 to 32 of a to z, 0 to 9 and `_`.
    pub username: String,
}

/// Another full name; what is left out is emptied.
#[derive(Debug, Default, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
pub struct FullName {
    /// First name.
    #[oai(nullable)]
    pub first_name: Option<String>,
    /// Last name.
    #[oai(nullable)]
    pub last_name: Option<String>,
    /// Middle name.
    #[oai(nullable)]
    pub middle_name: Option<String>,
}

/// Left out, emptied, or given: three things.
type Emptied<T> = Option<Option<T>>;

/// Collects what is wrong with the fields of a request.
#[derive(Debug, Default)]
pub struct Fields(Vec<FieldError>);

impl Fields {
    /// The value, or a note of what is wrong with the field.
    pub fn take<T>(&mut self, field: &'static str, parsed: Result<T, Invalid>) -> Option<T> {
        parsed.map_err(|invalid| self.0.push(FieldError::new(field, invalid.into_words()))).ok()
    }

    /// The same for a field that may be left out.
    pub fn take_optional<T>(
        &mut self,
        field: &'static str,
        given: Option<&str>,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        given.and_then(|given| self.take(field, parse(given)))
    }

    /// Notes that a field is wrong.
    pub fn refuse(&mut self, field: &'static str, words: &'static str) {
        self.0.push(FieldError::new(field, words));
    }

    /// What was made of the fields, or all that is wrong with them.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Vec<FieldError>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }

    fn display_name(
        &mut self,
        given: Option<&str>,
        username: Option<&Username>,
        settings: &Settings,
    ) -> Option<DisplayName> {
        let given = given?;
        if settings.display_name_free {
            return self.take("display_name", DisplayName::free(given));
        }
        self.take("display_name", DisplayName::of_username(given, username?))
    }

    fn names(&mut self, first: Option<&str>, middle: Option<&str>, last: Option<&str>) -> Names {
        Names {
            first: self.take_optional("first_name", first, PersonName::parse).flatten(),
            middle: self.take_optional("middle_name", middle, PersonName::parse).flatten(),
            last: self.take_optional("last_name", last, PersonName::parse).flatten(),
        }
    }

    fn roles(&mut self, names: Option<&[String]>) -> Option<Roles> {
        let names = names?;
        let roles: Result<Roles, _> = names.iter().map(|name| name.parse::<Role>()).collect();
        match roles {
            Ok(roles) if !roles.is_empty() => return Some(roles),
            Ok(_) => self.refuse("roles", "Must hold at least one role."),
            Err(_) => self.refuse("roles", "Must be among admin, moderator, tester, user."),
        }
        None
    }

    fn metadata(&mut self, given: Option<BTreeMap<String, Value>>) -> Option<Metadata> {
        given.and_then(|given| self.take("metadata", Metadata::parse(given.into_iter().collect())))
    }

    fn emptied<T>(
        &mut self,
        field: &'static str,
        given: &MaybeUndefined<String>,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Emptied<T> {
        match given {
            MaybeUndefined::Undefined => None,
            MaybeUndefined::Null => Some(None),
            MaybeUndefined::Value(given) => self.take(field, parse(given)).map(Some),
        }
    }

    fn person_name(&mut self, field: &'static str, given: &MaybeUndefined<String>) -> Emptied<PersonName> {
        self.emptied(field, given, PersonName::parse).map(Option::flatten)
    }
}

/// What people sign up with, besides the password.
#[derive(Default)]
pub struct SignUpFields<'a> {
    /// User name.
    pub username: &'a str,
    /// E-mail address; needed when signing up.
    pub email: Option<&'a str>,
    /// Shown name.
    pub display_name: Option<&'a str>,
    /// First name.
    pub first_name: Option<&'a str>,
    /// Middle name.
    pub middle_name: Option<&'a str>,
    /// Last name.
    pub last_name: Option<&'a str>,
}

impl SignUpFields<'_> {
    /// The account that these fields make, with a password and no roles yet.
    pub fn read(
        &self,
        password: &str,
        confirmed: &str,
        settings: &Settings,
    ) -> Result<(NewUser, Password), Vec<FieldError>> {
        let mut fields = Fields::default();
        let new = self.read_into(&mut fields, settings);
        let password_read = fields.take("password", Password::parse(password));
        if password != confirmed {
            fields.refuse("confirm_password", "Must be the same as the password.");
        }
        fields.finish(new.zip(password_read))
    }

    /// The same without looking at a password.
    pub fn read_without_password(&self, settings: &Settings) -> Result<NewUser, Vec<FieldError>> {
        let mut fields = Fields::default();
        let new = self.read_into(&mut fields, settings);
        fields.finish(new)
    }

    fn read_into(&self, fields: &mut Fields, settings: &Settings) -> Option<NewUser> {
        let username = fields.take("username", Username::parse(self.username, settings.username_min));
        let email = fields.take_optional("email", self.email, Email::parse);
        let display_name = fields.display_name(self.display_name, username.as_ref(), settings);
        let names = fields.names(self.first_name, self.middle_name, self.last_name);
        username.map(|username| NewUser {
            id: None,
            username,
            display_name,
            email,
            email_verified: false,
            names,
            description: None,
            locale: None,
            password_hash: None,
            roles: Roles::default(),
            is_active: true,
            is_external_only: false,
            metadata: Metadata::default(),
            source: Source::Local,
        })
    }
}

impl NewUserBody {
    /// Which fields it sets; whoever makes an account may not set all of them.
    pub(super) fn set(&self) -> FieldSet {
        let optional = [
            (Field::Uuid, self.uuid.is_some()),
            (Field::DisplayName, self.display_name.is_some()),
            (Field::Email, self.email.is_some()),
            (Field::EmailVerified, self.email_verified.is_some()),
            (Field::Password, self.password.is_some()),
            (Field::FirstName, self.first_name.is_some()),
            (Field::LastName, self.last_name.is_some()),
            (Field::MiddleName, self.middle_name.is_some()),
            (Field::Description, self.description.is_some()),
            (Field::Locale, self.locale.is_some()),
            (Field::Metadata, self.metadata.is_some()),
            (Field::Username, true),
        ];
        optional.into_iter().filter(|(_, set)| *set).map(|(field, _)| field).collect()
    }

    /// The account, without the hash of its password, and the password.
    pub(super) fn read(self, settings: &Settings) -> Result<(NewUser, Option<Password>), Vec<FieldError>> {
        let mut fields = Fields::default();
        let username = fields.take("username", Username::parse(&self.username, settings.username_min));
        let display_name = fields.display_name(self.display_name.as_deref(), username.as_ref(), settings);
        let password = fields.take_optional("password", self.password.as_deref(), Password::parse);
        let (first, middle) = (self.first_name.as_deref(), self.middle_name.as_deref());
        let new = NewUser {
            id: self.uuid,
            display_name,
            email: fields.take_optional("email", self.email.as_deref(), Email::parse),
            email_verified: self.email_verified.unwrap_or(false),
            names: fields.names(first, middle, self.last_name.as_deref()),
            description: fields.take_optional("description", self.description.as_deref(), Description::parse),
            locale: fields.take_optional("locale", self.locale.as_deref(), Locale::parse),
            password_hash: None,
            roles: fields.roles(self.roles.as_deref()).unwrap_or(Role::User.into()),
            is_active: self.is_active.unwrap_or(true),
            is_external_only: false,
            metadata: fields.metadata(self.metadata).unwrap_or_default(),
            source: Source::Local,
            username: match username {
                Some(username) => username,
                None => return fields.finish(None),
            },
        };
        fields.finish(Some((new, password)))
    }
}

impl UserPatch {
    /// Which fields it changes; roles and the active flag are permissions of their own.
    pub(super) fn set(&self) -> FieldSet {
        let changed = [
            (Field::Username, self.username.is_some()),
            (Field::DisplayName, self.display_name.is_some()),
            (Field::Email, !self.email.is_undefined()),
            (Field::EmailVerified, self.email_verified.is_some()),
            (Field::FirstName, !self.first_name.is_undefined()),
            (Field::LastName, !self.last_name.is_undefined()),
            (Field::MiddleName, !self.middle_name.is_undefined()),
            (Field::Description, !self.description.is_undefined()),
            (Field::Locale, !self.locale.is_undefined()),
            (Field::Metadata, self.metadata.is_some()),
        ];
        changed.into_iter().filter(|(_, set)| *set).map(|(field, _)| field).collect()
    }

    /// The changes; `username` is the present one, which a new shown name must fit.
    pub(super) fn read(self, present: &str, settings: &Settings) -> Result<Changes, Vec<FieldError>> {
        let mut fields = Fields::default();
        let parse = |raw: &str| Username::parse(raw, settings.username_min);
        let username = fields.take_optional("username", self.username.as_deref(), parse);
        let fits = username.clone().or_else(|| Username::for_lookup(present));
        let changes = Changes {
            pending_email: None,
            display_name: fields.display_name(self.display_name.as_deref(), fits.as_ref(), settings),
            username,
            email: fields.emptied("email", &self.email, Email::parse),
            email_verified: self.email_verified,
            first_name: fields.person_name("first_name", &self.first_name),
            middle_name: fields.person_name("middle_name", &self.middle_name),
            last_name: fields.person_name("last_name", &self.last_name),
            description: fields.emptied("description", &self.description, Description::parse),
            locale: fields.emptied("locale", &self.locale, Locale::parse),
            metadata: fields.metadata(self.metadata),
            roles: fields.roles(self.roles.as_deref()),
            is_active: self.is_active,
        };
        fields.finish(Some(changes))
    }
}

impl From<NewUsername> for UserPatch {
    fn from(new: NewUsername) -> Self {
        Self { username: Some(new.username), ..Self::default() }
    }
}

impl From<FullName> for UserPatch {
    fn from(name: FullName) -> Self {
        let given = |name: Option<String>| name.map_or(MaybeUndefined::Null, MaybeUndefined::Value);
        Self {
            first_name: given(name.first_name),
            middle_name: given(name.middle_name),
            last_name: given(name.last_name),
            ..Self::default()
        }
    }
}
