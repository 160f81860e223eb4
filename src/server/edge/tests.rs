//! What the edge makes of requests and answers.

use std::sync::Arc;
use std::time::Duration;

use poem::http::{HeaderName, HeaderValue, Method, StatusCode};
use poem::{Endpoint, IntoResponse, Request, Response, Route, get, handler, post};
use serde_json::{Value, json};

use super::{Edge, EdgeSettings, Methods, OauthPlaces};
use crate::platform::problem::{FieldError, Problem};
use crate::platform::web::{ClientInfo, Json, TraceId};
use crate::server::tests::{settings, trace_ids};

#[handler]
fn plain() -> &'static str {
    "plain"
}

#[handler]
#[expect(clippy::needless_pass_by_value, reason = "an extractor is passed by value")]
fn who(client: ClientInfo, trace_id: TraceId) -> Json<Value> {
    let current = TraceId::current().map(|id| id.to_string());
    Json(json!({ "ip": client.ip, "trace_id": trace_id.as_str(), "current": current }))
}

#[handler]
fn refuse() -> poem::Result<&'static str> {
    Err(Problem::invalid(vec![FieldError::new("name", "is <bad>")]).into())
}

#[handler]
fn refuse_in_answer() -> Response {
    Problem::new(StatusCode::CONFLICT, "username_taken", "<b>taken</b>").into_response()
}

#[handler]
fn bare() -> StatusCode {
    StatusCode::FORBIDDEN
}

#[handler]
fn foreign() -> poem::Result<&'static str> {
    Err(poem::Error::from_string("no such table: users at /home/x", StatusCode::INTERNAL_SERVER_ERROR))
}

#[handler]
fn own_page() -> Response {
    Response::builder()
        .status(StatusCode::FORBIDDEN)
        .content_type("text/html; charset=utf-8")
        .header("content-security-policy", "default-src 'none'; form-action 'self'")
        .header("cache-control", "max-age=60")
        .body("mine")
}

#[handler]
async fn sleepy() -> &'static str {
    tokio::time::sleep(Duration::from_mins(1)).await;
    "late"
}

fn edge_with(settings: EdgeSettings) -> Edge<Route> {
    let api = Route::new()
        .at("/user", get(plain))
        .at("/user/:id", get(plain).patch(plain))
        .at("/who", get(who))
        .at("/refuse", get(refuse))
        .at("/conflict", get(refuse_in_answer))
        .at("/bare", get(bare))
        .at("/foreign", get(foreign).post(foreign))
        .at("/sleepy", get(sleepy).post(sleepy))
        .at("/login", post(plain));
    let routes = Route::new()
        .nest("/api", api)
        .at("/page", get(plain))
        .at("/own", get(own_page))
        .at("/deny", get(refuse_in_answer));
    Edge::new(routes, settings, trace_ids())
}

fn edge() -> Edge<Route> {
    let document = json!({"paths": {"/user/{id}": {"get": {}, "patch": {}}, "/login": {"post": {}}}});
    edge_with(EdgeSettings { methods: Methods::of_document(&document, "/api"), ..settings() })
}

struct Answer {
    status: u16,
    headers: poem::http::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }
}

async fn ask(edge: &Edge<Route>, method: Method, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri_str(uri).header("host", "x").finish();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let mut response = edge.call(request).await.unwrap();
    let text = response.take_body().into_string().await.unwrap();
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), text }
}

async fn at(uri: &str) -> Answer {
    ask(&edge(), Method::GET, uri, &[]).await
}

#[tokio::test]
async fn every_answer_carries_its_trace_id_and_the_protecting_headers() {
    for uri in ["/api/user", "/api/nope", "/page", "/nope", "/api/refuse", "/api/../x"] {
        let answer = ask(&edge(), Method::GET, uri, &[("accept", "application/json")]).await;
        assert_eq!(answer.header("x-trace-id").len(), 36, "{uri}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("strict-transport-security", "max-age=31536000"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("server", ""),
        ] {
            assert_eq!(answer.header(name), value, "{uri} {name}");
        }
        assert!(!answer.header("permissions-policy").is_empty(), "{uri}");
    }
}

#[tokio::test]
async fn what_the_edge_answers_by_itself_looks_like_the_answer_of_a_handler() {
    let constant = edge().with_constant("/page", "plain");
    let ask = |edge, uri| async move {
        let mut answer = ask(&edge, Method::GET, uri, &[("x-request-id", "same")]).await;
        // Whoever reads one list of headers after the other compares names and values, not their order.
        let mut headers: Vec<_> =
            answer.headers.drain().map(|(name, value)| (name.unwrap(), value)).collect();
        headers.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        (answer.status, headers, answer.text)
    };
    assert_eq!(ask(constant, "/page").await, ask(edge(), "/page").await);
}

#[tokio::test]
async fn the_edge_leaves_to_the_handler_what_is_special_about_a_request() {
    let edge = edge().with_constant("/page", "constant");
    assert_eq!(ask(&edge, Method::GET, "/page", &[]).await.text, "constant");
    for (method, uri, headers) in [
        (Method::GET, "/page?q=1", vec![]),
        (Method::GET, "/page/", vec![]),
        (Method::GET, "/page", vec![("content-length", "0")]),
        (Method::HEAD, "/page", vec![]),
    ] {
        assert_ne!(ask(&edge, method, uri, &headers).await.text, "constant", "{uri} {headers:?}");
    }
    assert_eq!(ask(&edge, Method::GET, "/page", &[("host", "y")]).await.status, 400);
}

#[tokio::test]
async fn what_is_at_hand_is_answered_before_the_router_and_dressed_like_any_answer() {
    let edge = edge().with_at_hand("/user", |_| Some(Response::builder().body("at hand")));
    let asks = [("origin", "https://app.test"), ("x-request-id", "my-id.7")];
    let answer = ask(&edge, Method::GET, "/api/user", &asks).await;
    let usual = ask(&self::edge(), Method::GET, "/api/user", &asks).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "at hand"));
    for name in usual.headers.keys().filter(|name| **name != "content-type") {
        assert_eq!(answer.headers.get(name), usual.headers.get(name), "{name}");
    }
}

#[tokio::test]
async fn what_is_special_about_a_request_is_not_asked_for_at_hand() {
    let edge = edge().with_at_hand("/user", |_| Some(Response::builder().body("at hand")));
    for (method, uri, headers, status) in [
        (Method::GET, "/api/user?q=1", vec![], 200),
        (Method::GET, "/api/user/", vec![], 200),
        (Method::GET, "/api/user/7", vec![], 200),
        (Method::GET, "/api/user", vec![("content-length", "0")], 200),
        (Method::GET, "/api/user", vec![("content-encoding", "gzip")], 415),
        (Method::GET, "/api/user", vec![("host", "y")], 400),
        (Method::HEAD, "/api/user", vec![], 200),
        (Method::POST, "/api/user", vec![], 405),
        (Method::OPTIONS, "/api/user", vec![], 204),
    ] {
        let answer = ask(&edge, method, uri, &headers).await;
        assert_eq!(answer.status, status, "{uri} {headers:?}");
        assert_ne!(answer.text, "at hand", "{uri} {headers:?}");
    }
}

#[tokio::test]
async fn where_nothing_is_at_hand_the_handler_answers() {
    let without = edge().with_at_hand("/user", |_| None);
    assert_eq!(ask(&without, Method::GET, "/api/user", &[]).await.text, "plain");
    let broken = edge().with_at_hand("/user", |_| panic!("looking for it failed"));
    assert_eq!(ask(&broken, Method::GET, "/api/user", &[]).await.text, "plain");
}

#[tokio::test]
async fn http_promises_no_https() {
    let edge = edge_with(EdgeSettings { base_url: "http://localhost:8000".into(), ..settings() });
    assert_eq!(ask(&edge, Method::GET, "/api/user", &[]).await.header("strict-transport-security"), "");
}

#[tokio::test]
async fn a_page_keeps_its_own_policy() {
    let page = at("/own").await;
    assert_eq!((page.status, page.text.as_str()), (403, "mine"));
    assert_eq!(page.header("content-security-policy"), "default-src 'none'; form-action 'self'");
    assert_eq!(page.header("cache-control"), "max-age=60");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
}

#[tokio::test]
async fn the_trace_id_is_the_same_everywhere() {
    let answer = ask(&edge(), Method::GET, "/api/who", &[("x-request-id", "my-id.7")]).await;
    let body: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((&body["trace_id"], &body["current"]), (&json!("my-id.7"), &json!("my-id.7")));
    assert_eq!(answer.header("x-trace-id"), "my-id.7");
    let refused = ask(&edge(), Method::GET, "/api/refuse", &[("x-request-id", "my-id.7")]).await;
    assert_eq!(refused.problem()["trace_id"], "my-id.7");
}

#[tokio::test]
async fn every_refusal_below_the_api_is_a_problem() {
    for (uri, status, code) in [
        ("/api/nope", 404, "not_found"),
        ("/api", 404, "not_found"),
        ("/api/bare", 403, "forbidden"),
        ("/api/conflict", 409, "username_taken"),
        ("/api/refuse", 422, "validation_failed"),
        ("/api/foreign", 500, "internal"),
        ("/api/login", 405, "method_not_allowed"),
        ("/api/user?q=%zz", 400, "bad_request"),
        ("/api/user?q=1&q=2", 422, "validation_failed"),
    ] {
        let answer = at(uri).await;
        let problem = answer.problem();
        assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{uri}");
        assert_eq!(problem["status"], status, "{uri}");
        assert_eq!(problem["trace_id"], answer.header("x-trace-id"), "{uri}");
        assert!(!answer.text.contains("/home") && !answer.text.contains("table"), "{}", answer.text);
    }
    assert_eq!(
        at("/api/refuse").await.problem()["errors"],
        json!([{"field": "name", "message": "is <bad>"}])
    );
}

#[tokio::test]
async fn elsewhere_a_person_gets_a_page_and_a_program_a_problem() {
    let page = at("/deny").await;
    assert_eq!((page.status, page.header("content-type")), (409, "text/html; charset=utf-8"));
    assert!(
        page.text.contains("&lt;b&gt;taken&lt;&#x2f;b&gt;") && !page.text.contains("<b>"),
        "{}",
        page.text
    );
    assert!(page.text.contains(page.header("x-trace-id")) && page.header("x-trace-id").len() == 36);
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'nonce-"));
    let program = ask(&edge(), Method::GET, "/nope", &[("accept", "application/json")]).await;
    assert_eq!(program.problem()["code"], "not_found");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    for (method, uri, allow) in [
        (Method::DELETE, "/api/user/7", "GET, PATCH, HEAD, OPTIONS"),
        (Method::GET, "/api/login", "POST, OPTIONS"),
        (Method::POST, "/page", "GET, HEAD, OPTIONS"),
    ] {
        let answer = ask(&edge(), method, uri, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow), "{uri}");
    }
    let options = ask(&edge(), Method::OPTIONS, "/api/user/7", &[]).await;
    assert_eq!((options.status, options.header("allow")), (204, "GET, PATCH, HEAD, OPTIONS"));
}

#[tokio::test]
async fn trace_and_connect_are_off_and_no_header_changes_the_method() {
    for method in [Method::TRACE, Method::CONNECT] {
        let answer = ask(&edge(), method, "/api/user", &[]).await;
        assert_eq!(answer.status, 405);
        assert!(!answer.header("allow").is_empty());
    }
    for name in ["x-http-method-override", "x-method-override", "x-http-method"] {
        assert_eq!(ask(&edge(), Method::GET, "/api/login", &[(name, "POST")]).await.status, 405, "{name}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_means_nothing_and_tricks_lead_nowhere() {
    for same in ["/api/user/", "/api/user/7/", "/page/", "/api/user/?q=1"] {
        assert_eq!(at(same).await.status, 200, "{same}");
    }
    for trick in [
        "//api/user",
        "/api//user",
        "/api/./user",
        "/api/x/../user",
        "/%61pi/user",
        "/api%2fuser",
        "/API/user",
        "/api/user/%2e%2e",
        "/api/user/..%2fwho",
        "/api/user//",
        "/api/user/a%5cb",
        "/api/us%65r;x",
    ] {
        assert_eq!(at(trick).await.status, 404, "{trick}");
    }
}

#[tokio::test]
async fn head_is_answered_like_get() {
    let head = ask(&edge(), Method::HEAD, "/api/user", &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.text.as_str()), (200, "5", ""));
    let missing = ask(&edge(), Method::HEAD, "/api/nope", &[]).await;
    assert_eq!((missing.status, missing.text.as_str()), (404, ""));
}

#[tokio::test]
async fn a_compressed_body_is_refused() {
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip"] {
        let answer = ask(&edge(), Method::POST, "/api/login", &[("content-encoding", coding)]).await;
        assert_eq!((answer.status, answer.problem()["code"].as_str()), (415, Some("unsupported_media_type")));
    }
    let as_is = ask(&edge(), Method::POST, "/api/login", &[("content-encoding", "identity")]).await;
    assert_eq!(as_is.status, 200);
}

#[tokio::test]
async fn a_body_announced_too_long_is_refused_before_it_comes() {
    let answer = ask(&edge(), Method::POST, "/api/login", &[("content-length", "1025")]).await;
    assert_eq!((answer.status, answer.problem()["code"].as_str()), (413, Some("payload_too_large")));
}

#[tokio::test]
async fn a_request_has_a_deadline() {
    let edge = edge_with(EdgeSettings { request_timeout: Duration::from_millis(30), ..settings() });
    let answer = ask(&edge, Method::GET, "/api/sleepy", &[]).await;
    assert_eq!((answer.status, answer.problem()["code"].as_str()), (503, Some("unavailable")));
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test]
async fn where_libraries_of_oauth_ask_every_layer_says_what_they_look_for() {
    let document = json!({"paths": {
        "/api/sleepy": {"post": {"operationId": "sleepy"}}, "/api/foreign": {"post": {"operationId": "foreign"}},
        "/api/login": {"post": {"operationId": "login"}},
    }});
    let edge = edge_with(EdgeSettings {
        request_timeout: Duration::from_millis(30),
        oauth_places: OauthPlaces::of_document(&document, &["sleepy", "foreign", "login"]),
        ..settings()
    });
    for (uri, headers, status, error) in [
        ("/api/sleepy", vec![], 503, "temporarily_unavailable"),
        ("/api/foreign", vec![], 500, "server_error"),
        ("/api/login", vec![("content-encoding", "gzip")], 415, "invalid_request"),
        ("/api/login", vec![("content-length", "1025")], 413, "invalid_request"),
        ("/api/login", vec![("host", "y")], 400, "invalid_request"),
        ("/api/login/", vec![("host", "y")], 400, "invalid_request"),
    ] {
        let answer = ask(&edge, Method::POST, uri, &headers).await;
        let problem = answer.problem();
        assert_eq!((answer.status, problem["error"].as_str()), (status, Some(error)), "{uri}");
        assert_eq!(problem["error_description"], problem["detail"], "{uri}");
    }
    for (method, uri) in
        [(Method::GET, "/api/sleepy"), (Method::GET, "/api/foreign"), (Method::POST, "/api/x")]
    {
        let problem = ask(&edge, method, uri, &[]).await.problem();
        assert!(problem.get("error").is_none() && problem.get("error_description").is_none(), "{uri}");
    }
}

#[tokio::test]
async fn only_listed_origins_may_read_the_api() {
    let listed = ask(&edge(), Method::GET, "/api/user", &[("origin", "https://app.test")]).await;
    assert_eq!(listed.header("access-control-allow-origin"), "https://app.test");
    assert_eq!(listed.header("access-control-allow-credentials"), "true");
    let exposed =
        "X-Total-Count, Link, Location, ETag, X-Trace-Id, Retry-After, RateLimit, RateLimit-Policy, secret";
    assert_eq!(listed.header("access-control-expose-headers"), exposed);
    assert_eq!(listed.header("vary"), "Origin");
    for origin in [
        "https://evil.test",
        "null",
        "*",
        "https://app.test.evil",
        "https://good.app.test",
        "http://app.test",
        "https://app.test:444",
        "https://APP.test",
        "https://app.test/",
        "https://äpp.test",
        "",
        "https://badapp.test",
    ] {
        let answer = ask(&edge(), Method::GET, "/api/user", &[("origin", origin)]).await;
        assert_eq!(answer.status, 200, "{origin}");
        assert_eq!(answer.headers.get("access-control-allow-origin"), None, "{origin}");
        assert_eq!(answer.headers.get("access-control-allow-credentials"), None, "{origin}");
        assert_eq!(answer.header("vary"), "Origin", "{origin}");
    }
    let page = ask(&edge(), Method::GET, "/page", &[("origin", "https://app.test")]).await;
    assert_eq!(page.headers.get("access-control-allow-origin"), None);
    let refused = ask(&edge(), Method::GET, "/api/nope", &[("origin", "https://app.test")]).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (404, "https://app.test"));
}

#[tokio::test]
async fn a_preflight_is_answered_before_any_handler() {
    let asks = ("access-control-request-method", "PATCH");
    let wants = ("access-control-request-headers", "authorization");
    let listed =
        ask(&edge(), Method::OPTIONS, "/api/user/7", &[("origin", "https://app.test"), asks, wants]).await;
    assert_eq!((listed.status, listed.header("access-control-allow-origin")), (204, "https://app.test"));
    assert!(listed.header("access-control-allow-methods").contains("PATCH"));
    assert!(listed.header("access-control-allow-headers").contains("Authorization"));
    let stranger =
        ask(&edge(), Method::OPTIONS, "/api/user/7", &[("origin", "https://evil.test"), asks]).await;
    assert_eq!(stranger.status, 204);
    assert!(stranger.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test]
async fn without_a_list_there_is_no_cors_at_all() {
    for list in [vec![], vec!["*".to_owned()], vec!["null".to_owned()]] {
        let edge = edge_with(EdgeSettings { cors_origins: list, ..settings() });
        for origin in ["https://app.test", "null", "*"] {
            let answer = ask(&edge, Method::GET, "/api/user", &[("origin", origin)]).await;
            assert!(
                answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")),
                "{origin}"
            );
        }
    }
}

#[tokio::test]
async fn a_stranger_is_warned_of_once_and_believed_never() {
    let edge = edge();
    let answer = ask(&edge, Method::GET, "/api/who", &[("x-forwarded-for", "198.51.100.1")]).await;
    assert!(!answer.text.contains("198.51.100.1"), "{}", answer.text);
}

#[tokio::test]
async fn a_repeatable_parameter_may_repeat() {
    assert_eq!(at("/api/user?users_ids=1&users_ids=2").await.status, 200);
}

#[tokio::test]
async fn the_edge_is_shared() {
    let edge = Arc::new(edge());
    assert_eq!(
        edge.get_response(Request::builder().uri_str("/api/user").header("host", "x").finish())
            .await
            .status(),
        200
    );
}
