//! Following the directory: everybody is listed once, then events are followed for ever.
//!
//! What is applied and the cursor behind it are one transaction, so that a process that dies between two pages, or in one,
//! is followed by one that goes on where it was. Where WorkOS has lost the cursor, events are read again from a little
//! before the last one; where it has lost that, too, or that is no newer than where it went on from the last time, everybody
//! is listed again. Repeats change nothing, so going back is always safe, and going on without having applied something
//! never happens.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;

use super::again::Done;
use super::client::{Client, Fault, PAGE, Page, Start, jittered};
use super::event::{Deed, Received, UNKNOWN_TYPE};
use super::intents::awaited_in;
use super::rules::Outcome;
use super::store::{self, Phase, State};
use super::{Unapplied, Workos};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::sessions::store::hold;
use crate::users::Email;
use crate::users::store::ids_by_emails;

/// How much is read again where there is no cursor: clocks differ, and events become visible in another order.
pub(super) const OVERLAP: Duration = Duration::from_mins(5);
/// WorkOS answers for so much at once.
pub(super) const LONGEST_RANGE: Duration = Duration::from_hours(30 * 24 - 1);
/// What is followed from a moment that is older goes on from a newer one where there was nothing in between.
const MOVES_ON: Duration = Duration::from_hours(1);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How much is asked for where a whole page could not be read.
const SMALL_PAGE: usize = 5;
/// Empty pages that lead on, one after the other, at most.
const MOST_EMPTY: usize = 100;
/// How often it is written down that everything there is here.
const NOTED: Duration = Duration::from_secs(10);

/// How far it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Everything there is here.
    Everything,
    /// Another instance follows.
    AnotherFollows,
    /// Nothing is followed: there is no key.
    SwitchedOff,
}

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// WorkOS is away, or refuses.
    #[error("{0}")]
    Away(#[from] Fault),
    /// Nothing could be written.
    #[error("{0}")]
    Unapplied(#[from] Unapplied),
}

impl From<DbErr> for Halt {
    fn from(error: DbErr) -> Self {
        Self::Unapplied(error.into())
    }
}

/// Whether there is more to be had at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Now,
    Later,
}

impl Workos {
    /// Follows the directory for ever; where it is switched off, not at all.
    pub async fn follow(self) {
        let (interval, mut failures) = (self.settings.interval, 0_u32);
        while self.is_on() {
            match self.catch_up().await {
                Ok(_) => {
                    failures = 0;
                    tokio::select! {
                        () = tokio::time::sleep(interval) => {}
                        // Whoever is told that something happened need not wait; whoever was refused shall.
                        () = self.nudged.notified() => {}
                    }
                }
                Err(halt) => {
                    self.tell_of(&halt).await;
                    failures = failures.saturating_add(1);
                    self.stand_back(failures, &halt).await;
                }
            }
        }
    }

    /// Waits after a failure. What WorkOS asks for is asked of all instances: as long as that lasts, the lease is kept, or
    /// the next one would ask again at once. Anything else may be the trouble of this instance alone, and another may try.
    async fn stand_back(&self, failures: u32, halt: &Halt) {
        let longest = longest_pause(self.settings.interval, failures);
        let asked_for = match halt {
            Halt::Away(Fault::Away { after: Some(after), .. }) => (*after).min(LONGEST_PAUSE),
            _ => Duration::ZERO,
        };
        let pause = tokio::time::sleep(jittered(&self.random, longest).max(asked_for));
        let kept = tokio::time::timeout(asked_for, self.lease.lost());
        let ((), _was_lost) = tokio::join!(pause, kept);
    }

    async fn tell_of(&self, halt: &Halt) {
        tracing::warn!(reason = %halt, "the directory at WorkOS is not followed at present; it is tried again");
        let words = halt.to_string();
        let noted = self.db.write(move |tx| async move { store::note(tx, None, Some(words)).await }.boxed());
        if let Err(error) = noted.await {
            tracing::debug!(%error, "and that could not be written down");
        }
    }

    /// Applies everything that there is to be had now.
    pub async fn catch_up(&self) -> Result<Reached, Halt> {
        let Some(client) = &self.client else { return Ok(Reached::SwitchedOff) };
        if !self.lease.take().await? {
            return Ok(Reached::AnotherFollows);
        }
        let going = async {
            // First, so that what is told of those who go finds them gone.
            Box::pin(self.take_back_overdue(client)).await?;
            let mut limit = PAGE;
            loop {
                limit = match Box::pin(self.step(client, limit)).await {
                    Ok(More::Now) => PAGE,
                    Ok(More::Later) => return Ok(Reached::Everything),
                    // Something on the page can't be read: what stands before it can.
                    Err(Halt::Away(Fault::TooLong)) if limit > 1 => limit.min(SMALL_PAGE + 1) - 1,
                    Err(Halt::Unapplied(Unapplied::Overtaken)) => return Ok(Reached::AnotherFollows),
                    Err(halt) => return Err(halt),
                };
            }
        };
        tokio::select! {
            reached = going => reached,
            // A moment without the database is no loss: whoever let go then would throw the page away that is in hand.
            () = self.lease.lost() => Ok(Reached::AnotherFollows),
        }
    }

    async fn step(&self, client: &Client, limit: usize) -> Result<More, Halt> {
        let state = store::state(self.db.reader()).await?;
        match state.phase {
            Phase::New => self.begin_listing(state).await,
            Phase::Listing => self.list(client, state, limit).await,
            Phase::Removing => self.remove(state).await,
            Phase::Following => Box::pin(self.events(client, state, limit)).await,
        }
    }

    // --- everybody

    async fn begin_listing(&self, state: State) -> Result<More, Halt> {
        tracing::info!("listing everybody of the directory at WorkOS");
        let now = self.clock.now().millis();
        let listing = State {
            phase: Phase::Listing,
            listing: state.listing + 1,
            listing_from: Some(now),
            listing_after: None,
            last_event: None,
            range_start: None,
            ..state
        };
        self.go_on(listing).await
    }

    async fn list(&self, client: &Client, state: State, limit: usize) -> Result<More, Halt> {
        let page = match client.users(state.listing_after.as_deref(), limit).await {
            // Behind whom it was to go on is gone, or WorkOS refuses something else: it begins again, but not at once.
            Err(fault) if fault.has_lost_the_place() && state.listing_after.is_some() => {
                self.go_on(State { phase: Phase::New, ..state }).await?;
                return Err(fault.into());
            }
            page => page?,
        };
        // Whoever can't be named could not be told from somebody who is gone.
        if page.items.iter().any(|item| item.id.is_none()) {
            return Err(
                Fault::Away { words: "a listing with a user without an id".into(), after: None }.into()
            );
        }
        let leads_nowhere = page.after.is_some() && page.after == state.listing_after;
        if leads_nowhere {
            return Err(Fault::Away { words: "a listing that leads nowhere".into(), after: None }.into());
        }
        let from = state.listing_from.map_or_else(|| self.clock.now(), Timestamp::from_millis);
        let theirs = page.made_at.map_or(from, |at| at.min(from)).before(OVERLAP);
        let next = State {
            phase: if page.after.is_some() { Phase::Listing } else { Phase::Removing },
            range_start: state.range_start.or(Some(theirs.millis())),
            listing_after: page.after.clone(),
            ..state
        };
        self.apply(next, page.items).await?;
        Ok(More::Now)
    }

    /// Deletes here who is gone there, a few at a time.
    async fn remove(&self, state: State) -> Result<More, Halt> {
        let from = state.listing_from.map_or_else(|| self.clock.now(), Timestamp::from_millis);
        if store::lists_nobody_known(self.db.reader(), state.listing, from.before(OVERLAP)).await? {
            // More likely than that all of them are gone at once: their events would have told.
            self.go_on(State { phase: Phase::New, ..state }).await?;
            let words = "nobody who is known here is on the list: is WORKOS_API_KEY of another environment?";
            return Err(Fault::Away { words: words.into(), after: None }.into());
        }
        let workos = self.clone();
        let removed = self.db.write(move |tx| async move { workos.remove_in(tx, state).await }.boxed());
        self.tally(removed.await?);
        Ok(More::Now)
    }

    async fn remove_in(&self, tx: &Tx, mut state: State) -> Result<Done, Unapplied> {
        if !store::claim(tx, &mut state).await? {
            return Err(Unapplied::Overtaken);
        }
        let mut done = Done::default();
        let now = self.clock.now();
        let from = state.listing_from.map_or(now, Timestamp::from_millis);
        // Who came to be known just before may not have been on the list yet; events tell of them.
        let mut gone = store::unlisted(tx, state.listing, from.before(OVERLAP), PAGE as u64).await?;
        gone.sort_unstable_by_key(|known| known.user_id); // as everybody holds users
        for known in &gone {
            let at = Timestamp::from_millis(known.updated_at);
            match known.user_id {
                Some(user) => {
                    let outcome = self.delete_in(tx, user, &known.id, at).await?;
                    done.count(outcome);
                    self.count_in(tx, &mut state, outcome, &known.id, String::new()).await?;
                }
                None => store::bury(tx, &known.id, at, now).await?,
            }
        }
        if gone.is_empty() {
            tracing::info!(applied = state.applied, "everybody of the directory at WorkOS is known");
            state = State { phase: Phase::Following, listing_from: None, listing_after: None, ..state };
        }
        store::save(tx, state).await?;
        Ok(done)
    }

    // --- what happens

    async fn events(&self, client: &Client, state: State, limit: usize) -> Result<More, Halt> {
        let now = self.clock.now();
        let from = match (&state.last_event, state.range_start) {
            (Some(id), _) => Start::Event(id.clone()),
            (None, Some(moment)) => Start::Moment(Timestamp::from_millis(moment)),
            (None, None) => return self.go_on(State { phase: Phase::New, ..state }).await,
        };
        let page = match self.page_with_events(client, from.clone(), limit).await {
            Err(fault) if fault.has_lost_the_place() => return self.lost(state, &from, now, fault).await,
            page => page?,
        };
        let is_empty = page.items.is_empty();
        let is_full = page.items.len() >= limit || page.after.is_some();
        let before = state.last_event.clone();
        let next =
            if is_empty { moved_on(&state, &from, &page, now) } else { Some(behind(&state, &page, now)) };
        let has_moved = next.as_ref().is_some_and(|next| next.last_event != before);
        if let Some(next) = next {
            self.apply(next, page.items).await?;
        }
        // A page on which nothing has an id moves nothing on: it is asked for again, but not at once.
        if is_full && has_moved {
            return Ok(More::Now);
        }
        self.note_everything(now, &state).await?;
        Ok(More::Later)
    }

    /// The next page with anything on it. An empty one that leads on is followed, but not kept as a place to go on from:
    /// that is an event which was applied, and nothing else.
    async fn page_with_events(&self, client: &Client, from: Start, limit: usize) -> Result<Page, Fault> {
        let mut page = client.events(&from, limit).await?;
        let mut seen = HashSet::new();
        while page.items.is_empty()
            && let Some(next) = page.after.take()
            && seen.len() < MOST_EMPTY
            && seen.insert(next.clone())
        {
            page = client.events(&Start::Event(next), limit).await?;
        }
        Ok(page)
    }

    /// WorkOS no longer knows where it was to go on.
    async fn lost(&self, state: State, from: &Start, now: Timestamp, fault: Fault) -> Result<More, Halt> {
        let start = match (from, state.last_event_at) {
            (Start::Event(_), Some(at)) => Some(Timestamp::from_millis(at).min(now).before(OVERLAP)),
            // From a moment that is near, there can be nothing to be lost: WorkOS refuses something else.
            (Start::Moment(moment), _) if now.since(*moment) <= MOVES_ON => return Err(fault.into()),
            _ => None,
        };
        // From where it went on the last time it would come here again, as it does where events don't say when they happened.
        let is_newer = |start: Timestamp| state.range_start.is_none_or(|before| start.millis() > before);
        let start = start.filter(|start| now.since(*start) < LONGEST_RANGE && is_newer(*start));
        tracing::warn!(reason = %fault, again_from = ?start.map(Timestamp::millis), "WorkOS no longer knows the last event");
        let phase = if start.is_some() { Phase::Following } else { Phase::New };
        let range_start = start.map(Timestamp::millis);
        let more = self.go_on(State { phase, last_event: None, range_start, ..state }).await?;
        // Where all that is behind that moment, or behind a list, does not fit on a page, it may lead here again: not without
        // a pause.
        if matches!(from, Start::Event(_)) { Err(fault.into()) } else { Ok(more) }
    }

    async fn note_everything(&self, now: Timestamp, state: &State) -> Result<(), Halt> {
        let noted = state.synced_at.map(Timestamp::from_millis);
        let is_fresh = noted.is_some_and(|noted| noted <= now && now.since(noted) < NOTED);
        if is_fresh && state.trouble.is_none() {
            return Ok(());
        }
        let noted = self.db.write(move |tx| async move { store::note(tx, Some(now), None).await }.boxed());
        Ok(noted.await?)
    }

    // --- writing

    async fn go_on(&self, state: State) -> Result<More, Halt> {
        self.apply(state, Vec::new()).await?;
        Ok(More::Now)
    }

    /// Applies a page and moves on, in one transaction. Where something on the page breaks what no waiting mends, the page is
    /// taken apart, so that only that is set aside.
    pub(super) async fn apply(&self, next: State, page: Vec<Received>) -> Result<(), Unapplied> {
        match self.write(next.clone(), page.clone()).await {
            Err(Unapplied::Broken(breakage)) if !page.is_empty() && !breakage.is_passing() => {
                breakage.log();
                self.apply_one_by_one(next, page).await
            }
            written => written,
        }
    }

    async fn write(&self, next: State, page: Vec<Received>) -> Result<(), Unapplied> {
        let workos = self.clone();
        let written = self.db.write(move |tx| async move { workos.page_in(tx, next, &page).await }.boxed());
        self.tally(written.await?);
        Ok(())
    }

    async fn apply_one_by_one(&self, next: State, page: Vec<Received>) -> Result<(), Unapplied> {
        for received in page {
            // Nothing but what is applied is moved past: the state is as it was, but for the counts.
            let present = store::state(self.db.reader()).await?;
            match self.write(present.clone(), vec![received.clone()]).await {
                Err(Unapplied::Broken(breakage)) if !breakage.is_passing() => {
                    breakage.log();
                    let aside = Received { told: Err("it can't be written"), ..received };
                    self.write(present, vec![aside]).await?;
                }
                written => written?,
            }
        }
        let State { revision, applied, skipped, quarantined, .. } = store::state(self.db.reader()).await?;
        self.write(State { revision, applied, skipped, quarantined, ..next }, Vec::new()).await
    }

    async fn page_in(&self, tx: &Tx, mut state: State, page: &[Received]) -> Result<Done, Unapplied> {
        if !store::claim(tx, &mut state).await? {
            return Err(Unapplied::Overtaken);
        }
        hold_in(tx, page).await?;
        let awaited = awaited_in(tx, page).await?;
        let (mut done, mut listed) = (Done { seen: page.len() as u64, ..Done::default() }, Vec::new());
        for received in page {
            let outcome = match &received.told {
                Ok(told) => self.apply_in(tx, told, &awaited).await?,
                Err(flaw) => Outcome::SetAside(flaw),
            };
            let body = if matches!(outcome, Outcome::SetAside(_)) { received.kept() } else { String::new() };
            done.count(outcome);
            self.count_in(tx, &mut state, outcome, &received.key(), body).await?;
            let is_listed = state.listing_from.is_some()
                && received.told.as_ref().map_or(true, |told| told.deed == Deed::Listed);
            listed.extend(received.id.as_deref().filter(|_| is_listed));
        }
        if !listed.is_empty() {
            store::listed(tx, &listed, state.listing).await?;
        }
        store::save(tx, state).await?;
        Ok(done)
    }

    async fn count_in(
        &self,
        tx: &Tx,
        state: &mut State,
        outcome: Outcome,
        key: &str,
        body: String,
    ) -> Result<(), Unapplied> {
        match outcome {
            Outcome::Made | Outcome::Changed | Outcome::Removed | Outcome::Noted => state.applied += 1,
            Outcome::Skipped => state.skipped += 1,
            Outcome::SetAside(reason) => {
                if reason == UNKNOWN_TYPE {
                    state.skipped += 1;
                } else {
                    tracing::warn!(
                        id = key,
                        reason,
                        "something from WorkOS was set aside; see `gatehouse workos-check`"
                    );
                    state.quarantined += 1;
                }
                store::set_aside(tx, key, body, reason, self.clock.now()).await?;
            }
        }
        Ok(())
    }
}

/// Holds the users whom a page is about, and those who have their addresses, by their ids, as whoever else holds several does, and before what refers to
/// them, as a purge does: else two could wait for each other.
async fn hold_in(tx: &Tx, page: &[Received]) -> Result<(), DbErr> {
    let told = || page.iter().filter_map(|received| received.told.as_ref().ok());
    let known = store::known_of(tx, told().map(|told| told.id.as_str())).await?;
    let people = told().filter_map(|told| told.person.as_ref());
    let emails = people.filter_map(|person| person.email.as_ref()).map(Email::as_str);
    let mut users = ids_by_emails(tx, emails).await?;
    users.extend(known.into_iter().filter_map(|known| known.user_id));
    hold(tx, &users).await
}

/// The state behind a page of events.
fn behind(state: &State, page: &Page, now: Timestamp) -> State {
    let last = page.items.iter().rev().find(|item| item.id.is_some());
    // Not all may say when they happened: those before the last that does are no newer. A clock that is ahead of ours must
    // not make us miss what comes, once the cursor is lost.
    let at = page.items.iter().rev().find_map(|item| item.created_at).map(|at| at.min(now).millis());
    State {
        last_event: last.and_then(|last| last.id.clone()).or_else(|| state.last_event.clone()),
        last_event_at: at.or(state.last_event_at),
        ..state.clone()
    }
}

/// Where there was nothing since a moment that is long ago, it goes on from a newer one: WorkOS answers for thirty days at once,
/// and no more.
fn moved_on(state: &State, from: &Start, page: &Page, now: Timestamp) -> Option<State> {
    let Start::Moment(start) = from else { return None };
    let theirs = page.made_at.map_or(now, |at| at.min(now)).before(OVERLAP);
    let is_old = theirs.since(*start) > MOVES_ON;
    is_old.then(|| State { range_start: Some(theirs.millis()), ..state.clone() })
}

/// How long is waited at most after so many failures in a row: twice as long as after the one before.
fn longest_pause(interval: Duration, failures: u32) -> Duration {
    interval.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::platform::random::Random;

    #[test]
    fn the_pause_after_a_failure_doubles_up_to_five_minutes_and_half_of_it_is_chance() {
        let random = Random::seeded(1);
        let longest = [10, 20, 40, 80, 160, 300, 300].map(Duration::from_secs);
        for (failures, longest) in (1..).zip(longest).chain([(u32::MAX, LONGEST_PAUSE)]) {
            assert_eq!(longest_pause(Duration::from_secs(5), failures), longest, "after {failures}");
            let pauses: BTreeSet<_> = (0..100).map(|_| jittered(&random, longest)).collect();
            assert!(pauses.iter().all(|pause| (longest / 2..=longest).contains(pause)), "{pauses:?}");
            assert!(pauses.len() > 90, "instances that failed together come back one by one: {pauses:?}");
            let spread = pauses.last().zip(pauses.first()).map(|(last, first)| last.abs_diff(*first));
            assert!(spread > Some(longest / 4), "{pauses:?}");
        }
        assert_eq!(longest_pause(Duration::from_hours(1), 1), LONGEST_PAUSE, "whatever the interval is");
    }
}
