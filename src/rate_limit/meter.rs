//! A limit at work: counts clients, each by its address, and an IPv6 client by the network around it, too.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use poem::http::HeaderValue;

use super::memory::{Memory, Stopwatch};
use super::rate::{Rate, Standing};
use super::shared::{Asked, Shared};
use crate::platform::clock::Clock;
use crate::platform::config::Quota;
use crate::platform::telemetry::metrics::Tally;
use crate::platform::web::{client_network, wide_network};

/// What a network of IPv6 (/48) may do, of what each client in it may.
const NETWORK: u32 = 10;
/// What loopback may do while developing, of what others may.
const LOOPBACK: u32 = 100;

/// Buckets of clients, in each of 64 shards: what a table of 2^15 places takes, which makes 1.8 million in 36 MB.
pub(super) const MOST_CLIENTS: usize = 28_672;
/// The same of what is counted more rarely: an eighth.
pub(super) const FEWER: usize = MOST_CLIENTS / 8;

/// Counts one limit.
pub struct Meter {
    client: Bucket,
    network: Bucket,
    /// Loopback's own, if it has one.
    loopback: Option<Bucket>,
    shared: Option<Arc<Shared>>,
    watch: Stopwatch,
    in_memory: Tally,
    in_redis: Tally,
}

/// One rate, and who is counted by it.
struct Bucket {
    name: String,
    told: &'static str,
    policy: HeaderValue,
    rate: Rate,
    memory: Memory,
}

/// A bucket with the key of somebody.
struct Place<'m> {
    bucket: &'m Bucket,
    ip: IpAddr,
    key: u64,
}

/// Where a client is counted.
struct Places<'m> {
    own: Place<'m>,
    network: Option<Place<'m>>,
}

/// A request that was counted.
#[derive(Debug)]
pub struct Counted {
    standing: Standing,
    at: Duration,
    in_redis: bool,
}

impl Counted {
    /// How the client stands now.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// What a meter is made of.
pub(super) struct Parts<'p> {
    pub(super) name: &'static str,
    pub(super) quota: Quota,
    /// Whether loopback may do more.
    pub(super) lenient: bool,
    pub(super) most: usize,
    pub(super) clock: &'p Clock,
    pub(super) shared: Option<Arc<Shared>>,
}

impl Meter {
    pub(super) fn new(parts: Parts<'_>) -> Self {
        let Parts { name, quota, lenient, most, clock, shared } = parts;
        let watch = Stopwatch::new(clock);
        watch.elapsed();
        let bucket = |more: &str, times: u32, most: usize| {
            let quota = Quota { limit: quota.limit.saturating_mul(times), ..quota };
            let rate = Rate::of(quota);
            Bucket {
                name: format!("{name}{more}"),
                told: name,
                policy: Rate::policy(name, quota),
                rate,
                memory: Memory::new(rate, most, clock),
            }
        };
        Self {
            client: bucket("", 1, most),
            network: bucket("/48", NETWORK, FEWER),
            loopback: lenient.then(|| bucket("/loopback", LOOPBACK, FEWER)),
            shared,
            watch,
            in_memory: Tally::default(),
            in_redis: Tally::default(),
        }
    }

    /// How many were let through and how many were not, as counted in each place.
    pub(super) fn tallies(&self) -> [(&'static str, (u64, u64)); 2] {
        [("memory", self.in_memory.read()), ("redis", self.in_redis.read())]
    }

    /// Counts a request of this client.
    pub async fn count(&self, client: IpAddr) -> Counted {
        let (places, at) = (self.places(client), self.watch.elapsed());
        if let Some(shared) = &self.shared
            && let Some(standing) = self.count_there(shared, &places, at).await
        {
            self.in_redis.count(standing.is_within());
            return Counted { standing, at, in_redis: true };
        }
        let standing = count_here(&places);
        self.in_memory.count(standing.is_within());
        Counted { standing, at, in_redis: false }
    }

    /// Takes back a request that turned out not to count. What has become free by itself since then is not given twice.
    pub async fn give_back(&self, client: IpAddr, counted: &mut Counted) {
        if !counted.standing.is_within() {
            return;
        }
        let (places, since) = (self.places(client), self.watch.elapsed().saturating_sub(counted.at));
        for place in places.iter() {
            place.bucket.memory.give_back(place.key, place.bucket.rate.period().saturating_sub(since));
        }
        if let Some(shared) = self.shared.as_ref().filter(|_| counted.in_redis) {
            let amounts: Vec<(String, Duration)> = places
                .iter()
                .map(|place| (place.name(shared), place.bucket.rate.period().saturating_sub(since)))
                .collect();
            shared.give_back(&amounts).await;
        }
        counted.standing.remaining += 1;
    }

    /// What Redis says; memory follows, so that it can go on from there when Redis goes away.
    async fn count_there(&self, shared: &Shared, places: &Places<'_>, at: Duration) -> Option<Standing> {
        if !shared.is_here() {
            return None;
        }
        let asked = places.iter().map(|place| Asked {
            key: place.name(shared),
            rate: place.bucket.rate,
            known: place.bucket.memory.level(place.key),
        });
        let asked: Vec<Asked> = asked.collect();
        let answer = shared.count(&asked).await?;
        // Redis has found it at some moment since then.
        let since = self.watch.elapsed().saturating_sub(at);
        for (place, level) in places.iter().zip(&answer.levels) {
            place.bucket.memory.raise(place.key, level.saturating_sub(since));
        }
        let found = || places.iter().zip(&answer.levels).map(|(place, level)| (place.bucket, *level));
        if answer.passes {
            return found().next().map(|(bucket, level)| bucket.standing(bucket.rate.remaining(level), None));
        }
        let waits = found().map(|(bucket, level)| (bucket, bucket.rate.wait(level)));
        waits.max_by_key(|(_, wait)| *wait).map(|(bucket, wait)| bucket.standing(0, Some(wait)))
    }

    pub(super) fn sweep(&self) {
        for bucket in [&self.client, &self.network].into_iter().chain(&self.loopback) {
            bucket.memory.sweep();
        }
    }

    fn places(&self, client: IpAddr) -> Places<'_> {
        let loopback = self.loopback.as_ref().filter(|_| client.is_loopback());
        let network = wide_network(client).filter(|_| loopback.is_none());
        Places {
            own: loopback.unwrap_or(&self.client).place(client_network(client)),
            network: network.map(|network| self.network.place(network)),
        }
    }
}

impl Bucket {
    fn place(&self, ip: IpAddr) -> Place<'_> {
        Place { bucket: self, ip, key: self.memory.key(ip) }
    }

    fn standing(&self, remaining: u32, wait: Option<Duration>) -> Standing {
        Standing { name: self.told, policy: self.policy.clone(), rate: self.rate, remaining, wait }
    }
}

impl Places<'_> {
    fn iter(&self) -> impl Iterator<Item = &Place<'_>> {
        std::iter::once(&self.own).chain(&self.network)
    }
}

impl Place<'_> {
    fn name(&self, shared: &Shared) -> String {
        shared.key(&self.bucket.name, self.ip)
    }
}

/// All or none, as the script does: what was counted is given back where the network is refused.
fn count_here(places: &Places<'_>) -> Standing {
    let Places { own, network } = places;
    let remaining = match own.bucket.memory.count(own.key) {
        Ok(remaining) => remaining,
        Err(wait) => return own.bucket.standing(0, Some(wait)),
    };
    if let Some(network) = network
        && let Err(wait) = network.bucket.memory.count(network.key)
    {
        own.bucket.memory.give_back(own.key, own.bucket.rate.period());
        return network.bucket.standing(0, Some(wait));
    }
    own.bucket.standing(remaining, None)
}
