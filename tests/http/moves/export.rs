//! What an export holds, and what not.

use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{dump, exported, on_the_way, written};
use crate::harness::{PASSWORD, Storage, TestApp, race};

const SECRET: &str = "Vq3xN8mLk2TzRw7cYbJ5hD9gPs4fUeA6";

fn opened(folder: &tempfile::TempDir, content: &[u8]) -> Connection {
    Connection::open(written(folder.path(), content)).unwrap()
}

fn number(file: &Connection, sql: &str) -> i64 {
    file.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn it_is_a_whole_database_of_gatehouse_without_sessions() {
    let app = TestApp::new().await;
    let (ann, ben) = (app.user("ann").await, app.user("ben").await);
    ann.patch(&ann.path()).json(&json!({"description": "gardens"})).await.ok();
    let folder = tempfile::tempdir().unwrap();
    let admin = app.admin().await;

    let reply = admin.get("/api/db/export").await;
    reply.is(200);
    assert_eq!(reply.header("content-type"), Some("application/vnd.sqlite3"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-length"), Some(reply.bytes().len().to_string().as_str()));
    let file = opened(&folder, reply.bytes());
    let check: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    assert_eq!(number(&file, "SELECT COUNT(*) FROM users"), 3);
    assert_eq!(number(&file, "SELECT COUNT(*) FROM users WHERE description = 'gardens'"), 1);
    assert!(number(&file, "SELECT COUNT(*) FROM user_history") >= 4);
    for empty in ["sessions", "signing_keys", "throttles", "events", "mails", "webhooks"] {
        assert_eq!(number(&file, &format!("SELECT COUNT(*) FROM {empty}")), 0, "{empty}");
    }
    assert_eq!(on_the_way(&app), 0, "the file is gone with the answer");
    ben.get("/api/user/me").await.ok();
}

#[tokio::test]
async fn the_method_of_older_clients_gives_the_same() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (get, post) = (exported(&admin).await, admin.post("/api/db/export").await);
    assert_eq!(get, post.is(200).bytes());
}

#[tokio::test]
async fn it_needs_a_fresh_proof_of_who_one_is() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.clock.advance(Duration::from_mins(11));
    admin.get("/api/db/export").await.refused(401, "reauthentication_required");
    for what in ["import", "recover"] {
        super::send(&admin, what, b"x").await.refused(401, "reauthentication_required");
    }
    admin.post("/api/auth/reauthenticate").json(&json!({"password": PASSWORD})).await.ok();
    admin.get("/api/db/export").await.is(200);
}

// What staff takes out is noted: each export once, with whoever took it, and none that was refused.
#[tokio::test]
async fn it_is_noted_who_took_it() {
    let (storage, folder) = (Storage::fresh(), tempfile::tempdir().unwrap());
    let settings = [("JWT_SECRET_KEY", SECRET), ("DATABASE_URI", storage.uri())];
    let app = TestApp::with(&settings).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let noted = async || {
        let reply = admin.get("/api/admin/audit?order=asc&action=database_exported").await;
        let entries = reply.is(200).json().as_array().unwrap().clone();
        assert!(entries.iter().all(|entry| entry["subject_type"] == "database"), "{entries:?}");
        entries.iter().map(|entry| entry["actor"].clone()).collect::<Vec<_>>()
    };
    ann.get("/api/db/export").await.refused(403, "forbidden");
    app.get("/api/db/export").await.refused(401, "token_invalid");
    assert_eq!(noted().await, Vec::<Value>::new());
    admin.get("/api/db/export").await.is(200);
    assert_eq!(noted().await, [json!(admin.id)]);
    admin.post("/api/db/export").await.is(200);
    assert_eq!(noted().await, [json!(admin.id), json!(admin.id)]);
    let by_hand = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
        .args(["export", "all.db"])
        .current_dir(&folder)
        .env_clear()
        .envs(settings)
        .env("DATA_DIR", folder.path().join("data"))
        .output()
        .unwrap();
    assert!(by_hand.status.success(), "{by_hand:?}");
    assert_eq!(noted().await, [json!(admin.id), json!(admin.id), Value::Null]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_at_once_while_people_write_are_each_consistent() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let (exporters, writer) = (admin.clone(), ann.clone());
    let replies = race(10, move |nth| {
        let (admin, ann) = (exporters.clone(), writer.clone());
        async move {
            if nth % 2 == 0 {
                return Some(exported(&admin).await);
            }
            for change in 0..10 {
                let change = json!({"description": format!("{nth} {change}")});
                ann.patch(&ann.path()).json(&change).await.ok();
            }
            None
        }
    })
    .await;
    for content in replies.into_iter().flatten() {
        let folder = tempfile::tempdir().unwrap();
        let file = opened(&folder, &content);
        let check: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        // A description and its line of history were written together.
        let changes = number(&file, "SELECT revision FROM users WHERE username = 'ann'");
        let sql = "SELECT COUNT(*) FROM user_history WHERE action = 'updated'";
        let first = number(&file, "SELECT MIN(revision) FROM users WHERE username = 'root'");
        assert_eq!(number(&file, sql), changes - first, "no half of a change");
    }
    assert_eq!(on_the_way(&app), 0);
}

#[tokio::test]
async fn no_secret_is_in_it_in_clear() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let (authenticator, codes) = ann.enrol(&app).await;
    let content = exported(&admin).await;
    let seed = url::Url::parse(&authenticator.uri).unwrap();
    let seed = seed.query_pairs().find(|(name, _)| name == "secret").unwrap().1.into_owned();
    let mut secrets = vec![PASSWORD.as_bytes().to_vec(), ann.refresh.clone().into_bytes(), of_base32(&seed)];
    secrets.push(seed.into_bytes());
    secrets.extend(codes.into_iter().map(String::into_bytes));
    for secret in secrets {
        assert!(secret.len() > 8, "there is something to be found");
        assert!(!content.windows(secret.len()).any(|window| window == secret), "a secret is in the file");
    }
    assert!(dump(&app).await.contains("sealed_seed"), "the seed travels, sealed");
}

/// The bytes of RFC 4648, 6, without padding.
fn of_base32(text: &str) -> Vec<u8> {
    let digits = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' => byte - b'A',
        _ => byte - b'2' + 26,
    });
    let bits: Vec<u8> = digits.flat_map(|digit| (0..5).rev().map(move |bit| digit >> bit & 1)).collect();
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}
