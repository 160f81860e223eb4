//! The database.

/// Whether the error is one that waiting may cure: no connection, no room, a lock held too long.
#[must_use]
pub fn is_passing(error: &sea_orm::DbErr) -> bool {
    matches!(error, sea_orm::DbErr::ConnectionAcquire(_) | sea_orm::DbErr::Conn(_))
}
