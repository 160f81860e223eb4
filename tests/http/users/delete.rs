//! `DELETE /user/{uuid}`, `POST /user/{uuid}/restore`, and the last admin.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, PASSWORD, START, TestApp, race};

const DAY: Duration = Duration::from_hours(24);

fn restore(of: &Actor) -> String {
    format!("{}/restore", of.path())
}

#[tokio::test]
async fn deleting_signs_out_and_hides() {
    let app = TestApp::new().await;
    let (ann, there, bob) = (app.user("ann").await, app.sign_in("ann").await, app.user("bob").await);
    let gone = ann.delete(&ann.path()).await.is(200).json();
    assert_eq!(gone["deleted_at"], START.seconds());
    for actor in [&ann, &there] {
        actor.get("/api/user/me").await.refused(401, "token_invalid");
        app.post("/api/auth/token/refresh").json(&json!({"refresh_token": actor.refresh})).await.is(401);
    }
    bob.get(&ann.path()).await.refused(404, "not_found");
}

#[tokio::test]
async fn deleting_twice_is_refused() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    admin.delete(&ann.path()).await.is(200);
    admin.delete(&ann.path()).await.refused(409, "user_deleted");
    admin.delete(&format!("/api/user/{}", Uuid::nil())).await.refused(404, "not_found");
}

#[tokio::test]
async fn only_oneself_and_admins_delete() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for other in [app.user("bob").await, app.tester().await, app.moderator().await] {
        other.delete(&ann.path()).await.refused(403, "forbidden");
        other.delete(&format!("{}?purge=true", ann.path())).await.refused(403, "forbidden");
    }
    app.delete(&ann.path()).await.refused(401, "token_invalid");
    ann.delete(&format!("{}?purge=true", ann.path())).await.refused(403, "forbidden");
    ann.delete(&format!("{}?purge=maybe", ann.path())).await.invalid(&["purge"]);
    let tester = app.tester().await;
    tester.delete(&tester.path()).await.is(200);
    ann.delete("/api/user/@ann").await.is(200);
}

#[tokio::test]
async fn an_admin_restores() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    ann.patch(&ann.path()).json(&json!({"description": "Likes otters"})).await.is(200);
    admin.delete(&ann.path()).await.is(200);
    let back = admin.post(&restore(&ann)).await.is(200).json();
    assert_eq!((&back["deleted_at"], &back["description"]), (&Value::Null, &json!("Likes otters")));
    assert_eq!(app.sign_in("ann").await.id, ann.id);
    admin.post(&restore(&ann)).await.refused(409, "conflict");
    admin.post(&format!("/api/user/{}/restore", Uuid::nil())).await.refused(404, "not_found");
}

#[tokio::test]
async fn nobody_else_restores() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    admin.delete(&ann.path()).await.is(200);
    // To moderators a deleted account is nobody, too.
    for other in [app.user("bob").await, app.tester().await, app.moderator().await] {
        other.post(&restore(&ann)).await.refused(404, "not_found");
    }
    app.post(&restore(&ann)).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn what_was_taken_since_is_not_given_back() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    ann.delete(&ann.path()).await.is(200);
    let other = app.user("ann").await;
    admin.post(&restore(&ann)).await.refused(409, "username_taken");
    other.patch(&other.path()).json(&json!({"email": "other@example.com"})).await.is(200);
    admin.post(&restore(&ann)).await.refused(409, "username_taken");
    let change = json!({"username": "other", "email": "ann@example.com"});
    other.patch(&other.path()).json(&change).await.is(200);
    admin.post(&restore(&ann)).await.refused(409, "email_taken");
    other.patch(&other.path()).json(&json!({"email": null})).await.is(200);
    admin.post(&restore(&ann)).await.is(200);
}

#[tokio::test]
async fn coming_back_is_possible_until_the_grace_period_ends() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_millis(1));
    ann.delete(&ann.path()).await.is(200);
    app.clock.advance(30 * DAY - Duration::from_secs(1));
    app.inside.sweep().await.unwrap();
    let back = app.sign_in("ann").await;
    assert_eq!(back.id, ann.id);
    let me = back.me().await;
    assert_eq!(me["deleted_at"], Value::Null);
    assert_eq!(me["user_history"][0]["action"], "restored");

    app.clock.advance(Duration::from_millis(1));
    back.delete(&back.path()).await.is(200);
    assert_eq!(app.sign_in("ann@example.com").await.id, ann.id, "by address as well");
}

#[tokio::test]
async fn after_the_grace_period_nobody_comes_back() {
    for swept in [false, true] {
        let app = TestApp::new().await;
        let ann = app.user("ann").await;
        ann.delete(&ann.path()).await.is(200);
        app.clock.advance(30 * DAY + Duration::from_secs(1));
        if swept {
            app.inside.sweep().await.unwrap();
            app.admin().await.get(&ann.path()).await.refused(404, "not_found");
        }
        app.try_sign_in("ann", PASSWORD).await.refused(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn whom_an_admin_deleted_does_not_come_back_alone() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    admin.delete(&ann.path()).await.is(200);
    app.try_sign_in("ann", PASSWORD).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn the_name_belongs_to_who_took_it_since() {
    let app = TestApp::new().await;
    let before = app.user("ann").await;
    before.delete(&before.path()).await.is(200);
    let after = app.user("ann").await;
    assert_eq!(app.sign_in("ann").await.id, after.id);
    assert_eq!(app.sign_in("ann@example.com").await.id, after.id);
}

#[tokio::test]
async fn who_comes_back_to_what_was_taken_since_is_told() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_millis(1));
    ann.delete(&ann.path()).await.is(200);
    let bob = app.user("bob").await;
    bob.patch(&bob.path()).json(&json!({"email": "ann@example.com"})).await.is(200);
    app.try_sign_in("ann", PASSWORD).await.refused(409, "email_taken");
    app.try_sign_in("ann", "velvet otter 27 marble").await.refused(401, "invalid_credentials");
    app.clock.advance(Duration::from_secs(1));
    bob.patch(&bob.path()).json(&json!({"email": null, "username": "ann"})).await.is(200);
    app.try_sign_in("ann@example.com", PASSWORD).await.refused(409, "username_taken");
    bob.patch(&bob.path()).json(&json!({"username": "bob"})).await.is(200);
    assert_eq!(app.sign_in("ann").await.id, ann.id);
}

#[tokio::test]
async fn purging_leaves_nothing() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    bob.put(&format!("{}/blocked_users?users_ids={}", bob.path(), ann.id)).await.is(200);
    let remembered = bob.get("/api/user/me").await.is(200).header("etag").unwrap().to_owned();
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    let me = bob.get("/api/user/me").header("if-none-match", &remembered).await;
    assert_eq!(me.is(200).json()["blocked_uuids"], json!([]));
    admin.get(&ann.path()).await.refused(404, "not_found");
    admin.get(&format!("{}/history", ann.path())).await.refused(404, "not_found");
    admin.post(&restore(&ann)).await.refused(404, "not_found");
    ann.get("/api/user/me").await.refused(401, "token_invalid");
    assert_eq!(bob.me().await["blocked_uuids"], json!([]));
    let reply = admin.get("/api/user/?deleted=true").await;
    assert_eq!(reply.header("x-total-count"), Some("0"));
    admin.delete(&format!("{}?purge=true", bob.path())).await.is(200);
}

#[tokio::test]
async fn what_is_deleted_already_can_be_purged() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    ann.delete(&ann.path()).await.is(200);
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    admin.get(&ann.path()).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_last_admin_stays() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    admin.delete(&admin.path()).await.refused(409, "last_admin");
    admin.delete(&format!("{}?purge=true", admin.path())).await.refused(409, "last_admin");
    admin.patch(&admin.path()).json(&json!({"roles": ["user"]})).await.refused(409, "last_admin");
    admin.patch(&admin.path()).json(&json!({"roles": ["admin"]})).await.is(200);
    let admin = app.admin().await;
    let second = app.made_by_admin("second", &["admin"]).await;
    second.patch(&admin.path()).json(&json!({"is_active": false})).await.is(200);
    second.delete(&second.path()).await.refused(409, "last_admin");
    second.patch(&admin.path()).json(&json!({"is_active": true})).await.is(200);
    second.delete(&second.path()).await.is(200);
    let admin = app.admin().await;
    admin.delete(&admin.path()).await.refused(409, "last_admin");
    admin.get("/api/user/me").await.is(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_admins_who_remove_each_other_at_once_one_stays() {
    for way in ["delete", "purge", "demote", "switch off"] {
        let app = TestApp::new().await;
        let other = app.second_instance().await;
        let [one, two] = [app.admin().await, app.made_by_admin("second", &["admin"]).await.at(&other)];
        let replies = race(2, |number| {
            let (actor, target) = if number == 0 { (&one, &two) } else { (&two, &one) };
            match way {
                "delete" => actor.delete(&target.path()),
                "purge" => actor.delete(&format!("{}?purge=true", target.path())),
                "demote" => actor.patch(&target.path()).json(&json!({"roles": ["user"]})),
                _ => actor.patch(&target.path()).json(&json!({"is_active": false})),
            }
        });
        let succeeded = replies.await.iter().filter(|reply| reply.status() == 200).count();
        assert!(succeeded <= 1, "{way}: both are gone");
        assert!(app.inside.users.has_admin().await.unwrap(), "{way}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_restores_at_once_one_succeeds() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    admin.delete(&ann.path()).await.is(200);
    let replies = race(6, |_| admin.post(&restore(&ann))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 200).count(), 1);
    for refused in replies.iter().filter(|reply| reply.status() != 200) {
        refused.refused(409, "conflict");
    }
}
