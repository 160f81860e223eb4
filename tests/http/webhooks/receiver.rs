//! Somebody who receives webhooks: answers as they are told to, keeps what they got, and verifies it by themselves.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::harness::eventually;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How to answer.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With this status.
    Status(u16),
    /// With this status and header.
    Header(u16, &'static str, String),
    /// 200 and a body without end.
    Endless,
    /// 200, but only when the time is over.
    Late(Duration),
    /// 200, but only when it is told to.
    When(Arc<Notify>),
    /// The connection ends.
    Reset,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct State {
    manners: HashMap<String, Manner>,
    got: Vec<Got>,
}

/// The receiver. Each path is a webhook of its own.
pub struct Receiver {
    base: String,
    state: Arc<Mutex<State>>,
    serving: AbortHandle,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&state))).abort_handle();
        Self { base, state, serving }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// From now on, this path is answered so; 200 otherwise.
    pub fn answers(&self, path: &str, manner: Manner) {
        self.state.lock().unwrap().manners.insert(path.to_owned(), manner);
    }

    /// What came to this path so far.
    pub fn got(&self, path: &str) -> Vec<Got> {
        self.state.lock().unwrap().got.iter().filter(|got| got.path == path).cloned().collect()
    }

    /// What came to this path, once it is so many.
    pub async fn gets(&self, path: &str, count: usize) -> Vec<Got> {
        let got = eventually(|| async { self.got(path) }, |got: &Vec<Got>| got.len() >= count).await;
        assert_eq!(got.len(), count, "more than that came");
        got
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The signature that the specification asks for.
    fn expected(&self, secret: &str) -> String {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut signed = format!("{}.{}.", self.id(), self.header("webhook-timestamp")).into_bytes();
        signed.extend_from_slice(&self.body);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
        format!("v1,{}", STANDARD.encode(tag))
    }

    /// Whether exactly these secrets have signed it, in this order.
    pub fn is_signed_by(&self, secrets: &[&str]) -> bool {
        let expected: Vec<String> = secrets.iter().map(|secret| self.expected(secret)).collect();
        self.header("webhook-signature") == expected.join(" ")
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let service = service_fn(move |request| answer(request, Arc::clone(&state)));
        connections.spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let path = parts.uri.path().to_owned();
    let manner = {
        let mut state = state.lock().unwrap();
        state.got.push(Got { path: path.clone(), headers, body });
        state.manners.get(&path).cloned().unwrap_or(Manner::Status(200))
    };
    let response = Response::builder();
    Ok(match manner {
        Manner::Status(status) => response.status(status).body(words("fine, or not")).unwrap(),
        Manner::Header(status, name, value) => {
            response.status(status).header(name, value).body(words("")).unwrap()
        }
        Manner::Endless => {
            let piece = || Ok(Frame::data(Bytes::from(vec![b'x'; 64 << 10])));
            response.body(StreamBody::new(stream::repeat_with(piece)).boxed_unsync()).unwrap()
        }
        Manner::Late(pause) => {
            tokio::time::sleep(pause).await;
            response.body(words("")).unwrap()
        }
        Manner::When(told) => {
            told.notified().await;
            response.body(words("")).unwrap()
        }
        Manner::Reset => return Err(io::Error::other("gone")),
    })
}

fn words(text: &'static str) -> Body {
    Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync()
}
