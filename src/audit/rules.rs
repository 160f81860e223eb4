//! Writing the log, and reading it.

use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use sea_orm::DbErr;
use serde_json::Value;

use super::store::{self, Filter, Row, SealedEnd};
use super::{Audit, Entry, Hash, Head};
use crate::platform::db::{Span, Tx};

/// What the seal of the head is made for.
const SEAL: &str = "audit head";

impl Audit {
    /// Writes a row in the transaction of the deed. The head of the log is held from here on, so this comes after
    /// everything else that the transaction has to wait for.
    pub async fn record(&self, tx: &Tx, entry: Entry) -> Result<(), DbErr> {
        let head = match store::hold(tx).await? {
            Some(head) => head,
            // Taken away by somebody: the row says so, by what it follows.
            None => SealedEnd { number: store::last(tx).await?, ..SealedEnd::default() },
        };
        let Entry { actor, action, subject, details, trace_id } = entry;
        let details =
            serde_json::to_string(&Value::Object(details)).map_err(|error| DbErr::Json(error.to_string()))?;
        let mut row = Row {
            number: head.number + 1,
            at: self.clock.now().millis(),
            actor_id: actor,
            action: action.into_owned(),
            subject_type: subject.kind().to_owned(),
            subject_id: subject.id(),
            details,
            trace_id,
            follows_seal: self.is_sealed(head.number, head.hash.as_deref(), head.seal.as_deref()),
            hash: Vec::new(),
        };
        let before = head.hash.as_deref().and_then(Hash::from_bytes).unwrap_or(Hash::NOTHING);
        let hash = Hash::of(&before, &row);
        row.hash = hash.bytes().to_vec();
        store::append(tx, &row, &self.seal(row.number, &hash)).await
    }

    /// The same in a transaction of its own, for what is no change of the database.
    pub async fn record_alone(&self, entry: Entry) -> Result<(), DbErr> {
        let audit = self.clone();
        self.db.write(move |tx| async move { audit.record(tx, entry).await }.boxed()).await
    }

    /// Puts a seal by the present master secret in the place of one by an earlier one; whether there was such a one.
    pub async fn reseal(&self) -> Result<bool, DbErr> {
        let audit = self.clone();
        self.db.write(move |tx| async move { audit.reseal_in(tx).await }.boxed()).await
    }

    async fn reseal_in(&self, tx: &Tx) -> Result<bool, DbErr> {
        let Some(SealedEnd { number, hash: Some(hash), seal: Some(seal) }) = store::hold(tx).await? else {
            return Ok(false);
        };
        let Some(hash) = Hash::from_bytes(&hash).filter(|_| self.is_sealed(number, Some(&hash), Some(&seal)))
        else {
            return Ok(false);
        };
        let present = self.seal(number, &hash);
        if seal == present {
            return Ok(false);
        }
        store::seal(tx, &present).await?;
        Ok(true)
    }

    /// What only we can say of an end of the log.
    pub(super) fn seal(&self, number: i64, hash: &Hash) -> [u8; 32] {
        self.secrets.mac(SEAL, &[&number.to_be_bytes(), hash.bytes()])
    }

    /// Whether we said so of this end, under any known master secret. The empty log needs no seal.
    pub(super) fn is_sealed(&self, number: i64, hash: Option<&[u8]>, seal: Option<&[u8]>) -> bool {
        match (hash, seal) {
            (Some(hash), Some(seal)) => self.secrets.verify_mac(SEAL, &[&number.to_be_bytes(), hash], seal),
            (None, None) => number == 0,
            _ => false,
        }
    }

    /// Rows that the filter finds, by their numbers.
    pub async fn list(&self, filter: &Filter, span: &Span<i64>) -> Result<Vec<Row>, DbErr> {
        store::list(self.db.reader(), filter, span).await
    }

    /// How many rows the filter finds.
    pub async fn count(&self, filter: &Filter) -> Result<u64, DbErr> {
        store::count(self.db.reader(), filter).await
    }

    /// Where the log ends now; `None`: there is nothing in it, or nobody can tell.
    pub async fn head(&self) -> Result<Option<Head>, DbErr> {
        let end = store::end(self.db.reader()).await?;
        let hash = end.as_ref().and_then(|end| end.hash.as_deref()).and_then(Hash::from_bytes);
        Ok(end.zip(hash).map(|(end, hash)| Head { number: end.number, hash }))
    }

    /// Notes in the other log, which leaves the database, how far this one has come: who has noted it finds out whether
    /// the rows up to there are still all there.
    pub async fn tell_head(&self) -> Result<(), DbErr> {
        if let Some(head) = self.head().await?
            && self.told.swap(head.number, Ordering::Relaxed) != head.number
        {
            tracing::info!(%head, "the log of what staff did has come to here");
        }
        Ok(())
    }
}
