//! Where webhooks may not lead, and what nobody is told.

use serde_json::json;

use super::{BANNED, Receiver, WEBHOOKS, happens, hook};
use crate::canary::Running;
use crate::harness::{Actor, TestApp, eventually};

#[tokio::test]
async fn what_was_allowed_once_is_not_followed_when_it_no_longer_is() {
    let open = TestApp::with(&[("WEBHOOK_ALLOW_PRIVATE", "True")]).await;
    let (admin, receiver) = (open.admin().await, Receiver::start().await);
    let hook = hook(&admin, &receiver.url("/in")).await;
    let closed = open.restarted_with(&[("WEBHOOK_ALLOW_PRIVATE", "False")]).await;
    let admin = admin.at(&closed);
    let told = admin.post(&format!("{}/test", hook.path)).await.is(200).json();
    assert_eq!((&told["delivered"], &told["error"]), (&json!(false), &json!("not_public")));
    closed.inside.start_background();
    happens(&closed, BANNED).await;
    let shown = || async { admin.get(&hook.path).await.is(200).json() };
    eventually(shown, |shown| shown["attempts"] == 1).await;
    let log = admin.get(&format!("{}/deliveries", hook.path)).await.is(200).json();
    assert_eq!(log["deliveries"][0]["error"], "not_public");
    assert!(receiver.got("/in").is_empty());
}

#[tokio::test]
async fn neither_secrets_nor_addresses_are_logged() {
    let settings = [("WEBHOOK_ALLOW_PRIVATE", "True")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let running = Running::start(&settings).await;
    let login = json!({"username": "boss", "password": "canary-Admin 12 harpsichord"});
    let tokens = running.client().post("/api/auth/login").json(&login).await.is(200).json();
    let admin = Actor::with_tokens(running.client(), "boss", &tokens);
    let receiver = Receiver::start().await;
    let new = json!({"url": receiver.url("/in?token=canary-token-in-an-address")});
    let made = admin.post(WEBHOOKS).json(&new).await.is(201).json();
    let path = format!("{WEBHOOKS}/{}", made["webhook"]["id"].as_str().unwrap());
    let rotated = admin.post(&format!("{path}/rotate-secret")).await.is(200).json();
    admin.post(&format!("{path}/test")).await.is(200);
    receiver.answers("/in", super::Manner::Reset);
    admin.post(&format!("{path}/test")).await.is(200);
    // A connection that was kept open and broke before an answer is opened once more.
    assert!(receiver.got("/in").len() >= 2);
    // An event of the sign-in may have come before there was a second secret.
    let secrets = [&rotated, &made].map(|answer| answer["secret"].as_str().unwrap());
    assert!(receiver.got("/in").iter().any(|delivery| delivery.is_signed_by(&secrets)));
    let log = running.stop();
    assert!(log.contains("WEBHOOK_ALLOW_PRIVATE is on"), "it is warned of");
    for secret in [&made["secret"], &rotated["secret"]] {
        assert!(!log.contains(&secret.as_str().unwrap()["whsec_".len()..]));
    }
    assert!(!log.contains("canary-token-in-an-address"));
}
