//! Several instances that count in one Redis.

use std::sync::Arc;

use super::{Redis, another, ask, in_redis, limited, redis_counts, spend};
use crate::harness::{TestApp, race};

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
            tried <= 4 * ROUNDS,
            "Redis answers too late on this machine: {exact} rounds of {tried} could count"
        );
        let before = losses(&instances);
        let passed = storm(&instances, &format!("198.51.100.{tried}")).await;
        for instance in &*instances {
            redis_counts(instance, true).await;
        }
        // A machine that stood still for too long has counted in memory: that is another promise.
        if losses(&instances) == before {
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

fn losses(instances: &[TestApp; 2]) -> u64 {
    instances.iter().map(|instance| instance.inside.rate_limits.redis_losses()).sum()
}

#[tokio::test]
async fn redis_tells_the_same_as_memory() {
    let redis = Redis::start(&[]);
    let (there, here) = (in_redis((4, 100), &redis).await, limited((4, 100), &[]).await);
    for _ in 0..6 {
        let (there, here) = (ask(&there, "192.0.2.1").await, ask(&here, "192.0.2.1").await);
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
    for visit in 1..=5 {
        for _ in 0..3 {
            app.get("/api/docs").await.is(302);
        }
        let left = app.get("/docs").await;
        left.is(200);
        assert!(
            left.header("ratelimit").unwrap().starts_with(&format!("\"default\";r={};", 5 - visit)),
            "{left:?}"
        );
    }
    app.get("/api/docs").await.is(429);
}

#[tokio::test]
async fn redis_learns_no_address_and_forgets_by_itself() {
    let redis = Redis::start(&[]);
    let app = in_redis((2, 100), &redis).await;
    assert_eq!(spend(&app, "192.0.2.77").await, 2);
    let key = redis.key("gatehouse:limit:*");
    assert!(!key.contains("192.0.2.77") && !key.contains("default"), "{key}");
    let lives =
        |redis: &Redis| -> u64 { redis.command(&["PTTL", &key]).trim_start_matches(':').parse().unwrap() };
    let before = lives(&redis);
    assert!((1..=100_000).contains(&before));
    for _ in 0..20 {
        ask(&app, "192.0.2.77").await.is(429);
    }
    assert!(lives(&redis) <= before, "who is refused pushes the end no further away");
}

#[tokio::test]
async fn a_server_that_starts_late_joins_what_the_others_have_counted() {
    let redis = Redis::start(&[]);
    let app = in_redis((6, 3600), &redis).await;
    assert_eq!(spend(&app, "192.0.2.5").await, 6);
    let late = another(&app).await;
    ask(&late, "192.0.2.5").await.refused(429, "rate_limited");
}
