//! The proof of an address: the link, its page, its button, another link.

use std::time::Duration;

use serde_json::json;

use super::OTHER_PASSWORD;
use crate::attacks::same;
use crate::harness::{PASSWORD, Reply, TestApp};

const OURS: &str = "http://localhost:8000";
const BOB: &str = "bob@example.com";
const VERIFY: &str = "/api/auth/email/verify";

/// Somebody who has signed up and not proved their address yet; the token of their link.
async fn signed_up(app: &TestApp) -> String {
    app.sign_up("bob", BOB, PASSWORD).await.is(202);
    app.mail_to(BOB, "verification").await.token()
}

async fn ask_again(app: &TestApp, email: &str) -> Reply {
    app.post("/api/auth/email/verify/request").json(&json!({"email": email})).await
}

#[tokio::test]
async fn the_link_opens_a_page_and_looking_changes_nothing() {
    let app = TestApp::with_mail(&[]).await;
    let token = signed_up(&app).await;
    let link = app.mail_to(BOB, "verification").await.link().to_owned();
    let path = link.strip_prefix(OURS).expect("BASE_URL").to_owned();
    for path in [&path, &format!("{VERIFY}?token={token}")] {
        for accept in ["text/html", "application/json", "*/*", "image/png"] {
            let page = app.get(path).header("accept", accept).await;
            assert!(page.is(200).header("content-type").unwrap().starts_with("text/html"), "{page:?}");
            assert_eq!(page.text().matches("<form").count(), 1, "{page:?}");
            assert_eq!(page.text().matches("<button").count(), 1, "{page:?}");
            assert!(page.text().contains("method=\"post\"") && page.text().contains(&token));
            //
            assert_eq!(page.header("cache-control"), Some("no-store"));
            assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
            assert!(!page.text().contains("http://") && !page.text().contains("https://"), "{page:?}");
        }
        assert_eq!(app.ask("HEAD", path).await.status(), 200);
    }
    app.try_sign_in("bob", PASSWORD).await.refused(403, "email_not_verified");
    app.verify(&token).await.is(200);
}

#[tokio::test]
async fn the_button_works_once_for_programs() {
    let app = TestApp::with_mail(&[]).await;
    let token = signed_up(&app).await;
    let reply = app.verify(&token).await;
    assert_eq!(reply.is(200).json(), json!({"email_verified": true}));
    assert!(reply.header("set-cookie").is_none(), "a link signs nobody in: {reply:?}");
    app.verify(&token).await.refused(401, "token_invalid");
    assert_eq!(app.sign_in("bob").await.me().await["email_verified"], true);
}

#[tokio::test]
async fn people_are_led_on_to_the_frontend() {
    let app = TestApp::with_mail(&[("FRONTEND_URL", "https://app.example.com")]).await;
    let token = signed_up(&app).await;
    let reply = app.post(VERIFY).header("accept", "text/html").form(&[("token", &token)]).await;
    let location = reply.is(303).header("location").unwrap();
    assert!(location.trim_end_matches('/') == "https://app.example.com", "{location}");
    app.sign_in("bob").await;
}

#[tokio::test]
async fn the_page_itself_takes_the_button() {
    let app = TestApp::with_mail(&[]).await;
    let token = signed_up(&app).await;
    for headers in [&[][..], &[("origin", "https://evil.test")], &[("sec-fetch-site", "cross-site")]] {
        let mut ask = app.post("/verify").form(&[("token", &token)]);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        ask.await.is(403);
    }
    let press = || app.post("/verify").header("origin", OURS).form(&[("token", &token)]);
    assert!(matches!(press().await.status(), 200 | 303));
    assert_eq!(press().await.status(), 401);
    app.sign_in("bob").await;
}

#[tokio::test]
async fn a_link_that_is_over_leads_to_another_one() {
    let app = TestApp::with_mail(&[]).await;
    let late = signed_up(&app).await;
    app.clock.advance(Duration::from_hours(24) + Duration::from_secs(1));
    app.sign_up("bob", BOB, PASSWORD).await.is(202);
    let send =
        async |path: &str, fields: &[(&str, &str)]| app.post(path).header("origin", OURS).form(fields).await;
    let refused = send("/verify", &[("token", &late)]).await;
    let link = "href=\"/verify/request\"";
    assert!(refused.is(401).text().replace("&#x2f;", "/").contains(link), "{refused:?}");
    let form = app.get("/verify/request").await;
    assert!(form.is(200).text().contains("action=\"/verify/request\""), "{form:?}");
    app.post("/verify/request").header("origin", "https://evil.test").form(&[("email", BOB)]).await.is(403);
    let before = app.letters_to(BOB).await.len();
    let (asked, nobody) = (
        send("/verify/request", &[("email", BOB)]).await,
        send("/verify/request", &[("email", "nobody@example.com")]).await,
    );
    assert!(asked.is(202).text().contains("Look into your mail") && nobody.status() == 202, "{asked:?}");
    assert_eq!(app.letters_to(BOB).await.len(), before + 1);
    let token = app.mail_to(BOB, "verification").await.token();
    assert!(matches!(send("/verify", &[("token", &token)]).await.status(), 200 | 303));
    app.sign_in("bob").await;
}

#[tokio::test]
async fn a_link_is_good_for_a_day() {
    for (seconds, good) in [(-1, true), (1, false)] {
        let app = TestApp::with_mail(&[]).await;
        let token = signed_up(&app).await;
        app.clock.advance(Duration::from_secs((24 * 3600_i64 + seconds).unsigned_abs()));
        assert_eq!(app.verify(&token).await.status() == 200, good, "{seconds}");
    }
}

#[tokio::test]
async fn what_is_no_token_proves_nothing() {
    let app = TestApp::with_mail(&[]).await;
    let token = signed_up(&app).await;
    let upper = token.to_uppercase();
    for bent in
        [&token[1..], &token[..token.len() - 1], &format!("{token}A"), &format!(" {token}"), &*upper, "", "x"]
    {
        if bent != token {
            app.verify(bent).await.refused(401, "token_invalid");
        }
    }
    for body in
        [json!({}), json!({"token": null}), json!({"token": [token]}), json!({"token": token, "x": 1})]
    {
        assert_eq!(app.post(VERIFY).json(&body).await.status(), 422, "{body}");
    }
    assert!(app.post(&format!("{VERIFY}?token={token}")).await.status() >= 400);
    app.post(VERIFY).header("authorization", &format!("Bearer {token}")).json(&json!({})).await.is(422);
    app.verify(&token).await.is(200);
}

//
#[tokio::test]
async fn another_link_can_be_asked_for_and_nobody_learns_for_whom_there_is_one() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    let first = signed_up(&app).await;
    let known = ask_again(&app, BOB).await;
    known.is(202);
    for other in ["unknown@example.com", "ann@example.com", "BOB@example.com"] {
        same(&known, &ask_again(&app, other).await);
    }
    assert!(app.letters_to("unknown@example.com").await.is_empty());
    let anns = app.letters_to("ann@example.com").await;
    assert_eq!(anns.iter().filter(|letter| *letter == "verification").count(), 1, "{anns:?}");
    let newest = app.mail_to(BOB, "verification").await.token();
    app.verify(&first).await.refused(401, "token_invalid");
    app.verify(&newest).await.is(200);
}

#[tokio::test]
async fn who_is_signed_in_asks_for_themselves() {
    let app = TestApp::with_mail(&[]).await;
    let cleo = app.made_by_admin("cleo", &["user"]).await;
    assert_eq!(cleo.me().await["email_verified"], false);
    cleo.post("/api/auth/email/verify/request").await.is(202);
    let mail = app.mail_to("cleo@example.com", "verification").await;
    app.verify(&mail.token()).await.is(200);
    let me = app.sign_in("cleo").await.me().await;
    assert_eq!(me["email_verified"], true);
    cleo.me().await;
    // With nothing to prove, nothing is sent.
    let before = app.inbox().await.len();
    cleo.post("/api/auth/email/verify/request").json(&json!({})).await.is(202);
    assert_eq!(app.inbox().await.len(), before);
}

#[tokio::test]
async fn nobody_in_particular_can_ask_for_nobody() {
    let app = TestApp::with_mail(&[]).await;
    for email in ["", "no address", "a@b@c.test"] {
        ask_again(&app, email).await.invalid(&["email"]);
    }
    assert!(app.inbox().await.is_empty());
    let off = TestApp::new().await;
    off.user("ann").await;
    ask_again(&off, "ann@example.com").await.is(202);
    assert!(off.inbox().await.is_empty());
}

//
#[tokio::test]
async fn only_the_link_proves_an_address() {
    let app = TestApp::with_mail(&[]).await;
    let cleo = app.made_by_admin("cleo", &["user"]).await;
    let reply = cleo.patch(&cleo.path()).json(&json!({"email_verified": true})).await;
    assert!(matches!(reply.status(), 403 | 422), "{reply:?}");
    let registration = json!({
        "username": "dora", "email": "dora@example.com", "password": OTHER_PASSWORD,
        "confirm_password": OTHER_PASSWORD, "email_verified": true,
    });
    app.post("/api/auth/register").json(&registration).await.is(422);
    assert_eq!(cleo.me().await["email_verified"], false);
}

// T-06
#[tokio::test]
async fn an_old_link_does_not_bring_a_banned_account_back() {
    let app = TestApp::with_mail(&[]).await;
    let admin = app.admin().await;
    let cleo = app.made_by_admin("cleo", &["user"]).await;
    cleo.post("/api/auth/email/verify/request").await.is(202);
    let token = app.mail_to("cleo@example.com", "verification").await.token();
    let switch =
        async |on: bool| admin.patch(&cleo.path()).json(&json!({"is_active": on})).await.is(200).json();
    switch(false).await;
    app.verify(&token).await.refused(401, "token_invalid");
    app.try_sign_in("cleo", PASSWORD).await.refused(403, "user_inactive");
    switch(true).await;
    app.verify(&token).await.refused(401, "token_invalid");
    assert_eq!(app.sign_in("cleo").await.me().await["email_verified"], false);
}
