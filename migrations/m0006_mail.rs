//! Mails on their way.

use super::Step;

/// `content` is sealed and holds what the letter needs, links and codes too; it is emptied when the mail is sent.
/// `due_at` is the moment from which a worker may take a waiting mail: its next try, or the end of another worker's
/// `lease`. Mails to many (`batch_id`) have their content in common; they come after those that somebody waits for
/// (`rank`). What waits is in one index, in the order of sending, and what has ended in another: in both, SQLite would read and
/// sort everything that waits for each mail it sends. A budget holds the moments of the last five letters that strangers had sent to an address.
pub const STEP: Step = Step {
    name: "m0006_mail",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE mails (
            id {uuid} NOT NULL PRIMARY KEY,
            state TEXT NOT NULL,
            recipient TEXT NOT NULL,
            user_id {uuid},
            letter TEXT NOT NULL,
            language TEXT NOT NULL,
            content {bytes},
            batch_id {uuid},
            rank INTEGER NOT NULL,
            attempts BIGINT NOT NULL,
            due_at BIGINT NOT NULL,
            lease {uuid},
            good_until BIGINT,
            created_at BIGINT NOT NULL,
            finished_at BIGINT,
            last_error TEXT,
            trace_id TEXT
        )",
        "CREATE INDEX mails_due ON mails (rank, due_at) WHERE state = 'waiting'",
        "CREATE INDEX mails_ended ON mails (state, finished_at) WHERE finished_at IS NOT NULL",
        "CREATE INDEX mails_batch ON mails (batch_id, state) WHERE batch_id IS NOT NULL",
        "CREATE TABLE mail_batches (
            id {uuid} NOT NULL PRIMARY KEY,
            state TEXT NOT NULL,
            content {bytes},
            reached {uuid},
            recipients BIGINT NOT NULL,
            created_by {uuid} NOT NULL,
            created_at BIGINT NOT NULL,
            finished_at BIGINT,
            trace_id TEXT
        )",
        "CREATE INDEX mail_batches_open ON mail_batches (id) WHERE state <> 'done'",
        "CREATE TABLE mail_budgets (
            address {bytes} NOT NULL PRIMARY KEY,
            first_at BIGINT NOT NULL,
            second_at BIGINT NOT NULL,
            third_at BIGINT NOT NULL,
            fourth_at BIGINT NOT NULL,
            fifth_at BIGINT NOT NULL
        )",
        "CREATE INDEX mail_budgets_age ON mail_budgets (fifth_at)",
    ],
    down: &["DROP TABLE mail_budgets", "DROP TABLE mail_batches", "DROP TABLE mails"],
};
