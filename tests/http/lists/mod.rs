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

/// Follows `next` to the end of a list, `prev` to its beginning and `next` once more: the parts, which must be the same
/// each time.
pub async fn there_and_back(who: &Actor, first: &str) -> Vec<Vec<Value>> {
    let mut parts: Vec<Value> = Vec::new();
    let mut here = who.get(first).await;
    assert_eq!(here.is(200).link("prev"), None, "before the first: {here:?}");
    loop {
        parts.push(here.is(200).json());
        assert!(parts.len() < 100, "no end");
        let Some(next) = here.link("next") else { break };
        here = who.get(&next).await;
    }
    for part in parts.iter().rev().skip(1) {
        here = who.get(&here.link("prev").unwrap_or_else(|| panic!("no way back: {here:?}"))).await;
        assert_eq!(here.is(200).json(), *part);
    }
    assert_eq!(here.link("prev"), None, "before the first: {here:?}");
    for part in parts.iter().skip(1) {
        here = who.get(&here.link("next").unwrap_or_else(|| panic!("no way on: {here:?}"))).await;
        assert_eq!(here.is(200).json(), *part);
    }
    assert_eq!(here.link("next"), None, "behind the last: {here:?}");
    parts.iter().map(|part| part.as_array().expect("an array").clone()).collect()
}

fn total(reply: &Reply) -> u64 {
    reply.header("x-total-count").expect("X-Total-Count").parse().unwrap()
}
