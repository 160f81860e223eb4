//! The rows of sessions and signing keys.

use sea_orm::entity::prelude::*;
use sea_orm::{
    Condition, DbBackend, FromQueryResult, IntoActiveModel, Iterable, QueryOrder, Statement, Value,
};

use super::Caller;
use crate::events::store::{Drawn, written_with};
use crate::platform::clock::Timestamp;
use crate::platform::db::{Lock, Tx, Values, counted, scalars};

/// Table `sessions`: who is signed in where. An ended session is a deleted row.
pub mod session {
    use sea_orm::entity::prelude::*;

    /// A session. Moments are milliseconds since the Unix epoch.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sessions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        /// `token` (access and refresh tokens) or `cookie` (the built-in pages).
        pub kind: String,
        /// Digest of the refresh token or cookie that is good now.
        pub secret_digest: Vec<u8>,
        /// Digest of the refresh token before it.
        pub previous_digest: Option<Vec<u8>>,
        pub rotated_at: Option<i64>,
        /// How the person proved who they are (RFC 8176), separated by spaces.
        pub amr: String,
        pub user_agent: Option<String>,
        pub ip: String,
        pub created_at: i64,
        pub last_seen_at: i64,
        /// When the person last proved who they are; re-authentication counts from here.
        pub proved_at: i64,
        pub idle_expires_at: i64,
        pub expires_at: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl session::Model {
    /// Whether it has neither rested nor lasted too long.
    pub(super) fn lives_at(&self, now: Timestamp) -> bool {
        self.idle_expires_at > now.millis() && self.expires_at > now.millis()
    }
}

/// Table `signing_keys`.
pub mod signing_key {
    use sea_orm::entity::prelude::*;

    /// A key that signs access tokens; the private part is sealed.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "signing_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub kid: String,
        pub algorithm: String,
        pub sealed_private_key: Vec<u8>,
        pub created_at: i64,
        /// From then on nothing verifies by it; `None`: not planned.
        pub retires_at: Option<i64>,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A user's standing with one of their sessions; the session's columns are empty for a user without any.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Standing {
    pub roles: i32,
    pub is_active: bool,
    pub deleted_at: Option<i64>,
    pub token_version: i64,
    pub otp_method: String,
    pub session_id: Option<Uuid>,
    pub proved_at: Option<i64>,
    pub expires_at: Option<i64>,
}

/// What decides whether a user's tokens are good: one row per session, at least one if the user exists.
pub async fn standing(db: &impl ConnectionTrait, user: Uuid) -> Result<Vec<Standing>, DbErr> {
    let sql = "SELECT u.roles, u.is_active, u.deleted_at, u.token_version, \
               u.otp_method, s.id AS session_id, s.proved_at, s.expires_at \
               FROM users u LEFT JOIN sessions s ON s.user_id = u.id WHERE u.id = $1";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [user.into()]);
    Standing::find_by_statement(statement).all(db).await
}

/// The session with this id.
pub async fn by_id(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<session::Model>, DbErr> {
    session::Entity::find_by_id(id).one(db).await
}

/// A user's sessions that have not run out, the last seen first.
pub async fn of_user(
    db: &impl ConnectionTrait,
    user: Uuid,
    now: Timestamp,
) -> Result<Vec<session::Model>, DbErr> {
    session::Entity::find()
        .filter(session::Column::UserId.eq(user))
        .filter(session::Column::IdleExpiresAt.gt(now.millis()))
        .filter(session::Column::ExpiresAt.gt(now.millis()))
        .order_by_desc(session::Column::LastSeenAt)
        .order_by_desc(session::Column::Id)
        .all(db)
        .await
}

/// How many sessions have not run out.
pub async fn count_open(db: &impl ConnectionTrait, now: Timestamp) -> Result<u64, DbErr> {
    let sql = "SELECT COUNT(*) FROM sessions WHERE idle_expires_at > $1 AND expires_at > $1";
    counted(db, sql, [now.millis().into()]).await
}

/// What the user's sessions were opened by, and from where: `User-Agent` and address.
pub async fn origins(db: &impl ConnectionTrait, user: Uuid) -> Result<Vec<(String, String)>, DbErr> {
    let sql = "SELECT COALESCE(user_agent, ''), ip FROM sessions WHERE user_id = $1";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [user.into()]);
    let rows = db.query_all_raw(statement).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// Opens a session, and writes the event that tells of it.
pub async fn insert(tx: &Tx, row: session::Model, told: &[Drawn]) -> Result<(), DbErr> {
    tx.touch(row.user_id);
    let backend = tx.get_database_backend();
    let mut values = Values::default();
    let columns: Vec<String> = session::Column::iter().map(|column| column.as_str().to_owned()).collect();
    let row_values = values.row(session::Column::iter().map(|column| row.get(column)));
    let into = format!("INSERT INTO sessions ({}) VALUES {row_values}", columns.join(", "));
    let sql = written_with(backend, &mut values, row.user_id, told, Some(&into));
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, values.into_vec())).await.map(|_| ())
}

/// Ends the user's longest unseen sessions when there are more than `most`, but not the one just opened.
pub async fn end_beyond(tx: &Tx, user: Uuid, opened: Uuid, most: i64) -> Result<Vec<Gone>, DbErr> {
    let sql = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user_id = $1 AND id <> $3 \
               ORDER BY last_seen_at DESC, id DESC LIMIT 1000 OFFSET $2) RETURNING id, user_id, amr";
    gone(tx, sql, vec![user.into(), (most - 1).into(), opened.into()]).await
}

/// A rotation of a session's secret.
pub struct Rotation {
    pub session: Uuid,
    pub presented: Vec<u8>,
    pub successor: Vec<u8>,
    pub now: Timestamp,
    pub idle_expires_at: Timestamp,
    /// How long the session may rest, and last, in milliseconds: the user's roles may have changed since its ends were
    /// reckoned.
    pub rests: i64,
    pub lasts: i64,
}

impl Rotation {
    /// Whether the session has rested and lasted no longer than it may.
    pub fn is_in_time(&self, session: &session::Model) -> bool {
        let now = self.now.millis();
        session.last_seen_at.saturating_add(self.rests) > now
            && session.created_at.saturating_add(self.lasts) > now
    }
}

/// Puts the successor in the presented secret's place: succeeds once for each secret, whoever comes first.
pub async fn rotate(tx: &Tx, rotation: &Rotation) -> Result<bool, DbErr> {
    let sql = "UPDATE sessions SET previous_digest = secret_digest, secret_digest = $1, rotated_at = $2, \
               last_seen_at = $2, \
               expires_at = CASE WHEN expires_at < created_at + $6 THEN expires_at ELSE created_at + $6 END, \
               idle_expires_at = CASE WHEN expires_at < $3 THEN expires_at ELSE $3 END \
               WHERE id = $4 AND secret_digest = $5 AND idle_expires_at > $2 AND expires_at > $2 \
               AND created_at + $6 > $2 AND last_seen_at + $7 > $2";
    let values = [
        rotation.successor.clone().into(),
        rotation.now.millis().into(),
        rotation.idle_expires_at.millis().into(),
        rotation.session.into(),
        rotation.presented.clone().into(),
        rotation.lasts.into(),
        rotation.rests.into(),
    ];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    Ok(tx.execute_alone(statement).await? == 1)
}

/// Notes that a session was used, and how long it may rest from now on.
pub async fn seen(
    tx: &Tx,
    session: &session::Model,
    now: Timestamp,
    idle_expires_at: Timestamp,
) -> Result<(), DbErr> {
    session::Entity::update_many()
        .col_expr(session::Column::LastSeenAt, now.millis().into())
        .col_expr(session::Column::IdleExpiresAt, idle_expires_at.millis().min(session.expires_at).into())
        .filter(session::Column::Id.eq(session.id))
        .exec(tx)
        .await
        .map(|_| ())
}

/// Notes that the person behind a session proved again who they are; whether the session still lives.
pub async fn proved(tx: &Tx, user: Uuid, session: Uuid, now: Timestamp) -> Result<bool, DbErr> {
    tx.touch(user);
    let noted = session::Entity::update_many()
        .col_expr(session::Column::ProvedAt, now.millis().into())
        .filter(session::Column::Id.eq(session))
        .filter(session::Column::UserId.eq(user))
        .exec(tx)
        .await?;
    Ok(noted.rows_affected == 1)
}

/// A session that has ended.
#[derive(Clone, Debug, FromQueryResult)]
pub struct Gone {
    pub id: Uuid,
    pub user_id: Uuid,
    pub amr: String,
}

/// Users that one statement holds.
const HELD_AT_ONCE: usize = 1000;

/// Holds users until the transaction ends: whoever ends a session takes its user first, as every other act does, since
/// the event of it moves their row on. All are held at once, in the order of ids: two who hold some after others wait for
/// each other.
pub async fn hold(tx: &Tx, users: &[Uuid]) -> Result<(), DbErr> {
    let backend = tx.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(()); // the one writer holds everything
    }
    let mut users = users.to_vec();
    users.sort_unstable();
    users.dedup();
    for part in users.chunks(HELD_AT_ONCE) {
        let mut values = Values::default();
        let ids = values.row(part.iter().map(|user| (*user).into()));
        let sql = format!("SELECT id FROM users WHERE id IN {ids} ORDER BY id FOR NO KEY UPDATE");
        tx.query_all_raw(Statement::from_sql_and_values(backend, sql, values.into_vec())).await?;
    }
    Ok(())
}

/// Whether a caller, who is held, is still what they were at the door: the session lives, the account may be used, and
/// neither its roles nor the version of its tokens is another. Whether the session's time is over was asked there.
pub async fn still_stands(tx: &Tx, caller: &Caller) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM users u JOIN sessions s ON s.user_id = u.id WHERE u.id = $1 AND s.id = $2 \
               AND u.is_active AND u.deleted_at IS NULL AND u.token_version = $3 AND u.roles = $4";
    let values = [
        caller.user_id.into(),
        caller.session_id.into(),
        caller.token_version.into(),
        caller.roles.bits().into(),
    ];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    Ok(tx.query_one_raw(statement).await?.is_some())
}

/// Ends one session of a user, who is held; what it was, if there was one.
pub async fn end(tx: &Tx, user: Uuid, session: Uuid) -> Result<Vec<Gone>, DbErr> {
    tx.touch(user);
    let sql = "DELETE FROM sessions WHERE id = $1 AND user_id = $2 RETURNING id, user_id, amr";
    gone(tx, sql, vec![session.into(), user.into()]).await
}

/// Ends the sessions of a user, who is held, but for the one to be kept; and what was about to become one.
pub async fn end_all(tx: &Tx, user: Uuid, except: Option<Uuid>) -> Result<Vec<Gone>, DbErr> {
    tx.touch(user);
    end_begun(tx, user).await?;
    let sql = "DELETE FROM sessions WHERE user_id = $1 AND id <> $2 RETURNING id, user_id, amr";
    // No session has the id of nothing.
    gone(tx, sql, vec![user.into(), except.unwrap_or_default().into()]).await
}

/// Ends the sign-ins of a user, who is held, that are half done: the code of a provider that waits to be traded, the
/// first factor that waits for the second. The tables are those of `oauth` and `otp`; they are named here so that
/// nothing that ends sessions can forget them.
async fn end_begun(tx: &Tx, user: Uuid) -> Result<(), DbErr> {
    tx.run("DELETE FROM oauth_codes WHERE user_id = $1", [user.into()]).await?;
    tx.run("DELETE FROM otp_challenges WHERE user_id = $1", [user.into()]).await.map(|_| ())
}

/// Who has sessions that ran out before `now`; at most `limit` people. Rest never lasts beyond the end.
pub async fn with_expired(db: &impl ConnectionTrait, now: Timestamp, limit: u64) -> Result<Vec<Uuid>, DbErr> {
    let sql = "SELECT DISTINCT user_id FROM (SELECT user_id FROM sessions WHERE idle_expires_at <= $1 LIMIT $2) AS expired \
               ORDER BY user_id";
    let values = [now.millis().into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    scalars(db, sql, values).await
}

/// Ends the sessions of these users, who are held, that ran out before `now`.
pub async fn end_expired(tx: &Tx, users: &[Uuid], now: Timestamp) -> Result<Vec<Gone>, DbErr> {
    let mut values = Values::default();
    let now = values.place(now.millis());
    let ids = values.row(users.iter().map(|user| (*user).into()));
    let sql = format!(
        "DELETE FROM sessions WHERE idle_expires_at <= {now} AND user_id IN {ids} RETURNING id, user_id, amr"
    );
    gone(tx, &sql, values.into_vec()).await
}

/// Runs a statement that ends sessions.
async fn gone(tx: &Tx, sql: &str, values: Vec<Value>) -> Result<Vec<Gone>, DbErr> {
    Gone::find_by_statement(Statement::from_sql_and_values(tx.get_database_backend(), sql, values))
        .all(tx)
        .await
}

/// Every signing key, newest first.
pub async fn signing_keys(db: &impl ConnectionTrait) -> Result<Vec<signing_key::Model>, DbErr> {
    signing_key::Entity::find()
        .order_by_desc(signing_key::Column::CreatedAt)
        .order_by_desc(signing_key::Column::Kid)
        .all(db)
        .await
}

/// Keeps a new signing key.
pub async fn insert_signing_key(tx: &Tx, row: signing_key::Model) -> Result<(), DbErr> {
    signing_key::Entity::insert(row.into_active_model()).exec_without_returning(tx).await.map(|_| ())
}

/// One instance at a time decides about keys; the decision holds until the transaction ends.
pub async fn lock_signing_keys(tx: &Tx) -> Result<(), DbErr> {
    tx.lock(Lock::SIGNING_KEYS).await
}

/// Lets the keys of an algorithm, or else every key that there is, verify no longer than until `retires_at`.
pub async fn retire_signing_keys(
    tx: &Tx,
    algorithm: Option<&str>,
    retires_at: Timestamp,
) -> Result<(), DbErr> {
    let column = signing_key::Column::RetiresAt;
    let mut retire = signing_key::Entity::update_many()
        .col_expr(column, Some(retires_at.millis()).into())
        .filter(Condition::any().add(column.is_null()).add(column.gt(retires_at.millis())));
    if let Some(algorithm) = algorithm {
        retire = retire.filter(signing_key::Column::Algorithm.eq(algorithm));
    }
    retire.exec(tx).await.map(|_| ())
}

/// Puts a freshly sealed private key in the place of the old one.
pub async fn reseal_signing_key(tx: &Tx, kid: &str, sealed: Vec<u8>) -> Result<(), DbErr> {
    signing_key::Entity::update_many()
        .col_expr(signing_key::Column::SealedPrivateKey, sealed.into())
        .filter(signing_key::Column::Kid.eq(kid))
        .exec(tx)
        .await
        .map(|_| ())
}

/// Forgets keys that retired before `now`.
pub async fn forget_retired_keys(tx: &Tx, now: Timestamp) -> Result<(), DbErr> {
    let retired = signing_key::Column::RetiresAt.lte(now.millis());
    signing_key::Entity::delete_many().filter(retired).exec(tx).await.map(|_| ())
}
