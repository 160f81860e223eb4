//! An event as the broker gets it.

use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};
use sea_orm::DbErr;
use uuid::Uuid;

use super::link::text;
use crate::events::Body;
use crate::events::store::event;
use crate::platform::web::TraceParent;

/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// A message, and where its event is in the order of all.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: Uuid,
    /// Whose event it is.
    pub(super) user: Uuid,
    /// The trace of the request that caused it; the event is the parent of what follows from it.
    pub(super) trace: TraceParent,
    pub(super) position: i64,
    pub(super) key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// The message of an event.
    pub(super) fn of(event: &event::Model) -> Result<Self, DbErr> {
        let key = ShortString::try_new(event.event_type.as_str());
        let trace = TraceParent::of_event(event.trace_id.as_deref(), event.id);
        Ok(Self {
            id: event.id,
            user: event.user_id,
            position: event.position.unwrap_or_default(),
            key: key.map_err(|error| DbErr::Custom(error.to_string()))?,
            properties: properties(event, trace),
            trace,
            body: Body::of(event)?.to_json()?.into_bytes(),
        })
    }
}

fn properties(event: &event::Model, trace: TraceParent) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), text(&trace.to_string()));
    if let Some(trace_id) = &event.trace_id {
        headers.insert("trace_id".into(), text(trace_id));
    }
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(event.id.to_string().into())
        .with_timestamp(u64::try_from(event.created_at / 1000).unwrap_or(0))
        .with_headers(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(trace_id: Option<&str>) -> event::Model {
        event::Model {
            id: "019b7612-0c00-7000-8000-00000000000a".parse().unwrap(),
            user_id: Uuid::from_u128(2),
            sequence: 3,
            position: Some(9),
            event_type: "user.banned".to_owned(),
            payload: r#"{"reason":null}"#.to_owned(),
            trace_id: trace_id.map(str::to_owned),
            created_at: 1_767_225_600_007,
            published_at: None,
            trouble: None,
        }
    }

    #[test]
    fn a_message_is_persistent_json_that_names_its_event() {
        let message = Message::of(&event(Some("order-66"))).unwrap();
        assert_eq!((message.key.as_str(), message.position), ("user.banned", 9));
        let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
        assert_eq!((body["sequence"].as_i64(), body["trace_id"].as_str()), (Some(3), Some("order-66")));
        let properties = &message.properties;
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), message.id.to_string());
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
        assert_eq!((*properties.delivery_mode(), *properties.timestamp()), (Some(2), Some(1_767_225_600)));
        let headers = properties.headers().as_ref().unwrap().inner();
        assert_eq!(headers["trace_id"], text("order-66"));
        let traceparent = "00-c57da5ef60a33ad14005b55fcc93877e-800000000000000a-01";
        assert_eq!(headers["traceparent"], text(traceparent));
    }

    #[test]
    fn what_can_not_be_told_is_no_message() {
        let broken = event::Model { payload: "{".to_owned(), ..event(None) };
        assert!(Message::of(&broken).is_err());
        let nameless = event::Model { event_type: "x".repeat(256), ..event(None) };
        assert!(Message::of(&nameless).is_err());
    }
}
