//! The name of a request, by which a person finds it in the log, and what the edge learns about each request.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use poem::http::{HeaderMap, HeaderName, HeaderValue};
use poem::{FromRequest, Request, RequestBody};
use uuid::Uuid;

use crate::platform::clock::Clock;
use crate::platform::random::{Random, UniqueNumbers};
use crate::platform::secrets::digest;
use crate::platform::telemetry::spans::Parent;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    /// The request that the running task works for; the log and the spans read it.
    static CURRENT: Errand;
}

/// What a task works for: a request, and the span that its own spans are parts of where that is recorded.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The request.
    pub trace_id: TraceId,
    /// The span in whose course this happens.
    pub parent: Option<Parent>,
}

impl Errand {
    /// What the running task works for.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Asks about what the running task works for, without a copy of it.
    pub fn look<T>(ask: impl FnOnce(&Self) -> T) -> Option<T> {
        CURRENT.try_with(ask).ok()
    }

    /// Runs `work` as part of it: each log line carries the id, each span its parent.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }
}

/// The id of one request. Kept as a header value, because that is what each answer needs.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceId(HeaderValue);

impl TraceId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// An id that came from elsewhere, if it is one: 1–128 characters of `[A-Za-z0-9._-]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(is_plain);
        fits.then(|| HeaderValue::from_str(text).ok().map(Self)).flatten()
    }

    /// The id as the value of `X-Trace-Id`.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id of the request that the running task works for.
    #[must_use]
    pub fn current() -> Option<Self> {
        Errand::look(|errand| errand.trace_id.clone())
    }

    /// Runs `work` as part of this request: each of its log lines carries the id.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        Errand { trace_id: self, parent: None }.scope(work)
    }

    /// The id as W3C Trace Context writes one.
    #[must_use]
    pub fn w3c(&self) -> [u8; 16] {
        w3c_trace_id(self.as_str())
    }
}

/// The trace of a request as W3C Trace Context writes it (3.2.2.3), for spans, messages and other servers: a UUID, and
/// 32 hexadecimal digits, are one already; of anything else it is the first half of its SHA-256. Never all zero, which is
/// no trace.
#[must_use]
pub fn w3c_trace_id(id: &str) -> [u8; 16] {
    if let Some(id) = Uuid::try_parse(id).ok().filter(|id| !id.is_nil()) {
        return id.into_bytes();
    }
    let mut half = [0; 16];
    half.copy_from_slice(&digest(id.as_bytes())[..16]);
    half
}

/// What a `traceparent` says (W3C Trace Context, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: [u8; 16],
    /// The span in whose course the request was made.
    pub span: [u8; 8],
    /// Whether whoever made it records the trace.
    pub sampled: bool,
}

impl TraceParent {
    /// That of a request, if it has a valid one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let (trace, span, flags) = traceparent(headers)?;
        Some(Self {
            trace: u128::from_str_radix(trace, 16).ok()?.to_be_bytes(),
            span: u64::from_str_radix(span, 16).ok()?.to_be_bytes(),
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        })
    }

    /// That of an event: the trace of the request that caused it, or one of its own, and the event as the parent of whatever
    /// follows from it.
    #[must_use]
    pub fn of_event(trace_id: Option<&str>, event: Uuid) -> Self {
        let trace = trace_id.map_or_else(|| event.into_bytes(), w3c_trace_id);
        Self { trace, span: event.as_u64_pair().1.to_be_bytes(), sampled: true }
    }

    /// What a request to another server says for the request that the running task works for.
    #[must_use]
    pub fn to_others() -> Option<HeaderValue> {
        let here = Errand::look(|errand| {
            if let Some(parent) = &errand.parent {
                return parent.traceparent();
            }
            // Nobody records it: the request as a whole stands for its spans.
            let trace = errand.trace_id.w3c();
            let mut span = [0; 8];
            span.copy_from_slice(&trace[8..]);
            span[7] |= 1; // an id of zero is none
            Self { trace, span, sampled: false }
        });
        HeaderValue::from_str(&here?.to_string()).ok()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        write!(out, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl From<Uuid> for TraceId {
    fn from(id: Uuid) -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = id.hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none")))
    }
}

impl<'a> FromRequest<'a> for TraceId {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(request.data::<Visit>().map_or_else(|| Uuid::nil().into(), |visit| visit.trace_id.clone()))
    }
}

/// Gives each request its id.
#[derive(Debug)]
pub struct TraceIds {
    clock: Clock,
    /// They fill the random bits of a UUIDv7.
    numbers: UniqueNumbers,
}

impl TraceIds {
    /// Ids that start anywhere.
    #[must_use]
    pub fn new(clock: Clock, random: &Random) -> Self {
        Self { clock, numbers: UniqueNumbers::new(random) }
    }

    /// The request's own `X-Request-Id` if it is 1–128 characters of `[A-Za-z0-9._-]`, else the trace id of a valid
    /// `traceparent` (W3C Trace Context, 3.2), else a new UUIDv7.
    #[must_use]
    pub fn of(&self, headers: &HeaderMap) -> TraceId {
        requested(headers).or_else(|| traced(headers)).unwrap_or_else(|| self.fresh())
    }

    /// A new UUIDv7 (RFC 9562, 5.7). It must be unique, not secret, so no system call is spent on it.
    #[must_use]
    pub fn fresh(&self) -> TraceId {
        let bits = self.numbers.draw();
        let mut random = [0; 10];
        random[..2].copy_from_slice(&bits.to_be_bytes()[..2]);
        random[2..].copy_from_slice(&bits.to_be_bytes());
        let millis = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().into()
    }
}

fn requested(headers: &HeaderMap) -> Option<TraceId> {
    let value = headers.get(REQUEST_ID)?;
    let fits = (1..=128).contains(&value.len()) && value.as_bytes().iter().copied().all(is_plain);
    fits.then(|| TraceId(value.clone()))
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn traced(headers: &HeaderMap) -> Option<TraceId> {
    HeaderValue::from_str(traceparent(headers)?.0).ok().map(TraceId)
}

/// Trace, parent and flags of a valid `traceparent`.
fn traceparent(headers: &HeaderMap) -> Option<(&str, &str, &str)> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let more = parts.next().is_some();
    let well_formed = hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
    let forbidden = version == "ff" || (version == "00" && more);
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    if !well_formed || forbidden || zero(trace) || zero(parent) {
        return None;
    }
    Some((trace, parent, flags))
}

/// What the edge learns about a request before anyone else sees it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The request's id.
    pub trace_id: TraceId,
    /// Where it comes from: the peer, or who a trusted proxy says it is.
    pub ip: IpAddr,
    /// What holds for every request.
    pub settings: Arc<VisitSettings>,
}

/// What holds for every request.
#[derive(Debug)]
pub struct VisitSettings {
    /// Largest body, in bytes, that a handler reads into memory.
    pub max_body_bytes: usize,
    /// Scheme and host (and path, if any) under which clients reach the server, without a slash at the end.
    pub base_url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> TraceIds {
        TraceIds::new(Clock::System, &Random::System)
    }

    fn of(name: &'static str, value: &str) -> TraceId {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        ids().of(&headers)
    }

    #[test]
    fn a_proper_request_id_is_taken_over() {
        assert_eq!(of("x-request-id", "Ab-1._z").as_str(), "Ab-1._z");
        assert_eq!(of("x-request-id", &"a".repeat(128)).as_str(), "a".repeat(128));
    }

    #[test]
    fn an_improper_request_id_is_replaced() {
        for bad in ["", "a b", "a\"b", "a/b", "é", &"a".repeat(129), "{\"level\":\"info\"}"] {
            assert_eq!(
                Uuid::parse_str(of("x-request-id", bad).as_str()).unwrap().get_version_num(),
                7,
                "{bad}"
            );
        }
    }

    #[test]
    fn the_trace_of_a_valid_traceparent_is_taken_over() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")).as_str(), trace);
        assert_eq!(of("traceparent", &format!("01-{trace}-00f067aa0ba902b7-01-more")).as_str(), trace);
    }

    #[test]
    fn whoever_is_told_of_an_event_is_told_its_trace_in_the_same_words() {
        let of = |id: Option<&str>| TraceParent::of_event(id, Uuid::from_u128(1)).to_string();
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of(Some(trace)), format!("00-{trace}-0000000000000001-01"));
        assert_eq!(of(Some("4bf92f35-77b3-4da6-a3ce-929d0e0e4736")), of(Some(trace)));
        assert_eq!(of(Some("order-66")), "00-c57da5ef60a33ad14005b55fcc93877e-0000000000000001-01");
        assert_eq!(of(None), "00-00000000000000000000000000000001-0000000000000001-01");
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let zeros = "0".repeat(32);
        for bad in [
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{zeros}-00f067aa0ba902b7-01"),
        ] {
            assert_ne!(of("traceparent", &bad).as_str(), trace, "{bad}");
            assert_ne!(of("traceparent", &bad).as_str(), zeros, "{bad}");
        }
    }

    #[test]
    fn what_is_a_trace_already_stays_so_and_everything_else_becomes_one() {
        let uuid = "018f3c7e-9c1b-7cc2-9f54-8a1d2b3c4d5e";
        let bytes = Uuid::parse_str(uuid).unwrap().into_bytes();
        assert_eq!(w3c_trace_id(uuid), bytes);
        assert_eq!(w3c_trace_id(&uuid.replace('-', "")), bytes);
        assert_eq!(of("x-request-id", uuid).w3c(), bytes);
        // SHA-256 of "abc" (FIPS 180-2, B.1) begins so.
        assert_eq!(w3c_trace_id("abc"), 0xba78_16bf_8f01_cfea_4141_40de_5dae_2223_u128.to_be_bytes());
        assert_ne!(w3c_trace_id(&"0".repeat(32)), [0; 16]);
    }

    #[tokio::test]
    async fn other_servers_are_told_the_trace_of_the_request() {
        assert_eq!(TraceParent::to_others(), None);
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let id = of("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
        let told = id.scope(async { TraceParent::to_others() }).await.unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, told);
        assert_eq!(TraceIds::of(&ids(), &headers).as_str(), trace);
        let told = TraceParent::of(&headers).unwrap();
        assert!(!told.sampled && told.span != [0; 8]);
    }

    #[test]
    fn fresh_ids_are_version_7_and_all_different() {
        let ids = ids();
        let made: std::collections::HashSet<String> =
            (0..10_000).map(|_| ids.fresh().as_str().to_owned()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(made.iter().all(|id| Uuid::parse_str(id).unwrap().get_version_num() == 7));
    }

    #[tokio::test]
    async fn the_current_id_is_known_inside_its_scope_only() {
        let id = ids().fresh();
        let seen = id.clone().scope(async { TraceId::current() }).await;
        assert_eq!(seen, Some(id));
        assert_eq!(TraceId::current(), None);
    }
}
