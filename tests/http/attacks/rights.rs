//! People who are not theirs to change.

use futures_util::FutureExt;
use sea_orm::DbErr;
use serde_json::json;
use uuid::Uuid;

use super::browser::Browser;
use super::wire::{bare, request};
use super::{Scene, Wire, operations, with_ids};
use crate::harness::PASSWORD;

//
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
        for change in [
            json!({"roles": ["user"]}),
            json!({"roles": ["admin"]}),
            json!({"is_active": false}),
            json!({"email_verified": true}),
        ] {
            moderator.patch(&staff.path()).json(&change).await.refused(403, "forbidden");
        }
        if staff.id != moderator.id {
            moderator.patch(&staff.path()).json(&harmless).await.refused(403, "forbidden");
            moderator.get(&format!("{}/history", staff.path())).await.refused(403, "forbidden");
        }
        let others = if staff.id == moderator.id { &[][..] } else { &["DELETE", "PUT"][..] };
        for method in others {
            moderator
                .ask(method, &staff.path())
                .json(&json!({"roles": ["user"]}))
                .await
                .refused(403, "forbidden");
        }
        for (method, suffix) in [("DELETE", "?purge=true"), ("POST", "/restore")] {
            moderator.ask(method, &format!("{}{suffix}", staff.path())).await.refused(403, "forbidden");
        }
        assert_eq!(staff.me().await, before);
    }
    for roles in [
        json!(["admin"]),
        json!(["moderator"]),
        json!(["user", "moderator"]),
        json!(["tester", "admin"]),
        json!(["user", "user", "admin"]),
    ] {
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
    for change in [
        json!({"email": "x@example.com"}),
        json!({"username": "other"}),
        json!({"first_name": "x"}),
        json!({"locale": "de"}),
    ] {
        moderator.patch(&ann.path()).json(&change).await.refused(403, "forbidden");
    }
    let shown = moderator.get(&ann.path()).await.is(200).json();
    for private in [
        "email",
        "email_verified",
        "otp_method",
        "user_history",
        "blocked_uuids",
        "metadata",
        "deleted_at",
        "external_accounts",
    ] {
        assert!(shown.get(private).is_none(), "{private}: {shown}");
    }
    scene.is_unharmed().await;
}

// over all operations.
#[tokio::test]
async fn ordinary_people_change_nobody_else() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let (ann, tester) = (scene.user("ann").await, scene.tester().await);
    let people = [scene.bystander().clone(), admin.clone(), scene.moderator().await];
    for who in [&ann, &tester] {
        for operation in operations(&scene) {
            let on_somebody = operation.path.contains("/user/{user}");
            let for_staff = operation.path.contains("/admin/")
                || operation.path.ends_with("/user")
                || operation.path.contains("/user/users")
                || operation.path.contains("/user/count");
            if !on_somebody && !for_staff {
                continue;
            }
            for whom in &people {
                let reply = operation.ask(who, whom.id).await;
                let for_nobody_else = ["/history", "/sessions"];
                let is_private = for_nobody_else.iter().any(|end| operation.path.ends_with(end));
                let reads = operation.method == "GET" && on_somebody && !is_private;
                if reads && operation.path.ends_with("/image") {
                    assert_eq!(reply.is(200).header("content-type"), Some("image/png"), "{reply:?}");
                } else if reads {
                    assert!(reply.is(200).json().get("email").is_none(), "{reply:?}");
                } else {
                    reply.refused(403, "forbidden");
                }
            }
        }
    }
    // No spelling of the path helps.
    for path in [
        "/api//user",
        "/api/user//",
        "/API/user",
        "/api/User",
        "/api/user/./",
        "/api/admin/../user",
        "/api/user;x",
        "/api/%75ser",
    ] {
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

// T-05: whatever somebody still has who is banned, nothing takes it.
#[tokio::test]
async fn no_credential_of_a_banned_person_is_good_for_anything() {
    let scene = Scene::new().await;
    let (admin, ann) = (scene.admin().await, scene.user("ann").await);
    let browser = Browser::sign_in(&scene, "ann").await;
    let cookie = browser.header();
    scene.get("/api/user/me").header("cookie", &cookie).await.is(200);
    let ban = format!("/api/admin/ban/{}", ann.id);
    admin.post(&ban).json(&json!({"reason": "spam"})).await.is(200);
    for operation in operations(&scene).into_iter().filter(|operation| !operation.is_open) {
        for id in [ann.id, scene.bystander().id] {
            let path = with_ids(&operation.path, &id.to_string());
            let ask = scene.ask(&operation.method, &path).header("cookie", &cookie);
            let ask = ask.header("origin", "http://localhost:8000").header("x-csrf-token", &browser.csrf);
            ask.json(&json!({})).await.refused(401, "token_invalid");
            operation.ask(&ann, id).await.refused(401, "token_invalid");
        }
    }
    let refresh = json!({"refresh_token": ann.refresh});
    scene.post("/api/auth/token/refresh").json(&refresh).await.refused(401, "token_invalid");
    for token in [&ann.access, &ann.refresh] {
        let told = admin.post("/api/auth/token/introspect").json(&json!({"token": token})).await;
        assert_eq!(told.is(200).json(), json!({"active": false}));
    }
    // Basic, or the password again, is no other way in.
    scene.get("/api/user/me").basic("ann", PASSWORD).await.is(401);
    scene.try_sign_in("ann", PASSWORD).await.refused(403, "user_inactive");
    scene.try_sign_in("ann@example.com", PASSWORD).await.refused(403, "user_inactive");
    scene.is_unharmed().await;
}

//
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
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
        id.replace('-', ""),
        format!("%7B{id}%7D"),
        "00000000-0000-0000-0000-000000000000".into(),
        "ffffffff-ffff-ffff-ffff-ffffffffffff".into(),
        "0".into(),
        "1".into(),
        "-1".into(),
        "null".into(),
        "undefined".into(),
        "NaN".into(),
        "true".into(),
        "*".into(),
        "%25".into(),
        format!("{id}%00"),
        format!("{id}%20"),
        format!("%20{id}"),
        "@".into(),
        "@@ann".into(),
        "@ann%00".into(),
        "@ann%20".into(),
        "@%61nn%0a".into(),
        "@an%25".into(),
        "@a_n".into(),
        "ME".into(),
        "me%00".into(),
        "..%2fme".into(),
        "%2e%2e".into(),
        "me;x=1".into(),
        format!("{id},{id}"),
        format!("{id}|"),
        long,
        "@".repeat(100),
        "%F0%9F%98%80".into(),
        "%ff".into(),
        "$ne".into(),
        "' OR 1=1--".replace(' ', "%20"),
        "@' OR '1'='1".replace(' ', "%20"),
        "id=eq.1".into(),
        "[object Object]".replace(' ', "%20"),
    ] {
        let answer =
            Wire::to(&scene).send(bare("GET", &format!("/api/user/{other}"), Some(&ann.access))).await;
        assert_eq!(answer.status, 404, "{other}: {answer:?}");
        let answer =
            Wire::to(&scene).send(bare("DELETE", &format!("/api/user/{other}"), Some(&ann.access))).await;
        assert!(matches!(answer.status, 404 | 405), "{other}: {answer:?}");
    }
    for session in
        ["me", "1", "", "00000000-0000-0000-0000-000000000000", &scene.bystander().session().to_string()]
    {
        let answer = Wire::to(&scene)
            .send(bare("DELETE", &format!("/api/auth/sessions/{session}"), Some(&ann.access)))
            .await;
        let expected = if session.is_empty() { 204 } else { 404 };
        assert_eq!(answer.status, expected, "{session}: {answer:?}");
    }
    ann.me().await;
    scene.is_unharmed().await;
}

//
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

// rights are those of now.
#[tokio::test]
async fn a_demoted_or_banned_admins_token_opens_nothing() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    for (number, change) in [json!({"roles": ["user"]}), json!({"is_active": false})].into_iter().enumerate()
    {
        let falling = scene.made_by_admin(&format!("falling_{number}"), &["admin"]).await;
        falling.get("/api/user").await.is(200);
        admin.patch(&falling.path()).json(&change).await.is(200);
        for operation in operations(&scene).into_iter().filter(|operation| !operation.is_open) {
            operation.ask(&falling, scene.bystander().id).await.is(401);
        }
    }
    scene.is_unharmed().await;
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

// an admin is one by whichever door they come in.
#[tokio::test]
async fn an_admin_who_signs_in_elsewhere_is_an_admin() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let other = scene.made_by_admin("elsewhere", &["admin"]).await;
    let (id, account) = (other.id, Uuid::from_u128(4711));
    let moved = scene.inside.db.write::<_, DbErr, _>(move |tx| {
        async move {
            tx.run("UPDATE users SET password_hash = NULL WHERE id = $1", [id.into()]).await?;
            let sql = "INSERT INTO external_accounts (id, provider, subject, user_id, created_at, updated_at) \
                       VALUES ($1, 'github', '4711', $2, 0, 0)";
            tx.run(sql, [account.into(), id.into()]).await.map(|_| ())
        }
        .boxed()
    });
    moved.await.unwrap();
    // The other one may be sent away ...
    let ban = json!({"reason": "their account was taken over"});
    other.post(&format!("/api/admin/ban/{}", admin.id)).json(&ban).await.is(200);
    // ... and they themselves are the last one then.
    other.delete(&other.path()).await.refused(409, "last_admin");
    other.patch(&other.path()).json(&json!({"roles": ["user"]})).await.refused(409, "last_admin");
    assert!(scene.inside.users.has_admin().await.unwrap(), "no link makes another");
    other.me().await;
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
        ("x-user", "root"),
        ("x-user-id", &id),
        ("x-remote-user", "root"),
        ("remote-user", "root"),
        ("x-forwarded-user", "root"),
        ("x-auth-request-user", "root"),
        ("x-roles", "admin"),
        ("x-original-url", "/api/user/me"),
        ("x-rewrite-url", "/api/user"),
        ("x-http-method-override", "GET"),
        ("x-admin", "true"),
        ("x-internal", "1"),
        ("x-middleware-subrequest", "middleware"),
    ] {
        let headers = [(name, value), ("authorization", bearer.as_str())];
        let answer = Wire::to(&scene).send(request("GET", "/api/user", &headers, "")).await;
        assert_eq!(answer.status, 403, "{name}: {answer:?}");
        let answer = Wire::to(&scene).send(request("GET", "/api/user/me", &[(name, value)], "")).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
    }
    assert_eq!(with_ids("/api/user/{user}", &id), admin.path());
}
