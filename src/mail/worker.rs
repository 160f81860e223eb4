//! Sending what is due: rows are leased, handed over, and booked afterwards.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use minijinja::value::Serde;
use minijinja::{Value, context};
use sea_orm::DbErr;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::Mail;
use super::delivery::{Carrier, Outgoing, Undelivered};
use super::letter::minute;
use super::rules::Content;
use super::store::{self, Leased, State};
use super::templates::Rendered;
use crate::platform::clock::Timestamp;
use crate::platform::tasks::Tasks;
use crate::platform::web::Device;

/// Mails that are handed over at the same time.
const SLOTS: usize = 4;
/// How often the queue is looked at for what other instances put there, and for what is to be tried again.
const EVERY: Duration = Duration::from_secs(1);
/// How much longer than a hand-over a lease lasts, so that its end can be booked.
const BOOKING: Duration = Duration::from_secs(90);
/// The pause after the first failed try; it doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_mins(30);
/// What is due further ahead than any pause or lease, and than the clocks of instances differ, was put off before the
/// clock was set back: it is due, or it would wait until the clock has caught up.
const FURTHEST: Duration = LONGEST_PAUSE.saturating_add(Duration::from_mins(1));
/// A mail that was tried for so long, and so often, is dead. The time is counted from when it was asked for: what waited
/// while this program stood still has its tries, over some two hours, as well.
const GIVE_UP: Duration = Duration::from_hours(24);
const FEWEST_TRIES: i64 = 10;
/// How often booking a hand-over is tried, and the pause in between.
const BOOKINGS: u32 = 30;
const BOOKING_PAUSE: Duration = Duration::from_secs(2);

impl Mail {
    /// Has what is due be sent, for ever; may be dropped at any time. What is being handed over then goes on as a
    /// task of its own, for which a stop waits.
    pub async fn work(self, tasks: Tasks) {
        if !self.is_on() {
            return std::future::pending().await;
        }
        let slots = Arc::new(Semaphore::new(SLOTS));
        loop {
            let Ok(first) = Arc::clone(&slots).acquire_owned().await else { return };
            let others =
                std::iter::repeat_with(|| Arc::clone(&slots).try_acquire_owned().ok()).map_while(|slot| slot);
            let free: Vec<OwnedSemaphorePermit> = std::iter::once(first).chain(others).collect();
            // Dropped in between, rows would be leased with nobody to send them.
            let round = tasks.spawn(self.clone().round(free, tasks.clone()));
            match round.await {
                Ok(Ok(true)) => continue,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the mail queue can't be read; it is tried again"),
                Err(error) => tracing::error!(%error, "a round of the mail queue failed"),
            }
            tokio::select! {
                () = self.0.queued.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Looks at the queue now and not only within a second.
    pub fn wake(&self) {
        self.0.queued.notify_one();
        self.0.begun.notify_one();
    }

    /// Fills the free slots with mails that are due. Whether all of them were filled, so that there may be more.
    async fn round(self, free: Vec<OwnedSemaphorePermit>, tasks: Tasks) -> Result<bool, DbErr> {
        let leased = self.lease(free.len()).await?;
        let is_full = leased.len() == free.len();
        if leased.is_empty() {
            return Ok(false);
        }
        let mail = self.clone();
        if let Err(error) = spawn_blocking(move || mail.0.templates.refresh()).await {
            tracing::error!(%error, "looking for changed mail templates failed");
        }
        for (leased, slot) in leased.into_iter().zip(free) {
            let mail = self.clone();
            tasks.spawn(async move {
                mail.send(leased).await;
                drop(slot);
            });
        }
        Ok(is_full)
    }

    async fn lease(&self, count: usize) -> Result<Vec<Leased>, DbErr> {
        let now = self.0.clock.now();
        let furthest = now.after(FURTHEST);
        // Looking costs nothing; leasing writes.
        if !store::is_any_due(self.0.db.reader(), now, furthest).await? {
            return Ok(Vec::new());
        }
        let lease = self.0.random.uuid_v7(now);
        let until = now.after(self.0.settings.mail.timeout + BOOKING);
        self.0.db.write(move |tx| Box::pin(store::lease(tx, lease, now, furthest, until, count))).await
    }

    /// Sends a leased mail and books what came of it.
    async fn send(&self, leased: Leased) {
        let now = self.0.clock.now();
        let is_late = leased.good_until.is_some_and(|end| end <= now.millis());
        let end = if is_late { End::Late } else { End::of(self.try_to_hand_over(&leased, now).await) };
        let plan = self.plan(&leased, end);
        tracing::info!(
            mail = %leased.id, letter = leased.letter, attempt = leased.attempts, state = plan.state.name(),
            error = plan.error, trace_id = leased.trace_id, "mail"
        );
        self.book(leased, plan).await;
    }

    /// A panic is a failure like any other: unbooked, the mail would come back for ever.
    async fn try_to_hand_over(&self, leased: &Leased, now: Timestamp) -> Result<(), Undelivered> {
        let handing_over = AssertUnwindSafe(self.hand_over(leased, now)).catch_unwind().await;
        handing_over.unwrap_or_else(|_panic| Err(Undelivered::passing("it broke; see the log")))
    }

    async fn hand_over(&self, leased: &Leased, now: Timestamp) -> Result<(), Undelivered> {
        let letter = self.write(leased).await?;
        let at = Timestamp::from_millis(leased.created_at).min(now);
        self.0.carrier.hand_over(Outgoing { id: leased.id, to: leased.recipient.clone(), letter, at }).await
    }

    /// The letter as it is read.
    async fn write(&self, leased: &Leased) -> Result<Rendered, Undelivered> {
        let sealed = match leased.batch_id {
            Some(batch) => store::batch_content(self.0.db.reader(), batch).await,
            None => Ok(leased.content.clone()),
        };
        let sealed =
            sealed.map_err(|error| Undelivered::passing(format!("its content can't be read: {error}")))?;
        let Some(sealed) = sealed else { return Err(Undelivered::lasting("its content is gone")) };
        self.written(
            leased.batch_id.unwrap_or(leased.id),
            &sealed,
            &leased.letter,
            &leased.language,
            leased.trace_id.as_deref(),
        )
    }

    /// A letter from its sealed content.
    pub(super) fn written(
        &self,
        sealed_for: Uuid,
        sealed: &[u8],
        letter: &str,
        language: &str,
        trace_id: Option<&str>,
    ) -> Result<Rendered, Undelivered> {
        // A secret that is missing can come back: `JWT_SECRET_KEY_PREVIOUS`.
        let content = self.open_content(sealed_for, sealed);
        let content =
            content.map_err(|error| Undelivered::passing(format!("its content can't be opened: {error}")))?;
        let shown = self.shown(content, language, trace_id);
        let written = self.0.templates.render(language, letter, &shown);
        written.map_err(|error| Undelivered::passing(format!("its templates can't be used: {error}")))
    }

    /// Everything that templates may show.
    fn shown(&self, content: Content, language: &str, trace_id: Option<&str>) -> Value {
        let Content { mut values, occasion } = content;
        let html = values.remove("html").and_then(|html| html.as_str().map(str::to_owned));
        let settings = &self.0.settings;
        let common = context! {
            project_name => settings.project_name.clone(),
            base_url => settings.base_url.clone(),
            contact => settings.mail.contact.clone(),
            trace_id => trace_id,
            occasion => self.occasion(&occasion, language),
            // An admin's HTML, cleaned when it was posted; every other value is escaped.
            html => Value::from_safe_string(html.unwrap_or_default()),
        };
        context! { ..common, ..Value::from(Serde(values)) }
    }

    /// When, with what and from where; nothing for letters that don't tell.
    fn occasion(&self, kept: &serde_json::Value, language: &str) -> Value {
        if kept.is_null() {
            return Value::from(());
        }
        let device = kept["user_agent"].as_str().map(Device::of).unwrap_or_default();
        let ip = kept["ip"].as_str().and_then(|ip| ip.parse().ok());
        let place = ip.and_then(|ip| self.0.places.as_ref()?.name(ip, language));
        let time = kept["at"].as_i64().and_then(|millis| minute(Timestamp::from_millis(millis)));
        Value::from(Serde(json!({
            "time": time, "ip": kept["ip"], "browser": device.browser, "system": device.system, "place": place,
        })))
    }

    /// What to book.
    fn plan(&self, leased: &Leased, end: End) -> Plan {
        let now = self.0.clock.now();
        match end {
            End::HandedOver => Plan { state: State::Sent, error: None, next_try: now },
            End::Late => Plan { state: State::Expired, error: None, next_try: now },
            End::Failed(Undelivered { lasting: true, words }) => {
                Plan { state: State::Dead, error: Some(words), next_try: now }
            }
            End::Failed(Undelivered { lasting: false, words }) => {
                let next_try = now.after(self.pause(leased.attempts));
                let is_over = leased.attempts >= FEWEST_TRIES
                    && next_try > Timestamp::from_millis(leased.created_at).after(GIVE_UP);
                let state = if is_over { State::Dead } else { State::Waiting };
                Plan { state, error: Some(words), next_try }
            }
        }
    }

    /// Doubles with each try; a quarter of it is chance, so that mails that failed together don't come back together.
    fn pause(&self, attempts: i64) -> Duration {
        let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(16);
        let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
        let [chance] = self.0.random.bytes::<1>();
        pause.saturating_sub(pause / 4 * u32::from(chance) / 255)
    }

    /// Books what came of a mail. As long as that fails the mail could go out twice, so it is tried for a while.
    async fn book(&self, leased: Leased, plan: Plan) {
        let (leased, plan) = (Arc::new(leased), Arc::new(plan));
        for _ in 0..BOOKINGS {
            match self.try_to_book(&leased, &plan).await {
                Ok(true) => return,
                Ok(false) => return tracing::warn!(mail = %leased.id, "a mail took longer than its lease"),
                Err(error) => {
                    tracing::warn!(%error, mail = %leased.id, "a mail could not be booked; it is tried again");
                }
            }
            tokio::time::sleep(BOOKING_PAUSE).await;
        }
        tracing::error!(mail = %leased.id, "a mail could not be booked; it may go out twice");
    }

    async fn try_to_book(&self, leased: &Arc<Leased>, plan: &Arc<Plan>) -> Result<bool, DbErr> {
        let (leased, plan) = (Arc::clone(leased), Arc::clone(plan));
        let (now, keep) = (self.0.clock.now(), self.keeps_contents());
        let booking = self.0.db.write(move |tx| {
            Box::pin(async move {
                match plan.state {
                    State::Waiting => {
                        store::put_off(tx, &leased, plan.error.as_deref().unwrap_or_default(), plan.next_try)
                            .await
                    }
                    state => store::finish(tx, &leased, state, plan.error.as_deref(), keep, now).await,
                }
            })
        });
        booking.await
    }

    /// Whether what was sent stays readable: in `local`, for `/dev/inbox`.
    pub(super) fn keeps_contents(&self) -> bool {
        self.0.settings.is_local || matches!(self.0.carrier, Carrier::Inbox)
    }
}

/// How a try ended.
enum End {
    HandedOver,
    Late,
    Failed(Undelivered),
}

impl End {
    fn of(handed_over: Result<(), Undelivered>) -> Self {
        match handed_over {
            Ok(()) => Self::HandedOver,
            Err(failure) => Self::Failed(failure),
        }
    }
}

/// What is booked of a try.
struct Plan {
    state: State,
    error: Option<String>,
    next_try: Timestamp,
}
