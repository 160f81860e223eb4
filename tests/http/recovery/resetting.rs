//! Choosing a new password by a mailed link.

use std::time::Duration;

use serde_json::json;

use super::OTHER_PASSWORD;
use crate::harness::{Actor, Demand, PASSWORD, TestApp};

const RESET: &str = "/api/auth/forgot-password/reset";
const OURS: &str = "http://localhost:8000";
const THIRD_PASSWORD: &str = "copper violin 93 harbour";

/// The link opens nothing, and the password is still this one.
async fn is_dead(app: &TestApp, token: &str, name: &str, password: &str) {
    app.reset(token, THIRD_PASSWORD).await.refused(401, "token_invalid");
    app.try_sign_in(name, password).await.is(200);
}

#[tokio::test]
async fn the_link_gives_a_new_password_once_and_signs_nobody_in() {
    let app = TestApp::with_mail(&[]).await;
    let here = app.user("ann").await;
    let there = app.sign_in("ann").await;
    let token = app.reset_token("ann").await;
    let reply = app.reset(&token, OTHER_PASSWORD).await;
    assert_eq!(reply.is(200).text(), "Password reset successful");
    assert!(reply.header("set-cookie").is_none(), "{reply:?}");
    for old in [here, there] {
        old.get("/api/user/me").await.refused(401, "token_invalid");
        let refresh = json!({"refresh_token": old.refresh});
        app.post("/api/auth/token/refresh").json(&refresh).await.refused(401, "token_invalid");
    }
    app.try_sign_in("ann", PASSWORD).await.refused(401, "invalid_credentials");
    app.clock.advance(Duration::from_secs(2));
    is_dead(&app, &token, "ann", OTHER_PASSWORD).await;
    let told = app.mail_to("ann@example.com", "password-changed").await;
    assert!(!told.text.contains(OTHER_PASSWORD), "{told:?}");
    let admin = app.admin().await;
    let ann = admin.get("/api/user/@ann").await.is(200).json();
    assert_eq!(ann["user_history"][0]["action"], "password_changed", "{ann}");
}

#[tokio::test]
async fn the_token_may_come_in_the_body_or_as_bearer() {
    let app = TestApp::with_mail(&[]).await;
    for (way, name) in ["ann", "bob", "cleo"].into_iter().enumerate() {
        app.user(name).await;
        let token = app.reset_token(name).await;
        let fields =
            [("new_password", OTHER_PASSWORD), ("confirm_password", OTHER_PASSWORD), ("token", &*token)];
        let json = json!({"new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD});
        let reply = match way {
            0 => app.with_bearer(&token).post(RESET).json(&json).await,
            1 => app.with_bearer(&token).post(RESET).form(&fields[..2]).await,
            _ => app.post(RESET).form(&fields).await,
        };
        assert_eq!(reply.is(200).text(), "Password reset successful", "{name}");
        app.try_sign_in(name, OTHER_PASSWORD).await.is(200);
    }
    let url = format!("{RESET}?token={}", app.reset_token("bob").await);
    let json = json!({"new_password": PASSWORD, "confirm_password": PASSWORD});
    assert!(app.post(&url).json(&json).await.status() >= 400, "not in an address, where it would be logged");
    app.try_sign_in("bob", OTHER_PASSWORD).await.is(200);
}

#[tokio::test]
async fn what_is_wrong_with_the_password_uses_no_link_up() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    let token = app.reset_token("ann").await;
    app.reset(&token, "short").await.invalid(&["new_password"]);
    app.reset(&token, "password1234").await.invalid(&["new_password"]);
    let differ = json!({"token": token, "new_password": OTHER_PASSWORD, "confirm_password": THIRD_PASSWORD});
    app.post(RESET).json(&differ).await.invalid(&["confirm_password"]);
    app.post(RESET).json(&json!({"token": token})).await.is(422);
    app.reset(&token, OTHER_PASSWORD).await.is(200);
}

//
#[tokio::test]
async fn the_second_factor_stays() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let (authenticator, codes) = ann.enrol(&app).await;
    let waiting = app.demand("ann").await;
    let token = app.reset_token("ann").await;
    app.reset(&token, OTHER_PASSWORD).await.is(200);
    app.answer(&waiting.token, &authenticator.next_code(&app)).await.refused(401, "invalid_otp");
    let demand = Demand::of(&app.try_sign_in("ann", OTHER_PASSWORD).await);
    app.answer(&demand.token, &authenticator.next_code(&app)).await.is(200);
    let demand = Demand::of(&app.try_sign_in("ann", OTHER_PASSWORD).await);
    app.answer(&demand.token, &codes[0]).await.is(200);
}

#[tokio::test]
async fn a_link_is_good_for_fifteen_minutes() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    let token = app.reset_token("ann").await;
    app.clock.advance(Duration::from_secs(15 * 60 + 1));
    is_dead(&app, &token, "ann", PASSWORD).await;
    let token = app.reset_token("ann").await;
    app.clock.advance(Duration::from_secs(15 * 60 - 1));
    app.reset(&token, OTHER_PASSWORD).await.is(200);
}

//
#[tokio::test]
async fn a_newer_link_kills_the_one_before() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    let first = app.reset_token("ann").await;
    let second = app.reset_token("ann").await;
    assert_ne!(first, second);
    is_dead(&app, &first, "ann", PASSWORD).await;
    app.reset(&second, OTHER_PASSWORD).await.is(200);
    is_dead(&app, &first, "ann", OTHER_PASSWORD).await;
}

//
#[tokio::test]
async fn a_change_of_password_kills_it() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let token = app.reset_token("ann").await;
    let change =
        json!({"old_password": PASSWORD, "new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD});
    ann.patch("/api/auth/password/reset").json(&change).await.is(200);
    is_dead(&app, &token, "ann", OTHER_PASSWORD).await;
}

// R-21, T-18
#[tokio::test]
async fn a_change_of_address_kills_it_also_when_the_old_one_comes_back() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let token = app.reset_token("ann").await;
    let move_to = async |address: &str| {
        ann.patch(&ann.path()).json(&json!({"email": address})).await.is(200);
        let proof = app.mail_to(address, "verification").await.token();
        app.verify(&proof).await.is(200);
    };
    move_to("new@example.com").await;
    is_dead(&app, &token, "ann", PASSWORD).await;
    move_to("ann@example.com").await;
    is_dead(&app, &token, "ann", PASSWORD).await;
}

// R-21, T-06
#[tokio::test]
async fn a_ban_kills_it_and_it_lifts_no_ban() {
    let app = TestApp::with_mail(&[]).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let token = app.reset_token("ann").await;
    let switch = async |on: bool| {
        admin.patch(&ann.path()).json(&json!({"is_active": on})).await.is(200);
    };
    switch(false).await;
    app.reset(&token, OTHER_PASSWORD).await.refused(401, "token_invalid");
    app.try_sign_in("ann", PASSWORD).await.refused(403, "user_inactive");
    switch(true).await;
    is_dead(&app, &token, "ann", PASSWORD).await;
}

//
#[tokio::test]
async fn deleting_the_account_kills_it_and_so_it_stays_after_it_came_back() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let token = app.reset_token("ann").await;
    ann.delete(&ann.path()).await.is(200);
    app.reset(&token, OTHER_PASSWORD).await.refused(401, "token_invalid");
    // Signing in brings it back.
    is_dead(&app, &token, "ann", PASSWORD).await;
}

// recovery is possible always.
#[tokio::test]
async fn it_lifts_the_wait_that_wrong_passwords_brought() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    for _ in 0..100 {
        app.try_sign_in("ann", "not the password 12").await.refused(401, "invalid_credentials");
        app.clock.advance(Duration::from_secs(11));
    }
    app.try_sign_in("ann", PASSWORD).await.refused(429, "rate_limited");
    let token = app.reset_token("ann").await;
    app.reset(&token, OTHER_PASSWORD).await.is(200);
    app.try_sign_in("ann", OTHER_PASSWORD).await.is(200);
}

#[tokio::test]
async fn the_page_of_the_link_shows_a_form_and_takes_it() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    let token = app.reset_token("ann").await;
    let link = app.mail_to("ann@example.com", "reset").await.link().to_owned();
    let path = link.strip_prefix(OURS).expect("BASE_URL");
    for _ in 0..3 {
        let page = app.get(path).await;
        assert!(page.is(200).text().contains(&token) && page.text().contains("new_password"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert!(!page.text().contains("http://") && !page.text().contains("https://"), "{page:?}");
    }
    let action =
        app.get(path).await.text().split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let send = |new: &'static str, origin: &'static str| {
        let form = [("token", &*token), ("new_password", new), ("confirm_password", new)];
        app.post(&action).header("origin", origin).form(&form)
    };
    assert_eq!(send(OTHER_PASSWORD, "https://evil.test").await.status(), 403);
    let weak = send("password1234", OURS).await;
    assert!(weak.is(422).text().contains(&token), "the form again");
    let done = send(OTHER_PASSWORD, OURS).await;
    assert!(done.is(200).header("set-cookie").is_none());
    let used = send(THIRD_PASSWORD, OURS).await;
    let another = "href=\"/forgot-password/request\"";
    assert!(used.is(401).text().replace("&#x2f;", "/").contains(another), "{used:?}");
    app.try_sign_in("ann", OTHER_PASSWORD).await.is(200);
}

#[tokio::test]
async fn whoever_has_the_link_has_proved_the_address() {
    let app = TestApp::with_mail(&[]).await;
    app.made_by_admin("cleo", &["user"]).await;
    let token = app.reset_token("cleo").await;
    app.reset(&token, OTHER_PASSWORD).await.is(200);
    let reply = app.try_sign_in("cleo", OTHER_PASSWORD).await;
    let cleo = Actor::with_tokens(&app, "cleo", &reply.is(200).json());
    assert_eq!(cleo.me().await["email_verified"], true);
}

// What a thief left behind must not outlive the way back.
#[tokio::test]
async fn an_address_that_waits_for_its_proof_does_not_outlive_it() {
    let app = TestApp::with_mail(&[]).await;
    let thief = app.user("ann").await;
    thief.patch(&thief.path()).json(&json!({"email": "thief@example.com"})).await.is(200);
    let proof = app.mail_to("thief@example.com", "verification").await.token();
    let token = app.reset_token("ann").await;
    app.reset(&token, OTHER_PASSWORD).await.is(200);
    app.verify(&proof).await.refused(401, "token_invalid");
    let reply = app.try_sign_in("ann", OTHER_PASSWORD).await;
    let ann = Actor::with_tokens(&app, "ann", &reply.is(200).json());
    let before = app.letters_to("thief@example.com").await.len();
    ann.post("/api/auth/email/verify/request").await.is(202);
    assert_eq!(app.letters_to("thief@example.com").await.len(), before, "nobody offers it the account again");
}
