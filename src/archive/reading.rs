//! Reading what travels, in one view of the database: table by table, in the order of their keys, a page at a time.

use std::io::Write;

use sea_orm::{DbBackend, DbErr, Statement};

use super::ArchiveFault;
use super::row::{Cell, Row};
use super::tables::{TRAVELS, Table};
use crate::platform::db::{Database, Snapshot, Values};

/// Rows that are read together.
const PAGE: usize = 1000;

/// The rows of one table, page by page.
pub(super) struct Pages {
    table: &'static Table,
    after: Option<Vec<Cell>>,
    is_over: bool,
}

impl Pages {
    pub(super) const fn of(table: &'static Table) -> Self {
        Self { table, after: None, is_over: false }
    }

    /// The next rows; none at the end.
    pub(super) async fn next(&mut self, snapshot: &mut Snapshot) -> Result<Option<Vec<Row>>, DbErr> {
        if self.is_over {
            return Ok(None);
        }
        let found = snapshot.query_all(self.statement(snapshot.backend())).await?;
        let mut rows = Vec::with_capacity(found.len());
        for result in &found {
            let cells =
                self.table.columns.iter().enumerate().map(|(at, column)| Cell::found(result, at, column));
            rows.push(Row { table: self.table, cells: cells.collect::<Result<_, _>>()? });
        }
        self.is_over = rows.len() < PAGE;
        self.after = rows.last().map(|row| row.key().to_vec());
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }

    fn statement(&self, backend: DbBackend) -> Statement {
        let table = self.table;
        let mut values = Values::default();
        let keys: Vec<String> =
            table.key_columns().iter().map(|column| table.qualified(column.name)).collect();
        let past = self.after.as_ref().map(|after| {
            let placed =
                after.iter().zip(table.key_columns()).map(|(cell, column)| values.place(cell.value(column)));
            let placed: Vec<String> = placed.collect();
            // The first condition is the one that an index answers.
            let (first, from) = (&keys[0], &placed[0]);
            format!("WHERE {first} >= {from} AND ({}) > ({})", keys.join(", "), placed.join(", "))
        });
        let columns = table.columns.iter().map(|column| table.qualified(column.name));
        let sql = format!(
            "SELECT {} FROM {} {} ORDER BY {} LIMIT {PAGE}",
            columns.collect::<Vec<_>>().join(", "),
            table.source,
            past.unwrap_or_default(),
            keys.join(", ")
        );
        Statement::from_sql_and_values(backend, sql, values.into_vec())
    }
}

/// How many rows travel.
pub(super) async fn count(snapshot: &mut Snapshot) -> Result<u64, DbErr> {
    let mut sum = 0;
    for table in TRAVELS {
        let sql = format!("SELECT COUNT(*) FROM {}", table.source);
        sum += number(snapshot, &sql).await?.unsigned_abs();
    }
    Ok(sum)
}

/// The highest number that a file ever had: no other one may get it.
pub(super) async fn highest_file_number(snapshot: &mut Snapshot) -> Result<i64, DbErr> {
    let sql = match snapshot.backend() {
        DbBackend::Sqlite => "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'files'",
        _ => "SELECT COALESCE(pg_sequence_last_value(pg_get_serial_sequence('files', 'id')::regclass), 0)",
    };
    number(snapshot, sql).await
}

async fn number(snapshot: &mut Snapshot, sql: &str) -> Result<i64, DbErr> {
    let found = snapshot.query_all(Statement::from_string(snapshot.backend(), sql)).await?;
    found.first().map_or(Ok(0), |row| row.try_get_by_index(0))
}

/// Writes everything that travels, as lines of JSON in the order of tables and keys: the same for the same content,
/// whichever database it stands in. It holds what the database holds: hashes, and sealed secrets.
pub async fn canonical_dump(db: &Database, out: &mut (dyn Write + Send)) -> Result<(), ArchiveFault> {
    let mut snapshot = db.snapshot().await?;
    for table in TRAVELS {
        let mut pages = Pages::of(table);
        while let Some(rows) = pages.next(&mut snapshot).await? {
            for row in &rows {
                writeln!(out, "{}", row.line())
                    .map_err(|error| ArchiveFault::Unwritable(error.to_string()))?;
            }
        }
    }
    Ok(snapshot.end().await?)
}
