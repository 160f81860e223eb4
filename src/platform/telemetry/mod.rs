//! The log: one line per event on the standard output, as JSON for programs or as text for people.
//!
//! Lines go through a bounded queue to a thread of their own, so that a terminal or pipe that nobody reads can't
//! hold up a request. Control characters are escaped in both formats: no text of a client can begin a line or
//! colour a terminal. Each line of a request carries its trace id.

mod line;
mod writer;

use std::io::{self, IsTerminal};

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

use super::clock::Clock;
use line::Look;
pub use writer::Log;
use writer::Queue;

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

/// Starts the log, once in a program. Panics go to it too, with their place. Keep what it returns until the end of
/// `main`.
pub fn init(filter: &str, format: Format) -> Result<Log, TelemetryFault> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))?;
    let look = match format {
        Format::Json => Look::Json,
        Format::Pretty if io::stdout().is_terminal() => Look::Colours,
        Format::Pretty => Look::Plain,
    };
    let (queue, log) = writer::start(io::stdout())?;
    Registry::default().with(filter).with(Lines { look, clock: Clock::System, queue }).try_init()?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, words = panic.payload_as_str(), "panic");
    }));
    Ok(log)
}

struct Lines {
    look: Look,
    clock: Clock,
    queue: Queue,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.queue.push(self.look.line(self.clock.now(), event));
    }
}
