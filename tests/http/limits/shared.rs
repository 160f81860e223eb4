//! Several instances that count in one Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Redis, another, ask, by_redis_alone, in_redis, limited, losses, redis_counts, spend};
use crate::harness::{Reply, TestApp, race};

/// Requests that a client may make, in an hour: none becomes free again during a test.
const LIMIT: (u32, u32) = (90, 3600);
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_share_one_budget_exactly_under_64_connections() {
    let redis = Redis::start(&[]);
    let app = in_redis(LIMIT, &redis).await;
    let instances = Arc::new([another(&app).await, app]);
    let (mut exact, mut tried) = (0, 0);
    while exact < ROUNDS {
        tried += 1;
        assert!(
            tried <= 20 * ROUNDS,
            "Redis answers too late on this machine: {exact} rounds of {tried} could count"
        );
        let before = losses(&[&instances[0], &instances[1]]);
        let passed = storm(&instances, &format!("198.51.100.{tried}")).await;
        for instance in &*instances {
            redis_counts(instance, true).await;
        }
        // A machine that stood still for too long has counted in memory: that is another promise.
        if losses(&[&instances[0], &instances[1]]) == before {
            assert_eq!(passed, LIMIT.0 as usize, "round {tried}");
            exact += 1;
        }
    }
    println!("{exact} of {tried} rounds were counted by Redis alone");
}

/// Requests of one client at both instances, on so many connections at once; how many passed.
async fn storm(instances: &Arc<[TestApp; 2]>, client: &str) -> usize {
    let passed = race(CONNECTIONS, |number| {
        let (instances, client) = (Arc::clone(instances), client.to_owned());
        async move {
            let mut passed = 0;
            for request in 0..4 {
                let reply = ask(&instances[(number + request) % 2], &client).await;
                passed += usize::from(reply.status() == 200);
                assert!(matches!(reply.status(), 200 | 429), "{reply:?}");
            }
            passed
        }
    });
    passed.await.into_iter().sum()
}

/// What a client with a few requests too many is told in both places. Redis goes by its own clock, and memory by that of
/// the test, which stands still: so it is had within a second, if need be of the next client.
async fn side_by_side(there: &TestApp, here: &TestApp) -> Vec<(Reply, Reply)> {
    for number in 1..=100 {
        let (client, begun) = (format!("192.0.2.{number}"), Instant::now());
        let mut told = Vec::new();
        for _ in 0..6 {
            told.push((ask(there, &client).await, ask(here, &client).await));
        }
        if begun.elapsed() < Duration::from_secs(1) {
            return told;
        }
    }
    panic!("this machine is too slow for a dozen requests in a second");
}

#[tokio::test]
async fn redis_tells_the_same_as_memory() {
    let redis = Redis::start(&[]);
    let (there, here) = (in_redis((4, 3600), &redis).await, limited((4, 3600), &[]).await);
    for (there, here) in side_by_side(&there, &here).await {
        assert_eq!(there.status(), here.status());
        for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
            assert_eq!(there.header(name), here.header(name), "{name}");
        }
    }
    for host in 0..50 {
        let client = format!("2001:db8:7:{host:x}::1");
        assert_eq!(ask(&there, &client).await.status(), ask(&here, &client).await.status(), "{client}");
    }
}

#[tokio::test]
async fn a_chain_of_redirects_costs_one_visit_in_redis_too() {
    let redis = Redis::start(&[]);
    let app = in_redis((5, 3600), &redis).await;
    let told = by_redis_alone(&[&app], async |client| {
        let mut told = Vec::new();
        for number in 0..21 {
            let path = if number % 4 == 3 { "/docs" } else { "/api/docs" };
            let reply = app.get(path).header("x-forwarded-for", &client).await;
            told.push((reply.status(), reply.header("ratelimit").unwrap_or_default().to_owned()));
        }
        told
    })
    .await;
    for visit in 1..=5 {
        let statuses: Vec<u16> = told[4 * visit - 4..4 * visit].iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [302, 302, 302, 200], "{told:?}");
        assert!(told[4 * visit - 1].1.starts_with(&format!("\"default\";r={};", 5 - visit)), "{told:?}");
    }
    assert_eq!(told[20].0, 429, "{told:?}");
}

#[tokio::test]
async fn redis_learns_no_address_and_forgets_by_itself() {
    let redis = Redis::start(&[]);
    let app = in_redis((2, 100), &redis).await;
    let client = by_redis_alone(&[&app], async |client| {
        redis.command(&["FLUSHALL"]);
        assert_eq!(spend(&app, &client).await, 2);
        client
    })
    .await;
    let key = redis.key("gatehouse:limit:*");
    assert!(!key.contains(&client) && !key.contains("default"), "{key}");
    let lives =
        |redis: &Redis| -> u64 { redis.command(&["PTTL", &key]).trim_start_matches(':').parse().unwrap() };
    let before = lives(&redis);
    assert!((1..=100_000).contains(&before));
    for _ in 0..20 {
        ask(&app, &client).await.is(429);
    }
    assert!(lives(&redis) <= before, "who is refused pushes the end no further away");
}

#[tokio::test]
async fn a_server_that_starts_late_joins_what_the_others_have_counted() {
    let redis = Redis::start(&[]);
    let app = in_redis((6, 3600), &redis).await;
    let client = by_redis_alone(&[&app], async |client| {
        assert_eq!(spend(&app, &client).await, 6);
        client
    })
    .await;
    for _ in 0..20 {
        let late = another(&app).await;
        let told = ask(&late, &client).await;
        // One that found Redis too slow has counted in memory, of which it had none.
        if losses(&[&late]) == 0 {
            told.refused(429, "rate_limited");
            return;
        }
    }
    panic!("Redis answers too late on this machine");
}
