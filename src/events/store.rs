//! The rows of events.

use sea_orm::entity::prelude::*;
use sea_orm::{DbBackend, Statement};

use super::Event;
use crate::platform::db::Tx;

/// Table `events`.
pub mod event {
    use sea_orm::entity::prelude::*;

    /// An event. Moments are milliseconds since the Unix epoch.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "events")]
    pub struct Model {
        /// In the order in which the events of one user were written.
        #[sea_orm(primary_key)]
        pub number: i64,
        /// Drawn for it; a repeated delivery carries the same.
        pub id: Uuid,
        /// Whose event it is; that user may be gone.
        pub user_id: Uuid,
        /// Which of this user's events it is: 1, 2, 3, …
        pub sequence: i64,
        /// The order in which everybody is told; `None` until the relay has given it.
        pub position: Option<i64>,
        /// What happened, as `user.created`.
        pub event_type: String,
        /// The data: a JSON object.
        pub payload: String,
        /// The trace id of the request that caused it.
        pub trace_id: Option<String>,
        /// When it happened.
        pub created_at: i64,
        /// When the broker confirmed it.
        pub published_at: Option<i64>,
        /// `parked`: the broker refuses it for itself; `unrouted`: no queue took it.
        pub trouble: Option<String>,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Writes an event under the next number of its user's sequence. The user's row must still be there.
pub(super) async fn insert(tx: &Tx, id: Uuid, event: Event) -> Result<(), DbErr> {
    let backend = tx.get_database_backend();
    let counted = "UPDATE users SET event_sequence = event_sequence + 1 WHERE id = $2";
    let into = "INSERT INTO events (id, user_id, sequence, event_type, payload, trace_id, created_at) \
                SELECT $1, $2, event_sequence, $3, $4, $5, CAST($6 AS BIGINT)";
    let sql = match backend {
        DbBackend::Sqlite => format!("{counted}; {into} FROM users WHERE id = $2"),
        _ => format!("WITH counted AS ({counted} RETURNING event_sequence) {into} FROM counted"),
    };
    let values = [
        id.into(),
        event.user.into(),
        event.name.into(),
        event.data.into(),
        event.trace_id.into(),
        event.at.millis().into(),
    ];
    tx.execute_at_the_end(Statement::from_sql_and_values(backend, sql, values)).await
}
