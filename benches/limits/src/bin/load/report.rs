//! What came of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use limits::percentile;
use serde_json::{Value, json};

use crate::client::Answer;

/// The answers of one worker, or of all of them.
#[derive(Default)]
pub struct Report {
    /// Microseconds of the answers that gave what was asked for.
    good: Vec<u64>,
    /// Microseconds of the others.
    refused: Vec<u64>,
    statuses: BTreeMap<u16, u64>,
    with_retry_after: u64,
    /// No answer at all.
    failed: u64,
    seconds: f64,
}

impl Report {
    /// Nothing yet, of a run of so many seconds.
    pub fn over(seconds: f64) -> Self {
        Self { seconds, ..Self::default() }
    }

    /// What was wanted took as long as it was due, also where nobody was free to ask. A refusal took as long as it was asked
    /// for: all connections of a storm may wait for what is granted, and no server can refuse on one that does.
    pub fn add(&mut self, answer: &anyhow::Result<Answer>, since_due: Duration, since_asked: Duration) {
        let Ok(answer) = answer else {
            self.failed += 1;
            return;
        };
        *self.statuses.entry(answer.status).or_default() += 1;
        self.with_retry_after += u64::from(answer.headers.contains_key("retry-after"));
        let micros = |taken: Duration| u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        if answer.status < 400 {
            self.good.push(micros(since_due));
        } else {
            self.refused.push(micros(since_asked));
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.good.extend(other.good);
        self.refused.extend(other.refused);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.with_retry_after += other.with_retry_after;
        self.failed += other.failed;
    }

    pub fn into_json(mut self) -> Value {
        self.good.sort_unstable();
        self.refused.sort_unstable();
        #[expect(clippy::cast_precision_loss)]
        let per_second = self.good.len() as f64 / self.seconds;
        json!({
            "per_second": per_second,
            "p50_ms": millis(percentile(&self.good, 0.5)),
            "p99_ms": millis(percentile(&self.good, 0.99)),
            "max_ms": millis(percentile(&self.good, 1.0)),
            "statuses": self.statuses,
            "refused": self.refused.len(),
            "refused_p99_ms": millis(percentile(&self.refused, 0.99)),
            "with_retry_after": self.with_retry_after,
            "failed": self.failed,
        })
    }
}

#[expect(clippy::cast_precision_loss)]
pub fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
