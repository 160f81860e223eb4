//! The versions of the flags.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use super::set::{Difference, FlagSet};
use super::{Author, Version};
use crate::platform::clock::Timestamp;
use crate::platform::db::{Span, Tx, counted, signed};

/// Versions that are kept.
const KEPT: i64 = 500;

/// A version as history tells it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub version: i64,
    /// What is another than before.
    pub changes: Vec<Difference>,
    /// How it came in.
    pub source: String,
    /// Who made it; none: nobody who was signed in.
    pub by: Option<Uuid>,
    /// By which request.
    pub trace_id: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Lets nobody else make a version before this transaction ends. SQLite has one writer anyway.
pub(super) async fn hold(tx: &Tx) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared("LOCK TABLE flag_versions IN EXCLUSIVE MODE").await?;
    }
    Ok(())
}

/// The version in force, if there is one.
pub(super) async fn latest(db: &impl ConnectionTrait) -> Result<Option<Version>, DbErr> {
    newer_than(db, 0).await
}

/// The newest version, if it is newer than this one.
pub(super) async fn newer_than(db: &impl ConnectionTrait, version: i64) -> Result<Option<Version>, DbErr> {
    let sql = "SELECT version, flags FROM flag_versions WHERE version > $1 ORDER BY version DESC LIMIT 1";
    one(db, sql, [version.into()]).await
}

/// One version.
pub(super) async fn numbered(db: &impl ConnectionTrait, version: i64) -> Result<Option<Version>, DbErr> {
    one(db, "SELECT version, flags FROM flag_versions WHERE version = $1", [version.into()]).await
}

/// Whether a version after this one had exactly these flags.
pub(super) async fn was_since(db: &impl ConnectionTrait, set: &FlagSet, version: i64) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM flag_versions WHERE version > $1 AND flags = $2";
    let values = [version.into(), set.text().into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    Ok(db.query_one_raw(statement).await?.is_some())
}

/// Adds a version that follows `before`; forgets what is long gone.
pub(super) async fn add(
    tx: &Tx,
    before: &Version,
    set: FlagSet,
    author: &Author,
    now: Timestamp,
) -> Result<Version, DbErr> {
    let number = before.number + 1;
    let changes = serde_json::to_string(&before.set.differences(&set))
        .map_err(|error| DbErr::Json(error.to_string()))?;
    let sql = "INSERT INTO flag_versions (version, flags, changes, source, changed_by, trace_id, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = [
        number.into(),
        set.text().into(),
        changes.into(),
        author.source.name().into(),
        author.id().into(),
        author.trace_id.clone().into(),
        now.millis().into(),
    ];
    tx.run(sql, values).await?;
    tx.run("DELETE FROM flag_versions WHERE version <= $1", [(number - KEPT).into()]).await?;
    Ok(Version { number, set })
}

/// What changed, by the numbers of the versions.
pub(super) async fn history(db: &impl ConnectionTrait, span: &Span<i64>) -> Result<Vec<Entry>, DbErr> {
    let (order, behind) = span.order.sql();
    let sql = format!(
        "SELECT version, changes, source, changed_by, trace_id, created_at FROM flag_versions \
         WHERE version {behind} $1 ORDER BY version {order} LIMIT $2 OFFSET $3"
    );
    let values: [Value; 3] = [span.begin().into(), signed(span.limit).into(), signed(span.offset).into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.query_all_raw(statement).await?.iter().map(entry).collect()
}

/// How many versions the history tells of: few, since old ones are forgotten.
pub(super) async fn history_count(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    counted(db, "SELECT COUNT(*) FROM flag_versions", []).await
}

fn entry(row: &QueryResult) -> Result<Entry, DbErr> {
    let changes: String = row.try_get("", "changes")?;
    Ok(Entry {
        version: row.try_get("", "version")?,
        changes: serde_json::from_str(&changes).map_err(|error| DbErr::Json(error.to_string()))?,
        source: row.try_get("", "source")?,
        by: row.try_get("", "changed_by")?,
        trace_id: row.try_get("", "trace_id")?,
        at: Timestamp::from_millis(row.try_get("", "created_at")?),
    })
}

async fn one<const N: usize>(
    db: &impl ConnectionTrait,
    sql: &str,
    values: [Value; N],
) -> Result<Option<Version>, DbErr> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    let Some(row) = db.query_one_raw(statement).await? else { return Ok(None) };
    let (number, text): (i64, String) = (row.try_get("", "version")?, row.try_get("", "flags")?);
    let set = FlagSet::parse(text.as_bytes());
    let set = set.map_err(|words| DbErr::Custom(format!("version {number} of the flags: {words}")))?;
    Ok(Some(Version { number, set }))
}
