//! Signing in with a password.
//!
//! The order is the security: count the try, then look at the secret, then decide. Whoever is not let in learns the
//! same thing in the same time, whether the account exists or not; what is wrong with an account (a ban) is told
//! only to who knows its password.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::Auth;
use super::admission::{Admission, Arrival, BY_PASSWORD, EnterRefusal, Entered, SignedIn};
use super::door::Demand;
use super::pending::{self, Pending};
use super::throttle::{self, Act, Bucket, End, Try, Window};
use crate::flags::{Flag, LOGIN, Person};
use crate::mail::Letter;
use crate::otp::Method;
use crate::platform::clock::Timestamp;
use crate::platform::config::Quota;
use crate::platform::db::Tx;
use crate::platform::hashing::{Busy, Verdict};
use crate::platform::problem::{Breakage, Failure, FieldError, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::sessions::{DeviceToken, Kind, OpaqueToken, Roles, Tokens};
use crate::users::store::user;
use crate::users::{Identifier, Password, SigningIn};

crate::refusals! {
    /// Why nobody is signed in.
    pub enum SignInRefusal {
        Invalid = 401 "invalid_credentials" "The user name or the password is wrong." oauth "invalid_grant",
        OtpRequired(Demand) = 401 "otp_required" "The password is right. Now show the second factor: POST /auth/OTP.",
        Unproved = 403 "email_not_verified" "Please prove your e-mail address first: follow the link in the mail that we sent you.",
        Foreign = 403 "forbidden" "This request was sent by another site.",
        Malformed(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        OtherGrant(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be." oauth "unsupported_grant_type",
        UsernameTaken = 409 "username_taken" "The account was deleted, and its user name was taken since. Ask an admin.",
        EmailTaken = 409 "email_taken" "The account was deleted, and its e-mail address was taken since. Ask an admin.",
        Inactive(String) = 403 "user_inactive" "The account may not be used.",
        Closed = 403 "feature_disabled" "Signing in is switched off at the moment.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many tries. Please wait before the next.",
        Busy(RetryAfter) = 503 "unavailable" "Too many people are signing in right now. Please try again in a moment.",
    }
}

impl From<EnterRefusal> for SignInRefusal {
    fn from(refusal: EnterRefusal) -> Self {
        match refusal {
            EnterRefusal::UsernameTaken => Self::UsernameTaken,
            EnterRefusal::EmailTaken => Self::EmailTaken,
            EnterRefusal::Gone | EnterRefusal::Unlinkable => Self::Invalid,
        }
    }
}

impl SignInRefusal {
    fn busy(busy: Busy) -> Self {
        Self::Busy(busy.into())
    }
}

/// How long a device stays a known one.
pub(super) const DEVICE_LASTS: Duration = Duration::from_hours(365 * 24);

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

impl Auth {
    /// Signs in, or leads to the second factor.
    pub async fn sign_in(&self, who: Credentials) -> Result<Admission, Failure<SignInRefusal>> {
        self.passwords.room().map_err(SignInRefusal::busy)?;
        let identifier = Identifier::parse(&who.identifier);
        let found = self.users.signing_in(&identifier).await?;
        let waiting = self.waiting_sign_up(&identifier).await?;
        let account = found.as_ref().map(|found| &found.user);
        let bucket = self.bucket(account, &identifier, who.device.as_deref());
        let tried = Try { bucket, windows: self.windows(Act::SignIn, &who.client) };
        let auth = self.clone();
        // In a task of its own from the count on: a client that leaves must not leave its try open, nor escape being
        // counted.
        self.tasks
            .spawn(async move { Box::pin(auth.decide(found, waiting, tried, who)).await })
            .await
            .map_err(Breakage::from)?
    }

    async fn decide(
        self,
        found: Option<SigningIn>,
        waiting: Option<Pending>,
        tried: Try,
        who: Credentials,
    ) -> Result<Admission, Failure<SignInRefusal>> {
        let tried = self.count(tried, &who.client).await?;
        let waiting = waiting.filter(|_| found.is_none());
        let stored = match (&found, &waiting) {
            (Some(found), _) => found.user.password_hash.as_ref(),
            (None, waiting) => waiting.as_ref().map(|waiting| &waiting.password_hash),
        };
        // Where there is nothing to compare with, an equal amount of work is done.
        let stored = stored.map(|hash| hash.0.as_str());
        let verdict = match self.passwords.compare(&who.password, stored).await {
            Ok(verdict) => verdict,
            Err(busy) => {
                self.settle(tried, End::Nothing).await?;
                return Err(SignInRefusal::busy(busy).into());
            }
        };
        match (found, verdict) {
            (Some(found), Verdict::Right | Verdict::RightButOld) if self.may_come_in(&found).await? => {
                if !self.is_open_to(&found.user) {
                    self.settle(tried, End::Right).await?;
                    return Err(SignInRefusal::Closed.into());
                }
                self.let_in(found, tried, &who, verdict == Verdict::RightButOld).await
            }
            (None, Verdict::Right | Verdict::RightButOld) => {
                self.settle(tried, End::Right).await?;
                Err(self.or_closed(SignInRefusal::Unproved).into())
            }
            (found, _) => {
                let user_id = found.as_ref().map(|found| found.user.id);
                self.settle_wrong(tried, found.map(|found| found.user), &who.client).await?;
                let user_id = user_id.map(tracing::field::display);
                tracing::info!(user_id, client_ip = %who.client.ip, "sign-in failed");
                Err(self.or_closed(SignInRefusal::Invalid).into())
            }
        }
    }

    /// Whether the flag of signing in lets this account in. It can't keep admins out.
    fn is_open_to(&self, user: &user::Model) -> bool {
        let person = Person { id: user.id, roles: Roles::from_bits(user.roles) };
        !self.flags.are_enforced() || self.flags.decide(LOGIN, Some(&person)).on
    }

    /// While signing in is off for everybody but admins, whoever is not let in learns only that: not whether the
    /// password was right, nor who is an admin.
    fn or_closed(&self, refusal: SignInRefusal) -> SignInRefusal {
        let is_off = self.flags.are_enforced() && self.flags.in_force().set.get(LOGIN) == Some(&Flag::Off);
        if is_off { SignInRefusal::Closed } else { refusal }
    }

    /// The tokens of somebody who is in.
    pub fn tokens(&self, signed_in: SignedIn) -> anyhow::Result<Tokens> {
        let SignedIn { user, session, .. } = signed_in;
        let roles = Roles::from_bits(user.roles);
        self.sessions.first_tokens(user.id, roles, user.token_version, session)
    }

    /// The sign-up that waits under this name for its address to be proved. Not by its address: whether somebody else
    /// has that is not to be learned here.
    async fn waiting_sign_up(&self, identifier: &Identifier) -> Result<Option<Pending>, DbErr> {
        match identifier {
            Identifier::Username(name) if self.settings.verification => {
                pending::by_username(self.db.reader(), name.as_str(), self.clock.now()).await
            }
            _ => Ok(None),
        }
    }

    /// A deleted account comes back only if its owner deleted it.
    async fn may_come_in(&self, found: &SigningIn) -> Result<bool, DbErr> {
        if !found.deleted {
            return Ok(true);
        }
        let user = &found.user;
        Ok(user.is_active && self.users.was_left_by_owner(self.db.reader(), user.id).await?)
    }

    async fn let_in(
        &self,
        found: SigningIn,
        tried: Try,
        who: &Credentials,
        rehash: bool,
    ) -> Result<Admission, Failure<SignInRefusal>> {
        if !found.user.is_active {
            let reason = self.reason(self.db.reader(), found.user.id).await?;
            self.settle(tried, End::Right).await?;
            return Err(SignInRefusal::Inactive(reason).into());
        }
        let fresh_hash = if rehash { self.passwords.hash(&who.password).await.ok() } else { None };
        let arrival = Arrival { client: who.client.clone(), kind: who.kind, device: who.device.clone() };
        let (auth, coming, counted) = (self.clone(), arrival.clone(), tried.clone());
        let let_in = self.db.write(move |tx| {
            async move { auth.let_in_tx(tx, found, &tried, fresh_hash, &coming).await }.boxed()
        });
        let let_in = let_in.await;
        if matches!(let_in, Err(Failure::Refused(_))) {
            // With the transaction the end of the try was undone.
            self.settle(counted, End::Right).await?;
        }
        Ok(self.admission(let_in??, &arrival))
    }

    /// Leads on from a right password. A refusal that is known only here keeps the end of the try, so it comes
    /// inside `Ok`.
    async fn let_in_tx(
        &self,
        tx: &Tx,
        found: SigningIn,
        tried: &Try,
        fresh_hash: Option<String>,
        arrival: &Arrival,
    ) -> Result<Result<Entered, SignInRefusal>, Failure<SignInRefusal>> {
        let now = self.clock.now();
        let held = crate::users::store::held(tx, found.user.id).await?;
        // Between the comparison and now the password may have changed, or the account been banned or deleted.
        let unchanged = |present: &user::Model| {
            present.password_hash == found.user.password_hash
                && present.deleted_at == found.user.deleted_at
                && present.is_active
        };
        let Some(user) = held.filter(unchanged) else {
            throttle::settle(tx, tried, End::Nothing, now).await?;
            return Ok(Err(SignInRefusal::Invalid));
        };
        // Also who left may have been deleted by somebody else since.
        if !self.oauth.may_come_back_in(tx, &user).await? {
            throttle::settle(tx, tried, End::Nothing, now).await?;
            return Ok(Err(SignInRefusal::Invalid));
        }
        if let Some(hash) = fresh_hash {
            self.users.rehash_in(tx, &user, hash).await?;
        }
        // Half a sign-in forgives nothing. Before anything else of the throttles is touched: rows are taken in one order.
        let end = if user.otp_method == Method::None { End::Right } else { End::Nothing };
        throttle::settle(tx, tried, end, now).await?;
        // A taken name of a deleted account undoes the transaction, and is told: the password was right.
        let entered = self.admit_in(tx, user, (BY_PASSWORD, None), arrival).await;
        Ok(Ok(entered.map_err(Failure::within::<SignInRefusal>)?))
    }

    /// Why an account is switched off, in the words of its history.
    pub(super) async fn reason(&self, db: &impl ConnectionTrait, user: Uuid) -> Result<String, DbErr> {
        Ok(match self.users.reason_of_ban(db, user).await? {
            Some(reason) => format!("The account may not be used. Reason: {reason}"),
            None => "The account may not be used.".to_owned(),
        })
    }

    async fn count(&self, tried: Try, client: &ClientInfo) -> Result<Try, Failure<SignInRefusal>> {
        let now = self.clock.now();
        let counted = self
            .db
            .write(move |tx| {
                async move {
                    throttle::begin(tx, &tried, now).await?.map_err(SignInRefusal::TooOften)?;
                    Ok::<_, Failure<SignInRefusal>>(tried)
                }
                .boxed()
            })
            .await;
        if let Err(Failure::Refused(SignInRefusal::TooOften(wait))) = &counted {
            tracing::warn!(client_ip = %client.ip, seconds = wait.0, "a sign-in was throttled");
        }
        counted
    }

    pub(super) async fn settle(&self, tried: Try, end: End) -> Result<(), DbErr> {
        let now = self.clock.now();
        let settled = self.db.write::<_, DbErr, _>(move |tx| {
            async move { throttle::settle(tx, &tried, end, now).await }.boxed()
        });
        settled.await.map(|_| ())
    }

    /// Ends a try that failed; the owner of an account that it locks is written to.
    async fn settle_wrong(
        &self,
        tried: Try,
        user: Option<user::Model>,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        let (auth, client, now) = (self.clone(), client.clone(), self.clock.now());
        let settled = self.db.write(move |tx| {
            async move {
                let locked = throttle::settle(tx, &tried, End::Wrong, now).await?;
                if let Some(user) = user.filter(|_| locked) {
                    let letter = Letter::AccountLocked { username: user.username.clone() };
                    auth.tell_in(tx, &user, letter, &client).await?;
                }
                Ok(())
            }
            .boxed()
        });
        settled.await
    }

    /// What the try is counted by: the account, or else the name that is nobody's.
    pub(super) fn bucket(
        &self,
        account: Option<&user::Model>,
        identifier: &Identifier,
        device: Option<&str>,
    ) -> Bucket {
        let Some(account) = account else {
            let name = identifier.canonical().as_bytes();
            return Bucket::Nobody(self.secrets.mac("throttle of nobody", &[name]));
        };
        self.bucket_of(account, device)
    }

    /// The account, unless this very device was fully signed in to it before.
    pub(super) fn bucket_of(&self, account: &user::Model, device: Option<&str>) -> Bucket {
        let known = self.device_of(account, device);
        known.map_or(Bucket::Account(account.id), |device| Bucket::Device(device.device_id))
    }

    /// The device, if it was signed in to this account with its present password within the last year.
    pub(super) fn device_of(&self, account: &user::Model, presented: Option<&str>) -> Option<DeviceToken> {
        let device = DeviceToken::parse(&self.secrets, presented?).ok()?;
        let password_since = Timestamp::from_millis(account.password_changed_at.unwrap_or_default());
        let counts = device.user_id == account.id
            && device.issued_at.seconds() >= password_since.seconds()
            && self.clock.now().since(device.issued_at) < DEVICE_LASTS;
        counts.then_some(device)
    }

    /// The device's token: the one it has, if it still counts, else a new one.
    pub(super) fn known_device(&self, account: &user::Model, presented: Option<&str>) -> OpaqueToken {
        let now = self.clock.now();
        let known = self.device_of(account, presented);
        known.unwrap_or_else(|| self.new_device(account.id, now)).text(&self.secrets)
    }

    pub(super) fn new_device(&self, user_id: Uuid, issued_at: Timestamp) -> DeviceToken {
        DeviceToken { user_id, device_id: self.random.uuid_v7(issued_at), issued_at }
    }

    /// The client's window, and a wider one of the IPv6 network around it.
    pub(super) fn windows(&self, act: Act, client: &ClientInfo) -> Vec<Window> {
        let mut quota = match act {
            Act::SignIn | Act::Introspect => self.settings.throttle_login,
            Act::SignUp => self.settings.throttle_register,
            Act::Forgot => self.settings.throttle_forgot,
        };
        if client.ip.is_loopback() && self.settings.lenient_on_loopback {
            quota.limit = quota.limit.saturating_mul(100);
        }
        let wide = Quota { limit: quota.limit.saturating_mul(10), ..quota };
        let wide = client.wide_bucket().map(|network| Window::of_client(act, network, "/48", wide));
        std::iter::once(Window::of_client(act, client.bucket(), "", quota)).chain(wide).collect()
    }

    /// Compares a signed-in person's password, counted like any other try.
    pub(super) async fn proves(
        &self,
        user: &user::Model,
        password: &Password,
        client: &ClientInfo,
        device: Option<&str>,
    ) -> Result<bool, Failure<SignInRefusal>> {
        let bucket = self.bucket_of(user, device);
        let tried = Try { bucket, windows: self.windows(Act::SignIn, client) };
        let (auth, password, owner) = (self.clone(), password.clone(), user.clone());
        let from = client.clone();
        let compared = self.tasks.spawn(async move {
            let tried = auth.count(tried, &from).await?;
            let stored = owner.password_hash.as_ref().map(|hash| hash.0.as_str());
            match auth.passwords.compare(&password, stored).await {
                Ok(Verdict::Right | Verdict::RightButOld) => {
                    auth.settle(tried, End::Right).await?;
                    Ok(true)
                }
                Ok(Verdict::Wrong) => {
                    auth.settle_wrong(tried, Some(owner), &from).await?;
                    Ok(false)
                }
                Err(busy) => {
                    auth.settle(tried, End::Nothing).await?;
                    Err(Failure::from(SignInRefusal::busy(busy)))
                }
            }
        });
        let right = compared.await.map_err(Breakage::from)??;
        if !right {
            tracing::info!(user_id = %user.id, client_ip = %client.ip, "a proof of identity failed");
        }
        Ok(right)
    }

    pub(super) async fn sweep_throttles(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        self.db.write_in_steps(move |tx, most| throttle::forget(tx, now, most).boxed()).await
    }
}
