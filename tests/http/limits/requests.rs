//! The limit of requests of whatever kind, counted in memory.

use std::time::Duration;

use super::{ask, limited, spend};
use crate::canary::Running;
use crate::harness::{TestApp, race};

#[tokio::test]
async fn nothing_is_limited_unless_it_is_asked_for() {
    let app = TestApp::new().await;
    for _ in 0..400 {
        let reply = app.get("/version").await;
        reply.is(200);
        assert_eq!((reply.header("ratelimit"), reply.header("ratelimit-policy")), (None, None));
    }
}

#[tokio::test]
async fn each_answer_tells_what_is_left() {
    let app = limited((300, 900), &[]).await;
    let reply = app.get("/version").await;
    reply.is(200);
    assert_eq!(reply.header("ratelimit-policy"), Some("\"default\";q=300;w=900"));
    assert_eq!(reply.header("ratelimit"), Some("\"default\";r=299;t=3"));
    let reply = app.get("/api/user/me").await;
    reply.is(401);
    assert_eq!(reply.header("ratelimit"), Some("\"default\";r=298;t=6"));
    let reply = app.get("/no/such/thing").await;
    reply.is(404);
    assert_eq!(reply.header("ratelimit"), Some("\"default\";r=297;t=9"));
}

#[tokio::test]
async fn a_picture_that_is_at_hand_counts_like_any_answer() {
    let app = limited((20, 3600), &[]).await;
    let path = format!("{}/image", app.user("ann").await.path());
    let ask = || app.get(&path).header("x-forwarded-for", "192.0.2.7");
    for left in (0..20).rev() {
        let reply = ask().await;
        let told = reply.is(200).header("ratelimit").unwrap();
        assert!(told.starts_with(&format!("\"default\";r={left};")), "{told}");
    }
    let refused = ask().await;
    assert!(refused.refused(429, "rate_limited").header("retry-after").is_some());
}

#[tokio::test]
async fn one_too_many_is_refused_and_told_when_to_come_back() {
    let app = limited((10, 100), &[("CORS_ORIGINS", "https://app.example.com")]).await;
    assert_eq!(spend(&app, "192.0.2.1").await, 10);
    let ask = |path: &str| {
        app.get(path).header("x-forwarded-for", "192.0.2.1").header("origin", "https://app.example.com")
    };
    let reply = ask("/api/user/me").await;
    reply.refused(429, "rate_limited");
    assert_eq!(reply.header("retry-after"), Some("10"));
    assert_eq!(reply.header("ratelimit-policy"), Some("\"default\";q=10;w=100"));
    assert_eq!(reply.header("ratelimit"), Some("\"default\";r=0;t=100"));
    let exposed = reply.header("access-control-expose-headers").unwrap();
    for name in ["Retry-After", "RateLimit", "RateLimit-Policy"] {
        assert!(exposed.split(", ").any(|shown| shown == name), "{exposed}");
    }
    // Where a person looks, it is a page.
    let page = ask("/login").header("accept", "text/html").await;
    page.is(429);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert_eq!(page.header("retry-after"), Some("10"));
    // Refused requests push the end no further away.
    app.clock.advance(Duration::from_secs(10));
    super::ask(&app, "192.0.2.1").await.is(200);
    super::ask(&app, "192.0.2.1").await.is(429);
    app.clock.advance(Duration::from_secs(100));
    assert_eq!(spend(&app, "192.0.2.1").await, 10);
}

#[tokio::test]
async fn signs_of_life_and_files_are_not_counted() {
    let app = limited((3, 900), &[]).await;
    let page = app.get("/docs").await;
    page.is(200);
    let text = page.text().replace("&#x2f;", "/");
    let (_, behind) = text.split_once("/static/").expect("a file of the page");
    let file = format!("/static/{}", behind.split('"').next().unwrap());
    for _ in 0..5 {
        for path in ["/ping", "/ping/", "/ping?", "/healthcheck", "/health/live", "/health/ready", &file] {
            let reply = app.get(path).await;
            reply.is(200);
            assert_eq!(reply.header("ratelimit"), None, "{path}");
        }
    }
    assert_eq!(app.get("/version").await.is(200).header("ratelimit"), Some("\"default\";r=1;t=600"));
}

#[tokio::test]
async fn a_chain_of_redirects_costs_one_visit() {
    let app = limited((5, 900), &[]).await;
    for visit in 1..=5 {
        for _ in 0..3 {
            let sent_on = app.get("/api/docs").await;
            sent_on.is(302);
            assert_eq!(sent_on.header("location"), Some("/docs"));
            assert_eq!(sent_on.header("ratelimit").unwrap(), left(6 - visit));
        }
        assert_eq!(app.get("/docs").await.is(200).header("ratelimit").unwrap(), left(5 - visit));
    }
    app.get("/docs").await.is(429);
    // Whoever has nothing left is not sent on any more.
    app.get("/api/docs").await.is(429);
}

fn left(remaining: u32) -> String {
    format!("\"default\";r={remaining};t={}", (5 - remaining) * 180)
}

#[tokio::test]
async fn every_method_and_spelling_of_a_path_is_counted_alike() {
    let app = limited((9, 900), &[]).await;
    for (method, path) in [
        ("HEAD", "/version"),
        ("OPTIONS", "/version"),
        ("POST", "/version"),
        ("GET", "/version/"),
        ("GET", "//version"),
        ("GET", "/./version"),
        ("GET", "/VERSION"),
        ("GET", "/%76ersion"),
        ("GET", "/version?x=1"),
    ] {
        assert_ne!(app.ask(method, path).await.status(), 429, "{method} {path}");
    }
    for (method, path) in
        [("HEAD", "/version"), ("OPTIONS", "/version"), ("GET", "//ping//"), ("GET", "//version")]
    {
        app.ask(method, path).await.is(429);
    }
}

#[tokio::test]
async fn clients_do_not_spend_what_belongs_to_others() {
    let app = limited((4, 900), &[]).await;
    assert_eq!(spend(&app, "192.0.2.1").await, 4);
    assert_eq!(spend(&app, "192.0.2.2").await, 4);
    ask(&app, "192.0.2.1").await.is(429);
}

#[tokio::test]
async fn an_ipv6_network_is_one_client_and_the_one_around_it_has_ten_times_as_much() {
    let app = limited((3, 900), &[]).await;
    for host in 1..=3 {
        ask(&app, &format!("2001:db8:1:1::{host}")).await.is(200);
    }
    ask(&app, "2001:db8:1:1:ffff::9").await.is(429);
    let mut passed = 3;
    for network in 2..300 {
        for host in 1..=3 {
            passed +=
                usize::from(ask(&app, &format!("2001:db8:1:{network:x}::{host}")).await.status() == 200);
        }
        if passed == 30 {
            break;
        }
    }
    assert_eq!(passed, 30);
    let refused = ask(&app, "2001:db8:1:ffff::1").await;
    refused.refused(429, "rate_limited");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"default\";q=30;w=900"));
    ask(&app, "2001:db8:2::1").await.is(200);
}

#[tokio::test]
async fn an_ipv4_address_in_ipv6_clothes_is_the_same_client() {
    let app = limited((4, 900), &[]).await;
    assert_eq!(spend(&app, "192.0.2.9").await, 4);
    ask(&app, "::ffff:192.0.2.9").await.is(429);
}

#[tokio::test]
async fn no_header_gives_a_stranger_another_budget() {
    let app = limited((50, 900), &[("TRUSTED_PROXIES", "")]).await;
    let names = [
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "cf-connecting-ip",
        "true-client-ip",
        "x-client-ip",
        "x_forwarded_for",
    ];
    let mut passed = 0;
    for number in 0..200 {
        let value = match number % 3 {
            0 => format!("198.51.100.{number}"),
            1 => format!("for=198.51.100.{number}"),
            _ => "a, b; DROP".to_owned(),
        };
        let name = names[number % names.len()];
        let reply = app
            .get("/version")
            .header("accept", "application/json")
            .header(name, &value)
            .header(name, "203.0.113.7")
            .await;
        passed += usize::from(reply.status() == 200);
    }
    assert_eq!(passed, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_trusted_is_warned_of_once_however_many_requests_it_forwards() {
    for (trusted, warnings) in [("", 1), ("127.0.0.1/32", 0)] {
        let settings = [("TRUSTED_PROXIES", trusted), ("LOG_LEVEL", "INFO")];
        let running = Running::start(&settings.map(|(name, text)| (name.to_owned(), text.to_owned()))).await;
        for header in ["x-forwarded-for", "forwarded"] {
            let replies = race(16, |number| {
                let client = format!("198.51.100.{number}");
                let client = if header == "forwarded" { format!("for={client}") } else { client };
                running.client().get("/version").header(header, &client)
            });
            assert!(replies.await.iter().all(|reply| reply.status() == 200));
        }
        let log = running.stop();
        let is_warning = |line: &&str| line.contains("forwards requests but is not in TRUSTED_PROXIES");
        let told: Vec<&str> = log.lines().filter(is_warning).collect();
        assert_eq!(told.len(), warnings, "TRUSTED_PROXIES={trusted}: {told:#?}");
        assert!(told.iter().all(|line| line.contains("127.0.0.1") && line.contains("WARN")), "{told:#?}");
    }
}

#[tokio::test]
async fn behind_a_proxy_the_right_most_stranger_is_counted() {
    let app = limited((4, 900), &[]).await;
    for number in 0..4 {
        ask(&app, &format!("203.0.113.{number}, 198.51.100.1")).await.is(200);
    }
    ask(&app, "203.0.113.200, 198.51.100.1").await.is(429);
    let long = vec!["127.0.0.1"; 200].join(", ");
    ask(&app, &format!("198.51.100.1, {long}")).await.is(200); // cut: who claims so many proxies is counted as one of them
    ask(&app, "203.0.113.1").await.is(200);
}

#[tokio::test]
async fn the_document_tells_of_the_limit_where_requests_count() {
    let (limited, unlimited) =
        (limited((300, 900), &[]).await.inside.document(), TestApp::new().await.inside.document());
    let refusal =
        |document: &serde_json::Value, path: &str| document["paths"][path]["get"]["responses"]["429"].clone();
    assert_eq!(refusal(&limited, "/version")["$ref"], "#/components/responses/TooManyRequests");
    assert!(refusal(&unlimited, "/version").is_null());
    assert!(refusal(&limited, "/ping").is_null() && refusal(&limited, "/health/ready").is_null());
    let headers = &limited["components"]["responses"]["TooManyRequests"]["headers"];
    for name in ["Retry-After", "RateLimit", "RateLimit-Policy"] {
        assert!(headers.get(name).is_some(), "{headers}");
    }
    let own = &limited["paths"]["/api/auth/login"]["post"]["responses"]["429"];
    assert!(own["headers"].get("RateLimit").is_some(), "{own}");
    let own = &unlimited["paths"]["/api/auth/login"]["post"]["responses"]["429"];
    assert!(
        own["headers"].get("Retry-After").is_some() && own["headers"].get("RateLimit").is_none(),
        "{own}"
    );
}
