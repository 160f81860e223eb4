//! The rows of mailed links.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use uuid::Uuid;

use super::Link;
use crate::platform::clock::Timestamp;
use crate::platform::db::{Tx, scalar};
use crate::sessions::Purpose;

/// Keeps a link, by its digest.
pub async fn insert(
    tx: &Tx,
    digest: &[u8; 32],
    purpose: Purpose,
    link: &Link,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), DbErr> {
    let sql = "INSERT INTO mailed_links (digest, purpose, user_id, sign_up_id, session_id, email, token_version, \
               password_changed_at, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let values = [
        digest.to_vec().into(),
        purpose.name().into(),
        link.user_id.into(),
        link.sign_up_id.into(),
        link.session_id.into(),
        link.email.clone().into(),
        link.token_version.into(),
        link.password_changed_at.into(),
        now.millis().into(),
        expires_at.millis().into(),
    ];
    tx.run(sql, values).await.map(|_| ())
}

/// Forgets the links of this purpose that the same account or sign-up was sent before this one. Those that prove an
/// address are forgotten for the same address only: anybody may have one sent to the present address, and must not end
/// that of the address that waits.
pub async fn forget_before(tx: &Tx, digest: &[u8; 32], purpose: Purpose, link: &Link) -> Result<(), DbErr> {
    let sql = "DELETE FROM mailed_links WHERE purpose = $1 AND (user_id = $2 OR sign_up_id = $3) \
               AND (email = $4 OR purpose <> 'verify') AND digest <> $5";
    let values = [
        purpose.name().into(),
        link.user_id.into(),
        link.sign_up_id.into(),
        link.email.clone().into(),
        digest.to_vec().into(),
    ];
    tx.run(sql, values).await.map(|_| ())
}

/// Forgets a link.
pub async fn forget_one(tx: &Tx, digest: &[u8; 32]) -> Result<(), DbErr> {
    tx.run("DELETE FROM mailed_links WHERE digest = $1", [digest.to_vec().into()]).await.map(|_| ())
}

/// Forgets the links of this purpose that an account was sent.
pub async fn forget_of_user(tx: &Tx, purpose: Purpose, user: Uuid) -> Result<(), DbErr> {
    let sql = "DELETE FROM mailed_links WHERE purpose = $1 AND user_id = $2";
    tx.run(sql, [purpose.name().into(), user.into()]).await.map(|_| ())
}

/// The account that a link in its time was sent for.
pub async fn owner(
    db: &impl ConnectionTrait,
    digest: &[u8; 32],
    purpose: Purpose,
    now: Timestamp,
) -> Result<Option<Uuid>, DbErr> {
    let sql = "SELECT user_id FROM mailed_links WHERE digest = $1 AND purpose = $2 AND expires_at > $3";
    let values = [digest.to_vec().into(), purpose.name().into(), now.millis().into()];
    let owner: Option<Option<Uuid>> = scalar(db, sql, values).await?;
    Ok(owner.flatten())
}

/// The address of the sign-up that a link was sent for.
pub async fn sign_up_email(db: &impl ConnectionTrait, digest: &[u8; 32]) -> Result<Option<String>, DbErr> {
    let sql = "SELECT email FROM mailed_links WHERE digest = $1 AND sign_up_id IS NOT NULL";
    scalar(db, sql, [digest.to_vec().into()]).await
}

/// Takes a link away, whoever comes first.
pub async fn consume(
    tx: &Tx,
    digest: &[u8; 32],
    purpose: Purpose,
    now: Timestamp,
) -> Result<Option<Link>, DbErr> {
    let sql = "DELETE FROM mailed_links WHERE digest = $1 AND purpose = $2 AND expires_at > $3 \
               RETURNING user_id, sign_up_id, session_id, email, token_version, password_changed_at";
    let values = [digest.to_vec().into(), purpose.name().into(), now.millis().into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    tx.query_one_raw(statement).await?.map(|row| read(&row)).transpose()
}

/// Forgets links that ended before `now`, at most `limit`; returns how many.
pub async fn forget(tx: &Tx, now: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM mailed_links WHERE digest IN \
               (SELECT digest FROM mailed_links WHERE expires_at <= $1 LIMIT $2)";
    tx.run(sql, [now.millis().into(), limit.into()]).await
}

fn read(row: &QueryResult) -> Result<Link, DbErr> {
    Ok(Link {
        user_id: row.try_get("", "user_id")?,
        sign_up_id: row.try_get("", "sign_up_id")?,
        session_id: row.try_get("", "session_id")?,
        email: row.try_get("", "email")?,
        token_version: row.try_get("", "token_version")?,
        password_changed_at: row.try_get("", "password_changed_at")?,
    })
}
