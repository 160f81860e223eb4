//! Signs of life that need no database: for load balancers and people.

use poem::web::Json;
use poem::{Route, get, handler};
use serde_json::{Value, json};

/// `/ping`, `/version`, `/healthcheck` and `/health/live` on this route.
#[must_use]
pub fn on(route: Route) -> Route {
    route
        .at("/ping", get(ping))
        .at("/version", get(version))
        .at("/healthcheck", get(healthcheck))
        .at("/health/live", get(healthcheck))
}

#[handler]
fn ping() -> &'static str {
    "pong"
}

#[handler]
fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

#[handler]
fn healthcheck() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}
