//! Choosing, checking and giving up a second factor, by somebody who is signed in.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::authenticator::SeedBytes;
use super::challenge::MOST_WRONG;
use super::code::{Digits, EmailCode, RecoveryCode};
use super::seed::Seed;
use super::store::{self, session_code};
use super::{Code, Method, Otp, Used, by_owner};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::users::store::{held, user};
use crate::users::{Deed, Origin};

/// How long a new seed waits for its first code.
const PENDING: Duration = Duration::from_mins(10);
/// Recovery codes that somebody has.
const RECOVERY_CODES: usize = 10;
/// What codes by e-mail are authenticated as.
const LABEL: &str = "e-mail code";

/// What a code by e-mail was sent for. Anywhere else it is worth nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    /// The challenge with this digest.
    Challenge(&'a [u8]),
    /// A change that a session asked for.
    Session(Uuid),
}

impl Subject<'_> {
    fn parts(&self) -> [&[u8]; 2] {
        match self {
            Self::Challenge(digest) => [b"challenge", digest],
            Self::Session(id) => [b"session", id.as_bytes()],
        }
    }
}

impl Otp {
    /// Makes a seed that waits ten minutes for its first code; one that waited before is void. Signing in stays as it
    /// is until then.
    pub async fn begin_authenticator_in(&self, tx: &Tx, user: &user::Model) -> Result<Seed, DbErr> {
        let seed = SeedBytes::new(&self.random);
        let sealed = seed.seal(&self.secrets, &self.random, user.id);
        held(tx, user.id).await?;
        store::keep_pending(tx, user.id, sealed, self.clock.now().after(PENDING)).await?;
        Ok(Seed::new(&seed, &user.username, &self.settings))
    }

    /// Makes the pending seed the second factor, if the code is one of its codes; new recovery codes come with it.
    /// `None`: a wrong code, or nothing pending.
    pub async fn confirm_authenticator_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        code: &Code,
    ) -> Result<Option<Vec<RecoveryCode>>, DbErr> {
        let (Code::Digits(digits), now) = (code, self.clock.now()) else { return Ok(None) };
        let Some(user) = held(tx, user.id).await? else { return Ok(None) };
        let row = store::second_factor(tx, user.id).await?;
        let pending = row.and_then(|row| row.pending_seed.zip(row.pending_until));
        let Some((sealed, _)) = pending.filter(|(_, until)| *until > now.millis()) else { return Ok(None) };
        let step = self
            .open(user.id, &sealed)
            .and_then(|seed| seed.step_of(digits, now, store::NO_STEP, &self.settings));
        let Some(step) = step else { return Ok(None) };
        if !store::activate_pending(tx, user.id, sealed, step).await? {
            return Ok(None);
        }
        self.turn_on(tx, &user, Method::Authenticator).await.map(Some)
    }

    /// A code that somebody who is signed in is sent, to choose e-mail as their second factor or to prove it. It is
    /// good in this session only; the one before is void.
    pub async fn enrol_code_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        session: Uuid,
    ) -> Result<EmailCode, DbErr> {
        let now = self.clock.now();
        let (code, code_digest) = self.email_code(Subject::Session(session), user, now);
        let row = session_code::Model {
            session_id: session,
            user_id: user.id,
            code_digest,
            code_sent_at: now.millis(),
            wrong: 0,
        };
        store::keep_session_code(tx, row).await?;
        Ok(code)
    }

    /// Makes e-mail the second factor, if the code is the one that this session was sent last; new recovery codes
    /// come with it. `None`: a wrong code, no proved address, or a method that the operator does not allow.
    pub async fn confirm_email_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        session: Uuid,
        code: &Code,
    ) -> Result<Option<Vec<RecoveryCode>>, DbErr> {
        let (Code::Digits(digits), now) = (code, self.clock.now()) else { return Ok(None) };
        let Some(user) = held(tx, user.id).await? else { return Ok(None) };
        let may = self.settings.email_allowed && user.email.is_some() && user.email_verified;
        if !may || !self.use_session_code(tx, &user, session, digits, now).await? {
            return Ok(None);
        }
        store::forget_second_factor(tx, user.id).await?;
        self.turn_on(tx, &user, Method::Email).await.map(Some)
    }

    /// Uses up a code of the present method (with e-mail: the one that this session was sent last), or a recovery
    /// code. `None`: it is wrong, which is counted where there are few possibilities: commit either.
    pub async fn check_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        session: Uuid,
        code: &Code,
    ) -> Result<Option<Used>, DbErr> {
        let now = self.clock.now();
        let Some(user) = held(tx, user.id).await? else { return Ok(None) };
        match (code, user.otp_method) {
            (Code::Digits(digits), Method::Email) => {
                let right = self.use_session_code(tx, &user, session, digits, now).await?;
                Ok(right.then_some(Used::EmailCode))
            }
            _ => self.consume(tx, &user, code, now).await,
        }
    }

    /// Gives the second factor up: seeds, codes and challenges are gone.
    pub async fn turn_off_in(&self, tx: &Tx, user: &user::Model) -> Result<(), DbErr> {
        self.take_off_in(tx, user, &by_owner(user)).await
    }

    /// The same on somebody else's word.
    pub async fn take_off_in(&self, tx: &Tx, user: &user::Model, origin: &Origin) -> Result<(), DbErr> {
        held(tx, user.id).await?;
        store::forget_second_factor(tx, user.id).await?;
        store::forget_recovery_codes(tx, user.id).await?;
        self.forget_pending(tx, user.id).await?;
        self.users.set_otp_method_in(tx, user.id, Method::None, origin).await
    }

    /// Ten new recovery codes; the old ones are void.
    pub async fn replace_recovery_codes_in(
        &self,
        tx: &Tx,
        user: &user::Model,
    ) -> Result<Vec<RecoveryCode>, DbErr> {
        held(tx, user.id).await?;
        let codes = self.new_recovery_codes(tx, user.id).await?;
        self.users.note_in(tx, user.id, Deed::RecoveryCodesReplaced, String::new(), &by_owner(user)).await?;
        Ok(codes)
    }

    /// How many recovery codes somebody has left.
    pub async fn recovery_codes_left(
        &self,
        db: &impl ConnectionTrait,
        user: &user::Model,
    ) -> Result<u64, DbErr> {
        store::recovery_codes_left(db, user.id).await
    }

    async fn turn_on(&self, tx: &Tx, user: &user::Model, method: Method) -> Result<Vec<RecoveryCode>, DbErr> {
        self.forget_pending(tx, user.id).await?;
        self.users.set_otp_method_in(tx, user.id, method, &by_owner(user)).await?;
        self.new_recovery_codes(tx, user.id).await
    }

    /// What was under way with another method ends with it.
    async fn forget_pending(&self, tx: &Tx, user: Uuid) -> Result<(), DbErr> {
        store::forget_challenges(tx, user).await?;
        store::forget_session_codes(tx, user).await
    }

    async fn new_recovery_codes(&self, tx: &Tx, user: Uuid) -> Result<Vec<RecoveryCode>, DbErr> {
        let codes: Vec<_> = (0..RECOVERY_CODES).map(|_| RecoveryCode::new(&self.random)).collect();
        store::forget_recovery_codes(tx, user).await?;
        for code in &codes {
            store::keep_recovery_code(tx, user, &code.digest(user)).await?;
        }
        Ok(codes)
    }

    /// Uses up a code that is not sent: of the authenticator, where there is one, or a recovery code. The account is
    /// held.
    pub(super) async fn consume(
        &self,
        tx: &Tx,
        user: &user::Model,
        code: &Code,
        now: Timestamp,
    ) -> Result<Option<Used>, DbErr> {
        match (code, user.otp_method) {
            (Code::Digits(digits), Method::Authenticator) => {
                Ok(self.use_step(tx, user.id, digits, now).await?.then_some(Used::Authenticator))
            }
            (Code::Recovery(code), Method::Authenticator | Method::Email) => {
                Ok(self.use_recovery_code(tx, user, code).await?.then_some(Used::RecoveryCode))
            }
            (Code::Digits(_), Method::Email) | (_, Method::None) => Ok(None),
        }
    }

    async fn use_step(&self, tx: &Tx, user: Uuid, digits: &Digits, now: Timestamp) -> Result<bool, DbErr> {
        let Some(row) = store::second_factor(tx, user).await? else { return Ok(false) };
        let seed = row.sealed_seed.as_deref().and_then(|sealed| self.open(user, sealed));
        let step = seed.and_then(|seed| seed.step_of(digits, now, row.last_step, &self.settings));
        match step {
            Some(step) => store::advance(tx, user, step).await,
            None => Ok(false),
        }
    }

    async fn use_recovery_code(
        &self,
        tx: &Tx,
        user: &user::Model,
        code: &RecoveryCode,
    ) -> Result<bool, DbErr> {
        if !store::use_recovery_code(tx, user.id, &code.digest(user.id)).await? {
            return Ok(false);
        }
        let words = format!("{} left", store::recovery_codes_left(tx, user.id).await?);
        self.users.note_in(tx, user.id, Deed::RecoveryCodeUsed, words, &by_owner(user)).await?;
        Ok(true)
    }

    async fn use_session_code(
        &self,
        tx: &Tx,
        user: &user::Model,
        session: Uuid,
        digits: &Digits,
        now: Timestamp,
    ) -> Result<bool, DbErr> {
        let row = store::session_code(tx, session).await?.filter(|row| row.user_id == user.id);
        let Some(row) = row else { return Ok(false) };
        let sent = Some((&row.code_digest[..], row.code_sent_at));
        if self.is_sent_code(Subject::Session(session), user, digits, sent, now) {
            return store::use_session_code(tx, session, row.code_digest).await;
        }
        store::count_wrong_session_code(tx, session, MOST_WRONG).await?;
        Ok(false)
    }

    /// A new code, and what is stored in its place.
    pub(super) fn email_code(
        &self,
        subject: Subject<'_>,
        user: &user::Model,
        now: Timestamp,
    ) -> (EmailCode, Vec<u8>) {
        let digits = Digits::new(&self.random, self.settings.digits);
        let digest = self.secrets.mac(LABEL, &sent_parts(&subject, user, &digits));
        (EmailCode::new(&digits, now, now.after(self.settings.email_interval)), digest.to_vec())
    }

    /// Whether these are the digits that were sent, to the address that the account still has, and are still good.
    pub(super) fn is_sent_code(
        &self,
        subject: Subject<'_>,
        user: &user::Model,
        digits: &Digits,
        sent: Option<(&[u8], i64)>,
        now: Timestamp,
    ) -> bool {
        sent.is_some_and(|(digest, sent_at)| {
            now.since(Timestamp::from_millis(sent_at)) < self.settings.email_interval
                && self.secrets.verify_mac(LABEL, &sent_parts(&subject, user, digits), digest)
        })
    }

    /// The seed in a row, unless no known secret opens it: then only recovery codes are left.
    fn open(&self, user: Uuid, sealed: &[u8]) -> Option<SeedBytes> {
        let opened = SeedBytes::open(&self.secrets, user, sealed);
        opened.inspect_err(|error| tracing::error!(%error, user_id = %user, "an authenticator's seed")).ok()
    }
}

/// What the code of a letter is bound to.
fn sent_parts<'a>(subject: &'a Subject<'_>, user: &'a user::Model, digits: &'a Digits) -> [&'a [u8]; 5] {
    let [kind, id] = subject.parts();
    let address = user.email.as_deref().unwrap_or_default().as_bytes();
    [kind, id, user.id.as_bytes(), address, digits.as_str().as_bytes()]
}
