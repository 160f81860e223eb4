//! Files: `/file`, and `/user/{user}/file`.

mod bucket;
mod content;
pub mod export;
mod limits;
mod lists;
mod names;
mod remains;
mod rights;
mod uploads;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Ask, Client, TestApp};

/// What the forms of these tests are.
const FORM: &str = "multipart/form-data; boundary=XyZ";

/// A form with one file, whose part has this `Content-Disposition`.
fn form_of(disposition: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--XyZ\r\nContent-Disposition: {disposition}\r\nContent-Type: text/html\r\n\r\n");
    [head.as_bytes(), content, b"\r\n--XyZ--\r\n"].concat()
}

/// A form with one file.
fn form(name: &str, content: &[u8]) -> Vec<u8> {
    form_of(&format!("form-data; name=\"file\"; filename=\"{name}\""), content)
}

/// Uploads a file; to be awaited.
fn upload(who: &Client, name: &str, content: &[u8]) -> Ask {
    who.post("/api/file").body(FORM, form(name, content))
}

/// A file that somebody has uploaded.
async fn uploaded(who: &Client, name: &str, content: &[u8]) -> Value {
    upload(who, name, content).await.is(201).json()
}

/// Where a file is: `/api/file/{id}`.
fn path_of(file: &Value) -> String {
    format!("/api/file/{}", file["id"])
}

/// Where its content is.
fn content_of(file: &Value) -> String {
    format!("/api/file/{}/file", file["id"])
}

/// The files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// The bytes that are kept on disk: one path for each file.
fn blobs(app: &TestApp) -> Vec<PathBuf> {
    let folder = app.inside.config.server.data_dir.join("files");
    let is_blob = |path: &PathBuf| !path.starts_with(folder.join("tmp")) && !path.ends_with("owner");
    files_below(&folder).into_iter().filter(is_blob).collect()
}

/// The uploads that are on their way in.
fn unfinished(app: &TestApp) -> Vec<PathBuf> {
    files_below(&app.inside.config.server.data_dir.join("files").join("tmp"))
}

/// SHA-256 in hexadecimal.
fn sha256(content: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    gatehouse::platform::hexadecimal::written(digest.as_ref())
}
