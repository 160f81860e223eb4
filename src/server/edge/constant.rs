//! An answer that never changes: whether the process lives is asked often, by those who only look at the clock.

use poem::http::{HeaderMap, HeaderValue, header};
use poem::{Body, Request, Response};

use super::guard;
use super::headers::{Protection, X_TRACE_ID};
use super::noticed::Noticed;

/// The text of one path, with its headers.
#[derive(Debug)]
pub(super) struct Constant {
    pub(super) path: &'static str,
    text: &'static str,
    headers: HeaderMap,
}

impl Constant {
    pub(super) fn new(path: &'static str, text: &'static str, protection: &Protection) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        protection.add_to(&mut headers);
        // Each answer has its own in this place: a copy of the map would have to grow for one more.
        headers.insert(X_TRACE_ID, HeaderValue::from_static("none"));
        Self { path, text, headers }
    }

    /// Whether it answers this request. One with a query, a body or anything wrong about it goes the usual way.
    pub(super) fn answers(&self, request: &Request, noticed: Noticed) -> bool {
        request.uri().path() == self.path && guard::asks_plainly(request, noticed)
    }

    pub(super) fn answer(&self) -> Response {
        let mut response = Response::default();
        *response.headers_mut() = self.headers.clone();
        response.set_body(Body::from_bytes(bytes::Bytes::from_static(self.text.as_bytes())));
        response
    }
}
