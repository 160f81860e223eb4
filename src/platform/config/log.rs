//! What is logged and how it looks.

use std::io::IsTerminal;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::catalogue::{Alias, section};
use super::kinds::{Flag, Word};
use crate::platform::telemetry::files::{Retention, Rotation};

section! {
    /// What is logged and how it looks.
    pub struct Log {
        /// `TRACE`, `DEBUG`, `INFO`, `SUCCESS` (as INFO), `WARNING`, `ERROR`, `CRITICAL` (as ERROR), or a filter of
        /// the tracing library, as `info,sqlx=debug`.
        filter: String = "LOG_LEVEL" or Alias::Switch("DEBUG", "DEBUG"), FILTER, "INFO";
        /// `pretty` for eyes, `json` for machines; `auto` is pretty on a terminal and json elsewhere.
        format: LogFormat = "LOG_FORMAT", FORMAT, "auto";
        /// Whether the log goes to files in `DATA_DIR/logs` as well, as JSON.
        file_enabled: bool = "LOG_FILE_ENABLED", Flag, "False";
        /// What goes to the files: as `LOG_LEVEL`.
        file_filter: String = "LOG_FILE_LEVEL", FILTER, "WARNING";
        /// When a new file is begun: a number of hours, or a size, or a time, or one of each with a comma between.
        file_rotation: Rotation = "LOG_FILE_ROTATION", ROTATION, "24";
        /// Which old files are kept: those of so many days, or so many files, or so many bytes, or of so long.
        file_retention: Retention = "LOG_FILE_RETENTION", RETENTION, "30";
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes.
    Pretty,
    /// One JSON object a line.
    Json,
}

const FILTER: Word<String> = Word {
    accepts: "TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR, CRITICAL or a filter, as info,sqlx=debug",
    parse: |text| match level(text) {
        Some(level) => Some(level.to_owned()),
        // A single word would be taken for the name of a module, and a misspelled level would log nothing.
        None if !text.contains(['=', ',', '[']) => None,
        None => EnvFilter::try_new(text).ok().map(|_| text.to_owned()),
    },
};

fn level(text: &str) -> Option<&'static str> {
    match text.to_ascii_uppercase().as_str() {
        "TRACE" => Some("trace"),
        "DEBUG" => Some("debug"),
        "INFO" | "SUCCESS" => Some("info"),
        "WARN" | "WARNING" => Some("warn"),
        "ERROR" | "CRITICAL" => Some("error"),
        _ => None,
    }
}

const FORMAT: Word<LogFormat> = Word {
    accepts: "pretty, json or auto",
    parse: |text| match text.to_ascii_lowercase().as_str() {
        "pretty" => Some(LogFormat::Pretty),
        "json" => Some(LogFormat::Json),
        "auto" => Some(if std::io::stdout().is_terminal() { LogFormat::Pretty } else { LogFormat::Json }),
        _ => None,
    },
};

/// The longest time that means anything here: a hundred years.
const LONGEST: u64 = 100 * 365 * 86_400;
/// A file smaller than this would be turned over with each line.
const SMALLEST: u64 = 10_000;

const ROTATION: Word<Rotation> = Word {
    accepts: "a number of hours, a time as '12h' or '1 day', a size as '100 MB', or a time and a size with a comma \
              between",
    parse: |text| {
        let mut rotation = Rotation::default();
        for part in unquoted(text).split(',') {
            match (measure(part)?, rotation) {
                (Measure::Bare(hours), Rotation { age: None, .. }) => {
                    rotation.age = Some(lasting(hours.checked_mul(3600)?)?);
                }
                (Measure::Seconds(seconds), Rotation { age: None, .. }) => {
                    rotation.age = Some(lasting(seconds)?);
                }
                (Measure::Bytes(bytes), Rotation { bytes: None, .. }) if bytes >= SMALLEST => {
                    rotation.bytes = Some(bytes);
                }
                _ => return None,
            }
        }
        Some(rotation)
    },
};

const RETENTION: Word<Retention> = Word {
    accepts: "a number of days, a time as '7 days', a number of files as '10 files', or a size as '500 MB'",
    parse: |text| match measure(unquoted(text))? {
        Measure::Bare(days) => lasting(days.checked_mul(86_400)?).map(Retention::Age),
        Measure::Seconds(seconds) => lasting(seconds).map(Retention::Age),
        Measure::Files(files) => usize::try_from(files).ok().map(Retention::Files),
        Measure::Bytes(bytes) => Some(Retention::Bytes(bytes)),
    },
};

fn lasting(seconds: u64) -> Option<Duration> {
    (1..=LONGEST).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// What a number and its unit mean.
enum Measure {
    Bare(u64),
    Seconds(u64),
    Files(u64),
    Bytes(u64),
}

fn measure(text: &str) -> Option<Measure> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let times = |unit: u64| number.checked_mul(unit);
    Some(match unit.trim().to_ascii_lowercase().as_str() {
        "" => Measure::Bare(number),
        "s" | "second" | "seconds" => Measure::Seconds(number),
        "min" | "minute" | "minutes" => Measure::Seconds(times(60)?),
        "h" | "hour" | "hours" => Measure::Seconds(times(3600)?),
        "d" | "day" | "days" => Measure::Seconds(times(86_400)?),
        "w" | "week" | "weeks" => Measure::Seconds(times(7 * 86_400)?),
        "month" | "months" => Measure::Seconds(times(30 * 86_400)?),
        "file" | "files" => Measure::Files(number),
        "b" | "byte" | "bytes" => Measure::Bytes(number),
        "kb" => Measure::Bytes(times(1000)?),
        "mb" => Measure::Bytes(times(1_000_000)?),
        "gb" => Measure::Bytes(times(1_000_000_000)?),
        "kib" => Measure::Bytes(times(1 << 10)?),
        "mib" => Measure::Bytes(times(1 << 20)?),
        "gib" => Measure::Bytes(times(1 << 30)?),
        _ => return None,
    })
}

/// A `.env` of S1 has such values in quotes inside quotes.
fn unquoted(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"')).unwrap_or(text)
}
