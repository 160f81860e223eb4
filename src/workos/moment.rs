//! Moments as WorkOS writes them.

use chrono::{DateTime, NaiveDateTime};

use crate::platform::clock::Timestamp;

/// Times without a zone, which are in UTC: the documentation of WorkOS shows `2023-04-28 20:05:31.093`.
const WITHOUT_ZONE: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];

/// A moment in ISO 8601, with or without a zone. What lies before 1970, as the zero of many a program does, is as long
/// ago as rows can say.
pub(super) fn of_json(text: &str) -> Option<Timestamp> {
    let with_zone = DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_millis());
    let read = |form: &&str| NaiveDateTime::parse_from_str(text, form).ok();
    let without = || WITHOUT_ZONE.iter().find_map(read).map(|at| at.and_utc().timestamp_millis());
    let millis = with_zone.or_else(without).filter(|millis| *millis <= Timestamp::LAST.millis())?;
    Some(Timestamp::from_millis(millis.max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_every_form_that_was_seen() {
        let at = Some(Timestamp::from_millis(1_768_478_400_093));
        for text in [
            "2026-01-15T12:00:00.093Z",
            "2026-01-15T12:00:00.093+00:00",
            "2026-01-15T13:00:00.093+01:00",
            "2026-01-15 12:00:00.093",
            "2026-01-15T12:00:00.093",
            "2026-01-15T12:00:00.093999Z",
        ] {
            assert_eq!(of_json(text), at, "{text}");
        }
        assert_eq!(of_json("2026-01-15T12:00:00Z"), Some(Timestamp::from_seconds(1_768_478_400)));
        for long_ago in ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "1900-01-01 00:00:00"] {
            assert_eq!(of_json(long_ago), Some(Timestamp::from_millis(0)), "{long_ago}");
        }
        for none in
            ["9999-12-31T23:59:59-12:00", "", "now", "1768478400", "2026-13-01T00:00:00Z", "2026-01-15"]
        {
            assert_eq!(of_json(none), None, "{none}");
        }
        assert_eq!(at.map(Timestamp::rfc3339).as_deref(), Some("2026-01-15T12:00:00.093Z"));
    }
}
