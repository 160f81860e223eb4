//! What a database error means to us.

use sea_orm::{DbErr, RuntimeErr, SqlErr};

/// SQLSTATE of errors that pass: lost or refused connections, too many of them, a lock or a serialisation that
/// failed, a server that starts or stops, a statement that ran out of time (PostgreSQL, Appendix A).
const PASSING_STATES: [&str; 9] =
    ["40001", "40P01", "53300", "55P03", "57014", "57P01", "57P02", "57P03", "25006"];

/// SQLite's primary result codes that pass: busy, locked, disk full, I/O error.
const PASSING_CODES: [i32; 4] = [5, 6, 13, 10];

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
        sqlx::Error::Database(cause) => cause.code().is_some_and(|code| {
            PASSING_STATES.contains(&code.as_ref())
                || code.starts_with("08")
                || code.parse::<i32>().is_ok_and(|code| PASSING_CODES.contains(&(code & 0xff)))
                    && cause.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some()
        }),
        _ => false,
    }
}

/// The index or columns that a unique violation names, in the database's words; `None` for any other error.
#[must_use]
pub fn violated_unique(error: &DbErr) -> Option<String> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(words)) => Some(words),
        _ => None,
    }
}
