//! The second factor.

use super::Step;

/// Seeds are sealed under the master secret; of codes and challenges only digests are kept. What may be used once is a
/// row, or a step, that one conditional statement consumes. The code that somebody was sent while signed in goes with
/// their session.
pub const STEP: Step = Step {
    name: "m0007_second_factor",
    min_binary: "0.1.0",
    up: &[
        "ALTER TABLE users ADD COLUMN otp_method TEXT NOT NULL DEFAULT 'none'",
        "CREATE TABLE second_factors (
            user_id {uuid} NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
            sealed_seed {bytes},
            last_step BIGINT NOT NULL,
            pending_seed {bytes},
            pending_until BIGINT
        )",
        "CREATE INDEX second_factors_pending ON second_factors (pending_until) WHERE pending_until IS NOT NULL",
        "CREATE TABLE recovery_codes (
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            digest {bytes} NOT NULL,
            PRIMARY KEY (user_id, digest)
        )",
        "CREATE TABLE otp_challenges (
            digest {bytes} NOT NULL PRIMARY KEY,
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            method TEXT NOT NULL,
            kind TEXT NOT NULL,
            amr TEXT NOT NULL,
            wrong BIGINT NOT NULL,
            password_changed_at BIGINT,
            token_version BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            code_digest {bytes},
            code_sent_at BIGINT
        )",
        "CREATE INDEX otp_challenges_user ON otp_challenges (user_id, created_at)",
        "CREATE INDEX otp_challenges_expiry ON otp_challenges (expires_at)",
        "CREATE TABLE otp_session_codes (
            session_id {uuid} NOT NULL PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            code_digest {bytes} NOT NULL,
            code_sent_at BIGINT NOT NULL,
            wrong BIGINT NOT NULL
        )",
        "CREATE INDEX otp_session_codes_user ON otp_session_codes (user_id)",
        "CREATE INDEX otp_session_codes_age ON otp_session_codes (code_sent_at)",
    ],
    down: &[
        "DROP TABLE otp_session_codes",
        "DROP TABLE otp_challenges",
        "DROP TABLE recovery_codes",
        "DROP TABLE second_factors",
        "ALTER TABLE users DROP COLUMN otp_method",
    ],
};
