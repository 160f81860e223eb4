//! How often clients may ask.

mod redis_down;
mod requests;
mod shared;

#[path = "../../support/redis.rs"]
mod redis_server;

use redis_server::Redis;

use crate::harness::{Reply, TestApp, eventually};
use crate::port;

/// The limiter is on, and a proxy at loopback tells who the client is.
async fn limited(quota: (u32, u32), more: &[(&str, &str)]) -> TestApp {
    let (requests, window) = (quota.0.to_string(), quota.1.to_string());
    let mut settings = vec![
        ("RATE_LIMITER_ENABLED", "True"),
        ("RATE_LIMITER_MAX_REQUESTS", requests.as_str()),
        ("RATE_LIMITER_WINDOW_SECONDS", window.as_str()),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
    ];
    settings.extend(more);
    TestApp::with(&settings).await
}

/// The same, counting in this Redis.
async fn in_redis(quota: (u32, u32), redis: &Redis) -> TestApp {
    let app = limited(quota, &[("REDIS_URL", &redis.url())]).await;
    joined(&app).await;
    app
}

/// Another instance of it.
async fn another(app: &TestApp) -> TestApp {
    let other = app.second_instance().await;
    joined(&other).await;
    other
}

async fn joined(app: &TestApp) {
    app.inside.start_background();
    redis_counts(app, true).await;
}

/// Waits until Redis counts, or until it does not.
async fn redis_counts(app: &TestApp, is_here: bool) {
    eventually(async || app.inside.rate_limits.redis_is_here(), |here| *here == Some(is_here)).await;
}

/// Has new clients do this, one after the other, until Redis alone has counted one of them; what came of that. Redis is
/// waited for no longer than some milliseconds: where a busy machine stands still for longer, memory counts, and that is
/// another promise.
async fn by_redis_alone<T>(instances: &[&TestApp], mut act: impl AsyncFnMut(String) -> T) -> T {
    for number in 1..=200 {
        let before = losses(instances);
        for instance in instances {
            redis_counts(instance, true).await;
        }
        let came = act(format!("203.0.113.{number}")).await;
        if losses(instances) == before {
            return came;
        }
    }
    panic!("Redis answers too late on this machine");
}

/// How often they have lost Redis, together.
fn losses(instances: &[&TestApp]) -> u64 {
    instances.iter().map(|instance| instance.inside.rate_limits.redis_losses()).sum()
}

/// A request of the client at this address.
async fn ask(app: &TestApp, client: &str) -> Reply {
    app.get("/version").header("x-forwarded-for", client).header("accept", "application/json").await
}

/// Asks until it is refused; how often it was not.
async fn spend(app: &TestApp, client: &str) -> usize {
    let mut passed = 0;
    loop {
        match ask(app, client).await.status() {
            200 => passed += 1,
            _ => return passed,
        }
        assert!(passed < 10_000, "it is never refused");
    }
}
