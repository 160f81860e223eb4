//! The front: what holds for every request and every answer, whatever the operation.

use std::env::consts::{ARCH, OS};
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Client, PASSWORD, TestApp};

const LOGIN: &str = "/api/auth/login";
const ME: &str = "/api/user/me";

#[tokio::test]
async fn signs_of_life() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/ping").await.is(200).text(), "pong");
    assert_eq!(app.get("/version").await.is(200).json(), json!({"version": env!("CARGO_PKG_VERSION")}));
    assert_eq!(app.get("/healthcheck").await.is(200).json(), json!({"status": "ok"}));
    assert_eq!(app.get("/health/live").await.is(200).json()["status"], "ok");
    assert_eq!(app.get("/health/ready").await.is(200).json()["status"], "ok");
}

#[tokio::test]
async fn the_parts_are_for_admins_and_metrics_allow() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/health/ready").await.json()["parts"]["database"], "ok");
    // A proxy stands in the allowed network; who is behind it does not.
    let forwarded = app.get("/health/ready").header("x-forwarded-for", "203.0.113.7").await;
    assert_eq!(forwarded.is(200).json(), json!({"status": "ok"}));
    let app = TestApp::with(&[("METRICS_ALLOW", "192.0.2.0/24")]).await;
    assert_eq!(app.get("/health/ready").await.is(200).json(), json!({"status": "ok"}));
    assert!(app.admin().await.get("/health/ready").await.json().get("parts").is_some());
    assert!(app.user("ann").await.get("/health/ready").await.json().get("parts").is_none());
}

#[tokio::test]
async fn the_machine_and_the_program_are_shown_to_admins() {
    let app = TestApp::new().await;
    let others = [app.user("ann").await, app.tester().await, app.moderator().await];
    for path in ["/machine", "/repository"] {
        app.get(path).await.refused(401, "token_invalid");
        for other in &others {
            other.get(path).await.refused(403, "forbidden");
        }
    }
    let admin = app.admin().await;
    let reply = admin.get("/machine").await;
    assert_eq!(reply.is(200).header("cache-control"), Some("no-store"));
    let machine = reply.json();
    assert_eq!((&machine["os"], &machine["architecture"]), (&json!(OS), &json!(ARCH)));
    let mut names: Vec<&str> = machine.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let memory: &[&str] =
        if OS == "linux" { &["memory_available", "memory_of_process", "memory_total"] } else { &[] };
    let expected =
        [&["architecture"][..], memory, &["os", "processors", "started_at", "uptime_seconds"][..]].concat();
    assert_eq!(names, expected, "nothing else is told");
    for name in memory.iter().chain(&["processors"]) {
        assert!(machine[name].as_u64() > Some(0), "{name}: {machine}");
    }
    app.clock.advance(Duration::from_secs(90));
    let later = admin.get("/machine").await.is(200).json();
    assert_eq!(later["started_at"], machine["started_at"]);
    assert_eq!(later["uptime_seconds"].as_u64(), machine["uptime_seconds"].as_u64().map(|up| up + 90));
    let reply = admin.get("/repository").await;
    assert_eq!(reply.is(200).header("cache-control"), Some("no-store"));
    let [name, version, license] =
        [env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_LICENSE")];
    let mut expected = json!({"name": name, "version": version, "license": license});
    if let Some(repository) = Some(env!("CARGO_PKG_REPOSITORY")).filter(|address| !address.is_empty()) {
        expected["repository"] = json!(repository);
    }
    assert_eq!(reply.json(), expected);
}

#[tokio::test]
async fn readiness_ends_when_a_stop_is_announced() {
    let app = TestApp::new().await;
    app.inside.stopping.cancel();
    let reply = app.get("/health/ready").await;
    assert_eq!(reply.is(503).json()["status"], "unavailable");
    assert!(reply.header("retry-after").is_some());
    app.get("/health/live").await.is(200);
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for path in [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/user/me/nothing",
        "/api/auth",
        "/nothing",
        "/api/USER/me",
        "/API/user/me",
        "/api/openapi.json",
        "/api//user/me",
        "//api/user/me",
        "/api/%75ser/me%2f",
        "/api/user%2fme",
        "/static/x/y",
        "/.env",
        "/api/user/me;x",
    ] {
        let reply = admin.get(path).header("accept", "application/json").await;
        assert!(matches!(reply.status(), 400 | 404), "{reply:?}");
        reply.refused(reply.status(), if reply.status() == 404 { "not_found" } else { "bad_request" });
    }
}

#[tokio::test]
async fn a_slash_at_the_end_is_ignored() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for path in ["/ping", ME, "/api/user", "/api/user/count", "/api/auth/sessions", "/.well-known/jwks.json"]
    {
        for path in [path.to_owned(), format!("{path}/")] {
            assert_eq!(admin.get(&path).await.status(), 200, "{path}");
        }
    }
    admin.get("/api/user/?limit=1").await.is(200);
    app.post("/api/auth/login/").json(&json!({"username": "root", "password": PASSWORD})).await.is(200);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (method, path, needed) in [
        ("GET", LOGIN, vec!["POST"]),
        ("POST", ME, vec!["GET"]),
        ("DELETE", "/ping", vec!["GET", "HEAD"]),
        ("POST", "/api/user/@root", vec!["GET", "PATCH", "PUT", "DELETE"]),
        ("PATCH", "/api/user/", vec!["GET", "POST"]),
        ("QUERY", "/api/user/", vec!["GET", "POST"]),
        ("TRACE", "/ping", vec![]),
    ] {
        let reply = admin.ask(method, path).header("accept", "application/json").await;
        let allow: Vec<&str> =
            reply.refused(405, "method_not_allowed").header("allow").unwrap().split(", ").collect();
        assert!(needed.iter().all(|method| allow.contains(method)), "{method} {path}: {allow:?}");
        assert!(path == "/ping" || !allow.contains(&method), "{method} {path}: {allow:?}");
    }
    let options = app.ask("OPTIONS", "/api/user/").await;
    assert!(options.is(204).header("allow").unwrap().contains("GET"));
}

#[tokio::test]
async fn a_head_is_a_get_without_body() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for path in ["/ping", ME, "/openapi.json"] {
        let (get, head) = (ann.get(path).await, ann.ask("HEAD", path).await);
        assert_eq!((get.status(), head.status()), (200, 200), "{path}");
        assert!(head.bytes().is_empty());
        assert_eq!(get.header("content-type"), head.header("content-type"));
    }
    app.ask("HEAD", ME).await.is(401);
}

#[tokio::test]
async fn a_body_of_another_kind_is_refused() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let body = r#"{"username":"root","password":"x"}"#;
    for kind in
        ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/jsonx", "text/json"]
    {
        app.post(LOGIN).body(kind, body).await.refused(415, "unsupported_media_type");
        admin.post("/api/user/").body(kind, body).await.refused(415, "unsupported_media_type");
    }
    let form = "application/x-www-form-urlencoded";
    admin.post("/api/user/").body(form, "username=ann").await.refused(415, "unsupported_media_type");
    admin.post("/api/user/").await.refused(415, "unsupported_media_type");
    let utf8 = "application/json; charset=utf-8";
    admin.post("/api/user/").body(utf8, r#"{"username":"ann"}"#).await.is(201);
    admin
        .post("/api/user/")
        .body("application/json; charset=latin1", "{}")
        .await
        .refused(415, "unsupported_media_type");
}

#[tokio::test]
async fn what_is_no_json_is_a_bad_request() {
    let app = TestApp::new().await;
    let broken: [&[u8]; 9] =
        [b"", b"{", b"{}}", b"{'a':1}", b"{\"a\":1,}", b"\xff", b"nul", b"{\"username\":\"\\ud800\"}", b"[1"];
    for body in broken {
        let reply = app.post(LOGIN).body("application/json", body.to_vec()).await;
        reply.refused(400, "bad_request");
    }
    let deep = format!("{}{}", "[".repeat(100_000 / 2), "]".repeat(10));
    assert!(matches!(app.post(LOGIN).body("application/json", deep).await.status(), 400 | 422));
}

#[tokio::test]
async fn json_of_another_shape_is_invalid() {
    let app = TestApp::new().await;
    for body in ["[]", "7", "\"x\"", "null", "true", "[\"ann\",\"x\"]"] {
        app.post(LOGIN).body("application/json", body).await.refused(422, "validation_failed");
    }
    let twice = r#"{"username":"ann","password":"a","username":"bob"}"#;
    app.post(LOGIN).body("application/json", twice).await.invalid(&["username"]);
    let twice = "username=ann&password=a&username=bob";
    app.post(LOGIN).body("application/x-www-form-urlencoded", twice).await.invalid(&["username"]);
}

#[tokio::test]
async fn a_body_is_at_most_so_large() {
    let app = TestApp::with(&[("MAX_BODY_BYTES", "2048")]).await;
    let of_length = |length: usize| {
        let frame = r#"{"username":"a","password":""}"#.len();
        format!(r#"{{"username":"a","password":"{}"}}"#, "x".repeat(length - frame))
    };
    app.post(LOGIN).body("application/json", of_length(2048)).await.is(422);
    app.post(LOGIN).body("application/json", of_length(2049)).await.refused(413, "payload_too_large");
    app.post(LOGIN).body("application/json", of_length(5_000_000)).await.refused(413, "payload_too_large");
    app.get("/ping").await.is(200);
}

#[tokio::test]
async fn a_request_keeps_the_name_that_it_was_given() {
    let app = TestApp::new().await;
    for good in ["a", "req-1.2_3", &"x".repeat(128), "0190a5c0-7e3b-7c2a-8f00-1234567890ab"] {
        let reply = app.get(ME).header("x-request-id", good).await;
        assert_eq!(reply.trace_id(), good);
        reply.refused(401, "token_invalid");
    }
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let reply = app.get("/ping").header("traceparent", parent).await;
    assert_eq!(reply.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    let reply = app.get("/ping").header("traceparent", parent).header("x-request-id", "mine").await;
    assert_eq!(reply.trace_id(), "mine");
}

#[tokio::test]
async fn a_request_without_a_good_name_is_given_one() {
    let app = TestApp::new().await;
    let mut seen = Vec::new();
    for bad in ["", " ", "a b", "a/b", "ä", "<script>", &"x".repeat(129), "a\"b", "a;b"] {
        let reply = app.get("/ping").header("x-request-id", bad).await;
        seen.push(reply.trace_id().parse::<Uuid>().expect("a UUID"));
    }
    for bad in [
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-01",
        "x",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
    ] {
        let reply = app.get("/ping").header("traceparent", bad).await;
        seen.push(reply.trace_id().parse::<Uuid>().expect("a UUID"));
    }
    assert!(seen.iter().all(|id| id.get_version_num() == 7));
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "no two are the same");
}

#[tokio::test]
async fn every_answer_tells_browsers_what_not_to_do() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for path in ["/ping", ME, "/api/nothing", "/docs", "/setup", "/openapi.json", "/.well-known/jwks.json"] {
        for client in [&*app as &Client, &*ann] {
            let reply = client.get(path).await;
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
            assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{reply:?}");
            let policy = reply.header("content-security-policy").expect("a policy");
            assert!(
                policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
                "{policy}"
            );
            for absent in ["server", "x-powered-by", "strict-transport-security"] {
                assert_eq!(reply.header(absent), None, "{absent}");
            }
            assert!(reply.header("permissions-policy").is_some());
            assert!(reply.header("cross-origin-resource-policy").is_some());
        }
    }
    assert_eq!(ann.get(ME).await.header("cache-control"), Some("no-store"));
    assert_eq!(app.get(ME).await.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn https_is_insisted_on_where_clients_come_by_it() {
    let app = TestApp::with(&[("BASE_URL", "https://users.example.com")]).await;
    assert_eq!(app.get("/ping").await.header("strict-transport-security"), Some("max-age=31536000"));
    let app =
        TestApp::with(&[("BASE_URL", "https://users.example.com"), ("HSTS_INCLUDE_SUBDOMAINS", "True")])
            .await;
    let reply = app.get("/ping").await;
    assert_eq!(reply.header("strict-transport-security"), Some("max-age=31536000; includeSubDomains"));
}

#[tokio::test]
async fn links_are_built_from_the_settings_alone() {
    let app = TestApp::with(&[("BASE_URL", "https://users.example.com")]).await;
    let admin = app.admin().await;
    for header in
        ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "forwarded", "x-original-url"]
    {
        let name = format!("u_{}", header.replace('-', "_"));
        let reply =
            admin.post("/api/user/").header(header, "evil.example").json(&json!({"username": name})).await;
        let location = reply.is(201).header("location").unwrap();
        assert!(location.starts_with("https://users.example.com/api/user/"), "{location}");
    }
}

#[tokio::test]
async fn a_page_of_a_named_origin_may_read_answers() {
    let app = TestApp::with(&[("CORS_ORIGINS", "https://app.example.com,https://other.example.com")]).await;
    for origin in ["https://app.example.com", "https://other.example.com"] {
        for reply in [
            app.get(ME).header("origin", origin).await,
            app.get("/api/nothing").header("origin", origin).await,
        ] {
            assert_eq!(reply.header("access-control-allow-origin"), Some(origin), "{reply:?}");
            assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
            assert!(reply.header("vary").unwrap().contains("Origin"));
            let exposed = reply.header("access-control-expose-headers").unwrap();
            for name in ["X-Total-Count", "Link", "Location", "ETag", "X-Trace-Id", "Retry-After"] {
                assert!(exposed.contains(name), "{name}");
            }
        }
        let preflight = app
            .ask("OPTIONS", ME)
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization, if-match")
            .await;
        preflight.is(204);
        assert_eq!(preflight.header("access-control-allow-origin"), Some(origin));
        assert!(preflight.header("access-control-allow-methods").unwrap().contains("PATCH"));
        let headers = preflight.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
        assert!(headers.contains("authorization") && headers.contains("if-match"));
    }
}

#[tokio::test]
async fn a_page_of_any_other_origin_may_not() {
    let app = TestApp::with(&[("CORS_ORIGINS", "https://app.example.com")]).await;
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://APP.example.com",
        "https://xapp.example.com",
        "*",
        "",
    ] {
        let reply = app.get(ME).header("origin", origin).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{origin}");
        assert!(reply.header("vary").unwrap().contains("Origin"), "{origin}");
        let preflight =
            app.ask("OPTIONS", ME).header("origin", origin).header("access-control-request-method", "GET");
        assert_eq!(preflight.await.header("access-control-allow-methods"), None, "{origin}");
    }
}

#[tokio::test]
async fn the_prefix_of_the_api_can_be_another() {
    let app = TestApp::with(&[("API_STR", "/v1/users/")]).await;
    app.get("/v1/users/user/me").await.refused(401, "token_invalid");
    app.get(ME).await.is(404);
    let document = app.get("/openapi.json").await.is(200).json();
    assert!(
        document["paths"].get("/v1/users/auth/login").is_some() && document["paths"].get(LOGIN).is_none()
    );
}

#[tokio::test]
async fn a_person_sees_a_page_where_a_program_sees_a_document() {
    let app = TestApp::new().await;
    let page = app.get("/nothing").header("accept", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert!(page.is(404).header("content-type").unwrap().starts_with("text/html"));
    assert!(page.text().contains(page.trace_id()));
    app.get("/api/nothing").header("accept", "text/html").await.refused(404, "not_found");
    app.get("/nothing").header("accept", "application/json").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_problem_echoes_nothing_of_the_request() {
    let app = TestApp::new().await;
    let marker = "xq7marker";
    let replies = [
        app.get(&format!("/api/{marker}")).await,
        app.get(&format!("/api/user/@{marker}")).await,
        app.post(LOGIN).json(&json!({"username": marker, "password": marker})).await,
        app.admin().await.get(&format!("/api/user/?limit={marker}")).await,
        app.post(LOGIN).body(marker, "x").await,
        app.with_bearer(marker).get(ME).await,
    ];
    for reply in replies {
        assert!(reply.status() >= 400);
        let mut problem = reply.json();
        problem["trace_id"] = Value::Null;
        assert!(!problem.to_string().contains(marker), "{reply:?}");
    }
}

#[tokio::test]
async fn two_ways_to_sign_in_at_once_are_none() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let bearer = format!("Bearer {}", ann.access);
    ann.get(ME).header("authorization", &bearer).await.is(401);
    for wrong in ["Bearer", "Bearer ", "Basic YTpi", &format!("bearer  {}", ann.access), &ann.access] {
        app.get(ME).header("authorization", wrong).await.refused(401, "token_invalid");
    }
    app.get(ME).header("authorization", &format!("bearer {}", ann.access)).await.is(200);
    app.get(&format!("{ME}?access_token={}", ann.access)).await.is(401);
}

#[tokio::test]
async fn a_page_of_a_refusal_says_whose_it_is() {
    let app = TestApp::with(&[("PROJECT_NAME", "Tower of Cats")]).await;
    for (method, path, status) in [("PUT", "/setup", 405), ("DELETE", "/docs", 405), ("GET", "/nowhere", 404)]
    {
        let page = app.ask(method, path).header("accept", "text/html").await;
        assert!(page.is(status).text().contains("Tower of Cats"), "{page:?}");
    }
}
