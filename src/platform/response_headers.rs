//! What other servers tell of time in the headers of their answers: what their clock says, and how long they want to be
//! left alone.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::clock::Timestamp;

/// When the answer was made, by the clock of whoever made it.
#[must_use]
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    moment(headers.get(DATE)?.to_str().ok()?)
}

/// How long `Retry-After` asks to wait (RFC 9110, 10.2.3): seconds, or until a moment by the clock of whoever names it,
/// which is taken for `now` where they don't tell. As long as they like: whoever asks has bounds of their own.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    moment(text).map(|at| at.since(date(headers).unwrap_or(now)))
}

/// A moment as headers have it (RFC 9110, 5.6.7).
fn moment(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc2822(text).ok().map(|at| Timestamp::from_millis(at.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_768_478_400);

    fn asked(text: &'static str, date: Option<&'static str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
        headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
        retry_after(&headers, NOW)
    }

    #[test]
    fn retry_after_is_seconds_or_a_moment_by_their_clock() {
        assert_eq!(asked("30", None), Some(Duration::from_secs(30)));
        assert_eq!(asked(" 30 ", Some("Thu, 15 Jan 2026 11:00:00 GMT")), Some(Duration::from_secs(30)));
        assert_eq!(asked("Thu, 15 Jan 2026 12:00:07 GMT", None), Some(Duration::from_secs(7)));
        let theirs = Some("Thu, 15 Jan 2026 12:00:05 GMT");
        assert_eq!(asked("Thu, 15 Jan 2026 12:00:07 GMT", theirs), Some(Duration::from_secs(2)));
        assert_eq!(asked("Thu, 15 Jan 2026 12:00:07 GMT", Some("today")), Some(Duration::from_secs(7)));
        assert_eq!(asked("Thu, 15 Jan 2026 11:00:00 GMT", None), Some(Duration::ZERO));
        assert_eq!(asked("99999999999999", None), Some(Duration::from_secs(99_999_999_999_999)));
        for bad in ["", "soon", "-1", "1.5", "999999999999999999999999"] {
            assert_eq!(asked(bad, None), None, "{bad}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), NOW), None);
    }

    #[test]
    fn their_clock_is_read_where_they_tell() {
        let of = |text| date(&HeaderMap::from_iter([(DATE, HeaderValue::from_static(text))]));
        assert_eq!(of("Thu, 15 Jan 2026 12:00:00 GMT"), Some(NOW));
        assert_eq!(of("noon"), None);
        assert_eq!(date(&HeaderMap::new()), None);
    }
}
