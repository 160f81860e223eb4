//! Everything in one file, and back: `/db`.

mod deadline;
mod export;
mod hostile;
mod importing;
mod judging;
mod recovering;
mod round_trip;

use std::path::{Path, PathBuf};

use gatehouse::archive::canonical_dump;
use rusqlite::Connection;
use serde_json::Value;

use crate::harness::{Ask, Client, TestApp};

/// What the forms of these tests are.
const FORM: &str = "multipart/form-data; boundary=XyZ";

/// A form with a database file.
fn form(content: &[u8]) -> Vec<u8> {
    let head = "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../all.db\"\r\n\r\n";
    [head.as_bytes(), content, b"\r\n--XyZ--\r\n"].concat()
}

/// Uploads a file to be imported, or recovered; to be awaited.
pub fn send(who: &Client, what: &str, content: &[u8]) -> Ask {
    who.post(&format!("/api/db/{what}")).body(FORM, form(content))
}

/// What an export holds.
async fn exported(who: &Client) -> Vec<u8> {
    who.get("/api/db/export").await.is(200).bytes().to_vec()
}

/// Everything that travels, as lines.
async fn dump(app: &TestApp) -> String {
    let mut lines = Vec::new();
    canonical_dump(&app.inside.db, &mut lines).await.unwrap();
    String::from_utf8(lines).unwrap()
}

/// Puts a file into a folder of the test.
fn written(folder: &Path, content: &[u8]) -> PathBuf {
    let path = folder.join("handed-in.db");
    std::fs::write(&path, content).unwrap();
    path
}

/// A file after somebody has worked on it.
fn changed(content: &[u8], change: impl FnOnce(&Connection)) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), content);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    change(&connection);
    connection.close().unwrap();
    std::fs::read(path).unwrap()
}

/// The same by SQL.
fn changed_by(content: &[u8], sql: &str) -> Vec<u8> {
    changed(content, |file| file.execute_batch(sql).unwrap())
}

/// One number of an answer.
fn count(answer: &Value, table: &str, what: &str) -> u64 {
    answer[table][what].as_u64().unwrap_or_else(|| panic!("{table}.{what} of {answer}"))
}

/// What is on its way on the disk: nothing, when nobody asks.
fn on_the_way(app: &TestApp) -> usize {
    let folder = app.inside.config.server.data_dir.join("files").join("tmp");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}
