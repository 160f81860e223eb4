//! What happened to an account: `user_history` and `GET /user/{uuid}/history`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Actor, PASSWORD, START, TestApp};
use crate::lists::there_and_back;

fn actions(history: &Value) -> Vec<&str> {
    history.as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect()
}

fn path(of: &Actor) -> String {
    format!("{}/history", of.path())
}

#[tokio::test]
async fn every_change_leaves_a_line_and_the_newest_comes_first() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let tick = || app.clock.advance(Duration::from_secs(1));
    tick();
    ann.patch(&ann.path()).json(&json!({"description": "x"})).await.is(200);
    tick();
    ann.put(&format!("{}/username", ann.path())).json(&json!({"username": "anna"})).await.is(200);
    tick();
    ann.put(&format!("{}/full-name", ann.path())).json(&json!({"first_name": "Ann"})).await.is(200);
    tick();
    admin.patch(&ann.path()).json(&json!({"roles": ["tester"]})).await.is(200);
    tick();
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    tick();
    admin.patch(&ann.path()).json(&json!({"is_active": true})).await.is(200);
    tick();
    admin.delete(&ann.path()).await.is(200);
    tick();
    admin.post(&format!("{}/restore", ann.path())).await.is(200);
    let history = admin.get(&path(&ann)).await.is(200).json();
    let expected = [
        "restored",
        "deleted",
        "activated",
        "deactivated",
        "roles_changed",
        "full_name_changed",
        "username_changed",
        "updated",
        "created",
    ];
    assert_eq!(actions(&history), expected);
    for (line, age) in history.as_array().unwrap().iter().zip(0..) {
        let mut members: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["action", "by", "description", "time"]);
        assert_eq!(line["time"], START.seconds() + 8 - age);
    }
    let by: Vec<&Value> = history.as_array().unwrap().iter().map(|line| &line["by"]).collect();
    let (admin, ann) = (json!(admin.id.to_string()), json!(ann.id.to_string()));
    assert_eq!(by[..8], [&admin, &admin, &admin, &admin, &admin, &ann, &ann, &ann]);
}

#[tokio::test]
async fn lines_of_the_same_moment_keep_their_order() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for number in 0..10 {
        ann.put(&format!("{}/username", ann.path()))
            .json(&json!({"username": format!("ann{number}")}))
            .await
            .is(200);
    }
    let history = ann.get(&path(&ann)).await.is(200).json();
    for (line, number) in history.as_array().unwrap()[..10].iter().zip((0..10).rev()) {
        assert!(line["description"].as_str().unwrap().ends_with(&format!("ann{number}")), "{line}");
    }
}

#[tokio::test]
async fn a_profile_shows_the_newest_twenty() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for number in 0..25 {
        app.clock.advance(Duration::from_millis(1));
        ann.patch(&ann.path()).json(&json!({"description": number.to_string()})).await.is(200);
    }
    let shown = ann.me().await["user_history"].clone();
    assert_eq!(shown.as_array().unwrap().len(), 20);
    let reply = ann.get(&path(&ann)).await;
    let all = reply.is(200).json();
    assert_eq!(reply.header("x-total-count"), Some("26"));
    assert_eq!(all.as_array().unwrap()[..20], shown.as_array().unwrap()[..]);
    assert_eq!(actions(&all)[25], "created");
}

#[tokio::test]
async fn history_is_paged() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for number in 0..5 {
        app.clock.advance(Duration::from_millis(1));
        ann.patch(&ann.path()).json(&json!({"description": number.to_string()})).await.is(200);
    }
    let all = ann.get(&path(&ann)).await.is(200).json();
    for (query, range) in
        [("offset=1&limit=2", 1..3), ("skip=4", 4..6), ("page=2&per_page=4", 4..6), ("limit=1", 0..1)]
    {
        let reply = ann.get(&format!("{}?{query}", path(&ann))).await;
        assert_eq!(reply.is(200).json().as_array().unwrap()[..], all.as_array().unwrap()[range], "{query}");
        assert_eq!(reply.header("x-total-count"), Some("6"));
    }
    ann.get(&format!("{}?limit=0", path(&ann))).await.invalid(&["limit"]);
}

#[tokio::test]
async fn history_is_read_by_cursor_there_and_back() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    // Some of one moment: the ids decide, either way.
    for number in 0..7 {
        if number % 3 == 0 {
            app.clock.advance(Duration::from_millis(1));
        }
        ann.patch(&ann.path()).json(&json!({"description": number.to_string()})).await.is(200);
    }
    for order in ["asc", "desc"] {
        let all = ann.get(&format!("{}?order={order}", path(&ann))).await.is(200).json();
        let parts = there_and_back(&ann, &format!("{}?order={order}&limit=3", path(&ann))).await;
        assert_eq!(json!(parts.concat()), all, "{order}");
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2], "{order}");
    }
    let next = ann.get(&format!("{}?limit=1", path(&ann))).await.link("next").unwrap();
    assert!(next.contains("cursor="), "{next}");
    // A cursor is good for histories only, and none of another list for them.
    let query = next.split_once('?').unwrap().1;
    admin.get(&format!("/api/user?{query}")).await.invalid(&["cursor"]);
    for sort in ["created_at", "username", "updated_at"] {
        let next = admin.get(&format!("/api/user?limit=1&sort={sort}")).await.link("next").unwrap();
        let query = next.split_once("cursor=").unwrap().1;
        ann.get(&format!("{}?cursor={query}", path(&ann))).await.invalid(&["cursor"]);
    }
}

#[tokio::test]
async fn history_comes_in_the_order_that_is_asked_for() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    // Of one moment: the ids decide, either way.
    for number in 0..5 {
        ann.patch(&ann.path()).json(&json!({"description": number.to_string()})).await.is(200);
    }
    let newest_first = ann.get(&path(&ann)).await.is(200).json();
    assert_eq!(ann.get(&format!("{}?order=desc", path(&ann))).await.is(200).json(), newest_first);
    let mut oldest_first = newest_first.as_array().unwrap().clone();
    oldest_first.reverse();
    assert_eq!(oldest_first[0]["action"], "created");
    let asc = format!("{}?order=asc", path(&ann));
    assert_eq!(ann.get(&asc).await.is(200).json(), json!(oldest_first));
    let reply = ann.get(&format!("{asc}&offset=2&limit=3")).await;
    assert_eq!(reply.is(200).json(), json!(oldest_first[2..5]));
    assert!(reply.header("link").unwrap().contains("order=asc"), "{reply:?}");
    ann.get(&format!("{}?order=up", path(&ann))).await.invalid(&["order"]);
}

#[tokio::test]
async fn history_is_for_oneself_and_staff() {
    let app = TestApp::new().await;
    let (ann, moderator, admin) = (app.user("ann").await, app.moderator().await, app.admin().await);
    for reader in [&ann, &moderator, &admin] {
        reader.get(&path(&ann)).await.is(200);
    }
    for other in [app.user("bob").await, app.tester().await] {
        other.get(&path(&ann)).await.refused(403, "forbidden");
    }
    moderator.get(&path(&admin)).await.refused(403, "forbidden");
    app.get(&path(&ann)).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_moderator_reads_no_address_out_of_history() {
    let app = TestApp::new().await;
    let (ann, moderator) = (app.user("ann").await, app.moderator().await);
    ann.patch(&ann.path()).json(&json!({"email": "secret@example.com"})).await.is(200);
    let text = moderator.get(&path(&ann)).await.is(200).text().to_owned();
    assert!(!text.contains("secret@") && !text.contains("ann@"), "{text}");
}

#[tokio::test]
async fn what_changes_nothing_leaves_no_line() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let before = ann.get(&ann.path()).await;
    for nothing in [json!({}), json!({"username": "ann"})] {
        let after = ann.patch(&ann.path()).json(&nothing).await;
        assert_eq!(after.is(200).json(), before.json());
        assert_eq!(after.header("etag"), before.header("etag"));
    }
}

#[tokio::test]
async fn old_lines_are_forgotten() {
    let app = TestApp::with(&[("HISTORY_RETENTION_DAYS", "10")]).await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_hours(24 * 11));
    let ann = app.sign_in(&ann.name).await;
    ann.patch(&ann.path()).json(&json!({"description": "x"})).await.is(200);
    app.inside.sweep().await.unwrap();
    let history = ann.get(&path(&ann)).await.is(200).json();
    assert_eq!(actions(&history), ["updated"]);
}

#[tokio::test]
async fn why_somebody_is_banned_is_known_as_long_as_they_are() {
    let app = TestApp::with(&[("HISTORY_RETENTION_DAYS", "10")]).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    admin.post(&format!("/api/admin/ban/{}", ann.id)).json(&json!({"reason": "spam"})).await.is(200);
    app.clock.advance(Duration::from_hours(24 * 11));
    app.inside.sweep().await.unwrap();
    let refused = app.try_sign_in("ann", PASSWORD).await.refused(403, "user_inactive").json();
    assert!(refused["detail"].as_str().unwrap().contains("spam"), "{refused}");
    let admin = app.sign_in(&admin.name).await;
    let told = admin.get(&path(&ann)).await.is(200).json();
    assert_eq!(actions(&told), ["banned"]);
    admin.post(&format!("/api/admin/unban/{}", ann.id)).await.is(200);
    app.inside.sweep().await.unwrap();
    assert_eq!(actions(&admin.get(&path(&ann)).await.is(200).json()), ["unbanned"]);
}
