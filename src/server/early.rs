//! Answers to what never became a request: written straight to the socket, as problem documents all the same.

use std::sync::Arc;

use poem::Response;
use poem::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use tokio::net::TcpStream;

use super::edge::{OauthPlaces, Protection, told};
use crate::platform::problem::{MEDIA_TYPE, Problem};
use crate::platform::web::{TraceId, TraceIds};

/// What these answers share with those of the edge, which gives it: neither can say what the other leaves out.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) trace_ids: Arc<TraceIds>,
    pub(super) protection: Protection,
    pub(super) oauth_places: OauthPlaces,
}

impl Early {
    /// Writes the answer. The socket has room for it: nothing else was written for this request. `by_oauth`: a library of
    /// OAuth may be asking.
    pub(super) fn answer(&self, socket: &TcpStream, status: StatusCode, by_oauth: bool) {
        let text = self.written(status, by_oauth);
        if let Err(error) = socket.try_write(text.as_bytes()) {
            tracing::debug!(%error, status = status.as_u16(), "a refusal could not be written");
        }
    }

    /// The same as an answer of HTTP/2, whose connection goes on.
    pub(super) fn response<B>(&self, status: StatusCode, request: &Request<B>) -> Response {
        let by_oauth = self.oauth_places.hold(request.method(), request.uri().path());
        let (trace_id, body) = self.refusal(status, by_oauth);
        let mut answer =
            Response::builder().status(status).header("x-trace-id", trace_id.header()).body(body);
        self.describe(answer.headers_mut());
        answer
    }

    /// What is said beside the body: the same as beside any problem.
    fn describe(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        self.protection.add_to(headers);
    }

    fn written(&self, status: StatusCode, by_oauth: bool) -> String {
        let (trace_id, body) = self.refusal(status, by_oauth);
        let mut headers = HeaderMap::new();
        self.describe(&mut headers);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}\r\n", value.to_str().unwrap_or_default())
        };
        let headers = headers.iter().map(line).collect::<Vec<_>>().concat();
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\
             {headers}x-trace-id: {trace_id}\r\n\r\n{body}",
            body.len()
        )
    }

    /// The problem, as text; it is logged.
    fn refusal(&self, status: StatusCode, by_oauth: bool) -> (TraceId, String) {
        let trace_id = self.trace_ids.fresh();
        let (code, words) = match status {
            StatusCode::REQUEST_TIMEOUT => {
                ("request_timeout", "The request did not come to its end in time.")
            }
            StatusCode::URI_TOO_LONG => ("uri_too_long", "The address is longer than this server takes."),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                ("headers_too_large", "The header fields are larger than this server takes.")
            }
            _ => ("bad_request", "The request is not HTTP that can be read in one way only."),
        };
        let problem = Problem::new(status, code, words);
        let problem = if by_oauth { told(problem) } else { problem };
        let body = problem.body(trace_id.as_str()).to_string();
        tracing::info!(status = status.as_u16(), %trace_id, "refused before it was a request");
        (trace_id, body)
    }
}
