//! The second factor at the pages: `/signin`, then `/otp`; and at the documentation.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Authenticator, PASSWORD, Reply, TestApp, with_query};

const OURS: &str = "http://localhost:8000";

async fn sign_in(app: &TestApp, path: &str, next: &str) -> Reply {
    let form = [("username", "ann"), ("password", PASSWORD), ("next", next)];
    app.post(path).header("origin", OURS).form(&form).await
}

async fn answer(app: &TestApp, cookie: &str, code: &str, next: &str) -> Reply {
    let ask = app.post("/otp").header("origin", OURS).header("cookie", &format!("gatehouse-otp={cookie}"));
    ask.form(&[("otp_code", code), ("next", next)]).await
}

/// An ordinary person with an authenticator; the documentation wants an admin.
async fn ann(app: &TestApp, roles: &[&str]) -> Authenticator {
    app.made_by_admin("ann", roles).await.enrol(app).await.0
}

/// It is a page of the door, of which nothing is kept or told.
#[track_caller]
fn is_private(page: &Reply) {
    assert!(page.header("content-type").unwrap().starts_with("text/html"), "{page:?}");
    assert_eq!(page.header("cache-control"), Some("no-store"), "{page:?}");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"), "{page:?}");
}

#[tokio::test]
async fn the_page_of_the_second_factor_follows_and_the_session_comes_with_its_code() {
    let app = TestApp::new().await;
    let authenticator = ann(&app, &["user"]).await;
    // A page in place of the form would have a browser ask, on its way back, whether to send the password again.
    let away = sign_in(&app, "/signin", "/account").await;
    let place = away.is(303).header("location").expect("a place").to_owned();
    assert_eq!(place, "/otp?next=%2Faccount");
    assert!(away.set_cookie("gatehouse").is_none(), "no session yet");
    let waiting = away.cookie("gatehouse-otp").expect("the challenge").to_owned();
    assert!(away.bytes().is_empty() && !place.contains(&waiting), "scripts can't read it");
    let shown = app.get(&place).header("cookie", &format!("gatehouse-otp={waiting}")).await;
    is_private(shown.is(200));
    let text = shown.text().replace("&#x2f;", "/");
    assert!(text.contains("action=\"/otp\"") && text.contains("name=\"next\" value=\"/account\""), "{text}");
    assert!(!text.contains(&waiting) && text.contains("Enter the code of your authenticator"), "{text}");
    let wrong = answer(&app, &waiting, &authenticator.wrong_code(&app), "/account").await;
    is_private(wrong.is(401));
    assert!(wrong.set_cookie("gatehouse").is_none());
    let reply = answer(&app, &waiting, &authenticator.next_code(&app), "/account").await;
    assert_eq!(reply.is(303).header("location"), Some("/account"));
    assert!(reply.set_cookie("gatehouse-otp").unwrap().contains("Max-Age=0"));
    let session = format!("gatehouse={}", reply.cookie("gatehouse").expect("a session"));
    let me = app.get("/api/user/me").header("cookie", &session).await.is(200).json();
    assert_eq!(me["username"], "ann");
    let again = answer(&app, &waiting, &authenticator.next_code(&app), "").await;
    assert!(again.status() == 401 && again.set_cookie("gatehouse").is_none(), "{again:?}");
}

#[tokio::test]
async fn the_page_says_when_the_code_came_by_mail() {
    let app = TestApp::with_mail(&[]).await;
    app.user("ann").await.enrol_mail(&app).await;
    app.clock.advance(Duration::from_hours(2)); // time enough for the next code
    let waiting = sign_in(&app, "/signin", "").await.is(303).cookie("gatehouse-otp").unwrap().to_owned();
    let shown = app.get("/otp").header("cookie", &format!("gatehouse-otp={waiting}")).await;
    assert!(shown.is(200).text().contains("We have sent you a mail with a code."), "{shown:?}");
    // Of a challenge that is none any more nothing is said.
    app.clock.advance(Duration::from_secs(301));
    let shown = app.get("/otp").header("cookie", &format!("gatehouse-otp={waiting}")).await;
    assert!(!shown.is(200).text().contains("We have sent you"), "{shown:?}");
}

#[tokio::test]
async fn the_page_leads_back_to_the_sign_in_when_nothing_waits() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/otp").await.is(303).header("location"), Some("/signin"));
    let posted = app.post("/otp").header("origin", OURS).form(&[("otp_code", "123456")]).await;
    assert!(matches!(posted.status(), 303 | 401) && posted.set_cookie("gatehouse").is_none(), "{posted:?}");
    let made_up = answer(&app, "made-up", "123456", "").await;
    assert!(made_up.is(401).set_cookie("gatehouse").is_none());
}

#[tokio::test]
async fn it_leads_to_pages_of_this_server_only() {
    let app = TestApp::new().await;
    let authenticator = ann(&app, &["user"]).await;
    for evil in ["https://evil.test", "//evil.test", "/\\evil.test", "javascript:alert(1)", "/a\r\nx: y"] {
        let away = sign_in(&app, "/signin", evil).await;
        assert_eq!(away.is(303).header("location"), Some("/otp"), "{away:?}");
        let waiting = away.cookie("gatehouse-otp").unwrap().to_owned();
        let cookie = format!("gatehouse-otp={waiting}");
        let page = app.get(&with_query("/otp", &[("next", evil)])).header("cookie", &cookie).await;
        assert!(page.is(200).text().contains("name=\"next\" value=\"\""), "{page:?}");
        let reply = answer(&app, &waiting, &authenticator.next_code(&app), evil).await;
        assert!(reply.cookie("gatehouse").is_some(), "{reply:?}");
        assert!(reply.header("location").is_none_or(|place| !place.contains("evil")), "{reply:?}");
        assert!(!reply.text().contains("evil"), "{reply:?}");
    }
}

#[tokio::test]
async fn another_site_answers_for_nobody() {
    let app = TestApp::new().await;
    let authenticator = ann(&app, &["user"]).await;
    let waiting = sign_in(&app, "/signin", "").await.cookie("gatehouse-otp").unwrap().to_owned();
    let cookie = format!("gatehouse-otp={waiting}");
    for headers in [&[][..], &[("origin", "https://evil.test")], &[("sec-fetch-site", "cross-site")]] {
        let code = authenticator.next_code(&app);
        let mut ask = app.post("/otp").header("cookie", &cookie).form(&[("otp_code", &code)]);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        let reply = ask.await;
        assert!(reply.is(403).set_cookie("gatehouse").is_none(), "{headers:?}");
    }
    let ours = answer(&app, &waiting, &authenticator.next_code(&app), "").await;
    assert!(ours.cookie("gatehouse").is_some(), "{ours:?}");
}

#[tokio::test]
async fn the_documentation_asks_for_it_and_opens_then() {
    let app = TestApp::with(&[("PROTECTED_INTERACTIVE_DOCS", "True")]).await;
    let authenticator = ann(&app, &["admin", "user"]).await;
    let away = sign_in(&app, "/signin", "/interactive-docs").await;
    assert_eq!(away.is(303).header("location"), Some("/otp?next=%2Finteractive-docs"));
    assert!(away.set_cookie("gatehouse").is_none(), "no session yet");
    let waiting = away.cookie("gatehouse-otp").expect("the challenge").to_owned();
    let closed = app.get("/interactive-docs").header("cookie", &format!("gatehouse-otp={waiting}")).await;
    assert_eq!(closed.is(303).header("location"), Some("/signin?next=%2Finteractive-docs"));
    let reply = answer(&app, &waiting, &authenticator.next_code(&app), "/interactive-docs").await;
    assert_eq!(reply.is(303).header("location"), Some("/interactive-docs"));
    let session = format!("gatehouse={}", reply.cookie("gatehouse").unwrap());
    let open = app.get("/interactive-docs").header("cookie", &session).await;
    assert!(open.is(200).text().contains("swagger"), "{open:?}");
}

#[tokio::test]
async fn a_recovery_code_will_do_and_the_time_is_kept() {
    let app = TestApp::new().await;
    let codes = app.user("ann").await.enrol(&app).await.1;
    let waiting = sign_in(&app, "/signin", "").await.cookie("gatehouse-otp").unwrap().to_owned();
    app.clock.advance(Duration::from_secs(301));
    answer(&app, &waiting, &codes[0], "").await.is(401);
    let waiting = sign_in(&app, "/signin", "").await.cookie("gatehouse-otp").unwrap().to_owned();
    assert!(answer(&app, &waiting, &codes[0], "").await.cookie("gatehouse").is_some());
}

// what a browser keeps from scripts is handed to none, and a program's token becomes no cookie.
#[tokio::test]
async fn half_a_sign_in_at_one_door_is_nothing_at_the_other() {
    let app = TestApp::new().await;
    let authenticator = ann(&app, &["user"]).await;
    let of_page = sign_in(&app, "/signin", "").await.is(303).cookie("gatehouse-otp").unwrap().to_owned();
    let of_program = app.demand("ann").await.token;
    let code = authenticator.next_code(&app);
    app.answer(&of_page, &code).await.refused(401, "invalid_otp");
    let by_cookie = app.post("/api/auth/OTP").header("cookie", &format!("gatehouse-otp={of_page}"));
    by_cookie.json(&json!({"otp_code": code})).await.refused(401, "invalid_otp");
    let page = answer(&app, &of_program, &code, "").await;
    assert!(page.status() == 401 && page.set_cookie("gatehouse").is_none(), "{page:?}");
    // Neither the code nor a try is used up.
    assert!(answer(&app, &of_page, &code, "").await.is(303).cookie("gatehouse").is_some());
    app.answer(&of_program, &authenticator.next_code(&app)).await.is(200);
}
