//! Access and refresh tokens: `/auth/token/…`, `/auth/logout`, the key set.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse::platform::config::hash_of_secret;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::harness::{Actor, PASSWORD, Reply, START, TestApp, claims, race};

const REFRESH: &str = "/api/auth/token/refresh";
const VALIDATE: &str = "/api/auth/token/validate";
const INTROSPECT: &str = "/api/auth/token/introspect";
const REVOKE: &str = "/api/auth/token/revoke";
const LOGOUT: &str = "/api/auth/logout";
const JWKS: &str = "/.well-known/jwks.json";
const DAY: Duration = Duration::from_hours(24);

async fn refresh(app: &TestApp, token: &str) -> Reply {
    app.post(REFRESH).json(&json!({"refresh_token": token})).await
}

/// The token trades for new ones; the new refresh token.
async fn refreshed(app: &TestApp, token: &str) -> String {
    refresh(app, token).await.is(200).json()["refresh_token"].as_str().unwrap().to_owned()
}

async fn is_signed_in(actor: &Actor) -> bool {
    let reply = actor.get(VALIDATE).await;
    if reply.status() == 200 {
        return true;
    }
    assert!(reply.is(401).header("www-authenticate").unwrap().contains("invalid_token"), "{reply:?}");
    false
}

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
    app.inside.sessions.rotate_keys().await.unwrap();
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

#[tokio::test]
async fn a_refresh_token_is_traded_for_new_tokens() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_mins(25));
    let reply = refresh(&app, &ann.refresh).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let new = Actor::with_tokens(&app, "ann", &reply.is(200).json());
    assert_ne!(new.refresh, ann.refresh);
    assert_eq!((new.id, new.session()), (ann.id, ann.session()));
    assert!(is_signed_in(&new).await && is_signed_in(&ann).await);
    app.clock.advance(Duration::from_mins(20));
    assert!(is_signed_in(&new).await && !is_signed_in(&ann).await);
    app.post(REFRESH).form(&[("grant_type", "refresh_token"), ("refresh_token", &new.refresh)]).await.is(200);
}

#[tokio::test]
async fn asked_again_at_once_the_same_successor_is_given() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let successor = refreshed(&app, &ann.refresh).await;
    app.clock.advance(Duration::from_secs(10));
    assert_eq!(refreshed(&app, &ann.refresh).await, successor);
    refreshed(&app, &successor).await;
    assert!(is_signed_in(&ann).await);
}

#[tokio::test]
async fn a_spent_refresh_token_that_comes_back_later_ends_the_session() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let elsewhere = app.sign_in("ann").await;
    let successor = refreshed(&app, &ann.refresh).await;
    app.clock.advance(Duration::from_millis(10_001));
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    refresh(&app, &successor).await.refused(401, "token_invalid");
    assert!(!is_signed_in(&ann).await);
    assert!(is_signed_in(&elsewhere).await, "other sessions go on");
}

#[tokio::test]
async fn the_grace_is_for_the_immediate_parent_only() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let child = refreshed(&app, &ann.refresh).await;
    let grandchild = refreshed(&app, &child).await;
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    refresh(&app, &grandchild).await.refused(401, "token_invalid");
    assert!(!is_signed_in(&ann).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_refreshes_at_once_get_one_successor() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    let replies = race(12, |number| {
        let instance = if number % 2 == 0 { &app } else { &other };
        instance.post(REFRESH).json(&json!({"refresh_token": ann.refresh}))
    });
    let mut successors: Vec<String> =
        replies.await.iter().map(|reply| reply.is(200).json()["refresh_token"].to_string()).collect();
    successors.dedup();
    assert_eq!(successors.len(), 1, "{successors:?}");
    assert!(is_signed_in(&ann).await);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut other = ann.refresh.clone();
    other.replace_range(other.len() - 2.., "AA");
    for token in ["", "x", &other, &"x".repeat(5000), "a b", "ä"] {
        refresh(&app, token).await.refused(401, "token_invalid");
    }
    app.post(REFRESH).json(&json!({})).await.invalid(&["refresh_token"]);
    app.post(REFRESH).json(&json!({"refresh_token": null})).await.invalid(&["refresh_token"]);
    refreshed(&app, &ann.refresh).await;
}

#[tokio::test]
async fn a_session_ends_after_a_week_without_use() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(7 * DAY - Duration::from_secs(1));
    let next = refreshed(&app, &ann.refresh).await;
    app.clock.advance(7 * DAY - Duration::from_secs(1));
    let next = refreshed(&app, &next).await;
    app.clock.advance(7 * DAY);
    refresh(&app, &next).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_however_much_it_is_used() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut token = ann.refresh.clone();
    for _ in 0..4 {
        app.clock.advance(6 * DAY);
        token = refreshed(&app, &token).await;
    }
    app.clock.advance(6 * DAY - Duration::from_secs(1));
    token = refreshed(&app, &token).await;
    app.clock.advance(Duration::from_secs(1));
    refresh(&app, &token).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn an_access_token_does_not_outlive_its_session() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut token = ann.refresh.clone();
    for _ in 0..4 {
        app.clock.advance(6 * DAY);
        token = refreshed(&app, &token).await;
    }
    app.clock.advance(6 * DAY - Duration::from_mins(5));
    let last = Actor::with_tokens(&app, "ann", &refresh(&app, &token).await.is(200).json());
    assert!(is_signed_in(&last).await);
    app.clock.advance(Duration::from_mins(5));
    assert!(!is_signed_in(&last).await);
}

#[tokio::test]
async fn sessions_of_admins_are_shorter() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.clock.advance(Duration::from_mins(59));
    let next = refreshed(&app, &admin.refresh).await;
    app.clock.advance(Duration::from_hours(1));
    refresh(&app, &next).await.refused(401, "token_invalid");
    let mut token = app.admin().await.refresh.clone();
    for _ in 0..28 {
        app.clock.advance(Duration::from_mins(50));
        token = refreshed(&app, &token).await;
    }
    app.clock.advance(Duration::from_mins(40));
    refresh(&app, &token).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn signing_out_ends_the_session_at_once() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let elsewhere = app.sign_in("ann").await;
    ann.post(LOGOUT).await.is(200);
    assert!(!is_signed_in(&ann).await);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    assert!(is_signed_in(&elsewhere).await);
    ann.post(LOGOUT).await.is(200);
    app.post(LOGOUT).await.refused(401, "token_invalid");
    app.with_bearer("x").post(LOGOUT).await.refused(401, "token_invalid");
    ann.get(LOGOUT).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn signing_out_works_with_a_token_whose_time_is_over() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_hours(2));
    ann.post(LOGOUT).await.is(200);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_session_ended_here_ends_everywhere_within_a_second() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    let there = ann.at(&other);
    assert!(is_signed_in(&there).await);
    ann.post(LOGOUT).await.is(200);
    crate::harness::eventually(|| there.get(VALIDATE), |reply: &Reply| reply.status() == 401).await;
}

#[tokio::test]
async fn who_has_a_token_may_revoke_it() {
    let app = TestApp::new().await;
    let [by_access, by_refresh, other] =
        [app.user("ann").await, app.sign_in("ann").await, app.sign_in("ann").await];
    app.post(REVOKE).json(&json!({"token": by_access.access})).await.is(200);
    app.post(REVOKE)
        .form(&[("token", &by_refresh.refresh), ("token_type_hint", "access_token")])
        .await
        .is(200);
    for ended in [&by_access, &by_refresh] {
        assert!(!is_signed_in(ended).await);
        refresh(&app, &ended.refresh).await.refused(401, "token_invalid");
    }
    assert!(is_signed_in(&other).await);
}

#[tokio::test]
async fn revoking_what_is_nothing_is_done_at_once() {
    let app = TestApp::new().await;
    for token in ["", "x", "a.b.c", &"x".repeat(5000)] {
        app.post(REVOKE).json(&json!({"token": token})).await.is(200);
    }
    app.post(REVOKE).json(&json!({})).await.invalid(&["token"]);
}

#[tokio::test]
async fn a_service_is_told_what_a_token_stands_for() {
    let secret = "a secret of the billing service, 32 or more";
    let app =
        TestApp::with(&[("SERVICE_CLIENTS", &format!("billing:{}", hash_of_secret(secret.as_bytes())))])
            .await;
    let ann = app.user("ann").await;
    let ask = |token: &str| app.post(INTROSPECT).basic("billing", secret).form(&[("token", token)]);
    let reply = ask(&ann.access).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let told = reply.is(200).json();
    assert_eq!(told["active"], true);
    let said = claims(&ann.access);
    for name in ["sub", "sid", "iss", "aud", "exp", "iat", "client_id"] {
        assert_eq!(told[name], said[name], "{name}");
    }
    assert_eq!(told["username"], "ann");
    let told = ask(&ann.refresh).await.is(200).json();
    assert_eq!((&told["active"], &told["sub"]), (&json!(true), &json!(ann.id.to_string())));
}

#[tokio::test]
async fn of_a_token_that_does_not_count_nothing_else_is_told() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let [ended, expired] = [app.user("ann").await, app.sign_in("ann").await];
    ended.post(LOGOUT).await.is(200);
    let banned = app.banned().await;
    let nothing = json!({"active": false});
    let ask = |admin: &Actor, token: &str| admin.post(INTROSPECT).json(&json!({"token": token}));
    for token in [&ended.access, &ended.refresh, &banned.access, &banned.refresh] {
        assert_eq!(ask(&admin, token).await.is(200).json(), nothing);
    }
    for token in ["", "x", "a.b.c"] {
        assert_eq!(ask(&admin, token).await.is(200).json(), nothing);
    }
    app.clock.advance(Duration::from_mins(32));
    let admin = app.admin().await;
    assert_eq!(ask(&admin, &expired.access).await.is(200).json(), nothing);
    assert_eq!(ask(&admin, &expired.refresh).await.is(200).json()["active"], true);
}

#[tokio::test]
async fn a_spent_refresh_token_does_not_count() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    refreshed(&app, &ann.refresh).await;
    app.clock.advance(Duration::from_secs(11));
    let told = admin.post(INTROSPECT).json(&json!({"token": ann.refresh})).await.is(200).json();
    assert_eq!(told, json!({"active": false}));
}

#[tokio::test]
async fn only_known_services_and_admins_introspect() {
    let secret = "a secret of the billing service, 32 or more";
    let app =
        TestApp::with(&[("SERVICE_CLIENTS", &format!("billing:{}", hash_of_secret(secret.as_bytes())))])
            .await;
    let ann = app.user("ann").await;
    let body = json!({"token": ann.access});
    app.admin().await.post(INTROSPECT).json(&body).await.is(200);
    for nobody in [&*app, &*ann, &*app.moderator().await, &*app.tester().await] {
        nobody.post(INTROSPECT).json(&body).await.refused(401, "invalid_credentials");
    }
    for (name, wrong) in [("billing", "wrong"), ("billing", ""), ("other", secret), ("", secret)] {
        app.post(INTROSPECT).basic(name, wrong).json(&body).await.refused(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn another_role_counts_from_the_next_request_on() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    admin.patch(&ann.path()).json(&json!({"roles": ["user", "moderator"]})).await.is(200);
    assert!(!is_signed_in(&ann).await, "the old token is dead");
    let again = Actor::with_tokens(&app, "ann", &refresh(&app, &ann.refresh).await.is(200).json());
    assert_eq!(claims(&again.access)["roles"], json!(["moderator", "user"]));
    again.get("/api/user/").await.is(200);
}

#[tokio::test]
async fn whoever_is_switched_off_or_deleted_is_out_at_once_and_stays_out() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ann = app.user("ann").await;
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    assert!(!is_signed_in(&ann).await);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    admin.patch(&ann.path()).json(&json!({"is_active": true})).await.is(200);
    assert!(!is_signed_in(&ann).await, "switching on brings no session back");
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");

    let ann = app.sign_in("ann").await;
    admin.delete(&ann.path()).await.is(200);
    assert!(!is_signed_in(&ann).await);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    admin.post(&format!("{}/restore", ann.path())).await.is(200);
    assert!(!is_signed_in(&ann).await);
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn tokens_of_another_server_are_nothing_here() {
    let other = "another master secret, 9vX2mT4kLbW8zR1nYcJ7hD3g";
    let (app, elsewhere) = (TestApp::new().await, TestApp::with(&[("JWT_SECRET_KEY", other)]).await);
    let ann = elsewhere.user("ann").await;
    app.user("ann").await;
    app.with_bearer(&ann.access).get(VALIDATE).await.refused(401, "token_invalid");
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
}
