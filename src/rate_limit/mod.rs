//! How often clients may do something.
//!
//! An operation names its limit in its signature ([`RateLimited`]), and the edge counts every request if the operator
//! has asked for it ([`Limits::requests`]). Both count by the address, in buckets that are in Redis where there is one,
//! so that all instances share them, and in memory where there is none or it is away. Tries of passwords, codes and links
//! are counted elsewhere (`auth/throttle.rs`): in the database, where no restart forgives them.

mod limited;
mod memory;
mod meter;
mod rate;
mod shared;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use redis::RedisError;
use secrecy::SecretString;

pub use limited::{Limit, MARK, OauthStarts, RateLimited, Uploads};
pub use meter::{Counted, Meter};
pub use rate::Standing;

use crate::platform::clock::Clock;
use crate::platform::config::{Quota, Throttles};
use crate::platform::secrets::Secrets;
use crate::platform::telemetry::metrics::{Family, Sample, number};
use meter::{FEWER, MOST_CLIENTS, Parts};
use shared::Shared;

/// What the limits go by.
pub struct Settings {
    /// How often each thing may be done.
    pub throttles: Throttles,
    /// How many requests a client may make, of whatever kind; none: as many as it likes.
    pub requests: Option<Quota>,
    /// Whether loopback may do a hundred times as much of each thing; for developing.
    pub lenient_on_loopback: bool,
    /// Where Redis is, if there is one.
    pub redis: Option<SecretString>,
}

/// Every limit there is.
pub struct Limits {
    settings: Settings,
    clock: Clock,
    shared: Option<Arc<Shared>>,
    /// By name; each is made when it is first asked for.
    meters: RwLock<HashMap<&'static str, Arc<Meter>>>,
}

impl Limits {
    /// The limits of these settings. Connects to nothing: [`Limits::watch`] does.
    pub fn new(settings: Settings, clock: Clock, secrets: &Secrets) -> Result<Self, RedisError> {
        let shared = settings.redis.as_ref().map(|url| Shared::new(url, secrets)).transpose()?;
        Ok(Self { settings, clock, shared: shared.map(Arc::new), meters: RwLock::default() })
    }

    /// What counts `L`.
    #[must_use]
    pub fn meter<L: Limit>(&self) -> Arc<Meter> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.get(L::NAME) {
            return Arc::clone(meter);
        }
        drop(meters);
        let (quota, lenient) = (L::quota(&self.settings.throttles), self.settings.lenient_on_loopback);
        self.made(L::NAME, quota, lenient, FEWER)
    }

    /// What counts requests, of whatever kind, if they are limited.
    #[must_use]
    pub fn requests(&self) -> Option<Arc<Meter>> {
        self.settings.requests.map(|quota| self.made("default", quota, false, MOST_CLIENTS))
    }

    fn made(&self, name: &'static str, quota: Quota, lenient: bool, most: usize) -> Arc<Meter> {
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (clock, shared) = (&self.clock, self.shared.clone());
            Arc::new(Meter::new(Parts { name, quota, lenient, most, clock, shared }))
        };
        Arc::clone(meters.entry(name).or_insert_with(make))
    }

    /// Keeps the connection to Redis, if there is to be one. For ever.
    pub async fn watch(&self) {
        if let Some(shared) = &self.shared {
            shared.watch().await;
        }
    }

    /// Drops what is past its time.
    pub fn sweep(&self) {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        for meter in meters.values() {
            meter.sweep();
        }
    }

    /// Whether Redis counts now; none where there is no Redis.
    #[must_use]
    pub fn redis_is_here(&self) -> Option<bool> {
        self.shared.as_ref().map(|shared| shared.is_here())
    }

    /// What was counted, as measurements.
    #[must_use]
    pub fn measures(&self) -> Vec<Family> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = meters.iter().collect();
        names.sort_by_key(|(name, _)| **name);
        let mut samples = Vec::new();
        for (name, meter) in names {
            for (store, (allowed, refused)) in meter.tallies() {
                for (outcome, count) in [("allowed", allowed), ("refused", refused)] {
                    let labels = [("limit", *name), ("store", store), ("outcome", outcome)];
                    samples.push(Sample::labelled(labels, number(count)));
                }
            }
        }
        let losses = self.shared.as_ref().map(|_| Sample::plain(number(self.redis_losses())));
        let redis = self.redis_is_here().map(|here| Sample::plain(if here { 1.0 } else { 0.0 }));
        vec![
            Family::counter(
                "gatehouse_limiter_requests_total",
                "Requests that a limit has counted.",
                samples,
            ),
            Family::gauge(
                "gatehouse_limiter_redis_up",
                "Whether Redis counts; 0 while each instance counts for itself.",
                redis.into_iter().collect(),
            ),
            Family::counter(
                "gatehouse_limiter_redis_losses_total",
                "How often Redis was there and went away.",
                losses.into_iter().collect(),
            ),
        ]
    }

    /// How often Redis was there and went away.
    #[must_use]
    pub fn redis_losses(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.losses())
    }

    /// Looks for Redis: what was found, or what is wrong with it.
    pub async fn check(&self) -> Result<String, String> {
        match &self.shared {
            None => Ok("counted in memory, by each instance for itself".to_owned()),
            Some(shared) => match shared.connect().await {
                Ok(_) => Ok("counted in Redis".to_owned()),
                Err(fault) => {
                    Err(format!("Redis can't be used, each instance would count for itself: {fault}"))
                }
            },
        }
    }
}
