//! An event as everybody is told it.

use sea_orm::DbErr;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::store::event;
use crate::platform::clock::Timestamp;

/// The body of the message, of the webhook, and of an item of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Body {
    /// Its id; a repeated delivery carries the same.
    pub event_id: Uuid,
    /// What happened, as `user.created`.
    pub event_type: String,
    /// Whose account it is about.
    pub user_id: Uuid,
    /// The trace id of the request that caused it.
    pub trace_id: Option<String>,
    /// When it happened: RFC 3339, with milliseconds and `Z`.
    pub timestamp: String,
    /// Which of this user's events it is: 1, 2, 3, …
    pub sequence: i64,
    /// What there is to tell: see the table of types.
    pub data: Value,
}

impl Body {
    /// The body of an event.
    pub fn of(event: &event::Model) -> Result<Self, DbErr> {
        let data = serde_json::from_str(&event.payload).map_err(|error| DbErr::Json(error.to_string()))?;
        Ok(Self {
            event_id: event.id,
            event_type: event.event_type.clone(),
            user_id: event.user_id,
            trace_id: event.trace_id.clone(),
            timestamp: Timestamp::from_millis(event.created_at).rfc3339(),
            sequence: event.sequence,
            data,
        })
    }

    /// The body as JSON.
    pub fn to_json(&self) -> Result<String, DbErr> {
        serde_json::to_string(self).map_err(|error| DbErr::Json(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_fields_of_the_contract_in_their_order() {
        let event = event::Model {
            id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(2),
            sequence: 3,
            position: Some(9),
            event_type: "user.banned".to_owned(),
            payload: r#"{"reason":null}"#.to_owned(),
            trace_id: Some("trace".to_owned()),
            created_at: 1_767_225_600_007,
            published_at: None,
            trouble: None,
        };
        let expected = concat!(
            r#"{"event_id":"00000000-0000-0000-0000-000000000001","event_type":"user.banned","#,
            r#""user_id":"00000000-0000-0000-0000-000000000002","trace_id":"trace","#,
            r#""timestamp":"2026-01-01T00:00:00.007Z","sequence":3,"data":{"reason":null}}"#
        );
        assert_eq!(Body::of(&event).unwrap().to_json().unwrap(), expected);
    }
}
