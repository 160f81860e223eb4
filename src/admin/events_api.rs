//! What other systems are told: to be read by whoever pulls, and to be sent again.

use poem::http::{HeaderValue, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Path, Query};
use poem_openapi::registry::{MetaHeader, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::audit::{Audit, Entry, Subject};
use crate::events::store::{Filter, event};
use crate::events::{Body, Events, Feed, FeedRefusal, Replay, ReplayRefusal, SkipRefusal, type_named};
use crate::permissions::{Allowed, System};
use crate::platform::clock::{Timestamp, seconds};
use crate::platform::problem::{Failure, FieldError};
use crate::platform::web::{Json, Links, Visit, ok_of};

/// Events of one answer, and ids of one request, at most.
pub(super) const MOST: u64 = 1000;
/// Events that an order may name, so that it is small.
pub(super) const MOST_NAMED: usize = 500;
/// Events of one answer where nobody says how many.
pub(super) const USUAL: u64 = 100;

/// The operations on events.
pub struct EventsApi {
    /// What other systems are told.
    pub events: Events,
    /// What staff did.
    pub audit: Audit,
}

#[derive(Tags)]
enum Section {
    /// The admin's tools.
    Admin,
}

crate::permissions! {
    /// Read what other systems are told.
    ReadEvents: EventsRead on System;
    /// Have it sent again.
    ReplayEvents: EventsReplay on System;
}

/// An event: what everybody is told, and how far it has come.
#[derive(Debug, Serialize, Object)]
pub struct EventShown {
    /// Its id; a repeated delivery carries the same.
    pub event_id: Uuid,
    /// What happened, as `user.created`.
    pub event_type: String,
    /// Whose account it is about; that may be gone.
    pub user_id: Uuid,
    /// The trace id of the request that caused it.
    #[oai(nullable)]
    pub trace_id: Option<String>,
    /// When it happened: RFC 3339, with milliseconds and `Z`.
    pub timestamp: String,
    /// Which of this user's events it is: 1, 2, 3, …
    pub sequence: i64,
    /// What there is to tell, as the type says. Empty where the account is gone for good.
    pub data: Value,
    /// The order in which everybody is told: grows from one event to the next.
    pub position: i64,
    /// When the message broker confirmed it, in seconds since the Unix epoch.
    #[oai(nullable)]
    pub published_at: Option<i64>,
    /// `parked`: the broker refuses it for itself; `held`: it waits behind one of the same account that is parked;
    /// `skipped`: it was parked and is given up; `unrouted`: no queue took it.
    #[oai(nullable)]
    pub trouble: Option<String>,
}

impl EventShown {
    fn of(event: &event::Model) -> Result<Self, DbErr> {
        let Body { event_id, event_type, user_id, trace_id, timestamp, sequence, data } = Body::of(event)?;
        Ok(Self {
            event_id,
            event_type,
            user_id,
            trace_id,
            timestamp,
            sequence,
            data,
            position: event.position.unwrap_or_default(),
            published_at: event.published_at.map(seconds),
            trouble: event.trouble.clone(),
        })
    }
}

/// A part of the feed.
pub struct FeedPart {
    events: Vec<EventShown>,
    next: Option<String>,
}

impl IntoResponse for FeedPart {
    fn into_response(self) -> Response {
        let mut response = Json(self.events).into_response();
        let links = Links { next: self.next, ..Links::default() };
        if let Some(Ok(links)) = links.header().map(HeaderValue::try_from) {
            response.headers_mut().insert(header::LINK, links);
        }
        response
    }
}

impl ApiResponse for FeedPart {
    fn meta() -> MetaResponses {
        let mut answer = ok_of::<Vec<EventShown>>();
        answer.headers = vec![MetaHeader {
            name: "Link".to_owned(),
            description: Some("Where to go on: next (RFC 8288); not there at the end.".to_owned()),
            required: false,
            deprecated: false,
            schema: String::schema_ref(),
        }];
        MetaResponses { responses: vec![answer] }
    }

    fn register(registry: &mut Registry) {
        EventShown::register(registry);
    }
}

/// Events to be sent again: these, or a range.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub struct ReplayOrder {
    /// Their ids, at most 500.
    #[serde(default)]
    #[oai(nullable)]
    pub ids: Option<Vec<Uuid>>,
    /// The range begins behind this event; at the oldest one if not given.
    #[serde(default)]
    #[oai(nullable)]
    pub after: Option<Uuid>,
    /// The range ends with this event.
    #[serde(default)]
    #[oai(nullable)]
    pub until: Option<Uuid>,
}

/// What came of it.
#[derive(Debug, Serialize, Object)]
pub struct Replayed {
    /// How many will be sent again. What waits for its first time is not counted.
    pub replayed: u64,
}

/// What came of giving one up.
#[derive(Debug, Serialize, Object)]
pub struct Skipped {
    /// How many later events of the account were held by it and go on now.
    pub released: u64,
}

#[OpenApi(prefix_path = "/admin", tag = "Section::Admin")]
impl EventsApi {
    /// What happened to accounts, oldest first
    ///
    /// A feed to be pulled: ask with the id of the last event that you have dealt with, as often as you like. No event is
    /// passed over, and those of one account come in the order of their `sequence`. Events are kept for
    /// `EVENT_RETENTION_DAYS`.
    #[oai(path = "/events", method = "get", operation_id = "read_events")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the query")]
    async fn read(
        &self,
        request: &Request,
        _allowed: Allowed<ReadEvents>,
        /// The id of the last event that is known already; the feed begins with the oldest one if not given.
        after: Query<Option<Uuid>>,
        /// How many at most: 1–1000, by default 100.
        limit: Query<Option<u64>>,
        /// Only of these types: one parameter each, or separated by commas.
        #[oai(default)]
        events: Query<Vec<String>>,
        /// Only of this account.
        user_id: Query<Option<Uuid>>,
        /// Only what happened then or later, in seconds since the Unix epoch.
        range_start: Query<Option<i64>>,
        /// Only what happened before, in seconds since the Unix epoch.
        range_end: Query<Option<i64>>,
    ) -> Result<FeedPart, Failure<FeedRefusal>> {
        let limit = limit.0.unwrap_or(USUAL);
        let filter = Filter {
            types: read_types(&events.0)?,
            user: user_id.0,
            since: range_start.0.map(Timestamp::from_seconds),
            until: range_end.0.map(Timestamp::from_seconds),
        };
        if !(1..=MOST).contains(&limit) {
            return Err(invalid("limit", "Must be a number from 1 to 1000.").into());
        }
        let found = self.events.feed(&Feed { filter, after: after.0, limit }).await?;
        let is_full = found.len() as u64 == limit;
        let next = found.last().filter(|_| is_full).map(|last| next_part(request, last.id, limit));
        let events = found.iter().map(EventShown::of).collect::<Result<_, _>>()?;
        Ok(FeedPart { events, next })
    }

    /// Send an event to the message broker again
    ///
    /// Under the same id, so that whoever has dealt with it can tell. It comes before what waits already.
    #[oai(path = "/events/:id/replay", method = "post", operation_id = "replay_event")]
    async fn replay(
        &self,
        allowed: Allowed<ReplayEvents>,
        /// The event's id.
        id: Path<String>,
    ) -> Result<Json<Replayed>, Failure<ReplayRefusal>> {
        let id = Uuid::try_parse(&id.0).map_err(|_| ReplayRefusal::NotFound)?;
        self.replayed(&allowed, Replay::These(vec![id])).await
    }

    /// Give up an event that the message broker refuses
    ///
    /// It is not sent, and what waited behind it goes on: whoever listens sees a gap in the `sequence` of the account. It can
    /// still be sent again.
    #[oai(path = "/events/:id/skip", method = "post", operation_id = "skip_event")]
    async fn skip(
        &self,
        allowed: Allowed<ReplayEvents>,
        /// The event's id.
        id: Path<String>,
    ) -> Result<Json<Skipped>, Failure<SkipRefusal>> {
        let id = Uuid::try_parse(&id.0).map_err(|_| SkipRefusal::NotFound)?;
        let by = allowed.caller.user_id;
        let entry = Entry::by(by, "event_skipped", Subject::Events).with("event", id.to_string());
        let released = self.events.skip(id, &self.audit, entry).await?;
        tracing::warn!(%by, event = %id, released, "an event is given up");
        Ok(Json(Skipped { released }))
    }

    /// Send several events to the message broker again
    ///
    /// Those with these ids, or those behind `after` up to `until` and with it.
    #[oai(path = "/events/replay", method = "post", operation_id = "replay_events")]
    async fn replay_several(
        &self,
        allowed: Allowed<ReplayEvents>,
        body: Json<ReplayOrder>,
    ) -> Result<Json<Replayed>, Failure<ReplayRefusal>> {
        let order = read_order(body.0)?;
        self.replayed(&allowed, order).await
    }
}

impl EventsApi {
    async fn replayed(
        &self,
        allowed: &Allowed<ReplayEvents>,
        order: Replay,
    ) -> Result<Json<Replayed>, Failure<ReplayRefusal>> {
        let entry = Entry::by(allowed.caller.user_id, "events_replayed", Subject::Events);
        let replayed = self.events.replay(order.clone(), &self.audit, told(entry, &order)).await?;
        tracing::warn!(by = %allowed.caller.user_id, replayed, "events are sent again");
        Ok(Json(Replayed { replayed }))
    }
}

/// Which events it was about.
fn told(entry: Entry, order: &Replay) -> Entry {
    match order {
        Replay::These(ids) => entry.with("events", ids.len()),
        Replay::Range { after, until } => {
            entry.with("after", after.map(|id| id.to_string())).with("until", until.to_string())
        }
    }
}

fn read_types(given: &[String]) -> Result<Vec<&'static str>, FeedRefusal> {
    let names =
        given.iter().flat_map(|names| names.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let known: Option<Vec<&'static str>> = names.map(type_named).collect();
    known.ok_or_else(|| invalid("events", "There is no such type of event."))
}

fn read_order(order: ReplayOrder) -> Result<Replay, ReplayRefusal> {
    let refuse = |field: &str, words: &str| ReplayRefusal::Invalid(vec![FieldError::new(field, words)]);
    match order {
        ReplayOrder { ids: Some(mut ids), after: None, until: None } => {
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() || ids.len() > MOST_NAMED {
                return Err(refuse("ids", "Must be 1 to 500 ids."));
            }
            Ok(Replay::These(ids))
        }
        ReplayOrder { ids: None, after, until: Some(until) } => Ok(Replay::Range { after, until }),
        ReplayOrder { ids: None, .. } => Err(refuse("until", "Say which events: `ids`, or `until`.")),
        ReplayOrder { .. } => Err(refuse("ids", "Does not go with `after` and `until`.")),
    }
}

fn invalid(field: &str, words: &str) -> FeedRefusal {
    FeedRefusal::Invalid(vec![FieldError::new(field, words)])
}

/// The address of the next part: this one, with another place to begin at.
fn next_part(request: &Request, last: Uuid, limit: u64) -> String {
    let base = request.data::<Visit>().map_or("", |visit| visit.settings.base_url.as_str());
    let query = request.original_uri().query().unwrap_or_default();
    let is_other =
        |pair: &&str| !pair.is_empty() && !pair.starts_with("after=") && !pair.starts_with("limit=");
    let others: String = query.split('&').filter(is_other).flat_map(|pair| [pair, "&"]).collect();
    format!("{base}{}?{others}after={last}&limit={limit}", request.original_uri().path())
}
