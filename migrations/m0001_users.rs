//! People with an account, what happened to them, whom they block.

use super::Step;

/// A user name and an e-mail address are unique among accounts that are not deleted: deleting frees both at once.
/// The id of a purged account is never given again. The last two columns of most indexes make pages by cursor cost the same anywhere in the list.
///
/// A line of history is written with each change, so its table has no more indexes than it must: its ids begin with the
/// moment, so they find what is old.
pub const STEP: Step = Step {
    name: "m0001_users",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE users (
            id {uuid} NOT NULL PRIMARY KEY,
            username {key} NOT NULL,
            display_name TEXT NOT NULL,
            search_name {key} NOT NULL,
            email {key},
            email_verified BOOLEAN NOT NULL,
            first_name TEXT,
            last_name TEXT,
            middle_name TEXT,
            description TEXT,
            locale TEXT,
            password_hash TEXT,
            password_changed_at BIGINT,
            roles INTEGER NOT NULL,
            is_active BOOLEAN NOT NULL,
            is_external_only BOOLEAN NOT NULL,
            metadata TEXT NOT NULL,
            token_version BIGINT NOT NULL,
            revision BIGINT NOT NULL,
            created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL,
            deleted_at BIGINT
        )",
        "CREATE UNIQUE INDEX users_username ON users (username) WHERE deleted_at IS NULL",
        "CREATE UNIQUE INDEX users_email ON users (email) WHERE deleted_at IS NULL AND email IS NOT NULL",
        "CREATE INDEX users_search_name ON users (search_name) WHERE deleted_at IS NULL",
        "CREATE INDEX users_created ON users (created_at, id)",
        "CREATE INDEX users_updated ON users (updated_at, id)",
        "CREATE INDEX users_deleted ON users (deleted_at) WHERE deleted_at IS NOT NULL",
        "CREATE INDEX users_deleted_username ON users (username) WHERE deleted_at IS NOT NULL",
        "CREATE INDEX users_deleted_email ON users (email) WHERE deleted_at IS NOT NULL",
        "CREATE INDEX users_staff ON users (roles) WHERE (roles & 3) <> 0 AND deleted_at IS NULL",
        // It would take nearly everybody for staff.
        "{postgres}CREATE STATISTICS users_staff_share ON (roles & 3) FROM users",
        "CREATE TABLE user_history (
            id {uuid} NOT NULL PRIMARY KEY,
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            at BIGINT NOT NULL,
            action TEXT NOT NULL,
            description TEXT NOT NULL,
            by_id {uuid},
            trace_id TEXT
        ){by_key}",
        "CREATE INDEX user_history_user ON user_history (user_id, at, id)",
        "CREATE TABLE user_blocks (
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            blocked_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            created_at BIGINT NOT NULL,
            PRIMARY KEY (user_id, blocked_id)
        )",
        "CREATE INDEX user_blocks_blocked ON user_blocks (blocked_id, user_id)",
        "CREATE TABLE spent_user_ids (id {uuid} NOT NULL PRIMARY KEY, spent_at BIGINT NOT NULL)",
        "CREATE INDEX spent_user_ids_age ON spent_user_ids (spent_at)",
    ],
    down: &[
        "DROP TABLE spent_user_ids",
        "DROP TABLE user_blocks",
        "DROP TABLE user_history",
        "DROP TABLE users",
    ],
};
