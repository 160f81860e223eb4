//! How long a database is waited for that may never answer: a server that hangs, a network that drops packets.

use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};

/// What comes of it within `patience`, or that the database says nothing. None: however long it takes.
pub(super) async fn within<T>(
    patience: Option<Duration>,
    work: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    match patience {
        None => work.await,
        Some(patience) => tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err(silent())),
    }
}

fn silent() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the database says nothing".into()))
}
