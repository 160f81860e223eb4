//! What a database error means to us.

use sea_orm::{DbErr, RuntimeErr, SqlErr};

use super::lack::Missing;

/// SQLSTATE of errors that pass (PostgreSQL, Appendix A): a failed serialisation, a deadlock, a lock or statement that
/// took too long, a server that only reads for now.
const PASSING_STATES: [&str; 5] = ["40001", "40P01", "55P03", "57014", "25006"];

/// Classes of those: no connection, no resources, an operator's intervention, a failing system.
const PASSING_CLASSES: [&str; 4] = ["08", "53", "57P", "58"];

/// SQLite's primary result codes that pass: busy, locked, no memory, read-only, I/O error, disk full, can't open; and
/// with an operator's help: malformed, no database.
const PASSING_CODES: [i32; 9] = [5, 6, 7, 8, 10, 11, 13, 14, 26];

/// SQLite's result codes after which nobody knows what is on the disk: the sync of a file or a folder failed (1034, 1290),
/// the system could not read what it had written (8458), the database is malformed or none (11, 26 and their kinds). A
/// write that failed (778) is not among them: a full quota looks like that, and SQLite undoes it.
const DAMAGE: [i32; 3] = [1034, 1290, 8458];
/// The primary ones of them.
const MALFORMED: [i32; 2] = [11, 26];

/// SQLite's primary result codes of a full disk, and of a file that may only be read.
const FULL: i32 = 13;
const READ_ONLY: i32 = 8;
/// Those of a write that failed, for want of room as a rule: the system refused it (778), the index of the log can't
/// grow (4874).
const WRITES: [i32; 2] = [778, 4874];
/// `disk_full`.
const DISK_FULL: &str = "53100";

/// Whether waiting may cure it, so that the answer is 503 and not 500.
#[must_use]
pub fn is_passing(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => {
            passes(cause.as_ref())
        }
        _ => false,
    }
}

fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(cause) => {
            let is_sqlite = cause.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some();
            cause.code().is_some_and(|code| if is_sqlite { code_passes(&code) } else { state_passes(&code) })
        }
        _ => false,
    }
}

/// Whether SQLite says that what it has written can't be relied on.
pub(super) fn is_damage(error: &sqlx::Error) -> bool {
    sqlite_code(error).is_some_and(|code| DAMAGE.contains(&code) || MALFORMED.contains(&(code & 0xff)))
}

/// What a write lacks that failed so; `None` if it is nothing of the kind.
pub(super) fn missing(error: &sqlx::Error) -> Option<Missing> {
    let Some(code) = sqlite_code(error) else {
        let state = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        return (state.as_deref() == Some(DISK_FULL)).then_some(Missing::Room);
    };
    match code & 0xff {
        READ_ONLY => Some(Missing::Permission),
        FULL => Some(Missing::Room),
        _ => WRITES.contains(&code).then_some(Missing::Room),
    }
}

/// SQLite's extended result code.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let cause = error.as_database_error()?;
    cause.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    cause.code()?.parse().ok()
}

fn code_passes(code: &str) -> bool {
    code.parse::<i32>().is_ok_and(|code| PASSING_CODES.contains(&(code & 0xff)))
}

fn state_passes(state: &str) -> bool {
    PASSING_STATES.contains(&state) || PASSING_CLASSES.iter().any(|class| state.starts_with(class))
}

/// The index or columns that a unique violation names, in the database's words; `None` for any other error.
#[must_use]
pub fn violated_unique(error: &DbErr) -> Option<String> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(words)) => Some(words),
        _ => None,
    }
}
