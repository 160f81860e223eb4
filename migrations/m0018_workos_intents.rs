//! Whom we are about to make at WorkOS, so that nobody stays there of whom nothing came here.

use super::Step;

/// A row is committed before WorkOS is asked, and goes with the transaction that makes the account, or once nobody has the
/// id there. `id` is the one that the account is to have, and that WorkOS is told as `external_id`; nothing of the person
/// is kept. Once `given_up_at` is set no account is made of it any more; it is when that was done the last time. `told_at`
/// is the newest that WorkOS told of them meanwhile, by WorkOS's clock. There are as many rows as people are being made,
/// so nothing is gained by an index.
pub const STEP: Step = Step {
    name: "m0018_workos_intents",
    min_binary: "0.1.0",
    up: &["CREATE TABLE workos_intents (
            id {uuid} NOT NULL PRIMARY KEY,
            begun_at BIGINT NOT NULL,
            given_up_at BIGINT,
            told_at BIGINT
        )"],
    down: &["DROP TABLE workos_intents"],
};
