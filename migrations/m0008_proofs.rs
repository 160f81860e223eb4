//! What is proved by a mailed link: an address, a sign-up, the right to choose a new password.

use super::Step;

/// A sign-up becomes an account only when its address is proved; until then nobody can tell whether the address was
/// free. Of a link only the digest is kept, with what it is bound to: the address, and the state of the account when
/// it was sent. Using a link deletes its row.
pub const STEP: Step = Step {
    name: "m0008_proofs",
    min_binary: "0.1.0",
    up: &[
        "ALTER TABLE users ADD COLUMN pending_email TEXT",
        "CREATE TABLE sign_ups (
            id {uuid} NOT NULL PRIMARY KEY,
            username {key} NOT NULL,
            email {key} NOT NULL,
            fields TEXT NOT NULL,
            password_hash TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )",
        "CREATE UNIQUE INDEX sign_ups_username ON sign_ups (username)",
        "CREATE INDEX sign_ups_email ON sign_ups (email, created_at)",
        "CREATE INDEX sign_ups_expiry ON sign_ups (expires_at)",
        "CREATE TABLE mailed_links (
            digest {bytes} NOT NULL PRIMARY KEY,
            purpose TEXT NOT NULL,
            user_id {uuid} REFERENCES users (id) ON DELETE CASCADE,
            sign_up_id {uuid} REFERENCES sign_ups (id) ON DELETE CASCADE,
            session_id {uuid},
            email TEXT NOT NULL,
            token_version BIGINT NOT NULL,
            password_changed_at BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL
        )",
        "CREATE INDEX mailed_links_user ON mailed_links (user_id)",
        "CREATE INDEX mailed_links_sign_up ON mailed_links (sign_up_id)",
        "CREATE INDEX mailed_links_expiry ON mailed_links (expires_at)",
    ],
    down: &["DROP TABLE mailed_links", "DROP TABLE sign_ups", "ALTER TABLE users DROP COLUMN pending_email"],
};
