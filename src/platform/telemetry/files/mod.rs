//! The log in files: JSON lines in `DATA_DIR/logs`, turned over by age or size.
//!
//! tracing-appender's non-blocking writer carries the lines, through a bounded queue, to a thread of its own: a slow disk holds
//! up no request, and what finds no room is dropped and counted. What its rolling files lack is added here: sizes, ages in
//! hours, packing, a limit of age and bytes, file modes, and a disk that is full. The present file is always
//! `gatehouse.log`; one that is turned over gets the moment in its name, so that names sort as they were written.

mod pages;
mod turned;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::platform::clock::Clock;
use pages::Pages;

/// The file that is written to.
pub(super) const PRESENT: &str = "gatehouse.log";
/// Lines that wait at most.
const QUEUE: usize = 8192;
/// What is dated further ahead than this was written before the clock was set back.
const AHEAD: Duration = Duration::from_mins(1);

/// When the present file is turned over: at whichever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// When its first line is so old.
    pub age: Option<Duration>,
    /// Before it grows beyond so many bytes.
    pub bytes: Option<u64>,
}

/// Which turned files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Those that were turned over within this time.
    Age(Duration),
    /// The newest ones.
    Files(usize),
    /// The newest ones that together take no more bytes.
    Bytes(u64),
}

/// Where and how.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The folder.
    pub folder: PathBuf,
    /// When a file is turned over.
    pub rotation: Rotation,
    /// How long it is kept then.
    pub retention: Retention,
}

/// Lines that are on their way to the file, and those that were lost.
pub(super) struct FileLog {
    pub(super) lines: NonBlocking,
    pub(super) guard: WorkerGuard,
    pub(super) lost: Lost,
}

/// Lines that never came to the file.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    queue: Arc<OnceLock<ErrorCounter>>,
    disk: Arc<AtomicU64>,
}

impl Lost {
    fn new() -> Self {
        Self { queue: Arc::default(), disk: Arc::default() }
    }

    pub(super) fn lines(&self) -> u64 {
        let queue = self.queue.get().map_or(0, ErrorCounter::dropped_lines);
        self.disk.load(Ordering::Relaxed) + u64::try_from(queue).unwrap_or(u64::MAX)
    }
}

/// Starts writing. A folder that can't be written to is told of, and tried again; it is no reason not to start.
pub(super) fn start(settings: FileSettings, clock: Clock) -> io::Result<FileLog> {
    let lost = Lost::new();
    let (tidy, asked) = sync_channel::<()>(1);
    let (folder, retention, watch) = (settings.folder.clone(), settings.retention, clock.clone());
    // Packing takes a while, and lines must not wait for it.
    thread::Builder::new().name("log files".into()).spawn(move || {
        while asked.recv().is_ok() {
            complain(turned::tidy(&folder, retention, watch.now()), "old log files can't be tidied");
        }
    })?;
    let pages = Pages::new(settings, clock, lost.clone(), Some(tidy));
    let builder =
        NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true).thread_name("log file");
    let (lines, guard) = builder.finish(pages);
    lost.queue.get_or_init(|| lines.error_counter());
    Ok(FileLog { lines, guard, lost })
}

/// There is no other place left to say it.
fn complain(done: io::Result<()>, words: &str) {
    if let Err(error) = done {
        // If that fails as well, nobody is there to read it.
        writeln!(io::stderr(), "gatehouse: {words}: {error}").unwrap_or_default();
    }
}
