//! What other systems are told: every change of an account as an event, written in the transaction of the change (an
//! outbox), so that neither exists without the other.
//!
//! A feature says what happened with a struct of its own that has a name ([`Told`]), and writes it with
//! [`Events::record`]. Whoever passes events on (a message broker, webhooks) reads them in the order of their positions and
//! hears of new ones through [`Events::written`].

pub mod store;

use std::sync::Arc;

use sea_orm::DbErr;
use serde::Serialize;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::random::Random;

/// The data of an event. Its fields are part of the contract with whoever listens, and hold no secret.
pub trait Told: Serialize {
    /// The type of the event, as `user.created`. Never rename.
    const NAME: &'static str;
}

/// Something that happened, to be told.
#[derive(Clone, Debug)]
pub struct Event {
    /// To whose account.
    pub user: Uuid,
    /// What; see [`Told::NAME`].
    pub name: &'static str,
    /// The data, as JSON.
    pub data: String,
    /// The trace id of the request that caused it.
    pub trace_id: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Event {
    /// An event about a user. An act runs elsewhere than the request that called it, so the trace id is handed over.
    pub fn new<T: Told>(
        user: Uuid,
        told: &T,
        trace_id: Option<String>,
        at: Timestamp,
    ) -> Result<Self, DbErr> {
        let data = serde_json::to_string(told).map_err(|error| DbErr::Json(error.to_string()))?;
        Ok(Self { user, name: T::NAME, data, trace_id, at })
    }
}

/// The feature: what it owns.
#[derive(Clone)]
pub struct Events {
    random: Random,
    written: Arc<Notify>,
}

impl Events {
    /// The feature, before anything happened.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self { random, written: Arc::default() }
    }

    /// Writes an event in the transaction of what it tells of.
    pub async fn record(&self, tx: &Tx, event: Event) -> Result<(), DbErr> {
        let id = self.random.uuid_v7(event.at);
        tx.wake(&self.written);
        store::insert(tx, id, event).await
    }
}
