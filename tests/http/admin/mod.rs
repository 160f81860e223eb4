//! The admin's tools: bans, other people's sessions, the log of what staff did, how things stand.

mod bans;
mod command;
mod log;
mod sessions;
mod stats;
mod tampering;

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::{Value, json};

use crate::harness::{Actor, Reply, TestApp};

/// What banning somebody for this reason answers.
async fn ban(by: &Actor, whom: &Actor, reason: &str) -> Reply {
    by.post(&format!("/api/admin/ban/{}", whom.id)).json(&json!({"reason": reason})).await
}

/// What lifting the ban of somebody answers.
async fn unban(by: &Actor, whom: &Actor, reason: &str) -> Reply {
    by.post(&format!("/api/admin/unban/{}", whom.id)).json(&json!({"reason": reason})).await
}

/// The log of what staff did, the oldest first, as an admin reads it.
async fn log(admin: &Actor, query: &str) -> Vec<Value> {
    let reply = admin.get(&format!("/api/admin/audit?order=asc&limit=1000&{query}")).await;
    reply.is(200).json().as_array().unwrap().clone()
}

/// The actions of these entries.
fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

/// Runs SQL of the test's own.
async fn run(app: &TestApp, sql: &str) {
    let sql = sql.to_owned();
    let act = app.inside.db.write::<_, DbErr, _>(move |tx| {
        Box::pin(async move { tx.execute_unprepared(&sql).await.map(|_| ()) })
    });
    act.await.unwrap();
}
