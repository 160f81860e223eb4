//! Telling of something that may happen often, at most once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_mins(1);

/// How often something has happened since it was last told.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// It happened so many times; how many times are to be told now, if it is time to.
    pub(super) fn happened(&self, times: u64) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += times;
        if state.untold == 0 || state.told.is_some_and(|told| told.elapsed() < EVERY) {
            return None;
        }
        state.told = Some(Instant::now());
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_once_and_counted() {
        let seldom = Seldom::default();
        assert_eq!(seldom.happened(0), None);
        assert_eq!(seldom.happened(3), Some(3));
        assert_eq!(seldom.happened(1), None);
        assert_eq!(seldom.happened(1), None);
        seldom.0.lock().unwrap().told = Instant::now().checked_sub(EVERY);
        assert_eq!(seldom.happened(1), Some(3));
    }
}
