//! Every refusal, whoever made it, as a problem document or, where a person looks, a page.

use poem::Response;
use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem::http::{StatusCode, header};
use poem_openapi::error::{
    AuthorizationError, ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError,
};

use super::asked::Asked;
use crate::pages::Pages;
use crate::platform::problem::{FieldError, MEDIA_TYPE, Problem};
use crate::platform::web::{bad_request, broken_off, too_large, unsupported};

/// 404.
pub(super) fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
}

/// 503 after the request's deadline.
pub(super) fn too_slow() -> Problem {
    Problem { detail: "The request took too long.".into(), ..Problem::unavailable(2) }
}

/// What an error that bubbled up means to the client.
pub(super) fn of_error(error: &poem::Error) -> Problem {
    if let Some(problem) = error.data::<Problem>() {
        return problem.clone();
    }
    if let Some(wrong) = error.downcast_ref::<ParseParamError>() {
        return Problem::invalid(vec![FieldError::new(wrong.name, rule_of(&wrong.reason))]);
    }
    if error.is::<NotFoundError>()
        || error.is::<ParsePathError>()
        || error.is::<poem::error::ParsePathError>()
    {
        return not_found();
    }
    if error.is::<ContentTypeError>() {
        return unsupported("The body is of a kind that is not taken here.");
    }
    if error.is::<ParseRequestPayloadError>() {
        return bad_request("The body can't be read.");
    }
    if error.is::<AuthorizationError>() {
        return of_status(StatusCode::UNAUTHORIZED);
    }
    if error.is::<MethodNotAllowedError>() {
        return of_status(StatusCode::METHOD_NOT_ALLOWED);
    }
    match error.downcast_ref() {
        Some(ReadBodyError::PayloadTooLarge) => return too_large(),
        Some(ReadBodyError::Io(broken)) => return broken_off(broken),
        Some(ReadBodyError::Utf8(_)) => return bad_request("The body is not UTF-8."),
        _ => {}
    }
    if error.status().is_server_error() {
        tracing::error!(%error, "a handler failed");
    }
    of_status(error.status())
}

/// The rule that a parameter breaks. poem-openapi's text may show the value, except for its validators.
fn rule_of(reason: &str) -> String {
    match reason.strip_prefix("verification failed. ") {
        Some(rule) => format!("must keep {rule}"),
        None if reason.ends_with("expects an input value.") => "is required".to_owned(),
        None => "is not as it must be".to_owned(),
    }
}

/// The problem that an answer carries, or means by a bare status.
pub(super) fn of_response(response: &Response) -> Option<Problem> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    if let Some(problem) = response.data::<Problem>() {
        return Some(problem.clone());
    }
    let bare = response.content_type().is_none_or(|kind| kind.starts_with("text/plain"));
    bare.then(|| of_status(status))
}

/// What a bare status says.
fn of_status(status: StatusCode) -> Problem {
    match status {
        StatusCode::BAD_REQUEST => bad_request("The request can't be read."),
        StatusCode::UNAUTHORIZED => Problem::new(status, "token_invalid", "You are not signed in."),
        StatusCode::FORBIDDEN => Problem::new(status, "forbidden", "You may not do this."),
        StatusCode::NOT_FOUND => not_found(),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method_not_allowed", "This method is not served here.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => unsupported("The body is of a kind that is not taken here."),
        StatusCode::UNPROCESSABLE_ENTITY => Problem::invalid(Vec::new()),
        StatusCode::TOO_MANY_REQUESTS => {
            Problem::new(status, "rate_limited", "Too many requests. Please wait.")
        }
        StatusCode::SERVICE_UNAVAILABLE => Problem::unavailable(2),
        status if status.is_server_error() => Problem::internal(),
        status => Problem::new(status, "refused", "The request was refused."),
    }
}

/// The answer of a refusal.
pub(super) fn written(problem: Problem, asked: &Asked, pages: &Pages) -> Response {
    let trace_id = asked.trace_id.as_str();
    let mut response = match &asked.reader {
        Some(reader) => pages.read_by(reader.clone()).problem(&problem, trace_id),
        None => Response::builder()
            .status(problem.status)
            .header(header::CONTENT_TYPE, MEDIA_TYPE)
            .body(problem.body(trace_id).to_string()),
    };
    for (name, value) in problem.headers {
        response.headers_mut().append(name, value);
    }
    response
}
