//! The spans of statements: what kind of statement, on which database, and nothing of what it says.

use sea_orm::{DbBackend, DbErr};

use crate::platform::telemetry::spans;

/// The kinds that are told apart.
const KINDS: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];

/// What kind of statement it is.
pub(super) fn kind_of(sql: &str) -> &'static str {
    let sql = sql.trim_start();
    KINDS.into_iter().find(|kind| sql.starts_with(kind)).unwrap_or("SQL")
}

/// Runs a statement of this kind in a span, if anything is recorded.
pub(super) async fn traced<T>(
    backend: DbBackend,
    kind: &'static str,
    work: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    let system = if backend == DbBackend::Sqlite { "sqlite" } else { "postgresql" };
    spans::within(kind, &[("db.system.name", system), ("db.operation.name", kind)], work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_word_and_by_nothing_else() {
        assert_eq!(kind_of("  SELECT 'secret'"), "SELECT");
        assert_eq!(kind_of("WITH x AS (SELECT 1) SELECT * FROM x"), "WITH");
        assert_eq!(kind_of("PRAGMA key = 'secret'"), "SQL");
    }
}
