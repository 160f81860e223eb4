//! Fields that are not theirs to set, and names that are not theirs to take.

use serde_json::{Value, json};

use super::Scene;
use crate::harness::{Actor, PASSWORD};

/// Everything of an account that its owner must not set.
fn protected() -> Vec<(&'static str, Value)> {
    vec![
        ("roles", json!(["admin"])),
        ("roles", json!([])),
        ("is_active", json!(false)),
        ("is_active", json!(true)),
        ("email_verified", json!(true)),
        ("metadata", json!({"plan": "gold"})),
        ("otp_method", json!("none")),
        ("otp_secret", json!("x")),
        ("password", json!("sapphire lantern 88 meadow")),
        ("password_hash", json!("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$x")),
        ("is_external_only", json!(true)),
        ("profile_picture", json!({"id": 1})),
        ("profile_picture_id", json!(1)),
        ("picture_url", json!("https://evil.test/x.png")),
        ("created_at", json!(1)),
        ("updated_at", json!(1)),
        ("deleted_at", json!(1)),
        ("uuid", json!("00000000-0000-7000-8000-000000000000")),
        ("id", json!(1)),
        ("user_history", json!([])),
        ("action", json!("unbanned")),
        ("blocked_uuids", json!([])),
        ("external_accounts", json!([])),
        ("files", json!([])),
        ("version", json!(9)),
        ("revision", json!(9)),
        ("token_version", json!(9)),
        ("search_name", json!("x")),
        ("isActive", json!(true)),
        ("Roles", json!(["admin"])),
        ("is_active ", json!(true)),
        ("__proto__", json!({"roles": ["admin"]})),
        ("constructor", json!({"prototype": {"roles": ["admin"]}})),
        ("user", json!({"roles": ["admin"]})),
        ("$set", json!({"roles": ["admin"]})),
        ("roles[]", json!("admin")),
        ("roles.0", json!("admin")),
    ]
}

// A-112, R-42, on every operation that changes an account.
#[tokio::test]
async fn nobody_sets_what_is_not_theirs() {
    let scene = Scene::new().await;
    let moderator = scene.moderator().await;
    let ann = scene.user("ann").await;
    let before = ann.me().await;
    let moderators = moderator.me().await;
    for (who, whom) in [(&ann, &ann), (&moderator, &moderator), (&moderator, &ann)] {
        for (name, value) in protected() {
            for (method, suffix) in [("PATCH", ""), ("PUT", ""), ("PUT", "/username"), ("PUT", "/full-name")]
            {
                let path = format!("{}{suffix}", whom.path());
                let mut bodies = vec![
                    json!({(name): value}),
                    json!({(name): value, "description": "with something harmless"}),
                ];
                if suffix == "/username" {
                    bodies = vec![json!({(name): value, "username": "another"})];
                }
                for body in bodies {
                    let reply = who.ask(method, &path).json(&body).await;
                    assert!(matches!(reply.status(), 403 | 422), "{body}: {reply:?}");
                }
            }
        }
    }
    assert_eq!(ann.me().await, before);
    assert_eq!(moderator.me().await, moderators);
    scene.is_unharmed().await;
}

// A-112: a key given twice is two readings.
#[tokio::test]
async fn a_field_given_twice_is_refused() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let before = ann.me().await;
    for body in [
        r#"{"description":"a","description":"b"}"#,
        r#"{"description":"a","roles":["admin"],"description":"b"}"#,
        r#"{"description":"a","descripti\u006fn":"b"}"#,
        r#"{"description":"a"}{"roles":["admin"]}"#,
        r#"[{"description":"a"}]"#,
        r#"["admin"]"#,
        r#""description""#,
    ] {
        let reply = ann.patch(&ann.path()).body("application/json", body).await;
        assert!(matches!(reply.status(), 400 | 422), "{body}: {reply:?}");
    }
    ann.patch(&ann.path()).body("application/json", "null").await.is(422);
    assert_eq!(ann.me().await, before);
}

// A-113
#[tokio::test]
async fn signing_up_makes_an_ordinary_account_or_none() {
    let scene = Scene::new().await;
    let whole = || json!({"username": "riser", "email": "riser@example.com", "password": PASSWORD, "confirm_password": PASSWORD});
    for (name, value) in protected().into_iter().filter(|(name, _)| *name != "password") {
        let mut body = whole();
        body[name] = value.clone();
        scene.post("/api/auth/register").json(&body).await.is(422);
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let form = [
            ("username", "riser"),
            ("email", "riser@example.com"),
            ("password", PASSWORD),
            ("confirm_password", PASSWORD),
            (name, &text),
        ];
        scene.post("/api/auth/register").form(&form).await.is(422);
    }
    let reply = scene.post("/api/auth/register?roles=admin&is_active=true").json(&whole()).await;
    let riser = Actor::with_tokens(&scene, "riser", &reply.is(201).json());
    let me = riser.me().await;
    assert_eq!(
        (&me["roles"], &me["email_verified"], &me["metadata"]),
        (&json!(["user"]), &json!(false), &json!({}))
    );
}

// R-1: names of the operator are the operator's to give, by whatever door.
#[tokio::test]
async fn nobody_takes_a_name_of_the_operator() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let moderator = scene.moderator().await;
    for name in ["admin", "support", "root_", "_admin_", "gatehouse", "security", "me", "api"] {
        let registration = json!({"username": name, "email": "new@example.com", "password": PASSWORD, "confirm_password": PASSWORD});
        scene.post("/api/auth/register").json(&registration).await.invalid(&["username"]);
        ann.patch(&ann.path()).json(&json!({"username": name})).await.invalid(&["username"]);
        ann.put(&ann.path()).json(&json!({"username": name})).await.invalid(&["username"]);
        ann.put(&format!("{}/username", ann.path()))
            .json(&json!({"username": name}))
            .await
            .invalid(&["username"]);
        moderator.post("/api/user").json(&json!({"username": name})).await.invalid(&["username"]);
    }
    assert_eq!(ann.me().await["username"], "ann");
}

// R-4
#[tokio::test]
async fn an_id_is_never_given_twice() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let ann = scene.user("ann").await;
    let again = |name: &str| json!({"username": name, "uuid": ann.id, "password": PASSWORD});
    admin.post("/api/user").json(&again("ann_2")).await.refused(409, "user_id_taken");
    ann.delete(&ann.path()).await.is(200);
    admin.post("/api/user").json(&again("ann_2")).await.refused(409, "user_id_taken");
    admin.delete(&format!("{}?purge=true", ann.path())).await;
    admin.post("/api/user").json(&again("ann_2")).await.refused(409, "user_id_taken");
    ann.get("/api/user/me").await.refused(401, "token_invalid");
    // The name and the address are free, and the old tokens are not the new person's.
    let other = scene.user("ann").await;
    assert_ne!(other.id, ann.id);
    ann.get("/api/user/me").await.refused(401, "token_invalid");
}

// A-121
#[tokio::test]
async fn nobody_switches_themselves_on_or_off_or_writes_their_history() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    scene.made_by_admin("second", &["admin"]).await;
    for who in [&admin, &scene.moderator().await, scene.bystander()] {
        for active in [true, false] {
            who.patch(&who.path()).json(&json!({"is_active": active})).await.refused(403, "forbidden");
        }
        for (name, value) in [
            ("user_history", json!([{"action": "unbanned"}])),
            ("action", json!("x")),
            ("history", json!([])),
        ] {
            who.patch(&who.path()).json(&json!({(name): value})).await.is(422);
        }
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            who.ask(method, &format!("{}/history", who.path())).await.refused(405, "method_not_allowed");
        }
    }
    // A banned person can't even ask.
    let banned = scene.banned().await;
    banned.patch(&banned.path()).json(&json!({"is_active": true})).await.refused(401, "token_invalid");
    scene.is_unharmed().await;
}
