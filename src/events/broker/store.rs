//! The rows of events as the publisher sees them.

use sea_orm::entity::prelude::*;
use sea_orm::{DbBackend, QueryOrder, QuerySelect, Statement, Value};

use crate::events::store::event;
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;

/// What is to be published; the index `events_unpublished` has it in its order.
const DUE: &str = "position IS NOT NULL AND published_at IS NULL AND trouble IS NULL";
/// More are not counted.
const MOST: u32 = 1_000_000;

/// What became of events, by their positions.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// The broker has confirmed them.
    pub(super) published: Vec<i64>,
    /// No queue took them.
    pub(super) unrouted: Vec<i64>,
    /// The broker refuses them for themselves.
    pub(super) parked: Vec<i64>,
}

impl Outcome {
    pub(super) fn is_empty(&self) -> bool {
        [&self.published, &self.unrouted, &self.parked].iter().all(|positions| positions.is_empty())
    }
}

/// The next events to be published, in their order.
pub(super) async fn due(db: &impl ConnectionTrait, most: u64) -> Result<Vec<event::Model>, DbErr> {
    event::Entity::find()
        .filter(event::Column::Position.is_not_null())
        .filter(event::Column::PublishedAt.is_null())
        .filter(event::Column::Trouble.is_null())
        .order_by_asc(event::Column::Position)
        .limit(most)
        .all(db)
        .await
}

/// Writes down what became of them.
pub(super) async fn book(tx: &Tx, outcome: &Outcome, now: Timestamp) -> Result<(), DbErr> {
    set(tx, "published_at", now.millis().into(), &outcome.published).await?;
    set(tx, "trouble", "unrouted".into(), &outcome.unrouted).await?;
    set(tx, "trouble", "parked".into(), &outcome.parked).await
}

async fn set(tx: &Tx, column: &str, value: Value, positions: &[i64]) -> Result<(), DbErr> {
    if positions.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    // One text for any number of them, so that the statement is prepared once.
    let those = match backend {
        DbBackend::Sqlite => "SELECT value FROM json_each($2)",
        _ => "SELECT value::bigint FROM json_array_elements_text($2::json)",
    };
    let sql = format!("UPDATE events SET {column} = $1 WHERE position IN ({those})");
    let positions = serde_json::to_string(positions).map_err(|error| DbErr::Json(error.to_string()))?;
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, [value, positions.into()])).await.map(|_| ())
}

/// How many wait to be published.
pub(super) async fn pending(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE {DUE} LIMIT {MOST}) AS due");
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// When the first of them happened.
pub(super) async fn oldest(db: &impl ConnectionTrait) -> Result<Option<Timestamp>, DbErr> {
    let sql = format!("SELECT created_at FROM events WHERE {DUE} ORDER BY position LIMIT 1");
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    row.map(|row| row.try_get_by_index(0).map(Timestamp::from_millis)).transpose()
}
