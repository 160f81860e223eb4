//! Putting everything back to what a file says.

use gatehouse::archive::{How, ImportOptions, ImportRefusal, Progress};
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
