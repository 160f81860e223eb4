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
