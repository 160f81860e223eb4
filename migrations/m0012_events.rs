//! What other systems are told: the outbox, and who may send from it.

use super::Step;

/// An event is written in the transaction of the change that it tells of. `sequence` counts a user's events, from a counter
/// on the row of the user, whose lock keeps the next one waiting until this one is there: so a user's events have their
/// `number`s in the order of their sequence. `position` is the order in which everybody is told. On PostgreSQL one relay gives
/// it, since numbers become visible in another order than they were drawn; what has none yet is in none of its indexes. SQLite
/// has one writer, so there the order of writing is that order, and `position` is the key of the table. Each change pays for
/// each index here: ids begin with the moment, so they find what is old. There is no reference to the user: the event of a
/// purge outlives its user. `trouble` says why an event waits aside (`parked`) or reached no queue (`unrouted`).
///
/// A lease is held by one instance until it expires, by the database's clock.
pub const STEP: Step = Step {
    name: "m0012_events",
    min_binary: "0.1.0",
    up: &[
        "ALTER TABLE users ADD COLUMN event_sequence BIGINT NOT NULL DEFAULT 0",
        "CREATE TABLE events (
            {turn},
            id {uuid} NOT NULL,
            user_id {uuid} NOT NULL,
            sequence BIGINT NOT NULL,
            event_type TEXT NOT NULL,
            payload TEXT NOT NULL,
            trace_id TEXT,
            created_at BIGINT NOT NULL,
            published_at BIGINT,
            trouble TEXT
        )",
        "CREATE UNIQUE INDEX events_id ON events (id)",
        "CREATE UNIQUE INDEX events_sequence ON events (user_id, sequence)",
        "{postgres}CREATE UNIQUE INDEX events_position ON events (position) WHERE position IS NOT NULL",
        "{postgres}CREATE INDEX events_unplaced ON events (number) WHERE position IS NULL",
        "{postgres}CREATE INDEX events_unpublished ON events (position)
            WHERE position IS NOT NULL AND published_at IS NULL AND trouble IS NULL",
        // There the key is never null: SQLite drops that condition from a question, and would not know the index by it.
        "{sqlite}CREATE INDEX events_unpublished ON events (position) WHERE published_at IS NULL AND trouble IS NULL",
        "CREATE TABLE leases (
            name {key} NOT NULL PRIMARY KEY,
            holder {uuid} NOT NULL,
            expires_at BIGINT NOT NULL
        )",
    ],
    down: &["DROP TABLE leases", "DROP TABLE events", "ALTER TABLE users DROP COLUMN event_sequence"],
};
