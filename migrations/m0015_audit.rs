//! What staff did: a chain of rows.

use super::Step;

/// A row's `hash` is taken over the one before and its own columns, so none can be changed, taken out or moved without
/// a trace in all that follow. `audit_head` is the one row that says where the chain ends; its lock makes one chain of
/// what several instances write, and its `seal` is made with a key that the database doesn't know. `follows_seal` tells
/// whether that seal was good when the row was written. Actors and subjects are no references: the log outlives them.
pub const STEP: Step = Step {
    name: "m0015_audit",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE audit_log (
            number BIGINT NOT NULL PRIMARY KEY,
            at BIGINT NOT NULL,
            actor_id {uuid},
            action TEXT NOT NULL,
            subject_type TEXT NOT NULL,
            subject_id {uuid},
            details TEXT NOT NULL,
            trace_id TEXT,
            follows_seal BOOLEAN NOT NULL,
            hash {bytes} NOT NULL
        )",
        "CREATE INDEX audit_log_actor ON audit_log (actor_id, number)",
        "CREATE INDEX audit_log_subject ON audit_log (subject_id, number)",
        "CREATE INDEX audit_log_action ON audit_log (action, number)",
        "CREATE INDEX audit_log_at ON audit_log (at)",
        "CREATE TABLE audit_head (
            id BIGINT NOT NULL PRIMARY KEY,
            number BIGINT NOT NULL,
            hash {bytes},
            seal {bytes}
        )",
        "INSERT INTO audit_head (id, number) VALUES (1, 0)",
    ],
    down: &["DROP TABLE audit_head", "DROP TABLE audit_log"],
};
