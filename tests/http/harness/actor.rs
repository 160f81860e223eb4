//! People who use the program.

use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use uuid::Uuid;

use super::{Client, TestApp};

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Actor {
    /// The user name.
    pub name: String,
    /// The account's id.
    pub id: Uuid,
    /// The access token that they show.
    pub access: String,
    /// The refresh token that goes with it.
    pub refresh: String,
    client: Client,
}

impl Actor {
    /// Somebody whom signing in gave these tokens.
    pub fn with_tokens(anyone: &Client, name: &str, tokens: &Value) -> Self {
        let text = |member: &str| tokens[member].as_str().expect("a Token").to_owned();
        let (access, refresh) = (text("access_token"), text("refresh_token"));
        let id = claims(&access)["sub"].as_str().expect("sub").parse().expect("a UUID");
        Self { name: name.to_owned(), id, client: anyone.with_bearer(&access), access, refresh }
    }

    /// The same person at another instance.
    pub fn at(&self, app: &TestApp) -> Self {
        Self { client: app.with_bearer(&self.access), ..self.clone() }
    }

    /// The same person, showing another access token.
    pub fn showing(&self, token: &str) -> Self {
        Self { client: self.client.with_bearer(token), access: token.to_owned(), ..self.clone() }
    }

    /// Where they are: `/api/user/{uuid}`.
    pub fn path(&self) -> String {
        format!("/api/user/{}", self.id)
    }

    /// Their session's id, as the access token says.
    pub fn session(&self) -> Uuid {
        claims(&self.access)["sid"].as_str().expect("sid").parse().expect("a UUID")
    }

    /// Themselves as they see themselves.
    pub async fn me(&self) -> Value {
        self.get("/api/user/me").await.is(200).json()
    }
}

impl Deref for Actor {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What an access token says; nothing is verified here.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}
