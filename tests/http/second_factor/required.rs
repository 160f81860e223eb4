//! Roles that need a second factor (`OTP_REQUIRED_ROLES`).

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::acts::Acts;
use crate::attacks::operations;
use crate::harness::{Actor, TestApp};

/// What somebody can do who lacks the second factor that their role needs.
const OPEN: [&str; 10] = [
    "GET /api/auth/token/validate",
    "GET /api/auth/sessions",
    "DELETE /api/auth/sessions",
    "DELETE /api/auth/sessions/{id}",
    "GET /api/auth/csrf",
    "PATCH /api/auth/password/reset",
    "POST /api/auth/reauthenticate",
    "GET /api/user/me",
    "POST /api/auth/logout",
    "POST /api/oauth/{provider}/reauthenticate",
];

/// The operations that are refused to them for want of it.
async fn refused(app: &TestApp, actor: &Actor) -> BTreeSet<String> {
    let mut refused = BTreeSet::new();
    for operation in operations(app).iter().filter(|operation| !operation.is_open) {
        let reply = operation.ask(actor, Uuid::nil()).await;
        if reply.status() == 403 && reply.json()["code"] == "second_factor_required" {
            reply.refused(403, "second_factor_required");
            refused.insert(format!("{} {}", operation.method, operation.path));
        }
    }
    refused
}

#[tokio::test]
async fn who_lacks_it_can_set_it_up_and_nothing_else() {
    let app = TestApp::with(&[("OTP_REQUIRED_ROLES", "tester, admin=2030-01-01")]).await;
    let tester = app.tester().await;
    let missing = refused(&app, &tester).await;
    let secured = operations(&app).into_iter().filter(|operation| !operation.is_open);
    for operation in secured {
        let name = format!("{} {}", operation.method, operation.path);
        let is_way_there =
            ["/api/auth/QR", "/api/auth/OTP"].iter().any(|way| operation.path.starts_with(way));
        let is_open = OPEN.contains(&&*name) || is_way_there;
        assert_eq!(missing.contains(&name), !is_open, "{name}");
    }
    let user = app.user("ann").await;
    for other in [&user, &app.moderator().await, &app.admin().await] {
        assert_eq!(refused(&app, other).await, BTreeSet::new(), "{}", other.name);
    }
}

#[tokio::test]
async fn it_counts_from_the_moment_on_in_which_it_is_set_up() {
    let app = TestApp::with(&[("OTP_REQUIRED_ROLES", "tester")]).await;
    let (acts, tester) = (Acts::of(&app), app.tester().await);
    tester.get(&tester.path()).await.refused(403, "second_factor_required");
    acts.begin(tester.id).await;
    tester.get(&tester.path()).await.refused(403, "second_factor_required");
    acts.enrol(tester.id).await;
    tester.get(&tester.path()).await.is(200);
    acts.turn_off(tester.id).await;
    tester.get(&tester.path()).await.refused(403, "second_factor_required");
}

#[tokio::test]
async fn it_holds_from_the_day_that_is_set() {
    let app = TestApp::with(&[("OTP_REQUIRED_ROLES", "user=2026-01-02")]).await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_millis(24 * 60 * 60 * 1000 - 1));
    let ann = Actor::with_tokens(
        &app,
        "ann",
        &app.post("/api/auth/token/refresh")
            .json(&json!({"refresh_token": ann.refresh}))
            .await
            .is(200)
            .json(),
    );
    ann.get(&ann.path()).await.is(200);
    app.clock.advance(Duration::from_millis(1));
    ann.get(&ann.path()).await.refused(403, "second_factor_required");
    assert_eq!(ann.me().await["username"], "ann");
}

#[tokio::test]
async fn it_is_told_of_nobody_who_is_not_signed_in_and_counts_for_documents_too() {
    let app = TestApp::with(&[("OTP_REQUIRED_ROLES", "user"), ("PUBLIC_API_DOCS", "False")]).await;
    let ann = app.user("ann").await;
    for path in ["/docs", "/openapi.json"] {
        app.get(path).await.is(401);
        ann.get(path).await.is(403);
    }
    ann.get("/interactive-docs").await.is(403);
    app.get("/api/user/").await.refused(401, "token_invalid");
}

/// Another service asks whether a token counts: one that opens nothing here opens nothing there.
#[tokio::test]
async fn a_token_without_it_does_not_count_elsewhere() {
    let hash = gatehouse::platform::config::hash_of_secret(b"billing-secret");
    let services = format!("billing:{hash}");
    let app = TestApp::with(&[("OTP_REQUIRED_ROLES", "user"), ("SERVICE_CLIENTS", &services)]).await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await);
    let active = async |token: &str| {
        let question = app.post("/api/auth/token/introspect").json(&json!({"token": token}));
        question.basic("billing", "billing-secret").await.is(200).json()["active"].as_bool()
    };
    for token in [ann.access.as_str(), ann.refresh.as_str()] {
        assert_eq!(active(token).await, Some(false));
    }
    acts.enrol(ann.id).await;
    for token in [ann.access.as_str(), ann.refresh.as_str()] {
        assert_eq!(active(token).await, Some(true));
    }
}
