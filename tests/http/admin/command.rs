//! `gatehouse audit verify`, as an operator runs it.

use std::process::{Command, Output};

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Storage, TestApp};

const SECRET: &str = "Vq3xN8mLk2TzRw7cYbJ5hD9gPs4fUeA6";

/// Runs it on this database; with an end that was noted.
fn verify(storage: &Storage, folder: &TempDir, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["audit", "verify"])
        .args(more)
        .current_dir(folder)
        .env_clear()
        .envs([("JWT_SECRET_KEY", SECRET), ("DATABASE_URI", storage.uri())])
        .env("DATA_DIR", folder.path().join("data"))
        .output()
        .unwrap()
}

#[tokio::test]
async fn its_exit_code_tells_whether_the_log_is_whole() {
    let (storage, folder) = (Storage::fresh(), tempfile::tempdir().unwrap());
    let run = |more: &[&str]| {
        let output = verify(&storage, &folder, more);
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code(), text)
    };
    // There is no schema yet.
    assert_ne!(run(&[]).0, Some(0));
    let settings = [("JWT_SECRET_KEY", SECRET), ("DATABASE_URI", storage.uri())];
    let app = TestApp::with(&settings).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for text in ["one", "two"] {
        admin.patch(&ann.path()).json(&json!({"description": text})).await.is(200);
    }
    let (code, text) = run(&[]);
    assert_eq!(code, Some(0), "{text}");
    let told = text.split("3 rows are as they were written; the last is ").nth(1);
    let head = told.unwrap_or_else(|| panic!("{text}")).lines().next().unwrap().to_owned();
    assert!(head.starts_with("3:"), "{head}");
    assert_eq!(run(&["--head", &head]).0, Some(0));
    let other = format!("2:{}", "0".repeat(64));
    let (code, text) = run(&["--head", &other]);
    assert_eq!(code, Some(65), "{text}");
    assert_eq!(run(&["--head", "x"]).0, Some(2));
    let act = app.inside.db.write::<_, DbErr, _>(|tx| {
        Box::pin(async move {
            let change = "UPDATE audit_log SET details = '{}' WHERE number = 2";
            tx.execute_unprepared(change).await.map(|_| ())
        })
    });
    act.await.unwrap();
    let (code, text) = run(&[]);
    assert_eq!(code, Some(65), "{text}");
    assert!(text.contains("row 2 is not as it was written") && text.contains("good, up to 1:"), "{text}");
}
