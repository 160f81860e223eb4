//! Each change and what it tells.

use std::pin::Pin;

use gatehouse::events::TYPES;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};

use super::{events_of, session, told, types};
use crate::harness::{Actor, PASSWORD, TestApp};
use crate::oauth::scene::Scene;

/// Somebody whose events are looked at after each step.
struct Journey<'a> {
    app: &'a TestApp,
    admin: &'a Actor,
    user: uuid::Uuid,
    seen: usize,
    types: Vec<String>,
}

impl Journey<'_> {
    /// What was told since the last time.
    #[track_caller]
    fn tells(&mut self, expected: &[(&str, Value)]) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let place = std::panic::Location::caller();
        let expected: Vec<(String, Value)> =
            expected.iter().map(|(name, data)| ((*name).to_owned(), data.clone())).collect();
        Box::pin(async move {
            let events = events_of(self.app, self.admin, self.user).await;
            let new = told(&events[self.seen..]);
            assert_eq!(new, expected, "{place}");
            self.seen = events.len();
            self.types.extend(new.into_iter().map(|(name, _)| name));
        })
    }
}

/// The hash of somebody's password.
async fn hash_of(app: &TestApp, user: uuid::Uuid) -> String {
    let reader = app.inside.db.reader();
    let sql = "SELECT password_hash FROM users WHERE id = $1";
    let statement = Statement::from_sql_and_values(reader.get_database_backend(), sql, [user.into()]);
    reader.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

fn picture() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(8, 8).write_to(&mut file, image::ImageFormat::Png).unwrap();
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"me.png\"";
    [format!("--B\r\n{head}\r\n\r\n").as_bytes(), &file.into_inner(), b"\r\n--B--\r\n"].concat()
}

#[tokio::test]
async fn each_change_tells_what_the_table_says_and_no_secret() {
    Box::pin(whole_life()).await;
}

async fn whole_life() {
    let scene = Scene::with_mail().await;
    let (admin, ann) = (scene.admin().await, scene.user("ann").await);
    let mut journey = Journey { app: &scene, admin: &admin, user: ann.id, seen: 0, types: Vec::new() };
    let none = json!({});
    let created = json!({
        "username": "ann", "display_name": "ann", "first_name": null, "last_name": null, "middle_name": null,
        "source": "local",
    });
    let opened = |actor: &Actor| session(actor, &json!({"kind": "token"}));
    journey.tells(&[("user.created", created), ("session.created", opened(&ann))]).await;

    // The profile.
    ann.patch(&ann.path()).json(&json!({"description": "Hello", "locale": "de"})).await.is(200);
    let changes = json!({"changes": {"description": "Hello", "locale": "de"}});
    journey.tells(&[("user.updated", changes)]).await;
    ann.put(&format!("{}/username", ann.path())).json(&json!({"username": "anna_lee"})).await.is(200);
    let renamed = json!({"username": "anna_lee", "previous_username": "ann"});
    let changes = json!({"changes": {"username": "anna_lee", "display_name": "anna_lee"}});
    journey.tells(&[("user.username_updated", renamed), ("user.updated", changes)]).await;
    ann.put(&format!("{}/full-name", ann.path())).json(&json!({"first_name": "Ann"})).await.is(200);
    let names = json!({"first_name": "Ann", "last_name": null, "middle_name": null});
    let changes = json!({"changes": {"first_name": "Ann"}});
    journey.tells(&[("user.full_name_updated", names), ("user.updated", changes)]).await;
    ann.put(&format!("{}/image", ann.path())).body("multipart/form-data; boundary=B", picture()).await.ok();
    journey.tells(&[("user.updated", json!({"changes": {"image": true}}))]).await;
    ann.delete(&format!("{}/image", ann.path())).await.is(200);
    journey.tells(&[("user.updated", json!({"changes": {"image": false}}))]).await;
    let blocked = format!("{}/blocked_users?users_ids={}", ann.path(), admin.id);
    ann.put(&blocked).await.is(200);
    ann.put(&format!("{}/blocked_users", ann.path())).await.is(200);
    journey.tells(&[]).await; // block lists are nobody else's business

    // By staff.
    let reply = admin.patch(&ann.path()).json(&json!({"roles": ["user", "tester"]})).await;
    reply.is(200);
    let roles = json!({"before": ["user"], "after": ["tester", "user"]});
    journey.tells(&[("user.roles_changed", roles)]).await;
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    let ended = |actor: &Actor, reason: &str| session(actor, &json!({"reason": reason}));
    let banned = json!({"reason": null});
    journey.tells(&[("session.ended", ended(&ann, "banned")), ("user.banned", banned.clone())]).await;
    admin.patch(&ann.path()).json(&json!({"is_active": true})).await.is(200);
    journey.tells(&[("user.unbanned", banned)]).await;

    // Signing in, and what belongs to it.
    let (ann, other) = (scene.sign_in("anna_lee").await, scene.sign_in("anna_lee").await);
    let both = [("session.created", opened(&ann)), ("session.created", opened(&other))];
    journey.tells(&both).await;
    let new = format!("{PASSWORD}!");
    let change = json!({"old_password": PASSWORD, "new_password": new, "confirm_password": new});
    ann.patch("/api/auth/password/reset").json(&change).await.is(200);
    let hash = hash_of(&scene, ann.id).await;
    let expected =
        [("session.ended", ended(&other, "password_changed")), ("user.password_changed", none.clone())];
    journey.tells(&expected).await;
    ann.patch(&ann.path()).json(&json!({"email": "new@example.com"})).await.ok();
    journey.tells(&[]).await; // it is not proved yet
    let token = scene.mail_to("new@example.com", "verification").await.token();
    scene.verify(&token).await.is(200);
    let changes = json!({"changes": {"email_changed": true}});
    let proved = [("user.updated", changes), ("user.email_verified", none.clone())];
    journey.tells(&proved).await;
    let (authenticator, codes) = ann.enrol(&scene).await;
    journey.tells(&[("user.otp_changed", none.clone())]).await;
    ann.change_method("none", &authenticator.next_code(&scene)).await.is(200);
    journey.tells(&[("user.otp_changed", none.clone())]).await;

    // Another provider.
    scene.browser().send(&ann, "acme", "link").await;
    journey.tells(&[("user.account_linked", json!({"provider": "acme"}))]).await;
    ann.post("/api/oauth/acme/unlink").await.is(200);
    journey.tells(&[("user.account_unlinked", json!({"provider": "acme"}))]).await;

    // The end.
    ann.post("/api/auth/logout").await.is(200);
    journey.tells(&[("session.ended", ended(&ann, "logout"))]).await;
    admin.delete(&ann.path()).await.is(200);
    journey.tells(&[("user.deleted", none.clone())]).await;
    admin.post(&format!("{}/restore", ann.path())).await.is(200);
    journey.tells(&[("user.restored", none.clone())]).await;
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    journey.tells(&[("user.purged", none)]).await;

    let untold: Vec<_> =
        TYPES.iter().filter(|name| !journey.types.iter().any(|told| told == *name)).collect();
    assert!(untold.is_empty(), "nothing has told {untold:?}");
    let all = admin.get("/api/admin/events?limit=1000").await.is(200).text().to_owned();
    let seed = authenticator.uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    let mut secrets =
        vec![PASSWORD, "example.com", "argon2", "$argon", &ann.access, &ann.refresh, &other.refresh];
    secrets.extend([seed, &token, &hash]);
    // Nor the salt and the digest without what says that they are a hash's.
    secrets.extend(hash.rsplit('$').take(2));
    secrets.extend(codes.iter().map(String::as_str));
    assert!(secrets.iter().all(|secret| secret.len() > 5), "that is in any text: {secrets:?}");
    for secret in secrets {
        assert!(!all.contains(secret), "{secret} is in an event");
    }
}

#[tokio::test]
async fn a_person_of_another_provider_says_where_they_come_from() {
    let scene = Scene::new().await;
    let (admin, ann) = (scene.admin().await, scene.come("acme").await);
    let events = events_of(&scene, &admin, ann.id).await;
    assert_eq!(types(&events), ["user.created", "session.created"]);
    assert_eq!(events[0]["data"]["source"], "oauth:acme");
}

#[tokio::test]
async fn an_event_carries_the_trace_of_the_request_that_caused_it() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let change = json!({"description": "x", "first_name": "Ann"});
    ann.patch(&ann.path()).json(&change).header("x-request-id", "trace-1").await.is(200);
    let sign_in = json!({"username": "ann", "password": PASSWORD});
    app.post("/api/auth/login").json(&sign_in).header("x-request-id", "trace-2").await.is(200);
    ann.delete("/api/auth/sessions").header("x-request-id", "trace-3").await.is(204);
    admin.delete(&ann.path()).header("x-request-id", "trace-4").await.is(200);
    let events = events_of(&app, &admin, ann.id).await;
    let traced: Vec<_> = events[2..]
        .iter()
        .map(|event| (event["event_type"].as_str().unwrap(), event["trace_id"].as_str().unwrap()))
        .collect();
    let expected = [
        ("user.full_name_updated", "trace-1"),
        ("user.updated", "trace-1"),
        ("session.created", "trace-2"),
        ("session.ended", "trace-3"),
        ("session.ended", "trace-4"),
        ("user.deleted", "trace-4"),
    ];
    assert_eq!(traced, expected);
}

#[tokio::test]
async fn what_is_refused_tells_nothing() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    app.user("bob").await;
    let before = events_of(&app, &admin, ann.id).await;
    ann.put(&format!("{}/username", ann.path())).json(&json!({"username": "bob"})).await.is(409);
    // Her sessions end first, and the taken address is found after that: both are undone.
    let taken = json!({"email": "bob@example.com"});
    admin.patch(&ann.path()).json(&taken).await.refused(409, "email_taken");
    admin.delete(&admin.path()).await.refused(409, "last_admin");
    ann.patch(&ann.path()).json(&json!({"description": "x"})).header("if-match", "\"99\"").await.is(412);
    ann.patch(&ann.path()).json(&json!({"username": "ann"})).await.is(200); // as it was
    assert_eq!(events_of(&app, &admin, ann.id).await, before);
    ann.get("/api/user/me").await.is(200);
}
