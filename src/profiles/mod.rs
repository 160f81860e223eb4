//! Owns `/user`: what is shown of a person, and to whom.

mod answer;
mod api;
mod fields;
mod rules;
mod shown;
mod target;

use std::sync::Arc;

use bytes::Bytes;
use poem::http::HeaderValue;
use sea_orm::DbErr;
use uuid::Uuid;

use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::freshness::{FreshCache, View};
use crate::platform::secrets::{Key32, Secrets};
use crate::users::store::user;
use crate::users::{Passwords, Users};

pub use api::UserApi;
pub use fields::{Fields, SignUpFields};
pub use shown::{ExternalAccount, File, HistoryLine, PublicUser, Shown, User};
pub use target::Target;

/// People whose full profile is remembered, ready as JSON.
const REMEMBERED: u64 = 10_000;

/// The feature: what it owns.
#[derive(Clone)]
pub struct Profiles {
    clock: Clock,
    users: Users,
    passwords: Passwords,
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

impl Profiles {
    /// Opens the feature; `api_url` is where clients reach the API, without a slash at its end.
    #[must_use]
    pub fn new(
        db: &Database,
        secrets: &Secrets,
        clock: Clock,
        users: Users,
        passwords: Passwords,
        api_url: &str,
    ) -> Self {
        let own = FreshCache::new(View::Profile, Arc::clone(db.freshness()), REMEMBERED);
        let cursor_key = Arc::new(secrets.derive("cursor"));
        Self { clock, users, passwords, api_url: api_url.into(), cursor_key, own }
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
