//! What is logged and how it looks.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::catalogue::{Alias, section};
use super::kinds::Word;

section! {
    /// What is logged and how it looks.
    pub struct Log {
        /// `TRACE`, `DEBUG`, `INFO`, `SUCCESS` (as INFO), `WARNING`, `ERROR`, `CRITICAL` (as ERROR), or a filter of
        /// the tracing library, as `info,sqlx=debug`.
        filter: String = "LOG_LEVEL" or Alias::Switch("DEBUG", "DEBUG"), FILTER, "INFO";
        /// `pretty` for eyes, `json` for machines; `auto` is pretty on a terminal and json elsewhere.
        format: LogFormat = "LOG_FORMAT", FORMAT, "auto";
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
    parse: |text| {
        let filter = directive(text);
        EnvFilter::try_new(&filter).ok().map(|_| filter)
    },
};

fn directive(text: &str) -> String {
    match text.to_ascii_uppercase().as_str() {
        "SUCCESS" => "info".to_owned(),
        "WARNING" => "warn".to_owned(),
        "CRITICAL" => "error".to_owned(),
        level @ ("TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "OFF") => level.to_ascii_lowercase(),
        _ => text.to_owned(),
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
