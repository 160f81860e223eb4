//! Codes for the day on which the second factor is lost.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;
use serde_json::json;

use crate::harness::{PASSWORD, TestApp, claims, recovery_codes};

const PATH: &str = "/api/auth/OTP/recovery-codes";

#[tokio::test]
async fn each_replaces_the_second_factor_once() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let (_, codes) = ann.enrol(&app).await;
    let sloppily = codes[0].to_lowercase().replace('-', " ");
    let demand = app.demand("ann").await;
    let token = app.answer(&demand.token, &sloppily).await.is(200).json();
    let amr = claims(token["access_token"].as_str().unwrap())["amr"].clone();
    assert!(amr.as_array().unwrap().contains(&json!("mfa")), "{amr}");
    let told = app.mail_to("ann@example.com", "recovery-code-used").await;
    assert!(told.text.contains('9') && !told.text.contains(&codes[0]), "{told:?}");
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &codes[0]).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &codes[1]).await.is(200);
    // The authenticator stays what it was.
    assert_eq!(ann.me().await["otp_method"], "authenticator");
}

#[tokio::test]
async fn nobody_elses_code_counts() {
    let app = TestApp::new().await;
    app.user("ann").await.enrol(&app).await;
    let (_, bobs) = app.user("bob").await.enrol(&app).await;
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &bobs[0]).await.refused(401, "invalid_otp");
    let demand = app.demand("bob").await;
    app.answer(&demand.token, &bobs[0]).await.is(200);
}

#[tokio::test]
async fn new_ones_take_the_password_and_void_the_old() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (_, old) = ann.enrol(&app).await;
    app.post(PATH).json(&json!({"password": PASSWORD})).await.refused(401, "token_invalid");
    ann.post(PATH)
        .json(&json!({"password": "not the password 12"}))
        .await
        .refused(401, "invalid_credentials");
    ann.post(PATH).json(&json!({})).await.invalid(&["password"]);
    ann.post(PATH).await.invalid(&["password"]);
    app.clock.advance(Duration::from_secs(2));
    let new = recovery_codes(&ann.post(PATH).form(&[("password", PASSWORD)]).await.is(200).json());
    assert!(!new.iter().any(|code| old.contains(code)));
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &old[0]).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &new[0]).await.is(200);
}

// with the password alone nobody gets past the second factor.
#[tokio::test]
async fn new_ones_need_a_fresh_proof_that_includes_the_present_factor() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (authenticator, old) = ann.enrol(&app).await;
    app.clock.advance(Duration::from_secs(601));
    let renew = |password: &str| ann.post(PATH).json(&json!({"password": password}));
    renew(PASSWORD).await.refused(401, "reauthentication_required");
    // The password is not even looked at: no wrong one is counted.
    renew("not the password 12").await.refused(401, "reauthentication_required");
    ann.reauthenticate(None).await.refused(401, "otp_required");
    renew(PASSWORD).await.refused(401, "reauthentication_required");
    // Nothing has changed: the old ones still prove.
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &old[0]).await.is(200);
    ann.reauthenticate(Some(&authenticator.code(&app))).await.is(200);
    let new = recovery_codes(&renew(PASSWORD).await.is(200).json());
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &old[1]).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &new[0]).await.is(200);
}

// Who signs in elsewhere has proved themselves there, and has no password to show.
#[tokio::test]
async fn new_ones_take_a_fresh_proof_alone_where_there_is_no_password() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (_, old) = ann.enrol(&app).await;
    let id = ann.id;
    let taken = app.inside.db.write::<_, DbErr, _>(move |tx| {
        async move {
            tx.run("UPDATE users SET password_hash = NULL WHERE id = $1", [id.into()]).await.map(|_| ())
        }
        .boxed()
    });
    taken.await.unwrap();
    ann.post(PATH).json(&json!({"password": PASSWORD})).await.refused(401, "invalid_credentials");
    app.clock.advance(Duration::from_secs(2));
    let new = recovery_codes(&ann.post(PATH).await.is(200).json());
    assert!(!new.iter().any(|code| old.contains(code)));
    app.clock.advance(Duration::from_secs(601));
    ann.post(PATH).await.refused(401, "reauthentication_required");
}

#[tokio::test]
async fn the_owner_is_told_of_new_ones() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let (authenticator, _) = ann.enrol(&app).await;
    app.clock.advance(Duration::from_secs(601));
    let renew = || ann.post(PATH).json(&json!({"password": PASSWORD}));
    renew().await.refused(401, "reauthentication_required");
    ann.reauthenticate(Some(&authenticator.code(&app))).await.is(200);
    let new = recovery_codes(&renew().await.is(200).json());
    let told = app.mail_to("ann@example.com", "recovery-codes-replaced").await;
    assert!(told.text.contains("ann") && told.text.contains("recovery codes"), "{told:?}");
    assert!(!new.iter().any(|code| told.text.contains(code) || told.html.contains(code)), "{told:?}");
    let letters = app.letters_to("ann@example.com").await;
    let count = letters.iter().filter(|letter| *letter == "recovery-codes-replaced").count();
    assert_eq!(count, 1, "a refusal is no reason to write: {letters:?}");
}

#[tokio::test]
async fn without_a_second_factor_there_are_none() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let reply = ann.post(PATH).json(&json!({"password": PASSWORD})).await;
    assert!((400..500).contains(&reply.status()), "{reply:?}");
}
