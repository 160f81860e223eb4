//! A database file that somebody hands in: nothing in it is trusted.
//!
//! It is opened for reading alone, as a file that nobody changes, under limits of what a statement may be and take. Its
//! schema must be, word by word, one that our own migrations make: so there are no views, triggers, virtual tables,
//! generated columns or expressions of somebody else's that reading could run into. All of that is read of the schema alone,
//! before anything looks at a row. Then SQLite checks its structure, and each row is read by explicit columns and types.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use uuid::Uuid;

use super::ImportRefusal;
use super::blank::make_schema;
use super::check;
use super::row::{Cell, Flaw, Row};
use super::tables::{Column, Kind, Table};
use crate::audit::{self, SealedEnd};
use crate::migrations::{STEPS, Step};

/// What each SQLite database begins with (its file format, 1.3.1).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// What checking the structure may take, besides what its size needs.
pub(super) const CHECKING: Duration = Duration::from_secs(6);
/// What is checked of a file within a second, in bytes: a slow disk's pace.
pub(super) const CHECKED_A_SECOND: u64 = 64 * 1024 * 1024;
/// What finding the next row may take: they are read in the order in which they lie.
const NEXT_ROW: Duration = Duration::from_secs(2);
/// Largest value, and largest row, in bytes.
const LARGEST: i32 = 1024 * 1024;
/// Steps of SQLite's machine between two looks at the clock: one step may be a function over a large value.
const OPERATIONS: i32 = 100;
/// The longest pattern, in bytes: what a pattern costs grows with its length times that of the text. We compare with none.
const PATTERN: i32 = 50;
/// What needs no escape in the path of a `file:` URI.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');
/// What SQLite keeps for itself where somebody ran ANALYZE, word by word as it makes it; we read nothing of it.
const OWN: [(&str, &str); 2] = [
    ("sqlite_stat1", "CREATE TABLE sqlite_stat1(tbl,idx,stat)"),
    ("sqlite_stat4", "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"),
];
/// The table that says which steps a file has.
const STEPS_TABLE: &str = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'schema_steps'";

/// What is done with each row.
pub(super) type Each<'a> = dyn FnMut(Row) -> Result<(), ImportRefusal> + 'a;

/// A database of Gatehouse, of this schema or an older one: a file whose schema and structure are as they must be.
pub(super) struct GatehouseFile {
    connection: Connection,
    budget: Budget,
    /// Columns that the file has, as `table.column`.
    has: BTreeSet<String>,
}

impl GatehouseFile {
    /// Opens it. Whatever is wrong with it is said before anything is read of it. Reading blocks.
    pub(super) fn open(path: &Path) -> Result<Self, ImportRefusal> {
        let size = look_at(path)?;
        let budget = Budget::default();
        let connection = connect(path, &budget)?;
        budget.allow(CHECKING);
        let steps = steps_of(&connection)?;
        let has = compare_schemas(&connection, &steps)?;
        budget.allow(CHECKING + Duration::from_secs(size / CHECKED_A_SECOND));
        check_structure(&connection)?;
        Ok(Self { connection, budget, has })
    }

    /// Hands on every row of a table, in the order in which they lie. Each has passed the rules of its feature.
    pub(super) fn rows(&self, table: &'static Table, each: &mut Each<'_>) -> Result<(), ImportRefusal> {
        let columns = table.columns.iter().map(|column| self.expression(table, column));
        let columns = columns.collect::<Vec<_>>().join(", ");
        if !self.has.contains(&format!("{}.{}", table.name, table.columns[0].name)) {
            return Ok(());
        }
        self.budget.allow(NEXT_ROW);
        let sql = format!("SELECT {columns} FROM {}", table.source);
        let mut statement = self.connection.prepare(&sql).map_err(|error| unreadable(&error))?;
        let mut found = statement.query([]).map_err(|error| unreadable(&error))?;
        let mut number = 0_u64;
        while let Some(result) = found.next().map_err(|error| unreadable(&error))? {
            number += 1;
            let mut cells = Vec::with_capacity(table.columns.len());
            for (at, column) in table.columns.iter().enumerate() {
                let value = result.get_ref(at).map_err(|error| unreadable(&error))?;
                let cell = read(value, column)
                    .map_err(|words| refused(table, number, Flaw::new(column.name, words)))?;
                cells.push(cell);
            }
            let mut row = Row { table, cells };
            check::tidy(&mut row);
            (table.check)(&row).map_err(|flaw| ImportRefusal::Row {
                table: table.name,
                row: row.name(),
                flaw,
            })?;
            each(row)?;
            // What is done with a row may take its time.
            self.budget.allow(NEXT_ROW);
        }
        Ok(())
    }

    /// The highest number that a file ever had where this file comes from, or the highest from which they go on: so near to
    /// their end there would soon be none left.
    pub(super) fn highest_file_number(&self) -> Result<i64, ImportRefusal> {
        if !self.has.contains("files.id") {
            return Ok(0);
        }
        self.budget.allow(NEXT_ROW);
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'files' AND typeof(seq) = 'integer' LIMIT 1";
        let found = self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        match found {
            Ok(number) => Ok(number.clamp(0, check::HIGHEST_COUNT)),
            Err(rusqlite::Error::QueryReturnedNoRows) => Ok(0),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Where the log of what staff did ended; none where the file is older than that.
    pub(super) fn log_end(&self) -> Result<Option<SealedEnd>, ImportRefusal> {
        if !self.has.contains("audit_head.number") {
            return Ok(None);
        }
        self.budget.allow(NEXT_ROW);
        let sql = "SELECT number, hash, seal FROM audit_head WHERE id = 1";
        let found = self.connection.query_row(sql, [], |row| {
            Ok(SealedEnd { number: row.get(0)?, hash: row.get(1)?, seal: row.get(2)? })
        });
        found.optional().map_err(|error| unreadable(&error))
    }

    /// Hands on every row of that log, in their order. Only a backup has any.
    pub(super) fn log(
        &self,
        each: &mut dyn FnMut(audit::Row) -> Result<(), ImportRefusal>,
    ) -> Result<(), ImportRefusal> {
        self.budget.allow(NEXT_ROW);
        let sql = "SELECT number, at, actor_id, action, subject_type, subject_id, details, trace_id, follows_seal, hash \
                   FROM audit_log ORDER BY number";
        let mut statement = self.connection.prepare(sql).map_err(|error| unreadable(&error))?;
        let mut found = statement.query([]).map_err(|error| unreadable(&error))?;
        while let Some(row) = found.next().map_err(|error| unreadable(&error))? {
            each(log_row(row).map_err(|error| unreadable(&error))?)?;
            self.budget.allow(NEXT_ROW);
        }
        Ok(())
    }

    /// A column, or what it holds where the file is older than it.
    fn expression(&self, table: &Table, column: &Column) -> String {
        let home = table.home_of(column.name);
        if self.has.contains(&format!("{home}.{}", column.name)) {
            return format!("{home}.{}", column.name);
        }
        match Cell::from(column.before) {
            Cell::Whole(number) => number.to_string(),
            Cell::Text(word) => format!("'{word}'"),
            _ => "NULL".to_owned(),
        }
    }
}

fn refused(table: &Table, number: u64, flaw: Flaw) -> ImportRefusal {
    ImportRefusal::Row { table: table.name, row: format!("number {number}"), flaw }
}

/// Reads a value as what its column holds; there is no conversion.
fn read(value: ValueRef<'_>, column: &Column) -> Result<Cell, &'static str> {
    match (column.kind, value) {
        (_, ValueRef::Null) if column.nullable => Ok(Cell::Null),
        (_, ValueRef::Null) => Err("must not be empty"),
        (Kind::Id, ValueRef::Blob(bytes)) => {
            Uuid::from_slice(bytes).map(Cell::Id).map_err(|_| "must be the 16 bytes of a UUID")
        }
        (Kind::Text, ValueRef::Text(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "must be text in UTF-8")?;
            // PostgreSQL can't keep it (its manual, 8.3).
            if text.contains('\0') { Err("must not hold NUL") } else { Ok(Cell::Text(text.to_owned())) }
        }
        (Kind::Bytes, ValueRef::Blob(bytes)) => Ok(Cell::Bytes(bytes.to_vec())),
        (Kind::Whole, ValueRef::Integer(number)) => Ok(Cell::Whole(number)),
        (Kind::Small, ValueRef::Integer(number)) if i32::try_from(number).is_ok() => Ok(Cell::Whole(number)),
        (Kind::Flag, ValueRef::Integer(number @ (0 | 1))) => Ok(Cell::Flag(number == 1)),
        (Kind::Id | Kind::Bytes, _) => Err("must be bytes"),
        (Kind::Text, _) => Err("must be text"),
        (Kind::Whole | Kind::Small, _) => Err("must be an integer that fits"),
        (Kind::Flag, _) => Err("must be 0 or 1"),
    }
}

/// What can be said of a file without SQLite; its size.
pub(super) fn look_at(path: &Path) -> Result<u64, ImportRefusal> {
    let foreign = |words: String| ImportRefusal::Foreign(words);
    let unreadable = |error: std::io::Error| foreign(format!("it can't be read: {error}"));
    let kind = fs::metadata(path).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(foreign("it is no file".to_owned()));
    }
    let mut head = Vec::with_capacity(MAGIC.len());
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MAGIC.len() as u64).read_to_end(&mut head).map_err(unreadable)?;
    if head != MAGIC {
        return Err(foreign("it is no SQLite database".to_owned()));
    }
    for ending in ["-wal", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        if fs::metadata(PathBuf::from(&beside)).is_ok_and(|beside| beside.len() > 0) {
            let words = "it has changes beside it that are not in it yet: a server uses it, or did not stop well. \
                         Make an export, or stop the server first";
            return Err(foreign(words.to_owned()));
        }
    }
    Ok(kind.len())
}

/// A connection that can read, and little else.
pub(super) fn connect(path: &Path, budget: &Budget) -> Result<Connection, ImportRefusal> {
    let path = path.to_str().ok_or_else(|| ImportRefusal::Foreign("its path is no text".to_owned()))?;
    // Nobody changes it meanwhile, and nothing is written beside it.
    let uri = format!("file:{}?mode=ro&immutable=1", utf8_percent_encode(path, ESCAPED));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(&uri, flags)?;
        for (limit, most) in [
            (Limit::SQLITE_LIMIT_LENGTH, LARGEST),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, 16 * 1024),
            (Limit::SQLITE_LIMIT_COLUMN, 100),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 20),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 5),
            (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
            (Limit::SQLITE_LIMIT_FUNCTION_ARG, 16),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN),
            (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 16),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
            (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        ] {
            connection.set_limit(limit, most)?;
        }
        for (config, on) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
            (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        ] {
            connection.set_db_config(config, on)?;
        }
        let over = budget.clone();
        connection.progress_handler(OPERATIONS, Some(move || over.is_over()))?;
        budget.allow(CHECKING);
        connection
            .execute_batch("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA query_only = ON")?;
        Ok(connection)
    };
    open().map_err(|error| unreadable(&error))
}

/// The steps that the file says it has: all of ours up to some point.
fn steps_of(connection: &Connection) -> Result<Vec<&'static Step>, ImportRefusal> {
    let sql_of = |connection: &Connection| -> rusqlite::Result<Option<String>> {
        connection.query_row(STEPS_TABLE, [], |row| row.get(0)).optional()
    };
    let Some(found) = sql_of(connection).map_err(|error| unreadable(&error))? else {
        return Err(ImportRefusal::Foreign("it is no database of Gatehouse".to_owned()));
    };
    // It is read before the rest of the schema can be judged: nothing of it may be computed.
    if sql_of(&reference(&[])?).map_err(anyhow::Error::from)?.as_ref() != Some(&found) {
        return Err(ImportRefusal::Foreign("its table schema_steps is not one of Gatehouse".to_owned()));
    }
    let names = || -> rusqlite::Result<Vec<String>> {
        // More than there can be would only be refused later.
        let mut statement =
            connection.prepare("SELECT name FROM schema_steps NOT INDEXED ORDER BY position LIMIT 1000")?;
        let names = statement.query_map([], |row| row.get(0))?;
        names.collect()
    };
    let names = names().map_err(|error| unreadable(&error))?;
    for (at, name) in names.iter().enumerate() {
        if STEPS.get(at).is_none_or(|step| step.name != name) {
            let known = STEPS.iter().any(|step| step.name == name);
            let plain =
                name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return Err(if known || !plain {
                ImportRefusal::Foreign("its migration steps are out of order".to_owned())
            } else {
                ImportRefusal::Newer(name.clone())
            });
        }
    }
    Ok(STEPS.iter().take(names.len()).collect())
}

/// One thing in a schema: what it is, what it is called, and how it was made.
type Made = (String, String, Option<String>);

/// Compares the file's schema with the one that these steps make; the columns that it has.
fn compare_schemas(connection: &Connection, steps: &[&Step]) -> Result<BTreeSet<String>, ImportRefusal> {
    let ours = reference(steps)?;
    let wanted = made(&ours).map_err(anyhow::Error::from)?;
    let found = made(connection).map_err(|error| unreadable(&error))?;
    let strange = |thing: &&Made| !wanted.contains(*thing);
    if let Some((kind, name, _)) = found.iter().find(strange) {
        let (kind, name) = (plain(kind), plain(name));
        return Err(ImportRefusal::Foreign(format!(
            "it holds a {kind} that is not one of Gatehouse: {name}"
        )));
    }
    if let Some((kind, name, _)) = wanted.iter().find(|thing| !found.contains(*thing)) {
        return Err(ImportRefusal::Foreign(format!("it lacks the {kind} {name}")));
    }
    columns(&ours).map_err(|error| anyhow::Error::from(error).into())
}

/// An empty database as these steps make it.
fn reference(steps: &[&Step]) -> Result<Connection, ImportRefusal> {
    let make = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_in_memory()?;
        make_schema(&connection, steps)?;
        Ok(connection)
    };
    make().map_err(|error| anyhow::Error::from(error).into())
}

fn made(connection: &Connection) -> rusqlite::Result<BTreeSet<Made>> {
    // Far more than ours: a file with so many is refused for one of them.
    let sql = "SELECT type, name, sql FROM sqlite_schema LIMIT 10000";
    let mut statement = connection.prepare(sql)?;
    let all = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let is_own = |made: &rusqlite::Result<Made>| {
        let Ok((kind, name, Some(sql))) = made else { return false };
        kind == "table" && OWN.contains(&(name.as_str(), sql.as_str()))
    };
    all.filter(|made| !is_own(made)).collect()
}

fn columns(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT tables.name || '.' || columns.name FROM sqlite_schema AS tables, \
               pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

pub(super) fn check_structure(connection: &Connection) -> Result<(), ImportRefusal> {
    let check = || -> rusqlite::Result<String> {
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
    };
    match check().map_err(|error| unreadable(&error))?.as_str() {
        "ok" => Ok(()),
        _ => Err(ImportRefusal::Damaged("its structure is broken".to_owned())),
    }
}

fn log_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<audit::Row> {
    let id = |at: usize| -> rusqlite::Result<Option<Uuid>> {
        let bytes: Option<[u8; 16]> = row.get(at)?;
        Ok(bytes.map(Uuid::from_bytes))
    };
    Ok(audit::Row {
        number: row.get(0)?,
        at: row.get(1)?,
        actor_id: id(2)?,
        action: row.get(3)?,
        subject_type: row.get(4)?,
        subject_id: id(5)?,
        details: row.get(6)?,
        trace_id: row.get(7)?,
        follows_seal: row.get(8)?,
        hash: row.get(9)?,
    })
}

pub(super) fn unreadable(error: &rusqlite::Error) -> ImportRefusal {
    let rusqlite::Error::SqliteFailure(cause, _) = error else {
        return ImportRefusal::Damaged("something in it can't be read".to_owned());
    };
    match cause.code {
        ErrorCode::OperationInterrupted => ImportRefusal::Slow,
        ErrorCode::NotADatabase => ImportRefusal::Foreign("it is no SQLite database".to_owned()),
        ErrorCode::TooBig => ImportRefusal::Foreign("it holds something too large".to_owned()),
        _ => ImportRefusal::Damaged("something in it can't be read".to_owned()),
    }
}

/// A name from the file, fit to be shown.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(64).collect()
}

/// Until when SQLite may go on with what it does.
#[derive(Clone, Default)]
pub(super) struct Budget(Arc<Mutex<Option<Instant>>>);

impl Budget {
    pub(super) fn allow(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    fn is_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|end| Instant::now() > end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that somebody else has made, opened.
    fn opened(sql: &str, budget: &Budget) -> (tempfile::TempDir, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handed-in.db");
        let maker = Connection::open(&path).unwrap();
        maker.execute_batch(sql).unwrap();
        maker.close().unwrap();
        let connection = connect(&path, budget).unwrap();
        (folder, connection)
    }

    #[test]
    fn a_connection_to_a_file_can_read_and_little_else() {
        let sql = "CREATE TABLE t (x); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT x FROM t; \
                   CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END";
        let (folder, connection) = opened(sql, &Budget::default());
        for (config, expected) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
            (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        ] {
            assert_eq!(connection.db_config(config).unwrap(), expected, "{config:?}");
        }
        for (pragma, expected) in [("query_only", 1), ("cell_size_check", 1), ("mmap_size", 0)] {
            let found: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
            assert_eq!(found, expected, "{pragma}");
        }
        assert_eq!(connection.query_row("SELECT x FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
        let elsewhere = folder.path().join("elsewhere.db");
        let attach = format!("ATTACH '{}' AS elsewhere", elsewhere.display());
        for refused in [
            "SELECT x FROM v",
            "INSERT INTO t VALUES (2)",
            "CREATE TABLE u (x)",
            "CREATE TEMP TABLE u (x)",
            "VACUUM",
            &attach,
            "SELECT load_extension('x')",
        ] {
            assert!(connection.execute_batch(refused).is_err(), "{refused}");
        }
        assert!(!elsewhere.exists());
        let large = format!("SELECT length(zeroblob({}))", i64::from(LARGEST) + 1);
        assert!(connection.query_row(&large, [], |row| row.get::<_, i64>(0)).is_err());
    }

    #[test]
    fn what_takes_longer_than_it_may_is_given_up() {
        let budget = Budget::default();
        let (_folder, connection) = opened("CREATE TABLE t (x)", &budget);
        budget.allow(Duration::ZERO);
        let endless =
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n";
        let given_up = connection.query_row(endless, [], |row| row.get::<_, i64>(0)).unwrap_err();
        assert!(matches!(unreadable(&given_up), ImportRefusal::Slow), "{given_up}");
        // The next act has its own time.
        budget.allow(CHECKING);
        assert_eq!(
            connection.query_row("SELECT COUNT(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(),
            0
        );
    }
}
