//! Managing webhooks.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use super::WEBHOOKS;
use crate::harness::{PASSWORD, START, TestApp, race};

#[tokio::test]
async fn a_webhook_is_made_shown_changed_and_removed_and_tells_its_secret_once() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let new = json!({
        "url": "https://hooks.example.com:8443/in?token=x", "description": " Billing ",
        "event_types": ["user.deleted", "user.created", "user.deleted"],
    });
    let made = admin.post(WEBHOOKS).json(&new).await;
    let header = |name: &str| made.is(201).header(name).unwrap().to_owned();
    let (etag, location, made) = (header("etag"), header("location"), made.json());
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
    let id = made["webhook"]["id"].as_str().unwrap();
    let expected = json!({
        "id": id, "url": "https://hooks.example.com:8443/in?token=x", "description": "Billing",
        "event_types": ["user.created", "user.deleted"], "enabled": true, "disabled_reason": null, "disabled_at": null,
        "failing_since": null, "attempts": 0, "next_try_at": null, "previous_secret_until": null,
        "created_by": admin.id, "created_at": START.seconds(), "updated_at": START.seconds(),
    });
    assert_eq!(made["webhook"], expected);

    let path = format!("{WEBHOOKS}/{id}");
    assert_eq!(location, format!("http://localhost:8000{path}"));
    let shown = admin.get(&path).await;
    assert_eq!((shown.is(200).json(), shown.header("etag")), (expected.clone(), Some(&*etag)));
    let all = admin.get(WEBHOOKS).await;
    assert_eq!(all.is(200).json(), json!([expected]));
    assert_eq!(all.header("x-total-count"), Some("1"));

    app.clock.advance(Duration::from_secs(7));
    let change =
        json!({"url": "https://other.example.com/", "event_types": [], "description": "", "enabled": false});
    let changed = admin.patch(&path).json(&change).await.is(200).json();
    let mut expected = expected;
    for (field, value) in [
        ("url", json!("https://other.example.com/")),
        ("description", json!("")),
        ("event_types", json!([])),
        ("enabled", json!(false)),
        ("disabled_reason", json!("admin")),
        ("disabled_at", json!(START.seconds() + 7)),
        ("updated_at", json!(START.seconds() + 7)),
    ] {
        expected[field] = value;
    }
    assert_eq!(changed, expected);
    let same = admin.patch(&path).json(&json!({"url": null})).await.is(200).json();
    assert_eq!(same, expected, "null is as good as nothing");
    let on = admin.patch(&path).json(&json!({"enabled": true})).await.is(200).json();
    assert_eq!((&on["enabled"], &on["disabled_reason"]), (&json!(true), &Value::Null));

    admin.delete(&path).await.is(204);
    admin.get(&path).await.refused(404, "not_found");
    admin.delete(&path).await.refused(404, "not_found");
    assert_eq!(admin.get(WEBHOOKS).await.is(200).json(), json!([]));
}

#[tokio::test]
async fn a_new_secret_is_told_once_and_the_old_one_goes_after_a_day() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let made = admin.post(WEBHOOKS).json(&json!({"url": "https://hooks.example.com/"})).await.is(201).json();
    let path = format!("{WEBHOOKS}/{}", made["webhook"]["id"].as_str().unwrap());
    let rotated = admin.post(&format!("{path}/rotate-secret")).await.is(200).json();
    assert_ne!(rotated["secret"], made["secret"]);
    let until = json!(START.seconds() + 24 * 3600);
    assert_eq!(rotated["webhook"]["previous_secret_until"], until);
    let shown = admin.get(&path).await;
    for secret in [&made["secret"], &rotated["secret"]] {
        assert!(!shown.text().contains(&secret.as_str().unwrap()["whsec_".len()..]));
    }
    assert_eq!(shown.json()["previous_secret_until"], until);
    app.clock.advance(Duration::from_hours(24));
    app.inside.sweep().await.unwrap();
    let admin = app.admin().await;
    assert_eq!(admin.get(&path).await.is(200).json()["previous_secret_until"], Value::Null);
}

// whatever an address looks like, it leads nowhere inside.
#[tokio::test]
async fn no_webhook_leads_inside() {
    let app = TestApp::with(&[("ENVIRONMENT", "local")]).await;
    let admin = app.admin().await;
    let made = admin.post(WEBHOOKS).json(&json!({"url": "https://hooks.example.com/"})).await.is(201).json();
    let path = format!("{WEBHOOKS}/{}", made["webhook"]["id"].as_str().unwrap());
    for url in [
        "https://localhost/",
        "http://localhost:8000/",
        "https://127.0.0.1/",
        "http://127.0.0.1:5432/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://0/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://①②⑦.0.0.1/",
        "https://rabbitmq/",
        "https://me:pw@hooks.example.com/",
        "https://me@hooks.example.com/",
        "https://hooks.example.com/#part",
        "file:///etc/passwd",
        "ftp://hooks.example.com/",
        "gopher://hooks.example.com/",
        "javascript:alert(1)",
        "hooks.example.com",
        "//hooks.example.com/",
        "https://",
        "",
        &format!("https://hooks.example.com/{}", "x".repeat(2048)),
    ] {
        admin.post(WEBHOOKS).json(&json!({ "url": url })).await.invalid(&["url"]);
        admin.patch(&path).json(&json!({ "url": url })).await.invalid(&["url"]);
    }
    assert_eq!(admin.get(WEBHOOKS).await.is(200).json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn outside_of_local_a_webhook_is_https() {
    let app = TestApp::with(&[("ENVIRONMENT", "production")]).await;
    // The admin of the other tests has a name that is too short there.
    app.inside.auth.create_admin("head_porter", None, PASSWORD).await.unwrap();
    let admin = app.sign_in("head_porter").await;
    admin.post(WEBHOOKS).json(&json!({"url": "http://hooks.example.com/"})).await.invalid(&["url"]);
    admin.post(WEBHOOKS).json(&json!({"url": "https://hooks.example.com/"})).await.is(201);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let url = "https://hooks.example.com/";
    for (new, fields) in [
        (json!({}), &["url"][..]),
        (json!({"url": 1}), &["url"]),
        (
            json!({"url": "x", "description": "x\ny", "event_types": ["*"]}),
            &["description", "event_types", "url"],
        ),
        (json!({"url": url, "description": "x".repeat(257)}), &["description"]),
        (json!({"url": url, "event_types": ["user"]}), &["event_types"]),
        (json!({"url": url, "event_types": "user.created"}), &["event_types"]),
        (json!({"url": url, "event_types": vec!["user.created"; 51]}), &["event_types"]),
        (json!({"url": url, "secret": "whsec_mine"}), &["secret"]),
        (json!({"url": url, "enabled": "yes"}), &["enabled"]),
    ] {
        admin.post(WEBHOOKS).json(&new).await.invalid(fields);
    }
    let path = format!("{WEBHOOKS}/not-an-id");
    admin.get(&path).await.refused(404, "not_found");
    admin.patch(&path).json(&json!({})).await.refused(404, "not_found");
    admin.post(&format!("{path}/test")).await.refused(404, "not_found");
    let made = admin.post(WEBHOOKS).json(&json!({ "url": url })).await.is(201).json();
    let path = format!("{WEBHOOKS}/{}", made["webhook"]["id"].as_str().unwrap());
    for bad in ["limit=0", "limit=1001", "cursor=x"] {
        let field = bad.split_once('=').unwrap().0;
        admin.get(&format!("{path}/deliveries?{bad}")).await.invalid(&[field]);
    }
    let replay = json!({"after": Uuid::new_v4()});
    admin.post(&format!("{path}/replay")).json(&replay).await.refused(404, "event_not_found");
}

#[tokio::test]
async fn only_the_version_that_was_read_is_changed_if_that_is_asked_for() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let made = admin.post(WEBHOOKS).json(&json!({"url": "https://hooks.example.com/"})).await;
    let first = made.is(201).header("etag").unwrap().to_owned();
    let path = format!("{WEBHOOKS}/{}", made.json()["webhook"]["id"].as_str().unwrap());
    let change = |tag: &str| admin.patch(&path).header("if-match", tag).json(&json!({"description": "x"}));
    let second = change(&first).await.is(200).header("etag").unwrap().to_owned();
    change(&first).await.refused(412, "precondition_failed");
    change(&format!("{first},\"99\"")).await.refused(412, "precondition_failed");
    change(&format!("{first}, {second}")).await.is(200);
    let third = change("*").await.is(200).header("etag").unwrap().to_owned();
    let rotate = |tag: &str| admin.post(&format!("{path}/rotate-secret")).header("if-match", tag);
    rotate(&second).await.refused(412, "precondition_failed");
    let fourth = rotate(&third).await.is(200).header("etag").unwrap().to_owned();
    let remove = |tag: &str| admin.delete(&path).header("if-match", tag);
    remove(&third).await.refused(412, "precondition_failed");
    remove(&fourth).await.is(204);
    remove(&fourth).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_change_needs_a_fresh_proof_of_who_one_is() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let new = json!({"url": "https://hooks.example.com/"});
    let made = admin.post(WEBHOOKS).json(&new).await.is(201).json();
    let path = format!("{WEBHOOKS}/{}", made["webhook"]["id"].as_str().unwrap());
    app.clock.advance(Duration::from_mins(11));
    let replay = json!({"after": Uuid::new_v4()});
    for ask in [
        admin.post(WEBHOOKS).json(&new),
        admin.patch(&path).json(&json!({"url": "https://evil.example.com/"})),
        admin.delete(&path),
        admin.post(&format!("{path}/rotate-secret")),
        admin.post(&format!("{path}/replay")).json(&replay),
    ] {
        ask.await.refused(401, "reauthentication_required");
    }
    let shown = admin.get(WEBHOOKS).await.is(200).json();
    assert_eq!(shown, json!([made["webhook"]]), "reading needs none, and nothing has changed");
    admin.post("/api/auth/reauthenticate").json(&json!({"password": PASSWORD})).await.is(200);
    admin.delete(&path).await.is(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn there_are_fifty_at_most_also_when_they_are_made_at_the_same_moment() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let new = json!({"url": "https://hooks.example.com/"});
    for _ in 0..46 {
        admin.post(WEBHOOKS).json(&new).await.is(201);
    }
    let replies = race(10, |_| admin.post(WEBHOOKS).json(&new)).await;
    let made = replies.iter().filter(|reply| reply.status() == 201).count();
    for refused in replies.iter().filter(|reply| reply.status() != 201) {
        refused.refused(409, "too_many_webhooks");
    }
    assert_eq!(made, 4);
    assert_eq!(admin.get(WEBHOOKS).await.is(200).json().as_array().unwrap().len(), 50);
}
