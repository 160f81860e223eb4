//! Threads that do nothing but hash, and the bounded queue before them.
//!
//! Their number bounds memory, their low priority keeps requests that need no hash quick, and the queue turns work
//! away as soon as it could not be done in time, rather than let everybody wait. Work is done in the order of asking.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::limits::{Busy, Limits, Load};
use super::memory::Memory;
use crate::platform::priority::lower_priority;
use crate::platform::telemetry::metrics::{Histogram, Spread};

/// One piece of work; it hands over its own answer.
type Work = Box<dyn FnOnce(&mut Memory) + Send>;

/// A fixed number of threads with one queue. Dropping it ends them, each after the work that it is at.
pub(super) struct HashThreads(Arc<Shared>);

impl HashThreads {
    /// Starts `count` threads that keep at most `blocks` of memory from one piece of work to the next.
    pub(super) fn start(count: usize, blocks: usize, limits: Limits) -> io::Result<Self> {
        let threads = Self(Arc::new(Shared::new(count, blocks, limits)));
        for number in 0..count {
            let shared = Arc::clone(&threads.0);
            thread::Builder::new().name(format!("hash-{number}")).spawn(move || shared.serve())?;
        }
        Ok(threads)
    }

    /// Has `work` done by the next free thread. A caller who is gone before its turn has no work done.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, Busy>
    where
        T: Send + 'static,
        F: FnOnce(&mut Memory) -> T + Send + 'static,
    {
        let (sender, mut answer) = oneshot::channel();
        // A failed send means that the caller went away meanwhile.
        let work: Work = Box::new(move |memory| drop(sender.send(work(memory))));
        let turn = self.0.admit(work)?;
        if let Ok(answered) = tokio::time::timeout(self.0.limits.wait, &mut answer).await {
            return answered.map_err(|_| Busy::A_MOMENT);
        }
        turn.expire()?;
        answer.await.map_err(|_| Busy::A_MOMENT)
    }

    /// Whether work would be admitted now; for refusing before anything else is done for it.
    pub(super) fn room(&self) -> Result<(), Busy> {
        self.0.room(&mut self.0.lock())
    }

    pub(super) fn load(&self) -> Load {
        let state = self.0.lock();
        Load { waiting: state.queue.len(), ..state.load }
    }

    /// How long hashes take.
    pub(super) fn took(&self) -> Spread {
        self.0.took.read()
    }
}

impl Drop for HashThreads {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.queue.clear();
        self.0.changed.notify_all();
    }
}

impl fmt::Debug for HashThreads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("HashThreads").field(&self.load()).finish()
    }
}

struct Shared {
    count: usize,
    blocks: usize,
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
    took: Histogram,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Work)>,
    next_number: u64,
    /// How long a piece of work takes: a moving average, zero until the first is done.
    average: Duration,
    is_closed: bool,
    load: Load,
}

impl Shared {
    fn new(count: usize, blocks: usize, limits: Limits) -> Self {
        let took = Histogram::new(Histogram::SECONDS);
        Self { count, blocks, limits, state: Mutex::default(), changed: Condvar::new(), took }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, work: Work) -> Result<Turn<'_>, Busy> {
        let mut state = self.lock();
        self.room(&mut state)?;
        let number = state.next_number;
        state.next_number += 1;
        state.queue.push_back((number, work));
        self.changed.notify_one();
        Ok(Turn { shared: self, number })
    }

    fn room(&self, state: &mut State) -> Result<(), Busy> {
        let wait = self.predicted_wait(state);
        if state.queue.len() < self.limits.queue && wait <= self.limits.predicted_wait {
            return Ok(());
        }
        state.load.refused += 1;
        Err(Busy::after(wait))
    }

    fn predicted_wait(&self, state: &State) -> Duration {
        let waiting = u32::try_from(state.queue.len()).unwrap_or(u32::MAX);
        let threads = u32::try_from(self.count).unwrap_or(u32::MAX);
        state.average.saturating_mul(waiting) / threads.max(1)
    }

    /// The life of a thread.
    fn serve(&self) {
        lower_priority();
        let mut memory = Memory::default();
        while let Some(work) = self.next(&mut memory) {
            let start = Instant::now();
            // A panic in the work must not cost a thread: the caller sees that no answer comes.
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut memory)));
            self.finish(outcome.is_ok().then(|| start.elapsed()));
            memory.shrink_to(self.blocks);
        }
    }

    /// The next piece of work, or none when the threads are to end. Who waits long for it gives back its memory.
    fn next(&self, memory: &mut Memory) -> Option<Work> {
        let mut state = self.lock();
        while !state.is_closed {
            if let Some((_, work)) = state.queue.pop_front() {
                state.load.running += 1;
                state.load.most_running = state.load.most_running.max(state.load.running);
                return Some(work);
            }
            state = self.wait(state, memory);
        }
        None
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, memory: &mut Memory) -> MutexGuard<'a, State> {
        if memory.is_empty() {
            return self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let waited = self.changed.wait_timeout(state, self.limits.idle);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            memory.release();
        }
        state
    }

    fn finish(&self, took: Option<Duration>) {
        let mut state = self.lock();
        state.load.running -= 1;
        if let Some(took) = took {
            self.took.observe(took);
            state.load.done += 1;
            state.average = if state.average.is_zero() { took } else { (state.average * 7 + took) / 8 };
        }
    }
}

/// A place in the queue, given up when it is dropped.
struct Turn<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Turn<'_> {
    /// Gives the place up for having waited too long; does nothing when the turn has come.
    fn expire(&self) -> Result<(), Busy> {
        let mut state = self.shared.lock();
        if !state.withdraw(self.number) {
            return Ok(());
        }
        state.load.expired += 1;
        Err(Busy::after(self.shared.predicted_wait(&state)))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.withdraw(self.number) {
            state.load.withdrawn += 1;
        }
    }
}

impl State {
    /// Takes a piece of work out of the queue, if it is still there. The numbers in the queue are in order.
    fn withdraw(&mut self, number: u64) -> bool {
        let place = self.queue.binary_search_by_key(&number, |(number, _)| *number);
        place.is_ok_and(|place| self.queue.remove(place).is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    /// One thread that is at work until the test opens the gate.
    struct Gated {
        threads: HashThreads,
        gate: mpsc::Sender<()>,
    }

    impl Gated {
        fn start(limits: Limits) -> Self {
            let threads = HashThreads::start(1, 8, limits).unwrap();
            let (gate, opened) = mpsc::channel();
            let (at_work, is_at_work) = mpsc::channel();
            let turn = threads.0.admit(Box::new(move |_| {
                at_work.send(()).unwrap();
                opened.recv().unwrap();
            }));
            is_at_work.recv().unwrap();
            drop(turn);
            Self { threads, gate }
        }

        fn open(&self) {
            self.gate.send(()).unwrap();
        }
    }

    fn patient() -> Limits {
        Limits { wait: Duration::from_mins(10), predicted_wait: Duration::MAX, ..Limits::default() }
    }

    #[tokio::test]
    async fn work_beyond_the_queue_is_refused_at_once() {
        let gated = Gated::start(Limits { queue: 2, ..patient() });
        let (mut one, mut two) = (Box::pin(gated.threads.run(|_| 1)), Box::pin(gated.threads.run(|_| 2)));
        assert!((&mut one).now_or_never().is_none());
        assert!((&mut two).now_or_never().is_none());
        assert_eq!(gated.threads.run(|_| 3).await, Err(Busy::A_MOMENT));

        let load = gated.threads.load();
        assert_eq!((load.waiting, load.running, load.refused), (2, 1, 1));
        gated.open();
        assert_eq!((one.await, two.await), (Ok(1), Ok(2)));
    }

    #[tokio::test]
    async fn work_is_refused_when_the_wait_would_be_too_long() {
        let gated = Gated::start(Limits { predicted_wait: Duration::from_secs(1), ..patient() });
        gated.threads.0.lock().average = Duration::from_millis(1_100);
        let mut first = Box::pin(gated.threads.run(|_| 1));
        assert!((&mut first).now_or_never().is_none());
        assert_eq!(gated.threads.run(|_| 2).await, Err(Busy { retry_after_seconds: 2 }));
        gated.open();
        assert_eq!(first.await, Ok(1));
    }

    #[tokio::test]
    async fn work_that_waited_too_long_is_given_up() {
        let gated = Gated::start(Limits { wait: Duration::from_millis(1), ..patient() });
        assert_eq!(gated.threads.run(|_| 1).await, Err(Busy::A_MOMENT));
        let load = gated.threads.load();
        assert_eq!((load.waiting, load.running, load.expired, load.withdrawn), (0, 1, 1, 0));
        gated.open();
    }

    #[tokio::test]
    async fn work_whose_turn_has_come_is_waited_for() {
        let threads = HashThreads::start(1, 8, Limits { wait: Duration::ZERO, ..patient() }).unwrap();
        let (gate, opened) = mpsc::channel();
        let (at_work, is_at_work) = mpsc::channel();
        let mut asked_for = Box::pin(threads.run(move |_| {
            at_work.send(()).unwrap();
            opened.recv().unwrap();
            7
        }));
        assert!((&mut asked_for).now_or_never().is_none());
        is_at_work.recv().unwrap();
        gate.send(()).unwrap();
        assert_eq!(asked_for.await, Ok(7));
    }

    #[tokio::test]
    async fn the_work_of_a_caller_who_went_away_is_not_done() {
        let gated = Gated::start(patient());
        let (done, is_done) = mpsc::channel();
        let mut abandoned = Box::pin(gated.threads.run(move |_| done.send(()).unwrap()));
        assert!((&mut abandoned).now_or_never().is_none());
        drop(abandoned);
        assert_eq!((gated.threads.load().waiting, gated.threads.load().withdrawn), (0, 1));

        gated.open();
        assert_eq!(gated.threads.run(|_| 1).await, Ok(1));
        assert!(is_done.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_panic_costs_neither_the_thread_nor_the_count() {
        let threads = HashThreads::start(1, 8, patient()).unwrap();
        let outcome = threads.run(|_| -> u8 { panic!("on purpose") }).await;
        assert_eq!(outcome, Err(Busy::A_MOMENT));
        assert_eq!(threads.run(|_| 1).await, Ok(1));
        // The answer is there a moment before the thread counts its work as done.
        while threads.load().running > 0 {
            thread::yield_now();
        }
        assert_eq!(threads.load().done, 1);
    }

    #[test]
    fn an_idle_thread_gives_back_its_memory() {
        let shared = Shared::new(1, 8, Limits { idle: Duration::from_millis(1), ..patient() });
        let mut memory = Memory::default();
        memory.blocks(8).unwrap();
        // A wait may end early for no reason; the one that lasts gives the memory back.
        while !memory.is_empty() {
            drop(shared.wait(shared.lock(), &mut memory));
        }
    }

    #[tokio::test]
    async fn the_threads_end_with_their_owner() {
        let gated = Gated::start(patient());
        let shared = Arc::downgrade(&gated.threads.0);
        let Gated { threads, gate } = gated;
        drop(threads);
        assert!(shared.upgrade().is_some(), "the thread is at work");
        gate.send(()).unwrap();
        while shared.upgrade().is_some() {
            thread::yield_now();
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hash_threads_yield_to_requests() {
        let threads = HashThreads::start(1, 8, patient()).unwrap();
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let own = priority();
        assert_eq!(threads.run(move |_| priority()).await, Ok((own + 5).min(19)));
        assert_eq!(priority(), own);
    }
}
