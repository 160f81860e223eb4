//! Roles that need a second factor, from the sign-in to the day on which it holds.

use std::time::Duration;

use serde_json::json;

use crate::harness::TestApp;

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn who_must_have_one_signs_in_sets_it_up_and_is_in() {
    let app = TestApp::with(&[("OTP_REQUIRED_ROLES", "user")]).await;
    let ann = app.user("ann").await;
    ann.get(&ann.path()).await.refused(403, "second_factor_required");
    ann.get("/api/auth/token/validate").await.is(200);
    let (authenticator, _) = ann.enrol(&app).await;
    ann.get(&ann.path()).await.is(200);
    app.sign_in_with("ann", &authenticator.next_code(&app)).await.get(&ann.path()).await.is(200);
    // Without it again, out again.
    ann.change_method("none", &authenticator.next_code(&app)).await.is(200);
    ann.get(&ann.path()).await.refused(403, "second_factor_required");
}

#[tokio::test]
async fn with_a_day_it_holds_from_that_day_on_for_open_sessions_too() {
    let app = TestApp::with(&[("OTP_REQUIRED_ROLES", "moderator=2026-01-02")]).await;
    let mods = app.moderator().await;
    app.clock.advance(DAY - Duration::from_mins(5));
    let mods = app.sign_in(&mods.name).await;
    mods.get("/api/user/").await.is(200);
    app.clock.advance(Duration::from_mins(5));
    mods.get("/api/user/").await.refused(403, "second_factor_required");
    mods.enrol(&app).await;
    mods.get("/api/user/").await.is(200);
}

// A code by mail needs a proved address, so they may ask for the proof.
#[tokio::test]
async fn who_must_have_one_may_prove_their_address_for_it() {
    let app = TestApp::with_mail(&[("OTP_REQUIRED_ROLES", "tester")]).await;
    let tester = app.tester().await;
    tester.get(&tester.path()).await.refused(403, "second_factor_required");
    tester.post("/api/auth/email/verify/request").json(&json!({})).await.is(202);
    let token = app.mail_to("tess@example.com", "verification").await.token();
    app.verify(&token).await.is(200);
    tester.post("/api/auth/OTP/send").await.is(202);
    let code = app.mail_to("tess@example.com", "code").await.code();
    tester.change_method("email", &code).await.is(200);
    tester.get(&tester.path()).await.is(200);
}
