//! Measurements: what is counted, kept in atomics where it happens, and read when somebody asks.
//!
//! Each feature keeps its own counts and says once, by [`Metrics::tell`], how they are read; what only the database knows is
//! asked for rarely ([`Metrics::ask`]) and remembered in between. Prometheus reads them as text, a collector as OTLP: both
//! from the same [`Family`]. Labels have few values, none of which a client can choose.

mod counts;
mod family;
mod process;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};

pub use counts::{Histogram, Tally};
pub use family::{Family, Kind, Measure, Sample, Spread, number, size};

use crate::platform::clock::{Clock, Timestamp};

/// How long an answer of the database is waited for. Who asks for measurements must get the others, whatever stands still.
const PATIENCE: Duration = Duration::from_secs(2);

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
