//! Asking: a request is written as one chain and sent by `.await`.

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::{Method, RequestBuilder, header, redirect};
use serde::Serialize;

use super::Reply;
use super::contract::Contract;

/// A client of one instance. It keeps no cookies and follows no redirects.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    bearer: Option<String>,
    contract: Option<Arc<Contract>>,
}

impl Client {
    /// A client of the instance at `address`, not signed in.
    pub fn of(address: SocketAddr) -> Self {
        // It asks by http alone: reading the certificate authorities would take longer than most tests.
        let http =
            reqwest::Client::builder().tls_certs_only([]).redirect(redirect::Policy::none()).no_proxy();
        let http = http.build();
        Self {
            http: http.expect("a client"),
            base: format!("http://{address}"),
            bearer: None,
            contract: None,
        }
    }

    /// The same, and every answer is held to this document.
    pub fn held_to(self, contract: Arc<Contract>) -> Self {
        Self { contract: Some(contract), ..self }
    }

    /// The same with an access token.
    pub fn with_bearer(&self, token: &str) -> Self {
        Self { bearer: Some(token.to_owned()), ..self.clone() }
    }

    /// Where the instance is: `http://127.0.0.1:…`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether anybody listens there.
    pub async fn is_up(&self) -> bool {
        self.http.get(format!("{}/ping", self.base)).send().await.is_ok()
    }

    /// A request of any method. `path` may hold a query.
    pub fn ask(&self, method: &str, path: &str) -> Ask {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.bearer {
            request = request.bearer_auth(token);
        }
        Ask(request, self.contract.clone())
    }

    /// GET.
    pub fn get(&self, path: &str) -> Ask {
        self.ask("GET", path)
    }

    /// POST.
    pub fn post(&self, path: &str) -> Ask {
        self.ask("POST", path)
    }

    /// PUT.
    pub fn put(&self, path: &str) -> Ask {
        self.ask("PUT", path)
    }

    /// PATCH.
    pub fn patch(&self, path: &str) -> Ask {
        self.ask("PATCH", path)
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Ask {
        self.ask("DELETE", path)
    }
}

/// A request that is sent when awaited.
#[must_use = "a request is sent by .await"]
pub struct Ask(RequestBuilder, Option<Arc<Contract>>);

impl Ask {
    /// With a header more.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value), self.1)
    }

    /// With a body of JSON.
    pub fn json(self, body: &impl Serialize) -> Self {
        Self(self.0.json(body), self.1)
    }

    /// With the fields of a form.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        Self(self.0.form(fields), self.1)
    }

    /// With this body of this media type.
    pub fn body(self, media_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header(header::CONTENT_TYPE, media_type).body(body), self.1)
    }

    /// With HTTP Basic (RFC 7617).
    pub fn basic(self, name: &str, secret: &str) -> Self {
        Self(self.0.basic_auth(name, Some(secret)), self.1)
    }

    async fn send(self) -> Reply {
        let (client, request) = self.0.build_split();
        let request = request.expect("a request that can be written");
        let (method, url) = (request.method().clone(), request.url().clone());
        let question = format!("{method} {url}");
        let response = client.execute(request).await.unwrap_or_else(|error| panic!("{question}: {error:?}"));
        let reply = Reply::read(question, response).await;
        if let Some(contract) = self.1 {
            let breaches = contract.breaches(method.as_str(), &url, &reply.answered());
            assert!(breaches.is_empty(), "not as documented: {breaches:#?}\n{reply:?}");
        }
        reply
    }
}

impl IntoFuture for Ask {
    type Output = Reply;
    type IntoFuture = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// A path with these parameters behind it, encoded as a browser does.
pub fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    format!("{path}?{}", serde_urlencoded::to_string(parameters).expect("pairs"))
}
