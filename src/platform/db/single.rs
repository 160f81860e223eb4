//! Questions whose answer is one column.

use sea_orm::{ConnectionTrait, DbErr, Statement, TryGetable, Value};

/// The first column of the first row, if there is a row.
pub async fn scalar<T: TryGetable>(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<T>, DbErr> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.query_one_raw(statement).await?.map(|row| row.try_get_by_index(0)).transpose()
}

/// The first column of every row.
pub async fn scalars<T: TryGetable>(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<T>, DbErr> {
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.query_all_raw(statement).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// What a `SELECT COUNT(*)` says.
pub async fn counted(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, DbErr> {
    let count: Option<i64> = scalar(db, sql, values).await?;
    Ok(count.map_or(0, i64::unsigned_abs))
}
