//! The second factor at the door: answering its challenge, choosing and leaving a method, recovery codes, proving it
//! again.
//!
//! Wrong codes are counted for the account before they are looked at, whichever way they come, so that nobody who
//! knows a password can guess on by starting over.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;

use super::admission::{Arrival, EnterRefusal, Entered};
use super::throttle::{self, AHEAD, Act, CODES_APART, Window};
use super::{Admission, Auth};
use crate::mail::Letter;
use crate::otp::{Answer, Code, EmailCode, Method, RecoveryCode, Seed, Used};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::problem::{Breakage, Failure, FieldError, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::sessions::{Caller, Ending, Kind, OneTimeToken};
use crate::users::Password;
use crate::users::store::{held, user};

crate::refusals! {
    /// Why a second factor lets nobody in.
    pub enum OtpRefusal {
        Invalid = 401 "invalid_otp" "The code is wrong, was used before, or the sign-in has expired. Sign in again if this goes on.",
        Foreign = 403 "forbidden" "This request was sent by another site.",
        UsernameTaken = 409 "username_taken" "The account was deleted, and its user name was taken since. Ask an admin.",
        EmailTaken = 409 "email_taken" "The account was deleted, and its e-mail address was taken since. Ask an admin.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many wrong codes. Please wait before the next.",
    }
}

crate::refusals! {
    /// Why the second factor stays as it is.
    pub enum MethodRefusal {
        Invalid = 401 "invalid_otp" "The code is wrong, has expired or was used before.",
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        Active = 409 "conflict" "This second factor is on already. Turn it off first.",
        Off = 409 "conflict" "There is no second factor.",
        Impossible(Vec<FieldError>) = 422 "validation_failed" "This second factor can't be used.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many wrong codes. Please wait before the next.",
    }
}

crate::refusals! {
    /// Why there are no new recovery codes.
    pub enum RecoveryCodesRefusal {
        Wrong = 401 "invalid_credentials" "The password is wrong.",
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        Off = 409 "conflict" "There is no second factor.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many tries. Please wait before the next.",
        Busy(RetryAfter) = 503 "unavailable" "Too many people are signing in right now. Please try again in a moment.",
    }
}

crate::refusals! {
    /// Why no code is mailed.
    pub enum SendRefusal {
        Invalid = 401 "invalid_otp" "The sign-in has expired, or asks for another second factor.",
        Foreign = 403 "forbidden" "This request was sent by another site.",
        Impossible(Vec<FieldError>) = 422 "validation_failed" "A code can't be mailed.",
        TooOften(RetryAfter) = 429 "rate_limited" "A code was mailed a moment ago. Please wait before the next.",
        Unavailable(RetryAfter) = 503 "unavailable" "The server can't do this right now. Please try again in a moment.",
    }
}

fn password_missing() -> RecoveryCodesRefusal {
    RecoveryCodesRefusal::Invalid(vec![FieldError::new("password", "Must be given.")])
}

/// The account went, or its names, while the code was on its way.
impl From<EnterRefusal> for OtpRefusal {
    fn from(refusal: EnterRefusal) -> Self {
        match refusal {
            EnterRefusal::UsernameTaken => Self::UsernameTaken,
            EnterRefusal::EmailTaken => Self::EmailTaken,
            EnterRefusal::Gone | EnterRefusal::Unlinkable => Self::Invalid,
        }
    }
}

/// An answer to a challenge.
pub struct SecondFactor {
    /// What signing in gave.
    pub token: String,
    /// The code, as typed.
    pub code: String,
    /// From where.
    pub client: ClientInfo,
    /// The cookie of a device that was signed in before.
    pub device: Option<String>,
    /// What the session will be carried by: a sign-in ends at the door where it began.
    pub kind: Kind,
}

/// A method that was changed.
pub struct MethodChanged {
    /// The account as it is now.
    pub user: user::Model,
    /// What was turned on came with these; shown once.
    pub recovery_codes: Option<Vec<RecoveryCode>>,
}

impl Auth {
    /// Signs in whoever answers their challenge.
    pub async fn answer(&self, who: SecondFactor) -> Result<Admission, Failure<OtpRefusal>> {
        let token = OneTimeToken::parse(&who.token).map_err(|_| OtpRefusal::Invalid)?;
        let waiting = self.otp.waiting(self.db.reader(), &token).await?;
        let waiting = waiting.filter(|waiting| waiting.first.kind == who.kind).ok_or(OtpRefusal::Invalid)?;
        let code = self.otp.read_code(&who.code).ok_or(OtpRefusal::Invalid)?;
        let user = self.users.by_id(waiting.user_id).await?.ok_or(OtpRefusal::Invalid)?;
        let arrival = Arrival { client: who.client, kind: who.kind, device: who.device };
        let mut windows = self.windows(Act::SignIn, &arrival.client);
        // Nobody guesses a recovery code: whoever uses up the guesses of a day does not keep the owner from theirs.
        if matches!(code, Code::Digits(_)) {
            windows.push(self.window_of_codes(&user, arrival.device.as_deref()));
        }
        let auth = self.clone();
        // In a task of its own: a client that leaves must not escape being counted.
        let answered = self.tasks.spawn(async move {
            auth.count_codes(windows.clone()).await.map_err(OtpRefusal::from_wait)?;
            auth.decide_on_code(&token, user, code, windows, arrival).await
        });
        answered.await.map_err(Breakage::from)?
    }

    /// The second factor that the challenge of this token asks for, if it may still be answered at this door.
    pub async fn factor_asked_for(&self, token: &str, door: Kind) -> Result<Option<Method>, DbErr> {
        let Ok(token) = OneTimeToken::parse(token) else { return Ok(None) };
        let waiting = self.otp.waiting(self.db.reader(), &token).await?;
        let waiting = waiting.filter(|waiting| waiting.first.kind == door);
        Ok(waiting.map(|waiting| waiting.method))
    }

    async fn decide_on_code(
        &self,
        token: &OneTimeToken,
        user: user::Model,
        code: Code,
        windows: Vec<Window>,
        arrival: Arrival,
    ) -> Result<Admission, Failure<OtpRefusal>> {
        let (auth, token, coming) = (self.clone(), token.clone(), arrival.clone());
        let entered = self
            .db
            .write(move |tx| {
                async move { auth.answer_in(tx, &token, user.id, &code, &windows, &coming).await }.boxed()
            })
            .await?;
        match entered {
            Some(entered) => Ok(self.admission(entered, &arrival)),
            None => Err(OtpRefusal::Invalid.into()),
        }
    }

    /// Takes the code and opens the session, both or neither. A wrong code is counted, so it comes as `Ok(None)`.
    async fn answer_in(
        &self,
        tx: &Tx,
        token: &OneTimeToken,
        user: uuid::Uuid,
        code: &Code,
        windows: &[Window],
        arrival: &Arrival,
    ) -> Result<Option<Entered>, Failure<OtpRefusal>> {
        let Some(user) = held(tx, user).await?.filter(|user| user.is_active) else { return Ok(None) };
        let waiting = self.otp.waiting(tx, token).await?;
        let joining = self.oauth.waiting_in(tx, token).await?; // goes with the challenge
        let (Some(waiting), Answer::Right(proof)) =
            (waiting, self.otp.answer_in(tx, token, &user, code).await?)
        else {
            tracing::info!(user_id = %user.id, client_ip = %arrival.client.ip, "a second factor failed");
            self.tell_of_guesses_in(tx, &user, windows, &arrival.client).await?;
            return Ok(None);
        };
        throttle::leave_all(tx, windows).await?;
        self.tell_of_recovery_in(tx, &user, proof, &arrival.client).await?;
        let amr = format!("{} {} mfa", waiting.first.amr, proof.amr());
        let entered = self.enter_in(tx, user, (amr, joining), arrival).await;
        let entered = entered.map_err(Failure::within::<OtpRefusal>)?;
        Ok(Some(Entered::In(Box::new(entered.0), entered.1)))
    }

    /// A new seed for an authenticator, which is asked for only once a code of it was right.
    pub async fn begin_authenticator(&self, caller: &Caller) -> Result<Seed, Failure<MethodRefusal>> {
        caller.require_proof_or(self.clock.now(), MethodRefusal::Unproved)?;
        let (otp, id) = (self.otp.clone(), caller.user_id);
        self.db
            .write(move |tx| {
                async move {
                    let user = held(tx, id).await?.ok_or(MethodRefusal::Unproved)?;
                    if user.otp_method == Method::Authenticator {
                        return Err(MethodRefusal::Active.into());
                    }
                    Ok(otp.begin_authenticator_in(tx, &user).await?)
                }
                .boxed()
            })
            .await
    }

    /// Changes the second factor; every other session of the caller ends.
    pub async fn change_method(
        &self,
        caller: &Caller,
        method: Method,
        code: Option<&str>,
        client: &ClientInfo,
    ) -> Result<MethodChanged, Failure<MethodRefusal>> {
        caller.require_proof_or(self.clock.now(), MethodRefusal::Unproved)?;
        // Looked at before anything is counted: what can't be is no guess.
        let user = self.users.by_id(caller.user_id).await?.ok_or(MethodRefusal::Unproved)?;
        self.may_change(&user, method)?;
        let code = code.and_then(|code| self.otp.read_code(code)).ok_or(MethodRefusal::Invalid)?;
        let windows = self.windows_of_code(caller.user_id, &code, client);
        let (auth, caller, client) = (self.clone(), caller.clone(), client.clone());
        let changed = self.tasks.spawn(async move {
            auth.count_codes(windows.clone()).await.map_err(MethodRefusal::from_wait)?;
            let (db, acting) = (auth.db.clone(), auth.clone());
            db.write(move |tx| {
                async move {
                    let change = MethodChange { caller, method, code, client };
                    acting.change_method_in(tx, change, &windows).await
                }
                .boxed()
            })
            .await
        });
        changed.await.map_err(Breakage::from)??.ok_or_else(|| MethodRefusal::Invalid.into())
    }

    /// `Ok(None)`: the code was wrong, and stays counted.
    async fn change_method_in(
        &self,
        tx: &Tx,
        change: MethodChange,
        windows: &[Window],
    ) -> Result<Option<MethodChanged>, Failure<MethodRefusal>> {
        let MethodChange { caller, method, code, client } = change;
        let user = held(tx, caller.user_id).await?.ok_or(MethodRefusal::Unproved)?;
        self.may_change(&user, method)?;
        caller.still_in(tx).await?;
        let Some(recovery_codes) = self.switch_in(tx, &user, &caller, (method, &code), &client).await? else {
            self.tell_of_guesses_in(tx, &user, windows, &client).await?;
            return Ok(None);
        };
        throttle::leave_all(tx, windows).await?;
        let kept = Some(caller.session_id);
        self.sessions.end_all(tx, user.id, kept, Ending::SecondFactorChanged).await?;
        let letter =
            Letter::SecondFactorChanged { username: user.username.clone(), method: method.name().to_owned() };
        self.tell_in(tx, &user, letter, &client).await?;
        let user = held(tx, user.id).await?.ok_or(MethodRefusal::Unproved)?;
        Ok(Some(MethodChanged { user, recovery_codes }))
    }

    /// Turns the method on, or the one there is off, and gives the recovery codes that come with it. `None`: the code was
    /// wrong.
    async fn switch_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        caller: &Caller,
        (method, code): (Method, &Code),
        client: &ClientInfo,
    ) -> Result<Option<Option<Vec<RecoveryCode>>>, DbErr> {
        Ok(match method {
            Method::None => match self.otp.check_in(tx, user, caller.session_id, code).await? {
                Some(proof) => {
                    self.tell_of_recovery_in(tx, user, proof, client).await?;
                    self.otp.turn_off_in(tx, user).await?;
                    Some(None)
                }
                None => None,
            },
            Method::Authenticator => self.otp.confirm_authenticator_in(tx, user, code).await?.map(Some),
            Method::Email => self.otp.confirm_email_in(tx, user, caller.session_id, code).await?.map(Some),
        })
    }

    fn may_change(&self, user: &user::Model, method: Method) -> Result<(), MethodRefusal> {
        match (method, user.otp_method) {
            (Method::None, Method::None) => Err(MethodRefusal::Off),
            (method, present) if method == present => Err(MethodRefusal::Active),
            (Method::Email, _) => self.may_use_email(user).map_err(MethodRefusal::Impossible),
            _ => Ok(()),
        }
    }

    /// New recovery codes for the caller; the old ones are void. Each of them replaces the second factor, so the password
    /// alone must not be enough: a fresh proof includes the factor. Who has no password has proved themselves elsewhere.
    pub async fn replace_recovery_codes(
        &self,
        caller: &Caller,
        password: Option<&Password>,
        client: &ClientInfo,
        device: Option<&str>,
    ) -> Result<Vec<RecoveryCode>, Failure<RecoveryCodesRefusal>> {
        caller.require_proof_or(self.clock.now(), RecoveryCodesRefusal::Unproved)?;
        let user = self.users.by_id(caller.user_id).await?.ok_or(RecoveryCodesRefusal::Wrong)?;
        if user.otp_method == Method::None {
            return Err(RecoveryCodesRefusal::Off.into());
        }
        if user.password_hash.is_some() || password.is_some() {
            let password = password.ok_or_else(password_missing)?;
            if !self.proves(&user, password, client, device).await.map_err(Failure::within)? {
                return Err(RecoveryCodesRefusal::Wrong.into());
            }
        }
        let (auth, session, client) = (self.clone(), caller.session_id, client.clone());
        self.db
            .write(move |tx| {
                async move { auth.replace_recovery_codes_in(tx, &user, session, &client).await }.boxed()
            })
            .await
    }

    /// Replaces them for the account whose password was right; what was true then may be true no longer.
    async fn replace_recovery_codes_in(
        &self,
        tx: &Tx,
        proved: &user::Model,
        session: uuid::Uuid,
        client: &ClientInfo,
    ) -> Result<Vec<RecoveryCode>, Failure<RecoveryCodesRefusal>> {
        let user = held(tx, proved.id).await?.ok_or(RecoveryCodesRefusal::Wrong)?;
        if user.password_hash != proved.password_hash {
            return Err(RecoveryCodesRefusal::Wrong.into());
        }
        if self.sessions.kind_of_living_in(tx, user.id, session).await?.is_none() {
            return Err(RecoveryCodesRefusal::Unproved.into());
        }
        if user.otp_method == Method::None {
            return Err(RecoveryCodesRefusal::Off.into());
        }
        let codes = self.otp.replace_recovery_codes_in(tx, &user).await?;
        let letter = Letter::RecoveryCodesReplaced { username: user.username.clone() };
        self.tell_in(tx, &user, letter, client).await?;
        Ok(codes)
    }

    /// Mails another code for a sign-in that waits for one.
    pub async fn send_code(&self, token: &str, client: &ClientInfo) -> Result<(), Failure<SendRefusal>> {
        let token = OneTimeToken::parse(token).map_err(|_| SendRefusal::Invalid)?;
        let waiting = self.otp.waiting(self.db.reader(), &token).await?;
        let waiting =
            waiting.filter(|waiting| waiting.method == Method::Email).ok_or(SendRefusal::Invalid)?;
        let (auth, client) = (self.clone(), client.clone());
        self.db
            .write(move |tx| {
                async move {
                    let user = held(tx, waiting.user_id).await?.ok_or(SendRefusal::Invalid)?;
                    auth.is_a_while_ago(waiting.code_sent_at)?;
                    auth.count_mailed_in(tx, &user).await?;
                    let code = auth.otp.another_code_in(tx, &token).await?.ok_or(SendRefusal::Invalid)?;
                    auth.mail_another_in(tx, &user, code, &client).await
                }
                .boxed()
            })
            .await
    }

    /// Mails the caller a code, to choose the e-mail code as their second factor or to prove it again.
    pub async fn send_own_code(
        &self,
        caller: &Caller,
        client: &ClientInfo,
    ) -> Result<(), Failure<SendRefusal>> {
        let (auth, client, caller) = (self.clone(), client.clone(), caller.clone());
        self.db
            .write(move |tx| {
                async move {
                    let user = held(tx, caller.user_id).await?.ok_or(SendRefusal::Invalid)?;
                    caller.still_in(tx).await?; // the code is the session's
                    if user.otp_method != Method::Email {
                        auth.may_use_email(&user).map_err(SendRefusal::Impossible)?;
                    }
                    auth.count_mailed_in(tx, &user).await?;
                    let code = auth.otp.enrol_code_in(tx, &user, caller.session_id).await?;
                    auth.mail_another_in(tx, &user, code, &client).await
                }
                .boxed()
            })
            .await
    }

    /// Whether a code of the caller's second factor is right; it is used up. Without a second factor, nothing is asked.
    pub(super) async fn proves_second_factor(
        &self,
        user: &user::Model,
        caller: &Caller,
        code: Option<&str>,
        client: &ClientInfo,
    ) -> Result<bool, Failure<OtpRefusal>> {
        if user.otp_method == Method::None {
            return Ok(true);
        }
        let Some(code) = code.and_then(|code| self.otp.read_code(code)) else { return Ok(false) };
        let windows = self.windows_of_code(user.id, &code, client);
        let (auth, caller, client) = (self.clone(), caller.clone(), client.clone());
        let checked = self.tasks.spawn(async move {
            auth.count_codes(windows.clone()).await.map_err(OtpRefusal::from_wait)?;
            let (db, acting) = (auth.db.clone(), auth.clone());
            db.write(move |tx| {
                async move {
                    let Some(user) = held(tx, caller.user_id).await? else { return Ok(false) };
                    let Some(proof) = acting.otp.check_in(tx, &user, caller.session_id, &code).await? else {
                        acting.tell_of_guesses_in(tx, &user, &windows, &client).await?;
                        return Ok(false);
                    };
                    acting.tell_of_recovery_in(tx, &user, proof, &client).await?;
                    throttle::leave_all(tx, &windows).await?;
                    Ok::<_, Failure<OtpRefusal>>(true)
                }
                .boxed()
            })
            .await
        });
        checked.await.map_err(Breakage::from)?
    }

    /// A code by mail needs an address that is proved, and an operator who offers it.
    fn may_use_email(&self, user: &user::Model) -> Result<(), Vec<FieldError>> {
        let words = if !self.mail.is_on() {
            "This server sends no mail."
        } else if !self.otp.settings().email_allowed {
            "Only an authenticator is allowed here."
        } else if user.email.is_none() || !user.email_verified {
            "Needs an e-mail address that is proved to be yours."
        } else {
            return Ok(());
        };
        Err(vec![FieldError::new("method", words)])
    }

    fn window_of_codes(&self, user: &user::Model, device: Option<&str>) -> Window {
        match self.device_of(user, device) {
            Some(device) => Window::second_factor_on(device.device_id),
            None => Window::second_factor(user.id),
        }
    }

    /// What a code is counted by where somebody is signed in already.
    fn windows_of_code(&self, user: uuid::Uuid, code: &Code, client: &ClientInfo) -> Vec<Window> {
        match code {
            Code::Digits(_) => vec![Window::second_factor(user)],
            Code::Recovery(_) => self.windows(Act::SignIn, client),
        }
    }

    async fn count_codes(&self, windows: Vec<Window>) -> Result<(), Waiting> {
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                async move { throttle::enter_all(tx, &windows, now).await?.map_err(Waiting::TooOften) }
                    .boxed()
            })
            .await
    }

    /// Writes to the owner, once a day, when a wrong code has used up those that the account takes. On a device that they
    /// know, it is most likely themselves who type them.
    async fn tell_of_guesses_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        windows: &[Window],
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        let (now, counted) = (self.clock.now(), Window::second_factor(user.id));
        let is_used_up = windows.contains(&counted) && throttle::look(tx, &counted, now).await?.is_err();
        if is_used_up && throttle::enter(tx, &Window::told_of_guesses(user.id), now).await?.is_ok() {
            let letter = Letter::SecondFactorGuessed { username: user.username.clone() };
            self.tell_in(tx, user, letter, client).await?;
        }
        Ok(())
    }

    /// The code that came with the sign-in counts, too: the next stands a minute apart from it.
    fn is_a_while_ago(&self, sent_at: Option<Timestamp>) -> Result<(), SendRefusal> {
        let now = self.clock.now();
        let sent_at = sent_at.filter(|sent_at| *sent_at <= now.after(AHEAD));
        let left = sent_at.map_or(Duration::ZERO, |sent_at| CODES_APART.saturating_sub(now.since(sent_at)));
        if left.is_zero() {
            return Ok(());
        }
        Err(SendRefusal::TooOften(RetryAfter(left.as_millis().div_ceil(1000).try_into().unwrap_or(1))))
    }

    async fn count_mailed_in(&self, tx: &Tx, user: &user::Model) -> Result<(), Failure<SendRefusal>> {
        let now = self.clock.now();
        Ok(throttle::enter_all(tx, &Window::codes(user.id), now).await?.map_err(SendRefusal::TooOften)?)
    }

    /// Mails the code that took the place of another, or refuses: then that one stays, for nothing of this is kept.
    async fn mail_another_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        code: EmailCode,
        client: &ClientInfo,
    ) -> Result<(), Failure<SendRefusal>> {
        if self.mail_code_in(tx, user, code, client).await? {
            return Ok(());
        }
        // By then at the latest the oldest of its letters is not counted any more.
        Err(SendRefusal::TooOften(RetryAfter(Duration::from_hours(1).as_secs())).into())
    }

    async fn tell_of_recovery_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        proof: Used,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        if proof != Used::RecoveryCode {
            return Ok(());
        }
        let left = self.otp.recovery_codes_left(tx, user).await?;
        let letter = Letter::RecoveryCodeUsed { username: user.username.clone(), left };
        self.tell_in(tx, user, letter, client).await
    }
}

struct MethodChange {
    caller: Caller,
    method: Method,
    code: Code,
    client: ClientInfo,
}

/// Why a code was not even looked at.
enum Waiting {
    TooOften(RetryAfter),
    Broken(DbErr),
}

impl From<DbErr> for Waiting {
    fn from(error: DbErr) -> Self {
        Self::Broken(error)
    }
}

impl OtpRefusal {
    fn from_wait(waiting: Waiting) -> Failure<Self> {
        match waiting {
            Waiting::TooOften(wait) => Self::TooOften(wait).into(),
            Waiting::Broken(error) => error.into(),
        }
    }
}

impl MethodRefusal {
    fn from_wait(waiting: Waiting) -> Failure<Self> {
        match waiting {
            Waiting::TooOften(wait) => Self::TooOften(wait).into(),
            Waiting::Broken(error) => error.into(),
        }
    }
}
