//! Signing up where addresses have to be proved first.

use std::time::Duration;

use serde_json::{Value, json};

use super::OTHER_PASSWORD;
use crate::attacks::{Scene, same};
use crate::harness::{PASSWORD, TestApp};

const DAY: Duration = Duration::from_hours(24);
const PASSWORD_OF_NOBODY: &str = "certainly not this one 4711";
const ANN: &str = "ann@example.com";

async fn accounts(app: &TestApp) -> i64 {
    app.admin().await.get("/api/user/count").await.is(200).json().as_i64().unwrap()
}

//
#[tokio::test]
async fn a_taken_address_is_answered_as_a_free_one_and_only_its_owner_learns() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    let before = accounts(&app).await;
    let free = app.sign_up("newcomer", "free@example.com", OTHER_PASSWORD).await;
    assert_eq!(free.is(202).json(), json!({"status": "verification_sent"}));
    assert!(free.header("set-cookie").is_none(), "{free:?}");
    let taken = app.sign_up("intruder", "Ann@Example.COM", OTHER_PASSWORD).await;
    same(&free, &taken);
    let told = app.mail_to(ANN, "sign-up-attempt").await;
    assert!(
        told.links.iter().all(|link| !link.contains("token=")),
        "nothing that could be followed: {told:?}"
    );
    app.mail_to("free@example.com", "verification").await;
    assert_eq!(accounts(&app).await, before, "neither has made an account yet");
    // Nor can the address be had by asking again.
    let again = json!({"email": ANN});
    app.post("/api/auth/email/verify/request").json(&again).await.is(202);
    assert_eq!(app.letters_to(ANN).await.iter().filter(|letter| *letter == "verification").count(), 1);
    app.sign_in("ann").await.me().await;
    app.try_sign_in("ann", OTHER_PASSWORD).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn a_taken_name_is_told_whether_an_account_has_it_or_a_sign_up() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    app.sign_up("ann", "other@example.com", PASSWORD).await.refused(409, "username_taken");
    app.sign_up("ANN", ANN, PASSWORD).await.invalid(&["username"]);
    app.sign_up("bob", "bob@example.com", PASSWORD).await.is(202);
    app.sign_up("bob", "other@example.com", OTHER_PASSWORD).await.refused(409, "username_taken");
    app.sign_up("bob", "bob@example.com", OTHER_PASSWORD).await.refused(409, "username_taken");
    assert!(app.letters_to("other@example.com").await.is_empty());
}

#[tokio::test]
async fn an_account_exists_from_the_proof_on_with_what_was_said_at_sign_up() {
    let app = TestApp::with_mail(&[]).await;
    let registration = json!({
        "username": "ann_miller", "email": "Ann@Example.com", "password": PASSWORD, "confirm_password": PASSWORD,
        "display_name": "Ann Miller", "first_name": "Änn", "middle_name": "B.", "last_name": "Miller",
    });
    app.post("/api/auth/register").json(&registration).await.is(202);
    let admin = app.admin().await;
    admin.get("/api/user/@ann_miller").await.refused(404, "not_found");
    let mail = app.mail_to(ANN, "verification").await;
    assert!(mail.text.contains("ann_miller") && !mail.text.contains(PASSWORD), "{mail:?}");
    app.verify(&mail.token()).await.is(200);
    let me = app.sign_in("ann_miller").await.me().await;
    for (field, value) in [
        ("email", ANN),
        ("display_name", "Ann Miller"),
        ("first_name", "Änn"),
        ("middle_name", "B."),
        ("last_name", "Miller"),
    ] {
        assert_eq!(me[field], value, "{field}");
    }
    assert_eq!((&me["email_verified"], &me["roles"]), (&json!(true), &json!(["user"])));
    assert_eq!(me["user_history"].as_array().unwrap().len(), 1, "{me}");
}

//
#[tokio::test]
async fn that_the_address_is_not_proved_is_told_after_the_right_password_only() {
    let app = TestApp::with_mail(&[]).await;
    app.sign_up("bob", "bob@example.com", PASSWORD).await.is(202);
    let wrong = app.try_sign_in("bob", OTHER_PASSWORD).await;
    wrong.refused(401, "invalid_credentials");
    same(&wrong, &app.try_sign_in("nobody", OTHER_PASSWORD).await);
    app.clock.advance(Duration::from_secs(2));
    let unproved = app.try_sign_in("bob", PASSWORD).await;
    unproved.refused(403, "email_not_verified");
    assert!(unproved.header("set-cookie").is_none());
    let token = app.mail_to("bob@example.com", "verification").await.token();
    app.verify(&token).await.is(200);
    app.sign_in("bob").await.me().await;
}

// nor by way of the sign-up of one's own that will never be.
#[tokio::test]
async fn a_sign_up_with_a_taken_address_waits_like_any_other() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    app.sign_up("free_one", "free@example.com", OTHER_PASSWORD).await.is(202);
    app.sign_up("taken_one", ANN, OTHER_PASSWORD).await.is(202);
    same(
        &app.try_sign_in("free_one", OTHER_PASSWORD).await,
        &app.try_sign_in("taken_one", OTHER_PASSWORD).await,
    );
    same(
        &app.sign_up("free_one", "free@example.com", OTHER_PASSWORD).await,
        &app.sign_up("taken_one", ANN, OTHER_PASSWORD).await,
    );
}

// work is counted, not timed. One hash for each, whether the name or the address is anybody's or not.
#[tokio::test]
async fn a_sign_up_that_waits_costs_one_hash_whoever_is_known() {
    let scene = Scene::with(&[("EMAIL_METHOD", "inbox")]).await;
    scene.user("ann").await;
    let mut before = scene.hashes().await.done;
    for (name, address, status) in [
        ("free_one", "free@example.com", 202),
        ("taken_one", ANN, 202),
        ("free_one", "free@example.com", 202), // asked again
        ("free_one", "other@example.com", 409),
        ("ann", "other@example.com", 409),
        ("ann", ANN, 409),
    ] {
        scene.sign_up(name, address, OTHER_PASSWORD).await.is(status);
        let done = scene.hashes().await.done;
        assert_eq!(done - before, 1, "{name} {address}");
        before = done;
    }
    // Nor does signing in tell what waits.
    for name in ["free_one", "taken_one", "unknown", "ann", "free@example.com", ANN, "unknown@example.com"] {
        scene.clock.advance(Duration::from_secs(2));
        scene.try_sign_in(name, PASSWORD_OF_NOBODY).await.refused(401, "invalid_credentials");
        let done = scene.hashes().await.done;
        assert_eq!(done - before, 1, "{name}");
        before = done;
    }
}

#[tokio::test]
async fn signing_up_again_sends_another_link_and_the_one_before_is_dead() {
    let app = TestApp::with_mail(&[]).await;
    app.sign_up("bob", "bob@example.com", PASSWORD).await.is(202);
    let first = app.mail_to("bob@example.com", "verification").await.token();
    app.sign_up("bob", "bob@example.com", PASSWORD).await.is(202);
    let second = app.mail_to("bob@example.com", "verification").await.token();
    assert_ne!(first, second);
    app.verify(&first).await.refused(401, "token_invalid");
    app.verify(&second).await.is(200);
    app.sign_in("bob").await;
    app.sign_up("bob", "bob@example.com", PASSWORD).await.refused(409, "username_taken");
}

#[tokio::test]
async fn of_two_sign_ups_for_one_address_the_one_that_is_proved_gets_it() {
    let app = TestApp::with_mail(&[]).await;
    app.sign_up("squatter", ANN, OTHER_PASSWORD).await.is(202);
    let squatters = app.mail_to(ANN, "verification").await.token();
    app.sign_up("ann", ANN, PASSWORD).await.is(202);
    let owners = app.mail_to(ANN, "verification").await.token();
    assert_ne!(squatters, owners);
    app.verify(&owners).await.is(200);
    app.verify(&squatters).await.refused(401, "token_invalid");
    app.try_sign_in("squatter", OTHER_PASSWORD).await.refused(401, "invalid_credentials");
    assert_eq!(app.sign_in("ann").await.me().await["email"], ANN);
    // The name that nobody got is free.
    app.sign_up("squatter", "other@example.com", PASSWORD).await.is(202);
}

#[tokio::test]
async fn a_sign_up_waits_a_day_and_then_its_name_is_free() {
    let app = TestApp::with_mail(&[]).await;
    app.sign_up("bob", "bob@example.com", PASSWORD).await.is(202);
    let late = app.mail_to("bob@example.com", "verification").await.token();
    app.clock.advance(DAY - Duration::from_secs(1));
    app.sign_up("bob", "other@example.com", OTHER_PASSWORD).await.refused(409, "username_taken");
    app.clock.advance(Duration::from_secs(2));
    app.verify(&late).await.refused(401, "token_invalid");
    app.try_sign_in("bob", PASSWORD).await.refused(401, "invalid_credentials");
    app.sign_up("bob", "other@example.com", OTHER_PASSWORD).await.is(202);
    let token = app.mail_to("other@example.com", "verification").await.token();
    app.verify(&token).await.is(200);
    app.verify(&late).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn what_is_wrong_with_a_sign_up_is_told_at_once() {
    let app = TestApp::with_mail(&[]).await;
    app.sign_up("bob", "bob@example.com", "password12").await.invalid(&["password"]);
    app.sign_up("b@b", "bob@example.com", PASSWORD).await.invalid(&["username"]);
    app.sign_up("bob", "bob", PASSWORD).await.invalid(&["email"]);
    app.sign_up("admin", "bob@example.com", PASSWORD).await.invalid(&["username"]);
    assert!(app.inbox().await.is_empty());
}

#[tokio::test]
async fn with_mail_off_or_by_the_operators_choice_one_is_in_at_once() {
    for settings in [&[][..], &[("EMAIL_METHOD", "inbox"), ("REQUIRE_EMAIL_VERIFICATION", "False")]] {
        let app = TestApp::with(settings).await;
        let token = app.sign_up("ann", ANN, PASSWORD).await.is(201).json();
        assert_eq!(token["token_type"], "bearer");
        let me = app.sign_in("ann").await.me().await;
        assert_eq!((&me["email"], &me["email_verified"]), (&Value::from(ANN), &json!(false)));
        app.sign_up("bob", ANN, PASSWORD).await.refused(409, "email_taken");
    }
    let off = TestApp::new().await;
    off.sign_up("ann", ANN, PASSWORD).await.is(201);
    assert!(off.inbox().await.is_empty());
}

// Names under `invalid` do not exist (RFC 6761, 6.4): a resolver says so without asking anybody.
#[tokio::test]
async fn an_address_where_no_mail_can_come_is_refused_at_every_door() {
    const NOWHERE: &str = "ann@nowhere.invalid";
    let app = TestApp::with_mail(&[("EMAIL_CHECK_MX", "true")]).await;
    let admin = app.admin().await;
    app.sign_up("ann", NOWHERE, PASSWORD).await.invalid(&["email"]);
    let new = json!({"username": "ann", "email": NOWHERE, "password": PASSWORD});
    admin.post("/api/user/").json(&new).await.invalid(&["email"]);
    admin.patch(&admin.path()).json(&json!({"email": NOWHERE})).await.invalid(&["email"]);
    assert_eq!(accounts(&app).await, 1);
    assert!(app.letters_to(NOWHERE).await.is_empty());
    let unasked = TestApp::with_mail(&[("EMAIL_CHECK_MX", "false")]).await;
    unasked.admin().await.post("/api/user/").json(&new).await.is(201);
}

// a throttle counts every way to try a password.
#[tokio::test]
async fn the_password_of_a_sign_up_that_waits_is_tried_no_faster_than_others() {
    let app = TestApp::with_mail(&[]).await;
    let ask = async |password: &str| app.sign_up("bob", "bob@example.com", password).await;
    ask(PASSWORD).await.is(202);
    ask(OTHER_PASSWORD).await.refused(409, "username_taken");
    ask(PASSWORD).await.refused(429, "rate_limited");
    app.try_sign_in("bob", PASSWORD).await.refused(429, "rate_limited");
    app.clock.advance(Duration::from_secs(1));
    app.try_sign_in("bob", OTHER_PASSWORD).await.refused(401, "invalid_credentials");
    ask(PASSWORD).await.refused(429, "rate_limited");
    app.clock.advance(Duration::from_secs(1));
    ask(PASSWORD).await.is(202);
    // The right one forgives what was wrong before.
    ask(OTHER_PASSWORD).await.refused(409, "username_taken");
    app.clock.advance(Duration::from_secs(1));
    ask(PASSWORD).await.is(202);
}
