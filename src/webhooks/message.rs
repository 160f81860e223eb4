//! What a webhook is sent.

use sea_orm::DbErr;
use uuid::Uuid;

use crate::events::Body;
use crate::events::store::event;
use crate::platform::clock::Timestamp;

/// The type of the event that [`test()`] makes.
pub(super) const TEST: &str = "webhook.test";

/// An event, ready to be sent.
pub(super) struct Message {
    pub id: Uuid,
    pub event_type: String,
    pub trace_id: Option<String>,
    pub body: String,
}

/// The message of an event.
pub(super) fn of_event(event: event::Model) -> Result<Message, DbErr> {
    let body = Body::of(&event)?.to_json()?;
    let event::Model { id, event_type, trace_id, .. } = event;
    Ok(Message { id, event_type, trace_id, body })
}

/// A message that tells of nothing, to see whether it arrives: of the admin who asks, and in nobody's sequence.
pub(super) fn test(id: Uuid, by: Uuid, trace_id: String, now: Timestamp) -> Result<Message, DbErr> {
    of_event(event::Model {
        id,
        user_id: by,
        sequence: 0,
        position: None,
        event_type: TEST.to_owned(),
        payload: "{}".to_owned(),
        trace_id: Some(trace_id),
        created_at: now.millis(),
        published_at: None,
        trouble: None,
    })
}
