//! Answers to what never became a request: written straight to the socket, as problem documents all the same.

use poem::Response;
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::net::TcpStream;

use super::edge::Protection;
use crate::platform::problem::{MEDIA_TYPE, Problem};
use crate::platform::web::{TraceId, TraceIds};

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
    let mut answer = Response::builder().status(status).header("x-trace-id", trace_id.header()).body(body);
    describe(answer.headers_mut());
    answer
}

/// What is said beside the body: the same as beside any problem, but for how to come again (HSTS). An address is bound
/// before it is known where clients find it.
fn describe(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Protection::default().add_to(headers);
}

fn written(status: StatusCode, trace_ids: &TraceIds) -> String {
    let (trace_id, body) = refusal(status, trace_ids);
    let mut headers = HeaderMap::new();
    describe(&mut headers);
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
