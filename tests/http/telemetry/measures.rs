//! `/metrics`: who may read it, and that it tells what happened.

#![expect(clippy::float_cmp, reason = "counts are whole numbers, which a float holds exactly")]

use std::collections::HashMap;

use crate::harness::{Client, Reply, TestApp, race};

const TOKEN: &str = "measure-token-5d1c9b7e";
/// A network that nobody here is in.
const ELSEWHERE: (&str, &str) = ("METRICS_ALLOW", "192.0.2.0/24");

/// The values by name and labels. Whatever is not as the format demands fails the test.
pub fn parsed(text: &str) -> HashMap<String, f64> {
    let mut values = HashMap::new();
    let mut family: Option<(String, String)> = None;
    let mut helped = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split(' ').next().unwrap().clone_into(&mut helped);
            assert!(help.len() > helped.len() + 1, "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped);
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series
                .split_once('{')
                .map_or((series, ""), |(name, labels)| (name, labels.strip_suffix('}').expect("a brace")));
            let (of, kind) = family.as_ref().expect("a family");
            let endings: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(endings.iter().any(|ending| name == format!("{of}{ending}")), "{line} is of {of}");
            assert!(labels.is_empty() || labels.split("\",").all(|label| label.contains("=\"")), "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(values.insert(series.to_owned(), value).is_none(), "twice: {series}");
        }
    }
    values
}

pub async fn read(app: &Client) -> HashMap<String, f64> {
    parsed(app.get("/metrics").await.is(200).text())
}

fn requests(values: &HashMap<String, f64>, route: &str, method: &str, status: u16) -> f64 {
    let series =
        format!("gatehouse_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}");
    values.get(&series).copied().unwrap_or(0.0)
}

#[tokio::test]
async fn an_allowed_network_reads_it_and_a_proxy_in_it_does_not() {
    let app = TestApp::new().await;
    let reply = app.get("/metrics").await;
    assert_eq!(reply.is(200).header("content-type").unwrap(), "text/plain; version=0.0.4; charset=utf-8");
    for (name, value) in
        [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("x-forwarded-for", "")]
    {
        app.get("/metrics").header(name, value).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn elsewhere_it_takes_the_token_and_there_is_nothing_to_see_without() {
    let app = TestApp::with(&[ELSEWHERE, ("METRICS_TOKEN", TOKEN)]).await;
    app.get("/metrics").await.refused(404, "not_found");
    let with = |authorization: String| app.get("/metrics").header("authorization", &authorization);
    with(format!("Bearer {TOKEN}")).await.is(200);
    with(format!("bearer {TOKEN}")).await.is(200);
    for wrong in [format!("Bearer {TOKEN}x"), format!("Bearer {}", &TOKEN[1..]), format!("Bearer  {TOKEN}")] {
        let reply = with(wrong).await;
        assert!(reply.refused(401, "token_invalid").header("www-authenticate").is_some());
    }
    assert_eq!(with(format!("Basic {TOKEN}")).await.status(), 401);
    // Not through a proxy that nobody trusts, whatever it shows.
    let forwarded = with(format!("Bearer {TOKEN}")).header("x-forwarded-for", "203.0.113.7").await;
    forwarded.refused(404, "not_found");
}

#[tokio::test]
async fn behind_a_trusted_proxy_only_the_token_counts() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1/32"), ("METRICS_TOKEN", TOKEN)];
    let app = TestApp::with(&settings).await;
    let through = || app.get("/metrics").header("x-forwarded-for", "127.0.0.1");
    through().await.refused(404, "not_found");
    through().header("authorization", &format!("Bearer {TOKEN}")).await.is(200);
    app.get("/metrics").await.is(200);
}

#[tokio::test]
async fn admins_read_it_and_others_do_not() {
    let app = TestApp::with(&[ELSEWHERE]).await;
    app.admin().await.get("/metrics").await.is(200);
    app.user("ann").await.get("/metrics").await.refused(404, "not_found");
    app.moderator().await.get("/metrics").await.refused(404, "not_found");
}

#[tokio::test]
async fn reading_it_is_not_counted_by_the_limiter() {
    let settings = [("RATE_LIMITER_ENABLED", "True"), ("RATE_LIMITER_MAX_REQUESTS", "2")];
    let app = TestApp::with(&settings).await;
    for _ in 0..5 {
        assert!(app.get("/metrics").await.is(200).header("ratelimit").is_none());
    }
    let path = "/api/oauth/providers";
    app.get(path).await.is(200);
    app.get(path).await.is(200);
    app.get(path).await.is(429);
    let values = read(&app).await;
    let limited = |outcome: &str| {
        let labels = format!("{{limit=\"default\",store=\"memory\",outcome=\"{outcome}\"}}");
        values[&format!("gatehouse_limiter_requests_total{labels}")]
    };
    assert_eq!((limited("allowed"), limited("refused")), (2.0, 1.0));
}

#[tokio::test]
async fn a_picture_that_is_at_hand_is_counted_where_its_operation_is() {
    let app = TestApp::new().await;
    let path = format!("{}/image", app.user("ann").await.path());
    for _ in 0..10 {
        app.get(&path).await.is(200);
    }
    let values = read(&app).await;
    let (route, pattern) = ("/api/user/{user}/image", "/api/user/:param0/image");
    let counted = (requests(&values, route, "GET", 200), requests(&values, pattern, "GET", 200));
    assert_eq!(counted, (10.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_is_counted_once_however_many_come_at_a_time() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for _ in 0..5 {
        let replies: Vec<Reply> = race(40, |number| match number % 4 {
            0 => app.get("/ping"),
            1 => ann.get("/api/user/me"),
            2 => app.get("/api/user/me"),
            _ => app.get(&format!("/nothing/{number}")),
        })
        .await;
        assert_eq!(replies.len(), 40);
    }
    let values = read(&app).await;
    assert_eq!(requests(&values, "/ping", "GET", 200), 50.0);
    assert_eq!(requests(&values, "/api/user/me", "GET", 200), 50.0);
    assert_eq!(requests(&values, "/api/user/me", "GET", 401), 50.0);
    let not_found: f64 = values
        .iter()
        .filter(|(series, _)| {
            series.contains("status=\"404\"") && series.starts_with("gatehouse_http_requests")
        })
        .map(|(_, count)| count)
        .sum();
    assert_eq!(not_found, 50.0);
    assert!(!values.keys().any(|series| series.contains("nothing")), "no label is what a client wrote");
    let took = "gatehouse_http_request_duration_seconds_count{route=\"/ping\",method=\"GET\"}";
    assert_eq!(values[took], 50.0);
    assert_eq!(values["gatehouse_http_requests_in_flight"], 1.0, "the one that asks");
}

#[tokio::test]
async fn what_features_do_is_measured() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    ann.get("/api/user/me").await.is(200);
    ann.get("/api/user/me").await.is(200);
    let values = read(&app).await;
    assert_eq!(values["gatehouse_sessions_open"], 1.0);
    assert!(values["gatehouse_hash_duration_seconds_count"] >= 1.0);
    let looks = |cache: &str, result: &str| {
        values[&format!("gatehouse_cache_looks_total{{cache=\"{cache}\",result=\"{result}\"}}")]
    };
    assert!(looks("tokens", "hit") >= 1.0 && looks("tokens", "miss") >= 1.0);
    assert!(values["gatehouse_db_connections_max"] >= 1.0);
    for name in [
        "gatehouse_db_connections_in_use",
        "gatehouse_db_waiting",
        "gatehouse_hashes_waiting",
        "gatehouse_hashes_running",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_threads",
        "process_start_time_seconds",
    ] {
        assert!(values.contains_key(name), "{name}");
    }
    assert_eq!(values["gatehouse_mails{state=\"waiting\"}"], 0.0);
}
