//! Who is signed in where.

use super::Step;

/// A session holds the digests of its current secret and of the one before it; an ended session is a deleted row.
pub const STEP: Step = Step {
    name: "m0002_sessions",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE sessions (
            id {uuid} NOT NULL PRIMARY KEY,
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            secret_digest {bytes} NOT NULL,
            previous_digest {bytes},
            rotated_at BIGINT,
            amr TEXT NOT NULL,
            user_agent TEXT,
            ip TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            last_seen_at BIGINT NOT NULL,
            proved_at BIGINT NOT NULL,
            idle_expires_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )",
        "CREATE INDEX sessions_user ON sessions (user_id, last_seen_at)",
        "CREATE INDEX sessions_idle ON sessions (idle_expires_at)",
    ],
    down: &["DROP TABLE sessions"],
};
