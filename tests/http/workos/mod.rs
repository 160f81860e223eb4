//! The directory at WorkOS: followed, and whatever goes wrong with it.

mod again;
mod checking;
mod creating;
mod fake;
mod faults;
mod following;
mod intents;
mod webhook;

use gatehouse::workos::Reached;
use serde_json::Value;

use crate::harness::TestApp;
use fake::Fake;

/// For tests in which WorkOS says nothing: it is not waited for longer than that.
const IMPATIENT: (&str, &str) = ("WORKOS_REQUEST_TIMEOUT_SECONDS", "1");

/// The program with its directory at this server. Nothing is followed yet.
async fn following(fake: &Fake, more: &[(&str, &str)]) -> TestApp {
    let settings = fake.settings();
    let mut pairs: Vec<(&str, &str)> = settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    for (name, text) in more {
        pairs.retain(|(present, _)| present != name);
        pairs.push((name, text));
    }
    let app = TestApp::with(&pairs).await;
    fake.follow(&app.clock);
    app
}

/// Follows until everything that there is was had. What goes wrong on the way is tried again, ten times.
async fn settle(app: &TestApp) {
    for _ in 0..10 {
        if app.inside.workos.catch_up().await.is_ok_and(|reached| reached == Reached::Everything) {
            return;
        }
    }
    panic!("it never came to an end: {:?}", app.inside.workos.standing().await);
}

/// Everybody here but who was made by the tests: address, first and last name.
async fn people(app: &TestApp) -> Vec<(String, Value, Value)> {
    let admin = app.admin().await;
    let mut people = Vec::new();
    loop {
        let path = format!("/api/user?limit=100&offset={}", people.len());
        let page = admin.get(&path).await.is(200).json();
        let page = page.as_array().unwrap().clone();
        if page.is_empty() {
            break;
        }
        people.extend(page);
    }
    let of = |user: &Value| {
        (
            user["email"].as_str().unwrap_or_default().to_owned(),
            user["first_name"].clone(),
            user["last_name"].clone(),
        )
    };
    let mut people: Vec<_> = people.iter().filter(|user| user["username"] != "root").map(of).collect();
    people.sort_by(|one, other| one.0.cmp(&other.0));
    people
}

/// Here is as there, by our own comparison and by looking.
async fn assert_converged(app: &TestApp, fake: &Fake) {
    assert_eq!(people(app).await, fake.truth());
    let drift = app.inside.workos.drift().await.unwrap().unwrap();
    assert!(drift.found.is_empty(), "{:?}", drift.found);
    assert_eq!(drift.there, fake.truth().len() as u64);
}

/// Whoever has this address here.
async fn by_email(app: &TestApp, email: &str) -> Option<Value> {
    let reply = app.admin().await.get(&format!("/api/user?q={email}")).await.is(200).json();
    reply.as_array().unwrap().iter().find(|user| user["email"] == email).cloned()
}
