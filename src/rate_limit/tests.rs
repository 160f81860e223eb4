//! Never more than the limit, never forgotten, never without bounds; and Redis decides as memory does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use poem::http::{Method, StatusCode};
use poem::middleware::AddData;
use poem::{Endpoint, EndpointExt, Request};
use poem_openapi::payload::PlainText;
use poem_openapi::{OpenApi, OpenApiService};
use proptest::prelude::*;
use redis::AsyncConnectionConfig;

use super::memory::Memory;
use super::meter::MOST_CLIENTS;
use super::rate::{Rate, micros};
use super::shared::{Asked, COUNT, GIVE_BACK, counting, script};
use super::{Limits, RateLimited, Settings, Uploads};
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::config::{Config, Quota};
use crate::platform::problem::Problem;
use crate::platform::secrets::Secrets;

#[path = "../../tests/support/port.rs"]
mod port;
#[path = "../../tests/support/redis.rs"]
mod redis_server;
use redis_server::Redis;

/// What happens to a few buckets.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pause(u64),
    Ask(usize),
    /// Takes the last request back that was let through, if it was one in this bucket.
    GiveBack(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_u64..20_000).prop_map(Step::Pause),
        6 => (0_usize..3).prop_map(Step::Ask),
        1 => (0_usize..3).prop_map(Step::GiveBack),
    ];
    proptest::collection::vec(step, 1..120)
}

fn quotas() -> impl Strategy<Value = Quota> {
    let window = (10_u64..1000).prop_map(Duration::from_secs);
    (1_u32..20, window).prop_map(|(limit, window)| Quota { limit, window })
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_seconds(1_767_225_600))
}

/// A decision: how many more would pass, or how long to wait.
type Decision = Result<u32, Duration>;

/// Goes these steps in memory: each decision with its moment and bucket.
fn in_memory(quota: Quota, steps: &[Step]) -> Vec<(u64, usize, Decision)> {
    let (clock, rate) = (clock(), Rate::of(quota));
    let memory = Memory::new(rate, 100, &clock);
    let mut now = 0;
    let (mut decisions, mut last) = (Vec::new(), None);
    for step in steps {
        match *step {
            Step::Pause(millis) => {
                clock.advance(Duration::from_millis(millis));
                now += millis;
            }
            Step::Ask(bucket) => {
                let decision = memory.count(bucket as u64);
                last = decision.is_ok().then_some((bucket, now, decisions.len()));
                decisions.push((now, bucket, decision));
            }
            Step::GiveBack(bucket) => {
                if let Some((_, at, number)) = last.take_if(|(asked, ..)| *asked == bucket) {
                    let since = Duration::from_millis(now - at);
                    memory.give_back(bucket as u64, rate.period().saturating_sub(since));
                    decisions[number].1 = usize::MAX; // it counts for none
                }
            }
        }
    }
    decisions
}

/// The same in Redis, whose time is made to be that of the steps.
async fn in_redis(redis: &Redis, quota: Quota, steps: &[Step]) -> Vec<Decision> {
    let told = "local now = tonumber(ARGV[#ARGV])\n";
    let (count, give_back) = (script(told, COUNT), script(told, GIVE_BACK));
    let client = redis::Client::open(redis.url()).unwrap();
    let patience = Some(Duration::from_mins(1));
    let config = AsyncConnectionConfig::new().set_connection_timeout(patience).set_response_timeout(patience);
    let mut link = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    let (rate, mut now, mut last) = (Rate::of(quota), 1_767_225_600_000_000_u64, None);
    let mut decisions = Vec::new();
    redis.command(&["FLUSHALL"]);
    for step in steps {
        match *step {
            Step::Pause(millis) => now += millis * 1000,
            Step::Ask(bucket) => {
                let asked = Asked { key: bucket.to_string(), rate, known: Duration::ZERO };
                let mut call = counting(&count, std::slice::from_ref(&asked));
                let answer: Vec<u64> = call.arg(now).invoke_async(&mut link).await.unwrap();
                let level = Duration::from_micros(answer[1]);
                let passes = answer[0] == 1;
                decisions.push(if passes { Ok(rate.remaining(level)) } else { Err(rate.wait(level)) });
                last = passes.then_some((bucket, now));
            }
            Step::GiveBack(bucket) => {
                if let Some((_, at)) = last.take_if(|(asked, _)| *asked == bucket) {
                    let amount = rate.period().saturating_sub(Duration::from_micros(now - at));
                    let mut call = give_back.key(bucket.to_string());
                    let answer: Vec<u64> =
                        call.arg(micros(amount)).arg(now).invoke_async(&mut link).await.unwrap();
                    assert_eq!(answer, [1]);
                }
            }
        }
    }
    decisions
}

proptest! {
    #[test]
    fn never_more_pass_than_the_limit_and_what_has_become_free(quota in quotas(), steps in steps()) {
        let decisions = in_memory(quota, &steps);
        let period = Rate::of(quota).period();
        for bucket in 0..3 {
            let passed: Vec<u64> = decisions
                .iter()
                .filter(|(_, asked, decision)| *asked == bucket && decision.is_ok())
                .map(|(at, ..)| *at)
                .collect();
            for (first, from) in passed.iter().enumerate() {
                for (number, to) in passed[first..].iter().enumerate() {
                    let free = u128::from(to - from) * 1_000_000 / period.as_nanos();
                    prop_assert!((number as u128) < u128::from(quota.limit) + free);
                }
            }
        }
    }

    #[test]
    fn who_waits_as_long_as_told_gets_through_and_not_before(quota in quotas(), steps in steps()) {
        let (clock, rate) = (clock(), Rate::of(quota));
        let memory = Memory::new(rate, 100, &clock);
        for step in steps {
            match step {
                Step::Pause(millis) => clock.advance(Duration::from_millis(millis)),
                Step::Ask(key) | Step::GiveBack(key) => {
                    let _either = memory.count(key as u64);
                }
            }
        }
        while memory.count(0).is_ok() {}
        let wait = memory.count(0).unwrap_err();
        prop_assert!(wait <= rate.period());
        clock.advance(wait.saturating_sub(Duration::from_millis(1)));
        prop_assert!(wait < Duration::from_millis(2) || memory.count(0).is_err());
        clock.advance(Duration::from_millis(2));
        prop_assert!(memory.count(0).is_ok());
    }
}

#[test]
fn redis_decides_as_memory_does() {
    let redis = Redis::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = prop::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let same = runner.run(&(quotas(), steps()), |(quota, steps)| {
        let memory = in_memory(quota, &steps).into_iter().map(|(_, _, decision)| decision);
        let (mut begun, mut there) = (Instant::now(), runtime.block_on(in_redis(&redis, quota, &steps)));
        // It forgets by its own clock, at the earliest after half a second, which is the shortest period.
        for _ in 0..20 {
            if begun.elapsed() < Duration::from_millis(500) {
                break;
            }
            (begun, there) = (Instant::now(), runtime.block_on(in_redis(&redis, quota, &steps)));
        }
        prop_assert_eq!(memory.collect::<Vec<_>>(), there);
        Ok(())
    });
    same.unwrap();
}

fn rate(limit: u32) -> Rate {
    Rate::of(Quota { limit, window: Duration::from_hours(1) })
}

#[test]
fn a_million_clients_take_bounded_memory_and_a_live_offender_stays() {
    const CLIENTS: u64 = 1_000_000;
    let flood = |most: usize| {
        let memory = Memory::new(rate(300), most, &clock());
        let key = |client: u64| memory.key(std::net::Ipv6Addr::from_bits(u128::from(client) << 64).into());
        let offender = key(u64::MAX);
        while memory.count(offender).is_ok() {}
        let before = resident();
        assert!((0..CLIENTS).all(|client| memory.count(key(client)).is_ok()));
        assert!(memory.count(offender).is_err(), "the offender was forgiven");
        (memory.len(), resident().saturating_sub(before))
    };
    let (clients, bytes) = flood(MOST_CLIENTS);
    println!("{clients} clients take {bytes} bytes");
    assert!(clients == 1_000_001 && bytes < 80_000_000);
    // The same with a sixteenth of the room.
    let (clients, bytes) = flood(MOST_CLIENTS / 16);
    println!("of them {clients} are remembered in {bytes} bytes");
    assert!((64 * MOST_CLIENTS / 20..=64 * MOST_CLIENTS / 16).contains(&clients));
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let (_, behind) = status.split_once("VmRSS:").unwrap();
    let (kilobytes, _) = behind.split_once("kB").unwrap();
    kilobytes.trim().parse::<usize>().unwrap() * 1024
}

#[test]
fn who_has_asked_most_is_forgotten_last() {
    let memory = Memory::new(rate(100), 16, &clock());
    let key = |number: u64| number; // all in one shard
    for _ in 0..50 {
        assert!(memory.count(key(1)).is_ok());
    }
    for visitor in 2..10_000 {
        assert!(memory.count(key(visitor)).is_ok());
    }
    assert!((14..=16).contains(&memory.len()), "{}", memory.len());
    assert_eq!(memory.count(key(1)), Ok(49), "nothing of it was forgiven");
}

#[test]
fn newcomers_share_one_bucket_while_every_other_refuses_somebody() {
    let clock = clock();
    let memory = Memory::new(rate(2), 4, &clock);
    for offender in 0..4 {
        while memory.count(offender).is_ok() {}
    }
    let newcomers = (100..200).filter(|newcomer| memory.count(*newcomer).is_ok());
    assert_eq!(newcomers.count(), 2);
    assert!((0..4).all(|offender| memory.count(offender).is_err()), "nobody was forgiven");
    clock.advance(Duration::from_hours(1));
    assert!(memory.count(300).is_ok() && memory.count(301).is_ok(), "there is room again");
}

#[test]
fn what_is_past_its_time_is_swept_away() {
    let clock = clock();
    let memory = Memory::new(rate(2), 100, &clock);
    for client in 0..50 {
        assert!(memory.count(client).is_ok());
    }
    memory.sweep();
    assert_eq!(memory.len(), 50);
    clock.advance(Duration::from_mins(31));
    memory.sweep();
    assert_eq!(memory.len(), 0);
}

#[test]
fn threads_that_ask_at_once_share_the_limit() {
    let memory = Memory::new(rate(1000), 100, &Clock::System);
    let passed = std::thread::scope(|scope| {
        let ask = || (0..500).filter(|_| memory.count(7).is_ok()).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(passed, 1000);
}

#[test]
fn a_clock_that_was_set_back_or_ahead_forgives_and_locks_nobody() {
    let clock = clock();
    let memory = Memory::new(rate(2), 100, &clock);
    while memory.count(1).is_ok() {}
    let Clock::Manual(millis) = &clock else { panic!("a manual clock") };
    millis.fetch_sub(86_400_000, std::sync::atomic::Ordering::SeqCst);
    assert!(memory.count(1).is_err());
    assert!(memory.count(1).unwrap_err() <= Duration::from_mins(30), "no longer than before");
}

// --- in a signature

struct Api;

#[OpenApi]
impl Api {
    #[oai(path = "/send", method = "post")]
    async fn send(&self, _within: RateLimited<Uploads>, body: PlainText<String>) -> PlainText<String> {
        body
    }

    #[oai(path = "/look", method = "get")]
    async fn look(&self) -> PlainText<&'static str> {
        PlainText("there")
    }
}

fn limits(throttle: &str) -> Arc<Limits> {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::for_tests(folder.path(), &[("THROTTLE_UPLOAD", throttle)]);
    let settings =
        Settings { throttles: config.throttles, requests: None, lenient_on_loopback: false, redis: None };
    Arc::new(Limits::new(settings, clock(), &Secrets::new(b"a master secret of 32 bytes ....", &[])).unwrap())
}

fn sending(kind: &str, body: &'static [u8]) -> Request {
    Request::builder().method(Method::POST).uri_str("/send").content_type(kind).body(body)
}

#[tokio::test]
async fn a_limit_in_a_signature_refuses_before_the_body_is_read() {
    let limits = limits("2/1m");
    let app = OpenApiService::new(Api, "", "").with(AddData::new(Arc::clone(&limits)));
    for _ in 0..2 {
        app.call(sending("text/plain", b"a")).await.unwrap();
    }
    // Neither the kind of the body nor its bytes are looked at any more.
    let refused = app.call(sending("image/png", &[0xff; 9])).await.err().unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    app.call(Request::builder().uri_str("/look").finish()).await.unwrap();
    limits.clock.advance(Duration::from_secs(30));
    app.call(sending("text/plain", b"a")).await.unwrap();
}

#[tokio::test]
async fn a_refusal_says_when_to_come_back_and_what_is_left() {
    let app = OpenApiService::new(Api, "", "").with(AddData::new(limits("1/1m")));
    app.call(sending("text/plain", b"a")).await.unwrap();
    let refused = app.call(sending("text/plain", b"a")).await.err().unwrap();
    let problem = refused.data::<Problem>().unwrap();
    let told = problem.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("retry-after", "60"),
            ("ratelimit-policy", "\"uploads\";q=1;w=60"),
            ("ratelimit", "\"uploads\";r=0;t=60")
        ]
    );
}
