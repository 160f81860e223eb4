//! Backups: when, where, how many.

use std::path::PathBuf;

use super::catalogue::section;
use super::kinds::{Optional, Whole, Word};
use super::reader::Reader;
use super::server::FOLDER;
use crate::platform::cron::Cron;

section! {
    /// Backups that the server makes by itself.
    pub struct Backups {
        /// When to make a backup, in UTC: the five fields of a crontab, such as `0 3 * * *`. Unset: never. Of several
        /// instances one makes it.
        schedule: Option<Cron> = "BACKUP_SCHEDULE", Optional(CRON), "";
        /// The folder that backups are kept in; better on another disk than `DATA_DIR`.
        dir: PathBuf = "BACKUP_DIR", FOLDER, "{DATA_DIR}/backups";
        /// How many of them are kept there: the newest.
        keep: u32 = "BACKUP_KEEP", Whole(1, 10_000), "7";
    }
}

const CRON: Word<Cron> = Word {
    accepts: "the five fields of a crontab (minute, hour, day, month, weekday), such as `0 3 * * *`",
    parse: Cron::parse,
};

/// Whoever loses the disk of the data should not lose the backups with it.
pub(super) fn check(backups: &Backups, reader: &mut Reader) {
    let beside = reader.glimpse("DATA_DIR", &FOLDER).is_some_and(|data| backups.dir.starts_with(data));
    if backups.schedule.is_some() && beside {
        reader.warn("BACKUP_DIR lies in DATA_DIR: what destroys the data may destroy the backups with them");
    }
}
