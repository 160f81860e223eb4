//! What the client of one stream of HTTP/2 was handed, and how long it may leave that lying.
//!
//! Each stream has a window of its own, which its client opens as it likes: while one stands still, the socket takes what
//! the others send, and knows nothing of it. So a stream is watched by itself, and only that one ends: behind a proxy the
//! others are other people's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::pulse::millis;

/// What a client is handed at a time, in bytes: it takes that much within its time, or is not waited for.
pub(super) const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// That of the stream that is answered in this task.
    static STREAM: Arc<Handed>;
}

/// What was handed to the client last.
#[derive(Debug)]
pub(super) struct Handed {
    began: Instant,
    patience: Duration,
    /// Until when it may lie there, in milliseconds since the stream began; 0: nothing does.
    until: AtomicU64,
}

impl Handed {
    fn new(patience: Duration) -> Self {
        Self { began: Instant::now(), patience, until: AtomicU64::new(0) }
    }

    /// That of the stream that is answered in this task; none in HTTP/1, where a connection has one answer at a time.
    pub(super) fn here() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    /// The client took what it had, and wants more.
    pub(super) fn is_taken(&self) {
        self.until.store(0, Relaxed);
    }

    /// It is given a piece.
    pub(super) fn is_given(&self) {
        self.until.store(millis(self.began.elapsed() + self.patience), Relaxed);
    }

    /// Until something has lain there for too long.
    async fn is_left(&self) {
        loop {
            let now = Instant::now();
            let look_again = match self.until.load(Relaxed) {
                0 => now + self.patience,
                until => self.began + Duration::from_millis(until),
            };
            if look_again <= now {
                return;
            }
            tokio::time::sleep_until(look_again).await;
        }
    }
}

/// Runs a stream for as long as its client takes each [`PIECE`] within `patience`; a stream that is dropped is reset.
pub(super) async fn while_taken<F: Future>(stream: F, patience: Duration) -> Option<F::Output> {
    let handed = Arc::new(Handed::new(patience));
    tokio::select! {
        biased;
        output = STREAM.scope(Arc::clone(&handed), stream) => Some(output),
        () = handed.is_left() => {
            tracing::debug!("a stream ends: its client takes nothing");
            None
        }
    }
}
