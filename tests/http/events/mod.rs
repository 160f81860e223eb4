//! What other systems are told.

mod feed;
mod journey;
mod keeping;
mod sequence;
mod sessions;

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, TestApp};

/// The events of one account, as the feed shows them to an admin.
async fn events_of(app: &TestApp, admin: &Actor, user: Uuid) -> Vec<Value> {
    app.inside.events.place().await.unwrap();
    part(admin, &format!("user_id={user}&limit=1000")).await
}

/// Whether events get their positions only afterwards, as on PostgreSQL.
fn places_later(app: &TestApp) -> bool {
    app.inside.db.backend() == sea_orm::DbBackend::Postgres
}

/// What the feed answers to this query.
async fn part(admin: &Actor, query: &str) -> Vec<Value> {
    admin.get(&format!("/api/admin/events?{query}")).await.is(200).json().as_array().unwrap().clone()
}

/// Type and data of each.
fn told(events: &[Value]) -> Vec<(String, Value)> {
    let pair = |event: &Value| (event["event_type"].as_str().unwrap().to_owned(), event["data"].clone());
    events.iter().map(pair).collect()
}

/// The types alone.
fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_type"].as_str().unwrap()).collect()
}

/// What a session's event says.
fn session(actor: &Actor, more: &Value) -> Value {
    let mut data = json!({"session_id": actor.session(), "method": "pwd"});
    for (name, value) in more.as_object().unwrap() {
        data[name] = value.clone();
    }
    data
}

/// Runs SQL of the test's own.
async fn run(app: &TestApp, sql: &str) {
    let sql = sql.to_owned();
    let act = app.inside.db.write::<_, DbErr, _>(move |tx| {
        Box::pin(async move { tx.execute_unprepared(&sql).await.map(|_| ()) })
    });
    act.await.unwrap();
}

/// What somebody changes of themselves who changes nothing much.
async fn describe(actor: &Actor, text: &str) {
    actor.patch(&actor.path()).json(&json!({"description": text})).await.is(200);
}
