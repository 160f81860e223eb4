//! What must hold of a request before any handler sees it.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use poem::http::uri::PathAndQuery;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use poem::{Body, Request};

use super::EdgeSettings;
use super::noticed::Noticed;
use super::path::{self, Shape};
use crate::platform::problem::Problem;
use crate::platform::web::{QueryFault, bad_request, check_query, too_large, unsupported};

pub(super) type BoxedBody = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// Lets the request through, its path without a slash at the end and its body bounded.
pub(super) fn admit(
    request: &mut Request,
    settings: &EdgeSettings,
    noticed: Noticed,
    max_body_bytes: usize,
) -> Result<(), Problem> {
    check_method(request.method())?;
    check_target(request, settings)?;
    check_host(request)?;
    if noticed.tells_of_body && check_told_body(request.headers(), max_body_bytes)? == Length::Told {
        return Ok(());
    }
    bound_body(request, max_body_bytes);
    Ok(())
}

/// TRACE shows a client its own cookies, CONNECT is for proxies.
fn check_method(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::TRACE | Method::CONNECT => {
            let words = "This method is not served anywhere.";
            let all = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", words);
            Err(problem.with_header(header::ALLOW, all))
        }
        _ => Ok(()),
    }
}

fn check_target(request: &mut Request, settings: &EdgeSettings) -> Result<(), Problem> {
    match path::shape(request.uri().path()) {
        Shape::Plain => {}
        Shape::SlashAtEnd => *request.uri_mut() = without_slash(request.uri()),
        Shape::Ambiguous => return Err(super::refusal::not_found()),
    }
    match request.uri().query() {
        Some(query) => check_query(query, &settings.repeatable).map_err(QueryFault::problem),
        None => Ok(()),
    }
}

fn without_slash(uri: &Uri) -> Uri {
    let path = uri.path().trim_end_matches('/');
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::try_from(target).map_or_else(|_| uri.clone(), Uri::from)
}

/// Exactly one `Host` in HTTP/1.1 (RFC 9112, 3.2). What it says is believed by nobody.
fn check_host(request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let missing = first.is_none() && request.version() == Version::HTTP_11;
    if missing || second.is_some() { Err(bad_request("The request must name one host.")) } else { Ok(()) }
}

/// Whether it is GET without anything that a handler could read of it or refuse: query, body, a wrong host.
pub(super) fn asks_plainly(request: &Request, noticed: Noticed) -> bool {
    *request.method() == Method::GET
        && request.uri().query().is_none()
        && !noticed.tells_of_body
        && check_host(request).is_ok()
}

/// Whether a request says how long its body is.
#[derive(PartialEq, Eq)]
enum Length {
    Told,
    Untold,
}

fn check_told_body(headers: &HeaderMap, limit: usize) -> Result<Length, Problem> {
    if is_coded(headers) {
        return Err(unsupported("A body must not be compressed."));
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(Length::Untold) };
    let length = length.to_str().ok().and_then(|length| length.parse().ok()).unwrap_or(u64::MAX);
    if length > limit as u64 { Err(too_large()) } else { Ok(Length::Told) }
}

fn bound_body(request: &mut Request, limit: usize) {
    let body = BoxedBody::from(request.take_body());
    let bounded = if body.size_hint().upper().is_some() { body } else { bound(body, limit) };
    request.set_body(Body::from(bounded));
}

fn is_coded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn bound(body: BoxedBody, limit: usize) -> BoxedBody {
    Limited::new(body, limit).map_err(std::io::Error::other).boxed()
}
