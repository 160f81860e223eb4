//! Sign-ups that wait for their address to be proved: rows without an account.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::proofs::VERIFY_LASTS;
use crate::users::store::PasswordHash;

/// As long as its link.
const LASTS: Duration = VERIFY_LASTS;

/// A sign-up that waits.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Its id; the account gets another one.
    pub id: Uuid,
    /// The user name, kept free of other sign-ups meanwhile.
    pub username: String,
    /// The address to be proved.
    pub email: String,
    /// The other fields, as JSON.
    pub fields: String,
    /// The hash of its password.
    pub password_hash: PasswordHash,
    /// The account without a password that had the address already: it is given this one, if its owner says so.
    pub adds_to: Option<Uuid>,
}

const COLUMNS: &str = "id, username, email, fields, password_hash, adds_to";

/// Keeps a sign-up, unless another one waits under this name. One whose time is over gives way.
pub(super) async fn insert(tx: &Tx, row: &Pending, now: Timestamp) -> Result<bool, DbErr> {
    let sql = "DELETE FROM sign_ups WHERE username = $1 AND expires_at <= $2";
    tx.run(sql, [row.username.clone().into(), now.millis().into()]).await?;
    let sql = "INSERT INTO sign_ups (id, username, email, fields, password_hash, created_at, expires_at, adds_to) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (username) DO NOTHING";
    let values = [
        row.id.into(),
        row.username.clone().into(),
        row.email.clone().into(),
        row.fields.clone().into(),
        row.password_hash.0.clone().into(),
        now.millis().into(),
        now.after(LASTS).millis().into(),
        row.adds_to.into(),
    ];
    Ok(tx.run(sql, values).await? == 1)
}

/// Lets a sign-up wait for another day.
pub(super) async fn prolong(tx: &Tx, id: Uuid, now: Timestamp) -> Result<(), DbErr> {
    let sql = "UPDATE sign_ups SET expires_at = $2 WHERE id = $1";
    tx.run(sql, [id.into(), now.after(LASTS).millis().into()]).await.map(|_| ())
}

/// The sign-up that waits under this name.
pub(super) async fn by_username(
    db: &impl ConnectionTrait,
    username: &str,
    now: Timestamp,
) -> Result<Option<Pending>, DbErr> {
    let sql = format!("SELECT {COLUMNS} FROM sign_ups WHERE username = $1 AND expires_at > $2");
    one(db, &sql, [username.into(), now.millis().into()]).await
}

/// The newest sign-up that waits for this address.
pub(super) async fn by_email(
    db: &impl ConnectionTrait,
    email: &str,
    now: Timestamp,
) -> Result<Option<Pending>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sign_ups WHERE email = $1 AND expires_at > $2 ORDER BY created_at DESC LIMIT 1"
    );
    one(db, &sql, [email.into(), now.millis().into()]).await
}

/// Holds every sign-up that waits for this address until the transaction ends, always in the same order.
pub(super) async fn hold_all(tx: &Tx, email: &str) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.run("SELECT id FROM sign_ups WHERE email = $1 ORDER BY id FOR UPDATE", [email.into()]).await?;
    }
    Ok(())
}

/// Takes a sign-up away, whoever comes first.
pub(super) async fn take(tx: &Tx, id: Uuid, now: Timestamp) -> Result<Option<Pending>, DbErr> {
    let sql = format!("DELETE FROM sign_ups WHERE id = $1 AND expires_at > $2 RETURNING {COLUMNS}");
    one(tx, &sql, [id.into(), now.millis().into()]).await
}

/// Forgets the sign-ups that wait for an address that somebody has proved.
pub(super) async fn forget_of_email(tx: &Tx, email: &str) -> Result<(), DbErr> {
    tx.run("DELETE FROM sign_ups WHERE email = $1", [email.into()]).await.map(|_| ())
}

/// Forgets sign-ups whose time is over, at most `limit`; returns how many.
pub(super) async fn forget(tx: &Tx, now: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM sign_ups WHERE id IN (SELECT id FROM sign_ups WHERE expires_at <= $1 LIMIT $2)";
    tx.run(sql, [now.millis().into(), limit.into()]).await
}

async fn one<const N: usize>(
    db: &impl ConnectionTrait,
    sql: &str,
    values: [Value; N],
) -> Result<Option<Pending>, DbErr> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.query_one_raw(statement).await?.map(|row| read(&row)).transpose()
}

fn read(row: &QueryResult) -> Result<Pending, DbErr> {
    Ok(Pending {
        id: row.try_get("", "id")?,
        username: row.try_get("", "username")?,
        email: row.try_get("", "email")?,
        fields: row.try_get("", "fields")?,
        password_hash: PasswordHash(row.try_get("", "password_hash")?),
        adds_to: row.try_get("", "adds_to")?,
    })
}
