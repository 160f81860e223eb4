//! The first admin: by a link that works once, or by ADMIN_*.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Ask, Client, PASSWORD, TestApp, race};

/// The token of the set-up link, as the operator is shown it.
async fn link(app: &TestApp) -> String {
    app.inside.first_start().await.unwrap().expect("a set-up link").expose().to_owned()
}

fn set_up(app: &Client, token: &str, name: &str, password: &str) -> Ask {
    let email = format!("{name}@example.com");
    let form = [
        ("token", token),
        ("username", name),
        ("email", &email),
        ("password", password),
        ("confirm_password", password),
    ];
    app.post("/setup").form(&form)
}

#[tokio::test]
async fn whoever_has_the_link_becomes_the_admin() {
    let app = TestApp::new().await;
    let token = link(&app).await;
    set_up(&app, &token, "boss", PASSWORD).await.is(303);
    let boss = app.sign_in("boss").await;
    assert_eq!(boss.me().await["roles"], json!(["admin", "moderator", "user"]));
    boss.get("/api/user/").await.is(200);
}

#[tokio::test]
async fn looking_at_the_link_does_not_use_it_up() {
    let app = TestApp::new().await;
    let token = link(&app).await;
    for _ in 0..3 {
        let page = app.get(&format!("/setup?token={token}")).await;
        assert!(page.is(200).header("content-type").unwrap().starts_with("text/html"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    }
    set_up(&app, &token, "boss", PASSWORD).await.is(303);
}

#[tokio::test]
async fn the_link_works_once() {
    let app = TestApp::new().await;
    let token = link(&app).await;
    set_up(&app, &token, "boss", PASSWORD).await.is(303);
    set_up(&app, &token, "second", PASSWORD).await.is(401);
    app.try_sign_in("second", PASSWORD).await.refused(401, "invalid_credentials");
    assert!(app.inside.first_start().await.unwrap().is_none(), "there is an admin");
}

#[tokio::test]
async fn what_is_wrong_with_the_form_does_not_use_it_up() {
    let app = TestApp::new().await;
    let token = link(&app).await;
    set_up(&app, &token, "boss", "short").await.is(422);
    set_up(&app, &token, "Not A Name", PASSWORD).await.is(422);
    app.user("ann").await;
    set_up(&app, &token, "ann", PASSWORD).await.is(422);
    set_up(&app, &token, "boss", PASSWORD).await.is(303);
}

#[tokio::test]
async fn the_page_shows_what_was_typed_as_text() {
    let app = TestApp::new().await;
    let token = link(&app).await;
    let page = set_up(&app, &token, "<script>alert(1)</script>", "short").await;
    assert!(!page.is(422).text().contains("<script>alert"), "{page:?}");
    assert!(!page.text().contains("short\""), "the password is not shown again");
}

#[tokio::test]
async fn the_link_works_for_a_day() {
    let app = TestApp::new().await;
    let token = link(&app).await;
    app.clock.advance(Duration::from_hours(24));
    set_up(&app, &token, "boss", PASSWORD).await.is(401);
    let token = link(&app).await;
    app.clock.advance(Duration::from_hours(24) - Duration::from_secs(1));
    set_up(&app, &token, "boss", PASSWORD).await.is(303);
}

#[tokio::test]
async fn every_start_prints_a_link_and_any_of_the_newest_ten_works() {
    let app = TestApp::new().await;
    let mut links = Vec::new();
    for _ in 0..11 {
        links.push(link(&app).await);
        app.clock.advance(Duration::from_secs(1));
    }
    set_up(&app, &links[0], "boss", PASSWORD).await.is(401);
    set_up(&app, &links[1], "boss", PASSWORD).await.is(303);
    for other in &links {
        set_up(&app, other, "second", PASSWORD).await.is(401);
    }
    assert!(app.inside.first_start().await.unwrap().is_none(), "there is an admin");
}

#[tokio::test]
async fn without_a_link_nobody_gets_in() {
    let app = TestApp::new().await;
    link(&app).await;
    for token in ["", "x", &"A".repeat(43), &"x".repeat(5000)] {
        set_up(&app, token, "boss", PASSWORD).await.is(401);
        app.get(&format!("/setup?token={token}")).await;
    }
    app.get("/setup").await.is(401);
    assert!(!app.inside.users.has_admin().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_use_the_link_at_once_one_becomes_admin() {
    let app = TestApp::new().await;
    let other = app.second_instance().await;
    let token = link(&app).await;
    let replies = race(8, |number| {
        let instance: &Client = if number % 2 == 0 { &app } else { &other };
        set_up(instance, &token, &format!("boss_{number}"), PASSWORD)
    });
    let replies = replies.await;
    let winner = replies.iter().position(|reply| reply.status() == 303).expect("one becomes admin");
    assert_eq!(replies.iter().filter(|reply| reply.status() == 401).count(), 7);
    let boss = app.sign_in(&format!("boss_{winner}")).await;
    assert_eq!(boss.get("/api/user/count").await.is(200).json(), 1);
}

#[tokio::test]
async fn the_settings_can_name_the_first_admin() {
    let settings =
        [("ADMIN_USERNAME", "boss"), ("ADMIN_EMAIL", "boss@example.com"), ("ADMIN_PASSWORD", PASSWORD)];
    let app = TestApp::with(&settings).await;
    assert!(app.inside.first_start().await.unwrap().is_none(), "no link is needed");
    let boss = app.sign_in("boss").await;
    let me = boss.me().await;
    assert_eq!(
        (&me["email"], &me["roles"]),
        (&json!("boss@example.com"), &json!(["admin", "moderator", "user"]))
    );

    // A later start with other settings changes nobody.
    let other = "harbour 94 whistle amber";
    let again = app.restarted_with(&[("ADMIN_USERNAME", "other"), ("ADMIN_PASSWORD", other)]).await;
    assert!(again.inside.first_start().await.unwrap().is_none());
    again.try_sign_in("other", other).await.refused(401, "invalid_credentials");
    again.try_sign_in("boss", PASSWORD).await.is(200);
}

#[tokio::test]
async fn a_first_admin_with_a_bad_password_stops_the_start() {
    let app = TestApp::with(&[("ADMIN_USERNAME", "boss"), ("ADMIN_PASSWORD", "qwertyuiop12")]).await;
    let words = app.inside.first_start().await.expect_err("a refusal").to_string();
    assert!(words.contains("ADMIN_") && !words.contains("qwertyuiop12"), "{words}");
}

#[tokio::test]
async fn there_is_no_account_nobody_asked_for() {
    let app = TestApp::new().await;
    app.inside.first_start().await.unwrap();
    for (name, password) in
        [("admin", "admin"), ("admin", "password"), ("admin", "changethis"), ("root", "root")]
    {
        let reply = app.try_sign_in(name, password).await;
        assert!(matches!(reply.status(), 401 | 429), "{reply:?}");
    }
    let admin = app.admin().await;
    assert_eq!(admin.get("/api/user/count").await.json(), 1);
}
