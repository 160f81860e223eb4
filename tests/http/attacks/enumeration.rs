//! Who has an account here? Nobody is told.

use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

use super::scene::{Operation, same};
use super::{Scene, operations};
use crate::harness::{Actor, PASSWORD, Reply};

const WRONG: &str = "certainly not this one 4711";

/// One name of each kind that must not be told apart by somebody who doesn't know the password.
async fn one_of_each_kind(scene: &Scene) -> Vec<&'static str> {
    let admin = scene.admin().await;
    scene.user("plain").await;
    scene.banned().await;
    let gone = scene.user("gone").await;
    gone.delete(&gone.path()).await.ok();
    let removed = scene.user("removed").await;
    admin.delete(&removed.path()).await.ok();
    // As accounts that are used through another provider only: without a password.
    admin.post("/api/user").json(&json!({"username": "external"})).await.is(201);
    vec!["unknown", "plain", "banned", "gone", "removed", "external", "not a name", "x@unknown.test"]
}

// the same words for the same work. Work is counted, not timed: one hash for each.
#[tokio::test]
async fn every_failed_sign_in_looks_the_same_and_costs_one_hash() {
    let scene = Scene::new().await;
    let names = one_of_each_kind(&scene).await;
    let mut replies: Vec<Reply> = Vec::new();
    for name in names {
        let before = scene.hashes().await.done;
        let reply = scene.try_sign_in(name, WRONG).await;
        reply.refused(401, "invalid_credentials");
        assert_eq!(scene.hashes().await.done - before, 1, "{name}");
        replies.push(reply);
    }
    for reply in &replies {
        same(&replies[0], reply);
    }
    scene.is_unharmed().await;
}

// what is wrong with an account is told to its owner alone.
#[tokio::test]
async fn that_an_account_is_banned_is_told_after_the_right_password_only() {
    let scene = Scene::new().await;
    scene.banned().await;
    scene.try_sign_in("banned", WRONG).await.refused(401, "invalid_credentials");
    scene.clock.advance(Duration::from_secs(2));
    scene.try_sign_in("banned", PASSWORD).await.refused(403, "user_inactive");
}

// an old hash has a time of its own until it is replaced, at the first success.
#[tokio::test]
async fn a_hash_of_another_cost_is_replaced_by_the_first_sign_in() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    let dearer = [("ARGON2_MEMORY_KIB", "20480"), ("ARGON2_ITERATIONS", "2")];
    let dearer = scene.restarted_with(&dearer).await;
    let stored = || {
        scene.number(
            "SELECT COUNT(*) FROM users WHERE username = 'ann' AND password_hash LIKE '%m=20480,t=2%'",
        )
    };
    assert_eq!(stored().await, 0);
    dearer.sign_in("ann").await;
    assert_eq!(stored().await, 1);
    dearer.sign_in("ann").await;
}

/// Those with whom `viewer` has nothing to do, in every way there is.
async fn the_invisible(scene: &Scene, viewer: &Actor) -> Vec<(&'static str, Uuid)> {
    let admin = scene.admin().await;
    let banned = scene.banned().await;
    let deleted = scene.user("erased").await;
    deleted.delete(&deleted.path()).await.ok();
    let purged = scene.user("purged").await;
    admin.delete(&format!("{}?purge=true", purged.path())).await.ok();
    let blocking = scene.user("blocking").await;
    blocking.put(&format!("{}/blocked_users?users_ids={}", blocking.path(), viewer.id)).await.ok();
    let blocked = scene.user("blocked").await;
    viewer.put(&format!("{}/blocked_users?users_ids={}", viewer.path(), blocked.id)).await.ok();
    let unknown = scene.inside.random.uuid_v7(scene.clock.now());
    vec![
        ("unknown", unknown),
        ("banned", banned.id),
        ("deleted", deleted.id),
        ("purged", purged.id),
        ("blocking", blocking.id),
        ("blocked", blocked.id),
    ]
}

// A-009, over every operation that names a user.
#[tokio::test]
async fn one_who_may_not_be_seen_is_as_one_who_does_not_exist() {
    let scene = Scene::new().await;
    let viewer = scene.user("viewer").await;
    let hidden = the_invisible(&scene, &viewer).await;
    let named: Vec<Operation> =
        operations(&scene).into_iter().filter(|operation| operation.path.contains("/user/{user}")).collect();
    assert!(named.len() >= 9, "{named:?}");
    for operation in named {
        let unknown = operation.ask(&viewer, hidden[0].1).await;
        assert_eq!(unknown.status(), 404, "{operation:?}: {unknown:?}");
        for (kind, id) in &hidden {
            let reply = operation.ask(&viewer, *id).await;
            eprintln!("{kind}");
            same(&unknown, &reply);
        }
    }
    for name in ["nobody_at_all", "banned", "erased", "purged", "blocking", "blocked"] {
        let reply = viewer.get(&format!("/api/user/@{name}")).await;
        same(&viewer.get("/api/user/@nobody_at_all").await, &reply);
    }
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn a_name_that_nobody_has_is_throttled_as_one_that_somebody_has() {
    let scene = Scene::new().await;
    scene.user("somebody").await;
    let mut seen = Vec::new();
    for name in ["somebody", "nobody", "somebody@example.com", "nobody@example.com"] {
        scene.clock.advance(Duration::from_hours(25));
        scene.inside.sweep().await.unwrap();
        let mut answers = Vec::new();
        for _ in 0..30 {
            let reply = scene.try_sign_in(name, WRONG).await;
            answers.push((reply.status(), reply.header("retry-after").map(str::to_owned)));
            scene.clock.advance(Duration::from_millis(700));
        }
        assert!(answers.iter().any(|(status, _)| *status == 429), "{answers:?}");
        seen.push(answers);
    }
    assert!(seen.iter().all(|answers| *answers == seen[0]), "{seen:?}");
}

//
#[tokio::test]
async fn ordinary_people_neither_list_nor_count_nor_search_nor_collect() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let other = scene.bystander().id;
    let queries = [
        "/api/user",
        "/api/user?limit=1",
        "/api/user?q=by",
        "/api/user?q=bystander@example.com",
        "/api/user?sort=updated_at&order=desc",
        "/api/user?role=admin",
        "/api/user?deleted=true",
        "/api/user?cursor=x",
        "/api/user/count",
        "/api/user/count?q=by",
        "/api/user/count?is_active=false",
    ];
    for path in queries.iter().map(ToString::to_string).chain([
        format!("/api/user/users?users_ids={other}"),
        format!("/api/user/users?users_ids={other}&users_ids={}", ann.id),
    ]) {
        let reply = ann.get(&path).await;
        reply.refused(403, "forbidden");
        assert_eq!(reply.header("x-total-count"), None, "{path}");
        assert_eq!(reply.header("link"), None, "{path}");
    }
}

// where members may search one another.
#[tokio::test]
async fn members_find_only_whom_they_may_see_and_never_by_address() {
    let scene = Scene::with(&[("USER_DIRECTORY", "members")]).await;
    let viewer = scene.user("viewer").await;
    let hidden = the_invisible(&scene, &viewer).await;
    let list = viewer.get("/api/user").await;
    let rows = list.is(200).json();
    let mut names: Vec<&str> =
        rows.as_array().unwrap().iter().filter_map(|row| row["username"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["bystander", "root", "viewer"]);
    assert_eq!(list.header("x-total-count"), Some("3"));
    assert_eq!(viewer.get("/api/user/count").await.is(200).json(), 3);
    assert!(!list.text().contains("@example.com") && !list.text().contains("email"), "{list:?}");
    for q in ["bystander@", "bystander@example.com", "%", "_", "banned", "blocking", "blocked", "erased"] {
        let found = viewer.get(&crate::harness::with_query("/api/user", &[("q", q)])).await;
        assert_eq!(found.is(200).json(), json!([]), "{q}");
        assert_eq!(found.header("x-total-count"), Some("0"), "{q}");
    }
    for filter in ["is_active=false", "role=tester"] {
        assert_eq!(viewer.get(&format!("/api/user/count?{filter}")).await.is(200).json(), 0, "{filter}");
    }
    let ids: Vec<String> = hidden.iter().map(|(_, id)| format!("users_ids={id}")).collect();
    let collected = viewer.get(&format!("/api/user/users?{}&users_ids={}", ids.join("&"), viewer.id)).await;
    assert_eq!(collected.is(200).json().as_array().unwrap().len(), 1);
    viewer.get("/api/user?deleted=true").await.refused(403, "forbidden");
}
