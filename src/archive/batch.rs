//! The statements of an import: each concerns a batch of rows.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};
use uuid::Uuid;

use super::check::HIGHEST_COUNT;
use super::import::BATCH;
use super::merge::Change;
use super::row::{Cell, Row};
use super::tables::{Column, Part, Table, Unique};
use crate::platform::db::{Tx, Values};

/// Rows by what names them.
type ByKey = HashMap<Vec<Cell>, Row>;

/// The rows that are there under the keys of these.
pub(super) async fn with_keys(tx: &Tx, table: &'static Table, rows: &[Row]) -> Result<ByKey, DbErr> {
    let keys: Vec<&[Cell]> = rows.iter().map(Row::key).collect();
    let mut there = HashMap::with_capacity(rows.len());
    let Some(query) = among(tx, table, table.columns, table.key_columns(), &keys, None) else {
        return Ok(there);
    };
    for result in &tx.query_all_raw(query).await? {
        let row = Row { table, cells: cells_of(result, table.columns)? };
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
    let values: Vec<Vec<Cell>> = rows.iter().filter_map(|row| row.values_of(unique.columns)).collect();
    let values: Vec<&[Cell]> = values.iter().map(Vec::as_slice).collect();
    let read: Vec<Column> = columns.iter().chain(table.key_columns()).copied().collect();
    let mut holders = HashMap::new();
    let Some(query) = among(tx, table, &read, &columns, &values, unique.unless) else { return Ok(holders) };
    for result in &tx.query_all_raw(query).await? {
        let mut values = cells_of(result, &read)?;
        let key = values.split_off(columns.len());
        holders.insert(values, key);
    }
    Ok(holders)
}

/// Reads columns of the rows in which other columns have one of some values.
fn among(
    tx: &Tx,
    table: &Table,
    read: &[Column],
    by: &[Column],
    wanted: &[&[Cell]],
    unless: Option<&str>,
) -> Option<Statement> {
    if wanted.is_empty() {
        return None;
    }
    let mut values = Values::default();
    let row = |cells: &&[Cell]| values.row(cells.iter().zip(by).map(|(cell, column)| cell.value(column)));
    let rows = wanted.iter().map(row).collect::<Vec<_>>().join(", ");
    let names = |columns: &[Column]| {
        columns.iter().map(|column| table.qualified(column.name)).collect::<Vec<_>>().join(", ")
    };
    let living = unless.map(|column| format!(" AND {column} IS NULL")).unwrap_or_default();
    let (columns, by) = (names(read), names(by));
    let sql = format!("SELECT {columns} FROM {} WHERE ({by}) IN (VALUES {rows}){living}", table.source);
    Some(statement(tx, sql, values))
}

fn cells_of(result: &QueryResult, columns: &[Column]) -> Result<Vec<Cell>, DbErr> {
    columns.iter().enumerate().map(|(at, column)| Cell::found(result, at, column)).collect()
}

/// Which of these users are here, deleted or not.
pub(super) async fn users_here(tx: &Tx, users: HashSet<Uuid>) -> Result<HashSet<Uuid>, DbErr> {
    ids(tx, "SELECT id FROM users WHERE id IN", users).await
}

/// Which of these ids were accounts' that were removed for good.
pub(super) async fn spent(tx: &Tx, users: HashSet<Uuid>) -> Result<HashSet<Uuid>, DbErr> {
    ids(tx, "SELECT id FROM spent_user_ids WHERE id IN", users).await
}

async fn ids(tx: &Tx, sql: &str, wanted: HashSet<Uuid>) -> Result<HashSet<Uuid>, DbErr> {
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let mut values = Values::default();
    let sql = format!("{sql} {}", values.row(wanted.into_iter().map(Into::into)));
    let found = tx.query_all_raw(statement(tx, sql, values)).await?;
    found.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Adds rows.
pub(super) async fn insert(tx: &Tx, table: &Table, rows: &[Row]) -> Result<(), DbErr> {
    if rows.is_empty() {
        return Ok(());
    }
    let (mut values, fixed) = (Values::default(), table.fixed_values());
    let written = written(&mut values, rows, &fixed);
    let sql = format!("INSERT INTO {} ({}) VALUES {written}", table.name, table.names_to_write());
    run(tx, sql, values).await
}

/// Rows as a statement has them, each with something at its end.
fn written(values: &mut Values, rows: &[Row], end: &str) -> String {
    let written = rows.iter().map(|row| {
        let cells = row.cells.iter().zip(row.table.columns).map(|(cell, column)| cell.value(column));
        let mut written = values.row(cells);
        written.insert_str(written.len() - 1, end);
        written
    });
    written.collect::<Vec<_>>().join(", ")
}

/// Adds files; one whose number is another's here gets the next one. So does one whose number is near their end: it would
/// leave none behind it, and refused it would be so again in the next export, which may well have come further.
pub(super) async fn insert_files(tx: &Tx, table: &'static Table, rows: Vec<Row>) -> Result<(), DbErr> {
    let mut values = Values::default();
    let wanted = values.row(rows.iter().map(|row| row.whole("id").into()));
    let taken = statement(tx, format!("SELECT id FROM files WHERE id IN {wanted}"), values);
    let taken = tx.query_all_raw(taken).await?;
    let taken: HashSet<i64> = taken.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let is_free = |row: &Row| row.whole("id").is_some_and(|id| id <= HIGHEST_COUNT && !taken.contains(&id));
    let (free, others): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_free);
    insert(tx, table, &free).await?;
    for row in others {
        settle_file_number(tx, 0).await?;
        let (sql, values) = without_number(&row);
        run(tx, sql, values).await?;
    }
    Ok(())
}

fn without_number(row: &Row) -> (String, Values) {
    let mut values = Values::default();
    let cells = row.cells.iter().zip(row.table.columns).filter(|(_, column)| column.part != Part::Number);
    let (names, cells): (Vec<&str>, Vec<_>) =
        cells.map(|(cell, column)| (column.name, cell.value(column))).unzip();
    let written = values.row(cells);
    (format!("INSERT INTO {} ({}) VALUES {written}", row.table.name, names.join(", ")), values)
}

/// Adds links to files, which are known by their bytes.
pub(super) async fn insert_links(tx: &Tx, rows: &[Row]) -> Result<(), DbErr> {
    let mut values = Values::default();
    let written = written(&mut values, rows, "");
    let sql = format!(
        "INSERT INTO file_links (user_id, file_id) SELECT told.column1, files.id FROM (VALUES {written}) AS told \
         JOIN files ON files.blob = told.column2"
    );
    run(tx, sql, values).await
}

/// Writes a row that has changed.
pub(super) async fn update(tx: &Tx, change: &Change) -> Result<(), DbErr> {
    let (sql, values) = updating(change);
    run(tx, sql, values).await
}

fn updating(change: &Change) -> (String, Values) {
    let (table, mut values) = (change.after.table, Values::default());
    let mut placed = |row: &Row, column: &Column| {
        format!("{} = {}", column.name, values.place(row.cell(column.name).value(column)))
    };
    let changed = change.columns.iter().filter_map(|name| table.column(name));
    let set: Vec<String> = changed.map(|column| placed(&change.after, &column)).collect();
    let key: Vec<String> = table.key_columns().iter().map(|column| placed(&change.before, column)).collect();
    (format!("UPDATE {} SET {} WHERE {}", table.name, set.join(", "), key.join(" AND ")), values)
}

/// Lets the events of accounts that come back go on where they were.
pub(super) async fn continue_sequences(tx: &Tx, rows: &mut [Row]) -> Result<(), DbErr> {
    let mut values = Values::default();
    let users = values.row(rows.iter().filter_map(|row| row.id("id")).map(Into::into));
    let sql = format!("SELECT user_id, MAX(sequence) FROM events WHERE user_id IN {users} GROUP BY user_id");
    let mut told: HashMap<Uuid, i64> = HashMap::new();
    for result in tx.query_all_raw(statement(tx, sql, values)).await? {
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

/// Takes the second factor from accounts that have lost it, and what goes with it. Answers which they are.
pub(super) async fn unlock(tx: &Tx, users: &[Uuid]) -> Result<Vec<Uuid>, DbErr> {
    debug_assert!(users.len() <= BATCH, "a batch at a time");
    let mut values = Values::default();
    let ids = values.row(users.iter().map(|user| (*user).into()));
    let sql = format!(
        "UPDATE users SET otp_method = 'none', revision = revision + 1 \
         WHERE id IN {ids} AND otp_method = 'authenticator' AND NOT EXISTS \
         (SELECT 1 FROM second_factors WHERE user_id = users.id AND sealed_seed IS NOT NULL) RETURNING id"
    );
    let unlocked = tx.query_all_raw(statement(tx, sql, values)).await?;
    unlocked.iter().map(|row| row.try_get_by_index(0)).collect()
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
        return tx
            .execute_raw(Statement::from_sql_and_values(backend, raise, [least.into()]))
            .await
            .map(|_| ());
    }
    let sql = "SELECT setval(pg_get_serial_sequence('files', 'id')::regclass, highest) FROM \
               (SELECT GREATEST($1, (SELECT COALESCE(MAX(id), 0) FROM files), \
               COALESCE(pg_sequence_last_value(pg_get_serial_sequence('files', 'id')::regclass), 0)) AS highest) AS known \
               WHERE highest > 0";
    tx.query_all_raw(Statement::from_sql_and_values(backend, sql, [least.into()])).await.map(|_| ())
}

async fn run(tx: &Tx, sql: String, values: Values) -> Result<(), DbErr> {
    tx.execute_raw(statement(tx, sql, values)).await.map(|_| ())
}

fn statement(tx: &Tx, sql: String, values: Values) -> Statement {
    Statement::from_sql_and_values(tx.get_database_backend(), sql, values.into_vec())
}
