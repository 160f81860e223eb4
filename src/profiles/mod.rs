//! Owns `/user`: what is shown of a person, and to whom.

mod answer;
mod api;
mod fields;
mod letters;
mod pictures_api;
mod rules;
mod shown;
mod target;

use std::sync::Arc;

use bytes::Bytes;
use poem::http::HeaderValue;
use sea_orm::DbErr;
use uuid::Uuid;

use crate::mail::Mail;
use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::domains::Domains;
use crate::platform::freshness::{FreshCache, View};
use crate::platform::secrets::{Key32, Secrets};
use crate::proofs::Proofs;
use crate::users::store::user;
use crate::users::{Passwords, Users};

pub use api::UserApi;
pub use fields::{Fields, SignUpFields};
pub use pictures_api::PictureApi;
pub use shown::{ExternalAccount, File, HistoryLine, PublicUser, Shown, User};
pub use target::Target;

/// People whose full profile is remembered, ready as JSON.
const REMEMBERED: u64 = 10_000;

/// The feature: what it owns.
#[derive(Clone)]
pub struct Profiles {
    db: Database,
    clock: Clock,
    users: Users,
    passwords: Passwords,
    mail: Mail,
    proofs: Proofs,
    domains: Domains,
    api_url: Arc<str>,
    cursor_key: Arc<Key32>,
    own: FreshCache<Ready>,
}

/// A profile ready to be sent.
#[derive(Clone)]
struct Ready {
    body: Bytes,
    etag: HeaderValue,
}

/// The earlier features that profiles are built on.
pub struct Parts<'a> {
    /// The database.
    pub db: &'a Database,
    /// Keys from the master secret.
    pub secrets: &'a Secrets,
    /// Time.
    pub clock: Clock,
    /// Who has an account.
    pub users: Users,
    /// Which passwords are good enough, and the threads that hash them.
    pub passwords: Passwords,
    /// Letters.
    pub mail: Mail,
    /// Mailed links.
    pub proofs: Proofs,
    /// Which domains take mail.
    pub domains: Domains,
}

impl Profiles {
    /// Opens the feature; `api_url` is where clients reach the API, without a slash at its end.
    #[must_use]
    pub fn new(parts: Parts<'_>, api_url: &str) -> Self {
        let Parts { db, secrets, clock, users, passwords, mail, proofs, domains } = parts;
        let own = FreshCache::new(View::Profile, Arc::clone(db.freshness()), REMEMBERED);
        let cursor_key = Arc::new(secrets.derive("cursor"));
        let (db, api_url) = (db.clone(), api_url.into());
        Self { db, clock, users, passwords, mail, proofs, domains, api_url, cursor_key, own }
    }

    /// A person in full, with the newest history and the block list.
    pub(crate) async fn full(&self, user: user::Model) -> Result<User, DbErr> {
        let beside = self.users.beside(user.id, shown::RECENT).await?;
        Ok(User::in_full(user, beside))
    }

    /// One's own profile, ready to be sent; `None` if the account has just gone.
    async fn own(&self, id: Uuid) -> anyhow::Result<Option<Ready>> {
        let load = async {
            let user = self.users.by_id(id).await.map_err(Some)?.ok_or(None)?;
            let etag = shown::etag_of_full(&user);
            let full = self.full(user).await.map_err(Some)?;
            let body = serde_json::to_vec(&full).map_err(|error| Some(DbErr::Custom(error.to_string())))?;
            Ok::<_, Option<DbErr>>(Ready { body: body.into(), etag })
        };
        match self.own.get_or_load(id, load).await {
            Ok(ready) => Ok(Some(ready)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error.into()),
        }
    }
}
