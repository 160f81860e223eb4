//! Measurements: what is counted, kept in atomics where it happens, and read when somebody asks.
//!
//! Each feature keeps its own counts and says once, by [`Metrics::tell`], how they are read; what only the database knows is
//! asked for rarely ([`Metrics::ask`]) and remembered in between. Prometheus reads them as text, a collector as OTLP: both
//! from the same [`Family`]. Labels have few values, none of which a client can choose.

mod process;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

use crate::platform::clock::{Clock, Timestamp};

/// How long an answer of the database is waited for. Who asks for measurements must get the others, whatever stands still.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the numbers of a family are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were how large.
    Histogram,
}

/// One thing that is measured.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name; that of a counter ends with `_total`.
    pub name: &'static str,
    /// What it is, and its unit.
    pub help: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// Its values, each under other labels.
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is the value of.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub measure: Measure,
}

/// A value, simple or spread out.
#[derive(Clone, Debug)]
pub enum Measure {
    /// A count or a state.
    Number(f64),
    /// The buckets of a histogram.
    Spread(Spread),
}

/// How many were how large.
#[derive(Clone, Debug)]
pub struct Spread {
    /// The upper bounds of all buckets but the last, which has none.
    pub bounds: &'static [f64],
    /// How many lie in each bucket: one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum of all.
    pub sum: f64,
}

impl Spread {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Family {
    /// What goes up only.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Counter, samples }
    }

    /// What goes up and down.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Gauge, samples }
    }

    /// What is spread out.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Histogram, samples }
    }
}

impl Sample {
    /// The only one of its family.
    #[must_use]
    pub fn plain(value: f64) -> Self {
        Self { labels: Vec::new(), measure: Measure::Number(value) }
    }

    /// One of several.
    #[must_use]
    pub fn labelled<const N: usize>(labels: [(&'static str, &str); N], value: f64) -> Self {
        let labels = labels.into_iter().map(|(name, text)| (name, text.to_owned())).collect();
        Self { labels, measure: Measure::Number(value) }
    }
}

/// A count as a measurement. Beyond 2⁵³ the last digits are lost.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub const fn number(count: u64) -> f64 {
    count as f64
}

/// The same of a size.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub const fn size(count: usize) -> f64 {
    count as f64
}

/// How often something was found, and how often not.
#[derive(Debug, Default)]
pub struct Tally {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Tally {
    /// Counts a look.
    pub fn count(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was found, and how often not.
    #[must_use]
    pub fn read(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

/// Counts durations by their length, without a lock.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    /// For what takes from a millisecond to ten seconds.
    pub const SECONDS: &'static [f64] =
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

    /// Empty, with buckets up to these bounds, which rise.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.iter().take_while(|bound| seconds > **bound).count();
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn read(&self) -> Spread {
        Spread {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

type Teller = Box<dyn Fn() -> Vec<Family> + Send + Sync>;
type Question = Box<dyn Fn() -> BoxFuture<'static, Option<Vec<Family>>> + Send + Sync>;

/// All measurements of a program. Clones mean the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    clock: Clock,
    begun: Timestamp,
    tellers: RwLock<Vec<Teller>>,
    questions: RwLock<Vec<Arc<Asked>>>,
}

/// What is asked for rarely.
struct Asked {
    question: Question,
    lasts: Duration,
    known: Mutex<Option<(Timestamp, Vec<Family>)>>,
}

impl Metrics {
    /// The measurements of a program that starts now: those of its process, so far.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let begun = clock.now();
        let metrics =
            Self(Arc::new(Inner { clock, begun, tellers: RwLock::default(), questions: RwLock::default() }));
        let process = process::Process::new(metrics.0.clock.clone(), begun);
        metrics.tell(move || process.measures());
        metrics
    }

    /// Since when is counted.
    #[must_use]
    pub fn begun(&self) -> Timestamp {
        self.0.begun
    }

    /// How long the program has run.
    #[must_use]
    pub fn up(&self) -> Duration {
        self.0.clock.now().since(self.0.begun)
    }

    /// Adds what can be read at once. Call it once for each feature, while the program is put together.
    pub fn tell(&self, teller: impl Fn() -> Vec<Family> + Send + Sync + 'static) {
        self.0.tellers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(teller));
    }

    /// Adds what has to be asked for; an answer is good for so long. Where there is none, the family has no values.
    pub fn ask<F>(&self, lasts: Duration, question: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Vec<Family>>> + Send + 'static,
    {
        let question: Question = Box::new(move || Box::pin(question()));
        let asked = Asked { question, lasts, known: Mutex::new(None) };
        self.0.questions.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(asked));
    }

    /// Everything, by name.
    pub async fn gather(&self) -> Vec<Family> {
        let asked: Vec<Arc<Asked>> =
            self.0.questions.read().unwrap_or_else(PoisonError::into_inner).iter().map(Arc::clone).collect();
        let now = self.0.clock.now();
        let answers = join_all(asked.iter().map(|asked| asked.answer(now))).await;
        let tellers = self.0.tellers.read().unwrap_or_else(PoisonError::into_inner);
        let told = tellers.iter().flat_map(|teller| teller());
        let mut families: Vec<Family> = told.chain(answers.into_iter().flatten()).collect();
        families.sort_by_key(|family| family.name);
        families
    }

    /// Everything, as Prometheus reads it.
    pub async fn text(&self) -> String {
        text::written(&self.gather().await)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Metrics")
    }
}

impl Asked {
    async fn answer(&self, now: Timestamp) -> Vec<Family> {
        if let Some(known) = self.known(now) {
            return known;
        }
        let answer = tokio::time::timeout(PATIENCE, (self.question)()).await;
        let answer = answer.ok().flatten().unwrap_or_default();
        // Also that nothing is known is remembered: a database that is away is not asked by each who comes.
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, answer.clone()));
        answer
    }

    fn known(&self, now: Timestamp) -> Option<Vec<Family>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .filter(|(at, _)| now.since(*at) < self.lasts && now >= *at)
            .map(|(_, known)| known.clone())
    }
}
