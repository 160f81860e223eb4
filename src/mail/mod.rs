//! Letters to people: queued in the transaction of the act that causes them, sent by a worker, never lost in between.
//!
//! [`Mail::post_in`] seals what a letter shows into a row; [`Mail::work`] leases rows that are due, writes the letter
//! from its templates and hands it over, and books that afterwards. So a mail goes out when, and only when, its act
//! was committed, and a crash in between repeats at most the one that each slot of the worker had in hand.

mod batches;
mod delivery;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod html;
mod letter;
mod mailjet;
mod places;
mod reading;
mod rules;
mod smtp;
mod store;
mod templates;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::audit::Audit;
use crate::platform::clock::Clock;
use crate::platform::config;
use crate::platform::db::Database;
use crate::platform::ground::Ground;
use crate::platform::random::{OrderedIds, Random};
use crate::platform::secrets::{Key32, Secrets};
use delivery::Carrier;
use letter::Links;
use places::Places;
use templates::Templates;

pub use batches::Circular;
pub use letter::{Languages, Letter, Occasion, Post, masked};
pub use reading::{BatchProgress, InboxMail, QueueCounts, QueuedMail};
pub(crate) use reading::{batch_state_words, state_words};
pub use store::BatchState;
pub use templates::Rendered;
pub(crate) use templates::wanted;

/// What the operator decides about mail.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The section of the configuration.
    pub mail: config::Mail,
    /// What the server is called.
    pub project_name: String,
    /// Where clients reach it, without a slash at its end: every link is built from this.
    pub base_url: String,
    /// In `local`, mails stay readable after they were sent.
    pub is_local: bool,
    /// Where the operator's templates lie.
    pub templates: PathBuf,
}

/// The earlier features that mail is built on.
pub struct Parts {
    /// Database, time and chance.
    pub ground: Ground,
    /// Keys from the master secret.
    pub secrets: Arc<Secrets>,
    /// What staff did.
    pub audit: Audit,
}

/// The feature. Clones mean the same.
#[derive(Clone)]
pub struct Mail(Arc<Inner>);

struct Inner {
    db: Database,
    clock: Clock,
    random: Random,
    secrets: Arc<Secrets>,
    audit: Audit,
    ids: OrderedIds,
    cursor_key: Key32,
    settings: Settings,
    links: Links,
    templates: Templates,
    places: Option<Places>,
    carrier: Carrier,
    /// Woken when mails were queued.
    queued: Arc<Notify>,
    /// Woken when a batch was begun.
    begun: Arc<Notify>,
}

impl Mail {
    /// Opens the feature. Connects to nobody yet.
    pub fn open(parts: Parts, settings: Settings) -> anyhow::Result<Self> {
        let Parts { ground: Ground { db, clock, random }, secrets, audit } = parts;
        let links = Links {
            base_url: settings.base_url.clone(),
            verify_url: settings.mail.verify_url.clone(),
            reset_url: settings.mail.reset_url.clone(),
        };
        Ok(Self(Arc::new(Inner {
            db,
            clock,
            random,
            cursor_key: secrets.derive("mail cursor"),
            secrets,
            audit,
            ids: OrderedIds::default(),
            links,
            templates: Templates::open(settings.templates.clone()),
            places: settings.mail.geoip_database.as_deref().map(Places::open).transpose()?,
            carrier: Carrier::open(&settings)?,
            settings,
            queued: Arc::default(),
            begun: Arc::default(),
        })))
    }

    /// Whether mails are sent at all; with `EMAIL_METHOD=none` nothing is ever queued.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !matches!(self.0.carrier, Carrier::None)
    }

    /// Whether mails could be handed over right now, in words; for `gatehouse check`.
    pub async fn check(&self) -> Result<String, String> {
        self.0.carrier.check().await
    }

    /// Address of a person who helps.
    #[must_use]
    pub fn contact(&self) -> Option<&str> {
        self.0.settings.mail.contact.as_deref()
    }
}
