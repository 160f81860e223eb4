//! What goes out: `GET /file/{id}/file`.

use super::{content_of, uploaded};
use crate::harness::TestApp;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0123456789";

#[tokio::test]
async fn only_pictures_are_shown_in_place_and_nothing_can_run() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for (name, content, kind, disposition) in [
        ("a.png", PNG, "image/png", "inline"),
        ("b.html", PNG, "image/png", "inline"),
        ("c.html", b"<script>alert(1)</script>", "application/octet-stream", "attachment"),
        ("d.txt", b"<html><script>alert(1)</script>", "application/octet-stream", "attachment"),
        ("e.svg", b"<svg onload=alert(1)>", "application/octet-stream", "attachment"),
        ("f.png", b"<svg onload=alert(1)>", "application/octet-stream", "attachment"),
        ("g.pdf", b"%PDF-1.7", "application/octet-stream", "attachment"),
        ("h.js", b"alert(1)", "application/octet-stream", "attachment"),
    ] {
        let file = uploaded(&ann, name, content).await;
        let reply = ann.get(&content_of(&file)).await;
        assert_eq!(reply.is(200).bytes(), content);
        assert_eq!(reply.header("content-type"), Some(kind), "{name}");
        let expected = format!("{disposition}; filename=\"{name}\"");
        assert_eq!(reply.header("content-disposition"), Some(expected.as_str()));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; sandbox"));
        assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-site"));
        assert_eq!(reply.header("cache-control"), Some("private, no-cache"));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        assert_eq!(reply.header("content-length"), Some(content.len().to_string().as_str()));
    }
}

#[tokio::test]
async fn a_part_is_sent_where_a_part_is_asked_for() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "a", b"0123456789").await;
    let asked = async |range: &str| ann.get(&content_of(&file)).header("range", range).await;
    for (range, part, header) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
    ] {
        let reply = asked(range).await;
        assert_eq!((reply.is(206).text(), reply.header("content-range")), (part, Some(header)), "{range}");
        assert_eq!(reply.header("content-length"), Some(part.len().to_string().as_str()));
    }
    let reply = asked("bytes=10-").await;
    reply.refused(416, "range_not_satisfiable");
    assert_eq!(reply.header("content-range"), Some("bytes */10"));
    let many = format!("bytes={}", vec!["0-"; 1000].join(","));
    for odd in ["bytes=-", "bytes=4-2", "bytes=--1", "lines=1-2", "bytes=0-1,3-4", &many] {
        assert_eq!(asked(odd).await.is(200).text(), "0123456789", "{odd}");
    }
}

#[tokio::test]
async fn there_are_no_parts_of_a_head() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let path = content_of(&uploaded(&ann, "a", b"0123456789").await);
    for range in ["bytes=0-3", "bytes=10-"] {
        let head = ann.ask("HEAD", &path).header("range", range).await;
        assert_eq!((head.is(200).bytes(), head.header("content-length")), (b"".as_slice(), Some("10")));
        assert_eq!(head.header("content-range"), None);
    }
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "a", b"0123456789").await;
    let path = content_of(&file);
    let etag = format!("\"{}\"", file["sha256"].as_str().unwrap());
    assert_eq!(ann.get(&path).await.header("etag"), Some(etag.as_str()));
    let reply = ann.get(&path).header("if-none-match", &etag).await;
    assert_eq!((reply.is(304).bytes(), reply.header("etag")), (b"".as_slice(), Some(etag.as_str())));
    ann.get(&path).header("if-none-match", "\"other\"").await.is(200);
    ann.get(&path).header("range", "bytes=0-1").header("if-range", &etag).await.is(206);
    ann.get(&path).header("range", "bytes=0-1").header("if-range", "\"other\"").await.is(200);
    let head = ann.ask("HEAD", &path).await;
    assert_eq!((head.is(200).bytes(), head.header("content-length")), (b"".as_slice(), Some("10")));
    // Told a length, a cache would take it for that of the file.
    for method in ["GET", "HEAD"] {
        let unchanged = ann.ask(method, &path).header("if-none-match", &etag).await;
        assert_eq!(unchanged.is(304).header("content-length"), None, "{method}");
    }
}
