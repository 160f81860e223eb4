//! What an access token is, who can verify it, and what is taken for none.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse::sessions::Retirement;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};
use serde_json::{Value, json};

use super::{DAY, VALIDATE, is_signed_in, refresh};
use crate::harness::{Actor, PASSWORD, START, TestApp, claims};

const JWKS: &str = "/.well-known/jwks.json";

#[tokio::test]
async fn a_good_token_is_told_to_be_one() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    assert_eq!(ann.get(VALIDATE).await.is(200).text(), format!("ValidToken | {}", ann.id));
    app.get(VALIDATE).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn an_access_token_says_what_the_contract_says() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let header = decode_header(&ann.access).unwrap();
    assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), Algorithm::EdDSA));
    assert!(header.kid.is_some());
    let said = claims(&ann.access);
    let mut names: Vec<&str> = said.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let all = ["amr", "aud", "client_id", "exp", "iat", "iss", "jti", "nbf", "roles", "sid", "sub", "ver"];
    assert_eq!(names, all);
    let now = START.seconds();
    assert_eq!((&said["iat"], &said["nbf"], &said["exp"]), (&json!(now), &json!(now), &json!(now + 1800)));
    assert_eq!(said["iss"], "http://localhost:8000");
    assert_eq!((&said["roles"], &said["amr"]), (&json!(["user"]), &json!(["pwd"])));
}

/// The token as somebody sees it who knows nothing but the key set.
async fn verified(app: &TestApp, token: &str, algorithm: Algorithm) -> TokenData<Value> {
    let reply = app.get(JWKS).await;
    assert!(reply.header("cache-control").unwrap().contains("max-age"), "{reply:?}");
    let keys: JwkSet = serde_json::from_value(reply.is(200).json()).unwrap();
    let key = keys.find(&decode_header(token).unwrap().kid.unwrap()).expect("its key is in the set");
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&["http://localhost:8000"]);
    validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
    validation.validate_exp = false; // the token lives by the test's clock
    validation.validate_aud = false;
    decode(token, &DecodingKey::from_jwk(key).unwrap(), &validation).expect("a good signature")
}

#[tokio::test]
async fn others_verify_a_token_by_the_key_set() {
    for (setting, algorithm) in [("EdDSA", Algorithm::EdDSA), ("ES256", Algorithm::ES256)] {
        let app = TestApp::with(&[("JWT_ALGORITHM", setting)]).await;
        let ann = app.user("ann").await;
        let token = verified(&app, &ann.access, algorithm).await;
        assert_eq!(token.claims["sub"], ann.id.to_string());
        assert!(is_signed_in(&ann).await);
    }
}

#[tokio::test]
async fn a_shared_secret_is_never_in_the_key_set() {
    let app = TestApp::with(&[("JWT_ALGORITHM", "HS256")]).await;
    let ann = app.user("ann").await;
    assert_eq!(decode_header(&ann.access).unwrap().alg, Algorithm::HS256);
    assert!(is_signed_in(&ann).await);
    assert_eq!(app.get(JWKS).await.is(200).json()["keys"], json!([]));
}

#[tokio::test]
async fn the_key_set_holds_public_keys_only() {
    let app = TestApp::new().await;
    for key in app.get(JWKS).await.json()["keys"].as_array().unwrap() {
        for private in ["d", "k", "p", "q", "dp", "dq", "qi", "oth"] {
            assert!(key.get(private).is_none(), "{private}");
        }
        assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!("EdDSA")));
    }
}

#[tokio::test]
async fn after_a_rotation_old_and_new_tokens_count_until_the_old_can_be_no_more() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    app.inside.sessions.rotate_keys(Retirement::Gradual).await.unwrap();
    let again = app.sign_in("ann").await;
    let kid = |actor: &Actor| decode_header(&actor.access).unwrap().kid.unwrap();
    assert_ne!(kid(&ann), kid(&again));
    for token in [&ann.access, &again.access] {
        verified(&app, token, Algorithm::EdDSA).await;
    }
    other.inside.sessions.reload_keys().await.unwrap();
    for actor in [&ann, &again] {
        assert!(is_signed_in(actor).await && is_signed_in(&actor.at(&other)).await);
    }
    let keys = app.get(JWKS).await.json();
    assert_eq!(keys["keys"][0]["kid"], kid(&again), "the signing one first");
    app.clock.advance(2 * DAY);
    app.inside.sweep().await.unwrap();
    app.inside.sessions.reload_keys().await.unwrap();
    let kids: Vec<Value> = app.get(JWKS).await.json()["keys"].as_array().unwrap().clone();
    assert!(kids.iter().all(|key| key["kid"] != kid(&ann)), "the old one has gone");
}

// a key that somebody may have is removed, and everything that it signed with it, on each instance.
#[tokio::test]
async fn what_a_key_signed_that_is_retired_at_once_counts_no_more() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    assert!(is_signed_in(&ann.at(&other)).await);
    app.inside.sessions.rotate_keys(Retirement::Gradual).await.unwrap();
    let between = app.sign_in("ann").await;
    app.inside.sessions.rotate_keys(Retirement::AtOnce).await.unwrap();
    for actor in [&ann, &between] {
        actor.get(VALIDATE).await.refused(401, "token_invalid");
    }
    assert_eq!(app.get(JWKS).await.json()["keys"].as_array().unwrap().len(), 1);
    let renewed = refresh(&app, &ann.refresh).await;
    let renewed = Actor::with_tokens(&app, "ann", &renewed.is(200).json());
    // A token by a key that it does not know has the other look.
    assert!(is_signed_in(&renewed).await && is_signed_in(&renewed.at(&other)).await);
    for actor in [&ann, &between] {
        actor.at(&other).get(VALIDATE).await.refused(401, "token_invalid");
    }
    // A start finds the key, and another algorithm gets one of its own although the one that it had is retired.
    let es256 = app.restarted_with(&[("JWT_ALGORITHM", "ES256")]).await;
    let by_es256 = es256.sign_in("ann").await;
    app.inside.sessions.rotate_keys(Retirement::AtOnce).await.unwrap();
    let es256 = app.restarted_with(&[("JWT_ALGORITHM", "ES256")]).await;
    by_es256.at(&es256).get(VALIDATE).await.refused(401, "token_invalid");
    assert!(is_signed_in(&es256.sign_in("ann").await).await);
}

#[tokio::test]
async fn an_access_token_counts_until_its_time_is_over() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_secs(30 * 60 - 1));
    assert!(is_signed_in(&ann).await);
    // A minute of skew between clocks is allowed for.
    app.clock.advance(Duration::from_secs(62));
    ann.get(VALIDATE).await.refused(401, "token_expired");
}

#[tokio::test]
async fn a_token_that_was_tampered_with_is_refused() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let (header, rest) = ann.access.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut admin = claims(&ann.access);
    admin["roles"] = json!(["admin"]);
    let kid = decode_header(&ann.access).unwrap().kid.unwrap();
    let with_header = |value: Value| format!("{}.{payload}.{signature}", encoded(&value));
    let none = encoded(&json!({"alg": "none", "typ": "at+jwt", "kid": kid}));
    for token in [
        format!("{header}.{}.{signature}", encoded(&admin)),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}.x"),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        with_header(json!({"alg": "HS256", "typ": "at+jwt", "kid": kid})),
        with_header(json!({"alg": "EdDSA", "typ": "JWT", "kid": kid})),
        with_header(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "../../etc/passwd"})),
        with_header(json!({"alg": "EdDSA", "typ": "at+jwt"})),
        "x".repeat(9000),
        "a.b.c".to_owned(),
    ] {
        assert!(!is_signed_in(&ann.showing(&token)).await, "{token}");
    }
    assert!(is_signed_in(&ann).await);
}

#[tokio::test]
async fn each_kind_of_token_is_good_for_its_own_purpose_only() {
    let app = TestApp::new().await;
    let setup = app.inside.first_start().await.unwrap().unwrap().expose().to_owned();
    let ann = app.user("ann").await;
    let reply = app.try_sign_in("ann", PASSWORD).await;
    let cookie = reply.header("set-cookie").unwrap();
    let device = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    let csrf = ann.get("/api/auth/csrf").await.is(200).json()["csrf_token"].as_str().unwrap().to_owned();
    for token in [&ann.refresh, &device, &csrf, &setup] {
        app.with_bearer(token).get(VALIDATE).await.refused(401, "token_invalid");
        app.get(VALIDATE).header("cookie", &format!("gatehouse={token}")).await.refused(401, "token_invalid");
    }
    for token in [&ann.access, &device, &csrf, &setup] {
        refresh(&app, token).await.refused(401, "token_invalid");
    }
    for token in [&ann.access, &ann.refresh, &device, &csrf] {
        app.get(&format!("/setup?token={token}")).await;
        let form = [
            ("token", token.as_str()),
            ("username", "mallory"),
            ("password", PASSWORD),
            ("confirm_password", PASSWORD),
        ];
        app.post("/setup").form(&form).await.is(401);
    }
    assert!(is_signed_in(&ann).await);
}
