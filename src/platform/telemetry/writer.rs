//! The thread that writes the log, and the queue in front of it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::WorkerGuard;

use super::files::Lost;
use super::metrics::{Family, Sample, number, size};

/// Lines that wait at most; what comes on top is dropped, counted, and the count is logged.
const QUEUE: usize = 8192;
/// Bytes written at once.
const BLOCK: usize = 64 * 1024;
/// How long the end of the program waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Writes the last lines when it is dropped.
#[derive(Debug)]
pub struct Log {
    lines: SyncSender<Entry>,
    written: Receiver<()>,
    losses: Losses,
    /// Writes the last lines of the file when it is dropped.
    file: Option<WorkerGuard>,
}

/// Lines that were lost, on their way to the standard output and to the file.
#[derive(Clone, Debug)]
pub struct Losses {
    output: Arc<AtomicUsize>,
    file: Option<Lost>,
}

impl Log {
    /// How many lines are lost; goes on counting.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses.clone()
    }

    /// The same log with a file.
    pub(super) fn with_file(mut self, guard: WorkerGuard, lost: Lost) -> Self {
        self.losses.file = Some(lost);
        self.file = Some(guard);
        self
    }
}

impl Losses {
    /// As a measurement.
    #[must_use]
    pub fn measures(&self) -> Vec<Family> {
        let output = size(self.output.load(Ordering::Relaxed));
        let file = self.file.as_ref().map(|lost| number(lost.lines()));
        let of = |place, lost| Sample::labelled([("sink", place)], lost);
        let samples = std::iter::once(of("output", output)).chain(file.map(|lost| of("file", lost)));
        let help = "Lines of the log that were lost, because it could not be written as fast.";
        vec![Family::counter("gatehouse_log_lines_dropped_total", help, samples.collect())]
    }
}

#[derive(Debug)]
enum Entry {
    Line(String),
    End,
}

#[derive(Clone)]
pub(super) struct Queue {
    lines: SyncSender<Entry>,
    /// Since the beginning.
    lost: Arc<AtomicUsize>,
}

impl Queue {
    pub(super) fn push(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Entry::Line(line)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Queue, Log)> {
    let (lines, entries) = sync_channel(QUEUE);
    let (done, written) = sync_channel(1);
    let lost = Arc::new(AtomicUsize::new(0));
    let losses = Losses { output: Arc::clone(&lost), file: None };
    let writer = Writer { entries, lost: Arc::clone(&lost), told_of: 0, block: String::new() };
    thread::Builder::new().name("log".into()).spawn(move || {
        writer.write_to(out);
        drop(done);
    })?;
    Ok((Queue { lines: lines.clone(), lost }, Log { lines, written, losses, file: None }))
}

struct Writer {
    entries: Receiver<Entry>,
    lost: Arc<AtomicUsize>,
    told_of: usize,
    block: String,
}

impl Writer {
    /// Until the end, or until nobody can be told any more.
    fn write_to(mut self, mut out: impl Write) {
        loop {
            let more = self.gather();
            self.own_up();
            let written = out.write_all(self.block.as_bytes()).and_then(|()| out.flush());
            if !more || written.is_err() {
                return;
            }
            self.block.clear();
        }
    }

    /// Waits for a line and takes along those behind it. Whether more may come.
    fn gather(&mut self) -> bool {
        let mut next = self.entries.recv().ok();
        while let Some(Entry::Line(line)) = next {
            self.block.push_str(&line);
            if self.block.len() >= BLOCK {
                return true;
            }
            match self.entries.try_recv() {
                Ok(entry) => next = Some(entry),
                Err(_) => return true,
            }
        }
        false
    }

    fn own_up(&mut self) {
        let all = self.lost.load(Ordering::Relaxed);
        let lost = all.wrapping_sub(self.told_of);
        self.told_of = all;
        if lost > 0 {
            let words =
                format!("{{\"level\":\"WARN\",\"message\":\"the log could not keep up\",\"lost\":{lost}}}\n");
            self.block.push_str(&words);
        }
    }
}

impl Drop for Log {
    /// A queue full of lines that nobody reads must not hold up the end for ever.
    fn drop(&mut self) {
        let latest = Instant::now() + LAST_LINES;
        while let Err(TrySendError::Full(_)) = self.lines.try_send(Entry::End) {
            if Instant::now() > latest {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.written.recv_timeout(LAST_LINES).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// A place to write to that can be held shut.
    #[derive(Clone, Default)]
    struct Paper(Arc<(Mutex<(String, bool)>, Condvar)>);

    impl Paper {
        fn text(&self) -> String {
            self.0.0.lock().unwrap().0.clone()
        }

        fn shut(&self, shut: bool) {
            self.0.0.lock().unwrap().1 = shut;
            self.0.1.notify_all();
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut paper = self.0.1.wait_while(self.0.0.lock().unwrap(), |(_, shut)| *shut).unwrap();
            paper.0.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_waits_for_the_last_lines() {
        let paper = Paper::default();
        let (queue, log) = start(paper.clone()).unwrap();
        for n in 0..5000 {
            queue.push(format!("{n}\n"));
        }
        drop(log);
        assert!(paper.text().starts_with("0\n1\n") && paper.text().ends_with("4999\n"));
    }

    #[test]
    fn a_paper_that_is_shut_holds_nobody_up_and_losses_are_told() {
        let paper = Paper::default();
        paper.shut(true);
        let (queue, log) = start(paper.clone()).unwrap();
        for n in 0..QUEUE * 3 {
            queue.push(format!("{n}\n"));
        }
        let losses = log.losses();
        paper.shut(false);
        drop(log);
        assert!(paper.text().contains("the log could not keep up"));
        let told = format!("{:?}", losses.measures());
        assert!(told.contains("output") && !told.contains("Number(0.0)"), "{told}");
    }
}
