//! When something is to be done again and again: the five fields of a crontab, in UTC.

use chrono::{DateTime, Datelike, Days, NaiveDate, Timelike, Utc};

use super::clock::Timestamp;

/// What never comes within so many days never comes: the 29th of February is at most eight years away.
const FARTHEST: u64 = 8 * 366;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Minutes at which something is due, as POSIX describes them (crontab, EXTENDED DESCRIPTION): minute, hour, day of the
/// month, month, day of the week, each `*`, numbers, ranges and lists of them; besides, steps (`*/15`) and the English
/// names of months and weekdays. Where both kinds of day are restricted, either will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: Numbers,
    hours: Numbers,
    days: Numbers,
    months: Numbers,
    weekdays: Numbers,
    either_day: bool,
}

/// A set of numbers below 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers(u64);

impl Numbers {
    const fn has(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }
}

impl Cron {
    /// Reads the five fields. What would never be due, such as the 30th of February, is none either.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else { return None };
        let weekdays = numbers(weekday, 0, 7, &WEEKDAYS, 0)?;
        let cron = Self {
            minutes: numbers(minute, 0, 59, &[], 0)?,
            hours: numbers(hour, 0, 23, &[], 0)?,
            days: numbers(day, 1, 31, &[], 0)?,
            months: numbers(month, 1, 12, &MONTHS, 1)?,
            // Sunday is 0 and 7.
            weekdays: Numbers((weekdays.0 | weekdays.0 >> 7) & 0x7f),
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        cron.next_after(Timestamp::from_millis(0)).is_some().then_some(cron)
    }

    /// The first minute behind `moment` at which it is due.
    #[must_use]
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let begin = DateTime::<Utc>::from_timestamp(moment.seconds().div_euclid(60) * 60 + 60, 0)?;
        let first = begin.date_naive();
        let due = (0..=FARTHEST).find_map(|days| {
            let day = first.checked_add_days(Days::new(days))?;
            let from = if days == 0 { begin.hour() * 60 + begin.minute() } else { 0 };
            let minute = self.is_on(day).then(|| self.minute_from(from))??;
            day.and_hms_opt(minute / 60, minute % 60, 0)
        })?;
        Some(Timestamp::from_seconds(due.and_utc().timestamp()))
    }

    fn is_on(&self, day: NaiveDate) -> bool {
        let of_month = self.days.has(day.day());
        let of_week = self.weekdays.has(day.weekday().num_days_from_sunday());
        let fits = if self.either_day { of_month || of_week } else { of_month && of_week };
        self.months.has(day.month()) && fits
    }

    /// The first of a day's minutes from this one on.
    fn minute_from(&self, from: u32) -> Option<u32> {
        (from..24 * 60).find(|minute| self.hours.has(minute / 60) && self.minutes.has(minute % 60))
    }
}

/// A field: a list of ranges.
fn numbers(field: &str, from: u32, to: u32, names: &[&str], first: u32) -> Option<Numbers> {
    let read = |text: &str| {
        let by_name = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let digits = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        let number = by_name.and_then(|place| u32::try_from(place).ok()).map(|place| place + first);
        number.or_else(digits).filter(|number| (from..=to).contains(number))
    };
    field.split(',').try_fold(Numbers(0), |set, part| {
        let (range, step) = match part.split_once('/') {
            // A step of a single number says nothing.
            Some((range, step)) if range == "*" || range.contains('-') => {
                (range, step.parse().ok().filter(|step| (1..=to).contains(step))?)
            }
            Some(_) => return None,
            None => (part, 1),
        };
        let (least, most) = match range.split_once('-') {
            _ if range == "*" => (from, if to == 7 { 6 } else { to }),
            Some((least, most)) => (read(least)?, read(most)?),
            None => (read(range)?, read(range)?),
        };
        let each = (least..=most).step_by(usize::try_from(step).ok()?);
        (least <= most).then(|| Numbers(each.fold(set.0, |set, number| set | 1 << number)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        Timestamp::from_seconds(DateTime::parse_from_rfc3339(text).unwrap().timestamp())
    }

    /// The next moments behind `from`, in RFC 3339.
    fn next(cron: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron).unwrap();
        let moments = std::iter::successors(Some(moment(from)), |last| cron.next_after(*last));
        let shown = |at: Timestamp| DateTime::from_timestamp(at.seconds(), 0).unwrap().to_rfc3339();
        moments.skip(1).take(count).map(|at| shown(at).replace(":00+00:00", "Z")).collect()
    }

    #[test]
    fn what_is_due_comes_in_order() {
        for (cron, from, due) in [
            ("0 3 * * *", "2026-01-01T00:00:00Z", &["2026-01-01T03:00Z", "2026-01-02T03:00Z"][..]),
            ("0 3 * * *", "2026-01-01T03:00:00Z", &["2026-01-02T03:00Z"]),
            ("0 3 * * *", "2026-01-01T02:59:59Z", &["2026-01-01T03:00Z"]),
            ("*/20 22-23 31 dec *", "2026-12-31T23:30:00Z", &["2026-12-31T23:40Z", "2027-12-31T22:00Z"]),
            ("5,10 0 * * *", "2026-01-01T00:05:30Z", &["2026-01-01T00:10Z", "2026-01-02T00:05Z"]),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", &["2028-02-29T00:00Z", "2032-02-29T00:00Z"]),
            // 2026-01-01 is a Thursday.
            ("30 1 * * sun", "2026-01-01T00:00:00Z", &["2026-01-04T01:30Z", "2026-01-11T01:30Z"]),
            ("30 1 * * 7", "2026-01-01T00:00:00Z", &["2026-01-04T01:30Z"]),
            ("30 1 * * MON-FRI", "2026-01-02T02:00:00Z", &["2026-01-05T01:30Z"]),
            ("0 0 13 * fri", "2026-01-03T00:00:00Z", &["2026-01-09T00:00Z", "2026-01-13T00:00Z"]),
            ("0 0 */2 * fri", "2026-01-03T00:00:00Z", &["2026-01-09T00:00Z", "2026-01-23T00:00Z"]),
            ("0-30/10 4 1 * *", "2026-01-01T04:15:00Z", &["2026-01-01T04:20Z", "2026-01-01T04:30Z"]),
        ] {
            assert_eq!(next(cron, from, due.len()), due, "{cron} behind {from}");
        }
    }

    #[test]
    fn the_century_that_skips_its_leap_day_is_not_too_far() {
        assert_eq!(next("0 0 29 2 *", "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00Z"]);
    }

    #[test]
    fn what_is_no_crontab_or_never_due_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "@daily",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            "*/0 * * * *",
            "5/2 * * * *",
            "*/ * * * *",
            "-1 * * * *",
            "+1 * * * *",
            ", * * * *",
            "1,, * * * *",
            "jan * * * *",
            "0 0 30 2 *",
            "0 0 31 4,6,9,11 *",
            "99999999999 * * * *",
        ] {
            assert_eq!(Cron::parse(text), None, "{text}");
        }
    }
}
