//! What backups are called, and which of them are kept.

use std::fs;
use std::io;
use std::path::Path;

use crate::platform::clock::Timestamp;

/// What a backup is called, before and behind its moment.
const BEGINS: &str = "gatehouse-";
const ENDS: &str = ".tar";
const MOMENT: &str = "%Y%m%dT%H%M%SZ";

/// Removes the oldest backups of a folder but the newest `keep`; what is not one by its name stays. How many it removed.
///
/// None is newer than `newest`, which was just made: what is called so was made before the clock was set back. It goes
/// first, else it would outlive all that are made until the clock has caught up.
pub fn keep_newest(folder: &Path, keep: usize, newest: &Path) -> io::Result<usize> {
    let mut backups = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_one = entry.file_name().to_str().is_some_and(is_name) && entry.file_type()?.is_file();
        if is_one {
            backups.push(entry.path());
        }
    }
    backups.sort();
    backups.sort_by_key(|path| path.file_name() <= newest.file_name());
    let old = backups.len().saturating_sub(keep);
    for path in &backups[..old] {
        fs::remove_file(path)?;
    }
    Ok(old)
}

/// `gatehouse-20260101T030000Z.tar`: sorts by time.
pub(super) fn name_of(now: Timestamp) -> String {
    let moment = chrono::DateTime::from_timestamp(now.seconds(), 0).unwrap_or_default();
    format!("{BEGINS}{}{ENDS}", moment.format(MOMENT))
}

fn is_name(name: &str) -> bool {
    let moment = name.strip_prefix(BEGINS).and_then(|rest| rest.strip_suffix(ENDS));
    moment.is_some_and(|moment| {
        let read = chrono::NaiveDateTime::parse_from_str(moment, MOMENT);
        read.is_ok_and(|read| read.format(MOMENT).to_string() == moment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_nothing_else_is_one() {
        let name = name_of(Timestamp::from_seconds(1_767_236_400));
        assert_eq!(name, "gatehouse-20260101T030000Z.tar");
        assert!(is_name(&name));
        for other in [
            "gatehouse-20260101T030000Z.tar.gz",
            "gatehouse-20260101T030000Z.tar.gpg",
            "gatehouse-20260101.tar",
            "gatehouse-20261301T030000Z.tar",
            "gatehouse-.tar",
            "old-gatehouse-20260101T030000Z.tar",
            "gatehouse.db",
        ] {
            assert!(!is_name(other), "{other}");
        }
    }

    #[test]
    fn exactly_the_newest_are_kept_and_nothing_that_is_no_backup_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let name = |day: u32| format!("gatehouse-202601{day:02}T030000Z.tar");
        for day in 1..=9 {
            fs::write(path(&name(day)), "").unwrap();
        }
        let foreign = ["gatehouse-20250101T030000Z.tar.gpg", "notes.txt", "gatehouse-2025.tar", ".hidden"];
        for other in foreign {
            fs::write(path(other), "").unwrap();
        }
        fs::create_dir(path("gatehouse-20250101T030000Z.tar")).unwrap();
        std::os::unix::fs::symlink(path("notes.txt"), path("gatehouse-20250102T030000Z.tar")).unwrap();

        let newest = path(&name(9));
        assert_eq!(keep_newest(folder.path(), 4, &newest).unwrap(), 5);
        for day in 1..=9 {
            assert_eq!(path(&name(day)).exists(), day > 5, "{day}");
        }
        for other in
            foreign.into_iter().chain(["gatehouse-20250101T030000Z.tar", "gatehouse-20250102T030000Z.tar"])
        {
            assert!(path(other).symlink_metadata().is_ok(), "{other}");
        }
        assert_eq!(keep_newest(folder.path(), 4, &newest).unwrap(), 0);
        assert_eq!(keep_newest(folder.path(), 100, &newest).unwrap(), 0);
    }

    #[test]
    fn what_was_made_before_the_clock_was_set_back_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = |day: u32| folder.path().join(format!("gatehouse-202601{day:02}T030000Z.tar"));
        for day in [1, 2, 3, 20, 21, 22] {
            fs::write(path(day), "").unwrap();
        }
        let kept = |keep| {
            keep_newest(folder.path(), keep, &path(3)).unwrap();
            [1, 2, 3, 20, 21, 22].into_iter().filter(|day| path(*day).exists()).collect::<Vec<u32>>()
        };
        assert_eq!(kept(5), [1, 2, 3, 21, 22]);
        assert_eq!(kept(2), [2, 3]);
        assert_eq!(kept(1), [3]);
    }
}
