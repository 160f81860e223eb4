//! WorkOS as far as the program knows it, over real HTTP: honest after its documents and what was seen of it, and false
//! where it is told to be.
//!
//! ```ignore
//! let fake = Fake::start().await;
//! let app = following(&fake, &[]).await;          // the program with its directory here
//! let ann = fake.add("ann");                      // an event each
//! fake.change(&ann, json!({"first_name": "Ann"}));
//! fake.remove(&ann);
//! fake.lies(Place::Events, Manner::Reset, 3);     // the next three times
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatehouse::platform::clock::{Clock, Timestamp};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::harness::START;

/// The key that is good.
pub const KEY: &str = "sk_test_fake";
/// The secret of the webhook endpoint.
pub const SECRET: &str = "whsec_test";
const DAY: Duration = Duration::from_hours(24);

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `GET /events`.
    Events,
    /// `GET /user_management/users`.
    Users,
    /// `POST /user_management/users`.
    Create,
    /// One user.
    User,
    /// Nothing that there is.
    Nowhere,
}

type Change = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// What is answered instead of the truth.
#[derive(Clone)]
pub enum Manner {
    /// This, and these headers.
    Answer(u16, &'static str, Vec<(&'static str, String)>),
    /// The connection ends.
    Reset,
    /// Nothing, for as long as a test lasts.
    Hang,
    /// The truth, up to its middle.
    Truncated,
    /// The truth, changed.
    Changed(Change),
    /// What is asked for is done, and the connection ends.
    Lost,
    /// What is asked for is done after so long, whoever still waits for the answer.
    Late(Duration),
    /// What is asked for is done, and answered when the test says so.
    Held(Arc<Notify>),
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub place: Place,
    pub query: Vec<(String, String)>,
    pub idempotency_key: Option<String>,
    pub body: Value,
}

impl Asked {
    /// The first value of a parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }
}

/// What there is.
pub struct Ledger {
    pub users: Vec<Value>,
    pub events: Vec<Value>,
    pub asked: Vec<Asked>,
    lies: Vec<(Place, VecDeque<Manner>)>,
    clock: Clock,
    number: u64,
    latest: i64,
    lost: u16,
}

/// The server.
pub struct Fake {
    base: String,
    ledger: Arc<Mutex<Ledger>>,
    server: AbortHandle,
}

type Answer = Result<Response<Full<Bytes>>, io::Error>;

impl Fake {
    /// Starts it, with nobody in it.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let ledger = Arc::new(Mutex::new(Ledger {
            users: Vec::new(),
            events: Vec::new(),
            asked: Vec::new(),
            lies: Vec::new(),
            clock: Clock::manual(START),
            number: 0,
            latest: 0,
            lost: 404,
        }));
        let server = tokio::spawn(serve(listener, Arc::clone(&ledger))).abort_handle();
        Self { base, ledger, server }
    }

    /// The settings of a program whose directory is here.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("WORKOS_API_KEY", KEY.to_owned()),
            ("WORKOS_CLIENT_ID", "client_fake".to_owned()),
            ("WORKOS_BASE_URL", self.base.clone()),
            ("WORKOS_SYNC_INTERVAL_SECONDS", "1".to_owned()),
            // A busy machine must not make a question be asked again that a test counts. Tests of silence are less
            // patient.
            ("WORKOS_REQUEST_TIMEOUT_SECONDS", "30".to_owned()),
            ("WORKOS_WEBHOOK_SECRET", SECRET.to_owned()),
        ]
    }

    /// What there is, and was asked.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap()
    }

    /// Tells the time by this clock from now on.
    pub fn follow(&self, clock: &Clock) {
        self.ledger().clock = clock.clone();
    }

    /// Adds `name@example.com`; their id.
    pub fn add(&self, name: &str) -> String {
        self.ledger().create(&json!({"email": format!("{name}@example.com"), "first_name": name})).unwrap()
    }

    /// Changes somebody.
    #[expect(clippy::needless_pass_by_value, reason = "it is written down where it is handed over")]
    pub fn change(&self, id: &str, fields: Value) {
        self.ledger().change(id, &fields);
    }

    /// Removes somebody.
    pub fn remove(&self, id: &str) {
        self.ledger().remove(id);
    }

    /// Adds an event that nobody caused.
    pub fn tells(&self, event: &str, data: Value) {
        self.ledger().tell(event, data);
    }

    /// Answers falsely, so many times.
    pub fn lies(&self, place: Place, manner: Manner, times: usize) {
        self.lies_in_turn(place, vec![manner; times]);
    }

    /// Answers falsely in each of these ways, one after the other.
    pub fn lies_in_turn(&self, place: Place, manners: Vec<Manner>) {
        self.ledger().lies.push((place, manners.into()));
    }

    /// Forgets every event up to now; who goes on from one of them is refused with this status.
    pub fn loses_the_past(&self, status: u16) {
        let mut ledger = self.ledger();
        ledger.events.clear();
        ledger.lost = status;
    }

    /// How often this was asked for.
    pub fn times(&self, place: Place) -> usize {
        self.ledger().asked.iter().filter(|asked| asked.place == place).count()
    }

    /// Everybody: address, first and last name.
    pub fn truth(&self) -> Vec<(String, Value, Value)> {
        let of = |user: &Value| {
            (
                user["email"].as_str().unwrap().to_owned(),
                user["first_name"].clone(),
                user["last_name"].clone(),
            )
        };
        let mut everybody: Vec<_> = self.ledger().users.iter().map(of).collect();
        everybody.sort_by(|one, other| one.0.cmp(&other.0));
        everybody
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The time as WorkOS writes it.
pub fn written(at: Timestamp) -> String {
    let at = chrono::DateTime::from_timestamp_millis(at.millis()).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

impl Ledger {
    /// Tells the truth from now on.
    pub fn forget_lies(&mut self) {
        self.lies.clear();
    }

    /// A new id, behind those before it.
    fn id(&mut self, prefix: &str) -> String {
        self.number += 1;
        format!("{prefix}_{:026}", self.number)
    }

    /// The time, always later than before.
    fn now(&mut self) -> String {
        self.latest = self.clock.now().millis().max(self.latest + 1);
        written(Timestamp::from_millis(self.latest))
    }

    fn create(&mut self, fields: &Value) -> Result<String, (u16, Value)> {
        let Some(email) = fields["email"].as_str().filter(|email| email.contains('@')) else {
            let errors = json!([{"code": "invalid", "field": "email"}]);
            return Err((
                422,
                json!({"message": "Validation failed.", "code": "invalid_request_parameters", "errors": errors}),
            ));
        };
        let same = |user: &&Value| user["email"].as_str().unwrap().eq_ignore_ascii_case(email);
        if self.users.iter().any(|user| same(&user)) {
            let errors = json!([{"code": "email_not_available", "message": "This email is not available."}]);
            return Err((
                400,
                json!({"message": "Could not create user.", "code": "user_creation_error", "errors": errors}),
            ));
        }
        let (id, now) = (self.id("user"), self.now());
        let user = json!({
            "object": "user", "id": id, "email": email, "email_verified": fields["email_verified"] == true,
            "first_name": fields["first_name"], "last_name": fields["last_name"], "name": null,
            "profile_picture_url": null, "external_id": fields["external_id"], "metadata": {}, "locale": null,
            "last_sign_in_at": null, "created_at": now, "updated_at": now,
        });
        self.users.push(user.clone());
        self.tell("user.created", user);
        Ok(id)
    }

    fn change(&mut self, id: &str, fields: &Value) {
        let now = self.now();
        let user = self.users.iter_mut().find(|user| user["id"] == id).unwrap();
        user.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        user["updated_at"] = json!(now);
        let user = user.clone();
        self.tell("user.updated", user);
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(at) = self.users.iter().position(|user| user["id"] == id) else { return false };
        let mut user = self.users.remove(at);
        user["updated_at"] = json!(self.now());
        self.tell("user.deleted", user);
        true
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is written down where it is handed over")]
    fn tell(&mut self, event: &str, data: Value) {
        let (id, now) = (self.id("event"), self.now());
        self.events.push(json!({
            "object": "event", "id": id, "event": event, "data": data, "created_at": now, "context": {},
        }));
    }

    fn truly(&mut self, asked: &Asked, path: &str, method: &str) -> (u16, Value) {
        match asked.place {
            Place::Events => self.page_of_events(asked),
            Place::Users => {
                let users = self.users.clone();
                page(asked, &users, 404)
            }
            Place::Create => match self.create(&asked.body) {
                Ok(id) => (201, self.users.iter().find(|user| user["id"] == *id).unwrap().clone()),
                Err(refusal) => refusal,
            },
            Place::User => {
                let last = path.rsplit('/').next().unwrap();
                let by = if path.contains("/external_id/") { "external_id" } else { "id" };
                let found = self.users.iter().find(|user| user[by] == last).cloned();
                match (found, method) {
                    (None, _) => (404, json!({"message": "User not found", "code": "not_found"})),
                    (Some(_), "DELETE") => (if self.remove(last) { 200 } else { 404 }, Value::Null),
                    (Some(user), _) => (200, user),
                }
            }
            Place::Nowhere => (404, json!({"message": "Not Found"})),
        }
    }

    fn page_of_events(&mut self, asked: &Asked) -> (u16, Value) {
        let known = ["user.created", "user.updated", "user.deleted", "session.created"];
        let names = asked.query.iter().filter(|(name, _)| name == "events" || name == "events[]");
        let names: Vec<&str> = names.flat_map(|(_, names)| names.split(',')).collect();
        if names.is_empty() || names.iter().any(|name| !known.contains(name)) {
            let errors = json!([{"code": "required", "field": "events"}]);
            return (422, json!({"message": "Validation failed.", "errors": errors}));
        }
        let now = self.clock.now();
        let start = asked.query("range_start");
        let is_too_long = start.is_some_and(|start| start < written(now.before(30 * DAY)).as_str());
        if is_too_long || (start.is_some() && asked.query("after").is_some()) {
            return (400, json!({"message": "The range is none."}));
        }
        let oldest = written(now.before(90 * DAY));
        self.events.retain(|event| event["created_at"].as_str().is_none_or(|at| at >= oldest.as_str()));
        let from = start.unwrap_or_default().to_owned();
        // What the tests add falsely is no event of any name, and is shown all the same.
        let is_asked_for = |event: &&Value| {
            let name = event["event"].as_str().unwrap_or_default();
            let is_late = event["created_at"].as_str().is_none_or(|at| at >= from.as_str());
            is_late && (names.contains(&name) || !known.contains(&name))
        };
        let events: Vec<Value> = self.events.iter().filter(is_asked_for).cloned().collect();
        page(asked, &events, self.lost)
    }
}

/// A page, oldest first whatever is asked for.
fn page(asked: &Asked, all: &[Value], lost: u16) -> (u16, Value) {
    let limit: usize = asked.query("limit").map_or(10, |limit| limit.parse().unwrap_or(0));
    if !(1..=100).contains(&limit) {
        return (422, json!({"message": "limit is out of range"}));
    }
    let start = match asked.query("after") {
        None => 0,
        Some(after) => match all.iter().position(|item| item["id"] == after) {
            Some(at) => at + 1,
            None => return (lost, json!({"message": "Could not find it."})),
        },
    };
    let data: Vec<Value> = all[start..].iter().take(limit).cloned().collect();
    let more = start + data.len() < all.len();
    let after = data.last().filter(|_| more).map_or(Value::Null, |last| last["id"].clone());
    (200, json!({"object": "list", "data": data, "list_metadata": {"before": null, "after": after}}))
}

async fn serve(listener: TcpListener, ledger: Arc<Mutex<Ledger>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let ledger = Arc::clone(&ledger);
        let service = service_fn(move |request| {
            let ledger = Arc::clone(&ledger);
            async move { answer(&ledger, request).await }
        });
        connections.spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(ledger: &Arc<Mutex<Ledger>>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let (method, path) = (parts.method.as_str().to_owned(), parts.uri.path().to_owned());
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let asked = Asked {
        at: Instant::now(),
        place: place(&method, &path),
        query: query.map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
        idempotency_key: header("idempotency-key"),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    if header("authorization").as_deref() != Some(&format!("Bearer {KEY}")) {
        return Ok(json_answer(401, &json!({"message": "Unauthorized", "code": "unauthorized"})));
    }
    let (manner, truth) = {
        let mut ledger = ledger.lock().unwrap();
        ledger.asked.push(asked.clone());
        let manner = ledger
            .lies
            .iter_mut()
            .find(|(place, manners)| *place == asked.place && !manners.is_empty())
            .and_then(|(_, manners)| manners.pop_front());
        let is_heard = matches!(
            manner,
            None | Some(Manner::Truncated | Manner::Changed(_) | Manner::Lost | Manner::Held(_))
        );
        let truth = is_heard.then(|| ledger.truly(&asked, &path, &method));
        (manner, truth)
    };
    let (status, mut truth) = truth.unwrap_or((500, Value::Null));
    match manner {
        None => Ok(json_answer(status, &truth)),
        Some(Manner::Answer(status, body, headers)) => {
            let mut answer = Response::builder().status(status).header("content-type", "text/html");
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            Ok(answer.body(Full::from(body)).unwrap())
        }
        Some(Manner::Reset | Manner::Lost) => Err(io::Error::other("gone")),
        Some(Manner::Hang) => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            Err(io::Error::other("late"))
        }
        Some(Manner::Late(pause)) => {
            // Beside the connection: who hangs up does not undo what they asked for.
            let ledger = Arc::clone(ledger);
            let late = tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                ledger.lock().unwrap().truly(&asked, &path, &method)
            });
            let (status, truth) = late.await.map_err(io::Error::other)?;
            Ok(json_answer(status, &truth))
        }
        Some(Manner::Held(released)) => {
            released.notified().await;
            Ok(json_answer(status, &truth))
        }
        Some(Manner::Truncated) => {
            let text = truth.to_string();
            Ok(text_answer(status, text[..text.len() / 2].to_owned()))
        }
        Some(Manner::Changed(change)) => {
            change(&mut truth);
            Ok(json_answer(status, &truth))
        }
    }
}

fn place(method: &str, path: &str) -> Place {
    match (method, path) {
        ("GET", "/events") => Place::Events,
        ("GET", "/user_management/users") => Place::Users,
        ("POST", "/user_management/users") => Place::Create,
        ("GET" | "DELETE", path) if path.starts_with("/user_management/users/") => Place::User,
        _ => Place::Nowhere,
    }
}

fn json_answer(status: u16, value: &Value) -> Response<Full<Bytes>> {
    text_answer(status, if value.is_null() { String::new() } else { value.to_string() })
}

fn text_answer(status: u16, text: String) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.header("x-request-id", "req_fake").body(Full::from(text)).unwrap()
}
