//! Work beside the requests: started in one place, told to end, and waited for at the stop.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

use super::problem::Breakage;
use super::web::Errand;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The tasks of one program. Clones mean the same tasks.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    ending: CancellationToken,
}

impl Tasks {
    /// Runs `work` to its end. A stop waits for it, so it should watch [`Tasks::cancelled`] if it takes long. Its
    /// log lines keep the trace id of the request that started it.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match Errand::current() {
            Some(errand) => self.tracker.spawn(errand.scope(work)),
            None => self.tracker.spawn(work),
        }
    }

    /// Runs an act to its end and waits for it; whoever stops waiting, a client that leaves or a deadline, leaves nothing
    /// half done.
    pub async fn finish<T, E>(&self, act: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Breakage> + Send + 'static,
    {
        self.spawn(act).await.map_err(Breakage::from)?
    }

    /// Keeps `work` going until the stop: when it panics it starts again, after a pause that doubles from 200 ms to
    /// a minute. Work that returns is done. At the stop it is dropped where it waits, so each wait must be a place
    /// where it may end.
    pub fn keep<W, F>(&self, name: &'static str, work: W)
    where
        W: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let ending = self.ending.clone();
        self.tracker.spawn(async move { ending.run_until_cancelled(going(name, work)).await });
    }

    /// The same for work that has something to finish: it is not dropped at the stop, but watches [`Tasks::cancelled`]
    /// and returns.
    pub fn keep_to_its_end<W, F>(&self, name: &'static str, work: W)
    where
        W: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker.spawn(going(name, work));
    }

    /// Becomes ready when the program is told to end.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.ending.cancelled()
    }

    /// Tells every task to end and waits for them, at most this long. Whether all of them ended.
    pub async fn close(&self, within: Duration) -> bool {
        self.ending.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(within, self.tracker.wait()).await.is_ok();
        if !ended {
            tracing::warn!(tasks = self.tracker.len(), "background tasks did not end in time");
        }
        ended
    }
}

/// Work that starts again when it panics.
async fn going<W, F>(name: &'static str, mut work: W)
where
    W: FnMut() -> F,
    F: Future<Output = ()>,
{
    let mut pause = FIRST_PAUSE;
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        tracing::error!(task = name, "a background task panicked; it starts again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[tokio::test]
    async fn kept_work_starts_again_after_a_panic() {
        let tasks = Tasks::default();
        let (third, reached) = tokio::sync::oneshot::channel();
        let (mut third, mut runs) = (Some(third), 0);
        tasks.keep("counter", move || {
            runs += 1;
            let done = if runs == 3 { third.take() } else { None };
            async move { done.expect("not yet").send(()).expect("the test waits") }
        });
        reached.await.unwrap();
        assert!(tasks.close(Duration::from_secs(30)).await);
    }

    #[tokio::test]
    async fn a_stop_ends_kept_work_and_waits_for_spawned_work() {
        let tasks = Tasks::default();
        tasks.keep("sleeper", std::future::pending);
        let finished = tasks.spawn(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            7
        });
        assert!(tasks.close(Duration::from_secs(30)).await);
        assert_eq!(finished.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_that_is_kept_to_its_end_reaches_it() {
        let tasks = Tasks::default();
        let (done, finished) = tokio::sync::oneshot::channel();
        let (mut done, inside) = (Some(done), tasks.clone());
        tasks.keep_to_its_end("finisher", move || {
            let (done, inside) = (done.take(), inside.clone());
            async move {
                inside.cancelled().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                done.expect("it runs once").send(()).expect("the test waits");
            }
        });
        assert!(tasks.close(Duration::from_secs(30)).await);
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_ever() {
        let tasks = Tasks::default();
        tasks.spawn(std::future::pending::<()>());
        assert!(!tasks.close(Duration::from_millis(50)).await);
    }
}
