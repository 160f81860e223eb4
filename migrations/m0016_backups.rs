//! Backups that were made by schedule, so that several instances make one together and somebody notices when there is none.

use super::Step;

/// A row is written when a backup begins. One without an end is under way, or its process is no more. Where it is, its
/// name tells; whether it is still there, only a look into the folder.
pub const STEP: Step = Step {
    name: "m0016_backups",
    min_binary: "0.1.0",
    up: &[
        "CREATE TABLE backups (
            id {uuid} NOT NULL PRIMARY KEY,
            began_at BIGINT NOT NULL,
            ended_at BIGINT,
            name TEXT,
            size BIGINT,
            files BIGINT,
            error TEXT
        )",
        "CREATE INDEX backups_began ON backups (began_at)",
    ],
    down: &["DROP TABLE backups"],
};
