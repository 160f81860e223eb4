//! Bodies, heads and paths that can be read in two ways, or not at all.

use std::time::{Duration, Instant};

use serde_json::json;

use super::wire::{bare, request};
use super::{Scene, Wire};
use crate::harness::PASSWORD;

// A-143
#[tokio::test]
async fn json_that_is_none_or_too_much_is_refused_at_once() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let deep = |count: usize| format!("{{\"description\":{}1{}}}", "[".repeat(count), "]".repeat(count));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{".to_vec(),
        b"}".to_vec(),
        b"[".to_vec(),
        b"nul".to_vec(),
        b"{\"description\":}".to_vec(),
        b"{'description':'x'}".to_vec(),
        b"{\"description\":NaN}".to_vec(),
        b"{\"description\":Infinity}".to_vec(),
        b"{\"description\":1e309}".to_vec(),
        b"{\"description\":-0}".to_vec(),
        b"{\"description\":9223372036854775808}".to_vec(),
        b"{\"description\":[]}".to_vec(),
        b"{\"description\":{}}".to_vec(),
        b"{\"description\":true}".to_vec(),
        b"\xef\xbb\xbf{\"description\":\"x\"}".to_vec(),
        b"{\"description\":\"\xff\"}".to_vec(),
        b"{\"description\":\"\\ud800\"}".to_vec(),
        b"{\"description\":\"\\udc00\\ud800\"}".to_vec(),
        b"{\"description\":\"\\x\"}".to_vec(),
        b"{\"description\":\"a\nb\"}".to_vec(),
        b"{\"description\":\"x\"} x".to_vec(),
        b"{\"description\":\"x\",}".to_vec(),
        b"/**/{\"description\":\"x\"}".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"x\"".to_vec(),
        b"7".to_vec(),
        "{\"description\":\"x\"}".encode_utf16().flat_map(u16::to_be_bytes).collect(),
        "{\"description\":\"x\"}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        deep(33).into_bytes(),
        deep(127).into_bytes(),
        deep(30_000).into_bytes(),
        "[".repeat(60_000).into_bytes(),
        "{\"a\":".repeat(12_000).into_bytes(),
        format!("{{{}}}", (0..5000).map(|number| format!("\"k{number}\":1")).collect::<Vec<_>>().join(","))
            .into_bytes(),
        format!(
            "{{\"metadata\":{{{}}}}}",
            (0..5000).map(|number| format!("\"k{number}\":1")).collect::<Vec<_>>().join(",")
        )
        .into_bytes(),
        format!("{{\"description\":\"{}\"}}", "x".repeat(60_000)).into_bytes(),
        format!("{{\"description\":\"{}\"}}", "x".repeat(70_000)).into_bytes(),
        vec![b'0'; 60_000],
        vec![b' '; 65_536],
        b"\0".to_vec(),
    ];
    let before = ann.me().await;
    for body in bodies {
        let mut begun = Instant::now();
        let mut reply = ann.patch(&ann.path()).body("application/json", body.clone()).await;
        // A busy machine may have needed that time, but hardly so often.
        for _ in 0..5 {
            if begun.elapsed() < Duration::from_secs(2) {
                break;
            }
            begun = Instant::now();
            reply = ann.patch(&ann.path()).body("application/json", body.clone()).await;
        }
        let took = begun.elapsed();
        let start = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert!(matches!(reply.status(), 400 | 413 | 415 | 422), "{start}: {reply:?}");
        assert!(took < Duration::from_secs(2), "{start}: {took:?}");
        for path in
            ["/api/auth/login", "/api/auth/register", "/api/auth/token/refresh", "/api/auth/token/revoke"]
        {
            let reply = scene.post(path).body("application/json", body.clone()).await;
            assert!(matches!(reply.status(), 400 | 413 | 415 | 422), "{path} {start}: {reply:?}");
        }
    }
    assert_eq!(ann.me().await, before);
    scene.is_unharmed().await;
}

// A-144
#[tokio::test]
async fn a_form_that_can_be_read_in_two_ways_is_refused() {
    let scene = Scene::new().await;
    let form = "application/x-www-form-urlencoded";
    let password = PASSWORD.replace(' ', "+");
    for body in [
        format!("username=bystander&password=wrong&password={password}"),
        format!("username=bystander&username=root&password={password}"),
        format!("username[]=bystander&password={password}"),
        format!("username[a][b]=bystander&password={password}"),
        format!("username=bystander&password={password}&%75sername=root"),
        format!("username=%zz&password={password}"),
        format!("username=%&password={password}"),
        format!("username=%ff&password={password}"),
        "&&&".to_owned(),
        "=".to_owned(),
        String::new(),
        format!("username=bystander;password={password}"),
        format!("USERNAME=bystander&password={password}"),
        "a=b&".repeat(10_000),
        format!(
            "username=bystander&password={password}&{}",
            (0..200).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join("&")
        ),
        json!({"username": "bystander", "password": PASSWORD}).to_string(),
    ] {
        let reply = scene.post("/api/auth/login").body(form, body.clone()).await;
        assert!(matches!(reply.status(), 400 | 422), "{body:.100}: {reply:?}");
    }
    for body in [
        format!("username=bystander&password={password}"),
        format!("username=bystander&password={}", PASSWORD.replace(' ', "%20")),
        format!("&username=%62ystander&&password={password}&"),
    ] {
        scene.post("/api/auth/login").body(form, body.clone()).await.is(200);
    }
    // Query strings, too.
    let admin = scene.admin().await;
    for query in [
        "limit=1&limit=2",
        "limit=1&%6cimit=2",
        "q=a&q=b",
        "q=%",
        "q=%zz",
        "q=%ff",
        "sort=username&sort=created_at",
    ] {
        let reply = admin.get(&format!("/api/user?{query}")).await;
        assert!(matches!(reply.status(), 400 | 422), "{query}: {reply:?}");
    }
}

// A-149
#[tokio::test]
async fn a_head_too_large_is_refused() {
    let scene = Scene::new().await;
    let line = |name: &str, value: String| {
        format!("GET /ping HTTP/1.1\r\nhost: localhost\r\n{name}: {value}\r\nconnection: close\r\n\r\n")
    };
    let many = "x-many: y\r\n".repeat(10_000);
    for text in [
        format!("GET /ping HTTP/1.1\r\nhost: localhost\r\n{many}connection: close\r\n\r\n"),
        line("cookie", "x".repeat(1 << 20)),
        line("user-agent", "x".repeat(1 << 20)),
        line("accept-encoding", "gzip;q=0.1,".repeat(10_000)),
        line("accept-language", "a-".repeat(50_000)),
        line(&"x".repeat(20_000), "y".to_owned()),
    ] {
        assert_eq!(Wire::to(&scene).send(&text).await.status, 431, "{text:.60}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "x".repeat(9000));
    assert_eq!(Wire::to(&scene).send(long).await.status, 414);
    for (name, value) in [
        ("range", "bytes=0-,0-,0-,0-".to_owned()),
        ("accept-encoding", "gzip;q=0.1,".repeat(500)),
        ("if-none-match", "\"x\",".repeat(1000)),
        ("accept", "*/*;q=2,".repeat(500)),
        ("range", "bytes=-99999999999999999999".to_owned()),
        ("if-modified-since", "never".to_owned()),
    ] {
        for target in ["/ping", "/docs", "/openapi.json", "/interactive-docs"] {
            let answer = Wire::to(&scene).send(request("GET", target, &[(name, &value)], "")).await;
            assert!(matches!(answer.status, 200 | 303 | 304), "{name} {target}: {}", answer.status);
        }
    }
    scene.is_unharmed().await;
}

// A-150
#[tokio::test]
async fn a_compressed_body_is_not_unpacked() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, identity", "x", "identity, gzip"] {
        let reply = ann
            .patch(&ann.path())
            .header("content-encoding", coding)
            .json(&json!({"description": "x"}))
            .await;
        reply.refused(415, "unsupported_media_type");
    }
    // What holds tokens is not compressed either: its length would tell of them.
    let login = scene.post("/api/auth/login").header("accept-encoding", "gzip, br");
    let login = login.json(&json!({"username": "ann", "password": PASSWORD})).await;
    assert!(login.is(200).header("content-encoding").is_none());
    let page = scene.get("/setup?token=x").header("accept-encoding", "gzip").await;
    assert!(page.header("content-encoding").is_none());
}

// A-151
#[tokio::test]
async fn no_path_leads_to_a_file() {
    let scene = Scene::new().await;
    for path in [
        "/..%2f..%2fetc/passwd",
        "/../../etc/passwd",
        "/static/../../x",
        "/docs/../../etc/passwd",
        "/assets/..%2f..%2fCargo.toml",
        "/%c0%ae%c0%ae/etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..;/etc/passwd",
        "/docs;x=1",
        "/\\..\\..\\etc\\passwd",
        "/..\\..\\x",
        "/....//....//etc/passwd",
        "/docs%00.html",
        "/docs%2f",
        "/%",
        "/%zz",
        "/%e0%80%af",
        "/docs/%2e",
        "/static/%2e%2e%2fx",
        "/file:///etc/passwd",
        "/etc/passwd%00.css",
        "/?/../../etc/passwd/..",
    ] {
        let answer = Wire::to(&scene).send(bare("GET", path, None)).await;
        // Behind a question mark stands no path: that is the first page.
        let is_refused = matches!(answer.status, 400 | 404);
        assert!(is_refused || path.starts_with("/?"), "{path}: {answer:?}");
        assert!(!answer.text.contains("root:"), "{path}");
    }
    for target in [
        "*",
        "ping",
        "http://",
        "//",
        "",
        "http://localhost",
        "localhost:80",
        "/ping HTTP/1.1\r\nx: y\r\n\r\nGET /",
    ] {
        let answer = Wire::to(&scene).send(bare("GET", target, None)).await;
        assert!(answer.status < 500, "{target}: {answer:?}");
    }
    scene.is_unharmed().await;
}
