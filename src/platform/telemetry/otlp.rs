//! What goes to a collector (OTLP over HTTP, protobuf).
//!
//! Spans that have ended and measurements wait in a bounded queue for a thread with a runtime of its own, so that a collector
//! that is slow or away holds up no request: what finds no room is dropped and counted. That it is away is told once, and once
//! that it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::metrics::{Family, Metrics, Sample, number};
use super::proto::{self, Period};
use super::sampling::Sampler;
use super::spans::{Ended, Tracer};
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::outgoing::{Bounds, Outgoing, Unanswered};
use crate::platform::random::Random;

/// Spans that wait at most.
const QUEUE: usize = 2048;
/// Spans of one letter.
const TOGETHER: usize = 512;
/// A collector that is away is asked again after this long at the latest; the first times, sooner.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of the program waits for the last letters.
const LAST_LETTERS: Duration = Duration::from_secs(2);
/// What a collector may answer.
const ANSWER: usize = 64 * 1024;

/// Where a collector is, and what it is sent.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    /// Where traces go, if anywhere.
    pub traces: Option<Destination>,
    /// Where measurements go, if anywhere.
    pub metrics: Option<Destination>,
    /// Who sends: attributes of the resource, `service.name` among them.
    pub resource: Vec<(String, String)>,
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How long spans wait for company.
    pub delay: Duration,
    /// How often measurements are sent.
    pub interval: Duration,
}

/// Where letters of one kind go.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The whole address.
    pub url: Url,
    /// What the collector wants to be told, such as a key.
    pub headers: HeaderMap,
}

/// What waits for the thread.
pub(super) enum Parcel {
    Span(Box<Ended>),
    Measures(Vec<Family>, Timestamp),
    End,
}

/// Sends what is measured to a collector. Ends when it is closed.
#[derive(Debug)]
pub struct Exporter {
    parcels: SyncSender<Parcel>,
    done: std::sync::Mutex<Receiver<()>>,
}

/// A running exporter, and what begins the traces that it sends, if it sends any. Clones mean the same.
#[derive(Clone)]
pub struct Export {
    /// The exporter.
    pub exporter: Arc<Exporter>,
    /// What begins traces.
    pub tracer: Option<Arc<Tracer>>,
}

/// Starts the thread; nothing where nothing is to be sent. What was dropped is told in `metrics`.
pub fn start(
    settings: OtlpSettings,
    metrics: &Metrics,
    clock: &Clock,
    random: &Random,
) -> anyhow::Result<Option<Export>> {
    if settings.traces.is_none() && settings.metrics.is_none() {
        return Ok(None);
    }
    let (parcels, waiting) = sync_channel(QUEUE);
    let (tell_done, done) = sync_channel(1);
    let dropped = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&dropped);
    metrics.tell(move || {
        let lost = number(count.load(Ordering::Relaxed));
        let help = "Spans that were lost, because the collector was slow or away.";
        vec![Family::counter("gatehouse_spans_dropped_total", help, vec![Sample::plain(lost)])]
    });
    let tracer = settings.traces.as_ref().map(|_| {
        let tracer =
            Tracer::new(settings.sampler, parcels.clone(), Arc::clone(&dropped), clock.clone(), random);
        Arc::new(tracer)
    });
    let post =
        Post { settings, begun: metrics.begun(), dropped, batch: Vec::new(), trouble: Trouble::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("otlp".into()).spawn(move || {
        // The client belongs to this thread's runtime, and to no other.
        match runtime.block_on(async { Outgoing::to_known() }) {
            Ok(outgoing) => post.work(&runtime, &outgoing, &waiting),
            Err(error) => tracing::error!(%error, "nothing is sent to the collector"),
        }
        drop(tell_done);
    })?;
    let exporter = Arc::new(Exporter { parcels, done: std::sync::Mutex::new(done) });
    Ok(Some(Export { exporter, tracer }))
}

impl Exporter {
    /// Hands measurements over; they are lost where there is no room, and the next ones tell the same.
    pub fn send(&self, families: Vec<Family>, now: Timestamp) {
        if self.parcels.try_send(Parcel::Measures(families, now)).is_err() {
            tracing::debug!("the collector is slow: measurements were left out");
        }
    }

    /// Sends what waits, for a moment at most. Blocks.
    pub fn close(&self) {
        if self.parcels.try_send(Parcel::End).is_ok()
            && let Ok(done) = self.done.lock()
        {
            done.recv_timeout(LAST_LETTERS).unwrap_or_default();
        }
    }
}

/// Whether the collector takes what it is sent.
#[derive(Default)]
struct Trouble {
    /// When it is to be asked again, and after which pause.
    rest: Option<(Instant, Duration)>,
}

/// What became of a letter.
enum Fate {
    Delivered,
    /// It may be sent again.
    Later(String),
    /// It is never going to be taken.
    Refused(StatusCode),
}

struct Post {
    settings: OtlpSettings,
    begun: Timestamp,
    dropped: Arc<AtomicU64>,
    batch: Vec<Ended>,
    trouble: Trouble,
}

impl Post {
    fn work(mut self, runtime: &tokio::runtime::Runtime, outgoing: &Outgoing, waiting: &Receiver<Parcel>) {
        let mut due: Option<Instant> = None;
        loop {
            let wait = due.map_or(LONGEST_PAUSE, |due| due.saturating_duration_since(Instant::now()));
            match waiting.recv_timeout(wait) {
                Ok(Parcel::Span(span)) => {
                    self.batch.push(*span);
                    due.get_or_insert_with(|| Instant::now() + self.settings.delay);
                }
                Ok(Parcel::Measures(families, now)) => {
                    runtime.block_on(self.send_measures(outgoing, &families, now));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Parcel::End) | Err(RecvTimeoutError::Disconnected) => {
                    return runtime.block_on(self.send_spans(outgoing));
                }
            }
            let is_due = due.is_some_and(|due| due <= Instant::now());
            if (is_due || self.batch.len() >= TOGETHER) && self.trouble.is_over() {
                runtime.block_on(self.send_spans(outgoing));
            }
            // While the collector is away, the newest are dropped at the queue, and these stay.
            while self.batch.len() >= QUEUE && !self.trouble.is_over() {
                thread::sleep(Duration::from_millis(100));
            }
            due = match (self.batch.is_empty(), &self.trouble.rest) {
                (true, _) => None,
                (false, Some((until, _))) => Some(*until),
                (false, None) => due.filter(|due| *due > Instant::now()).or(Some(Instant::now())),
            };
        }
    }

    async fn send_spans(&mut self, outgoing: &Outgoing) {
        let Some(to) = self.settings.traces.clone() else { return self.batch.clear() };
        while !self.batch.is_empty() {
            let count = self.batch.len().min(TOGETHER);
            let letter = proto::spans(&self.settings.resource, &self.batch[..count]);
            let fate = self.deliver(outgoing, &to, letter).await;
            if let Fate::Refused(_) = fate {
                self.dropped.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
            }
            let is_later = matches!(fate, Fate::Later(_));
            self.trouble.note(fate, &to.url);
            if is_later {
                return;
            }
            self.batch.drain(..count);
        }
    }

    async fn send_measures(&mut self, outgoing: &Outgoing, families: &[Family], now: Timestamp) {
        let Some(to) = self.settings.metrics.clone() else { return };
        let nanos = |at: Timestamp| u64::try_from(at.millis()).unwrap_or(0).saturating_mul(1_000_000);
        let period = Period { begun: nanos(self.begun), now: nanos(now) };
        let letter = proto::measures(&self.settings.resource, families, period);
        let fate = self.deliver(outgoing, &to, letter).await;
        self.trouble.note(fate, &to.url);
    }

    async fn deliver(&self, outgoing: &Outgoing, to: &Destination, letter: Vec<u8>) -> Fate {
        let request = outgoing
            .request(Method::POST, to.url.clone())
            .headers(to.headers.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))
            .body(letter);
        let Ok(request) = request.build() else { return Fate::Refused(StatusCode::BAD_REQUEST) };
        let bounds = Bounds { time: self.settings.timeout, bytes: ANSWER };
        match outgoing.ask(request, bounds).await {
            Ok(answer) if answer.status.is_success() => Fate::Delivered,
            // Those that OTLP/HTTP names as passing.
            Ok(answer) if [429, 502, 503, 504].contains(&answer.status.as_u16()) => {
                Fate::Later(answer.status.to_string())
            }
            Ok(answer) => Fate::Refused(answer.status),
            Err(fault @ Unanswered::Unreachable) => Fate::Later(fault.to_string()),
            Err(_long) => Fate::Delivered,
        }
    }
}

impl Trouble {
    fn is_over(&self) -> bool {
        self.rest.is_none_or(|(until, _)| until <= Instant::now())
    }

    /// Says once that there is trouble, and once that there is none any more. Never more of the address than its host:
    /// the rest may hold a key.
    fn note(&mut self, fate: Fate, to: &Url) {
        let host = to.host_str().unwrap_or_default();
        match fate {
            Fate::Delivered => {
                if self.rest.take().is_some() {
                    tracing::info!(host, "the collector is back");
                }
            }
            Fate::Later(reason) => {
                let pause = self.rest.map(|(_, pause)| (pause * 2).min(LONGEST_PAUSE));
                if pause.is_none() {
                    tracing::warn!(host, reason, "the collector does not answer; requests don't wait for it");
                }
                let pause = pause.unwrap_or(Duration::from_millis(500));
                self.rest = Some((Instant::now() + pause, pause));
            }
            Fate::Refused(status) => {
                if self.rest.is_none() {
                    tracing::warn!(host, status = status.as_u16(), "the collector refuses what it is sent");
                }
                self.rest = Some((Instant::now(), Duration::from_millis(500)));
            }
        }
    }
}
