//! The own password: `PATCH /auth/password/reset`, `POST /auth/reauthenticate`.

use std::time::Duration;

use gatehouse::users::Password;
use serde_json::json;

use crate::harness::{Actor, Ask, Demand, PASSWORD, START, TestApp, race};

const CHANGE: &str = "/api/auth/password/reset";
const PROVE: &str = "/api/auth/reauthenticate";
const NEW: &str = "harbour 94 whistle amber";
const WRONG: &str = "velvet otter 27 marble";

fn change(actor: &Actor, old: &str, new: &str) -> Ask {
    actor.patch(CHANGE).json(&json!({"old_password": old, "new_password": new, "confirm_password": new}))
}

#[tokio::test]
async fn the_new_password_counts_and_the_old_one_no_more() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    assert_eq!(change(&ann, PASSWORD, NEW).await.is(200).text(), "Password reset successful");
    app.try_sign_in("ann", NEW).await.is(200);
    app.try_sign_in("ann", PASSWORD).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn every_other_session_ends_and_the_acting_one_goes_on() {
    let app = TestApp::new().await;
    let (here, there) = (app.user("ann").await, app.sign_in("ann").await);
    change(&here, PASSWORD, NEW).await.is(200);
    there.get("/api/user/me").await.refused(401, "token_invalid");
    app.post("/api/auth/token/refresh").json(&json!({"refresh_token": there.refresh})).await.is(401);
    here.get("/api/user/me").await.is(200);
    app.post("/api/auth/token/refresh").json(&json!({"refresh_token": here.refresh})).await.is(200);
}

// whoever changed it.
#[tokio::test]
async fn whose_password_the_operator_sets_is_told() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let row = app.inside.users.by_id(ann.id).await.unwrap().unwrap();
    app.inside.auth.set_password(&row, &Password::parse(NEW).unwrap()).await.unwrap();
    let told = app.mail_to("ann@example.com", "password-changed").await;
    assert!(!told.text.contains(NEW), "{told:?}");
    ann.get("/api/user/me").await.refused(401, "token_invalid");
    app.try_sign_in("ann", NEW).await.is(200);
}

#[tokio::test]
async fn a_form_changes_it_as_json_does() {
    let app = TestApp::new().await;
    let form = [("old_password", PASSWORD), ("new_password", NEW), ("confirm_password", NEW)];
    app.user("ann").await.patch(CHANGE).form(&form).await.is(200);
    app.try_sign_in("ann", NEW).await.is(200);
}

#[tokio::test]
async fn without_the_old_password_nothing_changes() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    change(&ann, WRONG, NEW).await.refused(401, "invalid_credentials");
    change(&ann, PASSWORD, NEW).await.refused(429, "rate_limited");
    app.clock.advance(Duration::from_secs(1));
    change(&ann, "", NEW).await.refused(401, "invalid_credentials");
    app.clock.advance(Duration::from_secs(3));
    app.try_sign_in("ann", PASSWORD).await.is(200);
    app.patch(CHANGE).json(&json!({})).await.refused(401, "token_invalid");
}

//
#[tokio::test]
async fn with_a_second_factor_the_old_password_is_not_proof_enough() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (authenticator, _) = ann.enrol(&app).await;
    app.clock.advance(Duration::from_secs(601));
    change(&ann, PASSWORD, NEW).await.refused(401, "reauthentication_required");
    // The password is not even looked at: no wrong one is counted.
    change(&ann, WRONG, NEW).await.refused(401, "reauthentication_required");
    Demand::of(&app.try_sign_in("ann", PASSWORD).await);
    ann.reauthenticate(Some(&authenticator.code(&app))).await.is(200);
    change(&ann, PASSWORD, NEW).await.is(200);
    Demand::of(&app.try_sign_in("ann", NEW).await);
    app.try_sign_in("ann", PASSWORD).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn without_a_second_factor_the_old_password_is_proof_enough() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_secs(601));
    change(&ann, PASSWORD, NEW).await.is(200);
    app.try_sign_in("ann", NEW).await.is(200);
}

#[tokio::test]
async fn a_new_password_must_be_new_good_and_given_twice_alike() {
    let app = TestApp::new().await;
    let ann = app.user("ann_miller").await;
    for new in [PASSWORD, "short", "password123", "ann_miller1", "aaaaaaaaaaaaa", ""] {
        change(&ann, PASSWORD, new).await.invalid(&["new_password"]);
    }
    let unlike = json!({"old_password": PASSWORD, "new_password": NEW, "confirm_password": PASSWORD});
    ann.patch(CHANGE).json(&unlike).await.invalid(&["confirm_password"]);
    ann.patch(CHANGE).json(&json!({"old_password": PASSWORD})).await.is(422);
    app.try_sign_in("ann_miller", PASSWORD).await.is(200);
}

#[tokio::test]
async fn history_says_that_it_changed_and_not_to_what() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_millis(1));
    change(&ann, PASSWORD, NEW).await.is(200);
    let me = ann.me().await;
    let newest = &me["user_history"][0];
    assert_eq!((&newest["action"], &newest["by"]), (&json!("password_changed"), &json!(ann.id.to_string())));
    let text = me.to_string();
    for secret in [NEW, PASSWORD, "argon2", "password_hash"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_changes_at_once_one_wins() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let new: Vec<String> = (0..4).map(|number| format!("{NEW} {number}")).collect();
    let replies = race(4, |number| change(&ann, PASSWORD, &new[number])).await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 200).count(), 1, "{replies:?}");
    let winner = replies.iter().position(|reply| reply.status() == 200).unwrap();
    app.clock.advance(Duration::from_secs(5));
    app.try_sign_in("ann", &new[winner]).await.is(200);
}

#[tokio::test]
async fn a_proof_counts_ten_minutes() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_mins(5));
    let proved = ann.post(PROVE).json(&json!({"password": PASSWORD})).await.is(200).json();
    assert_eq!(proved["valid_until"], START.seconds() + 15 * 60);
    ann.post(PROVE).form(&[("password", PASSWORD)]).await.is(200);
}

#[tokio::test]
async fn a_wrong_proof_is_refused_and_counted() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    ann.post(PROVE).json(&json!({"password": WRONG})).await.refused(401, "invalid_credentials");
    ann.post(PROVE).json(&json!({"password": PASSWORD})).await.refused(429, "rate_limited");
    app.try_sign_in("ann", PASSWORD).await.refused(429, "rate_limited");
    app.clock.advance(Duration::from_secs(1));
    ann.post(PROVE).json(&json!({"password": PASSWORD})).await.is(200);
    ann.post(PROVE).json(&json!({})).await.invalid(&["password"]);
    app.post(PROVE).json(&json!({"password": PASSWORD})).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn nobody_else_chooses_a_password() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    for actor in [&admin, &ann] {
        for method in ["PATCH", "PUT"] {
            actor.ask(method, &ann.path()).json(&json!({"password": NEW})).await.invalid(&["password"]);
        }
    }
    app.try_sign_in("ann", PASSWORD).await.is(200);
}
