//! Asking for a link to a new password.

use std::time::Duration;

use serde_json::json;

use crate::attacks::same;
use crate::harness::{PASSWORD, TestApp, with_query};

const FORGOT: &str = "/api/auth/forgot-password/request";
const ANN: &str = "ann@example.com";

async fn links_sent(app: &TestApp, address: &str) -> usize {
    app.letters_to(address).await.iter().filter(|letter| *letter == "reset").count()
}

//
#[tokio::test]
async fn everybody_is_answered_alike_and_only_the_known_one_is_written_to() {
    let app = TestApp::with_mail(&[]).await;
    let admin = app.admin().await;
    app.user("ann").await;
    app.banned().await;
    let deleted = app.user("gone").await;
    deleted.delete(&deleted.path()).await.is(200);
    let erased = app.user("erased").await;
    admin.delete(&erased.path()).await.is(200);
    admin.post("/api/user/").json(&json!({"username": "unaddressed", "password": PASSWORD})).await.is(201);
    app.sign_up("unproved", "unproved@example.com", PASSWORD).await.is(202);
    let known = app.forget(("username", "ann")).await;
    assert!(known.is(202).header("set-cookie").is_none());
    let before = app.inbox().await.len();
    for who in ["nobody", "banned", "gone", "erased", "unaddressed", "unproved", "Not a name!"] {
        same(&known, &app.forget(("username", who)).await);
    }
    for who in ["nobody@example.com", "banned@example.com", "gone@example.com", "erased@example.com", "x"] {
        same(&known, &app.forget(("email", who)).await);
    }
    assert_eq!(app.inbox().await.len(), before, "nobody was written to");
    same(&known, &app.forget(("email", ANN)).await);
    assert_eq!(links_sent(&app, ANN).await, 2);
}

#[tokio::test]
async fn the_name_or_the_address_will_do_in_every_form() {
    let app = TestApp::with_mail(&[("BASE_URL", "http://localhost:8000")]).await;
    for name in ["ann", "bob", "cleo", "dora", "eve"] {
        app.user(name).await;
    }
    app.forget(("username", "ANN")).await.is(202);
    app.forget(("email", "Bob@Example.com")).await.is(202);
    app.post(FORGOT).form(&[("username", "cleo"), ("email", "cleo@example.com")]).await.is(202);
    app.get(&with_query(FORGOT, &[("email", "dora@example.com")])).await.is(202);
    app.get(&with_query(FORGOT, &[("username", "dora")])).await.is(202);
    // Empty is not given: what the other field says counts, whichever of the two it is.
    let eve = "eve@example.com";
    app.get(&with_query(FORGOT, &[("username", ""), ("email", eve)])).await.is(202);
    app.post(FORGOT).form(&[("username", ""), ("email", eve)]).await.is(202);
    app.post(FORGOT).json(&json!({"username": "", "email": eve})).await.is(202);
    app.post(FORGOT).json(&json!({"username": "ann", "email": ""})).await.is(202);
    for (name, links) in [("ann", 2), ("bob", 1), ("cleo", 1), ("dora", 2), ("eve", 3)] {
        let address = format!("{name}@example.com");
        assert_eq!(links_sent(&app, &address).await, links, "{name}");
        let mail = app.mail_to(&address, "reset").await;
        assert!(mail.link().starts_with("http://localhost:8000/"), "{mail:?}");
        assert!(mail.token().len() >= 43, "256 bits");
        assert!(mail.text.contains("15"), "how long it is good: {mail:?}");
    }
    for body in [
        json!({}),
        json!({"username": ""}),
        json!({"username": "", "email": ""}),
        json!({"username": null, "email": null}),
        json!({"user": "ann"}),
    ] {
        let reply = app.post(FORGOT).json(&body).await;
        assert_eq!(reply.status(), 422, "{body}: {reply:?}");
    }
    app.get(FORGOT).await.refused(422, "validation_failed");
}

// A reset request must not disable the account.
#[tokio::test]
async fn asking_changes_nothing_about_the_account() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let before = ann.me().await;
    app.forget(("username", "ann")).await.is(202);
    app.get(&with_query(FORGOT, &[("username", "ann")])).await.is(202);
    assert_eq!(ann.me().await, before);
    app.sign_in("ann").await;
    let refresh = json!({"refresh_token": ann.refresh});
    app.post("/api/auth/token/refresh").json(&refresh).await.is(200);
}

#[tokio::test]
async fn who_is_signed_in_asks_for_themselves() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    app.get("/api/auth/password/reset").await.refused(401, "token_invalid");
    ann.get("/api/auth/password/reset").await.is(202);
    assert_eq!(links_sent(&app, ANN).await, 1);
    let token = app.mail_to(ANN, "reset").await.token();
    app.reset(&token, super::OTHER_PASSWORD).await.is(200);
}

// The cookie goes along with a link on somebody else's page; a program sends none of these headers.
#[tokio::test]
async fn a_link_or_a_picture_of_another_site_has_nobody_written_to() {
    let app = TestApp::with_mail(&[("CORS_ORIGINS", "https://app.test")]).await;
    let ann = app.user("ann").await;
    let forgot = with_query(FORGOT, &[("username", "ann")]);
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.test"),
        ("origin", "null"),
    ] {
        app.get(&forgot).header(name, value).await.refused(403, "forbidden");
        ann.get("/api/auth/password/reset").header(name, value).await.refused(403, "forbidden");
    }
    assert_eq!(links_sent(&app, ANN).await, 0);
    // Typed into the address bar, or followed from a mail program; our own page; a page that is listed.
    app.get(&forgot).header("sec-fetch-site", "none").await.is(202);
    ann.get("/api/auth/password/reset").header("sec-fetch-site", "same-origin").await.is(202);
    assert_eq!(links_sent(&app, ANN).await, 2);
    app.user("bob").await;
    let listed = app.get(&with_query(FORGOT, &[("username", "bob")])).header("origin", "https://app.test");
    listed.header("sec-fetch-site", "cross-site").await.is(202);
    assert_eq!(links_sent(&app, "bob@example.com").await, 1);
}

// three in an hour for one account, by whichever of its names; the answer does not tell.
#[tokio::test]
async fn an_account_is_sent_three_links_an_hour() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    app.user("bob").await;
    app.clock.advance(Duration::from_hours(1));
    let first = app.forget(("username", "ann")).await;
    for who in [("email", ANN), ("username", "ANN"), ("username", "ann"), ("email", "Ann@example.com")] {
        same(&first, &app.forget(who).await);
    }
    assert_eq!(links_sent(&app, ANN).await, 3);
    app.forget(("username", "bob")).await.is(202);
    assert_eq!(links_sent(&app, "bob@example.com").await, 1);
    app.clock.advance(Duration::from_secs(3601));
    app.forget(("username", "ann")).await.is(202);
    assert_eq!(links_sent(&app, ANN).await, 4);
}

#[tokio::test]
async fn one_client_asks_so_often_and_no_more() {
    let app = TestApp::with_mail(&[("THROTTLE_FORGOT", "1/1h")]).await;
    // Clients on this very machine may ask a hundred times as often.
    for number in 0..100 {
        app.forget(("username", &format!("nobody_{number}"))).await.is(202);
    }
    app.forget(("username", "nobody_100")).await.refused(429, "rate_limited");
    app.get(&with_query(FORGOT, &[("username", "nobody_100")])).await.refused(429, "rate_limited");
    app.clock.advance(Duration::from_secs(3601));
    app.forget(("username", "nobody_100")).await.is(202);
}

#[tokio::test]
async fn with_mail_off_nothing_is_sent_and_the_answer_is_the_same() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let known = app.forget(("username", "ann")).await;
    known.is(202);
    same(&known, &app.forget(("username", "nobody")).await);
    assert!(app.inbox().await.is_empty());
}

#[tokio::test]
async fn the_page_asks_as_well() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await;
    for path in ["/forgot-password/request", "/reset-password/request"] {
        app.get(path).await.is(200);
        app.post(path).form(&[("username", "ann")]).await.is(403);
        let ours =
            |who: &str| app.post(path).header("origin", "http://localhost:8000").form(&[("username", who)]);
        let (known, unknown) = (ours("ann").await, ours("nobody").await);
        assert_eq!((known.status(), unknown.status()), (202, 202));
        let shown = |reply: &crate::harness::Reply| {
            // A page bears a nonce, another each time.
            let text = reply.text().to_owned();
            let nonce = text.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next());
            nonce.map_or(text.clone(), |nonce| text.replace(nonce, "-"))
        };
        assert_eq!(shown(&known), shown(&unknown));
    }
    assert_eq!(links_sent(&app, ANN).await, 2);
}
