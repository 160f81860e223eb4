//! How often somebody tried.

use super::Step;

/// One row per account and per client; kept in the database so that a restart forgives nobody.
pub const STEP: Step = Step {
    name: "m0004_throttles",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE throttles (
            bucket TEXT NOT NULL PRIMARY KEY,
            failures BIGINT NOT NULL,
            pending BIGINT NOT NULL,
            started_at BIGINT NOT NULL,
            not_before BIGINT NOT NULL,
            forget_at BIGINT NOT NULL
        )",
        "CREATE INDEX throttles_forget ON throttles (forget_at)",
    ],
    down: &["DROP TABLE throttles"],
};
