//! The log on its way: out with a backup, and back into a database that has none.
//!
//! Rows go as they are. What was changed unseen before shows afterwards as it did then, and an end that this server has
//! sealed is one here, too: the restored log goes on behind it.

use sea_orm::DbErr;

use super::Audit;
use super::store::{self, Row, SealedEnd};
use crate::platform::db::Tx;

/// Rows that are read at once.
const STEP: i64 = 500;

impl Audit {
    /// Where the log ends, to be taken out; none if somebody took that away.
    pub async fn sealed_end(&self) -> Result<Option<SealedEnd>, DbErr> {
        let end = store::end(self.db.reader()).await?;
        Ok(end.map(|end| SealedEnd { number: end.number, hash: end.hash, seal: end.seal }))
    }

    /// Some rows behind one number, up to another, in their order; none behind the last.
    pub async fn rows_behind(&self, number: i64, until: i64) -> Result<Vec<Row>, DbErr> {
        store::between(self.db.reader(), number.saturating_add(1), until, STEP).await
    }

    /// Whether a log with this end can be taken in: there is none here yet, and it was sealed under a secret that is known
    /// here. The end of the log is held from here on.
    pub async fn may_take_in(&self, tx: &Tx, end: &SealedEnd) -> Result<bool, DbErr> {
        let held = store::hold(tx).await?;
        let is_empty = held.is_some_and(|head| head.number == 0) && store::last(tx).await? == 0;
        Ok(is_empty && end.number > 0 && self.is_sealed(end.number, end.hash.as_deref(), end.seal.as_deref()))
    }

    /// Takes in some rows.
    pub async fn take_in(&self, tx: &Tx, rows: &[Row]) -> Result<(), DbErr> {
        if rows.is_empty() { Ok(()) } else { store::insert(tx, rows).await }
    }

    /// Ends a log that was taken in: what is written next goes on behind it.
    pub async fn end_where(&self, tx: &Tx, end: SealedEnd) -> Result<(), DbErr> {
        store::set_head(tx, end).await
    }
}
