//! Whom events are sent to over HTTP, and what came of it.

use super::Step;

/// `position` is a webhook's own cursor: the last event that it has been sent, or has no interest in. `event_types` are those it
/// is sent, with spaces between; empty for all. `disabled` says why it is sent nothing. While tries fail, `failing_since`
/// is when the first one did, `attempts` how many there were, and `next_try_at` when the same event is tried again. `version`
/// counts changes of what an admin has said, so that a try that began before one of them is not booked after it.
///
/// Deliveries are counted for each webhook, so that dropping the oldest is a range of the key.
pub const STEP: Step = Step {
    name: "m0013_webhooks",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE webhooks (
            id {uuid} NOT NULL PRIMARY KEY,
            url TEXT NOT NULL,
            description TEXT NOT NULL,
            event_types TEXT NOT NULL,
            sealed_secret {bytes} NOT NULL,
            sealed_previous {bytes},
            previous_until BIGINT,
            disabled TEXT,
            disabled_at BIGINT,
            position BIGINT NOT NULL,
            failing_since BIGINT,
            attempts BIGINT NOT NULL,
            next_try_at BIGINT,
            deliveries BIGINT NOT NULL,
            version BIGINT NOT NULL,
            created_by {uuid} NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )",
        "CREATE TABLE webhook_deliveries (
            webhook_id {uuid} NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
            number BIGINT NOT NULL,
            event_id {uuid} NOT NULL,
            event_type TEXT NOT NULL,
            attempt BIGINT NOT NULL,
            status BIGINT,
            error TEXT,
            duration BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            PRIMARY KEY (webhook_id, number)
        )",
        "CREATE INDEX webhook_deliveries_created ON webhook_deliveries (created_at)",
    ],
    down: &["DROP TABLE webhook_deliveries", "DROP TABLE webhooks"],
};
