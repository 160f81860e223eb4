//! What S1 wrote, as it is kept here.

use rusqlite::types::Value;
use uuid::Uuid;

use crate::platform::clock::Timestamp;
use crate::platform::secrets::digest;
use crate::users::fits_name;

/// The last second of the year 9999: no moment of S1's lies behind it.
pub(super) const LAST_SECOND: i64 = Timestamp::LAST.seconds();

/// As the database keeps it.
pub(super) fn id_value(id: Uuid) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

/// An id for what S1 gave none: the same at each try, so that a second import finds what the first one brought.
pub(super) fn stable_id(millis: i64, parts: &[&str]) -> Uuid {
    let text = parts.iter().fold(String::from("s1"), |text, part| format!("{text}\0{part}"));
    let mut chance = [0; 10];
    chance.copy_from_slice(&digest(text.as_bytes())[..10]);
    let millis = u64::try_from(millis).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid()
}

/// Words of S1's as a line of ours: without what can't be seen or moves other characters about, cut to so many characters.
pub(super) fn words(text: &str, most: usize) -> String {
    text.chars().filter(|c| fits_name(*c)).take(most).collect()
}

/// The moment that history of S1's writes as `2024-12-31 23:59:59 UTC`.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let read = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S UTC").ok()?;
    let seconds = read.and_utc().timestamp();
    (0..=LAST_SECOND).contains(&seconds).then(|| Timestamp::from_seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_at_each_try_and_differ_with_what_they_are_of() {
        let id = |parts: &[&str]| stable_id(1_700_000_000_000, parts);
        assert_eq!(id(&["a", "b"]), id(&["a", "b"]));
        assert_ne!(id(&["a", "b"]), id(&["ab"]));
        assert_ne!(id(&["a", "b"]), id(&["b", "a"]));
        assert_eq!(id(&["a"]).get_version_num(), 7);
    }

    #[test]
    fn moments_of_history_are_read_and_nothing_like_them() {
        assert_eq!(moment("2024-12-31 23:59:59 UTC"), Some(Timestamp::from_seconds(1_735_689_599)));
        for text in [
            "",
            "2024-12-31",
            "2024-12-31 23:59:59",
            "2024-13-01 00:00:00 UTC",
            "1 UTC",
            "0001-01-01 00:00:00 UTC",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
