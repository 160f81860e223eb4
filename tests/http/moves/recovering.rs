//! Putting everything back to what a file says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatehouse::archive::{How, ImportOptions, ImportRefusal, Progress};
use gatehouse::platform::db::{Order, Span};
use serde_json::json;

use super::{changed_by, count, dump, exported, on_the_way, send, written};
use crate::harness::{TestApp, race};

#[tokio::test]
async fn what_differs_is_overwritten_and_the_dump_is_that_of_the_file() {
    let app = TestApp::new().await;
    let (ann, ben, admin) = (app.user("ann").await, app.user("ben").await, app.admin().await);
    ann.patch(&ann.path()).json(&json!({"description": "gardens"})).await.ok();
    let (content, before) = (exported(&admin).await, dump(&app).await);

    admin.delete(&ben.path()).await.ok();
    let sql = "UPDATE users SET description = 'defaced', roles = 10 WHERE username = 'ann'";
    app.inside
        .db
        .write::<_, sea_orm::DbErr, _>(move |tx| {
            Box::pin(async move { sea_orm::ConnectionTrait::execute_unprepared(tx, sql).await.map(drop) })
        })
        .await
        .unwrap();
    assert_ne!(dump(&app).await, before);
    let answer = send(&admin, "recover", &content).await.is(200).json();
    assert_eq!(count(&answer, "users", "overwritten"), 2);
    let after = dump(&app).await;
    let of_the_file: Vec<&str> = before.lines().filter(|line| !after.contains(*line)).collect();
    assert!(of_the_file.is_empty(), "{of_the_file:?}");
    app.sign_in("ben").await;
}

#[tokio::test]
async fn a_way_in_that_comes_back_is_told_of() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let content = changed_by(
        &exported(&admin).await,
        "INSERT INTO external_accounts (id, provider, subject, user_id, created_at, updated_at) \
         SELECT X'019b76daa80070008000000000004711', 'github', '4711', id, 0, 0 FROM users WHERE username = 'ann'",
    );
    let answer = send(&admin, "recover", &content).await.is(200).json();
    assert_eq!(count(&answer, "external_accounts", "added"), 1);
    app.inside.events.place().await.unwrap();
    let told = admin.get("/api/admin/events?limit=100").await.ok().json();
    let linked: Vec<_> = told
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event_type"] == "user.account_linked")
        .collect();
    assert_eq!(linked.len(), 1, "{told}");
    assert_eq!((&linked[0]["user_id"], &linked[0]["data"]), (&json!(ann.id), &json!({"provider": "github"})));
}

#[tokio::test]
async fn whoever_signs_in_otherwise_afterwards_is_signed_out_and_nobody_else() {
    let app = TestApp::new().await;
    let (ann, ben, admin) = (app.user("ann").await, app.user("ben").await, app.admin().await);
    let content = exported(&admin).await;
    let content = changed_by(
        &content,
        "UPDATE users SET is_active = 0 WHERE username = 'ann'; \
        UPDATE users SET description = 'boats' WHERE username = 'ben'",
    );
    send(&admin, "recover", &content).await.is(200);
    ann.get("/api/user/me").await.is(401);
    app.post("/api/auth/token/refresh").json(&json!({"refresh_token": ann.refresh})).await.is(401);
    assert_eq!(ben.me().await["description"], "boats");
    admin.get("/api/user/me").await.ok();
}

#[tokio::test]
async fn nobody_changes_their_own_account_by_it() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (content, same) = (exported(&admin).await, dump(&app).await);
    for sql in [
        "UPDATE users SET is_active = 0 WHERE username = 'root'",
        "UPDATE users SET roles = 15 WHERE username = 'root'",
        "UPDATE users SET email = 'other@example.com' WHERE username = 'root'",
        "UPDATE users SET password_hash = NULL WHERE username = 'root'",
        "INSERT INTO recovery_codes (user_id, digest) SELECT id, zeroblob(32) FROM users",
    ] {
        let problem = send(&admin, "recover", &changed_by(&content, sql)).await;
        problem.refused(422, "validation_failed");
        assert_eq!(dump(&app).await, same, "{sql}");
    }
    assert_eq!(on_the_way(&app), 0);
}

#[tokio::test]
async fn an_admin_remains_whoever_asks() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (content, same) = (exported(&admin).await, dump(&app).await);
    let folder = tempfile::tempdir().unwrap();
    for sql in [
        "UPDATE users SET roles = 8",
        "UPDATE users SET is_active = 0",
        "UPDATE users SET password_hash = NULL",
        "UPDATE users SET deleted_at = 1",
    ] {
        let path = written(folder.path(), &changed_by(&content, sql));
        let options = ImportOptions::default();
        let done = app.inside.archive.import_from(&path, How::Recover, &options, &Progress::Silent).await;
        assert!(matches!(done, Err(ImportRefusal::LastAdmin)), "{sql}: {done:?}");
        assert_eq!(dump(&app).await, same, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn imports_exports_and_changes_at_once_leave_no_half_state() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for name in ["ben", "carl", "dora"] {
        app.user(name).await;
    }
    let content = exported(&admin).await;
    let replies = race(8, |nth| {
        let (admin, ann, content) = (admin.clone(), ann.clone(), content.clone());
        async move {
            match nth % 4 {
                0 => send(&admin, "import", &content).await,
                1 => send(&admin, "recover", &content).await,
                2 => admin.get("/api/db/export").await,
                _ => ann.patch(&ann.path()).json(&json!({"description": format!("{nth}")})).await,
            }
        }
    })
    .await;
    for reply in replies {
        assert!(matches!(reply.status(), 200 | 503), "{reply:?}");
    }
    let before = dump(&app).await;
    send(&admin, "recover", &exported(&admin).await).await.is(200);
    assert_eq!(dump(&app).await, before);
}

/// How often everything is put back while others take everything out.
const ROUNDS: i64 = 3;
/// People in the file: more than are read at once.
const PEOPLE: i64 = 1100;
/// Those of them who differ from file to file, and whom they have blocked.
const MARKED: &str = "username LIKE 'made%0' OR username LIKE 'made%5'";

/// A file in which those who are marked say this number, in two tables that are read one after the other.
fn of_round(content: &[u8], round: i64) -> Vec<u8> {
    let sql = format!(
        "UPDATE users SET description = '{round}' WHERE {MARKED}; UPDATE user_blocks SET created_at = {round}"
    );
    changed_by(content, &sql)
}

/// The number that all say who are marked: never two numbers in one file.
fn round_of(path: &Path) -> i64 {
    let file = rusqlite::Connection::open(path).unwrap();
    let said = format!(
        "SELECT CAST(description AS INTEGER) AS said FROM users WHERE {MARKED} \
         UNION ALL SELECT created_at FROM user_blocks"
    );
    let sql = format!("SELECT MIN(said), MAX(said), COUNT(*) FROM ({said})");
    let (least, most, number): (i64, i64, i64) =
        file.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    assert_eq!((most, number), (least, 2 * PEOPLE / 5), "half of a recovery is in {}", path.display());
    least
}

// A-165, F-33
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_exported_beside_a_recovery_is_before_or_after_it() {
    const PATIENCE: Duration = Duration::from_mins(2);
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let people = format!(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {PEOPLE}) \
         INSERT INTO users (id, username, display_name, search_name, description, email_verified, roles, is_active, \
         is_external_only, metadata, token_version, revision, created_at, updated_at, otp_method, event_sequence) \
         SELECT randomblob(16), 'made' || x, 'made' || x, 'made' || x, '0', 0, 8, 1, 0, '{{}}', 0, 0, 0, 0, 'none', 0 \
         FROM n; \
         INSERT INTO user_blocks (user_id, blocked_id, created_at) \
         SELECT users.id, root.id, 0 FROM users, users AS root WHERE root.username = 'root' AND (users.{})",
        MARKED.replace("OR username", "OR users.username")
    );
    let content = changed_by(&exported(&admin).await, &people);
    send(&admin, "import", &content).await.is(200);

    let mut meanwhile = 0;
    for round in 1..=ROUNDS {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let (file, archive, admin) = (of_round(&content, round), app.inside.archive.clone(), admin.clone());
        let over = Arc::new(AtomicBool::new(false));
        let seen = race(3, move |nth| {
            let (file, archive, admin) = (file.clone(), archive.clone(), admin.clone());
            let (folder, over) = (Arc::clone(&folder), Arc::clone(&over));
            async move {
                let (mut seen, begun) = (Vec::new(), Instant::now());
                if nth == 0 {
                    send(&admin, "recover", &file).await.is(200);
                    over.store(true, Ordering::SeqCst);
                    return seen;
                }
                // Not over HTTP: what is noted of that in the log of what staff did waits for the recovery's end.
                loop {
                    let was_over = over.load(Ordering::SeqCst);
                    let path = folder.path().join(format!("{nth}-{}.db", seen.len()));
                    archive.export_to(&path, &Progress::Silent).await.unwrap();
                    seen.push((round_of(&path), over.load(Ordering::SeqCst)));
                    if was_over {
                        return seen;
                    }
                    assert!(begun.elapsed() < PATIENCE, "the recovery does not end");
                }
            }
        })
        .await;
        for seen in &seen[1..] {
            let rounds: Vec<i64> = seen.iter().map(|(said, _)| *said).collect();
            assert!(
                rounds.is_sorted() && rounds.iter().all(|said| [round - 1, round].contains(said)),
                "{rounds:?}"
            );
            assert_eq!(rounds.last(), Some(&round), "what began after a recovery has it");
            meanwhile += seen.iter().filter(|(said, was_over)| *said < round && !was_over).count();
        }
    }
    assert!(meanwhile > 0, "nothing was exported while a recovery went on");
}

/// What the last import kept of what was there before.
fn kept(app: &TestApp) -> std::path::PathBuf {
    app.inside.config.server.data_dir.join("before-import.db")
}

#[tokio::test]
async fn an_import_that_is_refused_takes_nobodys_way_back() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let admin = app.admin().await;
    let (first, before) = (exported(&admin).await, dump(&app).await);
    let wrong = changed_by(&first, "UPDATE users SET description = 'wrong' WHERE username = 'ann'");
    send(&admin, "recover", &wrong).await.is(200);
    let way_back = std::fs::read(kept(&app)).unwrap();
    assert_ne!(dump(&app).await, before);

    // Refused while it is written: too late to be seen by looking at the file alone.
    let refused = changed_by(&first, "UPDATE users SET is_active = 0 WHERE username = 'root'");
    send(&admin, "recover", &refused).await.refused(422, "validation_failed");
    assert_eq!(std::fs::read(kept(&app)).unwrap(), way_back);
    assert!(!kept(&app).with_file_name("before-import.db.new").exists());

    // The way back is the very file that is to be replaced.
    let options = ImportOptions::default();
    let archive = &app.inside.archive;
    archive.import_from(&kept(&app), How::Recover, &options, &Progress::Silent).await.unwrap();
    assert_eq!(dump(&app).await, before);
    let there = exported_by(&kept(&app));
    assert!(there.contains("wrong"), "one can go back from going back: {there}");
    assert!(!kept(&app).with_file_name("before-import.db.new").exists());
}

/// The descriptions in a file.
fn exported_by(path: &std::path::Path) -> String {
    let file = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT COALESCE(group_concat(description), '') FROM users";
    file.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The rows of the log of what staff did that have this action.
async fn noted(app: &TestApp, action: &str) -> Vec<(Option<uuid::Uuid>, serde_json::Value)> {
    let filter = gatehouse::audit::Filter { action: Some(action.to_owned()), ..Default::default() };
    let span = Span { order: Order::Asc, after: None, offset: 0, limit: 2000 };
    let rows = app.inside.audit.list(&filter, &span).await.unwrap();
    let told = |row: &gatehouse::audit::Row| (row.subject_id, serde_json::from_str(&row.details).unwrap());
    rows.iter().map(told).collect()
}

#[tokio::test]
async fn whose_rights_it_changes_is_in_the_log_by_name() {
    let app = TestApp::new().await;
    let (ann, ben, admin) = (app.user("ann").await, app.user("ben").await, app.admin().await);
    let carl = app.made_by_admin("carl5", &["moderator", "user"]).await;
    let content = exported(&admin).await;
    let content = changed_by(
        &content,
        "UPDATE users SET roles = 9 WHERE username = 'ann'; UPDATE users SET roles = 12 WHERE username = 'ben'; \
         UPDATE users SET roles = 8 WHERE username = 'carl5'",
    );
    send(&admin, "recover", &content).await.is(200);
    let mut changed = noted(&app, "roles_recovered").await;
    changed.sort_by_key(|(user, _)| *user);
    let mut expected = [
        (Some(ann.id), json!({"from": "", "to": "admin", "active": true})),
        (Some(carl.id), json!({"from": "moderator", "to": "", "active": true})),
    ];
    expected.sort_by_key(|(user, _)| *user);
    assert_eq!(changed, expected, "and not {}, who is no staff", ben.id);
    let recovered = noted(&app, "database_recovered").await;
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
    let sum = gatehouse::platform::hexadecimal::written(sum.as_ref());
    assert_eq!(recovered[0].1["sha256"], json!(sum));
    assert_eq!(
        (&recovered[0].1["rights_changed"], &recovered[0].1["rights_not_named"]),
        (&json!(2), &json!(0))
    );

    // New accounts, in another server: those of staff are named.
    let new = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &content);
    let archive = &new.inside.archive;
    archive.import_from(&path, How::Import, &ImportOptions::default(), &Progress::Silent).await.unwrap();
    let imported: Vec<_> =
        noted(&new, "roles_imported").await.into_iter().filter_map(|(user, _)| user).collect();
    assert_eq!(imported.len(), 2, "root and ann");
    assert!(imported.contains(&ann.id) && !imported.contains(&ben.id));
    assert_eq!(new.inside.audit.verify(None).await.unwrap().flaw, None);
}

#[tokio::test]
async fn of_more_people_than_are_named_the_number_is_in_the_log() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let content = exported(&admin).await;
    let many = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1005) \
                INSERT INTO users (id, username, display_name, search_name, email_verified, roles, is_active, \
                is_external_only, metadata, token_version, revision, created_at, updated_at, otp_method, event_sequence) \
                SELECT randomblob(16), 'staff' || x, 'staff' || x, 'staff' || x, 0, 10, 1, 0, '{}', 0, 0, 0, 0, 'none', 0 \
                FROM n";
    send(&admin, "import", &changed_by(&content, many)).await.is(200);
    assert_eq!(noted(&app, "roles_imported").await.len(), 1000);
    let imported = &noted(&app, "database_imported").await[0].1;
    assert_eq!((&imported["rights_changed"], &imported["rights_not_named"]), (&json!(1005), &json!(5)));
}
