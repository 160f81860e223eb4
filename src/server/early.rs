//! Answers to what never became a request: written straight to the socket, as problem documents all the same.

use poem::http::StatusCode;
use tokio::net::TcpStream;

use crate::platform::problem::Problem;
use crate::platform::web::TraceIds;

/// Writes the answer. The socket has room for it: nothing else was written for this request.
pub(super) fn answer(socket: &TcpStream, status: StatusCode, trace_ids: &TraceIds) {
    let text = written(status, trace_ids);
    if let Err(error) = socket.try_write(text.as_bytes()) {
        tracing::debug!(%error, status = status.as_u16(), "a refusal could not be written");
    }
}

fn written(status: StatusCode, trace_ids: &TraceIds) -> String {
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
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         connection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n\
         referrer-policy: no-referrer\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\
         x-trace-id: {trace_id}\r\n\r\n{body}",
        body.len()
    )
}
