//! Signing out, revoking, introspecting, and what ends a token from outside.

use std::time::Duration;

use gatehouse::platform::config::hash_of_secret;
use serde_json::json;

use super::{VALIDATE, is_signed_in, refresh, refreshed};
use crate::harness::{Actor, Reply, TestApp, claims};

const INTROSPECT: &str = "/api/auth/token/introspect";
const REVOKE: &str = "/api/auth/token/revoke";
const LOGOUT: &str = "/api/auth/logout";

#[tokio::test]
async fn signing_out_ends_the_session_at_once() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let elsewhere = app.sign_in("ann").await;
    assert_eq!(ann.post(LOGOUT).await.is(200).text(), "ann | Logged out");
    assert!(!is_signed_in(&ann).await);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    assert!(is_signed_in(&elsewhere).await);
    assert_eq!(ann.post(LOGOUT).await.is(200).text(), "ann | Logged out", "again");
    app.post(LOGOUT).await.refused(401, "token_invalid");
    app.with_bearer("x").post(LOGOUT).await.refused(401, "token_invalid");
    ann.get(LOGOUT).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn signing_out_works_with_a_token_whose_time_is_over() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_hours(2));
    ann.post(LOGOUT).await.is(200);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_session_ended_here_ends_everywhere_within_a_second() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    let there = ann.at(&other);
    assert!(is_signed_in(&there).await);
    ann.post(LOGOUT).await.is(200);
    crate::harness::eventually(|| there.get(VALIDATE), |reply: &Reply| reply.status() == 401).await;
}

#[tokio::test]
async fn who_has_a_token_may_revoke_it() {
    let app = TestApp::new().await;
    let [by_access, by_refresh, other] =
        [app.user("ann").await, app.sign_in("ann").await, app.sign_in("ann").await];
    app.post(REVOKE).json(&json!({"token": by_access.access})).await.is(200);
    app.post(REVOKE)
        .form(&[("token", &by_refresh.refresh), ("token_type_hint", "access_token")])
        .await
        .is(200);
    for ended in [&by_access, &by_refresh] {
        assert!(!is_signed_in(ended).await);
        refresh(&app, &ended.refresh).await.refused(401, "token_invalid");
    }
    assert!(is_signed_in(&other).await);
}

#[tokio::test]
async fn revoking_what_is_nothing_is_done_at_once() {
    let app = TestApp::new().await;
    for token in ["", "x", "a.b.c", &"x".repeat(5000)] {
        app.post(REVOKE).json(&json!({"token": token})).await.is(200);
    }
    app.post(REVOKE).json(&json!({})).await.invalid(&["token"]);
}

#[tokio::test]
async fn a_service_is_told_what_a_token_stands_for() {
    let secret = "a secret of the billing service, 32 or more";
    let app =
        TestApp::with(&[("SERVICE_CLIENTS", &format!("billing:{}", hash_of_secret(secret.as_bytes())))])
            .await;
    let ann = app.user("ann").await;
    let ask = |token: &str| app.post(INTROSPECT).basic("billing", secret).form(&[("token", token)]);
    let reply = ask(&ann.access).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let told = reply.is(200).json();
    assert_eq!(told["active"], true);
    let said = claims(&ann.access);
    for name in ["sub", "sid", "iss", "aud", "exp", "iat", "client_id"] {
        assert_eq!(told[name], said[name], "{name}");
    }
    assert_eq!((&told["username"], &told["token_type"]), (&json!("ann"), &json!("Bearer")));
    let told = ask(&ann.refresh).await.is(200).json();
    assert_eq!((&told["active"], &told["sub"]), (&json!(true), &json!(ann.id.to_string())));
    assert_eq!(told.get("token_type"), None, "nothing is asked for with it: {told}");
}

#[tokio::test]
async fn of_a_token_that_does_not_count_nothing_else_is_told() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let [ended, expired] = [app.user("ann").await, app.sign_in("ann").await];
    ended.post(LOGOUT).await.is(200);
    let banned = app.banned().await;
    let nothing = json!({"active": false});
    let ask = |admin: &Actor, token: &str| admin.post(INTROSPECT).json(&json!({"token": token}));
    for token in [&ended.access, &ended.refresh, &banned.access, &banned.refresh] {
        assert_eq!(ask(&admin, token).await.is(200).json(), nothing);
    }
    for token in ["", "x", "a.b.c"] {
        assert_eq!(ask(&admin, token).await.is(200).json(), nothing);
    }
    app.clock.advance(Duration::from_mins(32));
    let admin = app.admin().await;
    assert_eq!(ask(&admin, &expired.access).await.is(200).json(), nothing);
    assert_eq!(ask(&admin, &expired.refresh).await.is(200).json()["active"], true);
}

#[tokio::test]
async fn a_spent_refresh_token_does_not_count() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    refreshed(&app, &ann.refresh).await;
    app.clock.advance(Duration::from_secs(11));
    let told = admin.post(INTROSPECT).json(&json!({"token": ann.refresh})).await.is(200).json();
    assert_eq!(told, json!({"active": false}));
}

#[tokio::test]
async fn only_known_services_and_admins_introspect() {
    let secret = "a secret of the billing service, 32 or more";
    let app =
        TestApp::with(&[("SERVICE_CLIENTS", &format!("billing:{}", hash_of_secret(secret.as_bytes())))])
            .await;
    let ann = app.user("ann").await;
    let body = json!({"token": ann.access});
    app.admin().await.post(INTROSPECT).json(&body).await.is(200);
    for nobody in [&*app, &*ann, &*app.moderator().await, &*app.tester().await] {
        nobody.post(INTROSPECT).json(&body).await.refused(401, "invalid_credentials");
    }
    for (name, wrong) in [("billing", "wrong"), ("billing", ""), ("other", secret), ("", secret)] {
        app.post(INTROSPECT).basic(name, wrong).json(&body).await.refused(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_told_to_those_who_may_ask_it() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    for (media_type, body, status, code) in [
        ("application/json", "{", 400, "bad_request"),
        ("text/plain", "x", 415, "unsupported_media_type"),
        ("application/json", "{}", 422, "validation_failed"),
        ("application/json", r#"{"token":"x","more":1}"#, 422, "validation_failed"),
    ] {
        for nobody in [&*app, &*ann] {
            nobody.post(INTROSPECT).body(media_type, body).await.refused(401, "invalid_credentials");
        }
        let wrong = app.post(INTROSPECT).basic("billing", "wrong").body(media_type, body).await;
        wrong.refused(401, "invalid_credentials");
        admin.post(INTROSPECT).body(media_type, body).await.refused(status, code);
    }
}

#[tokio::test]
async fn wrong_secrets_of_services_are_counted_by_client() {
    let secret = "a secret of the billing service, 32 or more";
    let app = TestApp::with(&[
        ("SERVICE_CLIENTS", &format!("billing:{}", hash_of_secret(secret.as_bytes()))),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
        ("THROTTLE_LOGIN", "3/15m"),
    ])
    .await;
    let ann = app.user("ann").await;
    let ask = |from: &str, secret: &str| {
        let ask = app.post(INTROSPECT).basic("billing", secret).form(&[("token", &ann.access)]);
        ask.header("x-forwarded-for", from)
    };
    let (here, elsewhere) = ("198.51.100.7", "198.51.100.8");
    for _ in 0..10 {
        ask(here, secret).await.is(200);
    }
    for _ in 0..3 {
        ask(here, "wrong").await.refused(401, "invalid_credentials");
    }
    ask(here, "wrong").await.refused(429, "rate_limited");
    ask(here, secret).await.refused(429, "rate_limited");
    ask(elsewhere, secret).await.is(200);
    app.clock.advance(Duration::from_mins(15));
    ask(here, secret).await.is(200);
}

#[tokio::test]
async fn another_role_counts_from_the_next_request_on() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    admin.patch(&ann.path()).json(&json!({"roles": ["user", "moderator"]})).await.is(200);
    assert!(!is_signed_in(&ann).await, "the old token is dead");
    let again = Actor::with_tokens(&app, "ann", &refresh(&app, &ann.refresh).await.is(200).json());
    assert_eq!(claims(&again.access)["roles"], json!(["moderator", "user"]));
    again.get("/api/user/").await.is(200);
}

#[tokio::test]
async fn whoever_is_switched_off_or_deleted_is_out_at_once_and_stays_out() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ann = app.user("ann").await;
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    assert!(!is_signed_in(&ann).await);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    admin.patch(&ann.path()).json(&json!({"is_active": true})).await.is(200);
    assert!(!is_signed_in(&ann).await, "switching on brings no session back");
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");

    let ann = app.sign_in("ann").await;
    admin.delete(&ann.path()).await.is(200);
    assert!(!is_signed_in(&ann).await);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    admin.post(&format!("{}/restore", ann.path())).await.is(200);
    assert!(!is_signed_in(&ann).await);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn tokens_of_another_server_are_nothing_here() {
    let other = "another master secret, 9vX2mT4kLbW8zR1nYcJ7hD3g";
    let (app, elsewhere) = (TestApp::new().await, TestApp::with(&[("JWT_SECRET_KEY", other)]).await);
    let ann = elsewhere.user("ann").await;
    app.user("ann").await;
    app.with_bearer(&ann.access).get(VALIDATE).await.refused(401, "token_invalid");
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
}
