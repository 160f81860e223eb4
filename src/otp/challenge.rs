//! Between the first factor and the second: whoever gave the first holds a challenge, and answers it with a code.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::code::EmailCode;
use super::enrolment::Subject;
use super::store::{self, challenge};
use super::{Code, Method, Otp, Used};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::sessions::{Kind, OneTimeToken, Purpose};
use crate::users::store::{by_id, held, user};

/// How long a challenge may be answered.
pub const CHALLENGE_LASTS: Duration = Duration::from_mins(5);
/// Wrong codes that end a challenge, or a code by e-mail.
pub(super) const MOST_WRONG: i64 = 5;
/// Challenges of one account that are open at once; older ones go.
const MOST_OPEN: i64 = 10;

/// What was proved already, and what it was to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFactor {
    /// What the session will be carried by.
    pub kind: Kind,
    /// How the person proved who they are so far (RFC 8176), separated by spaces.
    pub amr: String,
}

/// A challenge just made.
#[derive(Debug)]
pub struct Challenge {
    /// For whoever gave the first factor. It opens nothing.
    pub token: OneTimeToken,
    /// What it is to be answered with. Of no other method will a code do, but for a recovery code.
    pub method: Method,
    /// With [`Method::Email`] and an address: what to send, in the same transaction.
    pub code: Option<EmailCode>,
}

/// A challenge that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub user_id: Uuid,
    /// What it is to be answered with.
    pub method: Method,
    /// What was proved already.
    pub first: FirstFactor,
    /// Until when it may be answered.
    pub expires_at: Timestamp,
    /// When its last code was sent, with [`Method::Email`].
    pub code_sent_at: Option<Timestamp>,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was right. Challenge and code are used up.
    Right(Used),
    /// It was wrong, and was counted.
    Wrong {
        /// Tries that are left; with none, the challenge has ended.
        left: u64,
    },
    /// There is no such challenge, or no longer.
    Gone,
}

impl Otp {
    /// A challenge for somebody who has given the first factor; they must have a second.
    pub async fn challenge_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        first: FirstFactor,
    ) -> Result<Challenge, DbErr> {
        let (now, token, method) = (self.clock.now(), OneTimeToken::new(&self.random), user.otp_method);
        let digest = token.digest(Purpose::OtpChallenge);
        let expires_at = now.after(CHALLENGE_LASTS);
        held(tx, user.id).await?; // two sign-ins at once would end the same old challenges in another order
        let made = match (method, &user.email) {
            (Method::Email, Some(_)) => Some(self.email_code(Subject::Challenge(&digest), user, now)),
            _ => None,
        };
        let (code, code_digest) = made.unzip();
        let row = challenge::Model {
            digest: digest.to_vec(),
            user_id: user.id,
            method,
            kind: first.kind.name().to_owned(),
            amr: first.amr,
            wrong: 0,
            password_changed_at: user.password_changed_at,
            token_version: user.token_version,
            created_at: now.millis(),
            expires_at: expires_at.millis(),
            code_sent_at: code_digest.is_some().then(|| now.millis()),
            code_digest,
        };
        store::insert_challenge(tx, row, MOST_OPEN).await?;
        Ok(Challenge { token, method, code: code.map(|code| code.no_later_than(expires_at, now)) })
    }

    /// The challenge of this token, if it may still be answered. This decides nothing: [`Otp::answer_in`] does.
    pub async fn waiting(
        &self,
        db: &impl ConnectionTrait,
        token: &OneTimeToken,
    ) -> Result<Option<Waiting>, DbErr> {
        let Some(row) = store::challenge(db, &token.digest(Purpose::OtpChallenge)).await? else {
            return Ok(None);
        };
        let owner = by_id(db, row.user_id).await?;
        let now = self.clock.now();
        Ok(owner.filter(|owner| row.is_alive(owner, now)).and_then(|owner| row.waiting(&owner)))
    }

    /// Answers a challenge of `user`. What is right is consumed; what is wrong is counted: commit either.
    pub async fn answer_in(
        &self,
        tx: &Tx,
        token: &OneTimeToken,
        user: &user::Model,
        code: &Code,
    ) -> Result<Answer, DbErr> {
        let (now, digest) = (self.clock.now(), token.digest(Purpose::OtpChallenge));
        // Two answers wait for each other here, and what is decided on the account stays true.
        let Some(user) = held(tx, user.id).await? else { return Ok(Answer::Gone) };
        let row = store::challenge(tx, &digest).await?.filter(|row| row.user_id == user.id);
        let Some(row) = row else { return Ok(Answer::Gone) };
        if !row.is_alive(&user, now) {
            store::end_challenge(tx, &digest).await?;
            return Ok(Answer::Gone);
        }
        let proof = match (code, user.otp_method) {
            (Code::Digits(digits), Method::Email) => {
                let subject = Subject::Challenge(&digest);
                let sent = row.code_digest.as_deref().zip(row.code_sent_at);
                self.is_sent_code(subject, &user, digits, sent, now).then_some(Used::EmailCode)
            }
            _ => self.consume(tx, &user, code, now).await?,
        };
        let Some(proof) = proof else {
            let wrong = store::count_wrong_answer(tx, &digest, MOST_WRONG).await?;
            return Ok(Answer::Wrong { left: u64::try_from(MOST_WRONG - wrong).unwrap_or(0) });
        };
        if !store::end_challenge(tx, &digest).await? {
            return Ok(Answer::Gone);
        }
        Ok(Answer::Right(proof))
    }

    /// Another code for a challenge of [`Method::Email`]; the one before is void. Wrong answers stay counted.
    pub async fn another_code_in(&self, tx: &Tx, token: &OneTimeToken) -> Result<Option<EmailCode>, DbErr> {
        let (now, digest) = (self.clock.now(), token.digest(Purpose::OtpChallenge));
        let Some(row) = store::challenge(tx, &digest).await? else { return Ok(None) };
        let Some(user) = held(tx, row.user_id).await? else { return Ok(None) };
        if user.otp_method != Method::Email || user.email.is_none() || !row.is_alive(&user, now) {
            return Ok(None);
        }
        let (code, code_digest) = self.email_code(Subject::Challenge(&digest), &user, now);
        let replaced = store::replace_code(tx, &digest, code_digest, now).await?;
        let until = Timestamp::from_millis(row.expires_at);
        Ok(replaced.then(|| code.no_later_than(until, now)))
    }
}

impl challenge::Model {
    /// Whether it may be answered: in its time, and the account still has the method, password and standing that it
    /// had then.
    fn is_alive(&self, user: &user::Model, now: Timestamp) -> bool {
        self.expires_at > now.millis()
            && self.wrong < MOST_WRONG
            && self.method == user.otp_method
            && user.otp_method != Method::None
            && self.password_changed_at == user.password_changed_at
            && self.token_version == user.token_version
    }

    fn waiting(self, owner: &user::Model) -> Option<Waiting> {
        Some(Waiting {
            user_id: self.user_id,
            method: owner.otp_method,
            first: FirstFactor { kind: Kind::named(&self.kind)?, amr: self.amr },
            expires_at: Timestamp::from_millis(self.expires_at),
            code_sent_at: self.code_sent_at.map(Timestamp::from_millis),
        })
    }
}
