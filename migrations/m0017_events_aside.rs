//! Events that wait aside: found by what is the matter with them and by their user.

use super::Step;

/// While an event is `parked`, those of the same user behind it are `held`: whoever looks for what is due asks for each
/// event whether one before it is parked, and marks it once, so that it is not gone through again. When the parked one is sent
/// again or given up (`skipped`), those that it held are found by their user.
pub const STEP: Step = Step {
    name: "m0017_events_aside",
    min_binary: "0.1.0",
    up: &["CREATE INDEX events_aside ON events (trouble, user_id, sequence) WHERE trouble IS NOT NULL"],
    down: &["UPDATE events SET trouble = NULL WHERE trouble = 'held'", "DROP INDEX events_aside"],
};
