//! The first admin: by settings, or by a link that is printed once and works once.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr, Statement};

use uuid::Uuid;

use super::throttle::{self, Bucket};
use super::{Auth, SignUpRefusal};
use crate::mail::Letter;
use crate::platform::clock::Timestamp;
use crate::platform::db::{Lock, Tx};
use crate::platform::problem::{Breakage, Failure, FieldError, Refusal, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::profiles::SignUpFields;
use crate::sessions::{OneTimeToken, OpaqueToken, Purpose, Role, Roles};
use crate::users::store::user;
use crate::users::{ChangeRefusal, CreateRefusal, Deed, NewUser, Origin, Password, Users};

/// How long the set-up link works.
const LIFETIME: Duration = Duration::from_hours(24);
/// Set-up links that work beside each other. Instances that start together each print one, and nobody knows which of
/// them the operator reads; but a server that is started over and over must not gather them.
const LINKS: i64 = 10;

crate::refusals! {
    /// Why nobody becomes the first admin.
    pub enum SetUpRefusal {
        Invalid = 401 "token_invalid" "This set-up link is not valid, or no longer.",
        UsernameTaken = 409 "username_taken" "This user name is taken.",
        EmailTaken = 409 "email_taken" "This e-mail address belongs to another account.",
        Fields(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        Busy(RetryAfter) = 503 "unavailable" "The server is busy. Please try again in a moment.",
    }
}

impl From<CreateRefusal> for SetUpRefusal {
    fn from(refusal: CreateRefusal) -> Self {
        match refusal {
            CreateRefusal::EmailTaken => Self::EmailTaken,
            CreateRefusal::UsernameTaken | CreateRefusal::IdTaken => Self::UsernameTaken,
        }
    }
}

/// The token of a set-up link, to be shown to the operator once.
pub struct SetUpLink(pub OpaqueToken);

impl Auth {
    /// A set-up link of a server without an admin, good until there is one. The newest ten work.
    pub async fn set_up_link(&self) -> Result<Option<SetUpLink>, DbErr> {
        if self.users.has_admin().await? {
            self.db.write::<_, DbErr, _>(|tx| forget_links(tx).boxed()).await?;
            return Ok(None);
        }
        let token = OneTimeToken::new(&self.random);
        let digest = token.digest(Purpose::Setup).to_vec();
        let now = self.clock.now();
        self.db.write::<_, DbErr, _>(move |tx| keep(tx, digest, now).boxed()).await?;
        Ok(Some(SetUpLink(token.text())))
    }

    /// Makes the first admin of whoever has a link; every link is used up. They sign in as everybody does.
    pub async fn set_up(
        &self,
        link: &str,
        mut new: NewUser,
        password: &Password,
        client: ClientInfo,
    ) -> Result<(), Failure<SetUpRefusal>> {
        let token = OneTimeToken::parse(link).map_err(|_| SetUpRefusal::Invalid)?;
        let digest = token.digest(Purpose::Setup).to_vec();
        let now = self.clock.now();
        if !is_good(self.db.reader(), &digest, now).await? {
            return Err(SetUpRefusal::Invalid.into()); // nobody without a link makes us hash
        }
        let faults = self.passwords.judge(password, new.context(), "password").await?;
        if !faults.is_empty() {
            return Err(SetUpRefusal::Fields(faults).into());
        }
        let hash = self.passwords.hash(password).await;
        let hash = hash.map_err(|busy| SetUpRefusal::Busy(busy.into()))?;
        new.password_hash = Some(hash);
        new.roles = first_admin_roles();
        let (users, trace_id) = (self.users.clone(), Some(client.trace_id.to_string()));
        let user = self
            .db
            .write(move |tx| {
                async move {
                    tx.lock(Lock::SET_UP).await?;
                    let late = crate::users::store::has_admin(tx).await?;
                    if late || !consume(tx, digest, now).await? {
                        return Err(Failure::from(SetUpRefusal::Invalid));
                    }
                    forget_links(tx).await?;
                    let origin = Origin { trace_id, ..Origin::default() };
                    let made = users.create_in(tx, new, &origin).await;
                    let made = made.map_err(Failure::within::<SetUpRefusal>)?;
                    users.audit_operator_in(tx, made.id, Deed::Created.name()).await?;
                    Ok(made)
                }
                .boxed()
            })
            .await?;
        tracing::warn!(user_id = %user.id, "the first admin was made by the set-up link");
        Ok(())
    }

    /// Makes the admin of the settings on a server without one; whether one was made.
    pub async fn make_first_admin(
        &self,
        mut new: NewUser,
        password: &Password,
    ) -> Result<bool, Failure<SignUpRefusal>> {
        if self.users.has_admin().await? {
            return Ok(false);
        }
        let faults = self.passwords.judge(password, new.context(), "password").await?;
        if !faults.is_empty() {
            return Err(SignUpRefusal::Invalid(faults).into());
        }
        let hash = self.passwords.hash(password).await;
        let hash = hash.map_err(|busy| SignUpRefusal::Busy(busy.into()))?;
        new.password_hash = Some(hash);
        new.roles = first_admin_roles();
        let users = self.users.clone();
        self.db
            .write(move |tx| {
                async move {
                    tx.lock(Lock::SET_UP).await?;
                    if crate::users::store::has_admin(tx).await? {
                        return Ok(false); // another instance was faster
                    }
                    create_in(tx, &users, new).await.map(|_| true).map_err(Failure::within)
                }
                .boxed()
            })
            .await
    }

    /// Makes an admin on the operator's word, from the command line; their id.
    pub async fn create_admin(
        &self,
        username: &str,
        email: Option<&str>,
        password: &str,
    ) -> anyhow::Result<Uuid> {
        let fields = SignUpFields { username, email, ..SignUpFields::default() };
        let read = fields.read(password, password, self.users.settings());
        let (mut new, password) = read.map_err(|errors| in_words(&errors))?;
        let faults = self.passwords.judge(&password, new.context(), "password").await;
        let faults = faults.map_err(Breakage::into_cause)?;
        if !faults.is_empty() {
            return Err(in_words(&faults));
        }
        new.password_hash = Some(self.passwords.hash(&password).await?);
        new.roles = first_admin_roles();
        let users = self.users.clone();
        let made = self.db.write(move |tx| async move { create_in(tx, &users, new).await }.boxed()).await;
        Ok(made.map_err(told)?.id)
    }

    /// Sets somebody's password on the operator's word, from the command line; all their sessions end, and they are written to.
    pub async fn set_password(&self, user: &user::Model, password: &Password) -> anyhow::Result<()> {
        let faults = self.passwords.judge(password, context_of(user), "password").await;
        let faults = faults.map_err(Breakage::into_cause)?;
        if !faults.is_empty() {
            return Err(in_words(&faults));
        }
        let hash = self.passwords.hash(password).await?;
        let (auth, id, now) = (self.clone(), user.id, self.clock.now());
        let set = self.db.write(move |tx| {
            async move {
                throttle::forgive(tx, &Bucket::Account(id), now).await?;
                let set = auth.users.set_password_in(tx, id, hash, None, &Origin::default()).await?;
                auth.users.audit_operator_in(tx, id, Deed::PasswordChanged.name()).await?;
                let letter = Letter::PasswordChanged { username: set.username.clone() };
                Ok::<_, Failure<ChangeRefusal>>(auth.tell_for_operator_in(tx, set, letter).await?)
            }
            .boxed()
        });
        set.await.map_err(told)
    }

    pub(super) async fn sweep_set_up_links(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                async move {
                    let sql = "DELETE FROM one_time_tokens WHERE expires_at <= $1";
                    tx.run(sql, [now.millis().into()]).await.map(|_| ())
                }
                .boxed()
            })
            .await
    }
}

/// Makes an account on the operator's word.
async fn create_in(tx: &Tx, users: &Users, new: NewUser) -> Result<user::Model, Failure<CreateRefusal>> {
    let made = users.create_in(tx, new, &Origin::default()).await?;
    users.audit_operator_in(tx, made.id, Deed::Created.name()).await?;
    Ok(made)
}

/// Words that the person is known by.
pub(super) fn context_of(user: &user::Model) -> Vec<String> {
    let local_part = user.email.as_deref().and_then(|email| email.split('@').next());
    std::iter::once(user.username.clone()).chain(local_part.map(str::to_owned)).collect()
}

fn in_words(errors: &[FieldError]) -> anyhow::Error {
    let lines: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    anyhow::anyhow!("{}", lines.join("; "))
}

/// Why what the operator asked for was not done, in words for them.
fn told<R: Refusal>(failure: Failure<R>) -> anyhow::Error {
    match failure {
        Failure::Refused(refusal) => anyhow::anyhow!("{}", refusal.problem().detail),
        Failure::Broken(breakage) => breakage.into_cause(),
    }
}

/// As S1's first admin.
fn first_admin_roles() -> Roles {
    [Role::Admin, Role::Moderator, Role::User].into_iter().collect()
}

async fn keep(tx: &Tx, digest: Vec<u8>, now: Timestamp) -> Result<(), DbErr> {
    tx.lock(Lock::SET_UP).await?;
    let newest = "DELETE FROM one_time_tokens WHERE purpose = $1 AND digest NOT IN (SELECT digest FROM \
                  one_time_tokens WHERE purpose = $1 ORDER BY created_at DESC, digest LIMIT $2)";
    tx.run(newest, [Purpose::Setup.name().into(), (LINKS - 1).into()]).await?;
    let sql = "INSERT INTO one_time_tokens (digest, purpose, user_id, created_at, expires_at) \
               VALUES ($1, $2, NULL, $3, $4)";
    let values = [
        digest.into(),
        Purpose::Setup.name().into(),
        now.millis().into(),
        now.after(LIFETIME).millis().into(),
    ];
    tx.run(sql, values).await.map(|_| ())
}

async fn forget_links(tx: &Tx) -> Result<(), DbErr> {
    let sql = "DELETE FROM one_time_tokens WHERE purpose = $1";
    tx.run(sql, [Purpose::Setup.name().into()]).await.map(|_| ())
}

/// Whether a link would work. Only [`consume`] decides.
async fn is_good(db: &impl ConnectionTrait, digest: &[u8], now: Timestamp) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM one_time_tokens WHERE digest = $1 AND purpose = $2 AND expires_at > $3";
    let values = [digest.to_vec().into(), Purpose::Setup.name().into(), now.millis().into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.query_one_raw(statement).await?.is_some())
}

/// Uses a link up: true for exactly one of any number of tries.
async fn consume(tx: &Tx, digest: Vec<u8>, now: Timestamp) -> Result<bool, DbErr> {
    let sql = "DELETE FROM one_time_tokens WHERE digest = $1 AND purpose = $2 AND expires_at > $3";
    let values = [digest.into(), Purpose::Setup.name().into(), now.millis().into()];
    Ok(tx.run(sql, values).await? == 1)
}
