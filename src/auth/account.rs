//! What people do about their own password.

use futures_util::FutureExt;

use super::first_start::context_of;
use super::second_factor::RecoveryCodesRefusal;
use super::{Auth, OtpRefusal, SignInRefusal};
use crate::mail::Letter;
use crate::otp::Method;
use crate::platform::clock::Timestamp;
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::sessions::Caller;
use crate::users::store::{held, user};
use crate::users::{ChangeRefusal, Origin, Password};

crate::refusals! {
    /// Why a password is not changed.
    pub enum PasswordRefusal {
        Wrong = 401 "invalid_credentials" "The old password is wrong.",
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many tries. Please wait before the next.",
        Busy(RetryAfter) = 503 "unavailable" "Too many people are signing in right now. Please try again in a moment.",
    }
}

crate::refusals! {
    /// Why somebody has not proved who they are.
    pub enum ReauthenticateRefusal {
        Wrong = 401 "invalid_credentials" "The password is wrong.",
        OtpRequired = 401 "otp_required" "The account has a second factor: send its code, too.",
        WrongCode = 401 "invalid_otp" "The code is wrong, has expired or was used before.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many tries. Please wait before the next.",
        Busy(RetryAfter) = 503 "unavailable" "Too many people are signing in right now. Please try again in a moment.",
    }
}

impl From<SignInRefusal> for PasswordRefusal {
    fn from(refusal: SignInRefusal) -> Self {
        match refusal {
            SignInRefusal::TooOften(wait) => Self::TooOften(wait),
            SignInRefusal::Busy(wait) => Self::Busy(wait),
            _ => Self::Wrong,
        }
    }
}

/// The account went while its password was being changed.
impl From<ChangeRefusal> for PasswordRefusal {
    fn from(_: ChangeRefusal) -> Self {
        Self::Wrong
    }
}

impl From<SignInRefusal> for ReauthenticateRefusal {
    fn from(refusal: SignInRefusal) -> Self {
        match refusal {
            SignInRefusal::TooOften(wait) => Self::TooOften(wait),
            SignInRefusal::Busy(wait) => Self::Busy(wait),
            _ => Self::Wrong,
        }
    }
}

impl From<OtpRefusal> for ReauthenticateRefusal {
    fn from(refusal: OtpRefusal) -> Self {
        match refusal {
            OtpRefusal::TooOften(wait) => Self::TooOften(wait),
            _ => Self::WrongCode,
        }
    }
}

impl From<SignInRefusal> for RecoveryCodesRefusal {
    fn from(refusal: SignInRefusal) -> Self {
        match refusal {
            SignInRefusal::TooOften(wait) => Self::TooOften(wait),
            SignInRefusal::Busy(wait) => Self::Busy(wait),
            _ => Self::Wrong,
        }
    }
}

impl Auth {
    /// Replaces the caller's password; every other session of theirs ends. Who has a second factor needs a fresh proof.
    pub async fn change_password(
        &self,
        caller: &Caller,
        old: &Password,
        new: &Password,
        client: &ClientInfo,
        device: Option<&str>,
    ) -> Result<(), Failure<PasswordRefusal>> {
        let is_proved = caller.require_proof(self.clock.now()).is_ok();
        let user = self.users.by_id(caller.user_id).await?.ok_or(PasswordRefusal::Wrong)?;
        may_change_password(&user, is_proved)?;
        if !self.proves(&user, old, client, device).await.map_err(Failure::within)? {
            return Err(PasswordRefusal::Wrong.into());
        }
        if old.is_same_as(new) {
            let error = FieldError::new("new_password", "Must not be the old password.");
            return Err(PasswordRefusal::Invalid(vec![error]).into());
        }
        let faults = self.passwords.judge(new, context_of(&user), "new_password").await?;
        if !faults.is_empty() {
            return Err(PasswordRefusal::Invalid(faults).into());
        }
        let hash = self.passwords.hash(new).await;
        let hash = hash.map_err(|busy| PasswordRefusal::Busy(busy.into()))?;
        let origin = Origin::of_oneself(user.id, Some(caller.session_id), client);
        let (auth, caller, client) = (self.clone(), caller.clone(), client.clone());
        self.db
            .write(move |tx| {
                async move {
                    // Two changes at once: the one that proved a password that is no longer loses.
                    let present = held(tx, user.id).await?.ok_or(PasswordRefusal::Wrong)?;
                    may_change_password(&present, is_proved)?; // the second factor may be newer than the request
                    if present.password_hash != user.password_hash {
                        return Err(PasswordRefusal::Wrong.into());
                    }
                    caller.still_in(tx).await?; // the hashes have waited for their turns
                    let kept = Some(caller.session_id);
                    let changed = auth.users.set_password_in(tx, user.id, hash, kept, &origin).await;
                    let changed = changed.map_err(Failure::within::<PasswordRefusal>)?;
                    let letter = Letter::PasswordChanged { username: changed.username.clone() };
                    Ok(auth.tell_in(tx, &changed, letter, &client).await?)
                }
                .boxed()
            })
            .await
    }

    /// Proves again who one is; until when that counts.
    pub async fn reauthenticate(
        &self,
        caller: &Caller,
        password: &Password,
        code: Option<&str>,
        client: &ClientInfo,
        device: Option<&str>,
    ) -> Result<Timestamp, Failure<ReauthenticateRefusal>> {
        let user = self.users.by_id(caller.user_id).await?.ok_or(ReauthenticateRefusal::Wrong)?;
        if !self.proves(&user, password, client, device).await.map_err(Failure::within)? {
            return Err(ReauthenticateRefusal::Wrong.into());
        }
        if user.otp_method != Method::None && code.is_none() {
            return Err(ReauthenticateRefusal::OtpRequired.into());
        }
        let proves = self.proves_second_factor(&user, caller, code, client).await;
        if !proves.map_err(Failure::within::<ReauthenticateRefusal>)? {
            return Err(ReauthenticateRefusal::WrongCode.into());
        }
        Ok(self.sessions.proved(caller).await?.ok_or(ReauthenticateRefusal::Wrong)?)
    }
}

/// The old password proves who one is, but where there is a second factor it is only half of that.
fn may_change_password(user: &user::Model, is_proved: bool) -> Result<(), PasswordRefusal> {
    if is_proved || user.otp_method == Method::None { Ok(()) } else { Err(PasswordRefusal::Unproved) }
}
