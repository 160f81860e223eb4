//! What stands before every handler and behind every answer.
//!
//! In this order: the request gets its id and its client's address, and is counted where requests are limited;
//! targets, lengths and codings that two readers might take differently are refused; the handler runs under a
//! deadline, unless a feature has the answer at hand, and a panic stays its own; whatever refused, ours or the
//! framework's, becomes a problem document (a small page where a person looks); the headers that protect the client are
//! added; one line goes to the log, one more is counted.

mod at_hand;
mod constant;
mod cors;
mod guard;
mod headers;
mod limited;
mod measured;
mod methods;
mod oauth;
mod path;
mod refusal;

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hyper::body::Body;
use ipnet::IpNet;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, PathPattern, Request, Response};

use super::early::Early;
use crate::pages::{Pages, Reader};
use crate::platform::problem::Problem;
use crate::platform::telemetry::spans::{Fact, Span, Tracer};
use crate::platform::web::{Errand, TraceId, TraceIds, TrustedProxies, Visit, VisitSettings, is_forwarded};
use crate::rate_limit::Meter;
use at_hand::AtHand;
use constant::Constant;
use cors::Cors;
pub(super) use headers::Protection;
use limited::Limited;
pub use limited::is_counted;
pub use measured::Measured;
pub use methods::Methods;
pub use oauth::OauthPlaces;
pub(super) use oauth::told;

/// Where the OpenFeature Remote Evaluation Protocol is spoken.
const OFREP: &str = "/ofrep";

/// What the edge must know.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// Where clients reach the server, without a slash at the end. `https` turns HSTS on.
    pub base_url: String,
    /// Path below which every error is a problem document, such as `/api`; empty for everywhere.
    pub api_prefix: String,
    /// What makes the pages that people see of refusals.
    pub pages: Pages,
    /// Origins whose scripts may read answers below the API's prefix, each as `scheme://host[:port]`.
    pub cors_origins: Vec<String>,
    /// Networks of proxies whose word about the client counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// Requests whose bodies may be larger than others'.
    pub large_bodies: Vec<LargeBodies>,
    /// From the request's head to the answer's head.
    pub request_timeout: Duration,
    /// Whether HSTS holds for subdomains too.
    pub hsts_include_subdomains: bool,
    /// Names of query parameters that may stand there more than once.
    pub repeatable: Vec<String>,
    /// Which methods the paths have.
    pub methods: Methods,
    /// Where every refusal has what libraries of OAuth look for.
    pub oauth_places: OauthPlaces,
}

/// Requests whose bodies may be larger than others', and may take their time.
#[derive(Clone, Debug)]
pub struct LargeBodies {
    /// What their paths begin with.
    pub begins: String,
    /// What their paths end with, but for a slash.
    pub ends: &'static str,
    /// Largest body, in bytes.
    pub most: usize,
    /// From the request's head to the answer's head.
    pub timeout: Duration,
}

/// An endpoint with the edge around it; it never answers with an error.
#[derive(Debug)]
pub struct Edge<E> {
    inner: E,
    settings: EdgeSettings,
    visits: Arc<VisitSettings>,
    large_visits: Vec<(LargeBodies, Arc<VisitSettings>)>,
    proxies: TrustedProxies,
    cors: Cors,
    protection: Protection,
    constant: Option<Constant>,
    at_hand: Option<AtHand>,
    limited: Option<Limited>,
    trace_ids: Arc<TraceIds>,
    measured: Arc<Measured>,
    tracer: Option<Arc<Tracer>>,
    warned_of_proxy: AtomicBool,
}

/// What an answer needs to know of its request, which the handler has consumed.
#[derive(Debug)]
struct Asked {
    begun: Instant,
    method: Method,
    trace_id: TraceId,
    ip: std::net::IpAddr,
    origin: Option<HeaderValue>,
    in_api: bool,
    /// Whether a library of OAuth may be asking.
    by_oauth: bool,
    /// Who looks, where a person does.
    reader: Option<Reader>,
}

impl<E: Endpoint> Edge<E> {
    /// Puts the edge around `inner`.
    pub fn new(inner: E, settings: EdgeSettings, trace_ids: Arc<TraceIds>) -> Self {
        let visits =
            |max_body_bytes| Arc::new(VisitSettings { max_body_bytes, base_url: settings.base_url.clone() });
        let usual = settings.max_body_bytes;
        let large = settings.large_bodies.iter();
        Self {
            inner,
            visits: visits(usual),
            large_visits: large.map(|large| (large.clone(), visits(usual.max(large.most)))).collect(),
            proxies: TrustedProxies::new(settings.trusted_proxies.clone()),
            cors: Cors::new(&settings.cors_origins),
            protection: Protection::new(&settings.base_url, settings.hsts_include_subdomains),
            constant: None,
            at_hand: None,
            limited: None,
            trace_ids,
            measured: Arc::new(Measured::new(&serde_json::Value::Null)),
            tracer: None,
            warned_of_proxy: AtomicBool::new(false),
            settings,
        }
    }

    /// Lets the edge itself answer GET of one path, always with this text.
    #[must_use]
    pub fn with_constant(mut self, path: &'static str, text: &'static str) -> Self {
        self.constant = Some(Constant::new(path, text, &self.protection));
        self
    }

    /// Lets somebody answer GET of paths that end so before the router, where `find` has what the handler would answer.
    /// It is not asked about requests with a query or a body.
    #[must_use]
    pub fn with_at_hand(
        mut self,
        ends: &'static str,
        find: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        self.at_hand = Some(AtHand::new(ends, Box::new(find)));
        self
    }

    /// Lets each client make only so many requests.
    #[must_use]
    pub fn with_limit(mut self, requests: Option<Arc<Meter>>) -> Self {
        self.limited = requests.map(Limited);
        self
    }

    /// Lets requests be counted there.
    #[must_use]
    pub fn with_measured(mut self, measured: Arc<Measured>) -> Self {
        self.measured = measured;
        self
    }

    /// Lets traces of requests be recorded.
    #[must_use]
    pub fn with_tracer(mut self, tracer: Option<Arc<Tracer>>) -> Self {
        self.tracer = tracer;
        self
    }

    /// Who answers where a request does not come this far, in the same words as here.
    pub(super) fn early(&self) -> Early {
        Early {
            trace_ids: Arc::clone(&self.trace_ids),
            protection: self.protection.clone(),
            oauth_places: self.settings.oauth_places.clone(),
        }
    }

    fn ask(&self, request: &Request) -> Asked {
        let headers = request.headers();
        let path = request.uri().path();
        // OFREP has its place at the root, and its clients are programs, too.
        let in_api = is_below(path, &self.settings.api_prefix) || is_below(path, OFREP);
        let wants_page = !in_api && !accepts_json(request) && !is_for_programs(path);
        Asked {
            begun: Instant::now(),
            method: request.method().clone(),
            trace_id: self.trace_ids.of(headers),
            ip: self.client_of(request),
            origin: if in_api { headers.get(header::ORIGIN).cloned() } else { None },
            in_api,
            by_oauth: self.settings.oauth_places.hold(request.method(), path),
            reader: wants_page.then(|| Reader::of(request, None)),
        }
    }

    fn client_of(&self, request: &Request) -> std::net::IpAddr {
        let client = self.proxies.client_of(request);
        if !self.warned_of_proxy.load(Ordering::Relaxed) && is_forwarded(request.headers()) {
            self.warn_of_proxy(request);
        }
        client
    }

    /// A proxy that nobody trusts makes all clients look like one: say so, once.
    fn warn_of_proxy(&self, request: &Request) {
        let peer = request.remote_addr().as_socket_addr().map(|peer| peer.ip().to_canonical());
        let private = |ip: std::net::IpAddr| match ip {
            std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
            std::net::IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
        };
        let Some(peer) = peer.filter(|ip| private(*ip) && !self.proxies.trusts(*ip)) else { return };
        if !self.warned_of_proxy.swap(true, Ordering::Relaxed) {
            tracing::warn!(%peer, "a proxy forwards requests but is not in TRUSTED_PROXIES: its clients count as one");
        }
    }

    /// What holds for requests to this path, and how long they may take.
    fn visits_to(&self, path: &str) -> (&Arc<VisitSettings>, Duration) {
        let large = self.large_visits.iter().find(|(large, _)| large.is_at(path));
        let usual = (&self.visits, self.settings.request_timeout);
        large.map_or(usual, |(large, visits)| (visits, large.timeout))
    }

    /// The answer to a request that is counted, if requests are; `ready` is what somebody had at hand.
    async fn answer(&self, request: Request, ready: Option<Response>, asked: &Asked) -> Response {
        let limited = self.limited.as_ref().filter(|_| is_counted(request.uri().path()));
        let Some(limited) = limited else {
            return self.shape(self.respond(request, ready, asked).await, asked);
        };
        let counted = limited.count(asked.ip).await;
        let answer = match counted.standing().refusal() {
            Ok(()) => self.respond(request, ready, asked).await,
            Err(problem) => Err(problem.into()),
        };
        let mut response = self.shape(answer, asked);
        limited.settle(asked.ip, counted, &mut response).await;
        response
    }

    /// The answer at hand, or of the handler, or of those who would not let the request through.
    async fn respond(
        &self,
        mut request: Request,
        ready: Option<Response>,
        asked: &Asked,
    ) -> Result<Response, poem::Error> {
        if let Some(ready) = ready {
            return Ok(ready);
        }
        if let Some(answer) = self.cors.preflight(&request, asked) {
            return Ok(answer);
        }
        let (visits, timeout) = self.visits_to(request.uri().path());
        let visits = Arc::clone(visits);
        guard::admit(&mut request, &self.settings, visits.max_body_bytes)?;
        if asked.method == Method::HEAD {
            request.set_method(Method::GET);
            // There are parts for GET only (RFC 9110, 14.2).
            request.headers_mut().remove(header::RANGE);
        }
        request.extensions_mut().insert(Visit {
            trace_id: asked.trace_id.clone(),
            ip: asked.ip,
            settings: visits,
        });
        let handled = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        match tokio::time::timeout(timeout, handled).await {
            Ok(Ok(answer)) => answer.map(IntoResponse::into_response),
            // The panic hook of the log has said where and why.
            Ok(Err(_panic)) => Err(Problem::internal().into()),
            Err(_elapsed) => Err(refusal::too_slow().into()),
        }
    }

    /// Gives every refusal its body.
    fn shape(&self, answer: Result<Response, poem::Error>, asked: &Asked) -> Response {
        let (problem, pattern) = match answer {
            Ok(response) => match refusal::of_response(&response) {
                None => return response,
                Some(problem) => (problem, response.data::<PathPattern>().cloned()),
            },
            Err(error) => (refusal::of_error(&error), error.data::<PathPattern>().cloned()),
        };
        let problem = if asked.by_oauth { oauth::told(problem) } else { problem };
        let route = pattern.as_ref().map(|pattern| pattern.0.as_ref());
        let pages = &self.settings.pages;
        let mut response = match problem.status {
            StatusCode::METHOD_NOT_ALLOWED => self.settings.methods.answer(problem, route, asked, pages),
            _ => refusal::written(problem, asked, pages),
        };
        if let Some(pattern) = pattern {
            response.set_data(pattern);
        }
        response
    }

    fn finish(&self, response: &mut Response, asked: &Asked) {
        if asked.method == Method::HEAD {
            cut_body(response);
        }
        self.protection.add_to(response.headers_mut());
        self.sign(response, asked);
        let pattern = response.data::<PathPattern>().map(|pattern| pattern.0.as_ref());
        log(pattern.unwrap_or("-"), response, asked);
        self.measured.count(pattern, &asked.method, response.status(), asked.begun.elapsed());
    }

    /// Answers in a span of the request's own. It says nothing of what the client wrote.
    async fn answer_in_span(
        &self,
        request: Request,
        ready: Option<Response>,
        asked: &Asked,
        mut span: Span,
    ) -> Response {
        let errand = Errand { trace_id: asked.trace_id.clone(), parent: Some(span.as_parent()) };
        let response = errand.scope(self.answer(request, ready, asked)).await;
        let pattern = response.data::<PathPattern>();
        let route = pattern.and_then(|pattern| self.measured.label(pattern.0.as_ref()));
        let (method, status) = (measured::method_name(&asked.method), response.status());
        span.fact("http.request.method", Fact::Word(method));
        span.fact("http.response.status_code", Fact::Number(i64::from(status.as_u16())));
        if let Some(route) = route {
            span.rename(format!("{method} {route}"));
            span.fact("http.route", Fact::Text(route));
        }
        if status.is_server_error() {
            span.fail();
        }
        response
    }

    /// What depends on who asked, and on nothing else.
    fn sign(&self, response: &mut Response, asked: &Asked) {
        self.cors.add_to(response.headers_mut(), asked);
        response.headers_mut().insert(headers::X_TRACE_ID, asked.trace_id.header());
    }
}

impl<E: Endpoint> Endpoint for Edge<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let asked = self.ask(&request);
        let method = measured::method_name(&asked.method);
        tracing::debug!(method, trace_id = %asked.trace_id, ip = %asked.ip, "request begins");
        if let Some(constant) = self.constant.as_ref().filter(|constant| constant.answers(&request)) {
            let mut response = constant.answer();
            self.sign(&mut response, &asked);
            log(constant.path, &response, &asked);
            let status = response.status();
            self.measured.count(Some(constant.path), &asked.method, status, asked.begun.elapsed());
            return Ok(response);
        }
        let _running = self.measured.begin();
        let span = self.tracer.as_ref().and_then(|tracer| tracer.begin(request.headers(), &asked.trace_id));
        let ready = self.at_hand.as_ref().and_then(|at_hand| at_hand.answer(&request));
        // In a box: hyper moves the whole of what it waits for, and handlers make that some kilobytes.
        let mut response = match (span, ready) {
            (Some(span), ready) => Box::pin(self.answer_in_span(request, ready, &asked, span)).await,
            // Nobody counts, so there is nothing to wait for.
            (None, Some(ready)) if self.limited.is_none() => ready,
            (None, ready) => {
                Box::pin(asked.trace_id.clone().scope(self.answer(request, ready, &asked))).await
            }
        };
        self.finish(&mut response, &asked);
        Ok(response)
    }
}

impl LargeBodies {
    fn is_at(&self, path: &str) -> bool {
        path.starts_with(&self.begins) && path.trim_end_matches('/').ends_with(self.ends)
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the name says that no page is meant, whatever a browser would like better.
fn is_for_programs(path: &str) -> bool {
    let is_json = std::path::Path::new(path).extension().is_some_and(|extension| extension == "json");
    is_json || matches!(path.trim_end_matches('/'), "/machine" | "/metrics" | "/repository")
}

fn accepts_json(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("json"))
}

/// The answer to HEAD is that to GET, length and all, without its body (RFC 9110, 9.3.2).
fn cut_body(response: &mut Response) {
    let body = guard::BoxedBody::from(response.take_body());
    // These have no body for GET either, and 304 would tell the length of what it does not send (RFC 9110, 8.6).
    let is_bare = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let is_unsaid = !is_bare && !response.headers().contains_key(header::CONTENT_LENGTH);
    if let Some(length) = body.size_hint().exact().filter(|_| is_unsaid) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The one line of a request. Nothing the client wrote is in it but its id; probes stay below the usual level.
fn log(route: &str, response: &Response, asked: &Asked) {
    let (method, status) = (measured::method_name(&asked.method), response.status().as_u16());
    let duration_ms = || asked.begun.elapsed().as_micros() / 1000;
    let (trace_id, ip) = (&asked.trace_id, asked.ip);
    if matches!(route, "/ping" | "/healthcheck" | "/metrics") || route.starts_with("/health/") {
        tracing::debug!(method, route, status, duration_ms = duration_ms(), %trace_id, %ip, "request");
    } else {
        tracing::info!(method, route, status, duration_ms = duration_ms(), %trace_id, %ip, "request");
    }
}
