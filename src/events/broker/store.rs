//! The rows of events as the publisher sees them.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{
    DbBackend, FromQueryResult, QueryOrder, QueryResult, QuerySelect, QueryTrait, Statement, Value,
};

use crate::events::store::{HELD, PARKED, PARKED_BEFORE, event, lock_aside};
use crate::platform::clock::Timestamp;
use crate::platform::db::{Tx, counted, scalar};

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
    /// They wait behind one that is parked.
    pub(super) held: Vec<i64>,
}

impl Outcome {
    pub(super) fn is_empty(&self) -> bool {
        let Self { published, unrouted, parked, held } = self;
        [published, unrouted, parked, held].iter().all(|positions| positions.is_empty())
    }
}

/// An event that is to be published.
pub(super) struct Due {
    pub(super) event: event::Model,
    /// Whether one of its user before it is parked.
    pub(super) is_held: bool,
}

impl Due {
    fn of(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self { event: event::Model::from_query_result(row, "")?, is_held: row.try_get("", "is_held")? })
    }
}

/// The next events to be published, in their order.
pub(super) async fn due(db: &impl ConnectionTrait, most: u64) -> Result<Vec<Due>, DbErr> {
    let query = event::Entity::find()
        .expr_as(Expr::cust(format!("EXISTS ({PARKED_BEFORE})")), "is_held")
        .filter(event::Column::Position.is_not_null())
        .filter(event::Column::PublishedAt.is_null())
        .filter(event::Column::Trouble.is_null())
        .order_by_asc(event::Column::Position)
        .limit(most);
    let rows = db.query_all_raw(query.build(db.get_database_backend())).await?;
    rows.iter().map(Due::of).collect()
}

/// Writes down what became of them.
pub(super) async fn book(tx: &Tx, outcome: &Outcome, now: Timestamp) -> Result<(), DbErr> {
    if !outcome.parked.is_empty() || !outcome.held.is_empty() {
        lock_aside(tx).await?;
    }
    set(tx, "published_at", now.millis().into(), &outcome.published, "").await?;
    set(tx, "trouble", "unrouted".into(), &outcome.unrouted, "").await?;
    set(tx, "trouble", PARKED.into(), &outcome.parked, "").await?;
    // What held them may have been sent again or given up in the meantime.
    let still = format!("AND published_at IS NULL AND trouble IS NULL AND EXISTS ({PARKED_BEFORE})");
    set(tx, "trouble", HELD.into(), &outcome.held, &still).await
}

async fn set(tx: &Tx, column: &str, value: Value, positions: &[i64], and: &str) -> Result<(), DbErr> {
    if positions.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    // One text for any number of them, so that the statement is prepared once.
    let those = match backend {
        DbBackend::Sqlite => "SELECT value FROM json_each($2)",
        _ => "SELECT value::bigint FROM json_array_elements_text($2::json)",
    };
    let sql = format!("UPDATE events SET {column} = $1 WHERE position IN ({those}) {and}");
    let positions = serde_json::to_string(positions).map_err(|error| DbErr::Json(error.to_string()))?;
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, [value, positions.into()])).await.map(|_| ())
}

/// How many wait to be published.
pub(super) async fn pending(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    count(db, DUE).await
}

/// How many are set aside with this trouble.
pub(super) async fn aside(db: &impl ConnectionTrait, trouble: &str) -> Result<u64, DbErr> {
    count(db, &format!("trouble = '{trouble}'")).await
}

async fn count(db: &impl ConnectionTrait, which: &str) -> Result<u64, DbErr> {
    let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM events WHERE {which} LIMIT {MOST}) AS found");
    counted(db, sql, []).await
}

/// When the first of them happened.
pub(super) async fn oldest(db: &impl ConnectionTrait) -> Result<Option<Timestamp>, DbErr> {
    let sql = format!("SELECT created_at FROM events WHERE {DUE} ORDER BY position LIMIT 1");
    Ok(scalar(db, sql, []).await?.map(Timestamp::from_millis))
}
