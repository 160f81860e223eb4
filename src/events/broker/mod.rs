//! RabbitMQ: every event is published, and a built-in consumer writes each to the log.
//!
//! One instance publishes, whoever holds the lease (`publisher.rs`); every instance may consume (`consumer.rs`). Neither is
//! waited for by a request: what the broker has not confirmed stays in the table, however long it is away.

mod backlog;
mod consumer;
mod link;
mod message;
mod outage;
mod publisher;
mod seldom;
mod spans;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

pub use backlog::Backlog;

use crate::platform::config::BrokerAddress;
use crate::platform::ground::Ground;
use crate::platform::random::Random;
use crate::platform::tasks::Tasks;
use crate::platform::telemetry::spans::Tracer;
use link::Link;
use outage::Outage;
use seldom::Seldom;

/// Where the broker is, and what it is to hold.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub address: BrokerAddress,
    /// The exchange that is published to.
    pub exchange: String,
    /// The queue of the built-in consumer; none: it is off, and others declare and bind their own.
    pub queue: Option<String>,
}

/// What publishing stands on.
pub struct Parts {
    /// Database, time and chance.
    pub ground: Ground,
    /// The newest position, as it moves on: then there is something to publish.
    pub placed: watch::Receiver<i64>,
    /// What records traces, if anything does.
    pub tracer: Option<Arc<Tracer>>,
}

/// The broker. Clones mean the same.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    parts: Parts,
    settings: Settings,
    outage: Arc<Outage>,
    counts: Counts,
    /// Tells of events that reached no queue.
    unrouted: Seldom,
    /// Tells of messages that were not understood.
    odd: Seldom,
}

/// What this instance has done since its start.
#[derive(Debug, Default)]
pub struct Counts {
    published: AtomicU64,
    unrouted: AtomicU64,
    parked: AtomicU64,
    consumed: AtomicU64,
}

impl Counts {
    /// Events that the broker has confirmed.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Events that no queue took.
    #[must_use]
    pub fn unrouted(&self) -> u64 {
        self.unrouted.load(Ordering::Relaxed)
    }

    /// Events that the broker refused for themselves.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// Events that the built-in consumer has handled; tests ask.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }
}

impl Broker {
    /// Not connected yet: [`Broker::start`] does that.
    #[must_use]
    pub fn new(parts: Parts, settings: Settings) -> Self {
        let unrouted = Seldom::default();
        let odd = Seldom::default();
        Self(Arc::new(Inner {
            parts,
            settings,
            outage: Arc::default(),
            counts: Counts::default(),
            unrouted,
            odd,
        }))
    }

    /// Publishes and consumes until the stop.
    pub fn start(&self, tasks: &Tasks) {
        let (broker, inside) = (self.clone(), tasks.clone());
        tasks.keep_to_its_end("publisher", move || broker.clone().publish(inside.clone()));
        if self.0.settings.queue.is_some() {
            let broker = self.clone();
            tasks.keep("consumer", move || broker.clone().consume());
        }
    }

    /// What this instance has done since its start.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Whether this instance needs the broker and can't use it now; tests ask.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.0.outage.is_on()
    }

    /// Looks for the broker: what was found, or what is wrong with it. Changes nothing there.
    pub async fn check(&self) -> Result<String, String> {
        let (settings, address) = (&self.0.settings, &self.0.settings.address);
        let looked = async {
            let link = self.connect("check").await?;
            let is_there = link.has_exchange(&settings.exchange).await?;
            link.close().await;
            Ok::<_, link::Trouble>(is_there)
        };
        match looked.await {
            Ok(true) => Ok(format!("RabbitMQ at {address} has the exchange {}", settings.exchange)),
            Ok(false) => {
                Ok(format!("RabbitMQ at {address}; a start makes the exchange {}", settings.exchange))
            }
            Err(trouble) => Err(format!("RabbitMQ at {address} can't be used: {trouble}")),
        }
    }

    async fn connect(&self, part: &str) -> Result<Link, link::Trouble> {
        Link::open(&self.0.settings.address, part, Arc::clone(&self.0.outage)).await
    }
}

/// The pause between tries: it doubles from 200 ms to 15 s, and a quarter of it is chance, so that instances that lost
/// the broker together don't come back together.
struct Pause(Duration);

impl Pause {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(15);

    const fn new() -> Self {
        Self(Self::FIRST)
    }

    const fn reset(&mut self) {
        self.0 = Self::FIRST;
    }

    fn next(&mut self, random: &Random) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LONGEST);
        let [chance] = random.bytes::<1>();
        pause.saturating_sub(pause / 4 * u32::from(chance) / 255)
    }
}
