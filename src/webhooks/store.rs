//! The rows of webhooks and of their deliveries, and where their cursors stand among the events.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{DbBackend, FromQueryResult, IntoActiveModel, QueryOrder, QuerySelect, Statement, Value};

use crate::platform::clock::Timestamp;
use crate::platform::db::{Span, Tx, Values, counted, scalar, scalars, signed};

/// Deliveries that are kept of each webhook.
const KEPT: i64 = 1000;

/// Table `webhooks`.
pub(super) mod webhook {
    use sea_orm::entity::prelude::*;

    /// A webhook. Moments are milliseconds since the Unix epoch.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "webhooks")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub url: String,
        pub description: String,
        /// See [`super::super::target::EventTypes`].
        pub event_types: String,
        pub sealed_secret: Vec<u8>,
        /// The secret before, which signs beside it until `previous_until`.
        pub sealed_previous: Option<Vec<u8>>,
        pub previous_until: Option<i64>,
        /// Why it is sent nothing.
        pub disabled: Option<String>,
        pub disabled_at: Option<i64>,
        /// The last event that it has been sent, or has no interest in.
        pub position: i64,
        pub failing_since: Option<i64>,
        /// Failed tries of the event that comes next.
        pub attempts: i64,
        pub next_try_at: Option<i64>,
        /// How many deliveries were ever tried.
        pub deliveries: i64,
        pub version: i64,
        pub created_by: Uuid,
        pub created_at: i64,
        pub updated_at: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A delivery that was tried.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Delivery {
    pub number: i64,
    pub event_id: Uuid,
    pub event_type: String,
    pub attempt: i64,
    pub status: Option<i64>,
    pub error: Option<String>,
    pub duration: i64,
    pub created_at: i64,
}

/// What is kept of a failed try.
pub(super) struct Failed {
    pub since: Timestamp,
    pub next_try: Option<Timestamp>,
    pub disabled: Option<&'static str>,
}

/// Lets nobody else make a webhook before this transaction ends. SQLite has one writer anyway.
pub(super) async fn hold(tx: &Tx) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared("LOCK TABLE webhooks IN EXCLUSIVE MODE").await?;
    }
    Ok(())
}

/// How many there are.
pub(super) async fn count(tx: &Tx) -> Result<u64, DbErr> {
    webhook::Entity::find().count(tx).await
}

/// Makes one.
pub(super) async fn insert(tx: &Tx, row: webhook::Model) -> Result<(), DbErr> {
    webhook::Entity::insert(row.into_active_model()).exec_without_returning(tx).await.map(|_| ())
}

/// All of them, the oldest first.
pub(super) async fn all(db: &impl ConnectionTrait) -> Result<Vec<webhook::Model>, DbErr> {
    webhook::Entity::find().order_by_asc(webhook::Column::Id).all(db).await
}

/// One of them.
pub(super) async fn find(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<webhook::Model>, DbErr> {
    webhook::Entity::find_by_id(id).one(db).await
}

/// One of them, which nobody else changes before this transaction ends.
pub(super) async fn find_to_change(tx: &Tx, id: Uuid) -> Result<Option<webhook::Model>, DbErr> {
    let query = webhook::Entity::find_by_id(id);
    match tx.get_database_backend() {
        DbBackend::Postgres => query.lock(LockType::NoKeyUpdate).one(tx).await,
        _ => query.one(tx).await,
    }
}

/// Writes what an admin has said; where its cursor stands and how many deliveries there were is not theirs to say.
pub(super) async fn update(tx: &Tx, row: &webhook::Model) -> Result<(), DbErr> {
    let sql = "UPDATE webhooks SET url = $2, description = $3, event_types = $4, sealed_secret = $5, \
               sealed_previous = $6, previous_until = $7, disabled = $8, disabled_at = $9, failing_since = $10, \
               attempts = $11, next_try_at = $12, version = $13, updated_at = $14 WHERE id = $1";
    let values = [
        row.id.into(),
        row.url.clone().into(),
        row.description.clone().into(),
        row.event_types.clone().into(),
        row.sealed_secret.clone().into(),
        row.sealed_previous.clone().into(),
        row.previous_until.into(),
        row.disabled.clone().into(),
        row.disabled_at.into(),
        row.failing_since.into(),
        row.attempts.into(),
        row.next_try_at.into(),
        row.version.into(),
        row.updated_at.into(),
    ];
    tx.run(sql, values).await.map(|_| ())
}

/// Puts its cursor behind this position; what failed there counts no more.
pub(super) async fn replay(tx: &Tx, id: Uuid, position: i64, now: Timestamp) -> Result<u64, DbErr> {
    let sql = "UPDATE webhooks SET position = $2, failing_since = NULL, attempts = 0, next_try_at = NULL, \
               version = version + 1, updated_at = $3 WHERE id = $1";
    tx.run(sql, [id.into(), position.into(), now.millis().into()]).await
}

/// Removes one, with its deliveries.
pub(super) async fn delete(tx: &Tx, id: Uuid) -> Result<u64, DbErr> {
    tx.run("DELETE FROM webhooks WHERE id = $1", [id.into()]).await
}

/// The webhooks that have events before them and are not waiting for another try, which can't be later than `furthest`.
pub(super) async fn due(
    db: &impl ConnectionTrait,
    now: Timestamp,
    furthest: Timestamp,
) -> Result<Vec<Uuid>, DbErr> {
    let sql = "SELECT id FROM webhooks WHERE disabled IS NULL \
               AND (next_try_at IS NULL OR next_try_at <= $1 OR next_try_at > $2) \
               AND EXISTS (SELECT 1 FROM events WHERE events.position > webhooks.position) ORDER BY id";
    let values = [now.millis().into(), furthest.millis().into()];
    scalars(db, sql, values).await
}

/// What waits for a webhook.
pub(super) struct Ahead {
    /// How many events.
    pub count: u64,
    /// When the first of them happened.
    pub first: Option<Timestamp>,
}

/// What waits behind this position, of these types (of all, if none is named), among the next `most` events.
pub(super) async fn ahead(
    db: &impl ConnectionTrait,
    position: i64,
    types: &[String],
    most: u64,
) -> Result<Ahead, DbErr> {
    let mut values = Values::default();
    let behind = values.place(position);
    let mut sql = format!(
        "SELECT COUNT(*), MIN(created_at) FROM (SELECT event_type, created_at FROM events \
         WHERE position > {behind} ORDER BY position LIMIT {most}) AS ahead"
    );
    if !types.is_empty() {
        let types = values.row(types.iter().map(|name| name.clone().into()));
        sql.push_str(" WHERE event_type IN ");
        sql.push_str(&types);
    }
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values.into_vec());
    let Some(row) = db.query_one_raw(statement).await? else { return Ok(Ahead { count: 0, first: None }) };
    let (count, first): (i64, Option<i64>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    Ok(Ahead { count: u64::try_from(count).unwrap_or(0), first: first.map(Timestamp::from_millis) })
}

/// Where the newest event stands; 0 when there is none.
pub(super) async fn newest_position(tx: &Tx) -> Result<i64, DbErr> {
    let sql = "SELECT COALESCE(MAX(position), 0) FROM events WHERE position IS NOT NULL";
    Ok(scalar(tx, sql, []).await?.unwrap_or(0))
}

/// Goes past events that a webhook has no interest in. Whether its cursor still stood there.
pub(super) async fn pass(tx: &Tx, id: Uuid, from: i64, to: i64) -> Result<bool, DbErr> {
    let sql = "UPDATE webhooks SET position = $3 WHERE id = $1 AND position = $2";
    Ok(tx.run(sql, [id.into(), from.into(), to.into()]).await? == 1)
}

/// Books that an event was taken: the cursor moves on. The number of the delivery, unless the cursor stands elsewhere by now,
/// or the webhook leads elsewhere: who is there now has not got it.
pub(super) async fn book_success(tx: &Tx, seen: &webhook::Model, to: i64) -> Result<Option<i64>, DbErr> {
    let sql = "UPDATE webhooks SET position = $4, failing_since = NULL, attempts = 0, next_try_at = NULL, \
               deliveries = deliveries + 1 WHERE id = $1 AND position = $2 AND url = $3 RETURNING deliveries";
    scalar(tx, sql, [seen.id.into(), seen.position.into(), seen.url.as_str().into(), to.into()]).await
}

/// Books that a try failed. The number of the delivery, unless an admin has changed the webhook since it was read.
pub(super) async fn book_failure(
    tx: &Tx,
    seen: &webhook::Model,
    failed: &Failed,
    now: Timestamp,
) -> Result<Option<i64>, DbErr> {
    let sql = "UPDATE webhooks SET failing_since = $4, attempts = attempts + 1, next_try_at = $5, disabled = $6, \
               disabled_at = $7, version = version + $8, deliveries = deliveries + 1 \
               WHERE id = $1 AND position = $2 AND version = $3 AND disabled IS NULL RETURNING deliveries";
    let disabled_at = failed.disabled.map(|_| now.millis());
    let values = [
        seen.id.into(),
        seen.position.into(),
        seen.version.into(),
        failed.since.millis().into(),
        failed.next_try.map(Timestamp::millis).into(),
        failed.disabled.into(),
        disabled_at.into(),
        i64::from(failed.disabled.is_some()).into(),
    ];
    scalar(tx, sql, values).await
}

/// Counts a delivery that moves nothing. Its number, if the webhook is still there.
pub(super) async fn count_delivery(tx: &Tx, id: Uuid) -> Result<Option<i64>, DbErr> {
    let sql = "UPDATE webhooks SET deliveries = deliveries + 1 WHERE id = $1 RETURNING deliveries";
    scalar(tx, sql, [id.into()]).await
}

/// Writes a delivery down, and forgets the one that is too many.
pub(super) async fn log(tx: &Tx, id: Uuid, delivery: Delivery) -> Result<(), DbErr> {
    let sql = "INSERT INTO webhook_deliveries (webhook_id, number, event_id, event_type, attempt, status, error, duration, \
               created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let Delivery { number, event_id, event_type, attempt, status, error, duration, created_at } = delivery;
    let values = [
        id.into(),
        number.into(),
        event_id.into(),
        event_type.into(),
        attempt.into(),
        status.into(),
        error.into(),
        duration.into(),
        created_at.into(),
    ];
    tx.run(sql, values).await?;
    let sql = "DELETE FROM webhook_deliveries WHERE webhook_id = $1 AND number <= $2";
    tx.run(sql, [id.into(), (number - KEPT).into()]).await.map(|_| ())
}

/// What was delivered, by the numbers of the deliveries.
pub(super) async fn deliveries(
    db: &impl ConnectionTrait,
    id: Uuid,
    span: &Span<i64>,
) -> Result<Vec<Delivery>, DbErr> {
    let (order, behind) = span.order.sql();
    let sql = format!(
        "SELECT number, event_id, event_type, attempt, status, error, duration, created_at \
         FROM webhook_deliveries WHERE webhook_id = $1 AND number {behind} $2 \
         ORDER BY number {order} LIMIT $3 OFFSET $4"
    );
    let values: [Value; 4] =
        [id.into(), span.begin().into(), signed(span.limit).into(), signed(span.offset).into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Delivery::find_by_statement(statement).all(db).await
}

/// How many deliveries are remembered of a webhook: a thousand at most.
pub(super) async fn count_deliveries(db: &impl ConnectionTrait, id: Uuid) -> Result<u64, DbErr> {
    let sql = "SELECT COUNT(*) FROM webhook_deliveries WHERE webhook_id = $1";
    counted(db, sql, [id.into()]).await
}

/// Forgets deliveries from before `moment`, at most `limit`; returns how many.
pub(super) async fn forget_deliveries(tx: &Tx, moment: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM webhook_deliveries WHERE (webhook_id, number) IN \
               (SELECT webhook_id, number FROM webhook_deliveries WHERE created_at < $1 LIMIT $2)";
    tx.run(sql, [moment.millis().into(), limit.into()]).await
}

/// Forgets the secrets before others that no longer sign beside them.
pub(super) async fn forget_secrets(tx: &Tx, now: Timestamp) -> Result<u64, DbErr> {
    let sql = "UPDATE webhooks SET sealed_previous = NULL, previous_until = NULL WHERE previous_until <= $1";
    tx.run(sql, [now.millis().into()]).await
}
