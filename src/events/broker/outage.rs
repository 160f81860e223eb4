//! Telling of an outage of the broker: once when it begins, once when it is over.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::link::Trouble;

/// A broker that goes and comes all the time is told of no more often than this.
const EVERY: Duration = Duration::from_mins(1);

/// Who needs the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Publisher,
    Consumer,
}

/// What the log knows of the broker's absence.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether publisher and consumer have lost it.
    lost: [bool; 2],
    /// Whether the log knows of it.
    told: bool,
    last: Option<Instant>,
}

impl Outage {
    /// This part can't work, for this reason.
    pub(super) fn begin(&self, part: Part, trouble: &Trouble) {
        let mut state = self.state();
        state.lost[part as usize] = true;
        if state.told || state.last.is_some_and(|last| last.elapsed() < EVERY) {
            return tracing::debug!(error = %trouble, ?part, "RabbitMQ can't be used");
        }
        (state.told, state.last) = (true, Some(Instant::now()));
        drop(state);
        if trouble.is_for_the_operator() {
            tracing::error!(error = %trouble, "RabbitMQ can't be used: events wait until this is mended");
        } else {
            tracing::warn!(error = %trouble, "RabbitMQ is away: events wait until it is back");
        }
    }

    /// This part works.
    pub(super) fn end(&self, part: Part) {
        let mut state = self.state();
        state.lost[part as usize] = false;
        if state.told && state.lost == [false; 2] {
            state.told = false;
            tracing::info!("RabbitMQ is back");
        }
    }

    /// Whether a part can't work; tests ask.
    pub(super) fn is_on(&self) -> bool {
        self.state().lost != [false; 2]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
