//! What the operating system tells the program: end soon, end now.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::platform::tasks::Tasks;

/// The stages of a stop. Clones mean the same stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// A stop was asked for: readiness answers 503 from now on.
    pub announced: CancellationToken,
    /// No new connections; what runs may finish.
    pub begun: CancellationToken,
    /// Nothing is waited for any more.
    pub forced: CancellationToken,
}

impl Stop {
    /// Listens to the signals. The first SIGTERM or SIGINT announces the stop and, `notice` later, begins it; a
    /// second one forces it. SIGHUP does no harm.
    pub fn on_signals(tasks: &Tasks, notice: Duration) -> io::Result<Self> {
        let (stop, signals, ending) = (Self::default(), Signals::listen()?, tasks.clone());
        let told = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = told.follow(signals, notice) => {}
                () = ending.cancelled() => {}
            }
        });
        Ok(stop)
    }

    /// Stops as a first signal does, for a reason of the program's own.
    pub async fn begin(&self, notice: Duration) {
        self.announced.cancel();
        tokio::time::sleep(notice).await;
        self.begun.cancel();
    }

    async fn follow(&self, mut signals: Signals, notice: Duration) {
        signals.next().await;
        tracing::info!("stopping: finishing what runs");
        self.announced.cancel();
        let early = tokio::time::timeout(notice, signals.next()).await.is_ok();
        self.begun.cancel();
        if !early {
            signals.next().await;
        }
        tracing::warn!("stopping at once");
        self.forced.cancel();
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal that asks for the end.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => tracing::info!("SIGHUP: nothing to do, settings are read at the start"),
            }
        }
    }
}
