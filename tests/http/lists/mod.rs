//! Lists of users: `GET /user/`, `/user/users`, `/user/count`, and paging as every list has it.

mod finding;
mod paging;

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Reply, TestApp};

const USERS: &str = "/api/user/";

/// Makes an account of this name and these fields, a millisecond after the last.
async fn make(app: &TestApp, admin: &Actor, name: &str, fields: &Value) -> Uuid {
    app.clock.advance(Duration::from_millis(1));
    let mut new = json!({"username": name});
    new.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let user = admin.post(USERS).json(&new).await.is(201).json();
    user["uuid"].as_str().unwrap().parse().unwrap()
}

async fn make_many(app: &TestApp, admin: &Actor, prefix: &str, count: usize) {
    for number in 0..count {
        make(app, admin, &format!("{prefix}{number:03}"), &json!({})).await;
    }
}

fn names(reply: &Reply) -> Vec<String> {
    let rows = reply.is(200).json();
    rows.as_array().unwrap().iter().map(|row| row["username"].as_str().unwrap().to_owned()).collect()
}

fn total(reply: &Reply) -> u64 {
    reply.header("x-total-count").expect("X-Total-Count").parse().unwrap()
}
