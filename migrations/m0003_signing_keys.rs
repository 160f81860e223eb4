//! The keys that sign access tokens.

use super::Step;

/// Private keys are sealed under the master secret. A key signs until a newer one of its algorithm exists and
/// verifies until it is retired.
pub const STEP: Step = Step {
    name: "m0003_signing_keys",
    min_binary: "0.1.0",
    up: &["CREATE TABLE signing_keys (
            kid TEXT NOT NULL PRIMARY KEY,
            algorithm TEXT NOT NULL,
            sealed_private_key {bytes} NOT NULL,
            created_at BIGINT NOT NULL,
            retires_at BIGINT
        )"],
    down: &["DROP TABLE signing_keys"],
};
