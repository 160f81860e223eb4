//! A client, and what it holds every answer to: problems are told as problems, and nothing is ever a 500.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::gatehouse::PASSWORD;

/// No answer takes longer, whatever is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body; null where there is none or it is not JSON.
    pub body: Value,
}

impl Answer {
    /// A text of the body.
    pub fn text(&self, name: &str) -> String {
        self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned()
    }

    async fn of(response: Response) -> reqwest::Result<Self> {
        let status = response.status().as_u16();
        let header = |name| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        let is_problem = header("content-type").as_deref() == Some("application/problem+json");
        let retry_after = header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
        let body = response.bytes().await?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        let answer = Self { status, body };
        assert!(status != 500, "{answer:?}");
        assert!(
            status < 400 || (is_problem && !answer.text("trace_id").is_empty()),
            "no problem: {answer:?}"
        );
        assert!(status != 503 || retry_after.is_some(), "no Retry-After: {answer:?}");
        Ok(answer)
    }
}

impl Client {
    /// A client of the server on this port.
    pub fn new(port: u16) -> Self {
        Self::with(port, HeaderMap::new(), usize::MAX)
    }

    /// A client whose requests all have this id.
    pub fn tracing(port: u16, id: &'static str) -> Self {
        let id = (HeaderName::from_static("x-request-id"), HeaderValue::from_static(id));
        Self::with(port, HeaderMap::from_iter([id]), usize::MAX)
    }

    /// A client whose requests have a connection of their own each.
    pub fn anew(port: u16) -> Self {
        Self::with(port, HeaderMap::new(), 0)
    }

    /// A client that sends these headers and keeps at most so many connections for later.
    fn with(port: u16, headers: HeaderMap, connections: usize) -> Self {
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .tls_certs_only([])
            .no_proxy()
            .pool_max_idle_per_host(connections)
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { http, base: format!("http://127.0.0.1:{port}") }
    }

    /// Asks the API.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method, format!("{}/api{path}", self.base));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request.send().await?).await
    }

    /// POST of a body of another kind.
    pub async fn send(
        &self,
        path: &str,
        token: &str,
        media_type: &str,
        body: Vec<u8>,
    ) -> reqwest::Result<Answer> {
        let request = self.http.post(format!("{}/api{path}", self.base)).bearer_auth(token);
        let request = request.header(reqwest::header::CONTENT_TYPE, media_type).body(body);
        Answer::of(request.send().await?).await
    }

    /// Makes an account with [`PASSWORD`]: Token.
    pub async fn sign_up(&self, username: &str) -> reqwest::Result<Answer> {
        let email = format!("{username}@example.com");
        let body = json!({
            "username": username, "email": email, "password": PASSWORD, "confirm_password": PASSWORD,
        });
        self.ask(Method::POST, "/auth/register", "", Some(body)).await
    }

    /// Signs in: Token.
    pub async fn sign_in(&self, username: &str, password: &str) -> reqwest::Result<Answer> {
        let body = json!({ "username": username, "password": password });
        self.ask(Method::POST, "/auth/login", "", Some(body)).await
    }

    /// Trades a refresh token: Token.
    pub async fn refresh(&self, token: &str) -> reqwest::Result<Answer> {
        self.ask(Method::POST, "/auth/token/refresh", "", Some(json!({ "refresh_token": token }))).await
    }

    /// Ends the session of a token, whichever of its tokens it is: nothing.
    pub async fn revoke(&self, token: &str) -> reqwest::Result<Answer> {
        self.ask(Method::POST, "/auth/token/revoke", "", Some(json!({ "token": token }))).await
    }

    /// Who the token stands for: User.
    pub async fn me(&self, token: &str) -> reqwest::Result<Answer> {
        self.ask(Method::GET, "/user/me", token, None).await
    }

    /// Changes a description: User.
    pub async fn describe(&self, username: &str, token: &str, description: &str) -> reqwest::Result<Answer> {
        let body = json!({ "description": description });
        self.ask(Method::PATCH, &format!("/user/@{username}"), token, Some(body)).await
    }

    /// Deletes an account: User.
    pub async fn delete(&self, username: &str, token: &str) -> reqwest::Result<Answer> {
        self.ask(Method::DELETE, &format!("/user/@{username}"), token, None).await
    }

    /// Whether the server can do its work: status and report.
    pub async fn readiness(&self) -> reqwest::Result<(u16, Value)> {
        let response = self.http.get(format!("{}/health/ready", self.base)).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    /// Changes a password: Message.
    pub async fn change_password(&self, token: &str, old: &str, new: &str) -> reqwest::Result<Answer> {
        let body = json!({ "old_password": old, "new_password": new, "confirm_password": new });
        self.ask(Method::PATCH, "/auth/password/reset", token, Some(body)).await
    }

    /// Signs out: Message.
    pub async fn sign_out(&self, token: &str) -> reqwest::Result<Answer> {
        self.ask(Method::POST, "/auth/logout", token, None).await
    }

    /// Asks for something cheap on behalf of the client at this address; the status.
    pub async fn ask_for(&self, address: &str) -> u16 {
        let request = self.http.get(format!("{}/version", self.base)).header("x-forwarded-for", address);
        let request = request.header(reqwest::header::ACCEPT, "application/json");
        request.send().await.unwrap().status().as_u16()
    }

    /// The sum of all measurements of this name that have these labels.
    pub async fn measured(&self, name: &str, labels: &[&str]) -> f64 {
        let text =
            self.http.get(format!("{}/metrics", self.base)).send().await.unwrap().text().await.unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    /// Sends a form to a page; the status.
    pub async fn submit(&self, path: &str, fields: &[(String, String)]) -> u16 {
        let form = self.http.post(format!("{}{path}", self.base)).form(fields);
        form.send().await.unwrap().status().as_u16()
    }

    /// The public keys that verify access tokens.
    pub async fn keys(&self) -> Vec<Value> {
        let response = self.http.get(format!("{}/.well-known/jwks.json", self.base)).send().await.unwrap();
        let keys: Value = response.json().await.unwrap();
        keys["keys"].as_array().unwrap().clone()
    }
}
