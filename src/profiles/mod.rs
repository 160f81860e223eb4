//! Owns `/user`: what is shown of a person, and to whom.

mod answer;
mod api;
mod at_hand;
mod files_api;
mod export;
mod fields;
mod letters;
mod pictures_api;
mod rules;
mod shapes;
mod shown;
mod target;

use std::sync::Arc;

use bytes::Bytes;
use poem::http::HeaderValue;
use sea_orm::DbErr;
use uuid::Uuid;

use crate::files::{self, Files};
use crate::mail::Mail;
use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::domains::Domains;
use crate::platform::freshness::{FreshCache, View};
use crate::platform::ground::Ground;
use crate::platform::secrets::{Key32, Secrets};
use crate::platform::tasks::Tasks;
use crate::platform::web::RawJson;
use crate::proofs::Proofs;
use crate::sessions::Sessions;
use crate::users::store::{Named, Seen, history, user};
use crate::users::{Extra, Passwords, Users, With};
use crate::workos::Workos;
use answer::Profile;
use shown::Picture;

pub use api::UserApi;
pub use at_hand::PicturesAtHand;
pub use fields::{Fields, SignUpFields};
pub use files_api::UserFilesApi;
pub use pictures_api::PictureApi;
pub(crate) use shapes::{password as shape_of_password, username as shape_of_username};
pub use shapes::{shapes, shapes_of_user};
pub use shown::{ExternalAccount, HistoryLine, PublicUser, Shown, User};
pub use target::Target;

/// People whose own profile is remembered.
const REMEMBERED: u64 = 10_000;

/// The feature: what it owns.
#[derive(Clone)]
pub struct Profiles {
    db: Database,
    clock: Clock,
    users: Users,
    files: Files,
    passwords: Passwords,
    mail: Mail,
    proofs: Proofs,
    domains: Domains,
    sessions: Arc<Sessions>,
    workos: Workos,
    tasks: Tasks,
    api_url: Arc<str>,
    cursor_key: Arc<Key32>,
    own: FreshCache<Own>,
}

/// One's own profile: the row, what is shown of it, and that ready to be sent.
#[derive(Clone)]
struct Own {
    user: Arc<user::Model>,
    full: Arc<User>,
    body: Bytes,
    etag: HeaderValue,
}

/// The earlier features that profiles are built on.
pub struct Parts<'a> {
    /// Database, time and chance.
    pub ground: Ground,
    /// Keys from the master secret.
    pub secrets: &'a Secrets,
    /// Who has an account.
    pub users: Users,
    /// Their files and pictures.
    pub files: Files,
    /// Which passwords are good enough, and the threads that hash them.
    pub passwords: Passwords,
    /// Letters.
    pub mail: Mail,
    /// Mailed links.
    pub proofs: Proofs,
    /// Which domains take mail.
    pub domains: Domains,
    /// Who is signed in where.
    pub sessions: Arc<Sessions>,
    /// The directory at WorkOS, where there is one.
    pub workos: Workos,
    /// Where work goes that outlives its request.
    pub tasks: Tasks,
}

impl Profiles {
    /// How often one's own profile was ready to be sent.
    #[must_use]
    pub fn looks(&self) -> (&'static str, (u64, u64)) {
        ("profiles", self.own.looks().read())
    }

    /// Opens the feature; `api_url` is where clients reach the API, without a slash at its end.
    #[must_use]
    pub fn new(parts: Parts<'_>, api_url: &str) -> Self {
        let Ground { db, clock, .. } = parts.ground;
        Self {
            own: FreshCache::new(View::Profile, Arc::clone(db.freshness()), REMEMBERED),
            db,
            clock,
            users: parts.users,
            files: parts.files,
            passwords: parts.passwords,
            mail: parts.mail,
            proofs: parts.proofs,
            domains: parts.domains,
            sessions: parts.sessions,
            workos: parts.workos,
            tasks: parts.tasks,
            api_url: api_url.into(),
            cursor_key: Arc::new(parts.secrets.derive("cursor")),
        }
    }

    /// A person in full, with the newest history, the block list and files.
    pub(crate) async fn full(&self, user: user::Model) -> Result<User, DbErr> {
        self.full_with(user, Extra::Nothing).await
    }

    /// The same where what stands beside the row may have been read before.
    async fn full_with(&self, user: user::Model, extra: Extra) -> Result<User, DbErr> {
        let beside = match extra {
            Extra::Full(beside) => beside,
            Extra::Nothing | Extra::Aside(_) => self.users.beside(user.id, shown::IN_FULL).await?,
        };
        let files = files::store::from_column(beside.aside.as_deref())?;
        Ok(User::in_full(user, beside, files, &self.api_url))
    }

    /// A person as others see them, where what is shown beside the row may have been read before.
    async fn public_with(&self, user: user::Model, extra: Extra) -> Result<PublicUser, DbErr> {
        let picture = match extra {
            Extra::Aside(column) => files::store::picture_from_column(column.as_deref())?,
            Extra::Nothing | Extra::Full(_) => self.files.picture_of(user.id).await?,
        };
        Ok(PublicUser::of(user, Picture::of(picture, &self.api_url)))
    }

    /// One's own profile; `None` if the account has just gone.
    async fn own(&self, id: Uuid) -> Result<Option<Own>, DbErr> {
        let load = async {
            let with = With::Full(shown::IN_FULL);
            let seen = self.users.seen_with_by(id, &Named::Id(id), with).await.map_err(Some)?;
            let Seen { user, extra, .. } = seen.ok_or(None)?;
            let full = self.full_with(user.clone(), extra).await.map_err(Some)?;
            Own::of(user, full).map_err(Some)
        };
        match self.own.get_or_load(id, load).await {
            Ok(own) => Ok(Some(own)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }
}

impl Own {
    fn of(user: user::Model, full: User) -> Result<Self, DbErr> {
        let body = serde_json::to_vec(&full).map_err(|error| DbErr::Json(error.to_string()))?;
        let etag = shown::etag_of_full(&user);
        Ok(Self { user: Arc::new(user), full: Arc::new(full), body: body.into(), etag })
    }

    /// As it is after a change that is all that happened to it.
    fn after(&self, user: user::Model, told: Vec<history::Model>) -> Result<Self, DbErr> {
        let full = self.full.after(user.clone(), told);
        Self::of(user, full)
    }

    fn profile<T>(self) -> Profile<T> {
        Profile { body: RawJson::new(self.body), etag: self.etag }
    }
}
