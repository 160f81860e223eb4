//! Third-party sign-in: accounts elsewhere, and what happens between leaving for a provider and being in.

use super::Step;

/// Who somebody is elsewhere is provider and subject, never an address; an account has at most one account at each
/// provider. Of what is in somebody's hands (state, cookie, code) only digests are kept; what a provider gave us is
/// sealed. Transactions and codes are deleted by being used. An account that waits to be joined goes with the challenge
/// whose answer it waits for.
pub const STEP: Step = Step {
    name: "m0011_oauth",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE external_accounts (
            id {uuid} NOT NULL PRIMARY KEY,
            provider {key} NOT NULL,
            subject {key} NOT NULL,
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            username TEXT,
            display_name TEXT,
            email TEXT,
            picture_url TEXT,
            sealed_grant {bytes},
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL
        )",
        "CREATE UNIQUE INDEX external_accounts_subject ON external_accounts (provider, subject)",
        "CREATE UNIQUE INDEX external_accounts_user ON external_accounts (user_id, provider)",
        "CREATE TABLE oauth_transactions (
            state_digest {bytes} NOT NULL PRIMARY KEY,
            cookie_digest {bytes} NOT NULL,
            provider TEXT NOT NULL,
            intent TEXT NOT NULL,
            user_id {uuid} REFERENCES users (id) ON DELETE CASCADE,
            session_id {uuid},
            place TEXT NOT NULL,
            code_challenge TEXT,
            sealed {bytes} NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )",
        "CREATE INDEX oauth_transactions_user ON oauth_transactions (user_id)",
        "CREATE INDEX oauth_transactions_expiry ON oauth_transactions (expires_at)",
        "CREATE TABLE oauth_codes (
            digest {bytes} NOT NULL PRIMARY KEY,
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            token_version BIGINT NOT NULL,
            place TEXT NOT NULL,
            code_challenge TEXT,
            sealed_joining {bytes},
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )",
        "CREATE INDEX oauth_codes_user ON oauth_codes (user_id)",
        "CREATE INDEX oauth_codes_expiry ON oauth_codes (expires_at)",
        "CREATE TABLE oauth_joinings (
            challenge {bytes} NOT NULL PRIMARY KEY REFERENCES otp_challenges (digest) ON DELETE CASCADE,
            sealed {bytes} NOT NULL
        )",
        // The account without a password that a sign-up would add one to. No reference: SQLite could not drop it.
        "ALTER TABLE sign_ups ADD COLUMN adds_to {uuid}",
    ],
    down: &[
        "ALTER TABLE sign_ups DROP COLUMN adds_to",
        "DROP TABLE oauth_joinings",
        "DROP TABLE oauth_codes",
        "DROP TABLE oauth_transactions",
        "DROP TABLE external_accounts",
    ],
};
