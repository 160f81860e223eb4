//! What the program tells of itself: the log, measurements, spans.
//!
//! The log is one line per event on the standard output, as JSON for programs or as text for people, and in files where the
//! operator wants them ([`files`]). [`metrics`] are read at `/metrics` or sent to a collector, to which [`spans`] go as well
//! ([`otlp`]).
//!
//! Lines go through a bounded queue to a thread of their own, so that a terminal or pipe that nobody reads can't
//! hold up a request. Control characters are escaped in both formats: no text of a client can begin a line or
//! colour a terminal. Each line of a request carries its trace id.

pub mod files;
mod line;
pub mod metrics;
pub mod otlp;
mod proto;
pub mod sampling;
pub mod spans;
mod writer;

use std::io::{self, IsTerminal, Write};

use tracing_appender::non_blocking::NonBlocking;

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

use super::clock::Clock;
use files::FileSettings;
use line::Look;
use writer::Queue;
pub use writer::{Log, Losses};

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people, in colours on a terminal.
    Pretty,
    /// One JSON object per line.
    Json,
}

/// What is not logged unless the filter names it: lapin tells each try to connect as an error, and shows whole messages.
/// Whoever uses it says what there is to say.
const QUIET: &str = "lapin=off";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryFault {
    /// The filter is not one (`tracing_subscriber::EnvFilter`).
    #[error("the log filter can't be read: {0}")]
    Filter(#[from] ParseError),
    /// There is a log already.
    #[error(transparent)]
    Twice(#[from] TryInitError),
    /// The thread could not be started.
    #[error("the log's thread could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// Starts the log, once in a program; with files where there is a filter for them. Panics go to it too, with their place.
/// Keep what it returns until the end of `main`.
pub fn init(
    filter: &str,
    format: Format,
    files: Option<(&str, FileSettings)>,
) -> Result<Log, TelemetryFault> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))?;
    let look = match format {
        Format::Json => Look::Json,
        Format::Pretty if io::stdout().is_terminal() => Look::Colours,
        Format::Pretty => Look::Plain,
    };
    let (queue, mut log) = writer::start(io::stdout())?;
    let lines = Lines { look, clock: Clock::System, to: Sink::Output(queue) };
    match files {
        None => Registry::default().with(filter).with(lines).try_init()?,
        Some((file_filter, settings)) => {
            let file_filter = EnvFilter::try_new(format!("{QUIET},{file_filter}"))?;
            let file = files::start(settings, Clock::System)?;
            let in_file = Lines { look: Look::Json, clock: Clock::System, to: Sink::File(file.lines) };
            log = log.with_file(file.guard, file.lost);
            // Each by its own measure: the file may tell more than the standard output, or less.
            let both = lines.with_filter(filter).and_then(in_file.with_filter(file_filter));
            Registry::default().with(both).try_init()?;
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, words = panic.payload_as_str(), "panic");
    }));
    Ok(log)
}

struct Lines {
    look: Look,
    clock: Clock,
    to: Sink,
}

enum Sink {
    Output(Queue),
    File(NonBlocking),
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = self.look.line(self.clock.now(), event);
        match &self.to {
            Sink::Output(queue) => queue.push(line),
            // A line without room is counted there, so there is no failure to tell of.
            Sink::File(lines) => lines.clone().write_all(line.as_bytes()).unwrap_or_default(),
        }
    }
}
