//! `gatehouse workos-reconcile` and `workos-resync`: the directory gone through once more because an operator says so.
//!
//! Both take the state back, to a new listing or to an earlier moment, and then do what following does. What is safe
//! there at any moment is so here: where the command dies, whoever follows next goes on from what it has written. The
//! lease is taken from whoever holds it, since a server never lets go of it, and is given back at the end.

use std::str::FromStr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::DateTime;

use super::rules::Outcome;
use super::store::{self, Phase, State};
use super::sync::{Halt, LONGEST_RANGE, OVERLAP, Reached};
use super::{Unapplied, Workos};
use crate::platform::clock::Timestamp;

/// Whoever followed asks for the lease four times while it lasts, and goes on until then: it must have noticed, or it
/// would do a part of what is counted here. Were it later still, nothing would be wrong but the numbers.
const LETS_GO: Duration = Duration::from_secs(5);
/// How often a page of whoever followed may come between.
const TRIES: usize = 10;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Users and events that WorkOS told of.
    pub seen: u64,
    /// Accounts that were made.
    pub created: u64,
    /// Accounts that were changed.
    pub changed: u64,
    /// Accounts that were deleted.
    pub removed: u64,
    /// What was set aside for people to look at.
    pub refused: u64,
}

/// A moment that events are read again from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since(Timestamp);

/// Why something is no such moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no moment as of RFC 3339, such as 2026-01-15T12:00:00Z")]
pub struct NoMoment;

impl FromStr for Since {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        let millis = DateTime::parse_from_rfc3339(text).map_err(|_| NoMoment)?.timestamp_millis();
        let is_moment = (0..=Timestamp::LAST.millis()).contains(&millis);
        is_moment.then(|| Self(Timestamp::from_millis(millis))).ok_or(NoMoment)
    }
}

/// Why the directory was not gone through.
#[derive(Debug, thiserror::Error)]
pub enum NotAgain {
    /// Nobody tells of what is to come.
    #[error("--since lies ahead of this machine's clock")]
    Ahead,
    /// WorkOS would refuse it.
    #[error(
        "--since is too long ago: WorkOS tells of 30 days at once; `gatehouse workos-reconcile` needs no events"
    )]
    TooLongAgo,
    /// It does not go on.
    #[error("the directory was not gone through to its end: {0}; whoever follows it goes on")]
    Halted(#[from] Halt),
}

impl Done {
    /// Counts one thing.
    pub(super) const fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Made => self.created += 1,
            Outcome::Changed => self.changed += 1,
            Outcome::Removed => self.removed += 1,
            Outcome::SetAside(_) => self.refused += 1,
            Outcome::Noted | Outcome::Skipped => {}
        }
    }

    const fn add(&mut self, more: Self) {
        self.seen += more.seen;
        self.created += more.created;
        self.changed += more.changed;
        self.removed += more.removed;
        self.refused += more.refused;
    }
}

impl Workos {
    /// Lists everybody there and brings everybody here into line, as where the cursor is lost; none where WorkOS has no
    /// part in anything.
    pub async fn reconcile(&self) -> Result<Option<Done>, NotAgain> {
        if !self.is_on() {
            return Ok(None);
        }
        Ok(Some(self.counted_alone().again(None).await?))
    }

    /// Reads the events since a moment again, and does what was missed; none where WorkOS has no part in anything.
    pub async fn resync(&self, since: Since) -> Result<Option<Done>, NotAgain> {
        if !self.is_on() {
            return Ok(None);
        }
        let (Since(since), now) = (since, self.clock.now());
        if since > now {
            return Err(NotAgain::Ahead);
        }
        if now.since(since) > LONGEST_RANGE {
            return Err(NotAgain::TooLongAgo);
        }
        Ok(Some(self.counted_alone().again(Some(since)).await?))
    }

    /// Counts what was committed.
    pub(super) fn tally(&self, done: Done) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).add(done);
    }

    /// The same, whose numbers nobody else adds to.
    fn counted_alone(&self) -> Self {
        Self { done: Arc::default(), ..self.clone() }
    }

    async fn again(&self, since: Option<Timestamp>) -> Result<Done, Halt> {
        self.stand_in().await?;
        let gone_through = Box::pin(self.go_through(since)).await;
        if let Err(error) = self.lease.give_back().await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
        gone_through?;
        Ok(*self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows in the place of whoever does.
    async fn stand_in(&self) -> Result<(), Halt> {
        if !self.lease.take().await? {
            self.lease.seize().await?;
            tokio::time::sleep(LETS_GO).await;
        }
        Ok(())
    }

    async fn go_through(&self, since: Option<Timestamp>) -> Result<(), Halt> {
        if since.is_some() {
            // A listing that is under way must not be left for events, and what is new anyway is no part of the answer.
            self.to_the_end().await?;
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Done::default();
        }
        self.take_back_to(since).await?;
        self.to_the_end().await
    }

    async fn take_back_to(&self, since: Option<Timestamp>) -> Result<(), Halt> {
        for _ in 0..TRIES {
            let state = store::state(self.db.reader()).await?;
            if since.is_some() && state.phase != Phase::Following {
                break; // somebody lists everybody, since we were at the end
            }
            match self.apply(again_from(state, since, self.clock.now()), Vec::new()).await {
                Err(Unapplied::Overtaken) => {}
                taken => return Ok(taken?),
            }
        }
        Err(Unapplied::Overtaken.into())
    }

    async fn to_the_end(&self) -> Result<(), Halt> {
        for _ in 0..TRIES {
            match Box::pin(self.catch_up()).await? {
                Reached::Everything => return Ok(()),
                // A page of whoever followed came between.
                Reached::AnotherFollows if self.lease.renew().await? => {}
                Reached::AnotherFollows | Reached::SwitchedOff => break,
            }
        }
        Err(Unapplied::Overtaken.into())
    }
}

/// The state to go on from: a new listing, or events since a moment. Never a later one than it stands at, or what comes
/// to be seen late would be passed over; but what is older than WorkOS tells of at once was had before.
fn again_from(state: State, since: Option<Timestamp>, now: Timestamp) -> State {
    let Some(since) = since else { return State { phase: Phase::New, ..state } };
    let stands = match (&state.last_event, state.last_event_at) {
        (Some(_), Some(at)) => Some(Timestamp::from_millis(at).before(OVERLAP)),
        _ => state.range_start.map(Timestamp::from_millis),
    };
    let oldest = now.before(LONGEST_RANGE);
    let start = stands.map_or(since, |stands| stands.max(oldest).min(since));
    State { last_event: None, range_start: Some(start.millis()), ..state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_moment_with_its_zone_is_one() {
        let at = Since(Timestamp::from_millis(1_768_478_400_000));
        for text in ["2026-01-15T12:00:00Z", "2026-01-15T13:00:00.000+01:00"] {
            assert_eq!(text.parse::<Since>(), Ok(at), "{text}");
        }
        for none in
            ["", "yesterday", "2026-01-15", "2026-01-15T12:00:00", "1768478400", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(none.parse::<Since>(), Err(NoMoment), "{none}");
        }
    }

    #[test]
    fn events_are_never_gone_on_from_later_than_before() {
        let minutes =
            |minutes: u64| Timestamp::from_seconds(2_000_000_000).before(Duration::from_mins(minutes));
        let state = |last_event_at: Option<Timestamp>, range_start: Option<Timestamp>| State {
            id: 1,
            revision: 7,
            phase: Phase::Following,
            last_event: last_event_at.map(|_| "event_01".to_owned()),
            last_event_at: last_event_at.map(Timestamp::millis),
            range_start: range_start.map(Timestamp::millis),
            listing: 1,
            listing_from: None,
            listing_after: None,
            synced_at: None,
            applied: 0,
            skipped: 0,
            quarantined: 0,
            trouble: None,
        };
        let began = |last: Option<Timestamp>, range: Option<Timestamp>, since| {
            let back = again_from(state(last, range), Some(since), minutes(0));
            assert_eq!((back.last_event, back.phase), (None, Phase::Following));
            back.range_start.map(Timestamp::from_millis)
        };
        assert_eq!(began(Some(minutes(10)), None, minutes(60)), Some(minutes(60)));
        assert_eq!(began(Some(minutes(60)), None, minutes(10)), Some(minutes(65)));
        assert_eq!(began(None, Some(minutes(60)), minutes(10)), Some(minutes(60)));
        assert_eq!(began(None, None, minutes(10)), Some(minutes(10)));
        // The last event may be older than WorkOS tells of at once.
        let oldest = minutes(0).before(LONGEST_RANGE);
        assert_eq!(began(Some(minutes(60 * 24 * 40)), None, minutes(10)), Some(oldest));
        assert_eq!(again_from(state(None, None), None, minutes(0)).phase, Phase::New);
    }
}
