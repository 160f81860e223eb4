//! Reads a database of S1 that anybody may have written: known columns of known tables, and each value as what it is,
//! not as what its column promises.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::Unfit;
use crate::archive::ImportRefusal;
use crate::archive::file::{self, Budget};

/// Rows that are read at once, and bytes of theirs: one row may have a megabyte.
const PORTION: usize = 500;
const PORTION_BYTES: usize = 4 * 1024 * 1024;
/// Things that S1 makes are far fewer.
const MOST_THINGS: usize = 1000;

/// A table of S1, and the columns of it that are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub name: &'static str,
    pub columns: &'static [&'static str],
}

pub(super) const USERS: Table = Table {
    name: "users",
    columns: &[
        "uuid",
        "username",
        "display_name",
        "email",
        "email_verified",
        "hashed_password",
        "otp_method",
        "roles",
        "description",
        "created_at",
        "updated_at",
        "is_external_only",
        "is_active",
        "user_history",
        "profile_picture_id",
        "blocked_uuids",
    ],
};
pub(super) const FILES: Table = Table {
    name: "files",
    columns: &["id", "file_name", "file_type", "file_path", "description", "created_at", "created_by_uuid"],
};
pub(super) const LINKS: Table = Table { name: "users_files_links", columns: &["user_uuid", "file_id"] };
pub(super) const ACCOUNTS: Table = Table {
    name: "external_accounts",
    columns: &[
        "external_account_id",
        "provider",
        "username",
        "display_name",
        "email",
        "picture_url",
        "user_uuid",
    ],
};
const TABLES: [Table; 4] = [USERS, FILES, LINKS, ACCOUNTS];

/// A file of S1's, opened as one that nobody trusts (see `archive/file.rs`).
pub(super) struct Source {
    connection: Connection,
    budget: Budget,
}

/// Whether a file is S1's, as its tables tell.
pub(super) fn is_s1(path: &Path) -> Result<bool, Unfit> {
    file::look_at(path)?;
    let budget = Budget::default();
    let connection = file::connect(path, &budget)?;
    budget.allow(file::CHECKING);
    let sql = "SELECT COUNT(*) FILTER (WHERE name IN ('alembic_version', 'users')) = 2 \
               AND COUNT(*) FILTER (WHERE name = 'schema_steps') = 0 FROM sqlite_schema WHERE type = 'table'";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

impl Source {
    /// Opens the file. Its tables must be S1's: plain tables with every column that is read, stored and not computed.
    pub fn open(path: &Path) -> Result<Self, Unfit> {
        let size = file::look_at(path)?;
        let budget = Budget::default();
        let connection = file::connect(path, &budget)?;
        budget.allow(file::CHECKING);
        check_schema(&connection)?;
        // What the file says of the values of its rows is somebody's code, too; each value is judged when it is read.
        connection.execute_batch("PRAGMA ignore_check_constraints = ON")?;
        let source = Self { connection, budget };
        TABLES.into_iter().try_for_each(|table| source.check(table))?;
        source.budget.allow(file::CHECKING + Duration::from_secs(size / file::CHECKED_A_SECOND));
        file::check_structure(&source.connection)?;
        Ok(source)
    }

    fn check(&self, table: Table) -> Result<(), Unfit> {
        self.budget.allow(file::CHECKING);
        let kinds = "SELECT COUNT(*) FROM pragma_table_list WHERE schema = 'main' AND name = ?1 \
                     AND type = 'table' AND wr = 0";
        let plain: i64 = self.connection.query_row(kinds, [table.name], |row| row.get(0))?;
        if plain != 1 {
            return Err(Unfit::refused(table.name, "it is not there, or is not a plain table"));
        }
        let mut columns =
            self.connection.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0")?;
        let columns = columns.query_map([table.name], |row| row.get(0))?;
        let columns: Vec<String> = columns.collect::<Result<_, _>>()?;
        match table.columns.iter().find(|name| !columns.iter().any(|found| found == *name)) {
            Some(missing) => {
                Err(Unfit::refused(table.name, format!("it has no column {missing}, as S1 makes it")))
            }
            None => Ok(()),
        }
    }

    /// How many rows a table has.
    pub fn count(&self, table: Table) -> Result<i64, Unfit> {
        self.budget.allow(file::CHECKING);
        let sql = format!("SELECT COUNT(*) FROM \"{}\"", table.name);
        Ok(self.connection.query_row(&sql, [], |row| row.get(0))?)
    }

    /// The next rows of a table behind row number `after`; none when all were read.
    pub fn portion(&self, table: Table, after: i64) -> Result<Vec<Row>, Unfit> {
        self.budget.allow(file::CHECKING);
        let columns: Vec<String> = table.columns.iter().map(|name| format!("\"{name}\"")).collect();
        let (columns, name) = (columns.join(", "), table.name);
        let sql = format!(
            "SELECT rowid, {columns} FROM \"{name}\" WHERE rowid > ?1 ORDER BY rowid LIMIT {PORTION}"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut found = statement.query([after])?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while bytes < PORTION_BYTES
            && let Some(row) = found.next()?
        {
            let row = Row::read(table, row)?;
            bytes += row.bytes();
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Refuses what would make SQLite run something of somebody else's as soon as it looks at a row. Only the schema is read.
fn check_schema(connection: &Connection) -> Result<(), Unfit> {
    let strange = |what: &str, name: &str| {
        Unfit::File(ImportRefusal::Foreign(format!("it holds {what}, as S1 does not: {}", file::plain(name))))
    };
    let sql = format!("SELECT name, rootpage, sql FROM sqlite_schema LIMIT {}", MOST_THINGS + 1);
    let mut statement = connection.prepare(&sql)?;
    let things = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let things: Vec<(String, Option<i64>, Option<String>)> = things.collect::<Result<_, _>>()?;
    if things.len() > MOST_THINGS {
        return Err(strange("more than a thousand tables and indexes", ""));
    }
    for (name, root, sql) in &things {
        // Indexes that SQLite makes by itself have no words.
        let begins = |words: &str| sql.as_ref().is_none_or(|sql| sql.starts_with(words));
        let is_plain = ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "].into_iter().any(begins);
        if !is_plain || root.is_none_or(|root| root < 1) {
            return Err(strange("a view, a trigger or a virtual table", name));
        }
    }
    let computed = "SELECT tables.name || '.' || columns.name FROM pragma_table_list AS tables, \
                    pragma_table_xinfo(tables.name) AS columns WHERE tables.schema = 'main' AND columns.hidden <> 0";
    if let Some(name) = first_name(connection, computed)? {
        return Err(strange("a computed column", &name));
    }
    let judged = "SELECT indexes.name FROM pragma_table_list AS tables, pragma_index_list(tables.name) AS indexes \
                  WHERE tables.schema = 'main' AND (indexes.partial <> 0 OR EXISTS \
                  (SELECT 1 FROM pragma_index_xinfo(indexes.name) AS columns WHERE columns.cid = -2))";
    match first_name(connection, judged)? {
        Some(name) => Err(strange("an index over an expression, or over some rows only", &name)),
        None => Ok(()),
    }
}

fn first_name(connection: &Connection, sql: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row(sql, [], |row| row.get(0)).optional()
}

/// A value as it is stored.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Integer(i64),
    Text(String),
    /// A fraction or bytes: S1 writes neither.
    Other,
}

/// A row of a table.
pub(super) struct Row {
    table: Table,
    /// Its number in the file.
    pub number: i64,
    cells: Vec<Cell>,
}

impl Row {
    fn read(table: Table, row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let cell = |place: usize| {
            Ok(match row.get_ref(place + 1)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Integer(number),
                // Text that is no UTF-8 is no text; PostgreSQL keeps none with a NUL.
                ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) if !text.contains('\0') => Cell::Text(text.to_owned()),
                    _ => Cell::Other,
                },
                ValueRef::Real(_) | ValueRef::Blob(_) => Cell::Other,
            })
        };
        let cells = (0..table.columns.len()).map(cell).collect::<rusqlite::Result<_>>()?;
        Ok(Self { table, number: row.get(0)?, cells })
    }

    /// How much memory its values need, about.
    fn bytes(&self) -> usize {
        let texts = self.cells.iter().map(|cell| if let Cell::Text(text) = cell { text.len() } else { 0 });
        texts.sum::<usize>() + size_of_val(self.cells.as_slice())
    }

    fn cell(&self, column: &'static str) -> &Cell {
        let place = self.table.columns.iter().position(|name| *name == column);
        place.and_then(|place| self.cells.get(place)).unwrap_or(&Cell::Other)
    }

    /// Why this row can't be what S1 has written.
    pub fn unfit(&self, column: &'static str, words: &str) -> Unfit {
        Unfit::refused(self.table.name, format!("row {}, {column}: {words}", self.number))
    }

    pub fn optional_text(&self, column: &'static str) -> Result<Option<&str>, Unfit> {
        match self.cell(column) {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            Cell::Integer(_) | Cell::Other => Err(self.unfit(column, "must be text")),
        }
    }

    pub fn text(&self, column: &'static str) -> Result<&str, Unfit> {
        self.optional_text(column)?.ok_or_else(|| self.unfit(column, "must not be empty"))
    }

    pub fn optional_integer(&self, column: &'static str) -> Result<Option<i64>, Unfit> {
        match self.cell(column) {
            Cell::Null => Ok(None),
            Cell::Integer(number) => Ok(Some(*number)),
            Cell::Text(_) | Cell::Other => Err(self.unfit(column, "must be a whole number")),
        }
    }

    pub fn integer(&self, column: &'static str) -> Result<i64, Unfit> {
        self.optional_integer(column)?.ok_or_else(|| self.unfit(column, "must not be empty"))
    }

    pub fn boolean(&self, column: &'static str) -> Result<bool, Unfit> {
        match self.integer(column)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.unfit(column, "must be 0 or 1")),
        }
    }

    /// Seconds since the Unix epoch, as milliseconds.
    pub fn moment(&self, column: &'static str) -> Result<i64, Unfit> {
        let seconds = self.integer(column)?;
        let fits = (0..=super::values::LAST_SECOND).contains(&seconds);
        fits.then(|| seconds * 1000).ok_or_else(|| self.unfit(column, "must be a moment in seconds"))
    }

    pub fn uuid(&self, column: &'static str) -> Result<Uuid, Unfit> {
        let read = Uuid::try_parse(self.text(column)?).ok().filter(|id| !id.is_nil());
        read.ok_or_else(|| self.unfit(column, "must be a UUID"))
    }

    /// A JSON array; nothing is an empty one.
    pub fn list<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<Vec<T>, Unfit> {
        let Some(text) = self.optional_text(column)? else { return Ok(Vec::new()) };
        let read: Result<Option<Vec<T>>, _> = serde_json::from_str(text);
        read.map(Option::unwrap_or_default).map_err(|_| self.unfit(column, "must be a JSON array of S1's"))
    }
}
