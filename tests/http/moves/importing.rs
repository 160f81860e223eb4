//! Adding what a file has more.

use std::time::Duration;

use gatehouse::archive::{How, ImportOptions, Progress};
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;
use tokio::sync::oneshot;

use super::{changed_by, count, dump, exported, on_the_way, send};
use crate::harness::{PASSWORD, TestApp};

#[tokio::test]
async fn an_empty_server_has_everything_afterwards_and_people_sign_in() {
    let old = TestApp::new().await;
    let (ann, ben) = (old.user("ann").await, old.user("ben").await);
    ann.patch(&ann.path()).json(&json!({"description": "gardens"})).await.ok();
    ann.put(&format!("{}/blocked_users?users_ids={}", ann.path(), ben.id)).await.ok();
    let admin = old.admin().await;
    let content = exported(&admin).await;

    let new = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = super::written(folder.path(), &content);
    let archive = &new.inside.archive;
    let how = gatehouse::archive::How::Import;
    let silent = gatehouse::archive::Progress::Silent;
    let counts = archive
        .import_from(&path, how, &gatehouse::archive::ImportOptions::default(), &silent)
        .await
        .unwrap();
    assert_eq!(counts["users"].added, 3);
    assert_eq!(dump(&new).await, dump(&old).await);

    assert!(dump(&new).await.contains("\"table\":\"user_blocks\""));
    let again = new.sign_in("ann").await;
    assert_eq!(again.id, ann.id);
    assert_eq!(again.me().await["description"], "gardens");
    new.inside.events.place().await.unwrap();
    let told = new.sign_in("root").await.get("/api/admin/events?limit=10").await.ok().json();
    let created = told.as_array().unwrap().iter().filter(|event| event["event_type"] == "user.created");
    let sources: Vec<&str> = created.map(|event| event["data"]["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["import"; 3]);
}

// Whoever listens must know whom it is that comes back.
#[tokio::test]
async fn a_deleted_account_is_told_of_as_one() {
    let old = TestApp::new().await;
    let (ann, admin) = (old.user("ann").await, old.admin().await);
    admin.delete(&ann.path()).await.ok();
    let folder = tempfile::tempdir().unwrap();
    let path = super::written(folder.path(), &exported(&admin).await);
    let new = TestApp::new().await;
    let (how, silent) = (gatehouse::archive::How::Import, gatehouse::archive::Progress::Silent);
    let options = gatehouse::archive::ImportOptions::default();
    new.inside.archive.import_from(&path, how, &options, &silent).await.unwrap();
    let admin = new.sign_in("root").await;
    admin.post(&format!("{}/restore", ann.path())).await.ok();
    new.inside.events.place().await.unwrap();
    let told = admin.get("/api/admin/events?limit=100").await.ok().json();
    let of_ann = told.as_array().unwrap().iter().filter(|event| event["user_id"] == ann.id.to_string());
    let types: Vec<&str> = of_ann.map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["user.created", "user.deleted", "user.restored"]);
}

#[tokio::test]
async fn what_is_there_already_stays_as_it_is() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    ann.patch(&ann.path()).json(&json!({"description": "gardens", "first_name": "Ann"})).await.ok();
    let content = exported(&admin).await;
    let same = dump(&app).await;
    let answer = send(&admin, "import", &content).await.is(200).json();
    assert_eq!(count(&answer, "users", "equal"), 2);
    assert_eq!(count(&answer, "users", "added"), 0);
    assert_eq!(dump(&app).await, same);

    ann.patch(&ann.path()).json(&json!({"description": "boats", "first_name": ""})).await.ok();
    let answer = send(&admin, "import", &content).await.is(200).json();
    assert_eq!(count(&answer, "users", "filled"), 1);
    let me = ann.me().await;
    assert_eq!((&me["description"], &me["first_name"]), (&json!("boats"), &json!("Ann")));
    assert_eq!(on_the_way(&app), 0);
}

#[tokio::test]
async fn an_account_that_was_removed_for_good_does_not_come_back() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let content = exported(&admin).await;
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    for how in ["import", "recover"] {
        let answer = send(&admin, how, &content).await.is(200).json();
        assert_eq!((count(&answer, "users", "added"), count(&answer, "users", "left_out")), (0, 1));
        assert!(count(&answer, "user_history", "left_out") >= 1);
    }
    app.try_sign_in("ann", PASSWORD).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn nobody_who_is_here_gets_another_way_to_sign_in() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let content = changed_by(
        &exported(&admin).await,
        "INSERT INTO external_accounts (id, provider, subject, user_id, created_at, updated_at) \
         SELECT randomblob(16), 'github', lower(hex(id)), id, 0, 0 FROM users; \
         INSERT INTO recovery_codes (user_id, digest) SELECT id, zeroblob(32) FROM users",
    );
    let answer = send(&admin, "import", &content).await.is(200).json();
    assert_eq!(count(&answer, "external_accounts", "left_out"), 2);
    assert_eq!(count(&answer, "recovery_codes", "left_out"), 2);
    ann.get("/api/user/me").await.ok();
    assert!(!dump(&app).await.contains("external_accounts"));
}

#[tokio::test]
async fn a_name_that_is_anothers_here_is_left_out_with_all_that_hangs_on_it() {
    let (old, new) = (TestApp::new().await, TestApp::new().await);
    old.user("ann").await;
    let content = exported(&*old.admin().await).await;
    let (here, admin) = (new.user("ann").await, new.admin().await);
    let answer = send(&admin, "import", &content).await.is(200).json();
    assert_eq!((count(&answer, "users", "added"), count(&answer, "users", "left_out")), (0, 2));
    assert!(answer["users"]["notes"][0].as_str().unwrap().contains("username"));
    assert_eq!(new.sign_in("ann").await.id, here.id);
    let same = dump(&new).await;
    send(&admin, "recover", &content).await.refused(422, "validation_failed");
    assert_eq!(dump(&new).await, same);
}

#[tokio::test]
async fn a_second_factor_that_no_secret_opens_is_refused_or_left_out() {
    let secret = ("JWT_SECRET_KEY", "another-secret-for-this-test-of-48-characters-xx");
    let (old, new) = (TestApp::new().await, TestApp::with_mail(&[secret]).await);
    let ann = old.user("ann").await;
    ann.enrol(&old).await;
    old.admin().await.patch(&ann.path()).json(&json!({"email_verified": true})).await.is(200);
    let content = exported(&*old.admin().await).await;
    let content = changed_by(
        &content,
        "UPDATE users SET username = 'toor', email = 'toor@example.com', \
        display_name = 'toor', search_name = 'toor' WHERE username = 'root'",
    );
    let admin = new.admin().await;
    let same = dump(&new).await;
    let refused = send(&admin, "import", &content).await;
    let problem = refused.refused(422, "validation_failed").json();
    assert!(problem["errors"][0]["field"].as_str().unwrap().starts_with("second_factors["), "{problem}");
    assert_eq!(dump(&new).await, same);
    assert!(new.letters_to("ann@example.com").await.is_empty(), "nothing has happened");

    let answer = send(&admin, "import?drop_second_factors=true", &content).await.is(200).json();
    assert_eq!(count(&answer, "second_factors", "left_out"), 1);
    // Whoever knows the password could sign in now: its owner is to know that.
    let told = new.mail_to("ann@example.com", "second-factor-changed").await;
    assert!(told.text.contains("turned off"), "{told:?}");
    send(&admin, "import?drop_second_factors=true", &content).await.is(200);
    assert_eq!(new.letters_to("ann@example.com").await, ["second-factor-changed"], "once");
    new.inside.events.place().await.unwrap();
    let events = admin.get("/api/admin/events?events=user.otp_changed").await.is(200).json();
    assert_eq!(events.as_array().unwrap().len(), 1, "{events}");
    assert_eq!(new.sign_in("ann").await.me().await["otp_method"], "none");
}

#[tokio::test]
async fn a_file_whose_bytes_are_not_here_is_left_out_and_said() {
    let (old, new) = (TestApp::new().await, TestApp::new().await);
    let ann = old.user("ann").await;
    let upload =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nx\r\n--B--\r\n";
    ann.post("/api/file").body("multipart/form-data; boundary=B", upload).await.is(201);
    let content = exported(&*old.admin().await).await;
    let answer = send(&*new.admin().await, "import", &content).await.is(200).json();
    assert_eq!((count(&answer, "files", "added"), count(&answer, "files", "left_out")), (0, 1));
    assert!(answer["files"]["notes"][0].as_str().unwrap().contains("bytes"), "{answer}");

    // Where the bytes are, the row comes back under its number.
    let admin = old.admin().await;
    let id = admin.get("/api/file/count").await.ok().json();
    assert_eq!(id, json!(1));
    let same = dump(&old).await;
    assert!(same.contains("\"table\":\"files\""));
}

#[tokio::test]
async fn rows_wait_until_nobody_sweeps_files() {
    let app = TestApp::new().await;
    let content = exported(&*app.admin().await).await;
    let folder = tempfile::tempdir().unwrap();
    let path = super::written(folder.path(), &content);
    let (begun, has_begun) = oneshot::channel();
    let (go, may_go) = oneshot::channel();
    let sweeping = app.inside.files.without_sweeping(|_| async move {
        begun.send(()).unwrap();
        may_go.await.unwrap();
    });
    let options = ImportOptions::default();
    let importing = async {
        has_begun.await.unwrap();
        let archive = &app.inside.archive;
        let mut import = Box::pin(archive.import_from(&path, How::Import, &options, &Progress::Silent));
        let early = tokio::time::timeout(Duration::from_secs(1), &mut import).await;
        assert!(early.is_err(), "{early:?}");
        go.send(()).unwrap();
        import.await.unwrap()
    };
    let (swept, counts) = tokio::join!(sweeping, importing);
    swept.unwrap();
    assert_eq!(counts["users"].equal, 1);
}

#[tokio::test]
async fn numbers_of_files_are_not_given_again() {
    let (old, new) = (TestApp::new().await, TestApp::new().await);
    let ann = old.user("ann").await;
    let upload = |name: &str| {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\nx\r\n--B--\r\n"
        )
    };
    let kind = "multipart/form-data; boundary=B";
    let mut last = 0;
    for name in ["a", "b", "c"] {
        let file = ann.post("/api/file").body(kind, upload(name)).await.is(201).json();
        last = file["id"].as_i64().unwrap();
        ann.delete(&format!("/api/file/{last}")).await.ok();
    }
    let content = exported(&*old.admin().await).await;
    send(&*new.admin().await, "import", &content).await.is(200);
    let file = new.sign_in("ann").await.post("/api/file").body(kind, upload("d")).await.is(201).json();
    assert_eq!(file["id"].as_i64().unwrap(), last + 1);
}

// The number behind the highest that is taken in is given here, and must be taken in again; behind the last there is none.
#[tokio::test]
async fn numbers_of_files_at_their_end_stop_nothing() {
    const HIGHEST: i64 = i64::MAX / 2;
    let form = |name: &str| {
        format!(
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\nx\r\n--B--\r\n"
        )
    };
    let kind = "multipart/form-data; boundary=B";
    for (number, becomes, next) in [
        (HIGHEST - 1, HIGHEST - 1, HIGHEST),
        (HIGHEST, HIGHEST, HIGHEST + 1),
        (HIGHEST + 1, 2, HIGHEST + 1),
        (i64::MAX, 2, HIGHEST + 1),
    ] {
        let app = TestApp::new().await;
        let (admin, ann) = (app.admin().await, app.user("ann").await);
        let linked = admin.put(&format!("{}/file", ann.path())).body(kind, form("a")).await.ok().json();
        assert_eq!(linked["id"], 1);
        let change = format!(
            "UPDATE files SET id = {number}; UPDATE file_links SET file_id = {number}; \
             UPDATE sqlite_sequence SET seq = {number} WHERE name = 'files'"
        );
        let content = changed_by(&exported(&admin).await, &change);
        forget_files(&app).await;
        let answer = send(&admin, "import", &content).await.is(200).json();
        assert_eq!((count(&answer, "files", "added"), count(&answer, "file_links", "added")), (1, 1));
        let file = ann.get(&format!("/api/file/{becomes}")).await.is(200).json();
        assert_eq!((&file["id"], &file["file_name"]), (&json!(becomes), &json!("a")), "{number}");
        let file = ann.post("/api/file").body(kind, form("b")).await.is(201).json();
        assert_eq!(file["id"], next, "{number}");

        // What is exported now comes back, and there is room behind it.
        let content = exported(&admin).await;
        forget_files(&app).await;
        let answer = send(&admin, "import", &content).await.is(200).json();
        assert_eq!(count(&answer, "files", "added"), 2, "{number}");
        ann.post("/api/file").body(kind, form("c")).await.is(201);
        assert_eq!(ann.get("/api/file/count").await.is(200).json(), 3, "{number}");
    }
}

/// Loses the rows of files; their bytes stay.
async fn forget_files(app: &TestApp) {
    for sql in ["DELETE FROM file_links", "DELETE FROM files"] {
        let act = app.inside.db.write::<_, DbErr, _>(move |tx| {
            Box::pin(async move { tx.execute_unprepared(sql).await.map(|_| ()) })
        });
        act.await.unwrap();
    }
}

// Whoever could write such a line would keep everybody's backups from being restored.
#[tokio::test]
async fn no_line_of_history_keeps_a_file_out() {
    let old = TestApp::new().await;
    let (ann, admin) = (old.user("ann").await, old.admin().await);
    let upload =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nx\r\n--B--\r\n";
    let file = ann.post("/api/file").body("multipart/form-data; boundary=B", upload).await.is(201).json();
    let sql = "UPDATE user_history SET description = char(64976) || 'a' || char(8238, 27) WHERE action = 'file_added'; \
               UPDATE files SET name = 'b' || char(64976) || '.txt'";
    let answer = send(&admin, "recover", &changed_by(&exported(&admin).await, sql)).await.is(200).json();
    assert_eq!(count(&answer, "user_history", "overwritten"), 1);
    assert_eq!(count(&answer, "files", "overwritten"), 1);
    let there = dump(&old).await;
    assert!(there.contains("\"description\":\"\u{FFFD}a\u{FFFD}\u{FFFD}\""), "{there}");
    assert!(there.contains("\"name\":\"b\u{FDD0}.txt\""), "a name from before stays: {there}");

    ann.delete(&format!("/api/file/{}", file["id"])).await.is(200);
    assert!(dump(&old).await.contains("\"description\":\"b\u{FFFD}.txt\""));
    let content = exported(&admin).await;
    let new = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = super::written(folder.path(), &content);
    let (how, silent) = (gatehouse::archive::How::Import, gatehouse::archive::Progress::Silent);
    let options = gatehouse::archive::ImportOptions::default();
    new.inside.archive.import_from(&path, how, &options, &silent).await.unwrap();
    assert_eq!(dump(&new).await, dump(&old).await);
}

// Added to, such a count would be an integer no more: no change, no event and no export would go on.
#[tokio::test]
async fn counts_at_their_end_stop_nothing() {
    let old = TestApp::new().await;
    old.user("ann").await;
    let highest = "UPDATE users SET token_version = 9223372036854775807, revision = 9223372036854775807, \
                   event_sequence = 9223372036854775807";
    let content = changed_by(&exported(&*old.admin().await).await, highest);
    let (how, silent) = (gatehouse::archive::How::Import, gatehouse::archive::Progress::Silent);
    let options = gatehouse::archive::ImportOptions::default();
    let folder = tempfile::tempdir().unwrap();
    let new = TestApp::new().await;
    let path = super::written(folder.path(), &content);
    new.inside.archive.import_from(&path, how, &options, &silent).await.unwrap();

    let (ann, admin) = (new.sign_in("ann").await, new.sign_in("root").await);
    ann.patch(&ann.path()).json(&json!({"description": "gardens"})).await.ok();
    admin.post(&format!("/api/admin/ban/{}", ann.id)).json(&json!({"reason": "spam"})).await.is(200);
    new.inside.events.place().await.unwrap();
    let told = admin.get("/api/admin/events?limit=20").await.ok().json();
    assert!(told.as_array().unwrap().iter().any(|event| event["event_type"] == "user.banned"), "{told}");

    // What has come further since is taken in all the same, and it can be recovered from.
    let content = exported(&admin).await;
    send(&admin, "recover", &content).await.is(200);
    let path = super::written(folder.path(), &content);
    let last = TestApp::new().await;
    last.inside.archive.import_from(&path, how, &options, &silent).await.unwrap();
    assert_eq!(dump(&last).await, dump(&new).await);
}
