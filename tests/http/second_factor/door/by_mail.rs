//! Codes by mail: as second factor, and `POST /auth/OTP/send`.

use std::time::Duration;

use serde_json::json;

use crate::clock::set;
use crate::harness::{Actor, Reply, START, TestApp, claims};

const SEND: &str = "/api/auth/OTP/send";
const ANN: &str = "ann@example.com";
const MINUTE: Duration = Duration::from_secs(61);

async fn with_codes_by_mail(app: &TestApp) -> Actor {
    let ann = app.user("ann").await;
    ann.enrol_mail(app).await;
    // Time enough for the next code.
    app.clock.advance(Duration::from_hours(2));
    let refreshed = app.post("/api/auth/token/refresh").json(&json!({"refresh_token": ann.refresh})).await;
    Actor::with_tokens(app, "ann", &refreshed.is(200).json())
}

async fn code(app: &TestApp) -> String {
    app.mail_to(ANN, "code").await.code()
}

async fn codes_sent(app: &TestApp) -> usize {
    app.letters_to(ANN).await.iter().filter(|letter| *letter == "code").count()
}

async fn send(app: &TestApp, token: &str) -> Reply {
    app.post(SEND).json(&json!({"otp_token": token})).await
}

fn other_than(code: &str) -> String {
    code.chars().map(|digit| if digit == '7' { '3' } else { '7' }).collect()
}

#[tokio::test]
async fn signing_in_mails_a_code_that_works_once() {
    let app = TestApp::with_mail(&[]).await;
    with_codes_by_mail(&app).await;
    let sent = codes_sent(&app).await;
    let demand = app.demand("ann").await;
    assert_eq!(demand.method, "email");
    assert_eq!(codes_sent(&app).await, sent + 1);
    let (right, sign_in) = (code(&app).await, demand.token);
    app.answer(&sign_in, &other_than(&right)).await.refused(401, "invalid_otp");
    let tokens = app.answer(&sign_in, &right).await.is(200).json();
    let amr = claims(tokens["access_token"].as_str().unwrap())["amr"].clone();
    assert_eq!(amr, json!(["pwd", "otp", "mfa"]));
    app.answer(&sign_in, &right).await.refused(401, "invalid_otp");
    app.clock.advance(MINUTE);
    let another = app.demand("ann").await;
    app.answer(&another.token, &right).await.refused(401, "invalid_otp");
}

#[tokio::test]
async fn a_code_has_as_many_digits_as_the_operator_chose() {
    for (length, digits) in [("6", 6), ("8", 8)] {
        let app = TestApp::with_mail(&[("OTP_LENGTH", length)]).await;
        with_codes_by_mail(&app).await;
        let demand = app.demand("ann").await;
        let code = code(&app).await;
        assert_eq!(code.len(), digits);
        app.answer(&demand.token, &code).await.is(200);
    }
}

#[tokio::test]
async fn another_code_can_be_had_after_a_minute_and_voids_the_one_before() {
    let app = TestApp::with_mail(&[]).await;
    with_codes_by_mail(&app).await;
    let demand = app.demand("ann").await;
    let first = code(&app).await;
    app.clock.advance(MINUTE);
    send(&app, &demand.token).await.is(202);
    let second = code(&app).await;
    assert_ne!(first, second, "one in a million that they are the same");
    send(&app, &demand.token).await.refused(429, "rate_limited");
    app.answer(&demand.token, &first).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &second).await.is(200);
}

#[tokio::test]
async fn codes_stand_a_minute_apart_also_behind_the_first() {
    let app = TestApp::with_mail(&[]).await;
    with_codes_by_mail(&app).await;
    let demand = app.demand("ann").await;
    let sent = codes_sent(&app).await;
    let reply = send(&app, &demand.token).await;
    reply.refused(429, "rate_limited");
    assert!((1..=60).contains(&reply.header("retry-after").unwrap().parse::<u32>().unwrap()), "{reply:?}");
    assert_eq!(codes_sent(&app).await, sent);
}

// F-18
#[tokio::test]
async fn a_code_of_before_the_clock_was_set_back_keeps_nobody_from_another() {
    let app = TestApp::with_mail(&[]).await;
    with_codes_by_mail(&app).await;
    let demand = app.demand("ann").await;
    set(&app, START.after(Duration::from_mins(30)));
    send(&app, &demand.token).await.is(202);
    send(&app, &demand.token).await.refused(429, "rate_limited");
}

#[tokio::test]
async fn at_most_five_codes_can_be_had_in_an_hour() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let mut sent = 0;
    for _ in 0..10 {
        ann.reauthenticate(None).await.is(200);
        let reply = ann.post(SEND).await;
        if reply.status() == 202 {
            sent += 1;
        } else {
            reply.refused(429, "rate_limited");
        }
        app.clock.advance(MINUTE);
    }
    assert!(sent <= 5, "{sent}");
    // The address's own budget for letters may be spent earlier: what is told to be sent need not be.
    assert!(codes_sent(&app).await <= 5);
    app.clock.advance(Duration::from_hours(1));
    let ann = app.sign_in("ann").await;
    ann.post(SEND).await.is(202);
    ann.change_method("email", &code(&app).await).await.is(200);
}

#[tokio::test]
async fn a_code_that_is_not_mailed_voids_none_that_was() {
    let app = TestApp::with_mail(&[]).await;
    let ann = with_codes_by_mail(&app).await;
    ann.post(SEND).await.is(202);
    let of_session = code(&app).await;
    // Each sign-in has one sent as well, and the address gets five in an hour.
    for _ in 0..3 {
        app.demand("ann").await;
    }
    let demand = app.demand("ann").await;
    let (of_sign_in, sent) = (code(&app).await, codes_sent(&app).await);
    app.clock.advance(MINUTE);
    for refused in [send(&app, &demand.token).await, ann.post(SEND).await] {
        refused.refused(429, "rate_limited");
        assert!((1..=3600).contains(&refused.header("retry-after").unwrap().parse::<u32>().unwrap()));
    }
    let unsent = app.demand("ann").await;
    assert_eq!(codes_sent(&app).await, sent);
    ann.reauthenticate(Some(&of_session)).await.is(200);
    app.answer(&unsent.token, &of_sign_in).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &of_sign_in).await.is(200);
    app.clock.advance(Duration::from_hours(1));
    app.demand("ann").await;
    assert_eq!(codes_sent(&app).await, sent + 1);
}

#[tokio::test]
async fn the_cookie_is_as_good_as_the_token() {
    let app = TestApp::with_mail(&[]).await;
    with_codes_by_mail(&app).await;
    let demand = app.demand("ann").await;
    app.clock.advance(MINUTE);
    app.post(SEND).header("cookie", &format!("gatehouse-otp={}", demand.token)).await.is(202);
    app.answer(&demand.token, &code(&app).await).await.is(200);
}

#[tokio::test]
async fn a_cookie_that_another_sign_in_left_behind_hides_nobody_who_shows_a_token() {
    let app = TestApp::with_mail(&[]).await;
    let ann = with_codes_by_mail(&app).await;
    let over = app.demand("ann").await;
    app.answer(&over.token, &code(&app).await).await.is(200);
    let sent = codes_sent(&app).await;
    ann.post(SEND).header("cookie", &format!("gatehouse-otp={}", over.token)).await.is(202);
    assert_eq!(codes_sent(&app).await, sent + 1);
    ann.reauthenticate(Some(&code(&app).await)).await.is(200);
    // In the body it is meant, and a token that opens nothing hides no cookie.
    ann.post(SEND).json(&json!({"otp_token": over.token})).await.refused(401, "invalid_otp");
    app.clock.advance(MINUTE);
    let open = app.demand("ann").await;
    app.clock.advance(MINUTE);
    let cookie = format!("gatehouse-otp={}", open.token);
    app.with_bearer("no token").post(SEND).header("cookie", &cookie).await.is(202);
    app.answer(&open.token, &code(&app).await).await.is(200);
}

#[tokio::test]
async fn nobody_is_sent_a_code_who_neither_signs_in_nor_is_signed_in() {
    let app = TestApp::with_mail(&[]).await;
    with_codes_by_mail(&app).await;
    let sent = codes_sent(&app).await;
    let unknown =
        app.post("/api/auth/login").json(&json!({"username": "x", "password": "not the one 12"})).await;
    unknown.refused(401, "invalid_credentials");
    for token in ["", "x", &"A".repeat(43)] {
        assert!(matches!(send(&app, token).await.status(), 401 | 422), "{token}");
    }
    app.post(SEND).await.is(401);
    app.post(SEND).json(&json!({})).await.is(401);
    app.post(SEND).json(&json!({"email": ANN})).await.refused(422, "validation_failed");
    assert_eq!(codes_sent(&app).await, sent);
}

#[tokio::test]
async fn a_code_to_choose_it_is_good_in_this_session_for_ten_minutes() {
    let app = TestApp::with_mail(&[]).await;
    let here = app.user("ann").await;
    let there = app.sign_in("ann").await;
    here.post(SEND).await.is(202);
    let first = code(&app).await;
    there.change_method("email", &first).await.refused(401, "invalid_otp");
    app.clock.advance(Duration::from_secs(601));
    here.reauthenticate(None).await.is(200);
    here.change_method("email", &first).await.refused(401, "invalid_otp");
    here.post(SEND).await.is(202);
    let second = code(&app).await;
    app.clock.advance(Duration::from_secs(599));
    let changed = here.change_method("email", &second).await.is(200).json();
    assert_eq!(changed["otp_method"], "email");
    there.get("/api/user/me").await.refused(401, "token_invalid");
    here.me().await;
}

#[tokio::test]
async fn a_mailed_code_belongs_to_the_proof_of_identity() {
    let app = TestApp::with_mail(&[]).await;
    let ann = with_codes_by_mail(&app).await;
    ann.reauthenticate(None).await.refused(401, "otp_required");
    ann.post(SEND).await.is(202);
    let code = code(&app).await;
    ann.reauthenticate(Some(&other_than(&code))).await.refused(401, "invalid_otp");
    ann.reauthenticate(Some(&code)).await.is(200);
    ann.reauthenticate(Some(&code)).await.refused(401, "invalid_otp");
}

#[tokio::test]
async fn strangers_who_fill_the_mailbox_keep_nobody_from_signing_in() {
    let app = TestApp::with_mail(&[]).await;
    with_codes_by_mail(&app).await;
    for number in 0..10 {
        app.forget(("username", "ann")).await.is(202);
        app.sign_up(&format!("stranger_{number}"), ANN, "another good password 12").await.is(202);
    }
    let sent = codes_sent(&app).await;
    let demand = app.demand("ann").await;
    assert_eq!(codes_sent(&app).await, sent + 1);
    app.answer(&demand.token, &code(&app).await).await.is(200);
}

//
#[tokio::test]
async fn the_address_that_codes_go_to_stays_proved_while_they_are_the_second_factor() {
    let app = TestApp::with_mail(&[]).await;
    let ann = with_codes_by_mail(&app).await;
    let admin = app.admin().await;
    ann.post(SEND).await.is(202);
    ann.reauthenticate(Some(&code(&app).await)).await.is(200);
    let before = ann.me().await;
    ann.patch(&ann.path()).json(&json!({"email": null})).await.refused(409, "conflict");
    for change in [
        json!({"email": null}),
        json!({"email_verified": false}),
        json!({"email": "new@example.com", "email_verified": false}),
        json!({"email": null, "email_verified": true}),
    ] {
        admin.patch(&ann.path()).json(&change).await.refused(409, "conflict");
    }
    assert_eq!(ann.me().await, before);
    // Another address waits for its proof, and codes go to the old one until then.
    ann.patch(&ann.path()).json(&json!({"email": "new@example.com"})).await.is(200);
    app.clock.advance(MINUTE);
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &code(&app).await).await.is(200);
    let proof = app.mail_to("new@example.com", "verification").await.token();
    app.verify(&proof).await.is(200);
    app.clock.advance(MINUTE);
    let demand = app.demand("ann").await;
    let new = app.mail_to("new@example.com", "code").await.code();
    app.answer(&demand.token, &new).await.is(200);
}
