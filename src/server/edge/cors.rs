//! Which other origins' scripts may read the API (Fetch, 3.3): those on an exact list, and nobody by pattern.

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

use super::asked::Asked;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, If-Match, If-None-Match, X-CSRF-Token, X-Request-Id, Traceparent",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Total-Count, Link, Location, ETag, X-Trace-Id, Retry-After, RateLimit, RateLimit-Policy, secret",
);
const YES: HeaderValue = HeaderValue::from_static("true");
const TEN_MINUTES: HeaderValue = HeaderValue::from_static("600");
const ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// The list. Empty: no header of CORS is ever sent.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<HeaderValue>,
}

impl Cors {
    /// `null` and `*` are no origins, whoever lists them.
    pub(super) fn new(origins: &[String]) -> Self {
        let named = origins.iter().map(|origin| origin.trim_end_matches('/'));
        let named = named.filter(|origin| origin.contains("://") && !origin.contains('*'));
        Self { origins: named.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect() }
    }

    /// The answer to a preflight: what is allowed, or nothing.
    pub(super) fn preflight(&self, request: &Request, asked: &Asked) -> Option<Response> {
        let asks = asked.method == Method::OPTIONS
            && asked.origin.is_some()
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !asks {
            return None;
        }
        let mut response = Response::builder().status(StatusCode::NO_CONTENT).finish();
        if self.allows(asked).is_some() {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, TEN_MINUTES);
        }
        Some(response)
    }

    pub(super) fn add_to(&self, headers: &mut HeaderMap, asked: &Asked) {
        if self.origins.is_empty() || !asked.in_api {
            return;
        }
        headers.append(header::VARY, ORIGIN);
        if let Some(origin) = self.allows(asked) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, YES);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    fn allows(&self, asked: &Asked) -> Option<&HeaderValue> {
        let origin = asked.origin.as_ref()?;
        self.origins.iter().find(|allowed| *allowed == origin)
    }
}
