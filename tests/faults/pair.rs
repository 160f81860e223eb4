//! Two instances on one PostgreSQL and one Redis: what is done at one of them counts at the other.

#[path = "../support/redis.rs"]
mod redis_server;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

pub use redis_server::Redis;

use crate::client::Client;
use crate::database::{PostgresDatabase, count};
use crate::gatehouse::{PASSWORD, Server, Site};
use crate::port;
use crate::proxy::{Manner, Proxy};
use crate::waiting::{SOON, until_true};

const OTHER_PASSWORD: &str = "velvet-anchor-77-tundra";
/// How long a change may be news to the other instance.
const NEWS: Duration = Duration::from_secs(1);

/// A site on this database and this Redis; its instances share nothing else but the master secret.
pub fn shared(postgres: PostgresDatabase, redis: &Redis) -> Site {
    Site::on(Some(postgres))
        .with("REDIS_URL", &redis.url())
        .with("JWT_SECRET_KEY", "6fQ2vX9mT4kLbW8zR1nYcJ7hD3gPsE5a")
        .with("ADMIN_USERNAME", "root")
        .with("ADMIN_PASSWORD", PASSWORD)
}

/// Starts an instance with a folder of its own, and waits until it is ready and counts in Redis.
pub async fn start<'s>(site: &'s Site, folder: &str) -> Server<'s> {
    let mut command = site.command(&[]);
    command.env("DATA_DIR", site.folder().join(folder));
    let mut server = site.launch_as(command);
    server.ready().await;
    let client = server.client();
    until_true("Redis counts", SOON, async || {
        client.readiness().await.is_ok_and(|(_, report)| report["parts"]["redis"] == "ok")
    })
    .await;
    server
}

async fn two(site: &Site) -> [Server<'_>; 2] {
    [start(site, "one").await, start(site, "other").await]
}

/// Asks until it is so. An answer that was asked for after a second must be the new one.
async fn within_a_second(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let changed = Instant::now();
    loop {
        let asked = changed.elapsed();
        if is_so().await {
            return println!("{what}: after {:?}", changed.elapsed());
        }
        assert!(asked < NEWS, "{what}: not so {asked:?} after the change");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the token is worth nothing any more.
async fn is_refused(client: &Client, token: &str) -> bool {
    let answer = client.me(token).await.unwrap();
    assert!(matches!(answer.status, 200 | 401 | 403), "{answer:?}");
    answer.status != 200
}

#[tokio::test]
async fn who_signs_out_or_is_banned_at_one_instance_is_out_at_the_other_within_a_second() {
    let Some(postgres) = PostgresDatabase::new() else { return };
    let redis = Redis::start(&[]);
    let site = shared(postgres, &redis);
    let servers = two(&site).await;
    let [one, other] = servers.each_ref().map(Server::client);
    for (name, here, there) in [("ann", &one, &other), ("bob", &other, &one)] {
        let token = here.sign_up(name).await.unwrap().text("access_token");
        assert_eq!(
            there.me(&token).await.unwrap().text("username"),
            name,
            "a session works everywhere at once"
        );
        assert_eq!(here.sign_out(&token).await.unwrap().status, 200);
        assert!(is_refused(here, &token).await, "who did it knows it at once");
        within_a_second("signed out", async || is_refused(there, &token).await).await;

        let token = there.sign_in(name, PASSWORD).await.unwrap().text("access_token");
        assert!(!is_refused(there, &token).await);
        let root = here.sign_in("root", PASSWORD).await.unwrap().text("access_token");
        let reason = Some(json!({ "reason": "spam" }));
        let ban = here.ask(Method::POST, &format!("/admin/ban/@{name}"), &root, reason).await.unwrap();
        assert_eq!(ban.status, 200, "{ban:?}");
        within_a_second("banned", async || is_refused(there, &token).await).await;
        assert!(there.sign_in(name, PASSWORD).await.unwrap().status >= 400, "there is no way back");
    }
    join_all(servers.into_iter().map(Server::stop)).await;
}

#[tokio::test]
async fn a_flag_or_a_password_that_is_changed_at_one_instance_is_so_at_the_other_within_a_second() {
    let Some(postgres) = PostgresDatabase::new() else { return };
    let redis = Redis::start(&[]);
    let site = shared(postgres, &redis);
    let servers = two(&site).await;
    let [one, other] = servers.each_ref().map(Server::client);

    let here = one.sign_up("ann").await.unwrap().text("access_token");
    let there = other.sign_in("ann", PASSWORD).await.unwrap();
    let access = there.text("access_token");
    assert!(!is_refused(&other, &access).await);
    assert_eq!(one.change_password(&here, PASSWORD, OTHER_PASSWORD).await.unwrap().status, 200);
    within_a_second("the password", async || is_refused(&other, &access).await).await;
    assert_eq!(other.refresh(&there.text("refresh_token")).await.unwrap().status, 401);
    assert!(!is_refused(&other, &here).await, "the session that changed it goes on everywhere");
    assert_eq!(other.sign_in("ann", OTHER_PASSWORD).await.unwrap().status, 200);
    assert_eq!(other.sign_in("ann", PASSWORD).await.unwrap().status, 401);

    let root = one.sign_in("root", PASSWORD).await.unwrap().text("access_token");
    let mut took = Vec::new();
    for (at, is_on) in [false, true, false].into_iter().enumerate() {
        let (changing, asked) = if at % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let change = json!({ "add": { "REGISTER": is_on } });
        let path = "/admin/feature-flags";
        let changed = changing.ask(Method::PATCH, path, &root, Some(change)).await.unwrap();
        assert_eq!(changed.status, 200, "{changed:?}");
        let changed = Instant::now();
        until_true("the flag", SOON, async || {
            asked.ask(Method::GET, "/flags", "", None).await.unwrap().body["REGISTER"] == is_on
        })
        .await;
        took.push(changed.elapsed());
        let answer = asked.sign_up(&format!("new_{at}")).await.unwrap();
        assert_eq!(answer.status == 201, is_on, "{answer:?}");
    }
    // Flags are looked at beside the requests: a machine that stands still makes that late, but not each time.
    assert!(took.iter().any(|took| *took < NEWS), "the flag: {took:?}");
    join_all(servers.into_iter().map(Server::stop)).await;
}

#[tokio::test]
async fn a_refresh_token_is_traded_once_by_both_instances_together() {
    let Some(postgres) = PostgresDatabase::new() else { return };
    let redis = Redis::start(&[]);
    let site = shared(postgres, &redis);
    let servers = two(&site).await;
    let [one, other] = servers.each_ref().map(Server::client);
    for round in 0..8 {
        let first = one.sign_up(&format!("ann_{round}")).await.unwrap().text("refresh_token");
        // In the same moment, as from a client that has lost an answer: both give the same successor.
        let (here, there) = tokio::join!(one.refresh(&first), other.refresh(&first));
        let (second, again) = (here.unwrap().text("refresh_token"), there.unwrap().text("refresh_token"));
        assert_eq!(second, again);
        let third = other.refresh(&second).await.unwrap();
        assert!(!is_refused(&one, &third.text("access_token")).await);
        // The first one is spent for good now: whoever comes with it has stolen it, or somebody has stolen the others.
        assert_eq!(one.refresh(&first).await.unwrap().status, 401, "used twice");
        assert_eq!(
            other.refresh(&third.text("refresh_token")).await.unwrap().status,
            401,
            "the session has ended"
        );
        for client in [&one, &other] {
            within_a_second("ended", async || is_refused(client, &third.text("access_token")).await).await;
        }
    }
    let told =
        "SELECT count(*) FROM events WHERE event_type = 'session.ended' AND payload LIKE '%\"reuse\"%'";
    assert_eq!(count(&site.database().await, told).await, 8, "each session has ended once");
    join_all(servers.into_iter().map(Server::stop)).await;
}

/// Requests that a client may make in an hour: none becomes free again during a test.
const BUDGET: usize = 90;
/// So many ask at the same time, from one address.
const CLIENTS: usize = 30;
/// Rounds in which Redis alone has counted.
const ROUNDS: usize = 4;

#[tokio::test]
async fn two_instances_behind_a_proxy_grant_one_budget_exactly() {
    let Some(postgres) = PostgresDatabase::new() else { return };
    let redis = Redis::start(&[]);
    let site = shared(postgres, &redis)
        .with("RATE_LIMITER_ENABLED", "True")
        .with("RATE_LIMITER_MAX_REQUESTS", &BUDGET.to_string())
        .with("RATE_LIMITER_WINDOW_SECONDS", "3600")
        .with("TRUSTED_PROXIES", "127.0.0.1/32");
    let servers = two(&site).await;
    let proxy = Proxy::before(&servers.each_ref().map(Server::port), Manner::Tries).await;
    let client = Client::anew(proxy.port());
    let (mut exact, mut tried) = (0, 0);
    while exact < ROUNDS {
        tried += 1;
        assert!(
            tried <= 8 * ROUNDS,
            "Redis answers too late on this machine: {exact} rounds of {tried} counted"
        );
        let before = counted(&servers, "memory").await;
        let address = format!("198.51.100.{tried}");
        let statuses = join_all((0..CLIENTS).map(|_| spend(&client, &address))).await.concat();
        assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
        // A machine that stood still for too long has counted in memory: that is another promise.
        if counted(&servers, "memory").await == before {
            let granted = statuses.iter().filter(|status| **status == 200).count();
            assert_eq!(granted, BUDGET, "round {tried}");
            exact += 1;
        }
        // It is asked again only after a while, where it was late.
        for server in &servers {
            let client = server.client();
            until_true("Redis counts", SOON, async || {
                client.readiness().await.unwrap().1["parts"]["redis"] == "ok"
            })
            .await;
        }
    }
    println!("{exact} of {tried} rounds were counted by Redis alone; {:?} connections", proxy.carried());
    for at_redis in counted(&servers, "redis").await {
        assert!(at_redis > 0.0, "both have counted");
    }
    join_all(servers.into_iter().map(Server::stop)).await;
}

/// Requests one after the other, twice as many by all clients as they may make; their statuses.
async fn spend(client: &Client, address: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..2 * BUDGET / CLIENTS {
        statuses.push(client.ask_for(address).await);
    }
    statuses
}

/// How many requests each instance has counted there.
async fn counted(servers: &[Server<'_>; 2], store: &str) -> Vec<f64> {
    let store = format!("store=\"{store}\"");
    let labels = ["limit=\"default\"", store.as_str()];
    let clients = servers.each_ref().map(Server::client);
    join_all(clients.iter().map(|client| client.measured("gatehouse_limiter_requests_total{", &labels))).await
}
