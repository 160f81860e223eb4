//! The webhook: a knock that only who knows the secret can make.

use std::fmt::Write;
use std::time::Duration;

use aws_lc_rs::hmac;
use gatehouse::platform::clock::Timestamp;
use serde_json::json;

use super::fake::{Fake, SECRET};
use super::{by_email, following};
use crate::harness::{Reply, TestApp};

const PATH: &str = "/api/workos/webhook";

fn signed(secret: &str, at: Timestamp, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{}.{body}", at.millis()).as_bytes());
    let mut signature = format!("t={}, v1=", at.millis());
    for byte in tag.as_ref() {
        write!(signature, "{byte:02x}").unwrap();
    }
    signature
}

async fn knock(app: &TestApp, signature: &str, body: &str) -> Reply {
    app.post(PATH).header("workos-signature", signature).body("application/json", body.to_owned()).await
}

#[tokio::test]
async fn only_who_knows_the_secret_and_knocks_now_is_heard() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let (now, body) = (app.clock.now(), r#"{"id":"event_01","event":"user.created"}"#);
    let good = signed(SECRET, now, body);
    assert_eq!(knock(&app, &good, body).await.is(200).json(), json!({"received": true}));
    // Twice is once, and what the body says is not even read.
    knock(&app, &good, body).await.is(200);
    knock(&app, &signed(SECRET, now, "\0 no JSON"), "\0 no JSON").await.is(200);
    knock(&app, &signed(SECRET, now.after(Duration::from_mins(3)), body), body).await.is(200);

    let (late, early) = (now.before(Duration::from_secs(181)), now.after(Duration::from_secs(181)));
    for (signature, body) in [
        (String::new(), body),
        (format!("t={}, v1=", now.millis()), body),
        (signed("whsec_other", now, body), body),
        (good.clone(), r#"{"id":"event_02","event":"user.created"}"#),
        (good.replace("t=", "t=1"), body),
        (format!("t=9999, {}", good.split_once(", ").unwrap().1), body),
        (signed(SECRET, late, body), body),
        (signed(SECRET, early, body), body),
    ] {
        knock(&app, &signature, body).await.refused(400, "invalid_signature");
    }
    app.post(PATH).body("application/json", body).await.refused(400, "invalid_signature");
    let twice = app.post(PATH).header("workos-signature", &good).header("workos-signature", &good);
    twice.body("application/json", body).await.refused(400, "invalid_signature");
    let large = "x".repeat(100_000);
    knock(&app, &signed(SECRET, now, &large), &large).await.is(413);
}

#[tokio::test]
async fn without_a_secret_there_is_no_door() {
    let fake = Fake::start().await;
    let app = following(&fake, &[("WORKOS_WEBHOOK_SECRET", "")]).await;
    let now = app.clock.now();
    knock(&app, &signed("", now, "{}"), "{}").await.refused(404, "not_found");
    let app = TestApp::with(&[("WORKOS_WEBHOOK_SECRET", SECRET)]).await;
    knock(&app, &signed(SECRET, now, "{}"), "{}").await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_knock_brings_at_once_what_would_have_come_later() {
    let fake = Fake::start().await;
    let app = following(&fake, &[("WORKOS_SYNC_INTERVAL_SECONDS", "3600")]).await;
    let running = tokio::spawn(app.inside.workos.clone().follow());
    crate::harness::eventually(
        || async { app.inside.workos.standing().await.unwrap().unwrap().lag },
        Option::is_some,
    )
    .await;
    fake.add("ann_smith");
    knock(&app, &signed(SECRET, app.clock.now(), "{}"), "{}").await.is(200);
    crate::harness::eventually(|| by_email(&app, "ann_smith@example.com"), Option::is_some).await;
    running.abort();
}

#[tokio::test]
async fn who_knocks_too_often_is_asked_to_wait() {
    let fake = Fake::start().await;
    let app = following(&fake, &[("ENVIRONMENT", "local"), ("TRUSTED_PROXIES", "127.0.0.1/32")]).await;
    let body = "{}";
    let signature = signed(SECRET, app.clock.now(), body);
    let mut refused = 0;
    for _ in 0..610 {
        let ask =
            app.post(PATH).header("x-forwarded-for", "198.51.100.7").header("workos-signature", &signature);
        refused += usize::from(ask.body("application/json", body).await.status() == 429);
    }
    assert_eq!(refused, 10);
}
