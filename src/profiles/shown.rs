//! What is shown of a person: everything to themselves and admins, little to others.

use std::collections::BTreeMap;

use poem::http::HeaderValue;
use poem_openapi::{Object, Union};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::files::store::{column_of_picture, column_of_user};
use crate::files::{File, file, picture_url};
use crate::platform::clock::seconds;
use crate::sessions::Roles;
use crate::users::store::{history, user};
use crate::users::{Beside, External, InFull, With};

/// Lines of history that a full profile carries.
pub(super) const RECENT: u64 = 20;
/// What a full profile shows beside the row, read in one trip.
pub(super) const IN_FULL: InFull = InFull { lines: RECENT, aside: column_of_user };
/// What others see beside the row.
pub(super) const IN_PUBLIC: With = With::Aside(column_of_picture);

/// A person in full: for themselves and for admins.
#[derive(Clone, Debug, Serialize, Object)]
pub struct User {
    /// The account's id; never given to another account.
    pub uuid: Uuid,
    /// The user name: 5 to 32 of a to z, 0 to 9 and `_`.
    pub username: String,
    /// The name that is shown.
    pub display_name: String,
    /// The e-mail address.
    #[oai(nullable)]
    pub email: Option<String>,
    /// Whether the address is proved to be theirs.
    pub email_verified: bool,
    /// First name.
    #[oai(nullable)]
    pub first_name: Option<String>,
    /// Last name.
    #[oai(nullable)]
    pub last_name: Option<String>,
    /// Middle name.
    #[oai(nullable)]
    pub middle_name: Option<String>,
    /// The second factor: `none`, `authenticator` or `email`.
    pub otp_method: String,
    /// Among `admin`, `moderator`, `tester`, `user`.
    pub roles: Vec<String>,
    /// About the person, in their words; at most 256 characters.
    #[oai(nullable)]
    pub description: Option<String>,
    /// Their language (BCP 47).
    #[oai(nullable)]
    pub locale: Option<String>,
    /// When the account was made, in seconds since the Unix epoch.
    pub created_at: i64,
    /// When it was last changed, in seconds since the Unix epoch.
    pub updated_at: i64,
    /// When it was deleted, in seconds since the Unix epoch.
    #[oai(nullable)]
    pub deleted_at: Option<i64>,
    /// Whether the account has no password and is used through another provider only.
    pub is_external_only: bool,
    /// Whether the account may be used.
    pub is_active: bool,
    /// The newest 20 lines of history; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub user_history: Option<Vec<HistoryLine>>,
    /// Whom the person blocks.
    pub blocked_uuids: Vec<Uuid>,
    /// The picture that the person has chosen.
    #[oai(nullable)]
    pub profile_picture: Option<File>,
    /// Where the picture is.
    #[oai(nullable)]
    pub picture_url: Option<String>,
    /// Accounts at other providers that are linked to this one.
    pub external_accounts: Vec<ExternalAccount>,
    /// Files that the person has; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub files: Option<Vec<File>>,
    /// What admins note.
    pub metadata: BTreeMap<String, Value>,
}

/// A person as others see them.
#[derive(Clone, Debug, Serialize, Object)]
pub struct PublicUser {
    /// The account's id; never given to another account.
    pub uuid: Uuid,
    /// The user name.
    pub username: String,
    /// The name that is shown.
    pub display_name: String,
    /// First name.
    #[oai(nullable)]
    pub first_name: Option<String>,
    /// Last name.
    #[oai(nullable)]
    pub last_name: Option<String>,
    /// Middle name.
    #[oai(nullable)]
    pub middle_name: Option<String>,
    /// Among `admin`, `moderator`, `tester`, `user`.
    pub roles: Vec<String>,
    /// About the person, in their words.
    #[oai(nullable)]
    pub description: Option<String>,
    /// Their language (BCP 47).
    #[oai(nullable)]
    pub locale: Option<String>,
    /// When the account was made, in seconds since the Unix epoch.
    pub created_at: i64,
    /// When it was last changed, in seconds since the Unix epoch.
    pub updated_at: i64,
    /// Whether the account may be used.
    pub is_active: bool,
    /// The picture that the person has chosen.
    #[oai(nullable)]
    pub profile_picture: Option<File>,
    /// Where the picture is.
    #[oai(nullable)]
    pub picture_url: Option<String>,
}

/// A person, in full or as others see them, depending on who asks.
#[derive(Clone, Debug, Serialize, Union)]
#[serde(untagged)]
#[oai(rename = "UserOrPublicUser")]
pub enum Shown {
    /// For themselves and for admins.
    Full(User),
    /// For others.
    Public(PublicUser),
}

/// One thing that happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
pub struct HistoryLine {
    /// When, in seconds since the Unix epoch.
    pub time: i64,
    /// What: stable snake_case.
    pub action: String,
    /// In words.
    pub description: String,
    /// The account that did it; none: the server itself.
    #[oai(nullable)]
    pub by: Option<Uuid>,
}

/// An account at another provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
pub struct ExternalAccount {
    /// The provider.
    pub provider: String,
    /// The account's id there.
    pub external_account_id: String,
    /// The user name there.
    #[oai(nullable)]
    pub username: Option<String>,
    /// The shown name there.
    #[oai(nullable)]
    pub display_name: Option<String>,
    /// The e-mail address there.
    #[oai(nullable)]
    pub email: Option<String>,
    /// The picture there.
    #[oai(nullable)]
    pub picture_url: Option<String>,
    /// When it was linked, in seconds since the Unix epoch.
    pub created_at: i64,
}

impl User {
    /// A person with their block list and accounts elsewhere, without history and files, as lists show them.
    #[must_use]
    pub fn of(
        user: user::Model,
        blocked_uuids: Vec<Uuid>,
        external: Vec<External>,
        picture: Picture,
    ) -> Self {
        Self {
            uuid: user.id,
            username: user.username,
            display_name: user.display_name,
            email: user.email,
            email_verified: user.email_verified,
            first_name: user.first_name,
            last_name: user.last_name,
            middle_name: user.middle_name,
            otp_method: user.otp_method.name().to_owned(),
            roles: names(user.roles),
            description: user.description,
            locale: user.locale,
            created_at: seconds(user.created_at),
            updated_at: seconds(user.updated_at),
            deleted_at: user.deleted_at.map(seconds),
            is_external_only: user.is_external_only,
            is_active: user.is_active,
            user_history: None,
            blocked_uuids,
            profile_picture: picture.file,
            picture_url: picture.url,
            external_accounts: external.into_iter().map(ExternalAccount::from).collect(),
            files: None,
            metadata: serde_json::from_str(&user.metadata).unwrap_or_default(),
        }
    }

    /// The same with history and files, among which is the picture.
    #[must_use]
    pub fn in_full(user: user::Model, beside: Beside, files: Vec<file::Model>, api_url: &str) -> Self {
        let picture = files.iter().find(|file| file.picture_of == Some(user.id)).cloned();
        let picture = Picture::of(picture, api_url);
        let history = beside.history.into_iter().map(HistoryLine::from).collect();
        let files = files.into_iter().map(|file| File::of(file, api_url)).collect();
        let of_lists = Self::of(user, beside.blocked, beside.external, picture);
        Self { user_history: Some(history), files: Some(files), ..of_lists }
    }

    /// The same person after a change of their row, with what history tells of it.
    pub(super) fn after(&self, user: user::Model, told: Vec<history::Model>) -> Self {
        let newest = told.into_iter().rev().map(HistoryLine::from);
        let before = self.user_history.iter().flatten().cloned();
        let most = usize::try_from(RECENT).unwrap_or(usize::MAX);
        let picture = Picture { file: self.profile_picture.clone(), url: self.picture_url.clone() };
        Self {
            user_history: Some(newest.chain(before).take(most).collect()),
            external_accounts: self.external_accounts.clone(),
            files: self.files.clone(),
            ..Self::of(user, self.blocked_uuids.clone(), Vec::new(), picture)
        }
    }
}

/// A person's picture, or that there is none.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    file: Option<File>,
    url: Option<String>,
}

impl Picture {
    /// The picture of this row.
    #[must_use]
    pub fn of(row: Option<file::Model>, api_url: &str) -> Self {
        let url = row.as_ref().and_then(|row| row.picture_of).map(|user| picture_url(user, api_url));
        Self { file: row.map(|row| File::of(row, api_url)), url }
    }
}

impl PublicUser {
    /// A person as others see them.
    #[must_use]
    pub fn of(user: user::Model, picture: Picture) -> Self {
        Self {
            uuid: user.id,
            username: user.username,
            display_name: user.display_name,
            first_name: user.first_name,
            last_name: user.last_name,
            middle_name: user.middle_name,
            roles: names(user.roles),
            description: user.description,
            locale: user.locale,
            created_at: seconds(user.created_at),
            updated_at: seconds(user.updated_at),
            is_active: user.is_active,
            profile_picture: picture.file,
            picture_url: picture.url,
        }
    }
}

impl From<External> for ExternalAccount {
    fn from(account: External) -> Self {
        Self {
            provider: account.provider,
            external_account_id: account.subject,
            username: account.username,
            display_name: account.display_name,
            email: account.email,
            picture_url: account.picture_url,
            created_at: seconds(account.created_at),
        }
    }
}

impl From<history::Model> for HistoryLine {
    fn from(line: history::Model) -> Self {
        Self { time: seconds(line.at), action: line.action, description: line.description, by: line.by_id }
    }
}

fn names(roles: i32) -> Vec<String> {
    Roles::from_bits(roles).names().into_iter().map(str::to_owned).collect()
}

/// The ETag of a full profile: the revision. What others see has another one, for it is another text.
pub(super) fn etag_of_full(user: &user::Model) -> HeaderValue {
    etag(format!("\"{}\"", user.revision))
}

/// The ETag of what others see.
pub(super) fn etag_of_public(user: &user::Model) -> HeaderValue {
    etag(format!("\"{}-p\"", user.revision))
}

fn etag(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}
