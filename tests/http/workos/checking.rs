//! `gatehouse workos-check`, and what readiness says.

use std::time::Duration;

use serde_json::json;

use super::fake::Fake;
use super::{by_email, following, settle};

#[tokio::test]
async fn every_difference_is_a_line() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let names = ["ann_smith", "bob_jones", "carl_page", "dora_hill", "eve_stone"];
    let ids: Vec<String> = names.iter().map(|name| fake.add(name)).collect();
    settle(&app).await;
    assert!(app.inside.workos.drift().await.unwrap().unwrap().found.is_empty());

    // Behind everybody's back: no event tells of any of it.
    let bob = by_email(&app, "bob_jones@example.com").await.unwrap();
    let carl = by_email(&app, "carl_page@example.com").await.unwrap();
    let admin = app.admin().await;
    let path = |user: &serde_json::Value| format!("/api/user/{}", user["uuid"].as_str().unwrap());
    admin.delete(&path(&bob)).await.is(200);
    admin.delete(&format!("{}?purge=true", path(&carl))).await.is(200);
    {
        let mut ledger = fake.ledger();
        ledger.users[3]["last_name"] = json!("Hill");
        ledger.users[0]["email"] = json!("ann@example.org");
        ledger.users.remove(4);
        let mut new = ledger.users[0].clone();
        new["id"] = json!("user_new");
        ledger.users.push(new);
    }
    let drift = app.inside.workos.drift().await.unwrap().unwrap();
    let mut lines: Vec<String> = drift.found.iter().map(ToString::to_string).collect();
    lines.sort();
    let starts = [
        ("deleted here", &*ids[1]),
        ("differs", &*ids[0]),
        ("differs", &*ids[3]),
        ("missing here", "user_new"),
        ("missing there", &*ids[4]),
        ("purged here", &*ids[2]),
    ];
    assert_eq!(lines.len(), starts.len(), "{lines:?}");
    for (line, (start, id)) in lines.iter().zip(starts) {
        assert!(line.starts_with(start) && line.contains(id), "{line}: {start} {id}");
    }
    // Comparing changes nothing, and who was deleted here is not brought back by a change there.
    fake.change(&ids[1], json!({"first_name": "Bob"}));
    fake.change(&ids[2], json!({"first_name": "Carl"}));
    settle(&app).await;
    assert!(by_email(&app, "bob_jones@example.com").await.is_none());
    assert!(by_email(&app, "carl_page@example.com").await.is_none());
}

#[tokio::test]
async fn readiness_and_check_say_how_it_stands() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let admin = app.admin().await;
    let said = async || admin.get("/health/ready").await.is(200).json()["parts"]["workos"].clone();
    assert_eq!(said().await, "degraded: the directory was never read to its end");
    settle(&app).await;
    assert_eq!(said().await, "ok");
    assert!(app.inside.workos.check().await.unwrap().contains("client client_fake"));
    app.clock.advance(Duration::from_mins(2));
    assert_eq!(said().await, "degraded: nobody follows the directory");
    settle(&app).await;
    assert_eq!(said().await, "ok");
}

#[tokio::test]
async fn the_last_admin_loses_the_sessions_and_keeps_the_account() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let root = app.admin().await;
    let new = json!({"username": "ann_smith", "email": "ann@example.com", "password": crate::harness::PASSWORD,
                     "roles": ["admin"]});
    root.post("/api/user/").json(&new).await.is(201);
    root.delete(&root.path()).await.is(200);
    let ann = app.sign_in("ann_smith").await;
    settle(&app).await;
    let id = fake.ledger().users[0]["id"].as_str().unwrap().to_owned();
    fake.remove(&id);
    settle(&app).await;
    ann.get("/api/user/me").await.is(401);
    app.sign_in("ann_smith").await.get("/api/user/me").await.is(200);
    let drift = app.inside.workos.drift().await.unwrap().unwrap();
    assert_eq!(drift.found.len(), 2, "{:?}", drift.found);
}
