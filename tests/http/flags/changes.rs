//! Changing flags: `PATCH /admin/feature-flags`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{FLAGS, file_of, read, set, told};
use crate::attacks::rounds;
use crate::harness::{PASSWORD, START, TestApp, race};
use crate::lists::there_and_back;

#[tokio::test]
async fn a_change_counts_and_is_in_the_file_before_it_is_answered() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let all =
        set(&admin, json!({"READ_USERS_ME": false, "new-checkout": [{"percentageOfUsers": 0.5}]})).await;
    let all = all.is(200).json();
    assert_eq!((&all["READ_USERS_ME"], &all["REGISTER"]), (&json!(false), &json!(true)));
    assert_eq!(all["new-checkout"], json!([{"percentageOfUsers": 0.5}]));
    assert_eq!(read(&app), all);
    assert_eq!(admin.get(FLAGS).await.is(200).json(), all);
    ann.get("/api/user/me").await.refused(403, "feature_disabled");
    let change = json!({"remove": ["new-checkout", "never-there"], "add": {"READ_USERS_ME": true}});
    let all = admin.patch(FLAGS).json(&change).await.is(200).json();
    assert!(all.get("new-checkout").is_none());
    assert_eq!(read(&app), all);
    ann.get("/api/user/me").await.is(200);
}

#[tokio::test]
async fn what_goes_may_be_a_list_or_an_object_and_goes_before_what_comes() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let change = |change: Value| {
        let admin = admin.clone();
        async move { admin.patch("/api/admin/feature_flags").json(&change).await.is(200).json() }
    };
    change(json!({"add": {"a": true, "b": true}})).await;
    let all = change(json!({"remove": {"a": false, "b": {"x": 1}}, "add": {"b": false}})).await;
    assert_eq!((all.get("a"), &all["b"]), (None, &json!(false)));
    let all = change(json!({"remove": ["READ_USERS_ME"]})).await;
    assert!(all.get("READ_USERS_ME").is_none());
    // What is not there is on.
    app.user("ann").await.get("/api/user/me").await.is(200);
    assert_eq!(admin.get("/api/admin/feature_flags").await.is(200).json(), all);
}

#[tokio::test]
async fn a_change_needs_a_fresh_proof_of_who_one_is() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.clock.advance(Duration::from_mins(11));
    set(&admin, json!({"a": true})).await.refused(401, "reauthentication_required");
    assert!(read(&app).get("a").is_none());
    admin.post("/api/auth/reauthenticate").json(&json!({"password": PASSWORD})).await.is(200);
    set(&admin, json!({"a": true})).await.is(200);
}

#[tokio::test]
async fn only_the_version_that_was_read_is_changed_if_that_is_asked_for() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let etag = |reply: &crate::harness::Reply| reply.header("etag").unwrap().to_owned();
    let first = etag(admin.get(FLAGS).await.is(200));
    let patch = |tag: &str, value: bool| {
        admin.patch(FLAGS).header("if-match", tag).json(&json!({"add": {"a": value}}))
    };
    let second = etag(patch(&first, true).await.is(200));
    assert_ne!(first, second);
    for stale in [&first, "\"x\"", "", &format!("W/{second}"), "9", &format!("{first}, \"x\"")] {
        patch(stale, false).await.refused(412, "precondition_failed");
    }
    assert_eq!(etag(admin.get(FLAGS).await.is(200)), second);
    for same in [&second, &format!("{first}, {second}")] {
        assert_eq!(etag(patch(same, true).await.is(200)), second, "nothing has changed");
    }
    patch("*", false).await.is(200);
    patch(&second, true).header("if-match", "*").await.invalid(&["If-Match"]);
}

#[tokio::test]
async fn what_is_no_flag_is_refused_by_name_and_nothing_changes() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let before = std::fs::read(file_of(&app)).unwrap();
    let many: serde_json::Map<String, Value> =
        (0..990).map(|number| (format!("flag_{number}"), json!(true))).collect();
    for (change, field) in [
        (json!({}), "body"),
        (json!({"remove": null, "add": null}), "body"),
        (json!({"add": {"a": 1}}), "add.a"),
        (json!({"add": {"a": null}}), "add.a"),
        (json!({"add": {"a": "true"}}), "add.a"),
        (json!({"add": {"a": [true]}}), "add.a[0]"),
        (json!({"add": {"a": [{"percentageOfUsers": 2}]}}), "add.a[0].percentageOfUsers"),
        (json!({"add": {"a": [{"percentageOfUsers": -1}]}}), "add.a[0].percentageOfUsers"),
        (json!({"add": {"a": [[0.5, ["admin"]]]}}), "add.a[0]"),
        (json!({"add": {"a": [{"userRoles": ["king"]}]}}), "add.a[0].userRoles"),
        (json!({"add": {"a": [{"who": 1}]}}), "add.a[0].who"),
        (json!({"add": {"<script>": true}}), "add"),
        (json!({"add": {"": true}}), "add"),
        (json!({"remove": ["a b"]}), "remove"),
        (json!({"remove": 1}), "remove"),
        (json!({"remove": "a"}), "remove"),
        (json!({"add": [{"a": true}]}), "add"),
        (json!({"add": {"LOGOUT": false}}), "add.LOGOUT"),
        (json!({"add": {"UPDATE_FEATURE_FLAGS": [{}]}}), "add.UPDATE_FEATURE_FLAGS"),
        (json!({"set": {}}), "set"),
        (json!({ "add": many }), "add"),
    ] {
        admin.patch(FLAGS).json(&change).await.invalid(&[field]);
    }
    let long = format!("{{\"add\":{{\"a\":true}}{}}}", " ".repeat(200 * 1024));
    admin.patch(FLAGS).body("application/json", long).await.is(200);
    let longer = format!("{{\"add\":{{\"b\":true}}{}}}", " ".repeat(256 * 1024));
    admin.patch(FLAGS).body("application/json", longer).await.refused(413, "payload_too_large");
    admin.patch(FLAGS).json(&json!({"remove": ["a"]})).await.is(200);
    assert_eq!(std::fs::read(file_of(&app)).unwrap(), before);
}

#[tokio::test]
async fn history_is_read_in_parts() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for number in 0..4 {
        set(&admin, json!({"a": number % 2 == 0})).await.is(200);
    }
    let read = async |query: &str| {
        let parts = there_and_back(&admin, &format!("{FLAGS}/history?{query}")).await;
        let numbers =
            |part: Vec<Value>| part.iter().map(|line| line["version"].as_i64().unwrap()).collect::<Vec<_>>();
        parts.into_iter().map(numbers).collect::<Vec<_>>()
    };
    for begin in ["limit=2", "offset=0&limit=2", "page=1&per_page=2", "order=desc&limit=2"] {
        assert_eq!(read(begin).await, [vec![5, 4], vec![3, 2], vec![1]], "{begin}");
    }
    assert_eq!(read("order=asc&limit=2").await, [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!(read("").await, [vec![5, 4, 3, 2, 1]]);
    let history = admin.get(&format!("{FLAGS}/history?offset=3")).await;
    assert_eq!(history.is(200).json().as_array().unwrap().len(), 2);
    assert_eq!(history.header("x-total-count"), Some("5"));
    for (bad, field) in [("cursor=x", "cursor"), ("limit=0", "limit"), ("order=up", "order")] {
        admin.get(&format!("{FLAGS}/history?{bad}")).await.invalid(&[field]);
    }
}

#[tokio::test]
async fn history_tells_who_changed_what() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let changed = set(&admin, json!({"a": [{"userRoles": ["tester"]}], "b": true})).await;
    let trace_id = changed.is(200).trace_id().to_owned();
    admin.patch(FLAGS).json(&json!({"remove": ["b"], "add": {"a": false}})).await.is(200);
    set(&admin, json!({"a": false})).await.is(200);
    let history = admin.get("/api/admin/feature-flags/history").await.is(200).json();
    let lines: Vec<&Value> = history.as_array().unwrap().iter().collect();
    assert_eq!(lines.len(), 3, "a change that changes nothing is none: {history}");
    let rule = json!([{"userRoles": ["tester"]}]);
    assert_eq!(
        lines[0]["changes"],
        json!([{"flag": "a", "before": rule, "after": false}, {"flag": "b", "before": true, "after": null}])
    );
    assert_eq!(lines[1]["changes"][0], json!({"flag": "a", "before": null, "after": rule}));
    assert_eq!((&lines[1]["by"], &lines[1]["trace_id"]), (&json!(admin.id), &json!(trace_id)));
    assert_eq!((&lines[1]["source"], &lines[1]["time"]), (&json!("api"), &json!(START.seconds())));
    assert_eq!((&lines[2]["source"], &lines[2]["by"]), (&json!("start"), &Value::Null));
    assert_eq!((&lines[0]["version"], &lines[2]["version"]), (&json!(3), &json!(1)));
}

// nothing is lost, and whoever reads the file finds it whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_the_same_time_are_all_made_and_the_file_is_always_whole() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (path, done) = (file_of(&app), Arc::new(AtomicBool::new(false)));
    let reader = {
        let (path, done) = (path.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut times = 0;
            while !done.load(Ordering::Relaxed) {
                let text = std::fs::read(&path).expect("the file is always there");
                let flags: Value = serde_json::from_slice(&text).expect("and always whole");
                assert_eq!(flags["REGISTER"], true);
                times += 1;
            }
            times
        })
    };
    for round in 0..rounds().min(10) {
        let replies = race(20, |number| {
            let change = json!({"add": {format!("round-{round}-{number}"): number % 2 == 0}});
            admin.patch(FLAGS).json(&change)
        });
        for reply in replies.await {
            reply.is(200);
        }
        let flags = read(&app);
        for number in 0..20 {
            assert_eq!(flags[format!("round-{round}-{number}")], number % 2 == 0, "{round} {number}");
        }
        assert_eq!(admin.get(FLAGS).await.json(), flags);
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.join().expect("the reader") > 20);
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("draft"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_user_learns_of_a_change_at_once() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for value in [false, true, false] {
        set(&admin, json!({"a": value})).await.is(200);
        assert_eq!(told(&app, "a").await, json!(value));
        assert_eq!(told(&ann, "a").await["enabled"], json!(value));
    }
}
