//! What the document says of the admin's tools beyond types.

use poem_openapi::types::Type;

use super::audit_api::{AuditEntry, LONGEST_ACTION};
use super::bans_api::{BanAnswer, BanOrder};
use super::email_api::{self, MOST_RECIPIENTS, MailBatch, MailInQueue};
use super::events_api::{EventShown, MOST, MOST_NAMED, ReplayOrder, USUAL};
use super::permissions_api::{PermissionAnswer, PermissionQuestion, PolicyShown, QuestionContext};
use super::stats_api::RoleCount;
use crate::audit::Subject;
use crate::events::type_words;
use crate::mail::{batch_state_words, state_words};
use crate::permissions::Action;
use crate::platform::shape::{Shape, Shaped, Words};
use crate::sessions::Role;
use crate::users::Reason;

/// What the document says of the admin's tools beyond types.
#[must_use]
pub fn shapes() -> Vec<Shaped> {
    let mut shapes = shapes_of_objects();
    let subject = Shape::text(email_api::LONGEST_SUBJECT);
    let letters = &["send_email_single", "send_email_multiple", "send_email_all"];
    shapes.extend([
        Shaped::field(&BanAnswer::name(), "Action", Shape::one_of(bans())),
        Shaped::parameter(letters, "subject", subject),
        Shaped::parameter(&["send_email_multiple"], "recipients", Shape::list(MOST_RECIPIENTS)),
        Shaped::parameter(&["read_events"], "limit", Shape::whole(1, MOST).usually(USUAL)),
        Shaped::parameter(&["read_events"], "events", Shape::one_of(type_words())),
        Shaped::parameter(&["replay_event", "skip_event", "end_user_session"], "id", Shape::uuid()),
        Shaped::parameter(&["read_audit"], "action", Shape::text(LONGEST_ACTION).like("banned")),
    ]);
    shapes
}

fn shapes_of_objects() -> Vec<Shaped> {
    crate::shapes! {
        AuditEntry { action: Shape::default().like("banned"), subject_type: Shape::one_of(Subject::words()) }
        BanOrder { reason: Shape::text(Reason::LONGEST).like("Sends advertisements.") }
        MailBatch { state: Shape::one_of(batch_state_words()) }
        MailInQueue { state: Shape::one_of(state_words()) }
        EventShown { event_type: Shape::one_of(type_words()), trouble: Shape::one_of(troubles()) }
        ReplayOrder { ids: Shape::list(MOST_NAMED) }
        PermissionQuestion { action: Shape::one_of(Action::words()) }
        QuestionContext { roles: Shape::one_of(Role::words()) }
        PermissionAnswer { decision: Shape::one_of(decisions()) }
        PolicyShown { effect: Shape::one_of(effects()) }
        RoleCount { role: Shape::one_of(Role::words()) }
    }
}

fn bans() -> Words {
    Words { name: "BanAction", about: "What was done.", all: vec!["Banned", "Unbanned"] }
}

fn troubles() -> Words {
    let about = "What keeps an event from whoever listens.";
    Words { name: "EventTrouble", about, all: vec!["parked", "held", "skipped", "unrouted"] }
}

fn decisions() -> Words {
    Words { name: "PermissionDecision", about: "A decision.", all: vec!["allow", "deny"] }
}

fn effects() -> Words {
    Words { name: "PolicyEffect", about: "What a policy does.", all: vec!["permit", "forbid"] }
}
