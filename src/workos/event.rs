//! What WorkOS tells: one event, or one row of a listing, read tolerantly and never passed over silently.

use serde_json::Value;

use super::moment;
use super::person::{Flaw, Person, changed_at, id_of, usable_id};
use crate::platform::clock::Timestamp;
use crate::platform::hexadecimal;
use crate::platform::secrets::digest;

/// The events that are asked for.
pub(super) const FOLLOWED: &str = "user.created,user.updated,user.deleted";
/// An event of a type that nobody asked for: kept, and no sign that anything is wrong.
pub(super) const UNKNOWN_TYPE: Flaw = "an event of a type that is not known here";
/// What is kept at most of something that could not be understood, in bytes.
const MOST_KEPT: usize = 64 * 1024;

/// What is told of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They were made.
    Created,
    /// They were changed.
    Updated,
    /// They are gone.
    Deleted,
    /// They are there: a full listing named them.
    Listed,
}

/// Something that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What.
    pub deed: Deed,
    /// Of whom: their id at WorkOS.
    pub id: String,
    /// As of when, by WorkOS's clock.
    pub at: Timestamp,
    /// As they are now; none where they are gone.
    pub person: Option<Person>,
}

/// Something that came, understood or not.
#[derive(Clone, Debug)]
pub struct Received {
    /// The event's id, by which the following is gone on from; none if it has none that can be used.
    pub id: Option<String>,
    /// When it happened.
    pub created_at: Option<Timestamp>,
    /// What it says.
    pub told: Result<Told, Flaw>,
    /// As it came, for people to look at if it was not understood.
    pub body: Value,
}

impl Received {
    /// Reads an event.
    #[must_use]
    pub fn event(body: Value) -> Self {
        let created_at = body["created_at"].as_str().and_then(moment::of_json);
        Self { id: usable_id(&body["id"]), created_at, told: told(&body, created_at), body }
    }

    /// Reads a row of a listing that was made at `now`.
    #[must_use]
    pub fn listed(body: Value) -> Self {
        let told = Person::read(&body).and_then(|person| {
            let at = person.updated_at.ok_or("it has no time")?;
            Ok(Told { deed: Deed::Listed, id: person.id.clone(), at, person: Some(person) })
        });
        Self { id: id_of(&body), created_at: None, told, body }
    }

    /// The name under which it is kept if it was not understood: its id, or else a digest of it.
    #[must_use]
    pub fn key(&self) -> String {
        let of_body = || hexadecimal::written(&digest(self.body.to_string().as_bytes()));
        self.id.clone().unwrap_or_else(|| format!("sha256:{}", of_body()))
    }

    /// As much of it as is kept.
    #[must_use]
    pub fn kept(&self) -> String {
        let mut text = self.body.to_string();
        text.truncate(text.floor_char_boundary(MOST_KEPT));
        text
    }
}

fn told(body: &Value, created_at: Option<Timestamp>) -> Result<Told, Flaw> {
    if usable_id(&body["id"]).is_none() {
        return Err("an event without an id");
    }
    let data = &body["data"];
    let deed = match body["event"].as_str() {
        Some("user.created") => Deed::Created,
        Some("user.updated") => Deed::Updated,
        Some("user.deleted") => Deed::Deleted,
        Some(_) => return Err(UNKNOWN_TYPE),
        None => return Err("an event without a type"),
    };
    if deed == Deed::Deleted {
        // Whatever else is wrong with it: who is gone is gone.
        let at = changed_at(data).ok().flatten().or(created_at).unwrap_or_default();
        return Ok(Told { deed, id: id_of(data).ok_or("it names no user")?, at, person: None });
    }
    let person = Person::read(data)?;
    let at = person.updated_at.or(created_at).ok_or("it has no time")?;
    Ok(Told { deed, id: person.id.clone(), at, person: Some(person) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(change: impl FnOnce(&mut Value)) -> Received {
        let mut event = json!({
            "object": "event", "id": "event_01", "event": "user.updated",
            "data": {"object": "user", "id": "user_01", "email": "ann@example.com", "updated_at": "2026-01-15T12:00:00.000Z"},
            "created_at": "2026-01-15T12:00:01.000Z", "context": {},
        });
        change(&mut event);
        Received::event(event)
    }

    #[test]
    fn an_event_is_read_whole_or_with_what_the_emulator_leaves_out() {
        let whole = event(|_| {});
        let told = whole.told.unwrap();
        assert_eq!((told.deed, told.id.as_str()), (Deed::Updated, "user_01"));
        assert_eq!(told.at, Timestamp::from_seconds(1_768_478_400));
        let bare = event(|event| {
            event.as_object_mut().unwrap().retain(|name, _| name != "object" && name != "context");
            event["data"].as_object_mut().unwrap().remove("updated_at");
            event["created_at"] = json!("2026-01-15 12:00:01.000");
        });
        assert_eq!(bare.told.unwrap().at, Timestamp::from_seconds(1_768_478_401));
    }

    #[test]
    fn what_can_not_be_understood_says_why_and_keeps_its_id() {
        for (change, id) in [
            (json!({"id": null}), None),
            (json!({"id": "\n"}), None),
            (json!({"event": "user.frozen"}), Some("event_01")),
            (json!({"event": 5}), Some("event_01")),
            (json!({"data": null}), Some("event_01")),
            (json!({"data": {"id": "user_01"}}), Some("event_01")),
            (json!({"data": {"id": "user_01", "email": "a@b.c"}, "created_at": null}), Some("event_01")),
            (json!({"data": []}), Some("event_01")),
        ] {
            let read = event(|event| {
                let fields = change.as_object().unwrap().clone();
                event.as_object_mut().unwrap().extend(fields);
            });
            assert!(read.told.is_err(), "{change}");
            assert_eq!(read.id.as_deref(), id, "{change}");
            assert!(!read.key().is_empty() && read.kept().contains("event"));
        }
        assert!(Received::event(json!("x")).told.is_err() && Received::event(json!(null)).told.is_err());
    }

    #[test]
    fn who_is_gone_is_gone_whatever_else_is_wrong() {
        let gone = event(|event| {
            event["event"] = json!("user.deleted");
            event["data"] = json!({"id": "user_01", "updated_at": "never"});
        });
        assert_eq!(gone.told.unwrap().deed, Deed::Deleted);
    }

    #[test]
    fn no_more_is_kept_than_is_read_by_anybody() {
        let long = event(|event| event["data"] = json!("é".repeat(100_000)));
        assert!((60_000..=MOST_KEPT).contains(&long.kept().len()));
    }
}
