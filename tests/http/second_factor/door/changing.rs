//! Another method, or none: `PATCH /auth/OTP/{method}`.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Demand, PASSWORD, TestApp, recovery_codes};

const TEN_MINUTES: Duration = Duration::from_mins(10);

#[tokio::test]
async fn turning_it_off_takes_a_code_of_it() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let (authenticator, codes) = ann.enrol(&app).await;
    let there = app.sign_in_with("ann", &authenticator.next_code(&app)).await;
    let spent = authenticator.code(&app);
    for wrong in [&*authenticator.wrong_code(&app), &spent, "", "none"] {
        ann.change_method("none", wrong).await.refused(401, "invalid_otp");
    }
    ann.patch("/api/auth/OTP/none").await.refused(401, "invalid_otp");
    Demand::of(&app.try_sign_in("ann", PASSWORD).await);
    let changed = ann.change_method("none", &authenticator.next_code(&app)).await;
    let user = changed.is(200).json();
    assert_eq!((&user["otp_method"], user.get("recovery_codes")), (&json!("none"), None));
    app.sign_in("ann").await;
    there.get("/api/user/me").await.refused(401, "token_invalid");
    ann.me().await;
    let told = app.letters_to("ann@example.com").await;
    assert_eq!(told.iter().filter(|letter| *letter == "second-factor-changed").count(), 2, "{told:?}");
    // What went with it does not come back with another one.
    let (authenticator, _) = ann.enrol(&app).await;
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &codes[0]).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &authenticator.next_code(&app)).await.is(200);
}

#[tokio::test]
async fn it_needs_a_fresh_proof_that_includes_the_present_factor() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (authenticator, _) = ann.enrol(&app).await;
    app.clock.advance(TEN_MINUTES + Duration::from_secs(1));
    let code = authenticator.code(&app);
    ann.change_method("none", &code).await.refused(401, "reauthentication_required");
    ann.reauthenticate(None).await.refused(401, "otp_required");
    ann.reauthenticate(Some(&authenticator.wrong_code(&app))).await.refused(401, "invalid_otp");
    ann.change_method("none", &code).await.refused(401, "reauthentication_required");
    let proof = json!({"password": "not the password 12", "otp_code": code});
    ann.post("/api/auth/reauthenticate").json(&proof).await.refused(401, "invalid_credentials");
    app.clock.advance(Duration::from_secs(2));
    ann.reauthenticate(Some(&code)).await.is(200);
    // One code, one use.
    ann.change_method("none", &code).await.refused(401, "invalid_otp");
    ann.change_method("none", &authenticator.next_code(&app)).await.is(200);
}

#[tokio::test]
async fn a_code_proves_once_in_whatever_place() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (authenticator, _) = ann.enrol(&app).await;
    let code = authenticator.next_code(&app);
    ann.reauthenticate(Some(&code)).await.is(200);
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &code).await.refused(401, "invalid_otp");
    let code = authenticator.next_code(&app);
    app.answer(&demand.token, &code).await.is(200);
    ann.reauthenticate(Some(&code)).await.refused(401, "invalid_otp");
}

#[tokio::test]
async fn what_is_off_cannot_be_turned_off_and_other_methods_do_not_exist() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let reply = ann.change_method("none", "123456").await;
    assert!((400..500).contains(&reply.status()), "{reply:?}");
    for method in ["sms", "Authenticator", "EMAIL", "%00", "none%20", "authenticator,email"] {
        let reply = ann.change_method(method, "123456").await;
        assert!(matches!(reply.status(), 400 | 401 | 404 | 422), "{method}: {reply:?}");
    }
    assert_eq!(ann.me().await["otp_method"], "none");
}

#[tokio::test]
async fn mail_can_be_chosen_by_who_has_proved_their_address_where_mail_is_sent_and_allowed() {
    let off = TestApp::new().await;
    let ann = off.user("ann").await;
    ann.change_method("email", "123456").await.invalid(&["method"]);
    ann.patch("/api/auth/OTP/email").json(&json!({})).await.invalid(&["method"]);
    ann.patch("/api/auth/OTP/authenticator").json(&json!({})).await.refused(401, "invalid_otp");
    ann.post("/api/auth/OTP/send").await.refused(422, "validation_failed");

    let forbidden = TestApp::with_mail(&[("OTP_EMAIL_ALLOWED", "False")]).await;
    let ann = forbidden.user("ann").await;
    ann.change_method("email", "123456").await.invalid(&["method"]);
    ann.post("/api/auth/OTP/send").await.refused(422, "validation_failed");

    let app = TestApp::with_mail(&[]).await;
    let unproved = app.made_by_admin("bob", &["user"]).await;
    assert_eq!(unproved.me().await["email_verified"], false);
    unproved.change_method("email", "123456").await.invalid(&["method"]);
    unproved.post("/api/auth/OTP/send").await.refused(422, "validation_failed");
    let unaddressed = json!({"username": "cleo", "password": PASSWORD});
    app.admin().await.post("/api/user/").json(&unaddressed).await.is(201);
    app.sign_in("cleo").await.change_method("email", "123456").await.invalid(&["method"]);
    for nobody in ["bob@example.com", "cleo@example.com"] {
        assert!(!app.letters_to(nobody).await.contains(&"code".to_owned()), "{nobody}");
    }
}

#[tokio::test]
async fn one_may_go_from_one_method_to_another() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let (authenticator, of_app) = ann.enrol(&app).await;
    // To mail: the code of the new method, though the old one's would be right.
    ann.change_method("email", &authenticator.next_code(&app)).await.refused(401, "invalid_otp");
    let of_mail = ann.enrol_mail(&app).await;
    assert_eq!(ann.me().await["otp_method"], "email");
    let demand = app.demand("ann").await;
    assert_eq!(demand.method, "email");
    app.answer(&demand.token, &authenticator.next_code(&app)).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &of_app[0]).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &of_mail[0]).await.is(200);
    // And back: pending until its code was right, as the first time.
    let authenticator = ann.begin_authenticator().await;
    assert_eq!(ann.me().await["otp_method"], "email");
    let changed = ann.change_method("authenticator", &authenticator.code(&app)).await.is(200).json();
    assert_eq!((&changed["otp_method"], recovery_codes(&changed).len()), (&json!("authenticator"), 10));
    let demand = app.demand("ann").await;
    assert_eq!(demand.method, "authenticator");
    app.answer(&demand.token, &of_mail[1]).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &authenticator.next_code(&app)).await.is(200);
}

#[tokio::test]
async fn with_mail_it_is_turned_off_by_a_mailed_code() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    ann.enrol_mail(&app).await;
    ann.change_method("none", "000000").await.refused(401, "invalid_otp");
    app.clock.advance(Duration::from_secs(61));
    ann.post("/api/auth/OTP/send").await.is(202);
    let code = app.mail_to("ann@example.com", "code").await.code();
    assert_eq!(ann.change_method("none", &code).await.is(200).json()["otp_method"], "none");
    app.sign_in("ann").await;
}

#[tokio::test]
async fn the_operator_takes_off_a_lost_one_which_ends_everything_and_is_told() {
    let app = TestApp::with_mail(&[]).await;
    let root = app.admin().await;
    let ann = app.user("ann").await;
    let (authenticator, codes) = ann.enrol(&app).await;
    let demand = app.demand("ann").await;
    assert!(app.inside.auth.remove_second_factor(ann.id).await.unwrap());
    ann.get("/api/user/me").await.refused(401, "token_invalid");
    app.answer(&demand.token, &authenticator.next_code(&app)).await.refused(401, "invalid_otp");

    let ann = app.sign_in("ann").await;
    assert_eq!(ann.me().await["otp_method"], "none");
    let told = app.letters_to("ann@example.com").await;
    assert_eq!(told.iter().filter(|letter| *letter == "second-factor-changed").count(), 2, "{told:?}");
    let history = ann.get(&format!("{}/history", ann.path())).await.is(200).json();
    assert_eq!(history[0]["action"], "second_factor_changed", "{history}");
    let log = root.get("/api/admin/audit").await.is(200).json();
    let entry = log.as_array().unwrap().iter().find(|entry| entry["action"] == "second_factor_changed");
    let entry = entry.unwrap_or_else(|| panic!("{log}"));
    assert_eq!((&entry["actor"], &entry["subject"]), (&json!(null), &json!(ann.id)), "{entry}");

    // What went does not come back with another one.
    let (authenticator, _) = ann.enrol(&app).await;
    let demand = app.demand("ann").await;
    app.answer(&demand.token, &codes[0]).await.refused(401, "invalid_otp");
    app.answer(&demand.token, &authenticator.next_code(&app)).await.is(200);
}

#[tokio::test]
async fn who_has_none_has_nothing_taken_off_and_stays_signed_in() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    assert!(!app.inside.auth.remove_second_factor(ann.id).await.unwrap());
    ann.me().await;
    assert!(!app.letters_to("ann@example.com").await.contains(&"second-factor-changed".to_owned()));
}
