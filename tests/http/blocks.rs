//! Block lists: `/user/{uuid}/blocked_users`.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Ask, TestApp, race};

fn path(of: &Actor) -> String {
    format!("{}/blocked_users", of.path())
}

/// A query that names these people in this parameter.
fn all(parameter: &str, people: &[&Actor]) -> String {
    people.iter().map(|person| format!("{parameter}={}", person.id)).collect::<Vec<_>>().join("&")
}

fn replace(owner: &Actor, people: &[&Actor]) -> Ask {
    owner.put(&format!("{}?{}", path(owner), all("users_ids", people)))
}

/// Ids, sorted.
fn sorted(list: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        list.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

fn ids(people: &[&Actor]) -> Vec<String> {
    let mut ids: Vec<String> = people.iter().map(|person| person.id.to_string()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_list_is_replaced_added_to_and_taken_from() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let [bob, cem, dee] = [app.user("bob").await, app.user("cem").await, app.user("dee").await];
    assert_eq!(sorted(&replace(&ann, &[&bob, &cem]).await.is(200).json()), ids(&[&bob, &cem]));
    assert_eq!(sorted(&replace(&ann, &[&cem, &dee]).await.is(200).json()), ids(&[&cem, &dee]));
    let edit = format!("{}?{}&{}", path(&ann), all("add", &[&bob]), all("remove", &[&cem]));
    assert_eq!(sorted(&ann.patch(&edit).await.is(200).json()), ids(&[&bob, &dee]));
    let add = format!("{}?{}", path(&ann), all("add", &[&bob, &cem]));
    assert_eq!(sorted(&ann.patch(&add).await.is(200).json()), ids(&[&bob, &cem, &dee]));
    let take = format!("{}?{}", path(&ann), all("users_ids", &[&bob, &cem]));
    assert_eq!(sorted(&ann.delete(&take).await.is(200).json()), ids(&[&dee]));
    assert_eq!(sorted(&ann.delete(&take).await.is(200).json()), ids(&[&dee]), "again: nothing to do");
    assert_eq!(sorted(&ann.me().await["blocked_uuids"]), ids(&[&dee]));
    assert_eq!(replace(&ann, &[]).await.is(200).json(), json!([]));
    assert_eq!(ann.patch(&path(&ann)).await.is(200).json(), json!([]));
}

#[tokio::test]
async fn who_was_blocked_at_one_moment_stands_in_the_same_order_everywhere() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let [bob, cem, dee] = [app.user("bob").await, app.user("cem").await, app.user("dee").await];
    let in_order = json!(ids(&[&bob, &cem, &dee]));
    assert_eq!(replace(&ann, &[&dee, &bob, &cem]).await.is(200).json(), in_order);
    assert_eq!(ann.me().await["blocked_uuids"], in_order);
    let listed = admin.get(&format!("/api/user/users?users_ids={}", ann.id)).await.is(200).json();
    assert_eq!(listed[0]["blocked_uuids"], in_order);
}

#[tokio::test]
async fn whoever_blocks_and_who_is_blocked_don_t_see_each_other() {
    let app = TestApp::new().await;
    let (ann, bob, cem) = (app.user("ann").await, app.user("bob").await, app.user("cem").await);
    bob.get(&ann.path()).await.is(200);
    replace(&ann, &[&bob]).await.is(200);
    for path in ["", "/details"] {
        bob.get(&format!("{}{path}", ann.path())).await.refused(404, "not_found");
        bob.get(&format!("/api/user/@ann{path}")).await.refused(404, "not_found");
        ann.get(&format!("{}{path}", bob.path())).await.refused(404, "not_found");
    }
    bob.patch(&ann.path()).json(&json!({"description": "x"})).await.refused(404, "not_found");
    bob.delete(&ann.path()).await.refused(404, "not_found");
    cem.get(&ann.path()).await.is(200);
    for staff in [app.moderator().await, app.admin().await] {
        staff.get(&ann.path()).await.is(200);
        replace(&ann, &[&bob, &staff]).await.is(200);
        staff.get(&ann.path()).await.is(200);
    }
    replace(&ann, &[]).await.is(200);
    bob.get(&ann.path()).await.is(200);
}

#[tokio::test]
async fn who_is_blocked_is_not_told() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let before = bob.me().await;
    replace(&ann, &[&bob]).await.is(200);
    assert_eq!(bob.me().await, before);
}

#[tokio::test]
async fn unknown_people_are_not_found_and_nothing_changes() {
    let app = TestApp::new().await;
    let (ann, bob, cem) = (app.user("ann").await, app.user("bob").await, app.user("cem").await);
    replace(&ann, &[&bob]).await.is(200);
    for (method, query) in [
        ("PUT", format!("users_ids={}&users_ids={}", cem.id, Uuid::nil())),
        ("PATCH", format!("add={}&add={}", cem.id, Uuid::nil())),
        ("PATCH", format!("add={}&remove={}", cem.id, Uuid::nil())),
        ("PATCH", format!("remove={}&remove={}", bob.id, Uuid::nil())),
        ("DELETE", format!("users_ids={}&users_ids={}", bob.id, Uuid::nil())),
    ] {
        ann.ask(method, &format!("{}?{query}", path(&ann))).await.refused(404, "not_found");
        assert_eq!(sorted(&ann.me().await["blocked_uuids"]), ids(&[&bob]));
    }
}

#[tokio::test]
async fn people_whom_one_may_not_see_can_t_be_told_from_unknown_ones() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    let banned = app.banned().await;
    replace(&bob, &[&ann]).await.is(200);
    let unknown = format!("{}?users_ids={}", path(&ann), Uuid::nil());
    let unknown = ann.put(&unknown).await.refused(404, "not_found").json();
    for invisible in [&bob, &banned] {
        let told = replace(&ann, &[invisible]).await.refused(404, "not_found").json();
        assert_eq!(told["detail"], unknown["detail"]);
        let taken = ann.delete(&format!("{}?users_ids={}", path(&ann), invisible.id)).await;
        assert_eq!(taken.refused(404, "not_found").json()["detail"], unknown["detail"]);
        let list = format!("{}?add={}", path(&ann), invisible.id);
        assert_eq!(admin.patch(&list).await.is(200).json(), json!([invisible.id]), "staff sees everybody");
        let taken = format!("{}?users_ids={}", path(&ann), invisible.id);
        assert_eq!(ann.delete(&taken).await.is(200).json(), json!([]), "the own list is no secret");
    }
}

#[tokio::test]
async fn nobody_blocks_themselves() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    replace(&ann, &[&bob, &ann]).await.invalid(&["users_ids"]);
    for (method, parameter) in [("PATCH", "add"), ("PATCH", "remove"), ("DELETE", "users_ids")] {
        ann.ask(method, &format!("{}?{parameter}={}", path(&ann), ann.id)).await.invalid(&[parameter]);
    }
    assert_eq!(ann.me().await["blocked_uuids"], json!([]));
}

#[tokio::test]
async fn who_is_on_the_list_is_taken_off_it_whatever_became_of_them() {
    let app = TestApp::new().await;
    let (ann, bob, cem) = (app.user("ann").await, app.user("bob").await, app.user("cem").await);
    replace(&ann, &[&bob, &cem]).await.is(200);
    for gone in [&bob, &cem] {
        gone.delete(&gone.path()).await.is(200);
    }
    assert_eq!(sorted(&ann.me().await["blocked_uuids"]), ids(&[&bob, &cem]));
    let taken = format!("{}?users_ids={}", path(&ann), bob.id);
    assert_eq!(sorted(&ann.delete(&taken).await.is(200).json()), ids(&[&cem]));
    let taken = format!("{}?remove={}", path(&ann), cem.id);
    assert_eq!(ann.patch(&taken).await.is(200).json(), json!([]));
    ann.patch(&taken).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_no_id_is_refused() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for (method, parameter) in
        [("PUT", "users_ids"), ("DELETE", "users_ids"), ("PATCH", "add"), ("PATCH", "remove")]
    {
        for wrong in ["x", "", "7", "@ann"] {
            ann.ask(method, &format!("{}?{parameter}={wrong}", path(&ann))).await.invalid(&[parameter]);
        }
    }
}

#[tokio::test]
async fn a_list_is_one_s_own_and_the_admin_s() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    for other in [app.moderator().await, app.tester().await, app.user("cem").await] {
        for (method, parameter) in [("PUT", "users_ids"), ("DELETE", "users_ids"), ("PATCH", "add")] {
            let path = format!("{}?{parameter}={}", path(&ann), bob.id);
            other.ask(method, &path).await.refused(403, "forbidden");
            app.ask(method, &path).await.refused(401, "token_invalid");
        }
    }
    let list = admin.put(&format!("{}?users_ids={}", path(&ann), bob.id)).await.is(200).json();
    assert_eq!(sorted(&list), ids(&[&bob]));
    let tester = app.tester().await;
    replace(&tester, &[&bob]).await.is(200);
    let nobody = format!("/api/user/{}/blocked_users?users_ids={}", Uuid::nil(), bob.id);
    admin.put(&nobody).await.refused(404, "not_found");
}

#[tokio::test]
async fn the_list_of_a_deleted_account_is_not_changed() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    ann.delete(&ann.path()).await.is(200);
    for (method, parameter) in [("PUT", "users_ids"), ("DELETE", "users_ids"), ("PATCH", "add")] {
        let path = format!("{}?{parameter}={}", path(&ann), bob.id);
        admin.ask(method, &path).await.refused(409, "user_deleted");
    }
}

#[tokio::test]
async fn a_list_holds_at_most_a_thousand() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let mut people = Vec::new();
    for number in 0..1001 {
        let id = Uuid::from_u128(number + 1);
        admin.post("/api/user/").json(&json!({"username": format!("u{number}"), "uuid": id})).await.is(201);
        people.push(id.to_string());
    }
    let named = |parameter: &str, people: &[String]| {
        let named = people.iter().map(|id| format!("{parameter}={id}")).collect::<Vec<_>>();
        format!("{}?{}", path(&ann), named.join("&"))
    };
    let (all, last) = (&people[..1000], &people[1000..]);
    assert_eq!(sorted(&ann.put(&named("users_ids", all)).await.is(200).json()), all);
    ann.patch(&named("add", last)).await.refused(409, "quota_exceeded");
    ann.put(&named("users_ids", &people)).await.refused(409, "quota_exceeded");
    assert_eq!(sorted(&ann.me().await["blocked_uuids"]), all);
    let query = named("users_ids", all).replace(&path(&ann), "/api/user/users");
    let shown = admin.get(&query).await.is(200).json();
    let shown: Vec<&str> =
        shown.as_array().unwrap().iter().map(|user| user["uuid"].as_str().unwrap()).collect();
    assert_eq!(shown, all, "in the order of the ids");
    assert_eq!(ann.delete(&named("users_ids", all)).await.is(200).json(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_additions_at_once_none_is_lost() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(app.user(&format!("user_{number}")).await);
    }
    let replies = race(8, |number| {
        let ann = if number % 2 == 0 { ann.clone() } else { ann.at(&other) };
        ann.patch(&format!("{}?add={}", path(&ann), people[number].id))
    });
    for reply in replies.await {
        reply.is(200);
    }
    assert_eq!(sorted(&ann.me().await["blocked_uuids"]), ids(&people.iter().collect::<Vec<_>>()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_addition_many_times_at_once_is_one() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let replies = race(8, |_| ann.patch(&format!("{}?add={}", path(&ann), bob.id))).await;
    for reply in replies {
        assert_eq!(sorted(&reply.is(200).json()), ids(&[&bob]));
    }
}
