//! Buckets in Redis, shared by all instances: one script counts and decides at once, by Redis' own clock.
//!
//! Redis is never waited for. What it does not answer in [`DEADLINE`] is decided in memory, and so is everything after
//! that, without asking, until a task in the background has found Redis quick and writable again.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, Script, ScriptInvocation};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::rate::{Rate, micros};
use crate::platform::config::Quota;
use crate::platform::secrets::Secrets;

/// What a request waits for Redis at most, ...
const DEADLINE: Duration = Duration::from_millis(11);
/// ... and for an answer that was there in time, but that a machine which stood still has not read yet.
const GRACE: Duration = Duration::from_millis(3);
/// What the search for Redis waits for: a connection, and the first answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The search begins with this pause, ...
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// ... and doubles it up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often it is asked while no request asks it.
const LOOK: Duration = Duration::from_secs(5);

const NOW: &str = "local time = redis.call('TIME') local now = time[1] * 1000000 + time[2]\n";
pub(super) const COUNT: &str = include_str!("count.lua");
pub(super) const GIVE_BACK: &str = include_str!("give_back.lua");

/// Why Redis did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it takes too long")]
    Late,
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("it answers strangely")]
    Strange,
}

/// A bucket as Redis is asked about it.
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) rate: Rate,
    /// Its level as it was last seen here.
    pub(super) known: Duration,
}

/// What Redis says of them.
pub(super) struct Answer {
    pub(super) passes: bool,
    pub(super) levels: Vec<Duration>,
}

/// Redis, while it is there.
pub(super) struct Shared {
    client: Client,
    link: ArcSwapOption<MultiplexedConnection>,
    lost: Notify,
    losses: AtomicU64,
    /// Whether the log knows that it is away.
    told: AtomicBool,
    count: Script,
    give_back: Script,
    names: hmac::Key,
    thread: Thread,
}

impl Shared {
    /// Not connected yet: [`Shared::watch`] does that.
    pub(super) fn new(url: &SecretString, secrets: &Secrets) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(url.expose_secret())?,
            link: ArcSwapOption::empty(),
            lost: Notify::new(),
            losses: AtomicU64::new(0),
            told: AtomicBool::new(false),
            count: script(NOW, COUNT),
            give_back: script(NOW, GIVE_BACK),
            names: hmac::Key::new(hmac::HMAC_SHA256, secrets.derive("rate limits").bytes()),
            thread: Thread::start()?,
        })
    }

    /// The name of a bucket: whoever reads Redis learns no address, and other programs there have other names.
    pub(super) fn key(&self, bucket: &str, ip: IpAddr) -> String {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(bucket.as_bytes());
        match ip {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        format!("gatehouse:limit:{}", URL_SAFE_NO_PAD.encode(&context.sign().as_ref()[..16]))
    }

    /// Whether Redis decides now.
    pub(super) fn is_here(&self) -> bool {
        self.link.load().is_some()
    }

    /// How often it was there and went away.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Counts one request in each bucket, all or none; nothing while Redis is away.
    pub(super) async fn count(&self, asked: &[Asked]) -> Option<Answer> {
        let call = counting(&self.count, asked);
        let numbers = self.ask(&call, asked.len() + 1).await?;
        let (passes, levels) = numbers.split_first()?;
        let levels = levels.iter().map(|level| Duration::from_micros(u64::try_from(*level).unwrap_or(0)));
        Some(Answer { passes: *passes == 1, levels: levels.collect() })
    }

    /// Takes back so much of what was booked in each.
    pub(super) async fn give_back(&self, amounts: &[(String, Duration)]) {
        let mut call = self.give_back.prepare_invoke();
        for (key, amount) in amounts {
            call.key(key).arg(micros(*amount));
        }
        self.ask(&call, 1).await;
    }

    /// The numbers that a script answers; nothing while Redis is away, and from the moment on that it is.
    async fn ask(&self, call: &ScriptInvocation<'_>, numbers: usize) -> Option<Vec<i64>> {
        let link = self.link.load_full()?;
        let mut connection = MultiplexedConnection::clone(&link);
        match in_time(call.invoke_async::<Vec<i64>>(&mut connection)).await {
            Ok(answer) if answer.len() == numbers => return Some(answer),
            Ok(_) => self.lose(&link, &Fault::Strange),
            Err(fault) => self.lose(&link, &fault),
        }
        None
    }

    /// Gives this connection up, unless that was done already.
    fn lose(&self, link: &Arc<MultiplexedConnection>, fault: &Fault) {
        let before = self.link.compare_and_swap(link, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, link)) {
            self.losses.fetch_add(1, Ordering::Relaxed);
            self.tell(fault);
            self.lost.notify_one();
        }
    }

    fn tell(&self, fault: &Fault) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %fault, "Redis is away: requests are counted in memory until it is back");
        }
    }

    /// Finds Redis, and finds it again whenever it was lost. For ever. While no request asks for it, it is asked every now
    /// and then, so that what is told of it is true.
    pub(super) async fn watch(&self) {
        loop {
            if !self.is_here() {
                let link = self.find().await;
                self.link.store(Some(Arc::new(link)));
                if self.told.swap(false, Ordering::Relaxed) {
                    tracing::info!("Redis is back: requests are counted there");
                }
            }
            if timeout(LOOK, self.lost.notified()).await.is_err() {
                self.count(&[probe()]).await;
            }
        }
    }

    async fn find(&self) -> MultiplexedConnection {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.connect().await {
                Ok(link) => return link,
                Err(fault) => self.tell(&fault),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A connection to a Redis that takes what we write, in time.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, Fault> {
        let (client, count) = (self.client.clone(), self.count.clone());
        let connected = self.thread.spawn(async move { connect(&client, &count).await }).await;
        connected.unwrap_or(Err(Fault::Strange))
    }
}

/// A request that counts for nobody.
fn probe() -> Asked {
    let rate = Rate::of(Quota { limit: 1, window: Duration::from_micros(1) });
    Asked { key: "gatehouse:limit:probe".to_owned(), rate, known: Duration::ZERO }
}

async fn connect(client: &Client, count: &Script) -> Result<MultiplexedConnection, Fault> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    let mut link = timeout(PATIENCE, connecting).await.map_err(|_| Fault::Late)??;
    // The first call may have to bring the script along; the second shows how long requests would wait.
    let probe = probe();
    let probe = counting(count, std::slice::from_ref(&probe));
    let _: Vec<i64> = probe.invoke_async(&mut link).await?;
    let _: Vec<i64> = in_time(probe.invoke_async(&mut link)).await?;
    Ok(link)
}

/// A thread for the connection. Where requests are many, what Redis has answered would wait behind them to be read, and
/// Redis would be taken for slow.
struct Thread(Option<Runtime>);

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("redis").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    async fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.0.as_ref()?.spawn(work).await.ok()
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background(); // to wait for it is not allowed everywhere
        }
    }
}

/// A script that knows the time as `now`, in microseconds.
pub(super) fn script(now: &str, code: &str) -> Script {
    Script::new(&format!("{now}{code}"))
}

/// The call that counts in these buckets.
pub(super) fn counting<'s>(script: &'s Script, asked: &[Asked]) -> ScriptInvocation<'s> {
    let mut call = script.prepare_invoke();
    for Asked { key, rate, known } in asked {
        call.key(key).arg(micros(rate.period())).arg(rate.limit().get()).arg(micros(*known));
    }
    call
}

async fn in_time<T>(call: impl Future<Output = RedisResult<T>>) -> Result<T, Fault> {
    let mut call = std::pin::pin!(call);
    if let Ok(answer) = timeout(DEADLINE, &mut call).await {
        return Ok(answer?);
    }
    Ok(timeout(GRACE, call).await.map_err(|_| Fault::Late)??)
}
