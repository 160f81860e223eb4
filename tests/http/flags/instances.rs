//! Several instances: by a shared folder, and by the database alone.

use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::{FLAGS, edit, read, set, told};
use crate::harness::{Actor, TestApp, eventually};

/// Two instances on one database, each with a file of its own.
async fn apart() -> (TempDir, TestApp, TestApp) {
    let folder = tempfile::tempdir().unwrap();
    let own = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let one = TestApp::with(&[("FEATURE_FLAGS_FILE", &own("one.json"))]).await;
    let other = one.restarted_with(&[("FEATURE_FLAGS_FILE", &own("other.json"))]).await;
    (folder, one, other)
}

/// Two instances that share everything.
async fn together() -> (TempDir, TestApp, TestApp) {
    let one = TestApp::new().await;
    let other = one.second_instance().await;
    (tempfile::tempdir().unwrap(), one, other)
}

async fn agree(one: TestApp, other: TestApp) {
    one.inside.start_background();
    other.inside.start_background();
    let admin = one.admin().await;
    // Of several changes the quickest: the others say how busy the machine is.
    let mut is_quick = false;
    for round in 0..60 {
        let (flag, value) = (format!("round-{round}"), round % 2 == 1);
        let (here, there) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        set(&admin.at(here), json!({&*flag: value})).await.is(200);
        let begun = Instant::now();
        eventually(|| told(there, &flag), |told| *told == json!(value)).await;
        is_quick |= begun.elapsed() < Duration::from_secs(1);
        eventually(|| async { read(there) }, |flags| flags[&flag] == json!(value)).await;
        if is_quick && round >= 2 {
            break;
        }
    }
    assert!(is_quick, "a change takes longer than a second");
    is_quick = false;
    for round in 0..60 {
        let value = round % 2 == 1;
        let mut flags = read(&other);
        flags["edited"] = json!(value);
        edit(&other, flags.to_string());
        let begun = Instant::now();
        eventually(|| told(&one, "edited"), |told| *told == json!(value)).await;
        is_quick |= begun.elapsed() < Duration::from_millis(1500);
        eventually(|| async { read(&one) }, |read| *read == flags).await;
        // Of a folder that they share, either may have noticed the edit first.
        let tags = async || [tag(&admin.at(&one)).await, tag(&admin.at(&other)).await];
        eventually(|| Box::pin(tags()), |[here, there]| here == there).await;
        if is_quick {
            break;
        }
    }
    assert!(is_quick, "an edit takes longer than a second and a half");
}

/// The version of the flags, as they are in force at somebody's instance.
async fn tag(admin: &Actor) -> String {
    admin.get(FLAGS).await.is(200).header("etag").unwrap().to_owned()
}

#[tokio::test]
async fn instances_agree_by_the_database() {
    let (_folder, one, other) = apart().await;
    agree(one, other).await;
}

#[tokio::test]
async fn instances_agree_by_a_shared_folder() {
    let (_folder, one, other) = together().await;
    agree(one, other).await;
}

#[tokio::test]
async fn what_the_other_instance_wrote_is_never_taken_for_an_edit() {
    let (_folder, one, other) = together().await;
    one.inside.start_background();
    other.inside.start_background();
    let admin = one.admin().await;
    let at = [admin.at(&one), admin.at(&other)];
    for round in 0..60 {
        let all =
            set(&at[round / 3 % 2], json!({"x": round % 2 == 0, "last": [{"percentageOfUsers": 1}]})).await;
        assert_eq!(all.is(200).json()["x"], round % 2 == 0, "{round}");
    }
    let history = admin.get("/api/admin/feature-flags/history").await.is(200).json();
    let sources: Vec<_> = history.as_array().unwrap().iter().map(|entry| entry["source"].clone()).collect();
    assert!(!sources.contains(&json!("file")), "{sources:?}");
}

#[tokio::test]
async fn an_edit_does_not_undo_what_another_instance_changed_meanwhile() {
    let (_folder, one, other) = apart().await;
    let admin = one.admin().await;
    let mut flags = read(&other);
    flags["edited"] = json!(false);
    edit(&other, flags.to_string());
    set(&admin, json!({"changed": false, "REGISTER": false})).await.is(200);
    other.inside.flags.catch_up().await;
    one.inside.flags.catch_up().await;
    for app in [&one, &other] {
        for flag in ["edited", "changed", "REGISTER"] {
            assert_eq!(told(app, flag).await, json!(false), "{flag}");
        }
    }
    assert_eq!(read(&one), read(&other));
}

#[tokio::test]
async fn an_edit_counts_where_another_instance_had_the_same_flags_for_a_moment() {
    let (_folder, one, other) = apart().await;
    let admin = one.admin().await;
    set(&admin, json!({"x": false})).await.is(200);
    other.inside.flags.catch_up().await;
    let moment = set(&admin, json!({"x": true})).await.is(200).json();
    set(&admin, json!({"x": false})).await.is(200);
    other.inside.flags.catch_up().await;
    edit(&other, moment.to_string());
    other.inside.flags.catch_up().await;
    one.inside.flags.catch_up().await;
    assert_eq!([told(&one, "x").await, told(&other, "x").await], [json!(true), json!(true)]);
    assert_eq!((&read(&one)["x"], read(&other)), (&json!(true), moment));
}

#[tokio::test]
async fn an_instance_that_was_away_takes_the_newer_flags_over_its_old_copy() {
    let (folder, one, other) = apart().await;
    let admin = one.admin().await;
    set(&admin.at(&other), json!({"a": true})).await.is(200);
    drop(other);
    set(&admin, json!({"a": false})).await.is(200);
    let back = folder.path().join("other.json").to_str().unwrap().to_owned();
    let back = one.restarted_with(&[("FEATURE_FLAGS_FILE", &back)]).await;
    assert_eq!(told(&back, "a").await, json!(false));
    assert_eq!(read(&back), read(&one));
}

#[tokio::test]
async fn a_copy_without_its_note_is_known_for_an_old_one() {
    let (folder, one, _other) = apart().await;
    let admin = one.admin().await;
    set(&admin, json!({"a": true})).await.is(200);
    let copy = folder.path().join("copy.json");
    std::fs::copy(folder.path().join("one.json"), &copy).unwrap();
    set(&admin, json!({"a": false})).await.is(200);
    let back = one.restarted_with(&[("FEATURE_FLAGS_FILE", copy.to_str().unwrap())]).await;
    assert_eq!(told(&back, "a").await, json!(false));
    // One that never was in force is an edit.
    let mut flags = read(&one);
    flags["shipped"] = json!(true);
    std::fs::write(folder.path().join("image.json"), flags.to_string()).unwrap();
    let image = folder.path().join("image.json").to_str().unwrap().to_owned();
    let image = one.restarted_with(&[("FEATURE_FLAGS_FILE", &image)]).await;
    assert_eq!(told(&image, "shipped").await, json!(true));
}
