//! What other systems are told: every change of an account as an event, written in the transaction of the change (an
//! outbox), so that neither exists without the other.
//!
//! A feature says what happened with a struct of its own that has a name ([`Told`]), and writes it with
//! [`Events::record`]. Its position is the order in which everybody is told: that of writing on SQLite, given afterwards by
//! a relay on PostgreSQL ([`Events::relay`]). Whoever passes events on (a message broker, webhooks) reads them with
//! [`store::after`] in the order of their positions, hears of new ones through [`Events::placed`], and sends [`Body`].

mod body;
pub mod broker;
mod feed;
mod relay;
pub mod store;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

pub use body::Body;
pub use broker::Broker;
pub(crate) use feed::type_words;
pub use feed::{Feed, FeedRefusal, Replay, ReplayRefusal, SkipRefusal, TYPES, type_named};

use crate::platform::clock::{Clock, Timestamp};
use crate::platform::db::{Database, Tx};
use crate::platform::ground::Ground;
use crate::platform::random::Random;
use crate::platform::web::TraceId;
use store::Drawn;

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
    /// An event about a user. Without a trace id it gets that of the request that the running act works for.
    pub fn new<T: Told>(
        user: Uuid,
        told: &T,
        trace_id: Option<String>,
        at: Timestamp,
    ) -> Result<Self, DbErr> {
        let data = serde_json::to_string(told).map_err(|error| DbErr::Json(error.to_string()))?;
        let trace_id = trace_id.or_else(|| TraceId::current().map(|id| id.as_str().to_owned()));
        Ok(Self { user, name: T::NAME, data, trace_id, at })
    }
}

/// What the operator decides about events.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long events are kept.
    pub retention: Duration,
    /// Whether a message broker is to get them: none is forgotten before it has.
    pub broker: bool,
}

/// The feature: what it owns.
#[derive(Clone)]
pub struct Events {
    db: Database,
    clock: Clock,
    random: Random,
    settings: Arc<Settings>,
    written: Arc<Notify>,
    placed: Arc<watch::Sender<i64>>,
}

impl Events {
    /// The feature, before anything happened.
    #[must_use]
    pub fn new(ground: Ground, settings: Settings) -> Self {
        let Ground { db, clock, random } = ground;
        let (settings, placed) = (Arc::new(settings), Arc::new(watch::Sender::new(0)));
        Self { db, clock, random, settings, written: Arc::default(), placed }
    }

    /// Writes an event in the transaction of what it tells of. The row of its user must be there until then.
    pub async fn record(&self, tx: &Tx, event: Event) -> Result<(), DbErr> {
        self.record_all(tx, vec![event]).await
    }

    /// Writes events of one user in their order.
    pub async fn record_all(&self, tx: &Tx, events: Vec<Event>) -> Result<(), DbErr> {
        let drawn = self.draw(tx, events);
        store::insert(tx, &drawn).await
    }

    /// Writes events of many users, one of each, under the next number of each one's sequence.
    pub async fn record_one_each(&self, tx: &Tx, events: Vec<Event>) -> Result<(), DbErr> {
        let drawn = self.draw(tx, events);
        store::insert_one_each(tx, &drawn).await
    }

    /// Gives events their ids. Whoever does so writes them in this transaction, in a statement of their own
    /// ([`store::written_with`]).
    #[must_use]
    pub(crate) fn draw(&self, tx: &Tx, events: Vec<Event>) -> Vec<Drawn> {
        if !events.is_empty() {
            tx.wake(&self.written);
        }
        let draw = |event: Event| Drawn { id: self.random.uuid_v7(event.at), event };
        events.into_iter().map(draw).collect()
    }

    /// The newest position, as it moves on; also touched when older events are to be sent again.
    #[must_use]
    pub fn placed(&self) -> watch::Receiver<i64> {
        self.placed.subscribe()
    }
}
