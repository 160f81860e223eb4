//! The feature flags: every set that was in force, and who changed what.

use super::Step;

/// The newest version is in force; instances see it by its number. A version is a row of its own and is never changed,
/// so the table is the history as well. Who made it is no reference: the history outlives the account.
pub const STEP: Step = Step {
    name: "m0010_flags",
    min_binary: "0.1.0",
    up: &["CREATE TABLE flag_versions (
            version BIGINT NOT NULL PRIMARY KEY,
            flags TEXT NOT NULL,
            changes TEXT NOT NULL,
            source TEXT NOT NULL,
            changed_by {uuid},
            trace_id TEXT,
            created_at BIGINT NOT NULL
        )"],
    down: &["DROP TABLE flag_versions"],
};
