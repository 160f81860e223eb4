//! Databases of S1 that somebody has made to harm: refused with the row named, or without what they point at; and
//! nothing changes.

use std::os::unix::fs::symlink;

use super::s1::{notes, read_in};
use super::{ANN, BEN, blobs, dump, s1, with_files};
use crate::harness::TestApp;

#[tokio::test]
async fn what_s1_would_not_have_written_refuses_the_whole_file() {
    let app = TestApp::new().await;
    let same = dump(&app).await;
    for (sql, words) in [
        ("UPDATE users SET uuid = 'ann' WHERE username = 'ann_s1'", "users: row 1, uuid"),
        ("UPDATE users SET uuid = upper(uuid) || ' ' WHERE username = 'ann_s1'", "users: row 1, uuid"),
        ("UPDATE users SET roles = '[\"root\"]' WHERE username = 'ann_s1'", "users: row 1, roles"),
        ("UPDATE users SET roles = x'80035d' WHERE username = 'ann_s1'", "users: row 1, roles"),
        ("UPDATE users SET roles = '{\"admin\": true}'", "users: row 1, roles"),
        ("UPDATE users SET username = 'ANN_s1' WHERE username = 'ben_s1'", "users: row 2, username"),
        (
            "UPDATE users SET username = printf('%033d', 1) WHERE username = 'ben_s1'",
            "users: row 2, username",
        ),
        ("UPDATE users SET username = 'ben s1' WHERE username = 'ben_s1'", "users: row 2, username"),
        ("UPDATE users SET username = 'a@b' WHERE username = 'ben_s1'", "users: row 2, username"),
        ("UPDATE users SET username = x'616e6e' WHERE username = 'ben_s1'", "users: row 2, username"),
        ("UPDATE users SET email_verified = 2", "users: row 1, email_verified"),
        ("UPDATE users SET is_active = 'yes'", "users: row 1, is_active"),
        ("UPDATE users SET created_at = 1e300", "users: row 1, created_at"),
        ("UPDATE users SET created_at = -1", "users: row 1, created_at"),
        ("UPDATE users SET updated_at = 9223372036854775807", "users: row 1, updated_at"),
        ("UPDATE users SET otp_method = 'sms'", "users: row 1, otp_method"),
        ("UPDATE users SET user_history = '[[[['", "users: row 1, user_history"),
        (
            "UPDATE users SET user_history = replace(hex(zeroblob(60000)), '00', '[')",
            "users: row 1, user_history",
        ),
        ("UPDATE users SET blocked_uuids = '[1]'", "users: row 1, blocked_uuids"),
        ("UPDATE users SET description = zeroblob(1100000)", "too large"),
        (
            "UPDATE external_accounts SET external_account_id = char(10) WHERE provider = 'Google'",
            "external_accounts: row 1",
        ),
        ("DROP TABLE external_accounts", "external_accounts: it is not there"),
        ("ALTER TABLE users RENAME COLUMN roles TO permission", "users: it has no column roles"),
        (
            "ALTER TABLE users RENAME TO people; CREATE TABLE users AS SELECT uuid FROM people",
            "users: it has no column username",
        ),
        (
            "ALTER TABLE files RENAME TO f; CREATE VIEW files AS WITH RECURSIVE c(x) AS \
             (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id FROM c",
            "a view, a trigger or a virtual table, as S1 does not: files",
        ),
        (
            "ALTER TABLE users DROP COLUMN description; \
             ALTER TABLE users ADD COLUMN description TEXT GENERATED ALWAYS AS (hex(zeroblob(1000000)))",
            "a computed column, as S1 does not: users.description",
        ),
        (
            "DROP TABLE files; PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES ('table', 'more', 'more', 0, 'CREATE VIRTUAL TABLE more USING fts5(x)'); \
             INSERT INTO sqlite_master VALUES ('table', 'files', 'files', 0, 'CREATE VIRTUAL TABLE files USING fts5(x)'); \
             PRAGMA writable_schema = OFF",
            "a virtual table, as S1 does not: more",
        ),
        ("CREATE TRIGGER more AFTER INSERT ON users BEGIN DELETE FROM users; END", "a trigger"),
        ("CREATE INDEX more ON users (lower(username))", "an index over an expression"),
        ("CREATE INDEX more ON users (username) WHERE username GLOB '*a*'", "over some rows only"),
        ("CREATE TABLE junk (a, b, c AS (a GLOB b))", "a computed column, as S1 does not: junk.c"),
        ("CREATE TABLE junk (a, b); CREATE INDEX more ON junk (a GLOB b)", "an index over an expression"),
        (
            "UPDATE users SET username = 'ann_s1' || char(8203) WHERE username = 'ben_s1'",
            "users: row 2, username",
        ),
        (
            "UPDATE users SET username = char(8238) || '1s_nna' WHERE username = 'ben_s1'",
            "users: row 2, username",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s1.db");
        let database = s1(&path);
        database
            .execute_batch(&format!("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; {sql}"))
            .unwrap();
        database.close().unwrap();
        let refusal = read_in(&app, &path, None).await.expect_err(sql).to_string();
        assert!(refusal.contains(words), "{sql}\n{refusal}");
        assert_eq!(dump(&app).await, same, "{sql}");
    }
}

#[tokio::test]
async fn what_a_file_says_of_its_own_rows_is_not_computed() {
    let app = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s1.db");
    let database = s1(&path);
    // Each row costs seconds where somebody computes it.
    let sql = "PRAGMA ignore_check_constraints = ON; CREATE TABLE junk (a, b, CHECK (a NOT GLOB b)); \
               WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20) \
               INSERT INTO junk SELECT replace(hex(zeroblob(100000)), '00', 'aa'), \
               '*a' || replace(hex(zeroblob(3000)), '00', '??') || 'b' FROM n";
    database.execute_batch(sql).unwrap();
    database.close().unwrap();
    let begun = std::time::Instant::now();
    read_in(&app, &path, None).await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn large_rows_come_over_a_few_at_a_time() {
    let app = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s1.db");
    let database = s1(&path);
    let line = r#"{"time": "2024-12-10 12:42:18 UTC", "action": "a", "description": "@", "by": null}"#;
    let line = line.replace('@', &"x".repeat(400));
    let history = format!("[{}]", vec![line; 2000].join(", "));
    database.execute("UPDATE users SET user_history = ?1", [&history]).unwrap();
    let more = "INSERT INTO users SELECT substr(uuid, 1, 34) || (SELECT printf('%02x', n.x)), 'more_' || n.x, \
                'more_' || n.x, 'more' || n.x || '@example.com', 0, hashed_password, 'none', NULL, roles, NULL, created_at, \
                updated_at, 0, 1, user_history, NULL, '[]' FROM users, \
                (SELECT 16 AS x UNION ALL SELECT 17 UNION ALL SELECT 18 UNION ALL SELECT 19) AS n WHERE username = 'ann_s1'";
    database.execute_batch(more).unwrap();
    database.close().unwrap();
    let counts = read_in(&app, &path, None).await.unwrap();
    assert_eq!((counts["users"].added, counts["user_history"].added), (7, 14_000));
}

#[tokio::test]
async fn a_file_cut_short_or_torn_is_refused() {
    let app = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s1.db");
    s1(&path).close().unwrap();
    let good = std::fs::read(&path).unwrap();
    let mut torn = good.clone();
    let middle = torn.len() / 2;
    torn[middle..].fill(0xA5);
    for bad in [&good[..0], &good[..100], &good[..good.len() / 2], &torn] {
        std::fs::write(&path, bad).unwrap();
        read_in(&app, &path, None).await.unwrap_err();
        assert_eq!(dump(&app).await, "");
    }
}

#[tokio::test]
async fn paths_that_lead_out_of_the_folder_bring_nothing() {
    let app = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, root) = (folder.path().join("s1.db"), folder.path().join("app"));
    let database = s1(&path);
    with_files(&database, &root);
    std::fs::write(folder.path().join("secret"), "canary").unwrap();
    symlink(folder.path().join("secret"), root.join("link")).unwrap();
    symlink(folder.path(), root.join("up")).unwrap();
    let absolute = folder.path().join("secret").display().to_string();
    let paths =
        ["../secret", "data/../../secret", "/etc/passwd", &absolute, "link", "up/secret", "data", "gone", ""];
    for (number, bad) in (100..).zip(paths) {
        let row = "INSERT INTO files VALUES (?1, ?1 || '.txt', 'txt', ?2, NULL, 1733834600, ?3)";
        database.execute(row, rusqlite::params![number, bad, ANN]).unwrap();
    }
    let stray =
        "INSERT INTO files VALUES (200, 'x', 'x', 'data', NULL, 1, '0193b1a0-0000-7000-8000-0000000000ff')";
    database.execute_batch(&format!("PRAGMA foreign_keys = OFF; {stray}")).unwrap();
    database.close().unwrap();
    let counts = read_in(&app, &path, Some(&root)).await.unwrap();
    assert_eq!((counts["files"].added, blobs(&app).await), (2, 2));
    let notes = notes(&counts);
    for number in 100..109 {
        assert!(notes.contains(&format!("file {number} ({number}.txt) is left out")), "{number}\n{notes}");
    }
    assert!(notes.contains("file 200 (x) is left out: it is nobody's"), "{notes}");
    assert!(
        notes.contains("file 100 (100.txt) is left out: its path leads out of the files' folder"),
        "{notes}"
    );
}

#[tokio::test]
async fn what_is_refused_after_its_bytes_came_leaves_none_behind() {
    let app = TestApp::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, root) = (folder.path().join("s1.db"), folder.path().join("app"));
    let database = s1(&path);
    with_files(&database, &root);
    let wrong = "INSERT INTO files VALUES (-1, 'x.txt', 'txt', 'x', NULL, 1, ?1)";
    database.execute(wrong, [BEN]).unwrap();
    database.execute("INSERT INTO files VALUES (9, 'y.txt', 'txt', 'x', NULL, -1, ?1)", [BEN]).unwrap();
    database.close().unwrap();
    read_in(&app, &path, Some(&root)).await.unwrap_err();
    assert_eq!((blobs(&app).await, dump(&app).await), (0, String::new()));
    // A file below 0 comes first; behind good ones, bytes have come already.
    rusqlite::Connection::open(&path).unwrap().execute("DELETE FROM files WHERE id = -1", []).unwrap();
    read_in(&app, &path, Some(&root)).await.unwrap_err();
    assert_eq!((blobs(&app).await, dump(&app).await), (0, String::new()));
}
