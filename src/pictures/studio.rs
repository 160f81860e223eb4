//! Threads that do nothing but work on pictures, and the short queue before them.
//!
//! Their number bounds the memory that decoding takes, their low priority keeps requests that need no picture quick, and
//! what finds the queue full is turned away at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::platform::priority::lower_priority;

/// Pictures worked on at a time.
const THREADS: usize = 2;
/// Most pieces of work that wait; each may hold an upload.
const QUEUE: usize = 32;

/// One piece of work; it hands over its own answer.
type Work = Box<dyn FnOnce() + Send>;

/// Why work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undone {
    /// Too much of it waits.
    Busy,
    /// It panicked.
    Panicked,
}

/// The threads. Dropping it ends them, each after the work that it is at.
pub(super) struct Studio(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Work>,
    is_closed: bool,
}

impl Studio {
    /// Starts the threads.
    pub(super) fn start() -> std::io::Result<Self> {
        let studio = Self(Arc::default());
        for number in 0..THREADS {
            let shared = Arc::clone(&studio.0);
            thread::Builder::new().name(format!("picture-{number}")).spawn(move || shared.serve())?;
        }
        Ok(studio)
    }

    /// Whether there is room for work now; for refusing before anything else is done for it.
    pub(super) fn room(&self) -> Result<(), Undone> {
        self.0.lock().room()
    }

    /// Has `work` done by the next free thread. A caller who is gone before its turn has no work done.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, Undone>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let work: Work = Box::new(move || {
            if !sender.is_closed() {
                // A failed send means that the caller went away meanwhile.
                drop(sender.send(work()));
            }
        });
        self.0.admit(work)?;
        answer.await.map_err(|_| Undone::Panicked)
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.queue.clear();
        self.0.changed.notify_all();
    }
}

impl State {
    fn room(&self) -> Result<(), Undone> {
        if self.queue.len() < QUEUE { Ok(()) } else { Err(Undone::Busy) }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, work: Work) -> Result<(), Undone> {
        let mut state = self.lock();
        state.room()?;
        state.queue.push_back(work);
        self.changed.notify_one();
        Ok(())
    }

    /// The life of a thread.
    fn serve(&self) {
        lower_priority();
        while let Some(work) = self.next() {
            // A decoder that panics must not cost a thread: the caller sees that no answer comes.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::warn!("a picture made its decoder panic; it was refused");
            }
        }
    }

    /// The next piece of work, or none when the threads are to end.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(work) = state.queue.pop_front() {
                return Some(work);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    /// A studio all of whose threads are at work until the gate is dropped.
    struct Gated {
        studio: Studio,
        gate: Option<mpsc::Sender<()>>,
    }

    impl Gated {
        fn start() -> Self {
            let studio = Studio::start().unwrap();
            let (gate, opened) = mpsc::channel::<()>();
            let opened = Arc::new(Mutex::new(opened));
            let (at_work, is_at_work) = mpsc::channel();
            for _ in 0..THREADS {
                let (opened, at_work) = (Arc::clone(&opened), at_work.clone());
                let work = move || {
                    at_work.send(()).unwrap();
                    assert!(opened.lock().unwrap().recv().is_err());
                };
                studio.0.admit(Box::new(work)).unwrap();
            }
            for _ in 0..THREADS {
                is_at_work.recv().unwrap();
            }
            Self { studio, gate: Some(gate) }
        }

        fn open(&mut self) {
            self.gate = None;
        }
    }

    #[tokio::test]
    async fn work_beyond_the_queue_is_refused_at_once() {
        let mut gated = Gated::start();
        let mut waiting = Vec::new();
        for number in 0..QUEUE {
            assert_eq!(gated.studio.room(), Ok(()));
            let mut work = Box::pin(gated.studio.run(move || number));
            assert!((&mut work).now_or_never().is_none());
            waiting.push(work);
        }
        assert_eq!(gated.studio.room(), Err(Undone::Busy));
        assert_eq!(gated.studio.run(|| 0).await, Err(Undone::Busy));
        gated.gate = None;
        let done = futures_util::future::join_all(waiting).await;
        assert!(done.into_iter().map(Result::unwrap).eq(0..QUEUE));
    }

    #[tokio::test]
    async fn the_work_of_a_caller_who_went_away_is_not_done() {
        let mut gated = Gated::start();
        let (done, is_done) = mpsc::channel();
        let mut abandoned = Box::pin(gated.studio.run(move || done.send(()).unwrap()));
        assert!((&mut abandoned).now_or_never().is_none());
        drop(abandoned);
        gated.open();
        assert_eq!(gated.studio.run(|| 1).await, Ok(1));
        assert!(is_done.recv().is_err());
    }

    #[tokio::test]
    async fn a_panic_costs_no_thread() {
        let studio = Studio::start().unwrap();
        for _ in 0..=THREADS {
            assert_eq!(studio.run(|| -> u8 { panic!("on purpose") }).await, Err(Undone::Panicked));
        }
        assert_eq!(studio.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn the_threads_end_with_their_owner() {
        let mut gated = Gated::start();
        let shared = Arc::downgrade(&gated.studio.0);
        gated.open();
        drop(gated);
        while shared.upgrade().is_some() {
            thread::yield_now();
        }
    }
}
