//! The statements of an import: each concerns a batch of rows.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};
use uuid::Uuid;

use super::import::{BATCH, ByKey, values_of};
use super::merge::Change;
use super::row::{Cell, Row};
use super::tables::{Column, Table, Unique};
use crate::platform::db::{Tx, Values};

/// The rows that are there under the keys of these.
pub(super) async fn with_keys(tx: &Tx, table: &'static Table, rows: &[Row]) -> Result<ByKey, DbErr> {
    let keys = rows.iter().map(Row::key);
    let found = among(tx, table, table.columns, table.key_columns(), keys, None).await?;
    let mut there = HashMap::with_capacity(found.len());
    for result in &found {
        let cells = table.columns.iter().enumerate().map(|(at, column)| Cell::found(result, at, column));
        let row = Row { table, cells: cells.collect::<Result<_, _>>()? };
        there.insert(row.key().to_vec(), row);
    }
    Ok(there)
}

/// Who has the values that may be there once: their keys, by the values.
pub(super) async fn holders(
    tx: &Tx,
    table: &'static Table,
    unique: &Unique,
    rows: &[Row],
) -> Result<HashMap<Vec<Cell>, Vec<Cell>>, DbErr> {
    let columns: Vec<Column> = unique.columns.iter().filter_map(|name| table.column(name)).collect();
    let values: Vec<Vec<Cell>> = rows.iter().filter_map(|row| values_of(row, unique.columns)).collect();
    let read: Vec<Column> = columns.iter().chain(table.key_columns()).copied().collect();
    let found =
        among(tx, table, &read, &columns, values.iter().map(Vec::as_slice), unique.unless).await?;
    let mut holders = HashMap::new();
    for result in &found {
        let cells = read.iter().enumerate().map(|(at, column)| Cell::found(result, at, column));
        let mut values = cells.collect::<Result<Vec<_>, _>>()?;
        let key = values.split_off(columns.len());
        holders.insert(values, key);
    }
    Ok(holders)
}

/// Reads columns of the rows in which other columns have one of some values.
async fn among<'r>(
    tx: &Tx,
    table: &Table,
    read: &[Column],
    by: &[Column],
    wanted: impl Iterator<Item = &'r [Cell]>,
    unless: Option<&str>,
) -> Result<Vec<QueryResult>, DbErr> {
    let mut values = Values::default();
    let rows = wanted.map(|cells| values.row(cells.iter().zip(by).map(|(cell, column)| cell.value(column))));
    let rows: Vec<String> = rows.collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let names = |columns: &[Column]| {
        columns.iter().map(|column| table.qualified(column.name)).collect::<Vec<_>>().join(", ")
    };
    let living = unless.map(|column| format!(" AND {column} IS NULL")).unwrap_or_default();
    let sql = format!(
        "SELECT {} FROM {} WHERE ({}) IN (VALUES {}){living}",
        names(read),
        table.source,
        names(by),
        rows.join(", ")
    );
    tx.query_all_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values.into_vec())).await
}

/// Which of these users are here, deleted or not.
pub(super) async fn users_here(
    tx: &Tx,
    users: impl Iterator<Item = Uuid>,
) -> Result<HashSet<Uuid>, DbErr> {
    ids(tx, "SELECT id FROM users WHERE id IN", users).await
}

/// Which of these ids were accounts' that were removed for good.
pub(super) async fn spent(tx: &Tx, users: impl Iterator<Item = Uuid>) -> Result<HashSet<Uuid>, DbErr> {
    ids(tx, "SELECT id FROM spent_user_ids WHERE id IN", users).await
}

async fn ids(tx: &Tx, sql: &str, wanted: impl Iterator<Item = Uuid>) -> Result<HashSet<Uuid>, DbErr> {
    let wanted: HashSet<Uuid> = wanted.collect();
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let mut values = Values::default();
    let sql = format!("{sql} {}", values.row(wanted.into_iter().map(Into::into)));
    let found = run_query(tx, sql, values).await?;
    found.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Adds rows.
pub(super) async fn insert(tx: &Tx, table: &Table, rows: &[Row]) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    let (mut values, fixed) = (Values::default(), table.fixed_values());
    let written = rows.iter().map(|row| {
        let cells = row.cells.iter().zip(table.columns).map(|(cell, column)| cell.value(column));
        let mut row = values.row(cells);
        row.insert_str(row.len() - 1, &fixed);
        row
    });
    let written = written.collect::<Vec<_>>().join(", ");
    run(tx, format!("INSERT INTO {} ({}) VALUES {written}", table.name, table.names_to_write()), values).await
}

/// Adds files; one whose number is another's here gets the next one.
pub(super) async fn insert_files(tx: &Tx, table: &'static Table, rows: Vec<Row>) -> Result<(), DbErr> {
    let mut values = Values::default();
    let wanted = values.row(rows.iter().map(|row| row.whole("id").into()));
    let found = run_query(tx, format!("SELECT id FROM files WHERE id IN {wanted}"), values).await?;
    let taken: HashSet<i64> = found.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let is_free = |row: &Row| row.whole("id").is_some_and(|id| !taken.contains(&id));
    let (free, others): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_free);
    insert(tx, table, &free).await?;
    // Behind all numbers that the file brings, so that none of those is given away.
    for row in others {
        let mut values = Values::default();
        let cells = row.cells.iter().zip(table.columns).filter(|(_, column)| column.name != "id");
        let (names, cells): (Vec<&str>, Vec<_>) =
            cells.map(|(cell, column)| (column.name, cell.value(column))).unzip();
        let written = values.row(cells);
        settle_file_number(tx, 0).await?;
        run(tx, format!("INSERT INTO files ({}) VALUES {written}", names.join(", ")), values).await?;
    }
    Ok(())
}

/// Adds links to files, which are known by their bytes.
pub(super) async fn insert_links(tx: &Tx, rows: &[Row]) -> Result<(), DbErr> {
    let mut values = Values::default();
    let written = rows.iter().map(|row| {
        let cells = row.cells.iter().zip(row.table.columns).map(|(cell, column)| cell.value(column));
        values.row(cells)
    });
    let written = written.collect::<Vec<_>>().join(", ");
    let sql = format!(
        "INSERT INTO file_links (user_id, file_id) SELECT told.column1, files.id FROM (VALUES {written}) AS told \
         JOIN files ON files.blob = told.column2"
    );
    run(tx, sql, values).await
}

/// Writes a row that has changed.
pub(super) async fn update(tx: &Tx, change: &Change) -> Result<(), DbErr> {
    let (table, mut values) = (change.after.table, Values::default());
    let mut set = |name: &str| {
        let column = table.column(name)?;
        Some(format!("{name} = {}", values.place(change.after.cell(name).value(&column))))
    };
    let set: Vec<String> = change.columns.iter().filter_map(|name| set(name)).collect();
    let key = change.before.key().iter().zip(table.key_columns());
    let key: Vec<String> =
        key.map(|(cell, column)| format!("{} = {}", column.name, values.place(cell.value(column)))).collect();
    run(tx, format!("UPDATE {} SET {} WHERE {}", table.name, set.join(", "), key.join(" AND ")), values).await
}

/// Lets the events of accounts that come back go on where they were.
pub(super) async fn continue_sequences(tx: &Tx, rows: &mut [Row]) -> Result<(), DbErr> {
    let mut values = Values::default();
    let users = values.row(rows.iter().filter_map(|row| row.id("id")).map(Into::into));
    let sql = format!("SELECT user_id, MAX(sequence) FROM events WHERE user_id IN {users} GROUP BY user_id");
    let mut told: HashMap<Uuid, i64> = HashMap::new();
    for result in run_query(tx, sql, values).await? {
        told.insert(result.try_get_by_index(0)?, result.try_get_by_index(1)?);
    }
    for row in rows {
        let last = row.id("id").and_then(|id| told.get(&id)).copied().unwrap_or_default();
        if row.whole("event_sequence").is_some_and(|sequence| sequence < last) {
            row.set("event_sequence", Cell::Whole(last));
        }
    }
    Ok(())
}

/// Takes the second factor from accounts that have lost it, and what goes with it.
pub(super) async fn unlock(tx: &Tx, users: &[Uuid]) -> Result<(), DbErr> {
    debug_assert!(users.len() <= BATCH, "a batch at a time");
    let mut values = Values::default();
    let ids = values.row(users.iter().map(|user| (*user).into()));
    let sql = format!(
        "UPDATE users SET otp_method = 'none', revision = revision + 1 \
         WHERE id IN {ids} AND otp_method = 'authenticator' AND NOT EXISTS \
         (SELECT 1 FROM second_factors WHERE user_id = users.id AND sealed_seed IS NOT NULL)"
    );
    run(tx, sql, values).await
}

/// No file gets a number that one has had before, here or where the file comes from.
pub(super) async fn set_file_number(tx: &Tx, number: i64) -> Result<(), DbErr> {
    if number > 0 { settle_file_number(tx, number).await } else { Ok(()) }
}

async fn settle_file_number(tx: &Tx, least: i64) -> Result<(), DbErr> {
    let backend = tx.get_database_backend();
    if backend == DbBackend::Sqlite {
        let begin = "INSERT INTO sqlite_sequence (name, seq) SELECT 'files', 0 \
                     WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'files')";
        tx.execute_unprepared(begin).await?;
        let raise = "UPDATE sqlite_sequence SET seq = MAX(seq, $1, (SELECT COALESCE(MAX(id), 0) FROM files)) \
                     WHERE name = 'files'";
        return tx.execute_raw(Statement::from_sql_and_values(backend, raise, [least.into()])).await.map(|_| ());
    }
    let sql = "SELECT setval(pg_get_serial_sequence('files', 'id')::regclass, highest) FROM \
               (SELECT GREATEST($1, (SELECT COALESCE(MAX(id), 0) FROM files), \
               COALESCE(pg_sequence_last_value(pg_get_serial_sequence('files', 'id')::regclass), 0)) AS highest) AS known \
               WHERE highest > 0";
    tx.query_all_raw(Statement::from_sql_and_values(backend, sql, [least.into()])).await.map(|_| ())
}

async fn run(tx: &Tx, sql: String, values: Values) -> Result<(), DbErr> {
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values.into_vec());
    tx.execute_raw(statement).await.map(|_| ())
}

async fn run_query(tx: &Tx, sql: String, values: Values) -> Result<Vec<QueryResult>, DbErr> {
    tx.query_all_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values.into_vec())).await
}
