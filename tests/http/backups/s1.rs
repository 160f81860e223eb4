//! A database of S1 comes over.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use gatehouse::archive::{Counts, How, ImportOptions, ImportRefusal, Progress};
use sea_orm::{ConnectionTrait, DbErr, Statement};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{ANN, BEN, CARL, S1_PASSWORD, blobs, dump, s1, with_files};
use crate::harness::{Actor, PASSWORD, TestApp};

pub(super) async fn read_in(
    app: &TestApp,
    path: &Path,
    root: Option<&Path>,
) -> Result<Counts, ImportRefusal> {
    let options = ImportOptions { files_root: root.map(Path::to_path_buf), ..ImportOptions::default() };
    app.inside.archive.import_from(path, How::Import, &options, &Progress::Silent).await
}

pub(super) fn notes(counts: &Counts) -> String {
    counts["s1"].notes.join("\n")
}

/// The stored hash of somebody's password.
async fn hash_of(app: &TestApp, name: &str) -> Option<String> {
    let db = app.inside.db.reader();
    let sql = "SELECT password_hash FROM users WHERE username = $1";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [name.into()]);
    db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

async fn signed_in(app: &TestApp, name: &str) -> Actor {
    let reply = app.try_sign_in(name, S1_PASSWORD).await;
    Actor::with_tokens(app, name, &reply.is(200).json())
}

#[tokio::test]
async fn people_files_and_history_come_over_and_people_sign_in_as_before() {
    let app = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, root) = (folder.path().join("s1.db"), folder.path().join("app"));
    let database = s1(&path);
    with_files(&database, &root);
    database.close().unwrap();
    let counts = read_in(&app, &path, Some(&root)).await.unwrap();
    let added = |table: &str| counts[table].added;
    assert_eq!((added("users"), added("user_history"), added("user_blocks")), (3, 2, 1));
    assert_eq!((added("files"), added("file_links"), added("external_accounts")), (2, 1, 1));

    assert!(hash_of(&app, "ann_s1").await.unwrap().starts_with("$2b$04$"));
    let ann = signed_in(&app, "ann_s1").await;
    assert!(hash_of(&app, "ann_s1").await.unwrap().starts_with("$argon2id$"), "hashed anew");
    app.try_sign_in("ann_s1", S1_PASSWORD).await.is(200);
    app.try_sign_in("ann_s1", PASSWORD).await.refused(401, "invalid_credentials");

    let me = ann.me().await;
    assert_eq!(me["uuid"], ANN);
    assert_eq!(me["display_name"], "Ann S1");
    assert_eq!((&me["email"], &me["email_verified"]), (&json!("ann@example.com"), &json!(true)));
    assert_eq!(me["roles"], json!(["admin", "user"]));
    assert_eq!((&me["created_at"], &me["otp_method"]), (&json!(1_733_834_538), &json!("none")));
    assert_eq!(me["blocked_uuids"], json!([BEN]));
    let history = me["user_history"].as_array().unwrap();
    let line = |action: &str| history.iter().find(|line| line["action"] == action).unwrap();
    assert_eq!((&line("created")["time"], &line("created")["by"]), (&json!(1_733_834_538), &json!(ANN)));
    assert_eq!(
        (&line("updated")["description"], &line("updated")["by"]),
        (&json!("New description"), &json!(BEN))
    );

    assert_eq!(ann.get("/api/file/7/file").await.is(200).text(), "Dear Sirs");
    let letter = ann.get("/api/file/7").await.is(200).json();
    assert_eq!((&letter["file_name"], &letter["description"]), (&json!("letter.txt"), &json!("A letter")));
    assert_eq!(me["profile_picture"]["id"], 8);
    let picture = ann.get(&format!("/api/user/{ANN}/image")).await;
    let picture = image::load_from_memory(picture.is(200).bytes()).unwrap();
    assert_eq!((picture.width(), picture.height()), (512, 256), "made one of ours");

    let ben = ann.get(&format!("/api/user/{BEN}/details")).await.is(200).json();
    assert_eq!((&ben["display_name"], &ben["is_external_only"]), (&json!("ben_s1"), &json!(true)));
    assert_eq!(ben["external_accounts"][0]["external_account_id"], "10769150350006150715113");
    assert_eq!(ben["external_accounts"][0]["provider"], "google");
    assert_eq!(hash_of(&app, "ben_s1").await, None);

    let carl = signed_in(&app, "CARL").await.me().await;
    assert_eq!((&carl["uuid"], &carl["username"]), (&json!(CARL), &json!("carl")));
    assert_eq!((&carl["email"], &carl["roles"]), (&json!(null), &json!(["user"])));

    let notes = notes(&counts);
    for words in [
        "carl: the user name `Carl` is outside of the rule; it is kept as carl",
        "carl: left without an address",
        "carl: has no role in S1",
        "ann_s1: the second factor does not come along",
        "ben_s1: the display name does not fit",
        "1 line(s) of history without a moment",
        "3 entries of the block list name nobody",
        "the account at myspace is left out",
    ] {
        assert!(notes.contains(words), "{words}\n{notes}");
    }
    assert!(
        !dump(&app).await.contains("-canary") && !notes.contains("-canary"),
        "tokens of providers stay away"
    );
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let app = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, root) = (folder.path().join("s1.db"), folder.path().join("app"));
    with_files(&s1(&path), &root);
    read_in(&app, &path, Some(&root)).await.unwrap();
    let (same, kept) = (dump(&app).await, blobs(&app).await);
    assert_eq!(kept, 2);
    let counts = read_in(&app, &path, Some(&root)).await.unwrap();
    assert!(counts.values().all(|rows| rows.added + rows.filled + rows.overwritten == 0), "{counts:?}");
    assert_eq!(counts["files"].equal, 2);
    assert_eq!((dump(&app).await, blobs(&app).await), (same.clone(), kept));
    let options = ImportOptions { files_root: Some(root.clone()), ..ImportOptions::default() };
    let archive = &app.inside.archive;
    archive.import_from(&path, How::Recover, &options, &Progress::Silent).await.unwrap();
    assert_eq!((dump(&app).await, blobs(&app).await), (same, kept));
}

#[tokio::test]
async fn without_their_folder_files_are_left_out_and_it_is_said() {
    let app = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, root) = (folder.path().join("s1.db"), folder.path().join("app"));
    with_files(&s1(&path), &root);
    let counts = read_in(&app, &path, None).await.unwrap();
    assert_eq!((counts["users"].added, counts["files"].added, blobs(&app).await), (3, 0, 0));
    assert!(notes(&counts).contains("2 file(s) are left out"), "{}", notes(&counts));
}

#[tokio::test]
async fn an_admin_hands_it_in_over_http() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s1.db");
    s1(&path).close().unwrap();
    let head = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../s1.db\"\r\n\r\n";
    let body = [&head[..], &std::fs::read(&path).unwrap(), b"\r\n--B--\r\n"].concat();
    let reply = admin.post("/api/db/import").body("multipart/form-data; boundary=B", body).await;
    let answer = reply.is(200).json();
    assert_eq!(answer["users"]["added"], 3);
    assert!(answer["s1"]["notes"].to_string().contains("second factor"), "{answer}");
    signed_in(&app, "ann_s1").await;
    let left: Vec<_> = super::names(&app.inside.config.server.data_dir);
    assert!(!left.iter().any(|name| name.starts_with(".gatehouse-")), "{left:?}");
}

#[tokio::test]
async fn whose_second_factor_stayed_behind_is_told_once() {
    let app = TestApp::with(&[("EMAIL_METHOD", "inbox")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s1.db");
    let database = s1(&path);
    database.execute("UPDATE users SET otp_method = 'email' WHERE uuid = ?1", [BEN]).unwrap();
    database.close().unwrap();
    read_in(&app, &path, None).await.unwrap();
    read_in(&app, &path, None).await.unwrap();
    assert_eq!(letters(&app).await, [to_ann()]);
    let ann = signed_in(&app, "ann_s1").await;
    let ben = ann.get(&format!("/api/user/{BEN}/details")).await.is(200).json();
    assert_eq!(ben["otp_method"], "email", "codes by mail need no secret");
}

#[tokio::test]
async fn whose_second_factor_a_recovery_turns_off_is_told() {
    let app = TestApp::with(&[("EMAIL_METHOD", "inbox")]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s1.db");
    s1(&path).close().unwrap();
    read_in(&app, &path, None).await.unwrap();
    let sql = "UPDATE users SET otp_method = 'email' WHERE username = 'ann_s1'";
    let db = &app.inside.db;
    let enrolled = db
        .write::<_, DbErr, _>(move |tx| async move { tx.execute_unprepared(sql).await.map(|_| ()) }.boxed());
    enrolled.await.unwrap();
    assert_eq!(letters(&app).await, [to_ann()], "as the import told");
    for _ in 0..2 {
        let options = ImportOptions::default();
        let recovered = app.inside.archive.import_from(&path, How::Recover, &options, &Progress::Silent);
        recovered.await.unwrap();
        assert_eq!(letters(&app).await, [to_ann(), to_ann()]);
    }
}

fn to_ann() -> (String, String) {
    ("ann@example.com".to_owned(), "second-factor-changed".to_owned())
}

/// Whom the program writes to, and what.
async fn letters(app: &TestApp) -> Vec<(String, String)> {
    let db = app.inside.db.reader();
    let sql = "SELECT recipient, letter FROM mails";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap())).collect()
}

/// Whether the people of S1 are here.
async fn has_come(app: &TestApp) -> bool {
    let db = app.inside.db.reader();
    let sql = "SELECT COUNT(*) FROM users WHERE username = 'ann_s1'";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows[0].try_get_by_index::<i64>(0).unwrap() == 1
}

/// Whether somebody keeps others from sweeping files.
async fn is_leased(app: &TestApp) -> bool {
    let db = app.inside.db.reader();
    let sql = "SELECT COUNT(*) FROM leases WHERE name = 'file sweep'";
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    rows[0].try_get_by_index::<i64>(0).unwrap() == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_leaves_keeps_nobody_waiting() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s1.db");
    let database = s1(&path);
    // Enough for the client to leave in the middle.
    let line = r#"{"time": "2024-12-10 12:42:18 UTC", "action": "a", "description": "b", "by": null}"#;
    let history = format!("[{}]", vec![line; 5000].join(", "));
    database.execute("UPDATE users SET user_history = ?1", [&history]).unwrap();
    database.close().unwrap();
    let head = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"s1.db\"\r\n\r\n";
    let body = [head.as_bytes(), &std::fs::read(&path).unwrap(), b"\r\n--B--\r\n"].concat();
    let mut socket = TcpStream::connect(app.base().strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /api/db/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {}\r\n\r\n",
        admin.access,
        body.len()
    );
    socket.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let begun = Instant::now();
    // Where this test stands still meanwhile, it may have come to its end.
    while !is_leased(&app).await && !has_come(&app).await {
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not begin");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(socket);
    let left = Instant::now();
    while is_leased(&app).await {
        assert!(left.elapsed() < Duration::from_mins(1), "it is kept by nobody");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(dump(&app).await.contains("ann_s1"), "what was begun was finished");
    let reply = admin.post("/api/db/import").body("multipart/form-data; boundary=B", body).await;
    assert_eq!(reply.is(200).json()["users"]["equal"], 3);
}
