//! The scene of an attack.

use std::ops::Deref;
use std::time::Duration;

use gatehouse::platform::hashing::Load;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Client, Reply, TestApp};

/// The program, and somebody who has nothing to do with what happens to it.
pub struct Scene {
    app: TestApp,
    bystander: Actor,
    before: Value,
}

impl Scene {
    /// On a fresh database.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let app = TestApp::with(settings).await;
        let bystander = app.user("bystander").await;
        let before = bystander.me().await;
        Self { app, bystander, before }
    }

    /// The bystander is still signed in (or can be, if the time of their token is over), and nothing of theirs has changed.
    pub async fn is_unharmed(&self) {
        let valid = self.bystander.get("/api/auth/token/validate").await;
        let is_over = valid.status() == 401 && valid.json()["code"] == "token_expired";
        let bystander = if is_over { self.sign_in("bystander").await } else { self.bystander.clone() };
        let valid = bystander.get("/api/auth/token/validate").await;
        assert_eq!(valid.is(200).text(), format!("ValidToken | {}", self.bystander.id));
        assert_eq!(bystander.me().await, self.before);
    }

    /// The bystander.
    pub fn bystander(&self) -> &Actor {
        &self.bystander
    }

    /// Somebody who signs in from this address, by the word of a proxy (`TRUSTED_PROXIES` must name loopback).
    pub async fn login_from(&self, address: &str, username: &str, password: &str) -> Reply {
        let form = [("username", username), ("password", password)];
        self.post("/api/auth/login").header("x-forwarded-for", address).form(&form).await
    }

    /// What the threads that hash have done, once they are at rest.
    pub async fn hashes(&self) -> Load {
        loop {
            let load = self.inside.passwords.load();
            if load.running == 0 && load.waiting == 0 {
                return load;
            }
            // A loop without a pause would take the core that they need.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The number that this query gives.
    pub async fn number(&self, sql: &str) -> i64 {
        let reader = self.inside.db.reader();
        let statement = Statement::from_string(reader.get_database_backend(), sql);
        let row = reader.query_one_raw(statement).await.expect("an answer").expect("a row");
        row.try_get_by_index(0).expect("a number")
    }
}

impl Deref for Scene {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

/// One operation of the document.
#[derive(Clone, Debug)]
pub struct Operation {
    /// `GET`, `POST`, …
    pub method: String,
    /// With its parameters in braces.
    pub path: String,
    /// Whether it can be had without being signed in.
    pub is_open: bool,
    /// What the document says of it.
    pub described: Value,
}

/// Every operation of the document.
pub fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.inside.document();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, described) in methods.as_object().expect("methods") {
            let ways = described["security"].as_array();
            // Nobody may ask, or another service, or whoever was signed in once, to be out.
            let is_open = ways.is_none_or(|ways| {
                ways.is_empty() || ways.iter().any(|way| *way == json!({}) || way.get("basic").is_some())
            }) || described["operationId"] == "logout";
            let (method, path, described) = (method.to_uppercase(), path.clone(), described.clone());
            operations.push(Operation { method, path, is_open, described });
        }
    }
    assert!(operations.len() > 20, "that can't be all: {operations:?}");
    operations
}

impl Operation {
    /// Asked about this user and this session, with a body that some of them would take.
    pub async fn ask(&self, client: &Client, id: Uuid) -> Reply {
        let request = client.ask(&self.method, &with_ids(&self.path, &id.to_string()));
        if self.described["requestBody"].is_object() { request.json(&json!({})).await } else { request.await }
    }
}

/// A path of the document with its parameters filled in.
pub fn with_ids(path: &str, id: &str) -> String {
    let segments = path.split('/');
    let filled = segments.map(|segment| match segment {
        "{method}" => "none",  // of the second factor
        "{key}" => "REGISTER", // of a flag
        segment if segment.starts_with('{') => id,
        segment => segment,
    });
    filled.collect::<Vec<_>>().join("/")
}

/// How often a race is run.
pub fn rounds() -> usize {
    let set = |name| std::env::var(name).ok().and_then(|rounds| rounds.parse().ok());
    set("ROUNDS").or_else(|| set("GATEHOUSE_RACE_ROUNDS")).unwrap_or(50)
}

/// Two refusals that a client can't tell apart but by the time and their trace ids.
#[track_caller]
pub fn same(one: &Reply, other: &Reply) {
    let shown = |reply: &Reply| {
        let mut headers: Vec<(String, Vec<u8>)> = reply
            .headers()
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "date" | "x-trace-id"))
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        headers.sort_unstable();
        let text = String::from_utf8_lossy(reply.bytes()).replace(reply.trace_id(), "-");
        (reply.status(), headers, text)
    };
    assert_eq!(shown(one), shown(other), "{one:?}\n{other:?}");
}
