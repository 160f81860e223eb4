//! The parts of a statement that is put together.

use sea_orm::{EntityTrait, Iden, Iterable, Value};

/// Values, in the order in which they were given their places.
#[derive(Debug, Default)]
pub struct Values(Vec<Value>);

impl Values {
    /// Takes a value in; returns its placeholder, `$1` for the first.
    pub fn place(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("${}", self.0.len())
    }

    /// Takes a row in; returns its placeholders, in parentheses.
    pub fn row(&mut self, columns: impl IntoIterator<Item = Value>) -> String {
        let columns: Vec<String> = columns.into_iter().map(|column| self.place(column)).collect();
        format!("({})", columns.join(", "))
    }

    /// All of them, for the statement.
    #[must_use]
    pub fn into_vec(self) -> Vec<Value> {
        self.0
    }
}

/// The columns of an entity by their names, of the table or alias `of`. Never `*`: a newer program may add a column while
/// this one serves, and a statement from before would then be read wrongly (SQLite) or refused (PostgreSQL).
#[must_use]
pub fn columns<E: EntityTrait>(of: &str) -> String {
    let names: Vec<String> = E::Column::iter().map(|column| format!("{of}.{}", column.unquoted())).collect();
    names.join(", ")
}

/// A count as a statement takes it.
#[must_use]
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
