//! What comes in: `POST /file`, `PUT /user/{user}/file`, and everything that is no upload.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{FORM, blobs, content_of, form, form_of, path_of, sha256, unfinished, upload, uploaded};
use crate::harness::{Actor, START, TestApp, eventually};

#[tokio::test]
async fn an_uploaded_file_is_shown_and_read_back() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let path = "/api/file/?description=My%20notes";
    let reply = ann.post(path).body(FORM, form("notes.txt", b"one\r\ntwo")).await;
    let file = reply.is(201).json();
    assert_eq!(reply.header("location"), Some(format!("http://localhost:8000{}", path_of(&file)).as_str()));
    let expected = json!({
        "id": file["id"], "file_name": "notes.txt", "file_type": "text/plain", "description": "My notes",
        "created_at": START.seconds(), "created_by_uuid": ann.id, "size": 8, "sha256": sha256(b"one\r\ntwo"),
        "file_url": format!("http://localhost:8000{}", content_of(&file)),
    });
    assert_eq!(file, expected);
    assert_eq!(ann.get(&path_of(&file)).await.is(200).json(), expected);
    assert_eq!(ann.get(&content_of(&file)).await.is(200).bytes(), b"one\r\ntwo");
    assert_eq!(ann.me().await["files"], json!([expected]));
    assert_eq!(ann.me().await["user_history"][0]["action"], "file_added");
}

#[tokio::test]
async fn a_large_file_comes_back_to_the_byte_and_an_empty_one_is_a_file_too() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).take(10 * 1024 * 1024).collect();
    for (name, content) in [("large", large.as_slice()), ("empty", b"")] {
        let file = uploaded(&ann, name, content).await;
        assert_eq!((&file["size"], &file["sha256"]), (&json!(content.len()), &json!(sha256(content))));
        assert!(ann.get(&content_of(&file)).await.is(200).bytes() == content, "{name}");
    }
    assert_eq!(blobs(&app).len(), 2);
    assert!(unfinished(&app).is_empty());
}

#[tokio::test]
async fn the_bytes_are_for_nobody_else_on_the_machine() {
    use std::os::unix::fs::PermissionsExt;
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    uploaded(&ann, "x", b"x").await;
    for blob in blobs(&app) {
        assert_eq!(blob.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let folder = blob.parent().unwrap().metadata().unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    }
}

//
#[tokio::test]
async fn of_one_owner_a_name_is_there_once_and_others_have_their_own() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let first = uploaded(&ann, "a.txt", b"ann's").await;
    upload(&ann, "a.txt", b"again").await.refused(409, "conflict");
    upload(&ann, "x/a.txt", b"again").await.refused(409, "conflict");
    let second = uploaded(&bob, "a.txt", b"bob's").await;
    assert_eq!(ann.get(&content_of(&first)).await.text(), "ann's");
    assert_eq!(bob.get(&content_of(&second)).await.text(), "bob's");
    assert_eq!(blobs(&app).len(), 2, "what was refused is gone");
    assert!(unfinished(&app).is_empty());
}

#[tokio::test]
async fn a_file_can_be_attached_to_a_user_and_belongs_to_both() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let path = format!("{}/file?description=x", ann.path());
    let file = admin.put(&path).body(FORM, form("contract.pdf", b"%PDF-1.7")).await.is(200).json();
    assert_eq!((&file["created_by_uuid"], &file["file_type"]), (&json!(admin.id), &json!("application/pdf")));
    assert_eq!(ann.get(&content_of(&file)).await.is(200).text(), "%PDF-1.7");
    assert_eq!(ann.me().await["files"], json!([file]));
    assert_eq!(admin.me().await["files"], json!([file]));
    let own = ann.post(&format!("{}/file", ann.path())).body(FORM, form("own", b"x")).await.is(200).json();
    assert_eq!(ann.me().await["files"], json!([file, own]));
    assert_eq!(admin.me().await["files"], json!([file]));
    assert_eq!(admin.get(&ann.path()).await.json()["files"], json!([file, own]));
}

#[tokio::test]
async fn to_a_deleted_user_nothing_is_attached() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    ann.delete(&ann.path()).await.is(200);
    let attach = admin.put(&format!("{}/file", ann.path())).body(FORM, form("x", b"x"));
    attach.await.refused(409, "user_deleted");
    assert!(blobs(&app).is_empty() && unfinished(&app).is_empty());
}

#[tokio::test]
async fn a_description_is_held_to_its_rule_before_anything_is_kept() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let path = format!("/api/file?description={}", "x".repeat(257));
    ann.post(&path).body(FORM, form("x", b"x")).await.invalid(&["description"]);
    assert!(blobs(&app).is_empty());
}

#[tokio::test]
async fn a_description_without_a_character_is_none() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let kept = ann.post("/api/file?description=").body(FORM, form("kept", b"x")).await.is(201).json();
    let path = format!("{}/file?description=", ann.path());
    let attached = ann.put(&path).body(FORM, form("attached", b"x")).await.is(200).json();
    assert_eq!((&kept["description"], &attached["description"]), (&Value::Null, &Value::Null));
}

/// Nothing of what was refused is left.
async fn nothing_is_left(app: &TestApp, ann: &Actor) {
    let left = || async { (blobs(app).len(), unfinished(app).len()) };
    eventually(left, |left| *left == (0, 0)).await;
    assert_eq!(ann.get("/api/file/count").await.json(), 0);
}

//
#[tokio::test]
async fn a_body_that_is_no_form_is_refused_and_leaves_nothing() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let good = form("a.txt", b"content");
    let ask = |kind: &str, body: &[u8]| ann.post("/api/file").body(kind, body.to_vec());
    ask("application/json", b"{}").await.refused(415, "unsupported_media_type");
    ask("application/x-www-form-urlencoded", b"file=x").await.refused(415, "unsupported_media_type");
    ask("multipart/mixed; boundary=XyZ", &good).await.refused(415, "unsupported_media_type");
    ask("multipart/form-data", &good).await.refused(400, "bad_request");
    ask("multipart/form-data; boundary=Other", &good).await.refused(400, "bad_request");
    ask(FORM, b"").await.refused(400, "bad_request");
    ask(FORM, &good[..good.len() - 12]).await.refused(400, "bad_request");
    ask(FORM, b"--XyZ--\r\n").await.invalid(&["file"]);
    ask(FORM, &form_of("form-data; name=\"other\"; filename=\"a\"", b"x")).await.invalid(&["file"]);
    ask(FORM, &form_of("attachment", b"x")).await.invalid(&["file"]);
    let twice = [form("a", b"1").strip_suffix(b"--\r\n").unwrap(), b"\r\n", &form("b", b"2")[7..]].concat();
    ask(FORM, &twice).await.invalid(&["body"]);
    nothing_is_left(&app, &ann).await;
}

//
#[tokio::test]
async fn parts_without_end_and_endless_heads_are_given_up() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let part = "--XyZ\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n";
    ann.post("/api/file").body(FORM, part.repeat(10_000) + "--XyZ--").await.invalid(&["file"]);
    let head = format!("--XyZ\r\nX-Long: {}\r\n\r\n1\r\n--XyZ--", "x".repeat(1_000_000));
    ann.post("/api/file").body(FORM, head).await.refused(400, "bad_request");
    let inner = form("inner.txt", b"x");
    let outer =
        form_of("form-data; name=\"file\"; filename=\"outer\"", &[b"text\r\n", inner.as_slice()].concat());
    // The inner form has the outer's boundary: the file ends where it begins.
    ann.post("/api/file").body(FORM, outer).await.invalid(&["body"]);
    nothing_is_left(&app, &ann).await;
}

//
#[tokio::test]
async fn what_is_packed_is_kept_as_it_is() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let bomb = [b"PK\x03\x04".as_slice(), &[0; 1000]].concat();
    let file = uploaded(&ann, "bomb.docx", &bomb).await;
    assert_eq!(file["size"], 1004);
    assert!(file["file_type"].as_str().unwrap().ends_with("wordprocessingml.document"));
}

//
#[tokio::test]
async fn one_byte_too_many_is_refused_and_the_last_that_fits_is_not() {
    let app = TestApp::with(&[("MAX_UPLOAD_BYTES", "100000")]).await;
    let ann = app.user("ann").await;
    uploaded(&ann, "fits", &vec![b'x'; 100_000]).await;
    upload(&ann, "over", &vec![b'x'; 100_001]).await.refused(413, "payload_too_large");
    assert_eq!((blobs(&app).len(), unfinished(&app).len()), (1, 0));
}

/// A connection on which an upload has begun.
async fn begun(app: &TestApp, ann: &Actor, headers: &str) -> TcpStream {
    let address = app.base().strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/file HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {FORM}\r\n{headers}\r\n\r\n",
        ann.access
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket
}

/// The status that is answered on it.
async fn status(socket: &mut TcpStream) -> u16 {
    let mut answer = vec![0; 12];
    let read = tokio::time::timeout(Duration::from_mins(1), socket.read_exact(&mut answer));
    read.await.expect("an answer in time").expect("an answer");
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

//
#[tokio::test]
async fn a_body_without_length_is_cut_off_where_it_is_too_large() {
    let app = TestApp::with(&[("MAX_UPLOAD_BYTES", "1000000")]).await;
    let ann = app.user("ann").await;
    let mut socket = begun(&app, &ann, "Transfer-Encoding: chunked").await;
    let head = form("endless", b"");
    let head = &head[..head.len() - 11];
    socket.write_all(format!("{:x}\r\n", head.len()).as_bytes()).await.unwrap();
    socket.write_all(head).await.unwrap();
    let chunk = [b"\r\n10000\r\n".as_slice(), &vec![b'x'; 0x10000]].concat();
    let mut sent = 0;
    // A gigabyte, if anybody would take it.
    while sent < 1 << 30 && socket.write_all(&chunk).await.is_ok() {
        sent += 0x10000;
        let mut answer = [0; 12];
        if let Ok(12..) = socket.try_read(&mut answer) {
            assert_eq!(&answer, b"HTTP/1.1 413");
            break;
        }
    }
    assert!(sent < 8 << 20, "{sent} bytes were taken");
    nothing_is_left(&app, &ann).await;
}

//
#[tokio::test]
async fn a_length_that_is_too_large_is_refused_at_once() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut socket = begun(&app, &ann, "Content-Length: 1073741824").await;
    assert_eq!(status(&mut socket).await, 413);
    nothing_is_left(&app, &ann).await;
}

//
#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let content = form("half", &vec![b'x'; 2_000_000]);
    for round in 0..100 {
        let mut socket = begun(&app, &ann, &format!("Content-Length: {}", content.len())).await;
        socket.write_all(&content[..round * content.len() / 100]).await.unwrap();
        drop(socket);
    }
    nothing_is_left(&app, &ann).await;
}

// bytes without a row count nowhere, so none stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_who_leaves_before_the_refusal_leaves_no_bytes_behind() {
    let app = TestApp::with(&[("MAX_USER_FILES", "1")]).await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "first", b"x").await;
    let more = form("more", &vec![b'x'; 50_000]);
    for round in 0..60 {
        let mut socket = begun(&app, &ann, &format!("Content-Length: {}", more.len())).await;
        socket.write_all(&more).await.unwrap();
        // Each leaves at another moment, the first ones before anything can be refused.
        tokio::time::sleep(Duration::from_micros(100 * round)).await;
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
    eventually(|| async { blobs(&app).len() + unfinished(&app).len() }, |left| *left == 1).await;
    assert_eq!(ann.get(&content_of(&file)).await.is(200).text(), "x");
}

//
#[tokio::test]
async fn who_may_not_upload_is_told_so_before_the_body_is_read() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let banned = app.banned().await;
    let address = app.base().strip_prefix("http://").unwrap();
    for (path, token, expected) in [
        ("/api/file".to_owned(), "x", 401),
        ("/api/file".to_owned(), banned.access.as_str(), 401),
        (format!("{}/file", bob.path()), ann.access.as_str(), 403),
        ("/api/user/@nobody/file".to_owned(), ann.access.as_str(), 404),
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: {FORM}\r\n\
             Content-Length: 5000000\r\n\r\n"
        );
        let method = if path == "/api/file" { head.replace("PUT", "POST") } else { head };
        socket.write_all(method.as_bytes()).await.unwrap();
        // Not one byte of the body was sent.
        assert_eq!(status(&mut socket).await, expected, "{path}");
    }
    assert!(blobs(&app).is_empty() && unfinished(&app).is_empty());
    let _: Value = ann.me().await;
}
