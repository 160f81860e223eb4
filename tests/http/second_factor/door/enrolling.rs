//! Setting an authenticator up: `GET /auth/QR`, `PATCH /auth/OTP/authenticator`.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use url::Url;

use crate::harness::{Actor, Authenticator, Demand, PASSWORD, TestApp, recovery_codes};

const QR: &str = "/api/auth/QR";
const METHOD: &str = "/api/auth/OTP/authenticator";
/// As long as a proof of identity counts, and a pending seed waits.
const TEN_MINUTES: Duration = Duration::from_mins(10);

/// What a picture of a QR code says.
fn read_qr(png: &[u8]) -> String {
    let picture = image::load_from_memory(png).expect("a picture").into_luma8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| {
        picture.get_pixel(u32::try_from(x).unwrap(), u32::try_from(y).unwrap()).0[0]
    });
    let codes = picture.detect_grids();
    assert_eq!(codes.len(), 1);
    codes[0].decode().expect("a QR code").1
}

fn parameter(uri: &str, name: &str) -> String {
    let uri = Url::parse(uri).unwrap();
    let value = uri.query_pairs().find(|(present, _)| present == name);
    value.unwrap_or_else(|| panic!("no {name}: {uri}")).1.into_owned()
}

async fn method(actor: &Actor) -> String {
    actor.me().await["otp_method"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_picture_says_what_an_app_needs_and_the_header_the_secret() {
    let app = TestApp::with(&[("PROJECT_NAME", "Gate & House")]).await;
    let ann = app.user("ann").await;
    let reply = ann.get(QR).await;
    assert_eq!(reply.is(200).header("content-type"), Some("image/png"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let secret = reply.header("secret").expect("the secret");
    // 160 bits (RFC 4226, 4), in base 32 (RFC 4648).
    assert!(secret.len() == 32 && secret.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7')));
    let uri = read_qr(reply.bytes());
    assert!(uri.starts_with("otpauth://totp/"), "{uri}");
    assert_eq!(parameter(&uri, "secret"), secret);
    assert_eq!(parameter(&uri, "issuer"), "Gate & House");
    assert_eq!((&*parameter(&uri, "digits"), &*parameter(&uri, "period")), ("6", "30"));
    assert!(Url::parse(&uri).unwrap().path().ends_with("ann"), "{uri}");
    let authenticator = Authenticator { uri };
    let changed = ann.patch(METHOD).json(&json!({"otp_code": authenticator.code(&app)})).await;
    assert_eq!(changed.is(200).json()["otp_method"], "authenticator");
}

#[tokio::test]
async fn programs_get_the_same_as_json() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let reply = ann.get(QR).header("accept", "application/json").await;
    assert!(reply.is(200).header("content-type").unwrap().starts_with("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let begun = reply.json();
    let members: BTreeSet<&str> = begun.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["qr", "secret", "uri"]));
    let uri = begun["uri"].as_str().unwrap();
    assert_eq!(parameter(uri, "secret"), begun["secret"].as_str().unwrap());
    let qr = begun["qr"].as_str().unwrap().trim_start_matches("data:image/png;base64,").to_owned();
    assert_eq!(read_qr(&STANDARD.decode(qr).unwrap()), uri);
}

#[tokio::test]
async fn the_picture_and_the_codes_are_as_the_operator_chose() {
    let app = TestApp::with(&[("OTP_LENGTH", "8"), ("OTP_AUTHENTICATOR_INTERVAL", "60")]).await;
    let ann = app.user("ann").await;
    let authenticator = ann.begin_authenticator().await;
    assert_eq!(parameter(&authenticator.uri, "digits"), "8");
    assert_eq!(parameter(&authenticator.uri, "period"), "60");
    let code = authenticator.code(&app);
    assert_eq!(code.len(), 8);
    ann.change_method("authenticator", &code[2..]).await.refused(401, "invalid_otp");
    ann.change_method("authenticator", &code).await.is(200);
    app.clock.advance(Duration::from_mins(1));
    app.sign_in_with("ann", &authenticator.code(&app)).await.me().await;
}

#[tokio::test]
async fn nothing_counts_until_one_code_was_right() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let authenticator = ann.begin_authenticator().await;
    assert_eq!(method(&ann).await, "none");
    app.sign_in("ann").await;
    let wrong = authenticator.wrong_code(&app);
    ann.change_method("authenticator", &wrong).await.refused(401, "invalid_otp");
    ann.patch(METHOD).await.refused(401, "invalid_otp");
    ann.patch(METHOD).json(&json!({})).await.refused(401, "invalid_otp");
    assert_eq!(method(&ann).await, "none");
    app.sign_in("ann").await;
    let changed = ann.change_method("authenticator", &authenticator.code(&app)).await;
    let user = changed.is(200).json();
    assert_eq!((&user["otp_method"], &user["uuid"]), (&json!("authenticator"), &json!(ann.id.to_string())));
    recovery_codes(&user);
    Demand::of(&app.try_sign_in("ann", PASSWORD).await);
}

#[tokio::test]
async fn the_code_is_taken_from_json_form_and_query() {
    let app = TestApp::new().await;
    for name in ["ann", "bob", "cleo"] {
        let actor = app.user(name).await;
        let authenticator = actor.begin_authenticator().await;
        let code = authenticator.code(&app);
        let ask = match name {
            "ann" => actor.patch(METHOD).json(&json!({"otp_code": code})),
            "bob" => actor.patch(METHOD).form(&[("otp_code", &code)]),
            _ => actor.patch(&format!("{METHOD}?otp_code={code}")),
        };
        assert_eq!(ask.await.is(200).json()["otp_method"], "authenticator", "{name}");
    }
}

//
#[tokio::test]
async fn of_two_seeds_the_later_counts() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let first = ann.begin_authenticator().await;
    let second = ann.begin_authenticator().await;
    assert_ne!(parameter(&first.uri, "secret"), parameter(&second.uri, "secret"));
    ann.change_method("authenticator", &first.code(&app)).await.refused(401, "invalid_otp");
    ann.change_method("authenticator", &second.code(&app)).await.is(200);
}

#[tokio::test]
async fn a_seed_waits_ten_minutes_for_its_code() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let authenticator = ann.begin_authenticator().await;
    app.clock.advance(TEN_MINUTES + Duration::from_secs(1));
    ann.reauthenticate(None).await.is(200);
    ann.change_method("authenticator", &authenticator.code(&app)).await.refused(401, "invalid_otp");
    let authenticator = ann.begin_authenticator().await;
    app.clock.advance(TEN_MINUTES - Duration::from_secs(1));
    ann.change_method("authenticator", &authenticator.code(&app)).await.is(200);
}

#[tokio::test]
async fn it_needs_somebody_who_has_just_proved_who_they_are() {
    let app = TestApp::new().await;
    app.get(QR).await.refused(401, "token_invalid");
    app.patch(METHOD).json(&json!({"otp_code": "123456"})).await.refused(401, "token_invalid");
    let ann = app.user("ann").await;
    app.clock.advance(TEN_MINUTES + Duration::from_secs(1));
    ann.get(QR).await.refused(401, "reauthentication_required");
    ann.change_method("authenticator", "123456").await.refused(401, "reauthentication_required");
    ann.post("/api/auth/reauthenticate")
        .json(&json!({"password": "not the password 12"}))
        .await
        .refused(401, "invalid_credentials");
    ann.get(QR).await.refused(401, "reauthentication_required");
    let until = ann.reauthenticate(None).await.is(200).json()["valid_until"].as_i64().unwrap();
    assert_eq!(until, app.clock.now().after(TEN_MINUTES).seconds());
    ann.enrol(&app).await;
    // From then on the code belongs to the proof.
    app.clock.advance(TEN_MINUTES + Duration::from_secs(1));
    ann.reauthenticate(None).await.refused(401, "otp_required");
}

//
#[tokio::test]
async fn the_secret_of_an_active_authenticator_is_never_shown_again() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (authenticator, codes) = ann.enrol(&app).await;
    let secret = parameter(&authenticator.uri, "secret");
    ann.get(QR).await.refused(409, "conflict");
    ann.get(QR).header("accept", "application/json").await.refused(409, "conflict");
    let admin = app.admin().await;
    for (who, path) in [
        (&ann, "/api/user/me".to_owned()),
        (&admin, ann.path()),
        (&admin, format!("{}/history", ann.path())),
        (&admin, "/api/user/?q=ann".to_owned()),
        (&ann, "/api/auth/sessions".to_owned()),
    ] {
        let reply = who.get(&path).await;
        assert!(!reply.is(200).text().contains(&secret), "{reply:?}");
        assert!(!codes.iter().any(|code| reply.text().contains(code)), "{reply:?}");
        assert!(!reply.text().contains("recovery_codes\""), "{reply:?}");
    }
    // Another pending seed would be one as well: none can be begun, and the old one goes on.
    assert!(ann.change_method("authenticator", &authenticator.next_code(&app)).await.status() >= 400);
    app.sign_in_with("ann", &authenticator.next_code(&app)).await.me().await;
}

#[tokio::test]
async fn every_other_session_ends_and_the_owner_is_told() {
    let app = TestApp::with_mail(&[]).await;
    let here = app.user("ann").await;
    let there = app.sign_in("ann").await;
    here.enrol(&app).await;
    here.me().await;
    there.get("/api/user/me").await.refused(401, "token_invalid");
    let refresh = json!({"refresh_token": there.refresh});
    app.post("/api/auth/token/refresh").json(&refresh).await.refused(401, "token_invalid");
    let refresh = json!({"refresh_token": here.refresh});
    app.post("/api/auth/token/refresh").json(&refresh).await.is(200);
    let told = app.mail_to("ann@example.com", "second-factor-changed").await;
    assert!(told.text.contains("ann") && told.text.contains("authenticator"), "{told:?}");
    let history = here.get(&format!("{}/history", here.path())).await.is(200).json();
    assert_eq!(history[0]["action"], "second_factor_changed", "{history}");
}
