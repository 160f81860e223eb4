//! How much hashing there may be, how much there is, and the answer to too much of it.

use std::time::Duration;

use crate::platform::problem::RetryAfter;

/// Too much hashing is asked for: come back in so many seconds (the `Retry-After` of RFC 9110, 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many hashes are waiting")]
pub struct Busy {
    /// At least 1.
    pub retry_after_seconds: u64,
}

impl Busy {
    pub(super) const A_MOMENT: Self = Self { retry_after_seconds: 1 };

    pub(super) fn after(wait: Duration) -> Self {
        Self { retry_after_seconds: wait.as_secs().saturating_add(1) }
    }
}

impl From<Busy> for RetryAfter {
    fn from(busy: Busy) -> Self {
        Self(busy.retry_after_seconds)
    }
}

/// What the threads do now, and did since they started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Hashes that wait for a thread.
    pub waiting: usize,
    /// Hashes being made.
    pub running: usize,
    /// The most hashes that were ever made at a time.
    pub most_running: usize,
    /// Hashes made.
    pub done: u64,
    /// Hashes refused at once, because the wait would have been too long.
    pub refused: u64,
    /// Hashes given up, because the wait was too long after all.
    pub expired: u64,
    /// Hashes taken back by callers who went away.
    pub withdrawn: u64,
}

/// When work is turned away, and when idle memory is given back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most pieces of work that wait.
    pub(super) queue: usize,
    /// The longest wait that work is admitted to.
    pub(super) predicted_wait: Duration,
    /// The longest wait in fact.
    pub(super) wait: Duration,
    /// How long an idle thread keeps its memory.
    pub(super) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 64,
            predicted_wait: Duration::from_secs(1),
            wait: Duration::from_secs(2),
            idle: Duration::from_secs(10),
        }
    }
}
