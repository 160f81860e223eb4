//! The way of a request through the edge, and of its answer back.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Body;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, PathPattern, Request, Response};

use super::asked::Asked;
use super::noticed::Noticed;
use super::{Edge, guard, headers, is_counted, measured, oauth, refusal};
use crate::platform::problem::Problem;
use crate::platform::telemetry::spans::{Fact, Span};
use crate::platform::web::{Errand, Visit, VisitSettings};

/// Where the log says that the lines of requests come from, whichever file writes them: who reads them looks for it.
const SOURCE: &str = "gatehouse::server::edge";

impl<E: Endpoint> Edge<E> {
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
        guard::admit(&mut request, &self.settings, asked.noticed, visits.max_body_bytes)?;
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
        let noticed = Noticed::of(request.headers());
        let constant = self.constant.as_ref().filter(|constant| constant.answers(&request, noticed));
        let asked = self.ask(&request, noticed, constant.is_none());
        let method = measured::method_name(&asked.method);
        tracing::debug!(target: SOURCE, method, trace_id = %asked.trace_id, ip = %asked.ip, "request begins");
        if let Some(constant) = constant {
            let mut response = constant.answer();
            self.sign(&mut response, &asked);
            log(constant.path, &response, &asked);
            let status = response.status();
            self.measured.count(Some(constant.path), &asked.method, status, asked.begun.elapsed());
            return Ok(response);
        }
        let _running = self.measured.begin();
        let span = self.tracer.as_ref().and_then(|tracer| tracer.begin(request.headers(), &asked.trace_id));
        let ready = self.at_hand.as_ref().and_then(|at_hand| at_hand.answer(&request, noticed));
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
        tracing::debug!(
            target: SOURCE,
            method, route, status, duration_ms = duration_ms(), %trace_id, %ip,
            "request"
        );
    } else {
        tracing::info!(
            target: SOURCE,
            method, route, status, duration_ms = duration_ms(), %trace_id, %ip,
            "request"
        );
    }
}
