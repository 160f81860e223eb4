//! Answers to what never became a request: written straight to the socket, as problem documents all the same.

use poem::Response;
use poem::http::StatusCode;
use tokio::net::TcpStream;

use crate::platform::problem::{MEDIA_TYPE, Problem};
use crate::platform::web::{TraceId, TraceIds};

/// What is said beside the body.
const HEADERS: [(&str, &str); 5] = [
    ("content-type", MEDIA_TYPE),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

/// Writes the answer. The socket has room for it: nothing else was written for this request.
pub(super) fn answer(socket: &TcpStream, status: StatusCode, trace_ids: &TraceIds) {
    let text = written(status, trace_ids);
    if let Err(error) = socket.try_write(text.as_bytes()) {
        tracing::debug!(%error, status = status.as_u16(), "a refusal could not be written");
    }
}

/// The same as an answer of HTTP/2, whose connection goes on.
pub(super) fn response(status: StatusCode, trace_ids: &TraceIds) -> Response {
    let (trace_id, body) = refusal(status, trace_ids);
    let answer = Response::builder().status(status).header("x-trace-id", trace_id.header());
    HEADERS.into_iter().fold(answer, |answer, (name, value)| answer.header(name, value)).body(body)
}

fn written(status: StatusCode, trace_ids: &TraceIds) -> String {
    let (trace_id, body) = refusal(status, trace_ids);
    let headers = HEADERS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\
         {headers}x-trace-id: {trace_id}\r\n\r\n{body}",
        body.len()
    )
}

/// The problem, as text; it is logged.
fn refusal(status: StatusCode, trace_ids: &TraceIds) -> (TraceId, String) {
    let trace_id = trace_ids.fresh();
    let (code, words) = match status {
        StatusCode::REQUEST_TIMEOUT => ("request_timeout", "The request did not come to its end in time."),
        StatusCode::URI_TOO_LONG => ("uri_too_long", "The address is longer than this server takes."),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("headers_too_large", "The header fields are larger than this server takes.")
        }
        _ => ("bad_request", "The request is not HTTP that can be read in one way only."),
    };
    let body = Problem::new(status, code, words).body(trace_id.as_str()).to_string();
    tracing::info!(status = status.as_u16(), %trace_id, "refused before it was a request");
    (trace_id, body)
}
