//! A row, read cell by cell in the order of its columns.
//!
//! By name each cell would be looked up, and sea-orm makes of each NULL an error with a text before it makes none of it:
//! that was a quarter of the time of a page of a hundred users.

use sea_orm::{DbErr, QueryResult, RuntimeErr};
use sqlx::{Decode, Postgres, Row, Sqlite, Type};

/// The cells of a row that have not been read yet.
pub struct Cells<'r> {
    row: &'r QueryResult,
    next: usize,
}

impl<'r> Cells<'r> {
    /// From the first column on.
    #[must_use]
    pub const fn of(row: &'r QueryResult) -> Self {
        Self { row, next: 0 }
    }

    /// The value in the next column. Fails where there is none, or one of another type.
    pub fn take<T>(&mut self) -> Result<T, DbErr>
    where
        T: Type<Postgres> + Decode<'r, Postgres> + Type<Sqlite> + Decode<'r, Sqlite>,
    {
        let at = self.next;
        self.next += 1;
        let value = match (self.row.try_as_sqlite_row(), self.row.try_as_pg_row()) {
            (Some(row), _) => row.try_get(at),
            (None, Some(row)) => row.try_get(at),
            (None, None) => return Err(DbErr::Type("the row is of another database".to_owned())),
        };
        value.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into())))
    }
}
