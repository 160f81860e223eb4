//! Files of somebody who means no good: each is refused within seconds, and nothing has changed.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{changed, changed_by, dump, exported, on_the_way, send};
use crate::harness::{Actor, TestApp};

/// Nothing may take longer.
const SOON: Duration = Duration::from_secs(10);

/// Hands a file in, as an import and for recovery; what was said of it.
async fn refuse(app: &TestApp, admin: &Actor, what: &str, content: &[u8]) -> String {
    let same = dump(app).await;
    let mut said = String::new();
    for how in ["import", "recover"] {
        let begun = Instant::now();
        let reply = send(admin, how, content).await;
        assert!(begun.elapsed() < SOON, "{what}: {:?}", begun.elapsed());
        assert_eq!(reply.status(), 422, "{what}: {reply:?}");
        assert_eq!(dump(app).await, same, "{what}");
        assert_eq!(on_the_way(app), 0, "{what}");
        reply.json()["detail"].as_str().unwrap().clone_into(&mut said);
    }
    said
}

/// A database that holds only what this SQL makes.
fn made(sql: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection.close().unwrap();
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_refused() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let good = exported(&admin).await;
    let endless = "CREATE VIEW users AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) \
                   SELECT max(x) AS uuid FROM c";
    let columns: Vec<String> = (0..2000).map(|number| format!("c{number}")).collect();
    let mut later = good.clone();
    later[16..18].copy_from_slice(&[0x20, 0]);
    let mut torn = good.clone();
    let middle = torn.len() / 2;
    torn[middle..].fill(0xA5);
    let mut with_wal = good.clone();
    with_wal[18..20].copy_from_slice(&[9, 9]);
    for (what, content) in [
        ("nothing", Vec::new()),
        ("a letter", b"Dear Sirs".to_vec()),
        ("noise", (0..1_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()),
        ("an endless view (8.3)", made(endless)),
        ("another program's", made("CREATE TABLE users (id INTEGER, name TEXT)")),
        ("2000 columns", made(&format!("CREATE TABLE users ({})", columns.join(", ")))),
        ("the beginning", good[..good.len() / 3].to_vec()),
        ("a hundred bytes", good[..100].to_vec()),
        ("a page size of another file", later),
        ("torn pages", torn),
        ("an unknown format", with_wal),
    ] {
        refuse(&app, &admin, what, &content).await;
    }
}

#[tokio::test]
async fn whatever_is_added_to_the_schema_is_refused() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let good = exported(&admin).await;
    for sql in [
        "CREATE VIEW more AS SELECT 1",
        "CREATE TRIGGER more AFTER INSERT ON users BEGIN DELETE FROM users; END",
        "CREATE TABLE more (x)",
        // Of a module that ours has not.
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_master VALUES ('table', 'more', 'more', 0, 'CREATE VIRTUAL TABLE more USING fts5(x)'); PRAGMA writable_schema = OFF",
        "CREATE INDEX more ON users (length(username))",
        "ALTER TABLE users ADD COLUMN more TEXT",
        "ALTER TABLE users ADD COLUMN more TEXT GENERATED ALWAYS AS (hex(zeroblob(1000000)))",
        "ALTER TABLE users RENAME COLUMN locale TO language",
        "ALTER TABLE users RENAME TO people",
        "DROP TABLE user_history",
        "DROP INDEX users_username",
        "DROP TABLE users; CREATE VIEW users AS WITH RECURSIVE c(x) AS \
         (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id FROM c",
        "DELETE FROM schema_steps WHERE name = 'm0005_one_time_tokens'",
        "DELETE FROM schema_steps",
        "UPDATE schema_steps SET name = 'x'' OR 1' WHERE position = 1",
    ] {
        refuse(&app, &admin, sql, &changed_by(&good, sql)).await;
    }
    let newer = "INSERT INTO schema_steps VALUES ('m9999_later', '9.0.0', 9999)";
    let said = refuse(&app, &admin, newer, &changed_by(&good, newer)).await;
    assert!(said.contains("newer") && said.contains("m9999_later"), "{said}");
}

#[tokio::test]
async fn a_row_that_is_not_as_it_must_be_is_named() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let upload =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nx\r\n--B--\r\n";
    ann.post("/api/file").body("multipart/form-data; boundary=B", upload).await.is(201);
    let good = exported(&admin).await;
    let other = "INSERT INTO users SELECT randomblob(16), 'other', 'other', 'other', 'ANN@example.com', 1, first_name, \
                 last_name, middle_name, description, locale, password_hash, password_changed_at, roles, is_active, \
                 is_external_only, metadata, 0, 0, 0, 0, NULL, 'none', NULL, 0 FROM users WHERE username = 'ann'";
    let whose = "WHERE username = 'ann'";
    for (column, sql) in [
        ("users", format!("UPDATE users SET username = 'Ann' {whose}")),
        ("users", format!("UPDATE users SET username = 'a@b' {whose}")),
        ("users", format!("UPDATE users SET username = 'root' || char(8203) {whose}")),
        ("users", format!("UPDATE users SET username = char(8238) || 'toor' {whose}")),
        ("users", format!("UPDATE users SET username = 'root' || char(8205) {whose}")),
        ("users", format!("UPDATE users SET username = 'root' || char(65039) {whose}")),
        ("users", format!("UPDATE users SET username = 'e' || char(769) || 've' {whose}")),
        ("users", format!("UPDATE users SET username = x'616e6e' {whose}")),
        ("users", format!("UPDATE users SET display_name = 'root' || char(8238) {whose}")),
        ("users", format!("UPDATE users SET search_name = 'root' {whose}")),
        ("users", format!("UPDATE users SET email = 'ANN@example.com' {whose}")),
        ("users", format!("UPDATE users SET email = 'a@x.test,b@x.test' {whose}")),
        ("users", format!("UPDATE users SET email_verified = 2 {whose}")),
        ("users", format!("UPDATE users SET roles = '[\"admin\"]' {whose}")),
        ("users", format!("UPDATE users SET roles = 16 {whose}")),
        ("users", format!("UPDATE users SET roles = 4294967297 {whose}")),
        ("users", format!("UPDATE users SET password_hash = 'secret' {whose}")),
        (
            "users",
            format!(
                "UPDATE users SET password_hash = '$argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHRzYWx0$\
             CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc' {whose}"
            ),
        ),
        ("users", format!("UPDATE users SET metadata = '[]' {whose}")),
        ("users", format!("UPDATE users SET metadata = '{{\"a\":1,\"a\":2}}' {whose}")),
        ("users", format!("UPDATE users SET otp_method = 'carrier pigeon' {whose}")),
        ("users", format!("UPDATE users SET created_at = -1 {whose}")),
        ("users", format!("UPDATE users SET created_at = 9223372036854775807 {whose}")),
        ("users", format!("UPDATE users SET description = 'a' || char(0) || 'b' {whose}")),
        ("users", format!("UPDATE users SET id = x'00' {whose}")),
        ("users", other.to_owned()),
        (
            "user_history",
            "UPDATE user_history SET id = CAST(substr(id, 1, 6) || x'40' || substr(id, 8) AS BLOB)"
                .to_owned(),
        ),
        ("user_history", "UPDATE user_history SET action = '<script>'".to_owned()),
        ("user_history", "UPDATE user_history SET trace_id = 'a b'".to_owned()),
        ("external_accounts", account("username", "'a' || char(8203)")),
        ("external_accounts", account("display_name", "char(8238) || 'nimda'")),
        ("files", "UPDATE files SET name = '../../etc/passwd'".to_owned()),
        ("files", "UPDATE files SET media_type = char(13) || char(10)".to_owned()),
        ("files", "UPDATE files SET size = -1".to_owned()),
        ("files", "UPDATE files SET size = 9223372036854775807".to_owned()),
        ("files", "UPDATE files SET sha256 = x'00'".to_owned()),
        ("user_blocks", "INSERT INTO user_blocks SELECT id, id, 0 FROM users".to_owned()),
        ("recovery_codes", "INSERT INTO recovery_codes SELECT id, x'00' FROM users".to_owned()),
        (
            "second_factors",
            "INSERT INTO second_factors SELECT id, x'00', 0, NULL, NULL FROM users".to_owned(),
        ),
        (
            "second_factors",
            "INSERT INTO second_factors SELECT id, NULL, 9223372036854775807, NULL, NULL FROM users"
                .to_owned(),
        ),
        ("users", format!("UPDATE users SET revision = -1 {whose}")),
    ] {
        let said = refuse(&app, &admin, &sql, &changed_by(&good, &sql)).await;
        assert!(said.starts_with(column), "{sql}: {said}");
    }
}

/// An account at another provider in which one thing is another one.
fn account(column: &str, value: &str) -> String {
    format!(
        "INSERT INTO external_accounts (id, provider, subject, user_id, created_at, updated_at, {column}) \
         SELECT randomblob(16), 'github', '1', id, 0, 0, {value} FROM users WHERE username = 'ann'"
    )
}

/// Puts other words in the place of those that made a table.
fn said_to_be(table: &str, sql: &str) -> String {
    format!(
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = '{sql}' WHERE name = '{table}'; \
         PRAGMA writable_schema = RESET"
    )
}

#[tokio::test]
async fn tables_of_sqlite_itself_are_taken_as_it_makes_them_and_in_no_other_words() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let good = exported(&admin).await;
    let analysed = changed_by(&good, "ANALYZE");
    send(&admin, "import", &analysed).await.is(200);
    for sql in [
        "CREATE TABLE sqlite_stat1(tbl,idx,stat,g AS (stat GLOB idx) NOT NULL)",
        "CREATE TABLE sqlite_stat1(tbl,idx,stat,CHECK(NOT(stat GLOB idx)))",
        "CREATE TABLE sqlite_stat1(tbl,idx,stat, more)",
    ] {
        let said = refuse(&app, &admin, sql, &changed_by(&analysed, &said_to_be("sqlite_stat1", sql))).await;
        assert!(said.contains("sqlite_stat1"), "{said}");
    }
    let steps = "CREATE TABLE schema_steps (name TEXT NOT NULL PRIMARY KEY, min_binary TEXT NOT NULL, \
                 position INTEGER NOT NULL, more AS (name GLOB min_binary))";
    let said = refuse(&app, &admin, steps, &changed_by(&good, &said_to_be("schema_steps", steps))).await;
    assert!(said.contains("schema_steps"), "{said}");
}

/// What SQL can't do to a good file, because SQLite holds it to its own schema.
#[tokio::test]
async fn rows_that_break_their_own_schema_are_refused() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let good = exported(&admin).await;
    let content = changed(&good, |file| {
        // The schema says afterwards what it said before.
        let sql = "PRAGMA writable_schema = ON; \
                   UPDATE sqlite_schema SET sql = replace(sql, 'roles INTEGER NOT NULL', 'roles INTEGER          ') \
                   WHERE name = 'users'; PRAGMA writable_schema = RESET";
        file.execute_batch(sql).unwrap();
    });
    let content = changed(&content, |file| {
        file.execute_batch("UPDATE users SET roles = NULL").unwrap();
        let sql = "PRAGMA writable_schema = ON; \
                   UPDATE sqlite_schema SET sql = replace(sql, 'roles INTEGER          ', 'roles INTEGER NOT NULL') \
                   WHERE name = 'users'; PRAGMA writable_schema = RESET";
        file.execute_batch(sql).unwrap();
    });
    refuse(&app, &admin, "NULL in NOT NULL", &content).await;
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_taken() {
    let app = TestApp::with(&[("MAX_IMPORT_BYTES", "65536")]).await;
    let admin = app.admin().await;
    let same = dump(&app).await;
    let reply = send(&admin, "import", &vec![b'x'; 70_000]).await;
    reply.refused(413, "payload_too_large");
    assert_eq!((dump(&app).await, on_the_way(&app)), (same, 0));
}
