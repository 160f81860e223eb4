//! The rows of the second factor.

use std::time::Duration;

use sea_orm::IntoActiveModel;
use sea_orm::entity::prelude::*;

use crate::platform::clock::Timestamp;
use crate::platform::db::{Tx, counted, scalar};

/// Table `second_factors`: authenticators.
pub mod second_factor {
    use sea_orm::entity::prelude::*;

    /// The authenticator of an account, and the one that waits for its first code. Seeds are sealed.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "second_factors")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        pub sealed_seed: Option<Vec<u8>>,
        /// The last step whose code was accepted: it and all before it are over.
        pub last_step: i64,
        pub pending_seed: Option<Vec<u8>>,
        pub pending_until: Option<i64>,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `otp_challenges`.
pub mod challenge {
    use sea_orm::entity::prelude::*;

    use crate::otp::Method;

    /// Somebody who has given the first factor and not yet the second.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "otp_challenges")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub digest: Vec<u8>,
        pub user_id: Uuid,
        pub method: Method,
        /// What the session will be carried by.
        pub kind: String,
        /// How the person proved who they are so far (RFC 8176), separated by spaces.
        pub amr: String,
        pub wrong: i64,
        /// As the account had it then.
        pub password_changed_at: Option<i64>,
        /// As the account had it then.
        pub token_version: i64,
        pub created_at: i64,
        pub expires_at: i64,
        /// What the code that was sent last is recognised by.
        pub code_digest: Option<Vec<u8>>,
        pub code_sent_at: Option<i64>,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `otp_session_codes`.
pub mod session_code {
    use sea_orm::entity::prelude::*;

    /// The code that somebody who is signed in was sent last. It goes with its session.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "otp_session_codes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub session_id: Uuid,
        pub user_id: Uuid,
        pub code_digest: Vec<u8>,
        pub code_sent_at: i64,
        pub wrong: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Before every step.
pub const NO_STEP: i64 = -1;

/// The authenticators of an account.
pub async fn second_factor(
    db: &impl ConnectionTrait,
    user: Uuid,
) -> Result<Option<second_factor::Model>, DbErr> {
    second_factor::Entity::find_by_id(user).one(db).await
}

/// Keeps a seed that waits for its first code, in the place of one that waited before.
pub async fn keep_pending(tx: &Tx, user: Uuid, sealed: Vec<u8>, until: Timestamp) -> Result<(), DbErr> {
    let sql = "INSERT INTO second_factors (user_id, last_step, pending_seed, pending_until) \
               VALUES ($1, $2, $3, $4) ON CONFLICT (user_id) DO UPDATE SET \
               pending_seed = excluded.pending_seed, pending_until = excluded.pending_until";
    let values = [user.into(), NO_STEP.into(), sealed.into(), until.millis().into()];
    tx.run(sql, values).await.map(|_| ())
}

/// Makes the seed that waits the one that counts, if it still waits; the step of its first code is over.
pub async fn activate_pending(tx: &Tx, user: Uuid, sealed: Vec<u8>, step: i64) -> Result<bool, DbErr> {
    let sql = "UPDATE second_factors SET sealed_seed = pending_seed, last_step = $2, pending_seed = NULL, \
               pending_until = NULL WHERE user_id = $1 AND pending_seed = $3";
    Ok(tx.run(sql, [user.into(), step.into(), sealed.into()]).await? == 1)
}

/// Uses up a step and all before it: succeeds once for each, whoever comes first.
pub async fn advance(tx: &Tx, user: Uuid, step: i64) -> Result<bool, DbErr> {
    let sql = "UPDATE second_factors SET last_step = $2 \
               WHERE user_id = $1 AND last_step < $2 AND sealed_seed IS NOT NULL";
    Ok(tx.run(sql, [user.into(), step.into()]).await? == 1)
}

/// Forgets an account's authenticators.
pub async fn forget_second_factor(tx: &Tx, user: Uuid) -> Result<(), DbErr> {
    tx.run("DELETE FROM second_factors WHERE user_id = $1", [user.into()]).await.map(|_| ())
}

/// Keeps a recovery code's digest.
pub async fn keep_recovery_code(tx: &Tx, user: Uuid, digest: &[u8]) -> Result<(), DbErr> {
    let sql = "INSERT INTO recovery_codes (user_id, digest) VALUES ($1, $2)";
    tx.run(sql, [user.into(), digest.into()]).await.map(|_| ())
}

/// Uses up a recovery code: succeeds once for each, whoever comes first.
pub async fn use_recovery_code(tx: &Tx, user: Uuid, digest: &[u8]) -> Result<bool, DbErr> {
    let sql = "DELETE FROM recovery_codes WHERE user_id = $1 AND digest = $2";
    Ok(tx.run(sql, [user.into(), digest.into()]).await? == 1)
}

/// How many recovery codes an account has left.
pub async fn recovery_codes_left(db: &impl ConnectionTrait, user: Uuid) -> Result<u64, DbErr> {
    let sql = "SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1";
    counted(db, sql, [user.into()]).await
}

/// Forgets an account's recovery codes.
pub async fn forget_recovery_codes(tx: &Tx, user: Uuid) -> Result<(), DbErr> {
    tx.run("DELETE FROM recovery_codes WHERE user_id = $1", [user.into()]).await.map(|_| ())
}

/// The challenge with this digest.
pub async fn challenge(db: &impl ConnectionTrait, digest: &[u8]) -> Result<Option<challenge::Model>, DbErr> {
    challenge::Entity::find_by_id(digest.to_vec()).one(db).await
}

/// Opens a challenge, and ends the account's oldest ones when there are more than `most`.
pub async fn insert_challenge(tx: &Tx, row: challenge::Model, most: i64) -> Result<(), DbErr> {
    let (user, opened) = (row.user_id, row.digest.clone());
    challenge::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    let sql = "DELETE FROM otp_challenges WHERE digest IN (SELECT digest FROM otp_challenges \
               WHERE user_id = $1 AND digest <> $3 ORDER BY created_at DESC, digest DESC LIMIT 1000 OFFSET $2)";
    tx.run(sql, [user.into(), (most - 1).into(), opened.into()]).await.map(|_| ())
}

/// Ends a challenge; whether there was one.
pub async fn end_challenge(tx: &Tx, digest: &[u8]) -> Result<bool, DbErr> {
    Ok(tx.run("DELETE FROM otp_challenges WHERE digest = $1", [digest.into()]).await? == 1)
}

/// Counts a wrong answer, and ends the challenge at the last one allowed; how many there were.
pub async fn count_wrong_answer(tx: &Tx, digest: &[u8], most: i64) -> Result<i64, DbErr> {
    let sql = "UPDATE otp_challenges SET wrong = wrong + 1 WHERE digest = $1 RETURNING wrong";
    let wrong = scalar(tx, sql, [digest.into()]).await?.unwrap_or(most);
    if wrong >= most {
        end_challenge(tx, digest).await?;
    }
    Ok(wrong)
}

/// Puts another code in the place of a challenge's code; whether there was a challenge.
pub async fn replace_code(tx: &Tx, digest: &[u8], code: Vec<u8>, now: Timestamp) -> Result<bool, DbErr> {
    let sql = "UPDATE otp_challenges SET code_digest = $2, code_sent_at = $3 WHERE digest = $1";
    Ok(tx.run(sql, [digest.into(), code.into(), now.millis().into()]).await? == 1)
}

/// Ends an account's challenges.
pub async fn forget_challenges(tx: &Tx, user: Uuid) -> Result<(), DbErr> {
    tx.run("DELETE FROM otp_challenges WHERE user_id = $1", [user.into()]).await.map(|_| ())
}

/// The code that a session was sent last.
pub async fn session_code(
    db: &impl ConnectionTrait,
    session: Uuid,
) -> Result<Option<session_code::Model>, DbErr> {
    session_code::Entity::find_by_id(session).one(db).await
}

/// Keeps the code that a session was sent, in the place of the one before.
pub async fn keep_session_code(tx: &Tx, row: session_code::Model) -> Result<(), DbErr> {
    let sql = "INSERT INTO otp_session_codes (session_id, user_id, code_digest, code_sent_at, wrong) \
               VALUES ($1, $2, $3, $4, 0) ON CONFLICT (session_id) DO UPDATE SET \
               code_digest = excluded.code_digest, code_sent_at = excluded.code_sent_at, wrong = 0";
    let values = [row.session_id.into(), row.user_id.into(), row.code_digest.into(), row.code_sent_at.into()];
    tx.run(sql, values).await.map(|_| ())
}

/// Uses up a session's code: succeeds once, whoever comes first.
pub async fn use_session_code(tx: &Tx, session: Uuid, code: Vec<u8>) -> Result<bool, DbErr> {
    let sql = "DELETE FROM otp_session_codes WHERE session_id = $1 AND code_digest = $2";
    Ok(tx.run(sql, [session.into(), code.into()]).await? == 1)
}

/// Counts a wrong code, and voids the right one at the last one allowed.
pub async fn count_wrong_session_code(tx: &Tx, session: Uuid, most: i64) -> Result<(), DbErr> {
    let sql = "UPDATE otp_session_codes SET wrong = wrong + 1 WHERE session_id = $1";
    tx.run(sql, [session.into()]).await?;
    let sql = "DELETE FROM otp_session_codes WHERE session_id = $1 AND wrong >= $2";
    tx.run(sql, [session.into(), most.into()]).await.map(|_| ())
}

/// Voids the codes of an account's sessions.
pub async fn forget_session_codes(tx: &Tx, user: Uuid) -> Result<(), DbErr> {
    tx.run("DELETE FROM otp_session_codes WHERE user_id = $1", [user.into()]).await.map(|_| ())
}

/// Forgets what ran out before `now`, at most `limit` rows of each kind; returns how many.
pub async fn forget_expired(tx: &Tx, now: Timestamp, code_lasts: Duration, limit: i64) -> Result<u64, DbErr> {
    let now_millis = now.millis();
    let sql = "DELETE FROM otp_challenges WHERE digest IN \
               (SELECT digest FROM otp_challenges WHERE expires_at <= $1 LIMIT $2)";
    let challenges = tx.run(sql, [now_millis.into(), limit.into()]).await?;
    let sql = "DELETE FROM otp_session_codes WHERE session_id IN \
               (SELECT session_id FROM otp_session_codes WHERE code_sent_at <= $1 LIMIT $2)";
    let codes = tx.run(sql, [now.before(code_lasts).millis().into(), limit.into()]).await?;
    let sql = "DELETE FROM second_factors WHERE user_id IN (SELECT user_id FROM second_factors \
               WHERE pending_until <= $1 AND sealed_seed IS NULL LIMIT $2)";
    let begun = tx.run(sql, [now_millis.into(), limit.into()]).await?;
    let sql = "UPDATE second_factors SET pending_seed = NULL, pending_until = NULL WHERE user_id IN \
               (SELECT user_id FROM second_factors WHERE pending_until <= $1 LIMIT $2)";
    let pending = tx.run(sql, [now_millis.into(), limit.into()]).await?;
    Ok(challenges + codes + begun + pending)
}
