//! Lists of files.

use serde_json::{Value, json};

use super::{FORM, content_of, form, path_of, uploaded};
use crate::harness::{Actor, TestApp};
use crate::lists::there_and_back;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|file| file["file_name"].as_str().unwrap()).collect()
}

async fn list_of(who: &Actor) -> Value {
    let reply = who.get("/api/file/").await;
    let list = reply.is(200).json();
    let count = who.get("/api/file/count").await.is(200).json();
    assert_eq!(reply.header("x-total-count"), Some(count.to_string().as_str()));
    assert_eq!(list.as_array().unwrap().len().to_string(), count.to_string());
    list
}

#[tokio::test]
async fn everybody_s_list_holds_what_they_may_read() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let (moderator, admin) = (app.moderator().await, app.admin().await);
    uploaded(&ann, "ann's", b"x").await;
    uploaded(&bob, "bob's", b"x").await;
    uploaded(&moderator, "mod's", b"x").await;
    let path = format!("{}/file", bob.path());
    admin.put(&path).body(FORM, form("for bob", b"x")).await.is(200);
    assert_eq!(names(&list_of(&ann).await), ["ann's"]);
    assert_eq!(names(&list_of(&bob).await), ["bob's", "for bob"]);
    assert_eq!(names(&list_of(&moderator).await), ["ann's", "bob's", "mod's"]);
    assert_eq!(names(&list_of(&admin).await), ["ann's", "bob's", "mod's", "for bob"]);
}

#[tokio::test]
async fn who_is_only_a_moderator_finds_and_counts_what_they_may_read() {
    let app = TestApp::new().await;
    let (ann, moderator, admin) = (app.user("ann").await, app.moderator().await, app.admin().await);
    for (who, name) in [(&ann, "ann's"), (&moderator, "mod's"), (&admin, "admin's")] {
        uploaded(who, name, b"x").await;
    }
    let path = format!("{}/file", moderator.path());
    let linked = admin.put(&path).body(FORM, form("for mods", b"x")).await.is(200).json();
    assert_eq!(names(&list_of(&moderator).await), ["ann's", "mod's", "for mods"]);
    admin.patch(&moderator.path()).json(&json!({"roles": ["moderator"]})).await.is(200);
    let moderator = app.sign_in("mods").await;
    moderator.get(&path_of(&linked)).await.refused(404, "not_found");
    assert_eq!(names(&list_of(&moderator).await), ["ann's"]);
    let page = moderator.get("/api/file/?page=1&per_page=1").await;
    assert_eq!(names(&page.is(200).json()), ["ann's"]);
    assert_eq!(page.header("x-total-count"), Some("1"));
    assert!(!page.header("link").unwrap_or_default().contains("next"), "{page:?}");
}

#[tokio::test]
async fn files_of_who_is_deleted_are_there_for_admins_only() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let (moderator, admin) = (app.moderator().await, app.admin().await);
    let another_admin = app.made_by_admin("ada", &["admin", "user"]).await;
    let (gone, stays) = (uploaded(&ann, "ann's", b"x").await, uploaded(&bob, "bob's", b"x").await);
    let path = format!("{}/file", moderator.path());
    let linked = another_admin.put(&path).body(FORM, form("for mods", b"x")).await.is(200).json();
    assert_eq!(names(&list_of(&moderator).await), ["ann's", "bob's", "for mods"]);
    ann.delete(&ann.path()).await.is(200);
    admin.delete(&another_admin.path()).await.is(200);

    let every = format!("/api/file/files?files_ids={}&files_ids={}", gone["id"], stays["id"]);
    for path in [path_of(&gone), content_of(&gone)] {
        moderator.get(&path).await.refused(404, "not_found");
        admin.get(&path).await.is(200);
    }
    moderator.patch(&path_of(&gone)).json(&json!({})).await.refused(404, "not_found");
    assert_eq!(moderator.get(&every).await.is(200).json(), json!([stays]));
    assert_eq!(admin.get(&every).await.is(200).json(), json!([gone, stays]));
    assert_eq!(
        names(&list_of(&moderator).await),
        ["bob's", "for mods"],
        "what is linked to oneself is one's own"
    );
    moderator.get(&content_of(&linked)).await.is(200);
    assert_eq!(names(&list_of(&admin).await), ["ann's", "bob's", "for mods"]);

    admin.post(&format!("{}/restore", ann.path())).await.is(200);
    moderator.get(&content_of(&gone)).await.is(200);
    assert_eq!(names(&list_of(&moderator).await), ["ann's", "bob's", "for mods"]);
}

#[tokio::test]
async fn files_are_asked_for_by_numbers_in_that_order() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let (a, b) = (uploaded(&ann, "a", b"x").await, uploaded(&ann, "b", b"x").await);
    let hidden = uploaded(&bob, "c", b"x").await;
    let query =
        format!("files_ids={}&files_ids=999&files_ids={}&files_ids={}", b["id"], hidden["id"], a["id"]);
    let found = ann.get(&format!("/api/file/files?{query}")).await;
    assert_eq!(found.is(200).json(), json!([b, a]));
    assert_eq!(found.header("x-total-count"), Some("2"));
    assert_eq!(ann.get("/api/file/files").await.is(200).json(), json!([]));
    ann.get("/api/file/files?files_ids=x").await.invalid(&["files_ids"]);
    let by_numbers = |count: usize| {
        let query = [format!("files_ids={}", a["id"]), format!("files_ids={}", i64::MAX)];
        let query = query.into_iter().cycle().take(count).collect::<Vec<_>>().join("&");
        ann.get(&format!("/api/file/files?{query}"))
    };
    assert_eq!(by_numbers(1000).await.is(200).json(), json!([a]));
    by_numbers(1001).await.invalid(&["files_ids"]);
    by_numbers(2500).await.is(414);
}

#[tokio::test]
async fn a_list_is_paged_in_both_orders() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for number in 0..7 {
        uploaded(&ann, &number.to_string(), b"x").await;
    }
    let page = async |query: &str| {
        let reply = ann.get(&format!("/api/file?{query}")).await;
        names(&reply.is(200).json()).concat()
    };
    assert_eq!(page("limit=3").await, "012");
    assert_eq!(page("limit=3&offset=3").await, "345");
    assert_eq!(page("page=3&per_page=3").await, "6");
    assert_eq!(page("limit=3&order=desc").await, "654");
    for (order, expected) in [("asc", ["012", "345", "6"]), ("desc", ["654", "321", "0"])] {
        let parts = there_and_back(&ann, &format!("/api/file?limit=3&order={order}")).await;
        let seen: Vec<String> = parts.into_iter().map(|part| names(&json!(part)).concat()).collect();
        assert_eq!(seen, expected);
    }
    ann.get("/api/file?cursor=x").await.invalid(&["cursor"]);
}

#[tokio::test]
async fn a_deleted_file_is_gone_for_everybody() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let attach = admin.put(&format!("{}/file", ann.path())).body(FORM, form("c", b"x"));
    let file = attach.await.is(200).json();
    let etag = |reply: &crate::harness::Reply| reply.header("etag").unwrap().to_owned();
    let before = etag(&ann.get("/api/user/me").await);
    assert_eq!(admin.delete(&path_of(&file)).await.is(200).json(), file);
    admin.delete(&path_of(&file)).await.refused(404, "not_found");
    assert_eq!(ann.me().await["files"], json!([]));
    assert_ne!(etag(&ann.get("/api/user/me").await), before);
    assert!(super::blobs(&app).is_empty());
    // Its number is never given again.
    let next = uploaded(&ann, "d", b"x").await;
    assert!(next["id"].as_i64() > file["id"].as_i64());
}
