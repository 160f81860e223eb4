//! Redis is gone, slow, full, read-only, locked: limits go on in memory, and nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Redis, another, ask, by_redis_alone, in_redis, joined, limited, losses, redis_counts, spend};
use crate::harness::{TestApp, eventually};

const LIMIT: (u32, u32) = (20, 3600);

#[tokio::test]
async fn a_server_starts_without_redis_and_finds_it_later() {
    let mut redis = Redis::start(&[]);
    redis.kill();
    let app = limited(LIMIT, &[("REDIS_URL", &redis.url())]).await;
    app.inside.start_background();
    assert_eq!(spend(&app, "192.0.2.1").await, 20);
    looks(&app, |found| found.as_ref().is_err_and(|words| words.contains("refused"))).await.unwrap_err();
    redis.resume();
    redis_counts(&app, true).await;
    looks(&app, |found| found.as_ref().is_ok_and(|words| words == "counted in Redis")).await.unwrap();
    ask(&app, "192.0.2.1").await.refused(429, "rate_limited");
    assert_eq!(spend(&app, "192.0.2.2").await, 20);
}

/// Looks for Redis until it finds what it must. A look is given up after a moment, which a busy machine may need.
async fn looks(app: &TestApp, is_good: impl Fn(&Result<String, String>) -> bool) -> Result<String, String> {
    eventually(|| app.inside.rate_limits.check(), is_good).await
}

#[tokio::test]
async fn readiness_tells_where_limits_are_counted() {
    let mut redis = Redis::start(&[]);
    let app = in_redis(LIMIT, &redis).await;
    let admin = app.admin().await;
    let report = async || admin.get("/health/ready").await.is(200).json();
    eventually(|| Box::pin(report()), |report| report["parts"]["redis"] == "ok").await;
    redis.kill();
    // That is found out while nobody asks for anything that is counted.
    let degraded = eventually(|| Box::pin(report()), |report| report["status"] == "degraded").await;
    assert!(degraded["parts"]["redis"].as_str().unwrap().starts_with("degraded"));
    let without = limited(LIMIT, &[]).await;
    assert!(without.admin().await.get("/health/ready").await.json()["parts"].get("redis").is_none());
}

#[tokio::test]
async fn nobody_is_forgiven_when_redis_goes_and_when_it_comes_back_empty() {
    let mut redis = Redis::start(&[]);
    let app = in_redis(LIMIT, &redis).await;
    let other = another(&app).await;
    let (client, spent, there) = by_redis_alone(&[&app, &other], async |client| {
        let spent = spend(&app, &client).await;
        let there = ask(&other, &client).await.status();
        (client, spent, there)
    })
    .await;
    assert_eq!((spent, there), (20, 429));
    for _ in 0..15 {
        ask(&other, "192.0.2.2").await.is(200);
    }
    redis.kill();
    // What each has seen of a client, it goes on with.
    ask(&app, &client).await.is(429);
    ask(&other, &client).await.is(429);
    assert_eq!(spend(&other, "192.0.2.2").await, 5);
    redis.resume();
    redis_counts(&app, true).await;
    redis_counts(&other, true).await;
    ask(&other, &client).await.is(429);
    ask(&other, "192.0.2.2").await.is(429);
    redis.command(&["FLUSHALL"]);
    ask(&other, "192.0.2.2").await.is(429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_that_is_killed_and_started_again_under_load_is_never_a_500() {
    let mut redis = Redis::start(&[]);
    let app = in_redis((50, 3600), &redis).await;
    let instances = Arc::new([another(&app).await, app]);
    let over = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> =
        (0..16).map(|number| tokio::spawn(work(number, Arc::clone(&instances), Arc::clone(&over)))).collect();
    for _ in 0..3 {
        redis.kill();
        // One of them may have lost it before, being busy: then it was not lost again.
        for instance in &*instances {
            redis_counts(instance, false).await;
        }
        redis.resume();
        for instance in &*instances {
            redis_counts(instance, true).await;
        }
        let size = async || redis.command(&["DBSIZE"]);
        eventually(size, |size| size != ":0").await;
    }
    over.store(true, Ordering::Relaxed);
    let (mut answers, mut passed) = (0, 0);
    for worker in workers {
        let (more, through) = worker.await.unwrap();
        answers += more;
        passed += through;
        assert!((40..=2 * 50).contains(&through), "a client has had {through}");
    }
    println!("{answers} answers, {passed} passed");
}

/// One client at both instances in turn, until it is over and nothing is left; how many answers there were, and how many passed.
async fn work(number: usize, instances: Arc<[TestApp; 2]>, over: Arc<AtomicBool>) -> (usize, usize) {
    let client = format!("198.51.100.{number}");
    let (mut answers, mut passed, mut refused) = (0, 0, false);
    while !over.load(Ordering::Relaxed) || !refused {
        let reply = ask(&instances[answers % 2], &client).await;
        assert!(matches!(reply.status(), 200 | 429), "{reply:?}");
        answers += 1;
        refused = reply.status() == 429;
        passed += usize::from(!refused);
    }
    (answers, passed)
}

#[tokio::test]
async fn redis_that_stands_still_costs_one_request_less_than_20_ms_and_the_others_nothing() {
    let redis = Redis::start(&[]);
    let app = in_redis((1_000_000, 3600), &redis).await;
    let (mut first, mut later) = (Vec::new(), Vec::new());
    // Of several rounds the quickest: the others say how busy the machine is.
    let within = |times: &[Duration], most| times.iter().any(|time| *time <= Duration::from_millis(most));
    for _ in 0..100 {
        let before = losses(&[&app]);
        redis_counts(&app, true).await;
        let usual = median(&app).await;
        redis.freeze();
        // One that was lost a moment ago may just be found again: then nobody can say which request is the first.
        if losses(&[&app]) == before {
            first.push(time(&app).await.saturating_sub(usual));
            assert_eq!(app.inside.rate_limits.redis_is_here(), Some(false));
            later.push(median(&app).await.saturating_sub(usual));
        }
        redis.thaw();
        if within(&first, 20) && within(&later, 2) {
            break;
        }
    }
    println!("the first request took so much longer: {first:?}, the others {later:?}");
    assert!(within(&first, 20), "{first:?}");
    assert!(within(&later, 2), "{later:?}");
}

async fn time(app: &TestApp) -> Duration {
    let begun = Instant::now();
    ask(app, "192.0.2.1").await.is(200);
    begun.elapsed()
}

async fn median(app: &TestApp) -> Duration {
    let mut times = Vec::new();
    for _ in 0..31 {
        times.push(time(app).await);
    }
    times.sort_unstable();
    times[15]
}

#[tokio::test]
async fn redis_that_is_slow_for_a_while_is_left_alone_for_that_while() {
    let redis = Redis::start(&[]);
    let app = in_redis(LIMIT, &redis).await;
    // A machine that stands still says nothing about who has waited: then it is tried again.
    for number in 1..=10 {
        let client = format!("192.0.2.{number}");
        redis.command(&["CLIENT", "PAUSE", "2000", "ALL"]);
        let begun = Instant::now();
        assert_eq!(spend(&app, &client).await, 20);
        let took = begun.elapsed();
        redis_counts(&app, true).await;
        ask(&app, &client).await.is(429);
        if took < Duration::from_secs(2) {
            return;
        }
    }
    panic!("somebody has waited for it");
}

#[tokio::test]
async fn redis_that_takes_nothing_is_as_good_as_none() {
    let redis = Redis::start(&[]);
    let app = in_redis(LIMIT, &redis).await;
    for (number, (fault, cure)) in [
        // A replica, of nobody who is there.
        (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
        (["CONFIG SET", "maxmemory", "1"], ["CONFIG SET", "maxmemory", "0"]),
    ]
    .iter()
    .enumerate()
    {
        let run = |words: &[&str; 3]| {
            let words: Vec<&str> = words.iter().flat_map(|words| words.split(' ')).collect();
            assert_eq!(redis.command(&words), "+OK");
        };
        run(fault);
        let client = format!("192.0.2.{number}");
        assert_eq!(spend(&app, &client).await, 20, "{fault:?}");
        assert_eq!(app.inside.rate_limits.redis_is_here(), Some(false), "{fault:?}");
        let words = app.inside.rate_limits.check().await.unwrap_err();
        assert!(words.contains("can't be used"), "{words}");
        run(cure);
        redis_counts(&app, true).await;
        ask(&app, &client).await.is(429);
    }
}

#[tokio::test]
async fn a_password_that_redis_does_not_take_is_no_500_and_stands_in_no_log() {
    let redis = Redis::start(&["--requirepass", "right-horse-battery"]);
    let wrong = redis.url().replace("redis://", "redis://:wrong-horse-battery@");
    let app = limited(LIMIT, &[("REDIS_URL", &wrong)]).await;
    app.inside.start_background();
    assert_eq!(spend(&app, "192.0.2.1").await, 20);
    let refused = looks(&app, |found| found.as_ref().is_err_and(|words| words.contains("uthentication")));
    let words = refused.await.unwrap_err();
    assert!(!words.contains("wrong-horse"), "{words}");
    let right = redis.url().replace("redis://", "redis://:right-horse-battery@");
    let app = limited(LIMIT, &[("REDIS_URL", &right)]).await;
    joined(&app).await;
    looks(&app, |found| found.as_ref().is_ok_and(|words| words == "counted in Redis")).await.unwrap();
}

#[tokio::test]
async fn what_somebody_else_has_put_there_is_no_500() {
    let redis = Redis::start(&[]);
    let app = in_redis(LIMIT, &redis).await;
    let client = by_redis_alone(&[&app], async |client| {
        redis.command(&["FLUSHALL"]);
        ask(&app, &client).await.is(200);
        client
    })
    .await;
    let key = redis.key("gatehouse:limit:*");
    assert_eq!(redis.command(&["SET", &key, "no number"]), "+OK");
    // It counts as nothing; what this instance knows does.
    ask(&app, &client).await.is(200);
    assert_eq!(redis.command(&["DEL", &key]), ":1");
    redis.command(&["LPUSH", &key, "a list"]);
    assert_eq!(spend(&app, &client).await, 18);
}
