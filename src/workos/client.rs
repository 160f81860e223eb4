//! This server as a client of WorkOS: typed questions, tolerant reading of answers, bounded patience.
//!
//! What passes is tried again, four times at most and by chance a little later each time: no answer, 408, 429, 5xx, and
//! an answer that is none. What WorkOS refuses is told to whoever asked. Nothing of the key is in any of the errors.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::event::{FOLLOWED, Received};
use super::person::Person;
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::outgoing::{Answer, Bounds, Outgoing, Unanswered};
use crate::platform::random::Random;
use crate::platform::response_headers;
use crate::users::{Email, NewUser, PersonName};

/// How often a question is asked again.
const RETRIES: u32 = 4;
/// The longest pause before it is.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that WorkOS may ask for; with more, whoever asked decides.
const LONGEST_ASKED_FOR: Duration = Duration::from_mins(1);
/// A page of a hundred users with all the metadata that WorkOS allows is a tenth of this.
const LARGEST_ANSWER: usize = 32 << 20;
/// What is shown at most of WorkOS's words, in characters.
const LONGEST_WORDS: usize = 200;

/// What asks. Clones are the same.
#[derive(Clone)]
pub struct Client(Arc<ClientParts>);

/// What a client is made of.
pub(super) struct ClientParts {
    pub outgoing: Outgoing,
    pub base_url: Url,
    pub api_key: SecretString,
    /// How long one answer is waited for.
    pub patience: Duration,
    /// The pause before the first retry, at most.
    pub pause: Duration,
    pub clock: Clock,
    pub random: Random,
}

/// Why there is no answer that could be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// WorkOS said no.
    #[error("WorkOS refuses: {0}")]
    Refused(Said),
    /// It can't be reached, or not now.
    #[error("WorkOS is away: {words}")]
    Away {
        /// What was seen.
        words: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// Its answer goes on and on.
    #[error("the answer of WorkOS is too long")]
    TooLong,
}

/// What WorkOS says where it refuses: four shapes of bodies, every field optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The status.
    pub status: StatusCode,
    /// The code, or `error` of OAuth.
    pub code: Option<String>,
    /// For people.
    pub message: String,
    /// Codes within `errors`, and the fields that they are about.
    pub details: Vec<Detail>,
}

/// One of several things that WorkOS finds wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// What is wrong.
    pub code: String,
    /// With which field.
    pub field: Option<String>,
}

impl fmt::Display for Said {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.status.as_u16())?;
        if let Some(code) = &self.code {
            write!(out, " {code}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(out, ": {}", self.message) }
    }
}

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// What is on it.
    pub items: Vec<Received>,
    /// Behind what the next one begins; none: there is none now.
    pub after: Option<String>,
    /// What time it is there, if it says so.
    pub made_at: Option<Timestamp>,
}

/// Where a page of events begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Behind this event.
    Event(String),
    /// At this moment.
    Moment(Timestamp),
}

/// How much of a page is asked for.
pub(super) const PAGE: usize = 100;

struct Question<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Vec<(&'a str, String)>,
    body: Option<Value>,
    idempotency_key: Option<Uuid>,
}

impl Client {
    pub(super) fn new(parts: ClientParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The next events, oldest first. (The order is asked for; WorkOS keeps to it whatever one asks for.)
    pub async fn events(&self, from: &Start, limit: usize) -> Result<Page, Fault> {
        let start = match from {
            Start::Event(id) => ("after", id.clone()),
            Start::Moment(moment) => ("range_start", moment.rfc3339()),
        };
        let mut query = list_query(limit);
        query.extend([("events", FOLLOWED.to_owned()), start]);
        self.list(&["events"], query, Received::event).await
    }

    /// The next users.
    pub async fn users(&self, after: Option<&str>, limit: usize) -> Result<Page, Fault> {
        let mut query = list_query(limit);
        query.extend(after.map(|after| ("after", after.to_owned())));
        self.list(&["user_management", "users"], query, Received::listed).await
    }

    /// Makes somebody there. Asking again means the same act.
    pub async fn create(&self, id: Uuid, new: &NewUser) -> Result<Person, Fault> {
        let body = json!({
            "email": new.email.as_ref().map(Email::as_str),
            "email_verified": new.email_verified,
            "first_name": new.names.first.as_ref().map(PersonName::as_str),
            "last_name": new.names.last.as_ref().map(PersonName::as_str),
            "external_id": id.to_string(),
        });
        let key = self.0.random.uuid_v7(self.0.clock.now());
        let path = ["user_management", "users"];
        let question = Question {
            method: Method::POST,
            path: &path,
            query: Vec::new(),
            body: Some(body),
            idempotency_key: Some(key),
        };
        person(&self.ask(&question).await?.0)
    }

    /// Whoever has this id of ours.
    pub async fn by_external_id(&self, id: Uuid) -> Result<Option<Person>, Fault> {
        let id = id.to_string();
        let path = ["user_management", "users", "external_id", &id];
        match self.ask(&Question::get(&path, Vec::new())).await {
            Ok((answer, _)) => person(&answer).map(Some),
            Err(Fault::Refused(said)) if said.status == StatusCode::NOT_FOUND => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Forgets somebody there; whoever is not there is forgotten.
    pub async fn delete(&self, id: &str) -> Result<(), Fault> {
        let path = ["user_management", "users", id];
        let question = Question { method: Method::DELETE, ..Question::get(&path, Vec::new()) };
        match self.ask(&question).await {
            Ok(_) => Ok(()),
            Err(Fault::Refused(said)) if said.status == StatusCode::NOT_FOUND => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    async fn list(
        &self,
        path: &[&str],
        query: Vec<(&str, String)>,
        read: impl Fn(Value) -> Received,
    ) -> Result<Page, Fault> {
        let (mut answer, made_at) = self.ask(&Question::get(path, query)).await?;
        let after = answer["list_metadata"]["after"].as_str().map(str::to_owned);
        match answer["data"].take() {
            Value::Array(items) => Ok(Page { items: items.into_iter().map(read).collect(), after, made_at }),
            _ => Err(Fault::away("a list without data")),
        }
    }

    /// Asks until there is an answer that can be used, or no patience.
    async fn ask(&self, question: &Question<'_>) -> Result<(Value, Option<Timestamp>), Fault> {
        let mut retries = 0;
        loop {
            let answer = self.once(question).await.and_then(|answer| read(question, &answer));
            let (words, after) = match answer {
                Err(Fault::Away { words, after }) => (words, after),
                settled => return settled,
            };
            let is_too_long = after.is_some_and(|after| after > LONGEST_ASKED_FOR);
            if retries == RETRIES || is_too_long {
                return Err(Fault::Away { words, after });
            }
            tracing::debug!(words, retries, "WorkOS is asked again");
            tokio::time::sleep(after.unwrap_or_else(|| self.pause(retries))).await;
            retries += 1;
        }
    }

    /// Half by chance: many instances that were refused together don't come back together.
    fn pause(&self, retries: u32) -> Duration {
        let longest = self.0.pause.saturating_mul(1 << retries.min(16)).min(LONGEST_PAUSE);
        jittered(&self.0.random, longest)
    }

    async fn once(&self, question: &Question<'_>) -> Result<Answer, Fault> {
        let parts = &self.0;
        let mut url = parts.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(question.path);
        }
        if !question.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&question.query);
        }
        let mut request = parts
            .outgoing
            .request(question.method.clone(), url)
            .bearer_auth(parts.api_key.expose_secret())
            .header(ACCEPT, "application/json");
        if let Some(key) = question.idempotency_key {
            request = request.header("idempotency-key", key.to_string());
        }
        if let Some(body) = &question.body {
            request = request.json(body);
        }
        let request = request.build().map_err(|_| Fault::away("an address that is none"))?;
        let bounds = Bounds { time: parts.patience, bytes: LARGEST_ANSWER };
        let answer = parts.outgoing.ask(request, bounds).await.map_err(|unanswered| match unanswered {
            Unanswered::TooLong => Fault::TooLong,
            Unanswered::Unreachable | Unanswered::NotPublic => Fault::away("no answer"),
        })?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let said = said(&answer);
        if is_passing(answer.status) {
            let after = response_headers::retry_after(&answer.headers, parts.clock.now());
            return Err(Fault::Away { words: said.to_string(), after });
        }
        Err(Fault::Refused(said))
    }
}

impl<'a> Question<'a> {
    fn get(path: &'a [&'a str], query: Vec<(&'a str, String)>) -> Self {
        Self { method: Method::GET, path, query, body: None, idempotency_key: None }
    }
}

impl Fault {
    fn away(words: &str) -> Self {
        Self::Away { words: words.to_owned(), after: None }
    }

    /// Whether WorkOS no longer knows what a list was to go on from.
    #[must_use]
    pub fn has_lost_the_place(&self) -> bool {
        let lost = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY];
        matches!(self, Self::Refused(said) if lost.contains(&said.status))
    }
}

/// Up to `longest`, by chance, and at least half of it.
pub(super) fn jittered(random: &Random, longest: Duration) -> Duration {
    let half = longest / 2;
    half + half.mul_f64(f64::from(u32::from_be_bytes(random.bytes())) / f64::from(u32::MAX))
}

fn list_query(limit: usize) -> Vec<(&'static str, String)> {
    vec![("limit", limit.to_string()), ("order", "asc".to_owned())]
}

/// The object that was asked for; whoever is to be deleted is answered with nothing, or with whatever.
fn read(question: &Question<'_>, answer: &Answer) -> Result<(Value, Option<Timestamp>), Fault> {
    if question.method == Method::DELETE {
        return Ok((Value::Null, None));
    }
    let value = serde_json::from_slice::<Value>(&answer.body).ok().filter(Value::is_object);
    let value = value.ok_or_else(|| Fault::away("an answer that is no JSON"))?;
    Ok((value, response_headers::date(&answer.headers)))
}

fn person(answer: &Value) -> Result<Person, Fault> {
    Person::read(answer).map_err(Fault::away)
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
        || status.is_redirection()
}

fn said(answer: &Answer) -> Said {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().map(shortened);
    let details = body["errors"].as_array().into_iter().flatten().take(20).map(|error| match error {
        Value::String(code) => Detail { code: shortened(code), field: None },
        error => Detail {
            code: error["code"].as_str().map(shortened).unwrap_or_default(),
            field: error["field"].as_str().map(shortened),
        },
    });
    Said {
        status: answer.status,
        code: text("code").or_else(|| text("error")),
        message: text("message").or_else(|| text("error_description")).unwrap_or_default(),
        details: details.collect(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(LONGEST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_refusal_is_read_in_each_of_its_shapes() {
        let read = |body: &str| said(&answer(400, body));
        assert_eq!(read(r#"{"message":"No."}"#).to_string(), "400: No.");
        assert_eq!(read(r#"{"message":"No.","code":"not_found"}"#).to_string(), "400 not_found: No.");
        assert_eq!(read(r#"{"error":"bad","error_description":"No."}"#).to_string(), "400 bad: No.");
        for nothing in ["", "<html>", "[]", "null", r#"{"message":["No."],"errors":"x"}"#] {
            assert_eq!(read(nothing).to_string(), "400", "{nothing}");
        }
        let errors =
            r#"{"code":"c","errors":[{"code":"a","message":"m"},{"code":"b","field":"email"},"s",7]}"#;
        let details = read(errors).details;
        let codes: Vec<&str> = details.iter().map(|detail| detail.code.as_str()).collect();
        assert_eq!(codes, ["a", "b", "s", ""]);
        assert_eq!(details[1].field.as_deref(), Some("email"));
        assert_eq!(read(&format!(r#"{{"message":"{}\u0007"}}"#, "x".repeat(999))).message, "x".repeat(200));
    }

    #[test]
    fn a_pause_is_never_more_than_it_may_be() {
        let random = Random::seeded(1);
        let pauses = (0..1000).map(|_| jittered(&random, Duration::from_secs(8)));
        for pause in pauses {
            assert!((Duration::from_secs(4)..=Duration::from_secs(8)).contains(&pause), "{pause:?}");
        }
    }
}
