//! Signing up.

use futures_util::FutureExt;

use super::throttle::{self, Act};
use super::{Auth, SignedIn};
use crate::platform::hashing::Busy;
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::sessions::{Kind, NewSession, Role, Roles};
use crate::users::{CreateRefusal, NewUser, Origin, Password};

crate::refusals! {
    /// Why nobody is signed up.
    pub enum SignUpRefusal {
        Closed = 403 "forbidden" "Sign-up is closed. Ask an admin for an account.",
        Foreign = 403 "forbidden" "This request was sent by another site.",
        UsernameTaken = 409 "username_taken" "This user name is taken.",
        EmailTaken = 409 "email_taken" "This e-mail address belongs to another account.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many sign-ups from your address. Please wait before the next.",
        Busy(RetryAfter) = 503 "unavailable" "Too many people are signing in right now. Please try again in a moment.",
    }
}

impl From<CreateRefusal> for SignUpRefusal {
    fn from(refusal: CreateRefusal) -> Self {
        match refusal {
            // The id is made here, of 74 random bits.
            CreateRefusal::IdTaken | CreateRefusal::UsernameTaken => Self::UsernameTaken,
            CreateRefusal::EmailTaken => Self::EmailTaken,
        }
    }
}

/// Somebody who wants an account: fields that are valid, a password whose goodness is yet to be judged.
pub struct SignUp {
    /// The account, still without its hash and roles.
    pub new: NewUser,
    /// The password.
    pub password: Password,
    /// From where.
    pub client: ClientInfo,
}

impl Auth {
    /// Makes an account and signs it in.
    pub async fn sign_up(&self, mut who: SignUp) -> Result<SignedIn, Failure<SignUpRefusal>> {
        if !self.settings.registration_enabled {
            return Err(SignUpRefusal::Closed.into());
        }
        let busy = |busy: Busy| SignUpRefusal::Busy(RetryAfter(busy.retry_after_seconds));
        self.passwords.room().map_err(busy)?;
        who.new.roles = Role::User.into();
        if who.new.username.is_reserved() {
            let error = FieldError::new("username", "This user name is reserved.");
            return Err(SignUpRefusal::Invalid(vec![error]).into());
        }
        self.count_sign_up(&who.client).await?;
        let faults = self.passwords.judge(&who.password, who.new.context(), "password").await?;
        if !faults.is_empty() {
            return Err(SignUpRefusal::Invalid(faults).into());
        }
        let hash = self.passwords.hash(&who.password).await;
        let hash = hash.map_err(busy)?;
        who.new.password_hash = Some(hash);
        self.make_and_let_in(who.new, Kind::Token, who.client).await
    }

    /// Makes the account and opens its first session, both or neither.
    pub(super) async fn make_and_let_in(
        &self,
        mut new: NewUser,
        kind: Kind,
        client: ClientInfo,
    ) -> Result<SignedIn, Failure<SignUpRefusal>> {
        let auth = self.clone();
        let now = self.clock.now();
        let id = *new.id.get_or_insert_with(|| self.random.uuid_v7(now));
        let origin = Origin { by: Some(id), session: None, trace_id: Some(client.trace_id.to_string()) };
        let (user, session) = self
            .db
            .write(move |tx| {
                async move {
                    let user = auth
                        .users
                        .create_in(tx, new, &origin)
                        .await
                        .map_err(Failure::within::<SignUpRefusal>)?;
                    let roles = Roles::from_bits(user.roles);
                    let new = NewSession { user_id: user.id, roles, kind, amr: &["pwd"], client };
                    let session = auth.sessions.open_session(tx, new).await?;
                    Ok::<_, Failure<SignUpRefusal>>((user, session))
                }
                .boxed()
            })
            .await?;
        tracing::info!(user_id = %user.id, session_id = %session.id, "signed up");
        let device = self.new_device(user.id, now).text(&self.secrets);
        Ok(SignedIn { user, session, device })
    }

    async fn count_sign_up(&self, client: &ClientInfo) -> Result<(), Failure<SignUpRefusal>> {
        let (windows, now) = (self.windows(Act::SignUp, client), self.clock.now());
        self.db
            .write(move |tx| {
                async move {
                    for window in &windows {
                        throttle::enter(tx, window, now).await?.map_err(SignUpRefusal::TooOften)?;
                    }
                    Ok::<_, Failure<SignUpRefusal>>(())
                }
                .boxed()
            })
            .await
    }
}
