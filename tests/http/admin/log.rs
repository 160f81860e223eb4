//! The log of what staff did: what is in it, and how it is read.

use std::time::Duration;

use serde_json::{Value, json};

use super::{actions, ban, log, unban};
use crate::harness::{Actor, START, TestApp, race};
use crate::lists::there_and_back;

fn numbers(entries: &[Value]) -> Vec<i64> {
    entries.iter().map(|entry| entry["number"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn what_staff_does_to_an_account_is_in_it_and_what_people_do_to_their_own_is_not() {
    let app = TestApp::new().await;
    let (admin, moderator, ann) = (app.admin().await, app.moderator().await, app.user("ann").await);
    ann.patch(&ann.path()).json(&json!({"description": "mine"})).await.is(200);
    app.clock.advance(Duration::from_secs(5));
    moderator
        .patch(&ann.path())
        .json(&json!({"description": "x"}))
        .header("x-request-id", "t-1")
        .await
        .is(200);
    admin.patch(&ann.path()).json(&json!({"roles": ["tester"]})).await.is(200);
    admin.patch(&ann.path()).json(&json!({"email": "other@example.com"})).await.is(200);
    ban(&admin, &ann, "spam").await.is(200);
    unban(&admin, &ann, "sorry").await.is(200);
    admin.delete(&ann.path()).await.is(200);
    admin.post(&format!("{}/restore", ann.path())).await.is(200);
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    let entries = log(&admin, &format!("subject={}", ann.id)).await;
    let expected =
        ["updated", "roles_changed", "updated", "banned", "unbanned", "deleted", "restored", "purged"];
    assert_eq!(actions(&entries), expected);
    let mut first = entries[0].clone();
    assert_eq!(first["hash"].as_str().unwrap().len(), 64);
    first["hash"] = Value::Null;
    let expected = json!({
        "number": first["number"], "time": START.seconds() + 5, "actor": moderator.id, "action": "updated",
        "subject_type": "user", "subject": ann.id, "details": {"description": "description"}, "trace_id": "t-1",
        "hash": null,
    });
    assert_eq!(first, expected);
    assert_eq!(entries[1]["details"], json!({"description": "from user to tester"}));
    // No address is kept for good.
    assert!(!json!(log(&admin, "").await).to_string().contains("@example.com"));
    assert_eq!(app.inside.audit.verify(None).await.unwrap().flaw, None);
}

#[tokio::test]
async fn others_files_and_pictures_are_in_it_and_ones_own_are_not() {
    let app = TestApp::new().await;
    let (admin, ann, bob) = (app.admin().await, app.user("ann").await, app.user("bob").await);
    let form = |name: &str| {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        format!("--B\r\n{head}\r\n\r\nhello\r\n--B--\r\n")
    };
    let kind = "multipart/form-data; boundary=B";
    let own = ann.post("/api/file").body(kind, form("a.txt")).await.is(201).json()["id"].clone();
    let change = json!({"description": "x"});
    ann.patch(&format!("/api/file/{own}")).json(&change).await.is(200);
    admin.patch(&format!("/api/file/{own}")).json(&change).await.is(200);
    let lent = admin.post(&format!("{}/file", bob.path())).body(kind, form("b.txt")).await;
    lent.is(200);
    ann.delete(&format!("/api/file/{own}")).await.is(200);
    let of = async |whom: &Actor| log(&admin, &format!("subject={}", whom.id)).await;
    assert_eq!(actions(&of(&ann).await), ["file_changed"]);
    assert_eq!(actions(&of(&bob).await), ["file_added"]);
    // What staff attached is theirs; what becomes of it concerns whom they attached it to.
    let lent = format!("/api/file/{}", lent.json()["id"]);
    admin.patch(&lent).json(&change).await.is(200);
    admin.delete(&lent).await.is(200);
    assert_eq!(actions(&of(&bob).await), ["file_added", "file_changed", "file_removed"]);
    assert_eq!(app.inside.audit.verify(None).await.unwrap().flaw, None);
}

#[tokio::test]
async fn the_operators_deeds_are_in_it_without_an_actor() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    app.inside.users.add_role(ann.id, gatehouse::sessions::Role::Tester).await.unwrap();
    let entries = log(&admin, "").await;
    assert_eq!(actions(&entries), ["created", "roles_changed"]);
    assert_eq!(entries.iter().map(|entry| &entry["actor"]).collect::<Vec<_>>(), [&Value::Null, &Value::Null]);
    assert_eq!([&entries[0]["subject"], &entries[1]["subject"]], [&json!(admin.id), &json!(ann.id)]);
}

#[tokio::test]
async fn flags_webhooks_letters_and_replays_are_in_it() {
    let app = TestApp::with_mail(&[]).await;
    let admin = app.admin().await;
    app.user("ann").await;
    let begun = log(&admin, "").await.len();
    admin.patch("/api/admin/feature-flags").json(&json!({"add": {"NEW_THING": false}})).await.is(200);
    let hook = json!({"url": "https://example.com/secret-path"});
    let hook = admin.post("/api/admin/webhooks").json(&hook).await.is(201).json()["webhook"]["id"].clone();
    let path = format!("/api/admin/webhooks/{}", hook.as_str().unwrap());
    admin.patch(&path).json(&json!({"enabled": false, "description": "x"})).await.is(200);
    admin.post(&format!("{path}/rotate-secret")).await.is(200);
    app.inside.events.place().await.unwrap();
    let event = admin.get("/api/admin/events?limit=1").await.is(200).json()[0]["event_id"].clone();
    admin.post(&format!("{path}/replay")).json(&json!({"after": event})).await.is(200);
    admin.delete(&path).await.is(204);
    admin.post(&format!("/api/admin/events/{}/replay", event.as_str().unwrap())).await.is(200);
    admin.post("/api/admin/events/replay").json(&json!({"until": event})).await.is(200);
    let letter = "confirm=true&subject=Hello&recipients=a@example.com&recipients=b@example.com";
    admin.post(&format!("/api/email/send-email-multiple?{letter}")).json(&"Hello").await.is(202);
    admin.post("/api/email/send-email-all?confirm=true&subject=Hello").json(&"Hello").await.is(202);
    let entries = log(&admin, "").await.split_off(begun);
    let expected = [
        ("flags_changed", "flags", json!({"version": 2, "source": "api", "flags": ["NEW_THING"]})),
        ("webhook_created", "webhook", json!({})),
        ("webhook_changed", "webhook", json!({"fields": ["description", "enabled"]})),
        ("webhook_secret_rotated", "webhook", json!({})),
        ("webhook_replayed", "webhook", json!({"after": event})),
        ("webhook_deleted", "webhook", json!({})),
        ("events_replayed", "events", json!({"events": 1})),
        ("events_replayed", "events", json!({"after": null, "until": event})),
        ("letter_sent", "letter", json!({"recipients": 2})),
        ("letter_sent_to_all", "letter", json!({})),
    ];
    assert_eq!(entries.len(), expected.len(), "{entries:#?}");
    for (entry, (action, kind, details)) in entries.iter().zip(expected) {
        assert_eq!(entry["action"], action);
        assert_eq!((&entry["subject_type"], &entry["details"]), (&json!(kind), &details));
        assert_eq!(entry["actor"], json!(admin.id));
        assert!(entry["trace_id"].is_string(), "{entry}");
        assert_eq!(entry["subject"].is_null(), ["flags", "events"].contains(&kind));
    }
    assert_eq!(app.inside.audit.verify(None).await.unwrap().flaw, None);
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_in_it() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let before = log(&admin, "").await;
    admin.delete(&admin.path()).await.refused(409, "last_admin");
    unban(&admin, &ann, "").await.refused(409, "conflict");
    admin.patch(&ann.path()).json(&json!({"username": "root"})).await.refused(409, "username_taken");
    let stale = admin.patch("/api/admin/feature-flags").header("if-match", "\"99\"");
    stale.json(&json!({"add": {"X": false}})).await.refused(412, "precondition_failed");
    // What changes nothing is no deed.
    admin.patch(&ann.path()).json(&json!({"description": null})).await.is(200);
    assert_eq!(log(&admin, "").await, before);
}

#[tokio::test]
async fn it_is_read_in_parts_and_narrowed() {
    let app = TestApp::new().await;
    let (admin, moderator, ann) = (app.admin().await, app.moderator().await, app.user("ann").await);
    for number in 0..6 {
        app.clock.advance(Duration::from_secs(10));
        let by = if number % 2 == 0 { &admin } else { &moderator };
        by.patch(&ann.path()).json(&json!({"description": number.to_string()})).await.is(200);
    }
    let all = log(&admin, "").await;
    assert_eq!(numbers(&all), (1..=8).collect::<Vec<i64>>());
    // Newest first, unless asked otherwise; by cursor, offset or page.
    for begin in ["limit=3", "offset=0&limit=3", "page=1&per_page=3"] {
        let path = format!("/api/admin/audit?{begin}");
        assert_eq!(admin.get(&path).await.header("x-total-count"), Some("8"));
        let parts = there_and_back(&admin, &path).await;
        assert_eq!(parts.len(), 3, "{begin}");
        assert_eq!(numbers(&parts.concat()), (1..=8).rev().collect::<Vec<i64>>(), "{begin}");
    }
    let parts = there_and_back(&admin, "/api/admin/audit?order=asc&action=updated&limit=4").await;
    assert_eq!(parts.iter().map(|part| numbers(part)).collect::<Vec<_>>(), [vec![3, 4, 5, 6], vec![7, 8]]);
    let count = async |query: String| log(&admin, &query).await.len();
    assert_eq!(count(format!("actor={}", moderator.id)).await, 3);
    assert_eq!(count(format!("actor={}&subject={}", admin.id, ann.id)).await, 3);
    assert_eq!(count(format!("subject={}", moderator.id)).await, 1);
    assert_eq!(count("action=updated".into()).await, 6);
    assert_eq!(count("action=nothing".into()).await, 0);
    let since = START.seconds() + 50;
    assert_eq!(count(format!("range_start={since}")).await, 2);
    assert_eq!(count(format!("range_end={since}")).await, 6);
    for bad in ["cursor=x", "limit=0", "order=up", "actor=x", "range_start=x", "action=%00"] {
        admin.get(&format!("/api/admin/audit?{bad}")).await.is(422);
    }
}

// Two instances, many at once: one chain, with every deed in it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_many_do_at_once_becomes_one_chain() {
    let app = TestApp::new().await;
    let there = app.second_instance().await;
    let admin = app.admin().await;
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(app.user(&format!("ann_{number}")).await);
    }
    let before = log(&admin, "").await.len();
    let results = race(40, |number| {
        let by = if number % 2 == 0 { admin.clone() } else { admin.at(&there) };
        let path = people[number % 8].path();
        async move { by.patch(&path).json(&json!({"description": number.to_string()})).await.status() }
    });
    let done = results.await.into_iter().filter(|status| *status == 200).count();
    assert!(done > 0);
    let entries = log(&admin, "").await;
    assert_eq!(entries.len(), before + done);
    assert_eq!(app.inside.audit.verify(None).await.unwrap().flaw, None);
    assert_eq!(there.inside.audit.verify(None).await.unwrap().flaw, None);
}
