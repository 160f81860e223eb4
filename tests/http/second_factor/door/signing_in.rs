//! Signing in with a second factor: the demand, and its answer at `POST /auth/OTP`.

use std::time::Duration;

use serde_json::json;

use crate::attacks::same;
use crate::harness::{Actor, Demand, PASSWORD, TestApp, claims, with_query};

const OTP: &str = "/api/auth/OTP";

#[tokio::test]
async fn a_right_password_is_answered_by_the_demand_for_the_second_factor() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let before = {
        ann.enrol(&app).await;
        ann.get("/api/auth/sessions").await.is(200).json().as_array().unwrap().len()
    };
    for identifier in ["ann", "ANN@example.com"] {
        let reply = app.try_sign_in(identifier, PASSWORD).await;
        let problem = reply.refused(401, "otp_required").json();
        assert_eq!(problem["error"], "OTP-REQUIRED");
        assert_eq!(problem["otp_method"], "authenticator");
        let token = problem["otp_token"].as_str().unwrap();
        assert!(token.len() >= 43, "256 bits: {token}");
        for secret in ["access_token", "refresh_token"] {
            assert!(problem.get(secret).is_none(), "{problem}");
        }
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let cookie = reply.set_cookie("gatehouse-otp").expect("the cookie");
        assert_eq!(reply.cookie("gatehouse-otp"), Some(token), "the same");
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        let lasts = cookie.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap();
        assert!((1..=300).contains(&lasts.parse::<u32>().unwrap()), "{cookie}");
        assert!(reply.set_cookie("gatehouse").is_none() && reply.set_cookie("gatehouse-device").is_none());
    }
    // The form of OAuth2 as well.
    let form = [("grant_type", "password"), ("username", "ann"), ("password", PASSWORD)];
    Demand::of(&app.post("/api/auth/login").form(&form).await);
    let sessions = ann.get("/api/auth/sessions").await.is(200).json();
    assert_eq!(sessions.as_array().unwrap().len(), before, "no session was opened");
}

#[tokio::test]
async fn that_there_is_one_is_told_after_the_right_password_only() {
    let app = TestApp::new().await;
    app.user("ann").await.enrol(&app).await;
    let wrong = app.try_sign_in("ann", "not the password 12").await;
    wrong.refused(401, "invalid_credentials");
    same(&wrong, &app.try_sign_in("nobody", "not the password 12").await);
}

#[tokio::test]
async fn the_answer_may_come_in_every_form() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (authenticator, _) = ann.enrol(&app).await;
    for form in 0..7 {
        let demand = app.demand("ann").await;
        let (token, code) = (demand.token.as_str(), authenticator.next_code(&app));
        let cookie = format!("gatehouse-otp={token}");
        let both = [("otp_token", token), ("otp_code", code.as_str())];
        let reply = match form {
            0 => app.answer(token, &code).await,
            1 => app.post(OTP).form(&both).await,
            2 => app.post(OTP).header("cookie", &cookie).json(&json!({"otp_code": code})).await,
            3 => app.post(OTP).header("cookie", &cookie).form(&both).await,
            4 => app.post(&with_query(OTP, &both[1..])).header("cookie", &cookie).await,
            5 => app.post(&with_query(OTP, &both[1..])).json(&json!({"otp_token": token})).await,
            _ => app.post(&with_query(OTP, &both[1..])).form(&both[..1]).await,
        };
        let tokens = reply.is(200).json();
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("bearer"), &json!(1800)));
        let ann = Actor::with_tokens(&app, "ann", &tokens);
        ann.me().await;
        let cleared = reply.set_cookie("gatehouse-otp").expect("the cookie goes");
        assert!(cleared.contains("Max-Age=0"), "{cleared}");
    }
}

#[tokio::test]
async fn cookie_and_body_must_not_differ() {
    let app = TestApp::new().await;
    let (authenticator, _) = app.user("ann").await.enrol(&app).await;
    let (one, other) = (app.demand("ann").await.token, app.demand("ann").await.token);
    let code = authenticator.next_code(&app);
    for (cookie, body) in [(&one, &other), (&other, &one)] {
        let body = json!({"otp_token": body, "otp_code": code});
        let ask = app.post(OTP).header("cookie", &format!("gatehouse-otp={cookie}"));
        ask.json(&body).await.refused(401, "invalid_otp");
    }
    let body = json!({"otp_token": one, "otp_code": code});
    app.post(OTP).header("cookie", &format!("gatehouse-otp={one}")).json(&body).await.is(200);
}

#[tokio::test]
async fn the_token_says_how_its_owner_proved_who_they_are() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let amr = |actor: &Actor| claims(&actor.access)["amr"].clone();
    assert_eq!(amr(&ann), json!(["pwd"]));
    let (authenticator, _) = ann.enrol(&app).await;
    let strong = app.sign_in_with("ann", &authenticator.next_code(&app)).await;
    assert_eq!(amr(&strong), json!(["pwd", "otp", "mfa"]));
    let refreshed = app.post("/api/auth/token/refresh").json(&json!({"refresh_token": strong.refresh})).await;
    let refreshed = Actor::with_tokens(&app, "ann", &refreshed.is(200).json());
    assert_eq!(amr(&refreshed), json!(["pwd", "otp", "mfa"]));
}

#[tokio::test]
async fn a_demand_waits_five_minutes() {
    let app = TestApp::new().await;
    let (authenticator, _) = app.user("ann").await.enrol(&app).await;
    let in_time = app.demand("ann").await;
    app.clock.advance(Duration::from_secs(299));
    app.answer(&in_time.token, &authenticator.code(&app)).await.is(200);
    let late = app.demand("ann").await;
    app.clock.advance(Duration::from_secs(301));
    app.answer(&late.token, &authenticator.code(&app)).await.refused(401, "invalid_otp");
    app.sign_in_with("ann", &authenticator.next_code(&app)).await.me().await;
}

#[tokio::test]
async fn signing_in_so_counts_as_a_proof_of_identity() {
    let app = TestApp::new().await;
    let (authenticator, _) = app.user("ann").await.enrol(&app).await;
    let ann = app.sign_in_with("ann", &authenticator.next_code(&app)).await;
    ann.change_method("none", &authenticator.next_code(&app)).await.is(200);
}

#[tokio::test]
async fn over_https_the_cookie_is_bound_to_the_host() {
    let app = TestApp::with(&[("BASE_URL", "https://id.example.com")]).await;
    let (authenticator, _) = app.user("ann").await.enrol(&app).await;
    let reply = app.try_sign_in("ann", PASSWORD).await;
    let token = Demand::of(&reply).token;
    let cookie = reply.set_cookie("__Host-gatehouse-otp").expect("the cookie");
    assert!(cookie.contains("; Secure") && !cookie.contains("Domain"), "{cookie}");
    let answer = async |name: &str| {
        let body = json!({"otp_code": authenticator.next_code(&app)});
        app.post(OTP).header("cookie", &format!("{name}={token}")).json(&body).await
    };
    answer("gatehouse-otp").await.refused(401, "invalid_otp");
    answer("__Host-gatehouse-otp").await.is(200);
}

#[tokio::test]
async fn a_device_becomes_a_known_one_by_the_second_factor_only() {
    let app = TestApp::new().await;
    let (authenticator, _) = app.user("ann").await.enrol(&app).await;
    let demand = app.demand("ann").await;
    let reply = app.answer(&demand.token, &authenticator.next_code(&app)).await;
    assert!(reply.is(200).cookie("gatehouse-device").is_some_and(|value| !value.is_empty()));
    assert!(reply.set_cookie("gatehouse").is_none(), "a client of the API gets no session cookie");
}
