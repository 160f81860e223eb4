//! Signing in with a password.
//!
//! The order is the security: count the try, then look at the secret, then decide. Whoever is not let in learns the
//! same thing in the same time, whether the account exists or not; what is wrong with an account (a ban) is told
//! only to who knows its password.

use futures_util::FutureExt;
use sea_orm::DbErr;
use uuid::Uuid;

use super::Auth;
use super::throttle::{self, Bucket, Window};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::hashing::{Busy, Verdict};
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::sessions::{DeviceToken, Kind, NewSession, OpaqueToken, OpenSession, Roles, Tokens};
use crate::users::store::user;
use crate::users::{Deed, Identifier, Origin, Password, SigningIn};

crate::refusals! {
    /// Why nobody is signed in.
    pub enum SignInRefusal {
        Invalid = 401 "invalid_credentials" "The user name or the password is wrong.",
        Malformed(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        Inactive(String) = 403 "user_inactive" "The account may not be used.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many tries. Please wait before the next.",
        Busy(RetryAfter) = 503 "unavailable" "Too many people are signing in right now. Please try again in a moment.",
    }
}

impl SignInRefusal {
    fn busy(busy: Busy) -> Self {
        Self::Busy(RetryAfter(busy.retry_after_seconds))
    }
}

/// Who wants in, with what, from where.
pub struct Credentials {
    /// User name or e-mail address, as typed.
    pub identifier: String,
    /// The password.
    pub password: Password,
    /// What the session will be carried by.
    pub kind: Kind,
    /// From where.
    pub client: ClientInfo,
    /// The cookie of a device that was signed in before.
    pub device: Option<String>,
}

/// Somebody who is in.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub user: user::Model,
    /// Their session.
    pub session: OpenSession,
    /// What makes this device a known one.
    pub device: OpaqueToken,
}

/// A try that was counted and let begin.
struct Try {
    bucket: Bucket,
    window: Window,
}

impl Auth {
    /// Signs in.
    pub async fn sign_in(&self, who: Credentials) -> Result<SignedIn, Failure<SignInRefusal>> {
        self.passwords.room().map_err(SignInRefusal::busy)?;
        let identifier = Identifier::parse(&who.identifier);
        let found = self.users.signing_in(&identifier).await?;
        let account = found.as_ref().map(|found| found.user.id);
        let tried = self.begin_try(account, &identifier, &who).await?;
        let right = match self.compare(&who.password, found.as_ref()).await {
            Ok(verdict) => verdict,
            Err(busy) => return Err(self.turned_away(tried, busy).await?.into()),
        };
        match (found, right) {
            (Some(found), Verdict::Right | Verdict::RightButOld) if self.may_come_in(&found).await? => {
                let rehash = right == Verdict::RightButOld;
                self.let_in(found, tried, &who, rehash).await
            }
            _ => {
                self.failed(tried).await?;
                tracing::info!(
                    user_id = account.map(tracing::field::display),
                    client_ip = %who.client.ip,
                    "sign-in failed"
                );
                Err(SignInRefusal::Invalid.into())
            }
        }
    }

    /// The tokens of somebody who is in.
    pub fn tokens(&self, signed_in: SignedIn) -> anyhow::Result<(Tokens, OpaqueToken)> {
        let SignedIn { user, session, device } = signed_in;
        let roles = Roles::from_bits(user.roles);
        Ok((self.sessions.first_tokens(user.id, roles, user.token_version, session)?, device))
    }

    /// Compares the password; where there is no account, or none with a password, an equal amount of work is done.
    async fn compare(&self, password: &Password, found: Option<&SigningIn>) -> Result<Verdict, Busy> {
        let stored = found.and_then(|found| found.user.password_hash.as_ref());
        self.passwords.compare(password, stored.map(|hash| hash.0.as_str())).await
    }

    /// A deleted account comes back only if its owner deleted it.
    async fn may_come_in(&self, found: &SigningIn) -> Result<bool, DbErr> {
        if !found.deleted {
            return Ok(true);
        }
        let user = &found.user;
        let history = self.users.recent_history(user.id, 1).await?;
        let by_owner = history
            .first()
            .is_some_and(|last| last.action == Deed::Deleted.name() && last.by_id == Some(user.id));
        Ok(by_owner && user.is_active)
    }

    async fn let_in(
        &self,
        found: SigningIn,
        tried: Try,
        who: &Credentials,
        rehash: bool,
    ) -> Result<SignedIn, Failure<SignInRefusal>> {
        if !found.user.is_active {
            let reason = self.reason(found.user.id).await?;
            self.succeeded(tried).await?;
            return Err(SignInRefusal::Inactive(reason).into());
        }
        let fresh_hash = if rehash { self.passwords.hash(&who.password).await.ok() } else { None };
        let (auth, client, kind) = (self.clone(), who.client.clone(), who.kind);
        let (user, session) = self
            .db
            .write(move |tx| {
                async move { auth.let_in_tx(tx, found, &tried, fresh_hash, kind, client).await }.boxed()
            })
            .await?;
        tracing::info!(user_id = %user.id, session_id = %session.id, client_ip = %who.client.ip, "signed in");
        let device = self.known_device(user.id, who.device.as_deref());
        Ok(SignedIn { user, session, device })
    }

    async fn let_in_tx(
        &self,
        tx: &Tx,
        found: SigningIn,
        tried: &Try,
        fresh_hash: Option<String>,
        kind: Kind,
        client: ClientInfo,
    ) -> Result<(user::Model, OpenSession), Failure<SignInRefusal>> {
        // Between the comparison and now the password may have changed or the account may have been banned.
        let present = crate::users::store::held(tx, found.user.id).await?.ok_or(SignInRefusal::Invalid)?;
        if present.password_hash != found.user.password_hash || !present.is_active {
            return Err(SignInRefusal::Invalid.into());
        }
        let mut user = present;
        if user.deleted_at.is_some() {
            let origin =
                Origin { by: Some(user.id), session: None, trace_id: Some(client.trace_id.to_string()) };
            let restored = self.users.restore_in(tx, user.id, &origin).await;
            user = restored.map_err(|_| SignInRefusal::Invalid)?;
        }
        if let Some(hash) = fresh_hash {
            self.users.rehash_in(tx, &user, hash).await?;
        }
        throttle::succeed(tx, &tried.bucket, self.clock.now()).await?;
        throttle::leave(tx, &tried.window).await?;
        let roles = Roles::from_bits(user.roles);
        let new = NewSession { user_id: user.id, roles, kind, amr: &["pwd"], client };
        let session = self.sessions.open_session(tx, new).await?;
        Ok((user, session))
    }

    /// Why an account is switched off, in the words of its history.
    async fn reason(&self, user: Uuid) -> Result<String, DbErr> {
        let history = self.users.recent_history(user, 20).await?;
        let last = history.into_iter().find(|line| line.action == Deed::Deactivated.name());
        Ok(match last {
            Some(line) if !line.description.is_empty() => {
                format!("The account may not be used. Reason: {}", line.description)
            }
            _ => "The account may not be used.".to_owned(),
        })
    }

    /// Counts the try for its account (or for the name that nobody has) and for its client.
    async fn begin_try(
        &self,
        account: Option<Uuid>,
        identifier: &Identifier,
        who: &Credentials,
    ) -> Result<Try, Failure<SignInRefusal>> {
        let bucket = self.bucket(account, identifier, who.device.as_deref());
        let window = self.window("login", &who.client);
        self.count(Try { bucket, window }).await
    }

    async fn count(&self, tried: Try) -> Result<Try, Failure<SignInRefusal>> {
        let now = self.clock.now();
        let counted = self
            .db
            .write(move |tx| {
                async move {
                    throttle::enter(tx, &tried.window, now).await?.map_err(SignInRefusal::TooOften)?;
                    throttle::begin(tx, &tried.bucket, now).await?.map_err(SignInRefusal::TooOften)?;
                    Ok::<_, Failure<SignInRefusal>>(tried)
                }
                .boxed()
            })
            .await;
        if let Err(Failure::Refused(SignInRefusal::TooOften(_))) = &counted {
            tracing::warn!("a sign-in was throttled");
        }
        counted
    }

    /// What the try is counted by: the account, unless this very device was fully signed in to it before.
    fn bucket(&self, account: Option<Uuid>, identifier: &Identifier, device: Option<&str>) -> Bucket {
        let Some(account) = account else {
            let name = identifier.canonical().as_bytes();
            return Bucket::Nobody(self.secrets.mac("throttle of nobody", &[name]));
        };
        match device.and_then(|text| DeviceToken::parse(&self.secrets, text).ok()) {
            Some(device) if device.user_id == account => Bucket::Device(device.device_id),
            _ => Bucket::Account(account),
        }
    }

    /// The device's token: the one it has, if it is of this account, else a new one.
    fn known_device(&self, user: Uuid, presented: Option<&str>) -> OpaqueToken {
        let known = presented
            .and_then(|text| DeviceToken::parse(&self.secrets, text).ok())
            .filter(|device| device.user_id == user);
        let now = self.clock.now();
        known.unwrap_or_else(|| self.new_device(user, now)).text(&self.secrets)
    }

    pub(super) fn new_device(&self, user_id: Uuid, issued_at: Timestamp) -> DeviceToken {
        DeviceToken { user_id, device_id: self.random.uuid_v7(issued_at), issued_at }
    }

    pub(super) fn window(&self, act: &'static str, client: &ClientInfo) -> Window {
        let mut quota =
            if act == "login" { self.settings.throttle_login } else { self.settings.throttle_register };
        let client = client.bucket();
        if client.is_loopback() && self.settings.lenient_on_loopback {
            quota.limit = quota.limit.saturating_mul(100);
        }
        Window { act, client, quota }
    }

    async fn failed(&self, tried: Try) -> Result<(), DbErr> {
        let now = self.clock.now();
        // The client's try stays counted.
        self.db.write(move |tx| async move { throttle::fail(tx, &tried.bucket, now).await }.boxed()).await
    }

    async fn succeeded(&self, tried: Try) -> Result<(), DbErr> {
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                async move {
                    throttle::succeed(tx, &tried.bucket, now).await?;
                    throttle::leave(tx, &tried.window).await
                }
                .boxed()
            })
            .await
    }

    /// No room to hash: the try is taken back, for nothing was learned from it.
    async fn turned_away(&self, tried: Try, busy: Busy) -> Result<SignInRefusal, DbErr> {
        self.db
            .write::<_, DbErr, _>(move |tx| {
                async move {
                    throttle::give_up(tx, &tried.bucket).await?;
                    throttle::leave(tx, &tried.window).await
                }
                .boxed()
            })
            .await?;
        Ok(SignInRefusal::busy(busy))
    }

    /// Compares a signed-in person's password, counted like any other try.
    pub(super) async fn proves(
        &self,
        user: &user::Model,
        password: &Password,
        client: &ClientInfo,
    ) -> Result<bool, Failure<SignInRefusal>> {
        let tried = Try { bucket: Bucket::Account(user.id), window: self.window("login", client) };
        let tried = self.count(tried).await?;
        let stored = user.password_hash.as_ref().map(|hash| hash.0.as_str());
        match self.passwords.compare(password, stored).await {
            Ok(Verdict::Right | Verdict::RightButOld) => {
                self.succeeded(tried).await?;
                Ok(true)
            }
            Ok(Verdict::Wrong) => {
                self.failed(tried).await?;
                Ok(false)
            }
            Err(busy) => Err(self.turned_away(tried, busy).await?.into()),
        }
    }

    pub(super) async fn sweep_throttles(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        let forget = || self.db.write::<_, DbErr, _>(move |tx| throttle::forget(tx, now, 500).boxed());
        while forget().await? > 0 {}
        Ok(())
    }
}
