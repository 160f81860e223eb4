//! Fields that are not theirs to set, people who are not theirs to change.

use serde_json::{Value, json};

use super::Scene;
use super::wire::{bare, request};
use super::{Wire, operations, with_ids};
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
            for (method, suffix) in [("PATCH", ""), ("PUT", ""), ("PUT", "/username"), ("PUT", "/full-name")] {
                let path = format!("{}{suffix}", whom.path());
                let mut bodies = vec![json!({(name): value}), json!({(name): value, "description": "with something harmless"})];
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
        let form = [("username", "riser"), ("email", "riser@example.com"), ("password", PASSWORD), ("confirm_password", PASSWORD), (name, &text)];
        scene.post("/api/auth/register").form(&form).await.is(422);
    }
    let reply = scene.post("/api/auth/register?roles=admin&is_active=true").json(&whole()).await;
    let riser = Actor::with_tokens(&scene, "riser", &reply.is(201).json());
    let me = riser.me().await;
    assert_eq!((&me["roles"], &me["email_verified"], &me["metadata"]), (&json!(["user"]), &json!(false), &json!({})));
}

// A-114, R-43
#[tokio::test]
async fn moderators_touch_no_staff_and_make_none() {
    let scene = Scene::new().await;
    let moderator = scene.moderator().await;
    let admin = scene.admin().await;
    let colleague = scene.made_by_admin("colleague", &["moderator"]).await;
    let ann = scene.user("ann").await;
    let harmless = json!({"description": "by a moderator"});
    for staff in [&admin, &colleague, &moderator] {
        let before = staff.me().await;
        for change in [json!({"roles": ["user"]}), json!({"roles": ["admin"]}), json!({"is_active": false}), json!({"email_verified": true})] {
            moderator.patch(&staff.path()).json(&change).await.refused(403, "forbidden");
        }
        if staff.id != moderator.id {
            moderator.patch(&staff.path()).json(&harmless).await.refused(403, "forbidden");
            moderator.get(&format!("{}/history", staff.path())).await.refused(403, "forbidden");
        }
        let others = if staff.id == moderator.id { &[][..] } else { &["DELETE", "PUT"][..] };
        for method in others {
            moderator.ask(method, &staff.path()).json(&json!({"roles": ["user"]})).await.refused(403, "forbidden");
        }
        for (method, suffix) in [("DELETE", "?purge=true"), ("POST", "/restore")] {
            moderator.ask(method, &format!("{}{suffix}", staff.path())).await.refused(403, "forbidden");
        }
        assert_eq!(staff.me().await, before);
    }
    for roles in [json!(["admin"]), json!(["moderator"]), json!(["user", "moderator"]), json!(["tester", "admin"]), json!(["user", "user", "admin"])] {
        let new = json!({"username": "newcomer", "roles": roles});
        moderator.post("/api/user").json(&new).await.refused(403, "forbidden");
        moderator.patch(&ann.path()).json(&json!({"roles": roles})).await.refused(403, "forbidden");
    }
    for field in [json!({"email_verified": true}), json!({"metadata": {}})] {
        let mut new = json!({"username": "newcomer"});
        new.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        moderator.post("/api/user").json(&new).await.refused(403, "forbidden");
    }
    // What they may do, they may.
    moderator.patch(&ann.path()).json(&harmless).await.is(200);
    for change in [json!({"email": "x@example.com"}), json!({"username": "other"}), json!({"first_name": "x"}), json!({"locale": "de"})] {
        moderator.patch(&ann.path()).json(&change).await.refused(403, "forbidden");
    }
    let shown = moderator.get(&ann.path()).await.is(200).json();
    for private in ["email", "email_verified", "otp_method", "user_history", "blocked_uuids", "metadata", "deleted_at", "external_accounts"] {
        assert!(shown.get(private).is_none(), "{private}: {shown}");
    }
    scene.is_unharmed().await;
}

// A-115, R-41: over all operations.
#[tokio::test]
async fn ordinary_people_change_nobody_else() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let (ann, tester) = (scene.user("ann").await, scene.tester().await);
    let people = [scene.bystander().clone(), admin.clone(), scene.moderator().await];
    for who in [&ann, &tester] {
        for operation in operations(&scene) {
            let on_somebody = operation.path.contains("/user/{user}");
            let for_staff = operation.path.contains("/admin/") || operation.path.ends_with("/user") || operation.path.contains("/user/users") || operation.path.contains("/user/count");
            if !on_somebody && !for_staff {
                continue;
            }
            for whom in &people {
                let reply = operation.ask(who, whom.id).await;
                let reads = operation.method == "GET" && on_somebody && !operation.path.ends_with("/history");
                if reads {
                    assert!(reply.is(200).json().get("email").is_none(), "{reply:?}");
                } else {
                    reply.refused(403, "forbidden");
                }
            }
        }
    }
    // No spelling of the path helps.
    for path in ["/api//user", "/api/user//", "/API/user", "/api/User", "/api/user/./", "/api/admin/../user", "/api/user;x", "/api/%75ser"] {
        for method in ["GET", "POST", "HEAD"] {
            let answer = Wire::to(&scene).send(bare(method, path, Some(&ann.access))).await;
            assert!(matches!(answer.status, 404 | 405), "{method} {path}: {answer:?}");
        }
    }
    for method in ["GET", "HEAD"] {
        for path in ["/api/user", "/api/user/", "/api/user/count/", "/api/user/users"] {
            let answer = Wire::to(&scene).send(bare(method, path, Some(&ann.access))).await;
            assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        }
    }
    scene.is_unharmed().await;
}

// R-41, T-05: whoever is nobody, or nobody any more, gets nowhere.
#[tokio::test]
async fn nobody_and_the_banned_and_the_deleted_get_nowhere() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let banned = scene.banned().await;
    let deleted = scene.user("erased").await;
    deleted.delete(&deleted.path()).await.is(200);
    let left = scene.user("left").await;
    left.post("/api/auth/logout").await.is(200);
    for operation in operations(&scene).into_iter().filter(|operation| !operation.is_open) {
        for id in [scene.bystander().id, admin.id, banned.id, deleted.id] {
            for client in [&*scene as &crate::harness::Client, &banned, &deleted, &left] {
                let reply = operation.ask(client, id).await;
                reply.refused(401, "token_invalid");
            }
        }
    }
    scene.is_unharmed().await;
}

// A-116
#[tokio::test]
async fn an_id_means_its_user_or_nobody() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let id = ann.id.to_string();
    for same in [id.clone(), id.to_uppercase(), "@ann".to_owned(), "@ANN".to_owned(), "%40ann".to_owned()] {
        let reply = ann.get(&format!("/api/user/{same}")).await;
        assert_eq!(reply.is(200).json()["uuid"], id, "{same}");
    }
    let long = "1".repeat(7000);
    for other in [
        format!("{{{id}}}"), format!("urn:uuid:{id}"), id.replace('-', ""), format!("%7B{id}%7D"), "00000000-0000-0000-0000-000000000000".into(),
        "ffffffff-ffff-ffff-ffff-ffffffffffff".into(), "0".into(), "1".into(), "-1".into(), "null".into(), "undefined".into(), "NaN".into(),
        "true".into(), "*".into(), "%25".into(), format!("{id}%00"), format!("{id}%20"), format!("%20{id}"), "@".into(), "@@ann".into(),
        "@ann%00".into(), "@ann%20".into(), "@%61nn%0a".into(), "@an%25".into(), "@a_n".into(), "ME".into(), "me%00".into(), "..%2fme".into(),
        "%2e%2e".into(), "me;x=1".into(), format!("{id},{id}"), format!("{id}|"), long, "@".repeat(100), "%F0%9F%98%80".into(), "%ff".into(),
        "$ne".into(), "' OR 1=1--".replace(' ', "%20"), "@' OR '1'='1".replace(' ', "%20"), "id=eq.1".into(), "[object Object]".replace(' ', "%20"),
    ] {
        let answer = Wire::to(&scene).send(bare("GET", &format!("/api/user/{other}"), Some(&ann.access))).await;
        assert_eq!(answer.status, 404, "{other}: {answer:?}");
        let answer = Wire::to(&scene).send(bare("DELETE", &format!("/api/user/{other}"), Some(&ann.access))).await;
        assert!(matches!(answer.status, 404 | 405), "{other}: {answer:?}");
    }
    for session in ["me", "1", "", "00000000-0000-0000-0000-000000000000", &scene.bystander().session().to_string()] {
        let answer = Wire::to(&scene).send(bare("DELETE", &format!("/api/auth/sessions/{session}"), Some(&ann.access))).await;
        let expected = if session.is_empty() { 204 } else { 404 };
        assert_eq!(answer.status, expected, "{session}: {answer:?}");
    }
    ann.me().await;
    scene.is_unharmed().await;
}

// A-118
#[tokio::test]
async fn a_block_list_is_its_owners_and_bounded() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let mine = format!("{}/blocked_users", ann.path());
    let others = format!("{}/blocked_users", scene.bystander().path());
    for method in ["PUT", "PATCH", "DELETE"] {
        let query = if method == "PATCH" { "add" } else { "users_ids" };
        ann.ask(method, &format!("{others}?{query}={}", ann.id)).await.refused(403, "forbidden");
    }
    ann.put(&format!("{mine}?users_ids={}", ann.id)).await.refused(422, "validation_failed");
    ann.patch(&format!("{mine}?add={}", ann.id)).await.refused(422, "validation_failed");
    let nobody = scene.inside.random.uuid_v7(scene.clock.now());
    ann.put(&format!("{mine}?users_ids={nobody}")).await.refused(404, "not_found");
    ann.patch(&format!("{mine}?add={}&add={nobody}", scene.bystander().id)).await.refused(404, "not_found");
    for odd in ["x", "", "1", "null", "%00", "me"] {
        ann.put(&format!("{mine}?users_ids={odd}")).await.refused(422, "validation_failed");
    }
    assert_eq!(ann.me().await["blocked_uuids"], json!([]));
    // Many ids at once: the target line is bounded before the list is.
    let many = vec![format!("users_ids={}", scene.bystander().id); 1100].join("&");
    let answer = Wire::to(&scene).send(bare("PUT", &format!("{mine}?{many}"), Some(&ann.access))).await;
    assert_eq!(answer.status, 414, "{answer:?}");
    let twice = format!("{mine}?add={0}&add={0}&remove={0}", scene.bystander().id);
    assert!(matches!(ann.patch(&twice).await.status(), 200 | 422));
    scene.is_unharmed().await;
}

// A-120: rights are those of now.
#[tokio::test]
async fn a_demoted_or_banned_admins_token_opens_nothing() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    for (number, change) in [json!({"roles": ["user"]}), json!({"is_active": false})].into_iter().enumerate() {
        let falling = scene.made_by_admin(&format!("falling_{number}"), &["admin"]).await;
        falling.get("/api/user").await.is(200);
        admin.patch(&falling.path()).json(&change).await.is(200);
        for operation in operations(&scene).into_iter().filter(|operation| !operation.is_open) {
            operation.ask(&falling, scene.bystander().id).await.is(401);
        }
    }
    scene.is_unharmed().await;
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
        for (name, value) in [("user_history", json!([{"action": "unbanned"}])), ("action", json!("x")), ("history", json!([]))] {
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
        ann.put(&format!("{}/username", ann.path())).json(&json!({"username": name})).await.invalid(&["username"]);
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

// A-119 without a race: by no door does the last admin go.
#[tokio::test]
async fn the_last_admin_stays_by_every_door() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    admin.delete(&admin.path()).await.refused(409, "last_admin");
    admin.delete(&format!("{}?purge=true", admin.path())).await.refused(409, "last_admin");
    for roles in [json!(["user"]), json!(["moderator"]), json!(["tester", "user"])] {
        admin.patch(&admin.path()).json(&json!({"roles": roles})).await.refused(409, "last_admin");
        admin.put(&admin.path()).json(&json!({"roles": roles})).await.refused(409, "last_admin");
    }
    admin.patch(&admin.path()).json(&json!({"roles": []})).await.invalid(&["roles"]);
    // One who can't sign in is no other admin: switched off, without a password, or deleted.
    let off = json!({"username": "off_duty", "password": PASSWORD, "roles": ["admin"], "is_active": false});
    admin.post("/api/user").json(&off).await.is(201);
    admin.post("/api/user").json(&json!({"username": "keyless", "roles": ["admin"]})).await.is(201);
    let gone = scene.made_by_admin("left", &["admin"]).await;
    gone.delete(&gone.path()).await.is(200);
    admin.delete(&admin.path()).await.refused(409, "last_admin");
    admin.me().await;
}

// Headers are no credentials.
#[tokio::test]
async fn no_header_makes_an_admin() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let ann = scene.user("ann").await;
    let bearer = format!("Bearer {}", ann.access);
    let id = admin.id.to_string();
    for (name, value) in [
        ("x-user", "root"), ("x-user-id", &id), ("x-remote-user", "root"), ("remote-user", "root"), ("x-forwarded-user", "root"),
        ("x-auth-request-user", "root"), ("x-roles", "admin"), ("x-original-url", "/api/user/me"), ("x-rewrite-url", "/api/user"),
        ("x-http-method-override", "GET"), ("x-admin", "true"), ("x-internal", "1"), ("x-middleware-subrequest", "middleware"),
    ] {
        let headers = [(name, value), ("authorization", bearer.as_str())];
        let answer = Wire::to(&scene).send(request("GET", "/api/user", &headers, "")).await;
        assert_eq!(answer.status, 403, "{name}: {answer:?}");
        let answer = Wire::to(&scene).send(request("GET", "/api/user/me", &[(name, value)], "")).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
    }
    assert_eq!(with_ids("/api/user/{user}", &id), admin.path());
}
