//! Requests byte by byte: what no well-behaved client sends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Barrier;

use crate::harness::Client;

/// A line to an instance.
#[derive(Clone, Copy)]
pub struct Wire {
    to: SocketAddr,
    from: Ipv4Addr,
}

/// What came back before the other side hung up.
#[derive(Debug)]
pub struct Answer {
    /// The status; 0 if there was no answer.
    pub status: u16,
    /// Head and body.
    pub text: String,
}

impl Wire {
    /// To the instance that this client asks.
    pub fn to(client: &Client) -> Self {
        let to = client.base().trim_start_matches("http://").parse().expect("an address");
        Self { to, from: Ipv4Addr::LOCALHOST }
    }

    /// The same from another address of this machine.
    pub fn from(self, from: Ipv4Addr) -> Self {
        Self { from, ..self }
    }

    async fn open(self) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(IpAddr::V4(self.from), 0)).expect("an address of loopback");
        let stream = socket.connect(self.to).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// Sends these bytes and reads until the other side hangs up; ask it to by `connection: close`.
    pub async fn send(self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.open().await;
        // The answer may come before the request is at its end; then the rest is not taken.
        if let Err(error) = stream.write_all(request.as_ref()).await {
            assert!(is_hung_up(&error), "{error}");
        }
        Answer::read(stream).await
    }

    /// Sends these bytes and hangs up after so long, whether there is an answer or not.
    pub async fn send_and_leave(self, request: impl AsRef<[u8]>, after: Duration) {
        let mut stream = self.open().await;
        stream.write_all(request.as_ref()).await.expect("the request");
        tokio::time::sleep(after).await;
    }

    /// Sends each request but for its last byte, then all the last bytes at once.
    pub async fn race(self, requests: Vec<Vec<u8>>) -> Vec<Answer> {
        let start = Arc::new(Barrier::new(requests.len()));
        let runners = requests.into_iter().map(|request| {
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                let mut stream = self.open().await;
                let (last, most) = request.split_last().expect("a request");
                stream.write_all(most).await.expect("the request");
                start.wait().await;
                stream.write_all(&[*last]).await.expect("the last byte");
                Answer::read(stream).await
            })
        });
        let runners: Vec<_> = runners.collect();
        let mut answers = Vec::with_capacity(runners.len());
        for runner in runners {
            answers.push(runner.await.expect("no runner panics"));
        }
        answers
    }
}

impl Answer {
    async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let reading = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut bytes));
        match reading.await.expect("an end within a minute") {
            Ok(_) => {}
            Err(error) => assert!(is_hung_up(&error), "{error}"),
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        assert_ne!(status, 500, "it broke: {text}");
        Self { status, text }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        let body = self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

fn is_hung_up(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

/// A request with these header lines and this body, after which the connection closes.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut lines =
        vec![format!("{method} {target} HTTP/1.1"), "host: localhost".into(), "connection: close".into()];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    if !body.is_empty() {
        lines.push(format!("content-length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n")).into_bytes()
}

/// The same with a body of JSON and an access token, if there is one.
pub fn json(method: &str, target: &str, token: Option<&str>, body: &Value) -> Vec<u8> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    request(method, target, &headers, &body.to_string())
}

/// A request without a body.
pub fn bare(method: &str, target: &str, token: Option<&str>) -> Vec<u8> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.as_deref().map(|bearer| ("authorization", bearer)).into_iter().collect();
    request(method, target, &headers, "")
}
