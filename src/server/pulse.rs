//! What a connection is doing and until when it may: shared by its socket, its requests and its watch.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// Times are milliseconds since the connection began. All of it belongs to one connection, whose parts mostly run
/// in one task; the atomics are for the streams of HTTP/2.
#[derive(Debug)]
pub(super) struct Pulse {
    began: Instant,
    limits: Limits,
    requests: AtomicUsize,
    /// While no request runs: when the connection ends unless something happens.
    deadline: AtomicU64,
    /// Since when the client takes none of the bytes that wait for it, and longer by what it owes; 0 when it does.
    stalled: AtomicU64,
    /// How long it made bytes wait, less what it has taken since: whoever takes a little of them now and then owes more
    /// with each wait.
    owed: AtomicU64,
    in_head: AtomicBool,
    by_oauth: AtomicBool,
    head_waits: AtomicBool,
    http2: AtomicBool,
    in_body: AtomicBool,
    last: AtomicBool,
}

/// What the watch finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All is well; look again then.
    Fine(Instant),
    /// Nothing came for long.
    Idle,
    /// The head of a request did not come to its end.
    SlowHead,
    /// The client does not take its answer.
    Stalled,
}

impl Pulse {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            began: Instant::now(),
            requests: AtomicUsize::new(0),
            deadline: AtomicU64::new(millis(limits.head_timeout)),
            stalled: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            in_head: AtomicBool::new(false),
            by_oauth: AtomicBool::new(false),
            head_waits: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            in_body: AtomicBool::new(false),
            last: AtomicBool::new(false),
            limits,
        }
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn moment(&self, at: u64) -> Instant {
        self.began + Duration::from_millis(at)
    }

    /// The first byte of a head is here.
    pub(super) fn head_begins(&self) {
        self.in_head.store(true, Relaxed);
        if self.requests.load(Relaxed) == 0 {
            self.deadline.store(self.now() + millis(self.limits.head_timeout), Relaxed);
        }
    }

    /// More of a head has come; a library of OAuth may be asking, as far as that is known by now.
    pub(super) fn reads_head(&self, by_oauth: bool, is_whole: bool) {
        // What is behind a head that the parser has not yet seen is not what it may refuse.
        if !self.head_waits.load(Relaxed) {
            self.by_oauth.store(by_oauth, Relaxed);
            self.head_waits.store(is_whole, Relaxed);
        }
    }

    /// Whether such a library may have sent the head that is next to become a request.
    pub(super) fn is_by_oauth(&self) -> bool {
        self.by_oauth.load(Relaxed)
    }

    /// Whether a head was begun that did not become a request.
    pub(super) fn is_in_head(&self) -> bool {
        self.in_head.load(Relaxed)
    }

    pub(super) fn request_begins(&self) {
        self.in_head.store(false, Relaxed);
        self.head_waits.store(false, Relaxed);
        self.by_oauth.store(false, Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn request_ends(&self) {
        if self.requests.fetch_sub(1, Relaxed) == 1 {
            self.deadline.store(self.now() + millis(self.limits.keep_alive), Relaxed);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    pub(super) fn speaks_http2(&self) {
        self.http2.store(true, Relaxed);
        self.in_head.store(false, Relaxed);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Whether some of a body whose length is known has yet to come.
    pub(super) fn reads_body(&self, in_body: bool) {
        self.in_body.store(in_body, Relaxed);
    }

    /// The next answer is the last one of an HTTP/1 connection.
    pub(super) fn make_last(&self) {
        self.last.store(true, Relaxed);
    }

    /// The server stops: a request that is on its way is still answered, a silent connection ends soon.
    pub(super) fn farewell(&self) {
        self.make_last();
        if !self.is_in_head() {
            let soon = self.now() + millis(self.limits.farewell);
            self.deadline.fetch_min(soon, Relaxed);
        }
    }

    /// Whether an answer that is given now must say `Connection: close`. So it must before the body has come, as
    /// hyper ends the connection behind it: who is not told sends the next request into an ended one.
    pub(super) fn is_last(&self) -> bool {
        (self.last.load(Relaxed) || self.in_body.load(Relaxed)) && !self.is_http2()
    }

    pub(super) fn write_waits(&self) {
        if self.stalled.load(Relaxed) == 0 {
            let since = self.now().saturating_sub(self.owed.load(Relaxed));
            self.stalled.store(since.max(1), Relaxed);
        }
    }

    /// The client takes so many bytes.
    pub(super) fn write_moves(&self, bytes: usize) {
        let stalled = self.stalled.load(Relaxed);
        let owed = if stalled == 0 { self.owed.load(Relaxed) } else { self.now().saturating_sub(stalled) };
        if stalled != 0 {
            self.stalled.store(0, Relaxed);
        }
        if stalled != 0 || owed != 0 {
            self.owed.store(owed.saturating_sub(worth(bytes)), Relaxed);
        }
    }

    /// Looks at the clock.
    pub(super) fn state(&self) -> State {
        let now = self.now();
        let stalled = self.stalled.load(Relaxed);
        let taken_until = if stalled == 0 { now } else { stalled } + millis(self.limits.write_timeout);
        if now >= taken_until {
            return State::Stalled;
        }
        if self.is_busy() {
            return State::Fine(self.moment(taken_until));
        }
        let deadline = self.deadline.load(Relaxed);
        match (now >= deadline, self.is_in_head()) {
            (false, _) => State::Fine(self.moment(deadline.min(taken_until))),
            (true, true) => State::SlowHead,
            (true, false) => State::Idle,
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

/// The milliseconds that a client may have for so many bytes: the slowest that is waited for takes a KiB a second, as the
/// slowest upload brings it.
fn worth(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1000) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse() -> Pulse {
        Pulse::new(Limits {
            head_timeout: Duration::from_secs(100),
            keep_alive: Duration::from_secs(200),
            write_timeout: Duration::from_secs(150),
            ..Limits::default()
        })
    }

    /// Lets time pass: the connection began earlier. The time that the test itself takes is nothing beside it.
    fn after(pulse: &mut Pulse, seconds: u64) {
        pulse.began -= Duration::from_secs(seconds);
    }

    #[test]
    fn a_silent_connection_ends_at_the_head_timeout() {
        let mut pulse = pulse();
        after(&mut pulse, 50);
        assert!(matches!(pulse.state(), State::Fine(_)));
        after(&mut pulse, 60);
        assert_eq!(pulse.state(), State::Idle);
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte() {
        let mut pulse = pulse();
        after(&mut pulse, 60);
        pulse.head_begins();
        after(&mut pulse, 60);
        assert!(matches!(pulse.state(), State::Fine(_)));
        after(&mut pulse, 60);
        assert_eq!(pulse.state(), State::SlowHead);
    }

    #[test]
    fn between_requests_the_keep_alive_counts() {
        let mut pulse = pulse();
        pulse.head_begins();
        pulse.request_begins();
        after(&mut pulse, 300);
        assert!(matches!(pulse.state(), State::Fine(_)));
        pulse.request_ends();
        after(&mut pulse, 150);
        assert!(matches!(pulse.state(), State::Fine(_)));
        after(&mut pulse, 100);
        assert_eq!(pulse.state(), State::Idle);
    }

    #[test]
    fn a_client_that_takes_nothing_is_noticed() {
        let mut pulse = pulse();
        pulse.request_begins();
        pulse.write_waits();
        after(&mut pulse, 100);
        pulse.write_moves(100 * 1024);
        pulse.write_waits();
        after(&mut pulse, 100);
        assert!(matches!(pulse.state(), State::Fine(_)));
        after(&mut pulse, 100);
        assert_eq!(pulse.state(), State::Stalled);
    }

    #[test]
    fn whoever_takes_a_little_now_and_then_runs_out_of_time() {
        let takes = |bytes: usize| {
            let mut pulse = pulse();
            after(&mut pulse, 1000);
            pulse.request_begins();
            for wait in 1..=20 {
                pulse.write_waits();
                after(&mut pulse, 20);
                if pulse.state() == State::Stalled {
                    return Some(wait);
                }
                pulse.write_moves(bytes);
            }
            None
        };
        assert_eq!([takes(1), takes(10 * 1024), takes(20 * 1024)], [Some(8), Some(14), None]);
    }

    #[test]
    fn what_is_taken_at_once_makes_up_for_earlier_waits() {
        let mut pulse = pulse();
        after(&mut pulse, 1000);
        pulse.request_begins();
        pulse.write_waits();
        after(&mut pulse, 140);
        pulse.write_moves(1);
        pulse.write_moves(200 * 1024);
        pulse.write_waits();
        after(&mut pulse, 140);
        assert!(matches!(pulse.state(), State::Fine(_)));
    }

    #[test]
    fn a_farewell_shortens_the_silence_but_no_head() {
        let idle = pulse();
        idle.request_begins();
        idle.request_ends();
        let limits = idle.limits;
        let soon = Pulse { limits: Limits { farewell: Duration::ZERO, ..limits }, ..idle };
        soon.farewell();
        assert_eq!((soon.state(), soon.is_last()), (State::Idle, true));
        let in_head = pulse();
        in_head.head_begins();
        in_head.farewell();
        assert!(matches!(in_head.state(), State::Fine(_)));
    }
}
