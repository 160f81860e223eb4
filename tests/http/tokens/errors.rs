//! What libraries of OAuth read of a refusal: `error` and `error_description` (RFC 6749, 5.2), whoever refused.

use serde_json::{Value, json};

use crate::harness::{Ask, Client, Demand, PASSWORD, Reply, TestApp};

const LOGIN: &str = "/api/auth/login";
const REFRESH: &str = "/api/auth/token/refresh";
const TRADE: &str = "/api/oauth/token";
const REVOKE: &str = "/api/auth/token/revoke";
const INTROSPECT: &str = "/api/auth/token/introspect";
const FORM: &str = "application/x-www-form-urlencoded";

type Fields = &'static [(&'static str, &'static str)];

/// Each operation that such libraries speak with, its flag, and what it asks for.
const OPERATIONS: [(&str, &str, Fields); 5] = [
    (LOGIN, "LOGIN", &[("username", "ann"), ("password", PASSWORD)]),
    (REFRESH, "REFRESH_TOKEN", &[("refresh_token", "x")]),
    (TRADE, "OAUTH_TOKEN", &[("code", "x"), ("redirect_uri", "http://localhost:8000/")]),
    (REVOKE, "REVOKE_TOKEN", &[("token", "x")]),
    (INTROSPECT, "INTROSPECT_TOKEN", &[("token", "x")]),
];

/// It says what is wrong in the words of OAuth, and in ours as before.
#[track_caller]
fn says(reply: &Reply, status: u16, code: &str, error: &str) {
    let problem = reply.refused(status, code).json();
    assert_eq!(problem["error"], error, "{reply:?}");
    assert_eq!(problem["error_description"], problem["detail"], "{reply:?}");
    for member in ["\"error\":", "\"error_description\":"] {
        assert_eq!(reply.text().matches(member).count(), 1, "{reply:?}");
    }
}

/// Everything that can be wrong with a request before its token, code or password is looked at.
fn unreadable(client: &Client, path: &str, fields: &[(&str, &str)]) -> Vec<(Ask, u16, &'static str)> {
    let (name, value) = fields[0];
    let post = |query: &str| client.post(&format!("{path}{query}"));
    let unknown = [fields, &[("surely_unknown", "1")]].concat();
    let mut empty = json!({});
    for (name, _) in fields {
        empty[*name] = Value::Null;
    }
    vec![
        (post("").form(&[]), 422, "validation_failed"),
        (post("").json(&json!({})), 422, "validation_failed"),
        (post("").json(&json!([value])), 422, "validation_failed"),
        (post("").json(&empty), 422, "validation_failed"),
        (post("").form(&unknown), 422, "validation_failed"),
        (post("/").form(&unknown), 422, "validation_failed"),
        (post("").body(FORM, format!("{name}=a&{name}=b")), 422, "validation_failed"),
        (post("?x=1&x=2").form(fields), 422, "validation_failed"),
        (post("?x=%zz").form(fields), 400, "bad_request"),
        (post("").body(FORM, format!("{name}=%zz")), 400, "bad_request"),
        (post("").body("application/json", "{"), 400, "bad_request"),
        (post("").body("text/plain", "x"), 415, "unsupported_media_type"),
        (
            post("").body("application/x-www-form-urlencoded; charset=latin1", "x"),
            415,
            "unsupported_media_type",
        ),
        (post(""), 415, "unsupported_media_type"),
        (post("").header("content-encoding", "gzip").form(fields), 415, "unsupported_media_type"),
        (post("").body(FORM, format!("{name}={}", "x".repeat(70_000))), 413, "payload_too_large"),
    ]
}

#[tokio::test]
async fn what_can_not_be_read_is_an_invalid_request_in_every_layer() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (path, _, fields) in OPERATIONS {
        for (ask, status, code) in unreadable(&admin, path, fields) {
            says(&ask.await, status, code, "invalid_request");
        }
    }
}

#[tokio::test]
async fn what_is_refused_before_it_is_a_request_is_an_invalid_request_as_well() {
    let app = TestApp::with(&[("BASE_URL", "https://users.example.com")]).await;
    let (query, cookie) = ("x".repeat(9000), "x".repeat(17_000));
    for (path, ..) in OPERATIONS {
        let (long, slash) = (format!("{path}?x={query}"), format!("{path}/?x={query}"));
        for (ask, status, code) in [
            (app.post(&long), 414, "uri_too_long"),
            (app.post(&slash), 414, "uri_too_long"),
            (app.post(path).header("cookie", &cookie), 431, "headers_too_large"),
        ] {
            let reply = ask.await;
            says(&reply, status, code, "invalid_request");
            assert_eq!(reply.header("strict-transport-security"), Some("max-age=31536000"), "{reply:?}");
        }
        let reply = app.get(&long).await;
        assert!(reply.refused(414, "uri_too_long").json().get("error").is_none(), "{reply:?}");
    }
}

#[tokio::test]
async fn what_is_not_good_for_anything_is_an_invalid_grant() {
    let app = TestApp::new().await;
    app.user("ann").await;
    says(&app.try_sign_in("ann", "not the password 12").await, 401, "invalid_credentials", "invalid_grant");
    for (path, code, error) in [
        (REFRESH, "token_invalid", "invalid_grant"),
        (TRADE, "token_invalid", "invalid_grant"),
        (INTROSPECT, "invalid_credentials", "invalid_client"),
    ] {
        let (_, _, fields) = OPERATIONS.into_iter().find(|(known, ..)| *known == path).unwrap();
        says(&app.post(path).form(fields).await, 401, code, error);
    }
}

#[tokio::test]
async fn another_grant_than_the_operation_is_for_is_not_supported() {
    let app = TestApp::new().await;
    for (path, _, fields) in &OPERATIONS[..3] {
        let form = [*fields, &[("grant_type", "client_credentials")]].concat();
        let reply = app.post(path).form(&form).await;
        reply.invalid(&["grant_type"]);
        says(&reply, 422, "validation_failed", "unsupported_grant_type");
    }
}

#[tokio::test]
async fn what_is_switched_off_or_asked_for_by_another_site_is_denied() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.user("ann").await;
    for (path, _, fields) in [OPERATIONS[0], OPERATIONS[2]] {
        let reply = app.post(path).header("sec-fetch-site", "cross-site").form(fields).await;
        says(&reply, 403, "forbidden", "access_denied");
    }
    // Revoking can't be switched off.
    for (path, flag, fields) in OPERATIONS.into_iter().filter(|(path, ..)| *path != REVOKE) {
        let set = |value: Value| admin.patch("/api/admin/feature-flags").json(&json!({"add": {flag: value}}));
        set(json!(false)).await.is(200);
        says(&app.post(path).form(fields).await, 403, "feature_disabled", "access_denied");
        if path != LOGIN {
            set(json!([{"userRoles": ["tester"]}])).await.is(200);
            says(&app.post(path).form(fields).await, 401, "token_invalid", "invalid_request");
        }
        set(json!(true)).await.is(200);
    }
}

#[tokio::test]
async fn who_has_asked_too_often_is_told_that_it_passes() {
    let app = TestApp::with(&[
        ("RATE_LIMITER_ENABLED", "True"),
        ("RATE_LIMITER_MAX_REQUESTS", "1"),
        ("RATE_LIMITER_WINDOW_SECONDS", "3600"),
    ])
    .await;
    app.get("/version").await.is(200);
    for (path, _, fields) in OPERATIONS {
        for path in [path.to_owned(), format!("{path}/"), format!("{path}?x=1")] {
            let reply = app.post(&path).form(fields).await;
            says(&reply, 429, "rate_limited", "temporarily_unavailable");
        }
    }
}

#[tokio::test]
async fn who_has_guessed_too_often_is_told_that_it_passes() {
    let app = TestApp::with(&[("ENVIRONMENT", "production"), ("THROTTLE_LOGIN", "3/15m")]).await;
    let service = || app.post(INTROSPECT).basic("shop", "wrong").form(&[("token", "x")]);
    for name in ["nobody_1", "nobody_2", "nobody_3"] {
        let refused = service().await;
        says(&refused, 401, "invalid_credentials", "invalid_client");
        let challenge = "Basic realm=\"services\", charset=\"UTF-8\", Bearer";
        assert_eq!(refused.header("www-authenticate"), Some(challenge));
        app.try_sign_in(name, PASSWORD).await.refused(401, "invalid_credentials");
    }
    says(&service().await, 429, "rate_limited", "temporarily_unavailable");
    let guessed = app.try_sign_in("nobody_4", PASSWORD).await;
    says(&guessed, 429, "rate_limited", "temporarily_unavailable");
}

#[tokio::test]
async fn the_reason_of_a_ban_is_told_as_a_grant_that_does_not_count() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (name, reason, description) in
        [("spammer", "Spam", "Spam"), ("rowdy", "Zu laut: \"so\" geht’s nicht", "Forbidden")]
    {
        let person = app.user(name).await;
        let ban = format!("/api/admin/ban/{}", person.id);
        admin.post(&ban).json(&json!({"reason": reason})).await.is(200);
        let problem = app.try_sign_in(name, PASSWORD).await.refused(403, "user_inactive").json();
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
        assert_eq!(problem["error"], "invalid_grant");
        assert!(problem["error_description"].as_str().unwrap().contains(description), "{problem}");
    }
}

#[tokio::test]
async fn the_demand_for_a_second_factor_keeps_its_own_word_alone() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    ann.enrol(&app).await;
    let reply = app.try_sign_in("ann", PASSWORD).await;
    Demand::of(&reply);
    let problem = reply.refused(401, "otp_required").json();
    assert_eq!(problem["error"], "OTP-REQUIRED");
    assert!(problem.get("error_description").is_none(), "{problem}");
}

#[tokio::test]
async fn other_operations_are_refused_in_our_words_alone() {
    let app = TestApp::new().await;
    for path in ["/api/auth/OTP", "/api/auth/register", "/api/auth/forgot-password/request"] {
        for ask in [app.post(path).body("application/json", "{"), app.post(path).body("text/plain", "x")] {
            let reply = ask.await;
            assert!(matches!(reply.status(), 400 | 415), "{reply:?}");
            assert!(reply.json().get("error").is_none(), "{reply:?}");
        }
    }
    // Neither is another method of the same path one of them.
    for (path, ..) in OPERATIONS {
        let reply = app.ask("PUT", path).await;
        assert!(reply.refused(405, "method_not_allowed").json().get("error").is_none(), "{reply:?}");
    }
}
