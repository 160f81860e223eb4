//! A database file of ours with nothing in it, to be filled.

use std::path::Path;

use rusqlite::Connection;

use crate::migrations::{STEPS, Step};
use crate::platform::db::sqlite_script;

/// Makes the schema of today in an empty file and begins the one transaction that fills it: nobody reads it before it is
/// complete, and an incomplete one is thrown away.
pub(super) fn begin(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN")?;
    make_schema(&connection, &STEPS.iter().collect::<Vec<_>>())?;
    Ok(connection)
}

/// Ends the transaction.
pub(super) fn complete(connection: Connection) -> rusqlite::Result<()> {
    connection.execute_batch("COMMIT")?;
    connection.close().map_err(|(_, error)| error)
}

/// Makes the schema of these steps.
pub(super) fn make_schema(connection: &Connection, steps: &[&Step]) -> rusqlite::Result<()> {
    sqlite_script(steps).iter().try_for_each(|sql| connection.execute_batch(sql))
}
