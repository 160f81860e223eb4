//! The server on a real port, spoken to byte by byte.

mod early;
mod floods;
mod framing;
mod timing;

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use poem::http::HeaderValue;
use poem::{Body, Route, get, handler, post};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::edge::{Edge, EdgeSettings, LargeBodies};
use super::{Limits, Server};
use crate::pages::Pages;
use crate::platform::clock::Clock;
use crate::platform::random::Random;
use crate::platform::web::{Json, TraceIds};

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<usize>,
}

#[handler]
fn hello() -> &'static str {
    "hello"
}

#[handler]
async fn repeat(body: Body) -> poem::Result<Vec<u8>> {
    Ok(body.into_vec().await?)
}

#[handler]
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(3)).await;
    "slow"
}

#[handler]
fn endless() -> Body {
    Body::from_bytes_stream(futures_util::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(vec![b'x'; 64 * 1024])
    }))
}

#[handler]
fn numbers() -> Json<Vec<u64>> {
    Json((0..1000).collect())
}

#[handler]
fn bug() -> &'static str {
    panic!("kaboom")
}

/// Made once for all edges of a test.
static PAGES: LazyLock<Pages> =
    LazyLock::new(|| Pages::new(Random::System, crate::pages::Settings::default()).unwrap());

pub(super) fn settings() -> EdgeSettings {
    EdgeSettings {
        base_url: "https://gate.test".into(),
        api_prefix: "/api".into(),
        pages: PAGES.clone(),
        cors_origins: vec!["https://app.test".into()],
        trusted_proxies: Vec::new(),
        max_body_bytes: 1024,
        large_bodies: vec![LargeBodies {
            begins: "/api/large".into(),
            ends: "",
            most: 4096,
            timeout: Duration::from_secs(30),
        }],
        request_timeout: Duration::from_secs(5),
        hsts_include_subdomains: false,
        repeatable: vec!["users_ids".into()],
        methods: super::edge::Methods::default(),
        oauth_places: super::edge::OauthPlaces::of_document(
            &json!({"paths": {"/api/token": {"post": {"operationId": "trade"}}}}),
            &["trade"],
        ),
    }
}

pub(super) fn trace_ids() -> Arc<TraceIds> {
    Arc::new(TraceIds::new(Clock::System, &Random::System))
}

fn run(limits: Limits) -> Running {
    let routes = Route::new()
        .at("/api/hello", get(hello))
        .at("/api/user/users", get(hello))
        .at("/api/echo", post(repeat))
        .at("/api/slow", get(slow))
        .at("/api/endless", get(endless))
        .at("/api/big", get(numbers))
        .at("/api/bug", get(bug));
    let edge = Edge::new(routes, settings(), trace_ids());
    let server = Server::bind(([127, 0, 0, 1], 0).into(), limits).unwrap();
    let (address, token) = (server.local_addr().unwrap(), CancellationToken::new());
    #[expect(clippy::disallowed_methods, reason = "a test has no tasks of its own to wait for")]
    let running = tokio::spawn(server.serve(edge, token.clone()));
    Running { address, stop: token, served: running }
}

/// How long what must happen may take, however busy the machine is.
const SOON: Duration = Duration::from_secs(30);

/// A server that waits for nobody for long, but for longer than a busy machine stands still.
fn quick() -> Limits {
    Limits {
        head_timeout: Duration::from_secs(3),
        keep_alive: Duration::from_secs(4),
        write_timeout: Duration::from_secs(3),
        shutdown_timeout: Duration::from_secs(20),
        farewell: Duration::from_secs(4),
        ..Limits::default()
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends all of it and reads until the server closes.
    async fn whole(&self, request: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        rest(&mut socket).await
    }

    /// The status of the answer, and whether the server closed behind it.
    async fn status(&self, request: &str) -> (String, bool) {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let answer = one_answer(&mut socket).await;
        let mut byte = [0];
        let closed = tokio::time::timeout(Duration::from_millis(150), socket.read(&mut byte)).await;
        (answer.get(9..12).unwrap_or_default().to_owned(), matches!(closed, Ok(Ok(0))))
    }
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, socket.read_to_end(&mut answer)).await;
    read.expect("the server closes").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// One answer with a length, its body included.
async fn one_answer(socket: &mut TcpStream) -> String {
    let mut answer = String::new();
    let mut byte = [0];
    let reading = async {
        loop {
            if socket.read(&mut byte).await.unwrap() == 0 {
                break;
            }
            answer.push(char::from(byte[0]));
            if let Some((head, body)) = answer.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("an answer comes");
    answer
}

const HELLO: &str = "GET /api/hello HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let server = run(quick());
    let mut socket = server.connect().await;
    for _ in 0..3 {
        socket.write_all(HELLO.as_bytes()).await.unwrap();
        let answer = one_answer(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
    }
    socket.write_all(format!("{HELLO}{HELLO}").as_bytes()).await.unwrap();
    assert!(one_answer(&mut socket).await.ends_with("hello"));
    assert!(one_answer(&mut socket).await.ends_with("hello"));
}

#[tokio::test]
async fn bodies_are_capped_by_length_and_by_stream() {
    let server = run(quick());
    let announced = "POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1025\r\n\r\n";
    assert_eq!(server.status(announced).await.0, "413");
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let head = "POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = server.whole(&format!("{head}{chunk}{chunk}0\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let fits = server.whole(&format!("{head}{chunk}0\r\n\r\n")).await;
    assert!(fits.starts_with("HTTP/1.1 200"), "{fits}");
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_process_lives() {
    let server = run(quick());
    let mut socket = server.connect().await;
    socket.write_all(b"GET /api/bug HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = one_answer(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("\"code\":\"internal\""), "{answer}");
    assert!(!answer.contains("kaboom"), "{answer}");
    socket.write_all(HELLO.as_bytes()).await.unwrap();
    assert!(one_answer(&mut socket).await.ends_with("hello"));
}

#[tokio::test]
async fn what_is_refused_before_it_is_a_request_protects_whoever_sees_it_like_any_answer() {
    let server = run(quick());
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(9000));
    let early = server.whole(&long).await;
    assert!(early.starts_with("HTTP/1.1 414 "), "{early}");
    let usual = server.whole("GET /api/nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    for name in [
        "content-type",
        "cache-control",
        "x-content-type-options",
        "referrer-policy",
        "permissions-policy",
        "content-security-policy",
        "cross-origin-resource-policy",
        "strict-transport-security",
    ] {
        let value = |answer: &str| {
            let fields = answer.split("\r\n").filter_map(|line| line.split_once(": "));
            let mut values = fields.filter(|(field, _)| *field == name).map(|(_, value)| value.to_owned());
            (values.next(), values.next())
        };
        assert_eq!(value(&early), value(&usual), "{name}");
        assert!(matches!(value(&early), (Some(_), None)), "{name}: {early}");
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = run(quick());
    let answer = server.whole("HEAD /api/hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("content-length: 5\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

/// So many ids in a query.
fn ids(count: usize) -> String {
    vec![format!("users_ids={}", uuid::Uuid::nil()); count].join("&")
}

/// What an answer of HTTP/2 has in its body.
async fn text_of(mut body: h2::RecvStream) -> String {
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn http2_is_spoken_too() {
    let server = run(quick());
    let (client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    let asked = async move {
        let mut client = client;
        for (method, path, expected) in [("GET", "hello", "hello"), ("HEAD", "hello", "")] {
            let request = poem::http::Request::builder()
                .method(method)
                .uri(format!("http://x/api/{path}"))
                .body(())
                .unwrap();
            client = client.ready().await.unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["content-length"]),
                (200, &HeaderValue::from(5))
            );
            let mut body = answer.into_body();
            let mut text = Vec::new();
            while let Some(piece) = body.data().await {
                text.extend_from_slice(&piece.unwrap());
            }
            assert_eq!(text, expected.as_bytes());
        }
    };
    tokio::select! {
        () = asked => {}
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
}

#[tokio::test]
async fn a_head_of_http2_has_the_same_bounds() {
    let server = run(quick());
    let (client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    let (a_thousand, too_many) = (ids(1000), "i".repeat(49_152));
    let asked = async move {
        let mut client = client;
        for (target, cookie, status, code) in [
            (format!("user/users?{a_thousand}"), 7000, 200, ""),
            (format!("hello?{a_thousand}"), 1, 414, "uri_too_long"),
            (format!("user/users?{too_many}"), 1, 414, "uri_too_long"),
            (format!("user/users?{a_thousand}"), 9000, 431, "headers_too_large"),
            ("user/users".to_owned(), 20_000, 431, "headers_too_large"),
            ("hello".to_owned(), 20_000, 431, "headers_too_large"),
            ("hello".to_owned(), 1, 200, ""),
        ] {
            let request = poem::http::Request::builder()
                .uri(format!("http://x/api/{target}"))
                .header("cookie", "c".repeat(cookie))
                .body(())
                .unwrap();
            client = client.ready().await.unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{target:.20} {cookie}");
            let kind = answer.headers()["content-type"].clone();
            let text = text_of(answer.into_body()).await;
            if status == 200 {
                assert_eq!(text, "hello");
            } else {
                assert_eq!(kind, "application/problem+json");
                assert!(text.contains(&format!("\"code\":\"{code}\"")), "{text}");
            }
        }
    };
    tokio::select! {
        () = asked => {}
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
}
