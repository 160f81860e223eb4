//! The gate before every operation.

use std::time::Duration;

use gatehouse::flags::flag_of;
use serde_json::{Value, json};

use super::{FLAGS, edit, set};
use crate::attacks::{Wire, operations, same, with_ids};
use crate::harness::{Actor, Client, PASSWORD, Reply, TestApp};

/// Operations that nobody can switch off.
const ALWAYS: [&str; 19] = [
    "_ping",
    "healthcheck",
    "health_live",
    "health_ready",
    "jwks",
    "logout",
    "revoke_token",
    "read_sessions",
    "end_session",
    "end_other_sessions",
    "login_otp",
    "send_otp",
    "csrf_token",
    "reauthenticate",
    "read_flags",
    "read_feature_flags",
    "read_feature_flags_again",
    "update_feature_flags",
    "update_feature_flags_again",
];

/// Operations that stay for admins.
const FOR_ADMINS: [&str; 2] = ["get_otp_qr", "change_otp_method"];

/// The flags of S1's operations: a file of flags that was written for S1 names these, and must go on to mean something.
const OF_S1: [&str; 56] = [
    "LOGIN",
    "LOGOUT",
    "REGISTER",
    "LOGIN_OTP",
    "CHANGE_OTP_METHOD",
    "GET_OTP_QR",
    "VERIFY_EMAIL",
    "FORGOT_PASSWORD_REQUEST",
    "FORGOT_PASSWORD_RESET",
    "REQUEST_PASSWORD_REQUEST",
    "RESET_PASSWORD_RESET",
    "VALIDATE_TOKEN",
    "NEW_USER",
    "NEW_USER_IMAGE",
    "NEW_USER_FILE",
    "BLOCK_USERS",
    "UPDATE_BLOCKED_USERS",
    "DELETE_BLOCKED_USERS",
    "READ_USERS",
    "READ_USERS_LIST",
    "READ_USERS_NUMBER",
    "READ_USERS_ME",
    "READ_USER",
    "READ_USER_IMAGE",
    "PATCH_USER",
    "REMOVE_USER",
    "NEW_FILE",
    "READ_FILES",
    "READ_FILES_LIST",
    "READ_FILES_NUMBER",
    "READ_FILE",
    "READ_FILE_FILE",
    "PATCH_FILE",
    "REMOVE_FILE",
    "BAN_USER",
    "UNBAN_USER",
    "UPDATE_FEATURE_FLAGS",
    "SEND_EMAIL_SINGLE",
    "SEND_EMAIL_MULTIPLE",
    "SEND_EMAIL_ALL",
    "TEST_EMAIL",
    "OTP_EMAIL",
    "RESET_PASSWORD_EMAIL",
    "VALIDATION_EMAIL",
    "OAUTH_LOGIN",
    "OAUTH_LINK",
    "OAUTH_CALLBACK",
    "OAUTH_REVOKE",
    "DB_EXPORT",
    "DB_RECOVER",
    "DB_IMPORT",
    "_PING",
    "_MACHINE",
    "_REPOSITORY",
    "_VERSION",
    "REDIRECT_URI",
];

fn code(reply: &Reply) -> Value {
    if reply.status() < 400 { Value::Null } else { reply.json()["code"].clone() }
}

#[tokio::test]
async fn each_operation_can_be_switched_off_but_those_that_lead_back() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let mut stayed = Vec::new();
    for operation in operations(&app) {
        let id = operation.described["operationId"].as_str().unwrap();
        let flag = flag_of(id).unwrap();
        let reply = set(&admin, json!({flag.as_str(): false})).await;
        if reply.status() == 422 {
            reply.invalid(&[&format!("add.{flag}")]);
            stayed.push(id.to_owned());
            continue;
        }
        if id == "login" {
            continue;
        }
        let path = with_ids(&operation.path, &ann.id.to_string());
        let mut spellings =
            vec![(operation.method.clone(), path.clone()), (operation.method.clone(), format!("{path}/"))];
        if operation.method == "GET" {
            spellings.push(("HEAD".to_owned(), path.clone()));
        }
        for (method, spelling) in spellings {
            let ask = |client: &Client| client.ask(&method, &spelling).header("accept", "application/json");
            let is_off = |reply: Reply| match &*method {
                "HEAD" => reply.is(403).status(),
                _ => reply.refused(403, "feature_disabled").status(),
            };
            is_off(ask(&ann).await);
            let strangers = [(*app).clone(), app.with_bearer("x")];
            for stranger in strangers {
                let reply = ask(&stranger).await;
                if FOR_ADMINS.contains(&id) {
                    reply.is(401).status()
                } else {
                    is_off(reply)
                };
            }
            let by_admin = ask(&admin).await;
            if FOR_ADMINS.contains(&id) {
                assert_ne!(by_admin.status(), 403, "{by_admin:?}");
            } else {
                is_off(by_admin);
            }
        }
        set(&admin, json!({flag.as_str(): true})).await.is(200);
    }
    let mut always = ALWAYS.to_vec();
    always.push("read_feature_flags_history");
    always.sort_unstable();
    stayed.sort_unstable();
    assert_eq!(stayed, always);
}

#[tokio::test]
async fn every_operation_of_s1_has_its_flag() {
    let app = TestApp::new().await;
    let known = app.admin().await.get("/api/flags").await.is(200).json();
    let lost: Vec<&str> = OF_S1.into_iter().filter(|flag| known[*flag].is_null()).collect();
    assert!(lost.is_empty(), "nothing obeys these: {lost:?}");
}

// A-170
#[tokio::test]
async fn no_spelling_of_a_path_leads_round_the_gate() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    set(&admin, json!({"READ_USER": false, "READ_USERS_ME": false})).await.is(200);
    let id = ann.id;
    for path in [
        format!("/api/user/{id}"),
        format!("/api/user/{id}/"),
        format!("/api/user/{id}/details"),
        format!("/api/user/{id}/details/"),
        "/api/user/@ann".to_owned(),
        "/api/user/%40ann".to_owned(),
        "/api/user/me".to_owned(),
        "/api/user/me/".to_owned(),
        "/api/user/%6de".to_owned(),
        format!("/api//user/{id}"),
        format!("//api/user/{id}"),
        format!("/api/user//{id}"),
        format!("/api/./user/{id}"),
        format!("/api/user/x/../{id}"),
        format!("/api%2fuser/{id}"),
        "/api/user%2fme".to_owned(),
        "/API/USER/ME".to_owned(),
        "/api/user/me;x".to_owned(),
        "/api/user/me?x".to_owned(),
    ] {
        for method in ["GET", "HEAD"] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
                ann.access
            );
            let answer = Wire::to(&app).send(request).await;
            assert!(matches!(answer.status, 403 | 404), "{method} {path}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_operation_of_two_methods_has_one_flag() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for (flag, path, methods) in [
        ("NEW_USER_FILE", format!("{}/file", ann.path()), ["PUT", "POST"]),
        ("PATCH_USER", ann.path(), ["PATCH", "PUT"]),
        ("FORGOT_PASSWORD_REQUEST", "/api/auth/forgot-password/request".to_owned(), ["GET", "POST"]),
        ("DB_EXPORT", "/api/db/export".to_owned(), ["GET", "POST"]),
    ] {
        set(&admin, json!({flag: false})).await.is(200);
        for method in methods {
            admin.ask(method, &path).await.refused(403, "feature_disabled");
        }
        set(&admin, json!({flag: true})).await.is(200);
    }
}

/// Who asks for their own profile, with what they are answered.
async fn asks(app: &TestApp, bearer: Option<&str>) -> (u16, Value) {
    let reply = match bearer {
        Some(bearer) => app.with_bearer(bearer).get("/api/user/me").await,
        None => app.get("/api/user/me").await,
    };
    (reply.status(), code(&reply))
}

// A-171
#[tokio::test]
async fn a_flag_with_rules_asks_who_one_is() {
    let app = TestApp::new().await;
    let (admin, ann, tester) = (app.admin().await, app.user("ann").await, app.tester().await);
    let bob = app.user("bob").await;
    bob.enrol(&app).await;
    let pending = app.demand("bob").await.token;
    for rules in
        [json!([{"userRoles": ["tester"]}]), json!([{"percentageOfUsers": 0}, {"userRoles": ["tester"]}])]
    {
        set(&admin, json!({"READ_USERS_ME": rules, "_VERSION": rules})).await.is(200);
        assert_eq!(asks(&app, None).await, (401, json!("token_invalid")));
        assert_eq!(asks(&app, Some("x")).await, (401, json!("token_invalid")));
        assert_eq!(asks(&app, Some(&pending)).await, (401, json!("token_invalid")));
        assert_eq!(asks(&app, Some(&ann.access)).await, (403, json!("feature_disabled")));
        assert_eq!(asks(&app, Some(&tester.access)).await, (200, Value::Null));
        // An operation that needs nobody signed in otherwise.
        app.get("/version").header("accept", "application/json").await.refused(401, "token_invalid");
        app.with_bearer("x")
            .get("/version")
            .header("accept", "application/json")
            .await
            .refused(401, "token_invalid");
        ann.get("/version").header("accept", "application/json").await.refused(403, "feature_disabled");
        tester.get("/version").header("accept", "application/json").await.is(200);
    }
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(asks(&app, Some(&tester.access)).await, (401, json!("token_expired")));
    tester.get("/version").header("accept", "application/json").await.refused(401, "token_expired");
}

#[tokio::test]
async fn a_percentage_keeps_everybody_on_their_side() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let mut people = Vec::new();
    for number in 0..12 {
        people.push(app.user(&format!("user_{number}")).await);
    }
    let mut before = 0;
    for percentage in [0.0, 0.25, 0.5, 0.75, 1.0] {
        set(&admin, json!({"READ_USERS_ME": [{"percentageOfUsers": percentage}]})).await.is(200);
        let mut inside = 0;
        for person in &people {
            let place = place_of("READ_USERS_ME", person);
            let reply = person.get("/api/user/me").await;
            assert_eq!(reply.status() == 200, place < percentage, "{percentage} {place}: {reply:?}");
            inside += usize::from(reply.status() == 200);
        }
        assert!(inside >= before, "who was in stays in");
        before = inside;
    }
    assert_eq!(before, people.len());
}

/// As S1 computes it.
fn place_of(flag: &str, person: &Actor) -> f64 {
    use aws_lc_rs::digest::{SHA256, digest};
    let hash = digest(&SHA256, format!("{flag}-{}", person.id).as_bytes());
    let digits = gatehouse::platform::hexadecimal::written(&hash.as_ref()[..4]);
    f64::from(u32::from_str_radix(&digits, 16).unwrap()) / 4_294_967_295.0
}

#[tokio::test]
async fn while_signing_in_is_off_only_admins_sign_in_and_all_others_learn_the_same() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.user("ann").await;
    let banned = app.banned().await;
    set(&admin, json!({"LOGIN": false})).await.is(200);
    let right = app.try_sign_in("ann", PASSWORD).await;
    right.refused(403, "feature_disabled");
    for (name, password) in [
        ("ann", "wrong otter 27 granite"),
        ("nobody", PASSWORD),
        ("root", "wrong otter 27 granite"),
        (&*banned.name, PASSWORD),
    ] {
        same(&right, &app.try_sign_in(name, password).await);
    }
    // A wrong password has been counted for the admin, too.
    app.clock.advance(Duration::from_mins(5));
    app.try_sign_in("root", PASSWORD).await.is(200);
    let form = [("username", "ann"), ("password", PASSWORD)];
    let page = app.post("/signin").header("sec-fetch-site", "same-origin").form(&form).await;
    assert!(page.is(403).text().contains("switched off") && page.cookie("gatehouse").is_none(), "{page:?}");
    let form = [("username", "root"), ("password", PASSWORD)];
    let page = app.post("/signin").header("sec-fetch-site", "same-origin").form(&form).await;
    assert!(page.cookie("gatehouse").is_some(), "{page:?}");
    app.sign_in("root").await.patch(FLAGS).json(&json!({"add": {"LOGIN": true}})).await.is(200);
    app.try_sign_in("ann", PASSWORD).await.is(200);
}

#[tokio::test]
async fn signing_in_can_be_for_some() {
    let app = TestApp::new().await;
    let (admin, _, _) = (app.admin().await, app.user("ann").await, app.tester().await);
    set(&admin, json!({"LOGIN": [{"userRoles": ["tester"]}]})).await.is(200);
    app.try_sign_in("tess", PASSWORD).await.is(200);
    app.try_sign_in("root", PASSWORD).await.is(200);
    app.try_sign_in("ann", PASSWORD).await.refused(403, "feature_disabled");
    // Who doesn't know the password learns nothing of the rules.
    app.try_sign_in("ann", "wrong otter 27 granite").await.refused(401, "invalid_credentials");
    app.try_sign_in("nobody", PASSWORD).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn an_admin_with_a_second_factor_comes_in_while_signing_in_is_off() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (authenticator, _) = admin.enrol(&app).await;
    set(&admin, json!({"LOGIN": false})).await.is(200);
    app.sign_in_with("root", &authenticator.next_code(&app)).await;
}

#[tokio::test]
async fn a_page_has_the_flag_of_its_operation() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (flag, pages) in [
        ("REGISTER", &["/signup", "/register"] as &[&str]),
        ("VERIFY_EMAIL", &["/verify"]),
        ("REQUEST_EMAIL_VERIFICATION", &["/verify/request"]),
        ("FORGOT_PASSWORD_REQUEST", &["/forgot-password/request", "/reset-password/request"]),
        ("FORGOT_PASSWORD_RESET", &["/forgot-password/reset", "/reset-password/reset"]),
    ] {
        set(&admin, json!({flag: false})).await.is(200);
        for page in pages {
            let shown = app.get(page).header("accept", "text/html").await;
            assert!(shown.is(403).text().contains("switched off"), "{shown:?}");
            let sent = app.post(page).header("sec-fetch-site", "same-origin").form(&[("x", "y")]).await;
            sent.is(403);
        }
        set(&admin, json!({flag: true})).await.is(200);
        for page in pages {
            app.get(page).await.is(200);
        }
    }
}

#[tokio::test]
async fn an_old_file_may_say_what_it_likes_of_what_can_not_be_switched_off() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    edit(&app, r#"{"LOGOUT": false, "_PING": false, "UPDATE_FEATURE_FLAGS": [{"percentageOfUsers": 0}]}"#);
    app.inside.flags.catch_up().await;
    assert_eq!(app.get("/ping").await.is(200).text(), "pong");
    let told = ann.get("/api/flags").await.is(200).json()["LOGOUT"].clone();
    assert_eq!((&told["enabled"], &told["reason"]), (&json!(true), &json!("always")));
    ann.post("/api/auth/logout").await.is(200);
    set(&admin, json!({"LOGOUT": true})).await.is(200);
}

#[tokio::test]
async fn flags_can_be_left_unobeyed_altogether() {
    let app = TestApp::with(&[("FEATURE_FLAGS_ENABLED", "False")]).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    set(&admin, json!({"READ_USERS_ME": false, "LOGIN": false, "REGISTER": [{}]})).await.is(200);
    ann.get("/api/user/me").await.is(200);
    app.try_sign_in("ann", PASSWORD).await.is(200);
    app.get("/signup").await.is(200);
}
