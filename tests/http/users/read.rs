//! `GET /user/me`, `/user/{uuid}`, `/user/@{username}`, `/user/{uuid}/details`.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, TestApp};

/// The members of a `PublicUser`.
const PUBLIC: [&str; 14] = [
    "created_at",
    "description",
    "display_name",
    "first_name",
    "is_active",
    "last_name",
    "locale",
    "middle_name",
    "picture_url",
    "profile_picture",
    "roles",
    "updated_at",
    "username",
    "uuid",
];
/// What only oneself and admins see beyond that.
const PRIVATE: [&str; 10] = [
    "blocked_uuids",
    "deleted_at",
    "email",
    "email_verified",
    "external_accounts",
    "files",
    "is_external_only",
    "metadata",
    "otp_method",
    "user_history",
];

fn members(value: &Value) -> Vec<&str> {
    let mut members: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    members
}

fn full() -> Vec<&'static str> {
    let mut all: Vec<&str> = PUBLIC.into_iter().chain(PRIVATE).collect();
    all.sort_unstable();
    all
}

fn every_path(of: &Actor) -> [String; 4] {
    let name = &of.name;
    [
        of.path(),
        format!("/api/user/@{name}"),
        format!("{}/details", of.path()),
        format!("/api/user/@{name}/details"),
    ]
}

#[tokio::test]
async fn one_sees_oneself_in_full_on_every_path() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let me = ann.me().await;
    assert_eq!(members(&me), full());
    for path in every_path(&ann) {
        assert_eq!(ann.get(&path).await.is(200).json(), me, "{path}");
    }
}

#[tokio::test]
async fn admins_see_everybody_in_full() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    for path in every_path(&ann) {
        assert_eq!(admin.get(&path).await.is(200).json(), ann.me().await, "{path}");
    }
}

#[tokio::test]
async fn others_see_what_is_public() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    ann.patch(&ann.path()).json(&json!({"description": "Likes otters", "first_name": "Ann"})).await.is(200);
    let me = ann.me().await;
    for other in [app.user("bob").await, app.tester().await, app.moderator().await] {
        for path in every_path(&ann) {
            let seen = other.get(&path).await.is(200).json();
            assert_eq!(members(&seen), PUBLIC, "{} at {path}", other.name);
            for name in PUBLIC {
                assert_eq!(seen[name], me[name], "{name}");
            }
        }
    }
}

#[tokio::test]
async fn the_username_in_the_path_may_be_in_capitals_and_the_id_too() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for path in ["/api/user/@ANN".to_owned(), format!("/api/user/{}", ann.id.to_string().to_uppercase())] {
        assert_eq!(ann.get(&path).await.is(200).json()["uuid"], ann.id.to_string());
    }
}

#[tokio::test]
async fn who_is_not_there_is_not_found() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.user("ann").await;
    let nobody = Uuid::nil();
    for segment in [
        nobody.to_string(),
        "@nobody".into(),
        "@".into(),
        "x".into(),
        "7".into(),
        "ann".into(),
        "@ann@example.com".into(),
        "%40nobody".into(),
        "@a%00nn".into(),
        nobody.simple().to_string(),
        format!("{{{nobody}}}"),
        "@".repeat(500),
    ] {
        for path in [format!("/api/user/{segment}"), format!("/api/user/{segment}/details")] {
            admin.get(&path).await.refused(404, "not_found");
        }
    }
}

#[tokio::test]
async fn nobody_reads_without_signing_in() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for path in every_path(&ann).into_iter().chain(["/api/user/me".into(), "/api/user/@nobody".into()]) {
        app.get(&path).await.refused(401, "token_invalid");
    }
}

#[tokio::test]
async fn who_is_switched_off_is_there_for_staff_only() {
    let app = TestApp::new().await;
    let banned = app.banned().await;
    for other in [app.tester().await, app.user("bob").await] {
        for path in every_path(&banned) {
            other.get(&path).await.refused(404, "not_found");
        }
    }
    for staff in [app.moderator().await, app.admin().await] {
        for path in every_path(&banned) {
            assert_eq!(staff.get(&path).await.is(200).json()["is_active"], false);
        }
    }
}

#[tokio::test]
async fn who_is_deleted_is_there_for_admins_only() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    ann.delete(&ann.path()).await.is(200);
    let moderator = app.moderator().await;
    for other in [&app.user("bob").await, &app.tester().await, &moderator] {
        for path in every_path(&ann) {
            other.get(&path).await.refused(404, "not_found");
        }
    }
    // Nor by anything else that a moderator may do to ordinary accounts.
    for part in ["history", "sessions"] {
        moderator.get(&format!("{}/{part}", ann.path())).await.refused(404, "not_found");
    }
    moderator.patch(&ann.path()).json(&json!({"description": "x"})).await.refused(404, "not_found");
    let ban = moderator.post(&format!("/api/admin/ban/{}", ann.id)).json(&json!({"reason": "x"}));
    ban.await.refused(404, "not_found");
    let admin = app.admin().await;
    assert_ne!(admin.get(&ann.path()).await.is(200).json()["deleted_at"], Value::Null);
    // The name is free: nobody is called so.
    admin.get("/api/user/@ann").await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_missing_and_what_is_hidden_look_alike() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    ann.delete(&ann.path()).await.is(200);
    let mut hidden = bob.get(&ann.path()).await.refused(404, "not_found").json();
    let mut missing = bob.get(&format!("/api/user/{}", Uuid::nil())).await.refused(404, "not_found").json();
    hidden["trace_id"] = json!("");
    missing["trace_id"] = json!("");
    assert_eq!(hidden, missing);
}

#[tokio::test]
async fn nothing_secret_is_in_any_answer() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    for path in [ann.path(), "/api/user/".into(), format!("{}/history", ann.path()), "/api/user/me".into()] {
        let text = admin.get(&path).await.is(200).text().to_owned();
        for secret in ["password_hash", "argon2", "token_version", "secret", "digest", "search_name"] {
            assert!(!text.contains(secret), "{secret} in {path}");
        }
    }
}
