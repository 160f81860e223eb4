//! How many requests a client may make, of whatever kind, and where all limits are counted.

use std::time::Duration;

use secrecy::SecretString;

use super::Quota;
use super::catalogue::section;
use super::kinds::{Flag, Optional, Secret, Whole, Word, seconds};

section! {
    /// The limiter.
    pub struct Limiter {
        /// Whether each client's requests are limited, of whatever kind they are. The throttles are always on.
        enabled: bool = "RATE_LIMITER_ENABLED", Flag, "False";
        /// How many requests a client may make at once; they become free again one by one within the window.
        max_requests: u32 = "RATE_LIMITER_MAX_REQUESTS", Whole(1, 1_000_000_000), "300";
        /// How long it takes until all of them are free again, in seconds.
        window: Duration = "RATE_LIMITER_WINDOW_SECONDS", seconds(1, 31 * 86400), "900";
        /// A Redis in which several instances count together: `redis://` or, with TLS, `rediss://`. Unset: each counts
        /// by itself, in memory.
        redis: Option<SecretString> = "REDIS_URL", Optional(Secret(REDIS)), "";
    }
}

impl Limiter {
    /// How often each client may ask, if that is limited.
    #[must_use]
    pub fn requests(&self) -> Option<Quota> {
        self.enabled.then_some(Quota { limit: self.max_requests, window: self.window })
    }
}

const REDIS: Word<SecretString> = Word {
    accepts: "redis://user:password@host:port/number, or rediss:// for TLS, with special characters of user and \
              password as %XX",
    parse: |text| {
        let is_ours = text.starts_with("redis://") || text.starts_with("rediss://");
        // `#insecure` would take any certificate.
        let is_safe = is_ours && !text.contains('#');
        (is_safe && redis::Client::open(text).is_ok()).then(|| SecretString::from(text))
    },
};
