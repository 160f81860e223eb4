//! Delivering what is due: one instance, several webhooks side by side, each in its own order.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Webhooks;
use super::delivery::{Attempt, FURTHEST, Verdict, next_try};
use super::message::{self, Message};
use super::store::{self, Delivery, Failed, webhook};
use super::target::EventTypes;
use crate::events::store::after as events_after;
use crate::mail::{Languages, Letter, Occasion, Post};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::tasks::Tasks;
use crate::users::store::reachable_admins;

/// Webhooks that are delivered to at the same time.
const SLOTS: usize = 16;
/// How often events and pauses are looked at, besides being told of new events.
const EVERY: Duration = Duration::from_secs(1);
/// How often the lease is asked for while there is something to deliver.
const RENEW: Duration = Duration::from_secs(3);
/// Events that are read at once, and how long a webhook keeps its slot while others may wait for one.
const BATCH: u64 = 50;
const TURN: Duration = Duration::from_secs(5);
/// Admins who are written to when no `CONTACT_EMAIL` is set.
const MOST_READERS: u64 = 20;
/// Why a webhook was switched off.
pub(super) const GONE: &str = "gone";
pub(super) const FAILING: &str = "failing";

/// What an instance has in hand.
#[derive(Default)]
struct Shift {
    in_hand: Arc<Mutex<BTreeSet<Uuid>>>,
    /// The turn that each webhook last had.
    turns: BTreeMap<Uuid, u64>,
    /// When the lease was last asked for, and whether it was given.
    asked: Option<(Instant, bool)>,
    /// Cancelled when the lease is lost.
    over: CancellationToken,
}

/// A webhook that is delivered to until this is dropped, whatever happens.
struct InHand(Arc<Mutex<BTreeSet<Uuid>>>, Uuid);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// What came of some events of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Its cursor moved: there may be more.
    Some,
    /// It stands where it stood.
    None,
}

impl Webhooks {
    /// Delivers for ever; may be dropped at any time. Tries that are under way then go on as tasks of their own, for
    /// which a stop waits a while.
    pub async fn work(self, tasks: Tasks) {
        let (mut shift, mut placed) = (Shift::default(), self.0.events.placed());
        loop {
            if let Err(error) = self.round(&mut shift, &tasks).await {
                tracing::warn!(%error, "webhooks can't be looked at; it is tried again");
            }
            tokio::select! {
                Ok(()) = placed.changed() => {}
                () = self.0.due.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Looks for events now and not only within a second.
    pub fn wake(&self) {
        self.0.due.notify_one();
    }

    /// Lets another instance deliver at once.
    pub async fn give_back(&self) {
        if let Err(error) = self.0.lease.give_back().await {
            tracing::debug!(%error, "the lease of the webhooks was not given back; it runs out by itself");
        }
    }

    /// Hands free slots to webhooks that are due. Where nothing is due, nothing is written: the lease is held only
    /// while there is something to deliver.
    async fn round(&self, shift: &mut Shift, tasks: &Tasks) -> Result<(), DbErr> {
        let now = self.0.clock.now();
        let due = store::due(self.0.db.reader(), now, now.after(FURTHEST)).await?;
        let busy = shift.busy();
        shift.turns.retain(|id, _| due.contains(id) || busy.contains(id));
        let mut waiting: Vec<Uuid> = due.into_iter().filter(|id| !busy.contains(id)).collect();
        // Whoever waits longest comes first: sixteen that are slow must not keep the others out.
        waiting.sort_by_key(|id| shift.turns.get(id).copied());
        if waiting.is_empty() && busy.is_empty() {
            return Ok(());
        }
        if !self.is_on_shift(shift).await {
            return Ok(());
        }
        for id in waiting.into_iter().take(SLOTS.saturating_sub(busy.len())) {
            let in_hand = shift.take(id);
            let (webhooks, over, ending) = (self.clone(), shift.over.clone(), tasks.clone());
            tasks.spawn(async move {
                let stops = || over.is_cancelled() || ending.cancelled().now_or_never().is_some();
                let progress = AssertUnwindSafe(webhooks.deliver(id, stops)).catch_unwind().await;
                drop(in_hand);
                match progress {
                    Ok(Ok(Progress::Some)) => webhooks.wake(),
                    Ok(Ok(Progress::None)) => {}
                    Ok(Err(error)) => tracing::warn!(%error, webhook = %id, "it is delivered to again"),
                    Err(_panic) => tracing::error!(webhook = %id, "delivering panicked"),
                }
            });
        }
        Ok(())
    }

    /// Whether this instance is the one that delivers.
    async fn is_on_shift(&self, shift: &mut Shift) -> bool {
        if let Some((asked, given)) = shift.asked
            && asked.elapsed() < RENEW
        {
            return given;
        }
        // What is asked too slowly may have run out before the answer is here.
        let begun = Instant::now();
        let taken = tokio::time::timeout(RENEW, self.0.lease.take()).await;
        let given = matches!(taken, Ok(Ok(true)));
        if !given {
            std::mem::take(&mut shift.over).cancel();
        }
        shift.asked = Some((begun, given));
        given
    }

    /// Sends a webhook the events before it, one after the other, until one fails or it is time to stop.
    async fn deliver(&self, id: Uuid, stops: impl Fn() -> bool) -> Result<Progress, DbErr> {
        let Some(mut webhook) = self.ready(id).await? else { return Ok(Progress::None) };
        let (begun, turn) = (webhook.position, Instant::now());
        let events = events_after(self.0.db.reader(), begun, BATCH).await?;
        // Read once more behind them: an event that comes after a change of types was answered is judged by the new ones.
        match self.ready(id).await? {
            Some(now) if now.position == begun => webhook = now,
            _ => return Ok(Progress::Some),
        }
        // Up to here its cursor may go.
        let mut passed = begun;
        for event in events {
            if stops() || turn.elapsed() >= TURN {
                break;
            }
            let Some(position) = event.position else { break };
            if !EventTypes::stored(&webhook.event_types).take(&event.event_type) {
                passed = position;
                continue;
            }
            let event_id = event.id;
            let message = match message::of_event(event) {
                Ok(message) => message,
                Err(error) => {
                    // It can't be told tomorrow either: what is behind it must not wait for it.
                    tracing::error!(webhook = %id, event = %event_id, %error, "an event can't be told; the webhook goes past it");
                    passed = position;
                    continue;
                }
            };
            let taken = self.send(&webhook, message, position).await?;
            if !taken {
                break;
            }
            passed = position;
            // It may have been changed in the meantime.
            match self.ready(id).await? {
                Some(now) if now.position == position => webhook = now,
                _ => return Ok(Progress::Some),
            }
        }
        if passed > webhook.position {
            let (from, to) = (webhook.position, passed);
            self.0.db.write::<_, DbErr, _>(move |tx| store::pass(tx, id, from, to).boxed()).await?;
        }
        Ok(if passed > begun { Progress::Some } else { Progress::None })
    }

    /// The webhook, if it may be sent something now.
    async fn ready(&self, id: Uuid) -> Result<Option<webhook::Model>, DbErr> {
        let now = self.0.clock.now();
        let (now, furthest) = (now.millis(), now.after(FURTHEST).millis());
        let webhook = store::find(self.0.db.reader(), id).await?;
        let waits =
            |webhook: &webhook::Model| webhook.next_try_at.is_some_and(|next| next > now && next <= furthest);
        Ok(webhook.filter(|webhook| webhook.disabled.is_none() && !waits(webhook)))
    }

    /// Sends the message of an event and books what came of it. Whether it was taken.
    async fn send(&self, webhook: &webhook::Model, message: Message, position: i64) -> Result<bool, DbErr> {
        let delivery = Delivery::begun(&message, webhook.attempts + 1, self.0.clock.now());
        let trace_id = message.trace_id.clone();
        let attempt = self.try_to_send(webhook, message).await;
        self.0.counts.count(webhook.id, &attempt);
        tracing::info!(
            webhook = %webhook.id, event = %delivery.event_id, event_type = delivery.event_type,
            attempt = delivery.attempt, status = attempt.status, error = attempt.error, trace_id, "webhook"
        );
        let delivery = delivery.with(&attempt);
        if attempt.verdict() == Verdict::Taken {
            return self.book_success(webhook, delivery, position).await;
        }
        self.book_failure(webhook, delivery, &attempt).await?;
        Ok(false)
    }

    async fn book_success(
        &self,
        webhook: &webhook::Model,
        delivery: Delivery,
        position: i64,
    ) -> Result<bool, DbErr> {
        let webhook = webhook.clone();
        let booked = self.0.db.write::<_, DbErr, _>(move |tx| {
            async move {
                let Some(number) = store::book_success(tx, &webhook, position).await? else {
                    return Ok(false);
                };
                store::log(tx, webhook.id, Delivery { number, ..delivery }).await?;
                Ok(true)
            }
            .boxed()
        });
        booked.await
    }

    async fn book_failure(
        &self,
        webhook: &webhook::Model,
        delivery: Delivery,
        attempt: &Attempt,
    ) -> Result<(), DbErr> {
        let now = self.0.clock.now();
        let since = webhook.failing_since.map_or(now, Timestamp::from_millis);
        let [chance] = self.0.random.bytes();
        let next_try = match attempt.verdict() {
            Verdict::Gone => None,
            _ => next_try(delivery.attempt, since, now, attempt.wish, chance),
        };
        let reason = if attempt.verdict() == Verdict::Gone { GONE } else { FAILING };
        let failed = Failed { since, next_try, disabled: next_try.is_none().then_some(reason) };
        let (id, webhooks, webhook) = (webhook.id, self.clone(), webhook.clone());
        let booked = self.0.db.write::<_, DbErr, _>(move |tx| {
            async move {
                let booked = store::book_failure(tx, &webhook, &failed, now).await?;
                let Some(number) = booked else { return Ok(false) };
                store::log(tx, webhook.id, Delivery { number, ..delivery }).await?;
                if let Some(reason) = failed.disabled {
                    webhooks.tell_admins(tx, &webhook, reason, since, now).await?;
                }
                Ok(failed.disabled.is_some())
            }
            .boxed()
        });
        if booked.await? {
            tracing::warn!(webhook = %id, reason, "a webhook was switched off");
        }
        Ok(())
    }

    /// Writes to `CONTACT_EMAIL`, else to the admins: in the transaction that switches the webhook off.
    async fn tell_admins(
        &self,
        tx: &Tx,
        webhook: &webhook::Model,
        reason: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        // Only the host: what stands behind it may be a secret of the receiver's.
        let host = url::Url::parse(&webhook.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let host = host.unwrap_or_default();
        let letter = || Letter::WebhookDisabled {
            id: webhook.id,
            host: host.clone(),
            description: webhook.description.clone(),
            reason: reason.to_owned(),
            since: Some(since),
        };
        let post = |to, user_id, locale| Post {
            to,
            user_id,
            languages: Languages { locale, accept_language: None },
            letter: letter(),
            good_until: None,
            occasion: Occasion::of_the_program(now, None),
        };
        let posts = if let Some(contact) = self.0.mail.contact() {
            vec![post(contact.to_owned(), None, None)]
        } else {
            let admins = reachable_admins(tx, MOST_READERS).await?.into_iter();
            admins.map(|admin| post(admin.email, Some(admin.id), admin.locale)).collect()
        };
        for post in posts {
            self.0.mail.post_in(tx, post).await?;
        }
        Ok(())
    }
}

impl Shift {
    fn busy(&self) -> BTreeSet<Uuid> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&mut self, id: Uuid) -> InHand {
        let next = self.turns.values().max().map_or(0, |last| last + 1);
        self.turns.insert(id, next);
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        InHand(Arc::clone(&self.in_hand), id)
    }
}

impl Delivery {
    /// A try that nothing has come of yet; its number is given when it is booked.
    pub(super) fn begun(message: &Message, attempt: i64, now: Timestamp) -> Self {
        Self {
            number: 0,
            event_id: message.id,
            event_type: message.event_type.clone(),
            attempt,
            status: None,
            error: None,
            duration: 0,
            created_at: now.millis(),
        }
    }

    /// With what came back.
    pub(super) fn with(self, attempt: &Attempt) -> Self {
        Self {
            status: attempt.status.map(i64::from),
            error: attempt.error.map(str::to_owned),
            duration: attempt.millis(),
            ..self
        }
    }
}
