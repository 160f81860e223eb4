//! Tokens that work once and are not mailed: the set-up link.

use super::Step;

/// Only digests are kept; using a token deletes its row.
pub const STEP: Step = Step {
    name: "m0005_one_time_tokens",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE one_time_tokens (
            digest {bytes} NOT NULL PRIMARY KEY,
            purpose TEXT NOT NULL,
            user_id {uuid} REFERENCES users (id) ON DELETE CASCADE,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )",
        "CREATE INDEX one_time_tokens_user ON one_time_tokens (user_id)",
        "CREATE INDEX one_time_tokens_expiry ON one_time_tokens (expires_at)",
    ],
    down: &["DROP TABLE one_time_tokens"],
};
