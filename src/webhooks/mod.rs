//! Events for other systems over HTTP, after the Standard Webhooks specification: signed, in order, tried again for
//! three days.
//!
//! Each webhook has its own cursor over the positions of events. One instance at a time delivers ([`Webhooks::work`]):
//! to several webhooks side by side, to each of them one event after the other, the next not before the last was taken.
//! A try is booked after it was made, so a crash in between repeats it, under the same id.

mod api;
mod delivery;
mod dispatch;
mod measures;
mod message;
mod rewrap;
mod rules;
mod secret;
mod store;
mod target;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use crate::audit::Audit;
use crate::events::Events;
use crate::mail::Mail;
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::db::{Database, Lease};
use crate::platform::ground::Ground;
use crate::platform::names::Names;
use crate::platform::outgoing::{NoClient, Outgoing, Reach};
use crate::platform::random::Random;
use crate::platform::secrets::{Key32, Secrets};

pub use api::{WebhooksApi, shapes};
use measures::Counts;

/// After the instance that delivered has died, another one goes on within this time and a look at the events.
const LEASE: Duration = Duration::from_secs(10);

/// The earlier features that webhooks are built on.
pub struct Parts {
    /// Database, time and chance.
    pub ground: Ground,
    /// Keys from the master secret.
    pub secrets: Arc<Secrets>,
    /// What is told.
    pub events: Events,
    /// Who writes to the admins.
    pub mail: Mail,
    /// What staff did.
    pub audit: Audit,
}

/// The feature. Clones mean the same.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    db: Database,
    clock: Clock,
    random: Random,
    secrets: Arc<Secrets>,
    events: Events,
    mail: Mail,
    audit: Audit,
    reach: Reach,
    /// Made for the first delivery: reading the certificate authorities takes a while.
    outgoing: OnceLock<Outgoing>,
    cursor_key: Key32,
    lease: Lease,
    counts: Counts,
    /// Woken when there may be something to deliver.
    due: Arc<Notify>,
}

impl Webhooks {
    /// Opens the feature. Asks nobody yet.
    #[must_use]
    pub fn new(parts: Parts, reach: Reach) -> Self {
        let Parts { ground: Ground { db, clock, random }, secrets, events, mail, audit } = parts;
        let holder = random.uuid_v7(clock.now());
        Self(Arc::new(Inner {
            lease: Lease::new(db.clone(), "webhooks", holder, LEASE),
            outgoing: OnceLock::new(),
            cursor_key: secrets.derive("webhook deliveries cursor"),
            due: Arc::default(),
            counts: Counts::default(),
            db,
            clock,
            random,
            secrets,
            events,
            mail,
            audit,
            reach,
        }))
    }

    /// What asks the receivers.
    fn outgoing(&self) -> Result<&Outgoing, NoClient> {
        if let Some(outgoing) = self.0.outgoing.get() {
            return Ok(outgoing);
        }
        let outgoing = Outgoing::to_named(Names::of_system(), self.0.reach)?;
        Ok(self.0.outgoing.get_or_init(|| outgoing))
    }

    /// Where webhooks may lead.
    fn reach(&self) -> Reach {
        self.0.reach
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}
