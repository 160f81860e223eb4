//! Every operation, everybody who may ask for it, and what they are answered: written out, so that a change of who
//! may do what is seen in review, and a new operation can't be forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Client, PASSWORD, TestApp};
use crate::openapi::{document, operations};

/// Who asks. `banned` was switched off after signing in.
const WHO: [&str; 6] = ["anonymous", "user", "tester", "moderator", "admin", "banned"];

/// An operation, a body that is good (`$new`: a name that is free; `$target`: the id of an ordinary account, `$old`:
/// its deleted twin; `$upload`: a form with a file), a query, and the status for each of [`WHO`]. `{user}` is an ordinary account of somebody else.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, [u16; 6])] = &[
    // operation                                    query                  body                                   anon user test  mod  adm  ban
    ("GET /ping",                                   "",                    "",                                    [200, 200, 200, 200, 200, 200]),
    ("GET /version",                                "",                    "",                                    [200, 200, 200, 200, 200, 200]),
    ("GET /machine",                                "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("GET /repository",                             "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("GET /healthcheck",                            "",                    "",                                    [200, 200, 200, 200, 200, 200]),
    ("GET /health/live",                            "",                    "",                                    [200, 200, 200, 200, 200, 200]),
    ("GET /health/ready",                           "",                    "",                                    [200, 200, 200, 200, 200, 200]),
    ("GET /metrics",                                "",                    "",                                    [200, 200, 200, 200, 200, 200]),
    ("GET /.well-known/jwks.json",                  "",                    "",                                    [200, 200, 200, 200, 200, 200]),
    ("GET /oauth/client-metadata.json",             "",                    "",                                    [404, 404, 404, 404, 404, 404]),
    ("GET /oauth/jwks.json",                        "",                    "",                                    [404, 404, 404, 404, 404, 404]),

    ("POST /api/auth/register",                     "",                    "$registration",                       [201, 201, 201, 201, 201, 201]),
    ("POST /api/auth/login",                        "",                    "$login",                              [200, 200, 200, 200, 200, 200]),
    ("POST /api/auth/token/refresh",                "",                    r#"{"refresh_token":"$refresh"}"#,     [401, 200, 200, 200, 200, 401]),
    ("GET /api/auth/token/validate",                "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("POST /api/auth/token/introspect",             "",                    r#"{"token":"x"}"#,                    [401, 401, 401, 401, 200, 401]),
    ("POST /api/auth/token/revoke",                 "",                    r#"{"token":"x"}"#,                    [200, 200, 200, 200, 200, 200]),
    ("GET /api/auth/sessions",                      "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("DELETE /api/auth/sessions",                   "",                    "",                                    [401, 204, 204, 204, 204, 401]),
    ("DELETE /api/auth/sessions/{id}",              "",                    "",                                    [401, 404, 404, 404, 404, 401]),
    ("GET /api/auth/csrf",                          "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("PATCH /api/auth/password/reset",              "",                    "$change",                             [401, 200, 200, 200, 200, 401]),
    ("POST /api/auth/reauthenticate",               "",                    r#"{"password":"$password"}"#,         [401, 200, 200, 200, 200, 401]),
    ("POST /api/auth/logout",                       "",                    "",                                    [401, 200, 200, 200, 200, 200]),

    // Nobody has a second factor here, and mail is off.
    ("POST /api/auth/OTP",                          "",                    r#"{"otp_token":"x","otp_code":"123456"}"#,[401, 401, 401, 401, 401, 401]),
    ("POST /api/auth/OTP/send",                     "",                    "",                                    [401, 422, 422, 422, 422, 401]),
    ("PATCH /api/auth/OTP/{method}",                "",                    r#"{"otp_code":"123456"}"#,            [401, 409, 409, 409, 409, 401]),
    ("POST /api/auth/OTP/recovery-codes",           "",                    r#"{"password":"$password"}"#,         [401, 409, 409, 409, 409, 401]),
    ("GET /api/auth/QR",                            "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("GET /api/auth/email/verify",                  "token=x",             "",                                    [200, 200, 200, 200, 200, 200]),
    ("POST /api/auth/email/verify",                 "",                    r#"{"token":"x"}"#,                    [401, 401, 401, 401, 401, 401]),
    ("POST /api/auth/email/verify/request",         "",                    r#"{"email":"a@example.com"}"#,        [202, 202, 202, 202, 202, 202]),
    ("GET /api/auth/forgot-password/request",       "username=x",          "",                                    [202, 202, 202, 202, 202, 202]),
    ("POST /api/auth/forgot-password/request",      "",                    r#"{"username":"x"}"#,                 [202, 202, 202, 202, 202, 202]),
    ("POST /api/auth/forgot-password/reset",        "",                    "$reset",                              [401, 401, 401, 401, 401, 401]),
    ("GET /api/auth/password/reset",                "",                    "",                                    [401, 202, 202, 202, 202, 401]),

    // No provider is configured here.
    ("GET /api/oauth/providers",                    "",                    "",                                    [200, 200, 200, 200, 200, 200]),
    ("POST /api/oauth/token",                       "",                    r#"{"code":"x","redirect_uri":"/"}"#,  [401, 401, 401, 401, 401, 401]),
    ("GET /api/oauth/{provider}",                   "",                    "",                                    [404, 404, 404, 404, 404, 404]),
    ("GET /api/oauth/{provider}/callback",          "state=x&code=x",      "",                                    [400, 400, 400, 400, 400, 400]),
    ("GET /api/oauth/{provider}/link",              "",                    "",                                    [303, 303, 303, 303, 303, 303]),
    ("POST /api/oauth/{provider}/link",             "",                    "",                                    [401, 404, 404, 404, 404, 401]),
    ("POST /api/oauth/{provider}/unlink",           "",                    "",                                    [401, 404, 404, 404, 404, 401]),
    ("POST /api/oauth/{provider}/revoke",           "",                    "",                                    [401, 404, 404, 404, 404, 401]),
    ("POST /api/oauth/{provider}/reauthenticate",   "",                    "",                                    [401, 404, 404, 404, 404, 401]),

    // There is no directory at WorkOS here.
    ("POST /api/workos/webhook",                    "",                    "{}",                                  [404, 404, 404, 404, 404, 404]),

    ("POST /api/user",                              "",                    r#"{"username":"$new"}"#,              [401, 403, 403, 201, 201, 401]),
    ("GET /api/user",                               "",                    "",                                    [401, 403, 403, 200, 200, 401]),
    ("GET /api/user/users",                         "users_ids=$target",   "",                                    [401, 403, 403, 200, 200, 401]),
    ("GET /api/user/count",                         "",                    "",                                    [401, 403, 403, 200, 200, 401]),
    ("GET /api/user/me",                            "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("GET /api/user/me/export",                     "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("GET /api/user/{user}",                        "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("GET /api/user/{user}/details",                "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("PATCH /api/user/{user}",                      "",                    r#"{"description":"x"}"#,              [401, 403, 403, 200, 200, 401]),
    ("PUT /api/user/{user}",                        "",                    r#"{"description":"x"}"#,              [401, 403, 403, 200, 200, 401]),
    ("PUT /api/user/{user}/username",               "",                    r#"{"username":"$new"}"#,              [401, 403, 403, 403, 200, 401]),
    ("PUT /api/user/{user}/full-name",              "",                    r#"{"first_name":"Ann"}"#,             [401, 403, 403, 403, 200, 401]),
    ("GET /api/user/{user}/history",                "",                    "",                                    [401, 403, 403, 200, 200, 401]),
    ("GET /api/user/{user}/sessions",               "",                    "",                                    [401, 403, 403, 200, 200, 401]),
    ("DELETE /api/user/{user}/sessions",            "",                    "",                                    [401, 403, 403, 403, 204, 401]),
    ("DELETE /api/user/{user}/sessions/{id}",       "",                    "",                                    [401, 403, 403, 403, 404, 401]),
    ("GET /api/user/{user}/image",                  "",                    "",                                    [200, 200, 200, 200, 200, 401]),
    ("PUT /api/user/{user}/blocked_users",          "users_ids=$other",    "",                                    [401, 403, 403, 403, 200, 401]),
    ("PATCH /api/user/{user}/blocked_users",        "add=$other",          "",                                    [401, 403, 403, 403, 200, 401]),
    ("DELETE /api/user/{user}/blocked_users",       "users_ids=$other",    "",                                    [401, 403, 403, 403, 200, 401]),
    ("POST /api/user/{user}/restore",               "",                    "",                                    [401, 403, 403, 403, 409, 401]),
    // The file is no picture.
    ("PUT /api/user/{user}/image",                  "",                    "$upload",                             [401, 403, 403, 403, 422, 401]),
    ("DELETE /api/user/{user}/image",               "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("PUT /api/user/{user}/file",                   "",                    "$upload",                             [401, 403, 403, 403, 200, 401]),
    ("POST /api/user/{user}/file",                  "",                    "$upload",                             [401, 403, 403, 403, 200, 401]),
    ("DELETE /api/user/{user}",                     "",                    "",                                    [401, 403, 403, 403, 200, 401]),

    // `{file}` is an ordinary account's.
    ("POST /api/file",                              "",                    "$upload",                             [401, 201, 201, 201, 201, 401]),
    ("GET /api/file",                               "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("GET /api/file/files",                         "files_ids=1",         "",                                    [401, 200, 200, 200, 200, 401]),
    ("GET /api/file/count",                         "",                    "",                                    [401, 200, 200, 200, 200, 401]),
    ("GET /api/file/{file}",                        "",                    "",                                    [401, 404, 404, 200, 200, 401]),
    ("GET /api/file/{file}/file",                   "",                    "",                                    [401, 404, 404, 200, 200, 401]),
    ("PATCH /api/file/{file}",                      "",                    r#"{"description":"x"}"#,              [401, 404, 404, 403, 200, 401]),
    ("DELETE /api/file/{file}",                     "",                    "",                                    [401, 404, 404, 403, 200, 401]),

    // Mail is off here: whoever may send is told so.
    ("POST /api/email/send-email",                  "$letter&recipient=$address",   r#""Hello""#,                 [401, 403, 403, 200, 200, 401]),
    ("POST /api/email/send-email-multiple",         "$letter&recipients=$address",  r#""Hello""#,                 [401, 403, 403, 200, 200, 401]),
    ("POST /api/email/send-email-all",              "$letter",             r#""Hello""#,                          [401, 403, 403, 403, 200, 401]),
    ("POST /api/email/send-test-email",             "recipient=$address",  "",                                    [401, 403, 403, 403, 200, 401]),
    ("POST /api/email/send-otp-email",              "recipient=$address",  "",                                    [401, 403, 403, 200, 200, 401]),
    ("POST /api/email/send-reset-password-email",   "recipient=$address",  "",                                    [401, 403, 403, 200, 200, 401]),
    ("POST /api/email/send-validation-email",       "recipient=$address",  "",                                    [401, 403, 403, 200, 200, 401]),
    ("GET /api/email/queue",                        "",                    "",                                    [401, 403, 403, 200, 200, 401]),

    ("GET /api/flags",                              "",                    "",                                    [200, 200, 200, 200, 200, 401]),
    ("GET /api/admin/feature-flags",                "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("PATCH /api/admin/feature-flags",              "",                    r#"{"add":{"x":true}}"#,               [401, 403, 403, 403, 200, 401]),
    ("GET /api/admin/feature_flags",                "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("PATCH /api/admin/feature_flags",              "",                    r#"{"add":{"x":true}}"#,               [401, 403, 403, 403, 200, 401]),
    ("GET /api/admin/feature-flags/history",        "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("POST /ofrep/v1/evaluate/flags",               "",                    "{}",                                  [401, 200, 200, 200, 200, 401]),
    ("POST /ofrep/v1/evaluate/flags/{key}",         "",                    "{}",                                  [401, 200, 200, 200, 200, 401]),

    ("POST /api/admin/ban/{user}",                  "",                    r#"{"reason":"x"}"#,                   [401, 403, 403, 200, 200, 401]),
    // The account is not banned.
    ("POST /api/admin/unban/{user}",                "",                    r#"{"reason":"x"}"#,                   [401, 403, 403, 403, 409, 401]),
    ("GET /api/admin/audit",                        "limit=1",             "",                                    [401, 403, 403, 403, 200, 401]),
    ("GET /api/admin/stats",                        "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("GET /api/admin/events",                       "limit=1",             "",                                    [401, 403, 403, 403, 200, 401]),
    ("POST /api/admin/events/{id}/replay",          "",                    "",                                    [401, 403, 403, 403, 404, 401]),
    ("POST /api/admin/events/{id}/skip",            "",                    "",                                    [401, 403, 403, 403, 404, 401]),
    ("POST /api/admin/events/replay",               "",                    r#"{"until":"$target"}"#,              [401, 403, 403, 403, 404, 401]),
    // There is no webhook with the id.
    ("GET /api/admin/webhooks",                     "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("POST /api/admin/webhooks",                    "",                    r#"{"url":"https://example.com/"}"#,   [401, 403, 403, 403, 201, 401]),
    ("GET /api/admin/webhooks/{id}",                "",                    "",                                    [401, 403, 403, 403, 404, 401]),
    ("PATCH /api/admin/webhooks/{id}",              "",                    r#"{"enabled":true}"#,                 [401, 403, 403, 403, 404, 401]),
    ("DELETE /api/admin/webhooks/{id}",             "",                    "",                                    [401, 403, 403, 403, 404, 401]),
    ("POST /api/admin/webhooks/{id}/rotate-secret", "",                    "",                                    [401, 403, 403, 403, 404, 401]),
    ("POST /api/admin/webhooks/{id}/test",          "",                    "",                                    [401, 403, 403, 403, 404, 401]),
    ("GET /api/admin/webhooks/{id}/deliveries",     "",                    "",                                    [401, 403, 403, 403, 404, 401]),
    ("POST /api/admin/webhooks/{id}/replay",        "",                    r#"{"after":"$other"}"#,               [401, 403, 403, 403, 404, 401]),

    // What is uploaded is no database.
    ("GET /api/db/export",                          "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("POST /api/db/export",                         "",                    "",                                    [401, 403, 403, 403, 200, 401]),
    ("POST /api/db/import",                         "",                    "$upload",                             [401, 403, 403, 403, 422, 401]),
    ("POST /api/db/recover",                        "",                    "$upload",                             [401, 403, 403, 403, 422, 401]),

    ("POST /api/admin/permissions/check",           "",                    r#"{"action":"user:list"}"#,           [401, 403, 403, 403, 200, 401]),
];

/// The people of [`WHO`], each in a session of their own; nobody is anonymous.
async fn fresh(app: &TestApp, banned: &Actor) -> [Option<Actor>; 6] {
    let [tester, moderator, admin] = [app.tester().await, app.moderator().await, app.admin().await];
    [None, Some(app.sign_in("ann").await), Some(tester), Some(moderator), Some(admin), Some(banned.clone())]
}

/// An ordinary account that nobody has touched yet.
async fn target(admin: &Actor, name: &str) -> Uuid {
    let user = admin.post("/api/user/").json(&json!({"username": name})).await.is(201).json();
    user["uuid"].as_str().unwrap().parse().unwrap()
}

/// A form with a file of this name.
fn upload(name: &str) -> String {
    let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
    format!("--B\r\n{head}\r\n\r\nx\r\n--B--\r\n")
}

/// A file of an ordinary account that nobody has touched yet.
async fn file(owner: &Actor, name: &str) -> i64 {
    let reply = owner.post("/api/file").body("multipart/form-data; boundary=B", upload(name)).await;
    reply.is(201).json()["id"].as_i64().unwrap()
}

#[tokio::test]
async fn everybody_is_answered_as_the_table_says() {
    let app = TestApp::new().await;
    app.user("ann").await;
    app.user("carl").await;
    let banned = app.banned().await;
    let other = target(&app.admin().await, "other").await;
    let mut wrong = Vec::new();
    for (row, (operation, query, body, expected)) in TABLE.iter().enumerate() {
        let (method, path) = operation.split_once(' ').unwrap();
        // Sessions of the same moment are in no order, and nobody has more than a hundred.
        app.clock.advance(Duration::from_millis(1));
        let actors = fresh(&app, &banned).await;
        let mut targets = Vec::new();
        for column in 0..WHO.len() {
            targets.push(target(&app.admin().await, &format!("row_{row}_{column}")).await);
        }
        for (column, actor) in actors.iter().enumerate() {
            let (target, free) = (targets[column], format!("new_{row}_{column}"));
            let file =
                if path.contains("{file}") { file(&app.sign_in("carl").await, &free).await } else { 0 };
            let filled = |text: &str| {
                let refresh = actor.as_ref().map_or("x", |actor| &actor.refresh);
                let registration = json!({
                    "username": free, "email": format!("{free}@example.com"), "password": PASSWORD,
                    "confirm_password": PASSWORD,
                });
                let new = format!("{PASSWORD}!");
                let change = json!({"old_password": PASSWORD, "new_password": new, "confirm_password": new});
                let reset = json!({"token": "x", "new_password": new, "confirm_password": new});
                text.replace("$registration", &registration.to_string())
                    .replace("$reset", &reset.to_string())
                    .replace("$login", &json!({"username": "ann", "password": PASSWORD}).to_string())
                    .replace("$change", &change.to_string())
                    .replace("$password", PASSWORD)
                    .replace("$refresh", refresh)
                    .replace("$letter", "confirm=true&subject=Hello")
                    .replace("$address", "ann@example.com")
                    .replace("$new", &free)
                    .replace("$target", &target.to_string())
                    .replace("$other", &other.to_string())
                    .replace("{user}", &target.to_string())
                    .replace("{file}", &file.to_string())
                    .replace("$upload", &upload(&free))
                    .replace("{id}", &Uuid::nil().to_string())
                    .replace("{method}", "none")
                    .replace("{key}", "REGISTER")
                    .replace("{provider}", "github")
            };
            let path = format!("{}?{}", filled(path), filled(query));
            let client: &Client = actor.as_deref().unwrap_or(&app);
            let ask = client.ask(method, path.trim_end_matches('?'));
            let kind =
                if *body == "$upload" { "multipart/form-data; boundary=B" } else { "application/json" };
            let body = filled(body);
            let reply = if body.is_empty() { ask.await } else { ask.body(kind, body).await };
            if reply.status() != expected[column] {
                wrong.push(format!(
                    "{operation} by {}: {}, not {}",
                    WHO[column],
                    reply.status(),
                    expected[column]
                ));
            }
        }
        if *operation == "PATCH /api/auth/password/reset" {
            restore_passwords(&app, &actors).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Gives everybody the password back that they had before they changed it.
async fn restore_passwords(app: &TestApp, actors: &[Option<Actor>]) {
    let now = format!("{PASSWORD}!");
    let change = json!({"old_password": now, "new_password": PASSWORD, "confirm_password": PASSWORD});
    for actor in actors[..5].iter().flatten() {
        let reply = app.try_sign_in(&actor.name, &now).await;
        let actor = Actor::with_tokens(app, &actor.name, &reply.is(200).json());
        actor.patch("/api/auth/password/reset").json(&change).await.is(200);
    }
}

#[tokio::test]
async fn every_operation_is_in_the_table_and_nothing_else() {
    let app = TestApp::new().await;
    let document: Value = document(&app).await;
    let documented: BTreeSet<String> =
        operations(&document).into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let listed: BTreeSet<String> = TABLE.iter().map(|(operation, ..)| (*operation).to_owned()).collect();
    assert_eq!(listed.len(), TABLE.len(), "a row is there twice");
    assert_eq!(listed, documented);
}
