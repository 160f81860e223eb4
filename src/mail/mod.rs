//! Letters to people: queued in the transaction of the act that causes them, sent by a worker, never lost in between.

mod letter;

use std::sync::Arc;

use sea_orm::DbErr;
use uuid::Uuid;

use crate::platform::db::Tx;

pub use letter::{Languages, Letter, Occasion, Post};

/// The feature. Clones mean the same.
#[derive(Clone)]
pub struct Mail(Arc<Inner>);

struct Inner {
    on: bool,
}

impl Mail {
    /// Whether mails are sent at all; with `EMAIL_METHOD=none` nothing is ever queued.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.on
    }

    /// Queues a letter in the transaction of the act that causes it. `None` when mail is off, or when the address has
    /// had as many letters caused by strangers as an hour allows; the same work is done then.
    pub async fn post_in(&self, tx: &Tx, post: Post) -> Result<Option<Uuid>, DbErr> {
        let _ = (tx, post);
        Ok(None)
    }

    /// The same work for nobody, so that a reader of clocks does not learn whether there was somebody to write to.
    pub async fn pretend_in(&self, tx: &Tx) -> Result<(), DbErr> {
        let _ = tx;
        Ok(())
    }
}
