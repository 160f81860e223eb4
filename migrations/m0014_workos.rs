//! The directory at WorkOS: who of it is who here, and how far it was followed.

use super::Step;

/// Who somebody is at WorkOS is their id there, never an address. `updated_at` is WorkOS's own, and what is older changes
/// nothing. A row whose `deleted_at` is set is a tombstone: whoever it is of does not come back, and its user may never have
/// been here. A row without a user that is no tombstone is of somebody who was purged here. `listing` is the number of the
/// last full listing that named them.
///
/// The state is one row. Its `revision` moves with every page, so that of two who follow at once only one writes; what was
/// applied and the cursor behind it are written together. What could not be understood is kept for people to look at.
pub const STEP: Step = Step {
    name: "m0014_workos",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE workos_users (
            id {key} NOT NULL PRIMARY KEY,
            user_id {uuid} REFERENCES users (id) ON DELETE SET NULL,
            updated_at BIGINT NOT NULL,
            deleted_at BIGINT,
            noted_at BIGINT NOT NULL,
            listing BIGINT NOT NULL
        )",
        "CREATE UNIQUE INDEX workos_users_user ON workos_users (user_id)",
        "CREATE INDEX workos_users_listing ON workos_users (listing, id) WHERE deleted_at IS NULL",
        "CREATE TABLE workos_state (
            id INTEGER NOT NULL PRIMARY KEY,
            revision BIGINT NOT NULL,
            phase TEXT NOT NULL,
            last_event TEXT,
            last_event_at BIGINT,
            range_start BIGINT,
            listing BIGINT NOT NULL,
            listing_from BIGINT,
            listing_after TEXT,
            synced_at BIGINT,
            applied BIGINT NOT NULL,
            skipped BIGINT NOT NULL,
            quarantined BIGINT NOT NULL,
            trouble TEXT
        )",
        "INSERT INTO workos_state (id, revision, phase, listing, applied, skipped, quarantined)
            VALUES (1, 0, 'new', 0, 0, 0, 0)",
        "CREATE TABLE workos_quarantine (
            id {key} NOT NULL PRIMARY KEY,
            body TEXT NOT NULL,
            reason TEXT NOT NULL,
            at BIGINT NOT NULL
        )",
        "CREATE INDEX workos_quarantine_age ON workos_quarantine (at)",
    ],
    down: &["DROP TABLE workos_quarantine", "DROP TABLE workos_state", "DROP TABLE workos_users"],
};
