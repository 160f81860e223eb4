//! What staff did: a chain of rows, in which nothing can be changed unseen.
//!
//! A row is written in the transaction of the deed, so neither is there without the other. It holds the digest of itself
//! and of the row before it; the head says where the chain ends and carries a seal that only this program can make.
//! [`Audit::verify`] walks the chain and names the first row that is not as it was written.

mod chain;
mod moved;
mod rules;
mod store;
mod verify;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use serde_json::{Map, Value};
use uuid::Uuid;

pub use chain::Hash;
pub use store::{Filter, Row, SealedEnd};
pub use verify::{Flaw, Head, Verdict};

use crate::platform::clock::Clock;
use crate::platform::db::Database;
use crate::platform::secrets::{Key32, Secrets};
use crate::platform::shape::Words;
use crate::platform::web::TraceId;

/// The feature: what it owns.
#[derive(Clone)]
pub struct Audit {
    db: Database,
    clock: Clock,
    secrets: Arc<Secrets>,
    /// How far the log was told to the other log, which an operator keeps elsewhere.
    told: Arc<AtomicI64>,
}

impl Audit {
    /// Opens the feature.
    #[must_use]
    pub fn new(db: Database, clock: Clock, secrets: Arc<Secrets>) -> Self {
        Self { db, clock, secrets, told: Arc::default() }
    }

    /// Seals the cursors of lists of it.
    #[must_use]
    pub fn cursor_key(&self) -> Key32 {
        self.secrets.derive("audit cursor")
    }
}

/// Something that staff did.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who; `None`: the operator, from the command line.
    pub actor: Option<Uuid>,
    /// What, in snake case. Names are part of the API: never rename.
    pub action: Cow<'static, str>,
    /// To what.
    pub subject: Subject,
    /// What there is to know besides; no secrets and no addresses, since it is kept for good.
    pub details: Map<String, Value>,
    /// The request that caused it.
    pub trace_id: Option<String>,
}

impl Entry {
    /// What somebody did by the request that is being answered.
    #[must_use]
    pub fn by(actor: Uuid, action: &'static str, subject: Subject) -> Self {
        Self {
            actor: Some(actor),
            action: action.into(),
            subject,
            details: Map::new(),
            trace_id: TraceId::current().map(|id| id.as_str().to_owned()),
        }
    }

    /// The same of the operator, from the command line.
    #[must_use]
    pub fn by_operator(action: &'static str, subject: Subject) -> Self {
        let (details, trace_id) = (Map::new(), None);
        Self { actor: None, action: action.into(), subject, details, trace_id }
    }

    /// The same with something more to know.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// What something was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Gatehouse itself.
    System,
    /// The whole database.
    Database,
    /// The feature flags.
    Flags,
    /// Events for other systems.
    Events,
    /// Somebody's account.
    User(Uuid),
    /// A webhook.
    Webhook(Uuid),
    /// A letter to several people.
    Letter(Option<Uuid>),
}

impl Subject {
    /// What it is, in the database and the API: never rename.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Database => "database",
            Self::Flags => "flags",
            Self::Events => "events",
            Self::User(_) => "user",
            Self::Webhook(_) => "webhook",
            Self::Letter(_) => "letter",
        }
    }

    /// What something can be done to, for the OpenAPI document.
    #[must_use]
    pub(crate) fn words() -> Words {
        let any = [
            Self::System,
            Self::Database,
            Self::Flags,
            Self::Events,
            Self::User(Uuid::nil()),
            Self::Webhook(Uuid::nil()),
            Self::Letter(None),
        ];
        let all = any.map(Self::kind).to_vec();
        Words { name: "AuditSubject", about: "What something was done to.", all }
    }

    /// Which one, where there are several.
    #[must_use]
    pub const fn id(self) -> Option<Uuid> {
        match self {
            Self::System | Self::Database | Self::Flags | Self::Events => None,
            Self::User(id) | Self::Webhook(id) => Some(id),
            Self::Letter(id) => id,
        }
    }
}
