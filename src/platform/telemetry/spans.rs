//! Spans: what a request spends its time on, recorded where a collector was named, and only then.
//!
//! A span is made directly, at the few places where time goes: the request, the statements and transactions of the database,
//! a password hash, a question to another server, a message to the broker. Whether a trace is recorded is decided once, at its first span; what
//! works for a request finds that in its [`Errand`], so nothing has to be handed through constructors, and where nothing is
//! recorded a span costs a look at a task-local. No span holds what a client wrote: no path, no query, no header.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use poem::http::HeaderMap;

use super::otlp::Parcel;
use super::sampling::Sampler;
use crate::platform::clock::Clock;
use crate::platform::random::{Random, UniqueNumbers};
use crate::platform::web::{Errand, TraceId, TraceParent};

/// What part a span has in its trace (the numbers are those of OTLP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Something done inside.
    Inside = 1,
    /// A request that is answered.
    Server = 2,
    /// A question to another server.
    Client = 3,
    /// A message that is sent.
    Producer = 4,
}

/// What a span says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A word from the program.
    Word(&'static str),
    /// A text that the program has made, such as the pattern of a route.
    Text(String),
    /// A number.
    Number(i64),
}

/// A span that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) trace: [u8; 16],
    pub(super) id: u64,
    /// The span that it is part of; 0 for none.
    pub(super) parent: u64,
    pub(super) name: String,
    pub(super) role: Role,
    /// Nanoseconds since the Unix epoch.
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) facts: Vec<(&'static str, Fact)>,
    pub(super) failed: bool,
}

/// Begins the traces of requests.
pub struct Tracer {
    sampler: Sampler,
    sink: Arc<Sink>,
    clock: Clock,
}

/// Where spans go when they end.
struct Sink {
    parcels: SyncSender<Parcel>,
    dropped: Arc<AtomicU64>,
    /// The ids of spans.
    numbers: UniqueNumbers,
}

/// A trace that is recorded.
struct Trace {
    id: [u8; 16],
    sink: Arc<Sink>,
    begun: u64,
    /// Within a trace, time is that of a clock that never goes back.
    started: Instant,
}

/// The span in whose course something happens.
#[derive(Clone)]
pub struct Parent {
    trace: Arc<Trace>,
    span: u64,
}

/// A span that has begun. It ends when it is dropped, so that one whose work is given up ends, too.
pub struct Span {
    trace: Arc<Trace>,
    id: u64,
    parent: u64,
    name: String,
    role: Role,
    begun: u64,
    facts: Vec<(&'static str, Fact)>,
    failed: bool,
}

impl Tracer {
    pub(super) fn new(
        sampler: Sampler,
        parcels: SyncSender<Parcel>,
        dropped: Arc<AtomicU64>,
        clock: Clock,
        random: &Random,
    ) -> Self {
        let numbers = UniqueNumbers::new(random);
        Self { sampler, sink: Arc::new(Sink { parcels, dropped, numbers }), clock }
    }

    /// The span of a request, if its trace is to be recorded: part of the caller's trace where `traceparent` says one, else the
    /// first of the request's own.
    #[must_use]
    pub fn begin(&self, headers: &HeaderMap, trace_id: &TraceId) -> Option<Span> {
        let above = TraceParent::of(headers);
        let id = above.map_or_else(|| trace_id.w3c(), |above| above.trace);
        if !self.sampler.records(&id, above.map(|above| above.sampled)) {
            return None;
        }
        let parent = above.map_or(0, |above| u64::from_be_bytes(above.span));
        let mut span = Span::new(self.trace(id), parent, "request", Role::Server);
        if above.is_some() {
            // By the id that logs and answers name, the trace is found as well.
            span.fact("gatehouse.trace_id", Fact::Text(trace_id.as_str().to_owned()));
        }
        Some(span)
    }

    /// A span of something that is done when the request of this trace is long over, if the trace is to be recorded.
    #[must_use]
    pub fn later(&self, trace: [u8; 16], name: &str, role: Role) -> Option<Span> {
        self.sampler.records(&trace, None).then(|| Span::new(self.trace(trace), 0, name, role))
    }

    fn trace(&self, id: [u8; 16]) -> Arc<Trace> {
        let millis = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        let begun = millis.saturating_mul(1_000_000);
        Arc::new(Trace { id, sink: Arc::clone(&self.sink), begun, started: Instant::now() })
    }
}

impl Sink {
    fn fresh_id(&self) -> u64 {
        self.numbers.draw().max(1)
    }

    fn take(&self, span: Ended) {
        if let Err(TrySendError::Full(_)) = self.parcels.try_send(Parcel::Span(Box::new(span))) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Trace {
    fn now(&self) -> u64 {
        self.begun + u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(0)
    }
}

impl Parent {
    /// What another server is told of where it stands.
    #[must_use]
    pub fn traceparent(&self) -> TraceParent {
        TraceParent { trace: self.trace.id, span: self.span.to_be_bytes(), sampled: true }
    }
}

impl Span {
    fn new(trace: Arc<Trace>, parent: u64, name: &str, role: Role) -> Self {
        let (id, begun) = (trace.sink.fresh_id(), trace.now());
        Self { trace, id, parent, name: name.to_owned(), role, begun, facts: Vec::new(), failed: false }
    }

    /// A part of the span that the running task works in, if that is recorded.
    #[must_use]
    pub fn part(name: &str, role: Role) -> Option<Self> {
        let parent = Errand::look(|errand| errand.parent.clone()).flatten()?;
        Some(Self::new(parent.trace, parent.span, name, role))
    }

    /// Renames it, as soon as it is known what it is.
    pub fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// Gives it an id that others have been told.
    pub const fn known_as(&mut self, id: u64) {
        self.id = id;
    }

    /// Adds a fact.
    pub fn fact(&mut self, name: &'static str, fact: Fact) {
        self.facts.push((name, fact));
    }

    /// Says that it did not succeed.
    pub const fn fail(&mut self) {
        self.failed = true;
    }

    /// As the parent of what happens in its course.
    #[must_use]
    pub fn as_parent(&self) -> Parent {
        Parent { trace: Arc::clone(&self.trace), span: self.id }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.trace.sink.take(Ended {
            trace: self.trace.id,
            id: self.id,
            parent: self.parent,
            name: std::mem::take(&mut self.name),
            role: self.role,
            begun: self.begun,
            ended: self.trace.now(),
            facts: std::mem::take(&mut self.facts),
            failed: self.failed,
        });
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.sampler, out)
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.traceparent(), out)
    }
}

/// Runs `work` in a span of its own, if anything is recorded; `Err` is a failure.
pub async fn within<T, E>(
    name: &'static str,
    facts: &[(&'static str, &'static str)],
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(mut span) = Span::part(name, Role::Inside) else { return work.await };
    for &(name, word) in facts {
        span.fact(name, Fact::Word(word));
    }
    let done = inside(&span, work).await;
    if done.is_err() {
        span.fail();
    }
    done
}

/// Runs `work` in the course of this span.
pub async fn inside<F: Future>(span: &Span, work: F) -> F::Output {
    match Errand::current() {
        Some(errand) => Errand { parent: Some(span.as_parent()), ..errand }.scope(work).await,
        None => work.await,
    }
}
