//! What a refusal looks like on the wire: RFC 9457 problem documents, and the tables that make them.
//!
//! A feature writes one table per act with [`refusals!`](crate::refusals): status, code, words. The table yields
//! the enum that the act returns, the body that the client sees and the entry in the OpenAPI document.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;

use super::causes::told;

/// The media type of every error (RFC 9457, 3).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One field of a request that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Object)]
pub struct FieldError {
    /// Name of the field, with dots and indexes for nested ones.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl FieldError {
    /// What is wrong with which field.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// What an error body holds (RFC 9457 with the members `code`, `trace_id` and `errors`).
#[derive(Clone, Debug, Object)]
#[oai(rename = "Problem")]
pub struct ProblemBody {
    /// A URI that names the kind of problem; `about:blank` when the status says it all.
    #[oai(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, for a person.
    pub detail: String,
    /// What went wrong, for a program: stable snake_case.
    pub code: String,
    /// The request's trace id: name it when you ask for help.
    pub trace_id: String,
    /// What is wrong with which field; on validation only.
    #[oai(skip_serializing_if_is_none)]
    pub errors: Option<Vec<FieldError>>,
}

/// A refusal on its way to the client. The server's edge adds the trace id when it writes the body.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Stable snake_case code.
    pub code: &'static str,
    /// What went wrong, for a person. Never an echo of input.
    pub detail: Cow<'static, str>,
    /// Wrong fields; empty except on validation.
    pub errors: Vec<FieldError>,
    /// More members of the body, such as `error` for the endpoints of RFC 6749.
    pub members: serde_json::Map<String, serde_json::Value>,
    /// Headers that go with it, such as `Retry-After`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of this status, code and words. 401 carries the challenge of RFC 6750, 3.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            members: serde_json::Map::new(),
            headers: Vec::new(),
        };
        if status == StatusCode::UNAUTHORIZED {
            problem.headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        problem
    }

    /// 422 with the fields that are wrong.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let words = "Some fields are not as they must be.";
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", words) }
    }

    /// 500: something broke. What and why stands in the log under the trace id, never here.
    #[must_use]
    pub fn internal() -> Self {
        let words = "Something went wrong on our side. The trace id leads to the cause in the log.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", words)
    }

    /// 503: a needed part is down or too busy; the client may come back after `seconds`.
    #[must_use]
    pub fn unavailable(seconds: u64) -> Self {
        let words = "The server can't do this right now. Please try again in a moment.";
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", words);
        RetryAfter(seconds).add_to(&mut problem);
        problem
    }

    /// The same with a header replaced or added.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(present, _)| *present != name);
        self.headers.push((name, value));
        self
    }

    /// The same with the members of an OAuth error (RFC 6749, 5.2) beside our own. Where it is the client that is not
    /// known, the challenge names the scheme by which clients say who they are.
    #[must_use]
    pub fn with_oauth_error(mut self, error: &str) -> Self {
        if error == "invalid_client" {
            let challenge = HeaderValue::from_static("Basic realm=\"services\", charset=\"UTF-8\", Bearer");
            self = self.with_header(header::WWW_AUTHENTICATE, challenge);
        }
        self.members.insert("error".to_owned(), error.into());
        self.members.insert("error_description".to_owned(), self.detail.clone().into());
        self
    }

    /// The body as JSON, with the trace id of the request.
    #[must_use]
    pub fn body(&self, trace_id: &str) -> serde_json::Value {
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "trace_id": trace_id,
        });
        if !self.errors.is_empty() {
            body["errors"] = serde_json::json!(self.errors);
        }
        for (name, value) in &self.members {
            body[name.as_str()] = value.clone();
        }
        body
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

/// The bare answer carries the [`Problem`] as response data; `server::edge` writes the body from it, because only
/// the edge knows the trace id.
impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        // poem drops the data of a response that becomes an error, so the error carries the problem itself.
        let mut error = poem::Error::from_status(problem.status);
        error.set_data(problem);
        error
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status).finish();
        response.extensions_mut().insert(self);
        response
    }
}

/// What more a refusal tells, beyond its line in the table.
pub trait Details {
    /// The body that it makes, if that is more than every problem has.
    #[must_use]
    fn body() -> Option<Body>
    where
        Self: Sized,
    {
        None
    }

    /// Adds it to the problem.
    fn add_to(&self, problem: &mut Problem);
}

/// Seconds after which trying again makes sense; becomes `Retry-After` (RFC 9110, 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub u64);

impl Details for RetryAfter {
    fn add_to(&self, problem: &mut Problem) {
        problem.headers.push((header::RETRY_AFTER, HeaderValue::from(self.0.max(1))));
    }
}

impl Details for Vec<FieldError> {
    fn add_to(&self, problem: &mut Problem) {
        problem.errors.clone_from(self);
    }
}

/// Words that are known only when it happens, such as the reason of a ban.
impl Details for String {
    fn add_to(&self, problem: &mut Problem) {
        problem.detail = Cow::Owned(self.clone());
    }
}

/// A refusal that somebody else has worded: it is told as it is.
impl Details for Problem {
    fn add_to(&self, problem: &mut Problem) {
        problem.clone_from(self);
    }
}

/// A body of a problem that has a schema of its own.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    schema: fn() -> MetaSchemaRef,
    register: fn(&mut Registry),
}

impl Body {
    /// The body that looks so.
    #[must_use]
    pub fn of<T: Type>() -> Self {
        Self { schema: T::schema_ref, register: T::register }
    }
}

/// One line of a refusal table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The HTTP status.
    pub status: u16,
    /// Stable snake_case code.
    pub code: &'static str,
    /// What it means, for a person.
    pub words: &'static str,
    /// The body, if it has more than every problem.
    pub body: Option<Body>,
}

/// Expected, typed, documented reasons not to do what was asked. Made by [`refusals!`](crate::refusals).
pub trait Refusal: fmt::Debug + Send + Sync + 'static {
    /// Every refusal of the act.
    fn table() -> Vec<Entry>;

    /// The problem that the client sees.
    fn problem(&self) -> Problem;
}

/// The table of an act that nobody is refused: it can only break.
impl Refusal for Infallible {
    fn table() -> Vec<Entry> {
        Vec::new()
    }

    fn problem(&self) -> Problem {
        match *self {}
    }
}

/// Why an act did not happen: it was refused, or something broke.
#[derive(Debug)]
pub enum Failure<R> {
    /// Expected; the client learns why.
    Refused(R),
    /// Unexpected; logged once with its chain, hidden from the client.
    Broken(Breakage),
}

/// Why a request that was let in is not carried out: its sender was sent away meanwhile, as a new one of theirs would be.
/// It may come to any act, so it stands in no table: it comes as a [`Breakage`], and is answered as it is.
#[derive(Debug, thiserror::Error)]
#[error("its sender was sent away meanwhile")]
pub struct SentAway(pub Problem);

/// Something that should not happen did.
#[derive(Debug)]
pub struct Breakage(anyhow::Error);

impl Breakage {
    /// The answer: 503 where waiting helps (the database is away or full), else 500. Logs the chain, once. Who was
    /// [`SentAway`] is told so.
    #[must_use]
    pub fn problem(&self) -> Problem {
        if let Some(SentAway(problem)) = self.0.downcast_ref() {
            return problem.clone();
        }
        self.log();
        if self.is_passing() { Problem::unavailable(2) } else { Problem::internal() }
    }

    /// Logs the chain, where nobody waits for an answer. Who was [`SentAway`] broke nothing.
    pub fn log(&self) {
        if self.0.is::<SentAway>() {
            return;
        }
        let error = told(&self.0);
        if self.is_passing() {
            tracing::warn!(error, "a needed part is not available");
        } else {
            tracing::error!(error, "request failed");
        }
    }

    /// What broke, for an operator who is told it rather than reads it in the log.
    #[must_use]
    pub fn into_cause(self) -> anyhow::Error {
        self.0
    }

    /// Whether waiting may cure it.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.0.chain().any(|cause| cause.downcast_ref::<sea_orm::DbErr>().is_some_and(super::db::is_passing))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Breakage {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl<R: Refusal> From<R> for Failure<R> {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal)
    }
}

impl<R> From<sea_orm::DbErr> for Failure<R> {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Broken(error.into())
    }
}

impl<R> From<anyhow::Error> for Failure<R> {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(Breakage(error))
    }
}

impl<R> From<Breakage> for Failure<R> {
    fn from(breakage: Breakage) -> Self {
        Self::Broken(breakage)
    }
}

impl<R: Refusal> Failure<R> {
    /// The problem that the client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(refusal) => refusal.problem(),
            Self::Broken(breakage) => breakage.problem(),
        }
    }

    /// The same failure under the table of a larger act.
    #[must_use]
    pub fn within<S: From<R>>(self) -> Failure<S> {
        match self {
            Self::Refused(refusal) => Failure::Refused(refusal.into()),
            Self::Broken(breakage) => Failure::Broken(breakage),
        }
    }
}

impl<R: Refusal> From<Failure<R>> for poem::Error {
    fn from(failure: Failure<R>) -> Self {
        failure.problem().into()
    }
}

impl<R: Refusal> ApiResponse for Failure<R> {
    fn meta() -> MetaResponses {
        document(&R::table())
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
        R::table().into_iter().filter_map(|entry| entry.body).for_each(|body| (body.register)(registry));
    }
}

/// The OpenAPI entries of a table: one per status, its codes listed.
fn document(table: &[Entry]) -> MetaResponses {
    let mut statuses: Vec<u16> = table.iter().map(|entry| entry.status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let responses = statuses.into_iter().map(|status| {
        let mut lines: Vec<String> = table
            .iter()
            .filter(|entry| entry.status == status)
            .map(|entry| format!("`{}`: {}", entry.code, entry.words))
            .collect();
        lines.dedup(); // an act within this one may be refused in the same words
        let mut response = meta_response(status, lines.join("\n\n"));
        let of_status = table.iter().filter(|entry| entry.status == status);
        let bodies: Vec<_> = of_status.filter_map(|entry| entry.body).map(|body| (body.schema)()).collect();
        if !bodies.is_empty() {
            let schema = problem_or(bodies);
            response.content.iter_mut().for_each(|content| content.schema = schema.clone());
        }
        response
    });
    MetaResponses { responses: responses.collect() }
}

/// The OpenAPI entry of a problem with this status.
#[must_use]
pub fn meta_response(status: u16, description: String) -> MetaResponse {
    MetaResponse {
        // poem-openapi wants a static text; the document is built once, so this is a bounded leak.
        description: Box::leak(description.into_boxed_str()),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: MEDIA_TYPE, schema: problem_schema() }],
        headers: Vec::new(),
    }
}

/// One of these bodies, or what every problem has.
fn problem_or(mut bodies: Vec<MetaSchemaRef>) -> MetaSchemaRef {
    bodies.push(problem_schema());
    MetaSchemaRef::Inline(Box::new(MetaSchema { any_of: bodies, ..MetaSchema::ANY }))
}

fn problem_schema() -> MetaSchemaRef {
    ProblemBody::schema_ref()
}

/// Makes the refusals of one act from a table of `Variant(Details) = status "code" "words"`; behind it, where OAuth
/// clients come, `oauth "error"`. What an act within this one may be refused for is added to the table, and to the
/// variants, by `and Variant(ItsRefusal)`.
#[macro_export]
macro_rules! refusals {
    (@body) => { None };
    (@body $details:ty) => { <$details as $crate::platform::problem::Details>::body() };
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident {
            $( $variant:ident $( ($details:ty) )? = $status:literal $code:literal $words:literal
                $( oauth $oauth:literal )? ),+ $(,)?
        }
        $( and $inner:ident($refusal:ty) )*
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        $visibility enum $name {
            $( #[doc = $words] $variant $( ($details) )?, )+
            $( #[doc = "What an act within this one is refused for."] $inner($refusal), )*
        }

        $( impl From<$refusal> for $name {
            fn from(refusal: $refusal) -> Self {
                Self::$inner(refusal)
            }
        } )*

        impl $crate::platform::problem::Refusal for $name {
            fn table() -> Vec<$crate::platform::problem::Entry> {
                #[allow(unused_mut, reason = "only some tables contain others")]
                let mut table = vec![
                    $( $crate::platform::problem::Entry {
                        status: $status,
                        code: $code,
                        words: $words,
                        body: $crate::refusals!(@body $($details)?),
                    } ),+
                ];
                $( table.extend(<$refusal as $crate::platform::problem::Refusal>::table()); )*
                table
            }

            #[allow(unused_mut, irrefutable_let_patterns, reason = "only some variants have details; some tables one line")]
            fn problem(&self) -> $crate::platform::problem::Problem {
                match self {
                    $( Self::$variant { .. } => {
                        let status = poem::http::StatusCode::from_u16($status).unwrap_or_default();
                        let mut problem = $crate::platform::problem::Problem::new(status, $code, $words);
                        $( problem = problem.with_oauth_error($oauth); )?
                        $( if let Self::$variant(details) = self {
                            <$details as $crate::platform::problem::Details>::add_to(details, &mut problem);
                        } )?
                        problem
                    } )+
                    $( Self::$inner(refusal) => refusal.problem(), )*
                }
            }
        }
    };
}
