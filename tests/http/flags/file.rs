//! The file of flags: made, edited, spoiled, mended.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use gatehouse::flags::flag_of;
use serde_json::{Value, json};

use super::{FLAGS, edit, file_of, health, read, set, told};
use crate::attacks::operations;
use crate::harness::{Actor, TestApp, eventually};

#[tokio::test]
async fn the_first_start_makes_the_file_with_a_flag_for_each_operation() {
    let app = TestApp::new().await;
    let flags = read(&app);
    for operation in operations(&app) {
        let flag = flag_of(operation.described["operationId"].as_str().unwrap()).unwrap();
        assert_eq!(flags[flag.as_str()], true, "{flag}");
    }
    assert_eq!((&flags["_PING"], &flags["READ_USERS_ME"]), (&json!(true), &json!(true)));
    assert_eq!(health(&app).await, "ok");
}

#[tokio::test]
async fn a_start_adds_what_is_missing_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.json");
    fs::write(&path, r#"{"READ_USERS_ME": false, "mine": [{"percentageOfUsers": 0.25}]}"#).unwrap();
    let app = TestApp::with(&[("FEATURE_FLAGS_FILE", path.to_str().unwrap())]).await;
    let flags = read(&app);
    assert_eq!((&flags["READ_USERS_ME"], &flags["REGISTER"]), (&json!(false), &json!(true)));
    assert_eq!(flags["mine"], json!([{"percentageOfUsers": 0.25}]));
    app.user("ann").await.get("/api/user/me").await.refused(403, "feature_disabled");
}

#[tokio::test]
async fn an_edit_counts_within_a_second() {
    let app = TestApp::new().await;
    app.inside.start_background();
    let ann = app.user("ann").await;
    // Of several edits of each kind the quickest: the others say how busy the machine is.
    let mut quick = [false; 2];
    for number in 0..60 {
        let (value, is_replaced) = (number % 2 == 1, number % 3 == 2);
        let other = number % 4 < 2;
        let text = format!("{{\r\n\t\"READ_USERS_ME\": {value},\r\n\t\"round\": {other}\r\n}}");
        let begun = Instant::now();
        if is_replaced {
            // As editors and orchestrators do that put another file in its place.
            let other = file_of(&app).with_file_name("other");
            fs::write(&other, &text).unwrap();
            fs::rename(&other, file_of(&app)).unwrap();
        } else {
            edit(&app, &text);
        }
        let status = if value { 200 } else { 403 };
        eventually(|| ann.get("/api/user/me"), |reply| reply.status() == status).await;
        quick[usize::from(is_replaced)] |= begun.elapsed() < Duration::from_secs(1);
        // What was typed stays as it was typed.
        assert_eq!(fs::read_to_string(file_of(&app)).unwrap(), text);
        if quick == [true; 2] {
            break;
        }
    }
    assert_eq!(quick, [true; 2], "written, and replaced");
    assert_eq!(health(&app).await, "ok");
}

#[tokio::test]
async fn an_edit_is_in_history_and_a_change_builds_on_it() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let mut flags = read(&app);
    flags["edited"] = json!(false);
    edit(&app, flags.to_string());
    // Nobody has looked at the file yet.
    set(&admin, json!({"changed": true})).await.is(200);
    flags["changed"] = json!(true);
    assert_eq!(read(&app), flags);
    let history = admin.get("/api/admin/feature-flags/history").await.is(200).json();
    assert_eq!((&history[0]["source"], &history[1]["source"]), (&json!("api"), &json!("file")));
    assert_eq!(history[1]["changes"], json!([{"flag": "edited", "before": null, "after": false}]));
}

/// Puts something in the file's place; whether it is still a file that can be written.
type Spoil = fn(&Path);

fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Within this time a look at the file ends that does not hang, however busy the machine is.
const SOON: Duration = Duration::from_secs(20);

const NO_FILES: [(&str, Spoil); 6] = [
    ("nothing", clear),
    ("a folder", |path| {
        clear(path);
        fs::create_dir(path).unwrap();
    }),
    ("a pipe", |path| {
        clear(path);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path, fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    }),
    ("a device without end", |path| {
        clear(path);
        symlink("/dev/zero", path).unwrap();
    }),
    ("a link to itself", |path| {
        clear(path);
        symlink(path, path).unwrap();
    }),
    ("ten megabytes", |path| {
        clear(path);
        fs::write(path, vec![b' '; 10 * 1024 * 1024]).unwrap();
    }),
];

/// Texts that are no flags. Each would change what the test looks at, were it taken.
fn bad_texts() -> Vec<(String, Vec<u8>)> {
    let good = r#"{"a":false,"b":[{"percentageOfUsers":0.5,"userRoles":["user"]}]}"#;
    let mut texts: Vec<(String, Vec<u8>)> =
        (0..good.len()).map(|end| (format!("cut at {end}"), good.as_bytes()[..end].to_vec())).collect();
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    for text in [
        "\u{feff}{\"a\":false}",
        "{\"a\":false}}",
        "{\"a\":false,}",
        "{'a':false}",
        "[]",
        "null",
        "{\"a\":0}",
        "{\"a\":\"false\"}",
        "{\"a\":[{\"percentageOfUsers\":-1}]}",
        "{\"a\":[{\"percentageOfUsers\":2}]}",
        "{\"a\":[{\"percentageOfUsers\":NaN}]}",
        "{\"a\":[{\"percentageOfUsers\":1e400}]}",
        "{\"a\":[{\"percentageOfUsers\":\"0.5\"}]}",
        "{\"a\":[{\"userRoles\":[\"king\"]}]}",
        "{\"a\":[{\"userRoles\":\"user\"}]}",
        "{\"a\":[{\"roles\":[]}]}",
        "{\"a\":false,\"a\":false}",
        "{\"a\\u0000\":false}",
        "{\"a\":false}\u{0}",
        &deep,
    ] {
        texts.push((text.chars().take(40).collect(), text.as_bytes().to_vec()));
    }
    texts.push(("no UTF-8".to_owned(), b"{\"a\":false,\"\xff\":true}".to_vec()));
    texts
}

/// What makes a file bad while it is in use.
type Blow = Box<dyn Fn(&Path)>;

// A-169, while it runs.
#[tokio::test]
async fn while_the_file_is_bad_the_last_good_flags_stay() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let good =
        set(&admin, json!({"a": true, "READ_USERS_ME": [{"userRoles": ["admin"]}]})).await.is(200).json();
    let good_text = fs::read(file_of(&app)).unwrap();
    let spoil_by_text = |text: Vec<u8>| move |path: &Path| fs::write(path, &text).unwrap();
    let mut spoils: Vec<(String, Blow)> = Vec::new();
    for (name, text) in bad_texts() {
        spoils.push((name, Box::new(spoil_by_text(text))));
    }
    for (name, spoil) in NO_FILES {
        spoils.push((name.to_owned(), Box::new(spoil)));
    }
    for (name, spoil) in &spoils {
        spoil(&file_of(&app));
        let begun = Instant::now();
        app.inside.flags.catch_up().await;
        assert!(begun.elapsed() < SOON, "{name}: {:?}", begun.elapsed());
        assert!(health(&app).await.starts_with("degraded: "), "{name}");
        assert_eq!(admin.get(FLAGS).await.is(200).json(), good, "{name}");
        assert_eq!(told(&app, "a").await, json!(true), "{name}");
        clear(&file_of(&app));
        fs::write(file_of(&app), &good_text).unwrap();
        app.inside.flags.catch_up().await;
        assert_eq!(health(&app).await, "ok", "{name}");
    }
}

#[tokio::test]
async fn a_change_mends_a_bad_file_where_it_can_and_counts_where_it_can_not() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (number, (name, spoil)) in NO_FILES.into_iter().enumerate() {
        spoil(&file_of(&app));
        let flag = format!("round-{number}");
        let all = set(&admin, json!({&*flag: false})).await.is(200).json();
        assert_eq!(told(&app, &flag).await, json!(false), "{name}");
        if name == "a folder" {
            assert!(health(&app).await.starts_with("degraded: "));
            clear(&file_of(&app));
        } else {
            assert_eq!(read(&app), all, "{name}");
            assert_eq!(health(&app).await, "ok", "{name}");
        }
    }
    assert!(fs::metadata("/dev/zero").unwrap().len() == 0);
}

// As orchestrators mount them: to be read only, and replaced from outside.
#[tokio::test]
async fn a_file_that_the_server_can_not_write_counts_when_it_is_replaced_by_what_flags_were_before() {
    let folder = tempfile::tempdir().unwrap();
    // A draft beside it would have too long a name.
    let path = folder.path().join("f".repeat(245));
    fs::write(&path, r#"{"mine": false}"#).unwrap();
    let app = TestApp::with(&[("FEATURE_FLAGS_FILE", path.to_str().unwrap())]).await;
    let admin = app.admin().await;
    let once = set(&admin, json!({"mine": true})).await.is(200).json();
    set(&admin, json!({"mine": [{"percentageOfUsers": 0.5}]})).await.is(200);
    assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"mine": false}"#);
    edit(&app, once.to_string());
    app.inside.flags.catch_up().await;
    assert_eq!(told(&app, "mine").await, json!(true));
    assert_eq!(health(&app).await, "ok");
}

// A-169, at the start.
#[tokio::test]
async fn a_start_with_a_bad_file_keeps_the_last_good_flags_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.json");
    let app = TestApp::with(&[("FEATURE_FLAGS_FILE", path.to_str().unwrap())]).await;
    let admin = app.admin().await;
    let good = set(&admin, json!({"a": true, "b": [{}]})).await.is(200).json();
    let texts = bad_texts().into_iter().step_by(7).map(|(name, text)| (name, Some(text), None));
    let others = NO_FILES.into_iter().skip(1).map(|(name, spoil)| (name.to_owned(), None, Some(spoil)));
    for (name, text, spoil) in texts.chain(others) {
        match (&text, spoil) {
            (Some(text), _) => fs::write(&path, text).unwrap(),
            (None, Some(spoil)) => spoil(&path),
            (None, None) => unreachable!(),
        }
        let begun = Instant::now();
        let other = app.second_instance().await;
        assert!(begun.elapsed() < SOON, "{name}: {:?}", begun.elapsed());
        assert!(health(&other).await.starts_with("degraded: "), "{name}");
        assert_eq!(admin.at(&other).get(FLAGS).await.is(200).json(), good, "{name}");
        if let Some(text) = text {
            assert_eq!(fs::read(&path).unwrap(), text, "{name}: it is the operator's to mend");
        }
    }
}

#[tokio::test]
async fn a_first_start_with_a_bad_file_has_everything_on_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.json");
    fs::write(&path, r#"{"READ_USERS_ME": false"#).unwrap();
    let app = TestApp::with(&[("FEATURE_FLAGS_FILE", path.to_str().unwrap())]).await;
    assert_eq!(health(&app).await, "degraded: it is no JSON from line 1, column 23 on");
    let ann = app.user("ann").await;
    ann.get("/api/user/me").await.is(200);
    fs::write(&path, r#"{"READ_USERS_ME": false}"#).unwrap();
    app.inside.flags.catch_up().await;
    assert_eq!(health(&app).await, "ok");
    ann.get("/api/user/me").await.refused(403, "feature_disabled");
}

#[tokio::test]
async fn what_was_edited_while_nothing_ran_counts_at_the_start() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    set(&admin, json!({"a": true})).await.is(200);
    let first = read(&app);
    set(&admin, json!({"a": false, "b": true})).await.is(200);
    // Back to what was before: an edit, although there was such a version.
    edit(&app, first.to_string());
    let restarted = app.second_instance().await;
    assert_eq!(told(&restarted, "a").await, json!(true));
    assert_eq!(told(&restarted, "b").await, Value::Null);
    assert_eq!(read(&restarted), first);
}

#[tokio::test]
async fn such_an_edit_is_in_the_log_of_what_staff_did_and_no_other_start_is() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    set(&admin, json!({"a": true})).await.is(200);
    let mut flags = read(&app);
    flags["a"] = json!(false);
    flags["b"] = json!(true);
    app.second_instance().await;
    assert_eq!(logged(&admin).await.len(), 1, "nothing was edited");
    edit(&app, flags.to_string());
    for _ in 0..2 {
        app.second_instance().await;
        let logged = logged(&admin).await;
        assert_eq!(logged.len(), 2, "{logged:#?}");
        assert_eq!(logged[1]["details"], json!({"version": 3, "source": "start", "flags": ["a", "b"]}));
        assert_eq!((&logged[1]["actor"], &logged[1]["trace_id"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(app.inside.audit.verify(None).await.unwrap().flaw, None);
}

/// What the log of what staff did has of flags, the oldest first.
async fn logged(admin: &Actor) -> Vec<Value> {
    let log = admin.get("/api/admin/audit?order=asc").await.is(200).json();
    let log = log.as_array().unwrap().iter();
    log.filter(|entry| entry["action"] == "flags_changed").cloned().collect()
}

#[tokio::test]
async fn a_file_that_is_gone_at_the_start_is_made_again_from_what_was_in_force() {
    let app = TestApp::new().await;
    let all = set(&app.admin().await, json!({"a": false})).await.is(200).json();
    fs::remove_file(file_of(&app)).unwrap();
    let restarted = app.second_instance().await;
    assert_eq!(read(&restarted), all);
    assert_eq!(health(&restarted).await, "ok");
}

#[tokio::test]
async fn who_may_not_see_the_parts_is_not_told_of_the_file() {
    let app = TestApp::with(&[("METRICS_ALLOW", "192.0.2.1")]).await;
    edit(&app, "{");
    app.inside.flags.catch_up().await;
    let report = app.get("/health/ready").await.is(200).json();
    assert_eq!(report, json!({"status": "degraded"}));
    let report = app.admin().await.get("/health/ready").await.is(200).json();
    assert!(report["parts"]["flags"].as_str().unwrap().starts_with("degraded: "), "{report}");
}
