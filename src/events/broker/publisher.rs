//! Publishing: whoever holds the lease reads what is due in its order, and marks what the broker has confirmed.
//!
//! Many messages are on their way at a time, but only one of each user: the next one is sent when the broker has confirmed
//! the one before. So whatever is refused, returned or lost on the way is never overtaken by a later event of that user,
//! and two publishers at once, should a lease be lost unnoticed, could repeat messages but not bring them out of order.
//!
//! What the broker refuses for itself is parked, and its user's later events are held until an admin has it sent again or
//! gives it up: whoever listens sees each user's events without a gap. Everybody else's go on.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::link::{Fate, Link, Trouble};
use super::message::Message;
use super::outage::Part;
use super::store::{self, Due, Outcome};
use super::{Broker, Pause};
use crate::platform::db::Lease;
use crate::platform::tasks::Tasks;

/// How long the lease lasts without its holder, and how often others ask for it.
const LEASE: Duration = Duration::from_secs(10);
const ASKING: Duration = Duration::from_secs(3);
/// Events that are read, and marked, together at most.
const BATCH: u64 = 1000;
/// Messages that are on their way together at most.
const WINDOW: usize = 1000;
/// How often the table is looked at when nobody tells of something new.
const IDLE: Duration = Duration::from_millis(250);
/// How long a stop waits for what is on its way.
const FINISH: Duration = Duration::from_secs(3);
/// How often marking is tried, and the pause in between; what stays unmarked is sent again.
const BOOKINGS: u32 = 10;
const BOOKING_PAUSE: Duration = Duration::from_secs(1);

/// Why publishing had to stop for a while.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Broker(#[from] Trouble),
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// What is still to be sent of a batch: the messages of each user, in their order.
type Queues = VecDeque<VecDeque<Message>>;

/// What a batch left.
enum Rest {
    /// There may be more.
    Some,
    /// All is published.
    None,
}

impl Broker {
    /// Publishes whenever this instance holds the lease, until the stop; then gives it back.
    pub(super) async fn publish(self, tasks: Tasks) {
        let parts = &self.0.parts;
        let holder = parts.ground.random.uuid_v7(parts.ground.clock.now());
        let lease = Lease::new(parts.ground.db.clone(), "publisher", holder, LEASE);
        loop {
            if self.takes(&lease).await && Box::pin(self.lead(&lease, &tasks)).await {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(ASKING) => {}
                () = tasks.cancelled() => break,
            }
        }
        if let Err(error) = lease.give_back().await {
            tracing::warn!(%error, "the publisher's lease could not be given back; it runs out by itself");
        }
    }

    async fn takes(&self, lease: &Lease) -> bool {
        lease.take().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the publisher's lease can't be asked for; it is tried again");
            false
        })
    }

    /// Publishes for as long as the lease is held. Whether the stop has come.
    async fn lead(&self, lease: &Lease, tasks: &Tasks) -> bool {
        let orphans = self
            .0
            .parts
            .ground
            .db
            .write::<_, DbErr, _>(|tx| Box::pin(crate::events::store::let_go_of_orphans(tx)));
        if let Err(error) = orphans.await {
            tracing::warn!(%error, "events that wait behind nothing could not be looked for; the next holder of the lease does so");
        }
        let ending = CancellationToken::new();
        let mut sending = pin!(self.send(&ending));
        tokio::select! {
            () = &mut sending => false,
            () = lease.lost() => {
                tracing::warn!("the lease of publishing is lost: another instance may publish now");
                false
            }
            () = tasks.cancelled() => {
                ending.cancel();
                if tokio::time::timeout(FINISH, sending).await.is_err() {
                    tracing::warn!("RabbitMQ did not confirm in time for the stop; some events are sent again");
                }
                true
            }
        }
    }

    /// Sends whatever is due, until told to end.
    async fn send(&self, ending: &CancellationToken) {
        let (mut link, mut pause, mut placed) = (None, Pause::new(), self.0.parts.placed.clone());
        while !ending.is_cancelled() {
            placed.mark_unchanged();
            let before = self.0.counts.published();
            let wait = match self.send_batch(&mut link, ending).await {
                Ok(Rest::Some) => {
                    pause.reset();
                    continue;
                }
                Ok(Rest::None) => {
                    pause.reset();
                    IDLE
                }
                Err(halt) => {
                    self.tell(&halt);
                    link = None;
                    if self.0.counts.published() > before {
                        pause.reset();
                    }
                    pause.next(&self.0.parts.ground.random)
                }
            };
            let is_idle = link.is_some();
            tokio::select! {
                Ok(()) = placed.changed(), if is_idle => {}
                () = tokio::time::sleep(wait) => {}
                () = ending.cancelled() => {}
            }
        }
        if let Some(link) = link {
            link.close().await;
        }
    }

    fn tell(&self, halt: &Halt) {
        match halt {
            Halt::Broker(trouble) => self.0.outage.begin(Part::Publisher, trouble),
            Halt::Database(error) => {
                tracing::warn!(%error, "the events to be published can't be read; it is tried again");
            }
        }
    }

    /// Sends the next events, and marks those that the broker has confirmed, whatever happens to the others.
    async fn send_batch(&self, link: &mut Option<Link>, ending: &CancellationToken) -> Result<Rest, Halt> {
        let link = match link {
            Some(link) if link.is_alive() => link,
            _ => link.insert(self.open().await?),
        };
        let due = store::due(self.0.parts.ground.db.reader(), BATCH).await?;
        if due.is_empty() {
            self.0.outage.end(Part::Publisher);
            return Ok(Rest::None);
        }
        let mut outcome = Outcome::default();
        let mut queues = by_user(due, &mut outcome);
        let mut sent = Ok(());
        while sent.is_ok() && !queues.is_empty() && !ending.is_cancelled() {
            let round = next_round(&mut queues);
            sent = self.send_round(link, &round, &mut outcome).await;
            hold(&mut queues, &round, &mut outcome);
        }
        self.book(outcome).await?;
        sent?;
        self.0.outage.end(Part::Publisher);
        Ok(Rest::Some)
    }

    async fn open(&self) -> Result<Link, Trouble> {
        let link = self.connect("publisher").await?;
        link.declare(&self.0.settings).await?;
        Ok(link)
    }

    /// Sends messages of different users. If the broker refuses one of them, the channel is gone with all, so that each
    /// is sent by itself then, and the one that is refused again is parked.
    async fn send_round(
        &self,
        link: &mut Link,
        round: &[Message],
        outcome: &mut Outcome,
    ) -> Result<(), Trouble> {
        match self.send_together(link, round, outcome).await {
            Err(Trouble::Refused(words)) => {
                *link = self.open().await?;
                match round {
                    [alone] => {
                        park(alone, &words, outcome);
                        Ok(())
                    }
                    _ => self.send_one_by_one(link, round, outcome).await,
                }
            }
            sent => sent,
        }
    }

    async fn send_one_by_one(
        &self,
        link: &mut Link,
        round: &[Message],
        outcome: &mut Outcome,
    ) -> Result<(), Trouble> {
        for message in round {
            match self.send_together(link, std::slice::from_ref(message), outcome).await {
                Err(Trouble::Refused(words)) => {
                    park(message, &words, outcome);
                    *link = self.open().await?;
                }
                sent => sent?,
            }
        }
        Ok(())
    }

    /// Sends messages of different users at once. What is returned is sent once more after everything was declared again:
    /// somebody may have deleted the queue.
    async fn send_together(
        &self,
        link: &Link,
        messages: &[Message],
        outcome: &mut Outcome,
    ) -> Result<(), Trouble> {
        let spans = self.spans_of(messages);
        let fates = match self.send_and_route(link, messages).await {
            Ok(fates) => fates,
            Err(trouble) => {
                spans.fail(&trouble);
                return Err(trouble);
            }
        };
        spans.end(&fates);
        for (message, fate) in messages.iter().zip(&fates) {
            match fate {
                Fate::Confirmed => outcome.published.push(message.position),
                Fate::Returned => outcome.unrouted.push(message.position),
                Fate::Nacked => {}
            }
        }
        if fates.contains(&Fate::Nacked) { Err(Trouble::Nacked) } else { Ok(()) }
    }

    async fn send_and_route(&self, link: &Link, messages: &[Message]) -> Result<Vec<Fate>, Trouble> {
        let settings = &self.0.settings;
        let mut fates = link.publish(&settings.exchange, messages).await?;
        if fates.contains(&Fate::Returned) && settings.queue.is_some() {
            link.declare(settings).await?;
            for (message, fate) in messages.iter().zip(&mut fates) {
                if *fate == Fate::Returned {
                    let again = link.publish(&settings.exchange, std::slice::from_ref(message)).await?;
                    *fate = again.first().copied().unwrap_or(Fate::Nacked);
                }
            }
        }
        Ok(fates)
    }

    /// Marks what is known. If that fails for long, it is sent again with the same ids.
    async fn book(&self, outcome: Outcome) -> Result<(), DbErr> {
        if outcome.is_empty() {
            return Ok(());
        }
        let parts = &self.0.parts;
        for attempt in 1.. {
            let (booked, now) = (outcome.clone(), parts.ground.clock.now());
            let booking = parts
                .ground
                .db
                .write::<_, DbErr, _>(move |tx| Box::pin(async move { store::book(tx, &booked, now).await }));
            match booking.await {
                Ok(()) => break,
                Err(error) if attempt == BOOKINGS => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "published events could not be marked; it is tried again");
                }
            }
            tokio::time::sleep(BOOKING_PAUSE).await;
        }
        self.count(&outcome);
        Ok(())
    }

    fn count(&self, outcome: &Outcome) {
        let counts = &self.0.counts;
        let [published, unrouted, parked] = [&outcome.published, &outcome.unrouted, &outcome.parked]
            .map(|positions| u64::try_from(positions.len()).unwrap_or(u64::MAX));
        counts.published.fetch_add(published, Ordering::Relaxed);
        counts.unrouted.fetch_add(unrouted, Ordering::Relaxed);
        counts.parked.fetch_add(parked, Ordering::Relaxed);
        if let Some(events) = self.0.unrouted.happened(unrouted) {
            tracing::warn!(
                events,
                exchange = self.0.settings.exchange,
                "no queue takes these events: they are marked unrouted, and can be replayed once a queue is bound"
            );
        }
    }
}

/// The messages of each user, in their order; the users in the order of their first. What waits behind a parked event, also
/// behind one that is parked here, is in none of them.
fn by_user(due: Vec<Due>, outcome: &mut Outcome) -> Queues {
    let (mut queues, mut places, mut stopped) = (Queues::new(), HashMap::new(), HashSet::new());
    for Due { event, is_held } in due {
        if is_held || stopped.contains(&event.user_id) {
            outcome.held.extend(event.position);
            continue;
        }
        match Message::of(&event) {
            Ok(message) => {
                let place = *places.entry(event.user_id).or_insert_with(|| {
                    queues.push_back(VecDeque::new());
                    queues.len() - 1
                });
                queues[place].push_back(message);
            }
            Err(error) => {
                outcome.parked.extend(event.position);
                stopped.insert(event.user_id);
                tracing::error!(event = %event.id, %error, "an event can't be told; it is parked, and later ones of its user wait");
            }
        }
    }
    queues
}

/// The next message of each user, as many as may be on their way together.
fn next_round(queues: &mut Queues) -> Vec<Message> {
    let taken: Vec<VecDeque<Message>> = queues.drain(..queues.len().min(WINDOW)).collect();
    let mut round = Vec::with_capacity(taken.len());
    for mut queue in taken {
        round.extend(queue.pop_front());
        if !queue.is_empty() {
            queues.push_back(queue);
        }
    }
    round
}

/// Takes out what comes after the messages of this round that are parked.
fn hold(queues: &mut Queues, round: &[Message], outcome: &mut Outcome) {
    let Outcome { parked, held, .. } = outcome;
    let of_parked = round.iter().filter(|message| parked.contains(&message.position));
    let stopped: HashSet<Uuid> = of_parked.map(|message| message.user).collect();
    if stopped.is_empty() {
        return;
    }
    queues.retain(|queue| {
        let goes_on = queue.front().is_none_or(|first| !stopped.contains(&first.user));
        if !goes_on {
            held.extend(queue.iter().map(|message| message.position));
        }
        goes_on
    });
}

fn park(message: &Message, words: &str, outcome: &mut Outcome) {
    outcome.parked.push(message.position);
    tracing::error!(
        event = %message.id, bytes = message.body.len(), error = words,
        "RabbitMQ refuses this event for itself: it is parked, and later ones of its user wait"
    );
}
