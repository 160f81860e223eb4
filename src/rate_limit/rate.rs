//! How often: the arithmetic that memory and Redis share, and how it is told to clients.
//!
//! The algorithm is GCRA. A bucket knows one moment, until which it is "booked"; each request books one period more,
//! and is refused while more than the limit would be booked ahead of now. What is booked ahead is called the level.

use std::num::NonZeroU32;
use std::time::Duration;

use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::platform::config::Quota;
use crate::platform::problem::{Details, Problem, RetryAfter};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// So many at once, and one more each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    limit: NonZeroU32,
    period: Duration,
}

impl Rate {
    /// The rate of a quota. Periods are whole microseconds, as Redis counts them, and rounded up: never a request more.
    pub(super) fn of(quota: Quota) -> Self {
        let limit = NonZeroU32::new(quota.limit).unwrap_or(NonZeroU32::MIN);
        let micros = micros(quota.window).div_ceil(u64::from(limit.get())).max(1);
        Self { limit, period: Duration::from_micros(micros) }
    }

    pub(super) const fn limit(self) -> NonZeroU32 {
        self.limit
    }

    /// What one request books.
    pub(super) const fn period(self) -> Duration {
        self.period
    }

    /// The highest level at which one more is let through.
    pub(super) fn tolerance(self) -> Duration {
        self.period * (self.limit.get() - 1)
    }

    /// How many more would be let through at this level.
    pub(super) fn remaining(self, level: Duration) -> u32 {
        let free = (self.period * self.limit.get()).saturating_sub(level);
        u32::try_from(free.as_nanos() / self.period.as_nanos()).unwrap_or(u32::MAX)
    }

    /// How long a client must wait that was refused at this level.
    pub(super) fn wait(self, level: Duration) -> Duration {
        level.saturating_sub(self.tolerance())
    }

    /// The header that describes it (draft-ietf-httpapi-ratelimit-headers).
    pub(super) fn policy(name: &str, quota: Quota) -> HeaderValue {
        let text = format!("\"{name}\";q={};w={}", quota.limit, quota.window.as_secs());
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"limit\""))
    }
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How a client stands with a limit.
#[derive(Clone, Debug)]
pub struct Standing {
    pub(super) name: &'static str,
    pub(super) policy: HeaderValue,
    pub(super) rate: Rate,
    pub(super) remaining: u32,
    /// When it may try again, if it was refused.
    pub(super) wait: Option<Duration>,
}

impl Standing {
    /// How many more requests would be let through now.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Whether the request is within the limit.
    #[must_use]
    pub const fn is_within(&self) -> bool {
        self.wait.is_none()
    }

    /// The headers that tell it, for whatever answer: the limit, what is left of it, and in how many seconds all of it
    /// is there again.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
    }

    /// 429, if the client has to wait.
    pub fn refusal(&self) -> Result<(), Problem> {
        let Some(wait) = self.wait else { return Ok(()) };
        let words = "Too many requests. Please wait.";
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", words);
        RetryAfter(seconds(wait)).add_to(&mut problem);
        problem.headers.extend(self.headers());
        Err(problem)
    }

    fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let used = self.rate.limit.get().saturating_sub(self.remaining);
        let left = format!("\"{}\";r={};t={}", self.name, self.remaining, seconds(self.rate.period * used));
        let left = HeaderValue::try_from(left).unwrap_or(HeaderValue::from_static("\"limit\""));
        [(RATE_LIMIT_POLICY, self.policy.clone()), (RATE_LIMIT, left)]
    }
}

/// Seconds, rounded up: whoever comes back then is not too early.
fn seconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}
