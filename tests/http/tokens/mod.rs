//! Access and refresh tokens: `/auth/token/…`, `/auth/logout`, the key set.

mod access;
mod ending;
mod errors;
mod refreshing;

use std::time::Duration;

use serde_json::json;

use crate::harness::{Actor, Reply, TestApp};

const REFRESH: &str = "/api/auth/token/refresh";
const VALIDATE: &str = "/api/auth/token/validate";
const DAY: Duration = Duration::from_hours(24);

async fn refresh(app: &TestApp, token: &str) -> Reply {
    app.post(REFRESH).json(&json!({"refresh_token": token})).await
}

/// The token trades for new ones; the new refresh token.
async fn refreshed(app: &TestApp, token: &str) -> String {
    refresh(app, token).await.is(200).json()["refresh_token"].as_str().unwrap().to_owned()
}

async fn is_signed_in(actor: &Actor) -> bool {
    let reply = actor.get(VALIDATE).await;
    if reply.status() == 200 {
        return true;
    }
    assert!(reply.is(401).header("www-authenticate").unwrap().contains("invalid_token"), "{reply:?}");
    false
}
