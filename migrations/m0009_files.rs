//! Files that people have uploaded, and whom else they belong to.

use super::Step;

/// A name is unique among its owner's files; pictures are named by the server and are no part of that. Where the bytes
/// are, `blob` tells: the row is the truth, bytes without a row are swept. The one row of `file_storage` names the
/// storage that this database's bytes are in, so that nobody sweeps another's.
pub const STEP: Step = Step {
    name: "m0009_files",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE files (
            id {serial},
            created_by {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            picture_of {uuid} REFERENCES users (id) ON DELETE CASCADE,
            name {key} NOT NULL,
            media_type TEXT NOT NULL,
            description TEXT,
            size BIGINT NOT NULL,
            sha256 {bytes} NOT NULL,
            blob {uuid} NOT NULL,
            created_at BIGINT NOT NULL
        )",
        "CREATE UNIQUE INDEX files_name ON files (created_by, name) WHERE picture_of IS NULL",
        "CREATE UNIQUE INDEX files_picture ON files (picture_of) WHERE picture_of IS NOT NULL",
        "CREATE UNIQUE INDEX files_blob ON files (blob)",
        "CREATE INDEX files_owner ON files (created_by, id)",
        "CREATE TABLE file_links (
            user_id {uuid} NOT NULL REFERENCES users (id) ON DELETE CASCADE,
            file_id BIGINT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
            PRIMARY KEY (user_id, file_id)
        )",
        "CREATE INDEX file_links_file ON file_links (file_id)",
        "CREATE TABLE file_storage (id {uuid} NOT NULL PRIMARY KEY)",
    ],
    down: &["DROP TABLE file_storage", "DROP TABLE file_links", "DROP TABLE files"],
};
