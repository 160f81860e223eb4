//! One connection, opened again when the server closes it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longer than any answer of a server that keeps its deadlines.
const PATIENCE: Duration = Duration::from_mins(1);

/// A request that is not sent yet.
pub struct Ask {
    pub method: Method,
    pub path: String,
    /// Content type and content.
    pub body: Option<(&'static str, String)>,
    pub token: Option<String>,
    /// The client that the request is made for, as a trusted proxy would say.
    pub forwarded_for: Option<String>,
}

impl Ask {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, token: None, forwarded_for: None }
    }

    pub fn form(path: &str, body: String) -> Self {
        let body = Some(("application/x-www-form-urlencoded", body));
        Self { method: Method::POST, body, ..Self::get(path) }
    }

    pub fn json(method: Method, path: String, body: &serde_json::Value) -> Self {
        Self { method, body: Some(("application/json", body.to_string())), ..Self::get(path) }
    }

    pub fn by(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    fn request(&self, host: SocketAddr) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request =
            Request::builder().method(&self.method).uri(&self.path).header(HOST, host.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(client) = &self.forwarded_for {
            request = request.header("x-forwarded-for", client);
        }
        let mut content = Bytes::new();
        if let Some((kind, body)) = &self.body {
            request = request.header(CONTENT_TYPE, *kind);
            content = Bytes::copy_from_slice(body.as_bytes());
        }
        Ok(request.body(Full::new(content))?)
    }
}

/// What came back, read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub struct Client {
    address: SocketAddr,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, open: None }
    }

    /// An error means that no answer came: refused, cut off, or too late.
    pub async fn send(&mut self, ask: &Ask) -> anyhow::Result<Answer> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(ask)).await.map_err(anyhow::Error::from);
        let answer = answer.and_then(|answer| answer);
        if answer.is_err() {
            self.open = None;
        }
        answer
    }

    async fn exchange(&mut self, ask: &Ask) -> anyhow::Result<Answer> {
        let request = ask.request(self.address)?;
        let mut connection = match self.open.take() {
            Some(open) if !open.is_closed() => open,
            _ => connect(self.address).await?,
        };
        connection.ready().await?;
        let (parts, body) = connection.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.open = Some(connection);
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
