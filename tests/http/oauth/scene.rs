//! People between the program and a provider: a browser that keeps its cookies, leaves and comes back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatehouse::platform::secrets::digest;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use url::Url;

use super::idp::{Idp, Person, parameter};
use crate::harness::{Actor, Reply, TestApp, with_query};

/// An address of the application, allowed by default: it is below `BASE_URL`.
pub const APP: &str = "http://localhost:8000/app/in";

/// The program and the provider that it is configured with.
pub struct Scene {
    app: TestApp,
    /// The provider.
    pub idp: Idp,
}

impl Scene {
    /// Mail off.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Mail on, to be read in its inbox.
    pub async fn with_mail() -> Self {
        Self::with(&[("EMAIL_METHOD", "inbox")]).await
    }

    /// With these settings.
    pub async fn with(more: &[(&str, &str)]) -> Self {
        let idp = Idp::start().await;
        let app = TestApp::with(&[&idp.settings()[..], more].concat()).await;
        idp.follow(&app.clock);
        Self { app, idp }
    }

    /// The same with more settings, on the same database.
    pub async fn restarted(self, more: &[(&str, &str)]) -> Self {
        let app = self.app.restarted_with(more).await;
        Self { app, idp: self.idp }
    }

    /// Somebody new, whose provider vouches for `name@example.com`.
    pub fn is(&self, name: &str, subject: &str) {
        self.idp.person(Person::named(name, subject));
    }

    /// A browser without cookies.
    pub fn browser(&self) -> Browser<'_> {
        Browser { scene: self, cookies: RefCell::default() }
    }

    /// Whoever is at the provider right now, signed in by it.
    pub async fn come(&self, provider: &str) -> Actor {
        let code = self.browser().code(provider).await;
        let tokens = self.trade(&code).await.is(200).json();
        let mut actor = Actor::with_tokens(&self.app, "?", &tokens);
        let me = actor.me().await;
        me["username"].as_str().unwrap().clone_into(&mut actor.name);
        actor
    }

    /// What coming in by this provider ends in: `error`.
    pub async fn trouble(&self, provider: &str) -> String {
        let back = self.browser().there_and_back(provider).await;
        let place = place_of(&back);
        assert_eq!(parameter(&place, "code"), None, "{place}");
        parameter(&place, "error").unwrap_or_else(|| panic!("no error: {place}"))
    }

    /// What trading a code answers.
    pub async fn trade(&self, code: &str) -> Reply {
        self.app.post("/api/oauth/token").json(&json!({"code": code, "redirect_uri": APP})).await
    }

    /// The number that this query gives.
    pub async fn number(&self, sql: &str) -> i64 {
        let reader = self.inside.db.reader();
        let statement = Statement::from_string(reader.get_database_backend(), sql);
        let row = reader.query_one_raw(statement).await.expect("an answer").expect("a row");
        row.try_get_by_index(0).expect("a number")
    }

    /// How many people there are.
    pub async fn people(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM users").await
    }

    /// How many accounts elsewhere are linked.
    pub async fn links(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM external_accounts").await
    }
}

impl Deref for Scene {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

/// A browser: it keeps cookies.
pub struct Browser<'a> {
    scene: &'a Scene,
    cookies: RefCell<BTreeMap<String, String>>,
}

impl Browser<'_> {
    /// The header of its cookies.
    pub fn header(&self) -> String {
        let cookies = self.cookies.borrow();
        let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    /// Takes the cookies of an answer.
    pub fn take(&self, reply: &Reply) {
        for set in reply.headers().get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (pair, attributes) = set.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"), "{set}");
            if attributes.contains("Max-Age=0") {
                self.cookies.borrow_mut().remove(name);
            } else {
                self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Goes to a page of the program.
    pub async fn get(&self, path: &str) -> Reply {
        let reply = self.scene.get(path).header("cookie", &self.header()).await;
        self.take(&reply);
        reply
    }

    /// Sends a form of one of our pages.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let ask = self.scene.post(path).header("cookie", &self.header());
        let reply = ask.header("sec-fetch-site", "same-origin").form(fields).await;
        self.take(&reply);
        reply
    }

    /// Leaves for a provider; the page there.
    pub async fn leave(&self, provider: &str, redirect_uri: &str) -> String {
        let path = with_query(&format!("/api/oauth/{provider}"), &[("redirect_uri", redirect_uri)]);
        self.get(&path).await.is(302).header("location").unwrap().to_owned()
    }

    /// Leaves for a provider, signs in there; where it sends the browser back to.
    pub async fn leave_and_sign_in(&self, provider: &str, redirect_uri: &str) -> String {
        let url = self.leave(provider, redirect_uri).await;
        path_of(&self.scene.idp.visit(&url).await)
    }

    /// Leaves for a provider and comes back.
    pub async fn there_and_back(&self, provider: &str) -> Reply {
        let callback = self.leave_and_sign_in(provider, APP).await;
        self.get(&callback).await
    }

    /// Leaves for a provider and comes back with a code.
    pub async fn code(&self, provider: &str) -> String {
        code_of(&self.there_and_back(provider).await)
    }

    /// Sends somebody who is signed in by a token away, and back. What they leave for is `link` or `reauthenticate`.
    pub async fn send(&self, actor: &Actor, provider: &str, act: &str) -> Reply {
        let callback = path_of(&self.scene.idp.visit(&self.send_away(actor, provider, act).await).await);
        self.get(&callback).await
    }

    /// Sends somebody who is signed in by a token away; the page of the provider.
    pub async fn send_away(&self, actor: &Actor, provider: &str, act: &str) -> String {
        let reply = actor.post(&format!("/api/oauth/{provider}/{act}")).await;
        self.take(reply.is(200));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        reply.json()["authorization_url"].as_str().unwrap().to_owned()
    }
}

/// Path and query of an address of the program.
pub fn path_of(url: &Url) -> String {
    assert_eq!(url.origin().ascii_serialization(), "http://localhost:8000", "{url}");
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// Where an answer sends the browser; it is kept by nobody on the way, and tells nobody of tokens.
#[track_caller]
pub fn place_of(reply: &Reply) -> Url {
    let location = reply.is(303).header("location").unwrap();
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    assert!(!location.contains("=eyJ") && !location.contains("=gr_"), "{location}");
    Url::parse("http://localhost:8000").unwrap().join(location).unwrap()
}

/// The code that an answer sends to the application.
#[track_caller]
pub fn code_of(reply: &Reply) -> String {
    let place = place_of(reply);
    assert!(place.as_str().starts_with(APP), "{place}");
    parameter(&place, "code").unwrap_or_else(|| panic!("no code: {place}"))
}

/// The error that an answer sends back.
#[track_caller]
pub fn error_of(reply: &Reply) -> String {
    let place = place_of(reply);
    assert_eq!(parameter(&place, "code"), None);
    parameter(&place, "error").unwrap_or_else(|| panic!("no error: {place}"))
}

/// A verifier and its challenge (RFC 7636).
pub fn pkce() -> (&'static str, String) {
    let verifier = "the-verifier-of-the-application-0123456789-abc";
    (verifier, URL_SAFE_NO_PAD.encode(digest(verifier.as_bytes())))
}

/// The names of the providers in somebody's profile.
pub fn linked(user: &Value) -> Vec<String> {
    let accounts = user["external_accounts"].as_array().unwrap().iter();
    accounts.map(|account| account["provider"].as_str().unwrap().to_owned()).collect()
}
