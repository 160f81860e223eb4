//! An identity provider of the tests: every provider that the program knows, over real HTTP, as honest or as false as
//! it is told to be.
//!
//! ```ignore
//! let idp = Idp::start().await;
//! let app = TestApp::with(&idp.settings()).await;   // every provider configured and led to this server
//! idp.follow(&app.clock);                           // ID tokens are dated by the program's clock
//! idp.person(Person { email: None, ..Person::ann() });
//! let callback = idp.visit(&authorization_url).await;   // what the browser is sent back to: code, state, iss
//! idp.claims(|claims| claims["aud"] = json!("another")); // from now on, until `idp.honest()`
//! idp.at(Place::Token, Manner::Hang);
//! assert_eq!(idp.asked(Place::Token).len(), 1);
//! ```
//!
//! Each provider has a folder of its own: `OAUTH_GITHUB_BASE_URL` is `{base}/github`; the OpenID Connect issuers `acme`
//! and `other` are `{base}/acme` and `{base}/other`. Every host of the AT Protocol is a folder below `{base}/bluesky`: handles
//! are `NAME.test`, as `ann.test`. Where nothing false is asked for, it holds the client to the rules: a
//! code is good once, for its provider, client, redirect address and PKCE verifier.

mod atproto;
mod keys;
mod serve;
mod shapes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use gatehouse::platform::clock::Clock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use url::Url;

use crate::harness::START;
pub use atproto::{checked_jwt, did};
pub use keys::Forgery;
use keys::Keys;

/// What every client is called here, and its secret.
pub const CLIENT_ID: &str = "gatehouse-client";
/// The secret of every client; long enough to be a bad HMAC key.
pub const CLIENT_SECRET: &str = "client-secret-of-the-tests-0123456789";

/// The providers that are configured by an id and a secret.
pub const PROVIDERS: [&str; 6] = ["discord", "github", "google", "twitch", "reddit", "twitter"];
/// The OpenID Connect issuers.
pub const ISSUERS: [&str; 2] = ["acme", "other"];

/// Somebody with an account at the provider.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their id; digits, so that it fits every provider.
    pub subject: String,
    /// Their name.
    pub username: String,
    /// What they are shown as.
    pub name: String,
    /// Their address.
    pub email: Option<String>,
    /// What the provider says of it.
    pub email_verified: Value,
    /// Address of their picture; none: none.
    pub picture: Option<String>,
}

impl Person {
    /// Ann, whose address is verified and who has no picture.
    pub fn ann() -> Self {
        Self::named("ann", "80351110224678912")
    }

    /// Somebody else: `name@example.com`, verified.
    pub fn named(name: &str, subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            username: name.to_owned(),
            name: format!("{}{} Example", name[..1].to_uppercase(), &name[1..]),
            email: Some(format!("{name}@example.com")),
            email_verified: json!(true),
            picture: None,
        }
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// `/.well-known/openid-configuration`.
    Discovery,
    /// The key set.
    Keys,
    /// Where people sign in.
    Authorize,
    /// Where codes and refresh tokens are exchanged.
    Token,
    /// Who the access token is of.
    Profile,
    /// GitHub's list of addresses.
    Emails,
    /// Where tokens are given back.
    Revoke,
    /// A picture: a PNG of one pixel.
    Picture,
    /// Bluesky: whose a handle is.
    Handle,
    /// Bluesky: the document of a DID.
    Did,
    /// Bluesky: what the server that keeps an account says of itself.
    Server,
    /// Bluesky: where a sign-in is announced (PAR).
    Announce,
    /// Anything else.
    Elsewhere,
}

type Change = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// How a place answers.
#[derive(Clone)]
pub enum Manner {
    /// This status and a page of HTML.
    Status(u16),
    /// This status and JSON.
    Json(u16, Value),
    /// 200, this media type and this text.
    Text(&'static str, String),
    /// 200, this media type and these bytes.
    Bytes(&'static str, Vec<u8>),
    /// 200, this media type and these bytes, packed with gzip.
    Packed(&'static str, Vec<u8>),
    /// Nothing, for a minute.
    Hang,
    /// The connection ends without an answer.
    Reset,
    /// JSON without end.
    Endless,
    /// A byte each half second.
    Trickle,
    /// 302 to this address.
    Redirect(String),
    /// The honest JSON, changed.
    Changed(Change),
}

impl Manner {
    /// The honest JSON, changed.
    pub fn changed(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        Self::Changed(Arc::new(change))
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it was about.
    pub place: Place,
    /// The provider: the first part of the path.
    pub provider: String,
    /// The method.
    pub method: String,
    /// The path behind the provider.
    pub path: String,
    /// Its query, then its form.
    pub fields: Vec<(String, String)>,
    /// Its headers, names in lower case.
    pub headers: HashMap<String, String>,
}

impl Asked {
    /// A field of the query or the form.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    /// A header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// The server.
pub struct Idp {
    state: Arc<State>,
    server: AbortHandle,
}

struct State {
    base: String,
    keys: Keys,
    script: Mutex<Script>,
    ledger: Mutex<Ledger>,
}

/// How it behaves.
struct Script {
    clock: Clock,
    person: Person,
    manners: HashMap<(Option<String>, Place), Manner>,
    claims: Option<Change>,
    forgery: Forgery,
    #[expect(clippy::option_option, reason = "to say nothing is not to leave it as it is")]
    response_iss: Option<Option<String>>,
}

/// What happened.
#[derive(Default)]
struct Ledger {
    asked: Vec<Asked>,
    codes: HashMap<String, Code>,
    /// Whose an access token is; and of which provider.
    tokens: HashMap<String, (String, Person)>,
    refresh_tokens: HashMap<String, (String, Person)>,
    revoked: Vec<String>,
    number: usize,
}

#[derive(Clone)]
struct Code {
    provider: String,
    client_id: String,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    person: Person,
}

impl Idp {
    /// A server on a free port of loopback, honest, where Ann signs in.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script = Script {
            clock: Clock::manual(START),
            person: Person::ann(),
            manners: HashMap::new(),
            claims: None,
            forgery: Forgery::None,
            response_iss: None,
        };
        let state = Arc::new(State {
            base: format!("http://{address}"),
            keys: Keys::new(),
            script: Mutex::new(script),
            ledger: Mutex::default(),
        });
        let server = tokio::spawn(serve::serve(listener, Arc::clone(&state))).abort_handle();
        Self { state, server }
    }

    /// Where it is, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.state.base
    }

    /// Settings that configure every provider of [`PROVIDERS`] and [`ISSUERS`] and lead them here.
    pub fn settings(&self) -> Vec<(&'static str, &'static str)> {
        let mut pairs = vec![("OIDC_PROVIDERS".to_owned(), ISSUERS.join(","))];
        pairs.push(("BLUESKY_ENABLED".to_owned(), "True".to_owned()));
        pairs.push(("OAUTH_BLUESKY_BASE_URL".to_owned(), format!("{}/bluesky", self.base())));
        for name in PROVIDERS {
            let upper = name.to_uppercase();
            pairs.push((format!("API_CLIENT_ID_{upper}"), CLIENT_ID.to_owned()));
            pairs.push((format!("API_CLIENT_SECRET_{upper}"), CLIENT_SECRET.to_owned()));
            pairs.push((format!("OAUTH_{upper}_BASE_URL"), format!("{}/{name}", self.base())));
        }
        for name in ISSUERS {
            let upper = name.to_uppercase();
            pairs.push((format!("OIDC_{upper}_ISSUER"), format!("{}/{name}", self.base())));
            pairs.push((format!("OIDC_{upper}_CLIENT_ID"), CLIENT_ID.to_owned()));
            pairs.push((format!("OIDC_{upper}_CLIENT_SECRET"), CLIENT_SECRET.to_owned()));
        }
        // A test process ends soon; that its settings live as long spares every test the borrowing.
        let kept = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        pairs.into_iter().map(|(name, text)| (kept(name), kept(text))).collect()
    }

    /// From now on ID tokens are dated by this clock.
    pub fn follow(&self, clock: &Clock) {
        self.script().clock = clock.clone();
    }

    /// From now on this person signs in.
    pub fn person(&self, person: Person) {
        self.script().person = person;
    }

    /// From now on this place answers like that, at every provider.
    pub fn at(&self, place: Place, manner: Manner) {
        self.script().manners.insert((None, place), manner);
    }

    /// From now on this place answers like that at this provider.
    pub fn at_of(&self, provider: &str, place: Place, manner: Manner) {
        self.script().manners.insert((Some(provider.to_owned()), place), manner);
    }

    /// From now on the claims of ID tokens are changed so before they are signed.
    pub fn claims(&self, change: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.script().claims = Some(Arc::new(change));
    }

    /// From now on ID tokens are signed so.
    pub fn forge(&self, forgery: Forgery) {
        self.script().forgery = forgery;
    }

    /// From now on callbacks carry this `iss` (RFC 9207), or none.
    pub fn response_iss(&self, iss: Option<&str>) {
        self.script().response_iss = Some(iss.map(str::to_owned));
    }

    /// From now on it is honest again; the person and the clock stay.
    pub fn honest(&self) {
        let mut script = self.script();
        script.manners.clear();
        script.claims = None;
        script.forgery = Forgery::None;
        script.response_iss = None;
    }

    /// From now on another key signs; the one before is forgotten.
    pub fn rotate_keys(&self) {
        self.state.keys.rotate();
    }

    /// What a browser does: goes to the authorization address, signs in there, and is sent back to this one.
    pub async fn visit(&self, authorization_url: &str) -> Url {
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let browser = browser.tls_certs_only([]).no_proxy().build().expect("a client");
        // The hosts of the AT Protocol are folders here.
        let hosts = format!("{}/bluesky/bsky.social/", self.base());
        let authorization_url = authorization_url.replace("https://bsky.social/", &hosts);
        let answer = browser.get(&authorization_url).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 302, "{:?}", answer.text().await);
        let location = answer.headers()["location"].to_str().expect("text").to_owned();
        Url::parse(&location).expect("an address")
    }

    /// What was asked at this place, in order.
    pub fn asked(&self, place: Place) -> Vec<Asked> {
        let ledger = self.state.ledger();
        ledger.asked.iter().filter(|asked| asked.place == place).cloned().collect()
    }

    /// Everything that was asked, in order.
    pub fn all_asked(&self) -> Vec<Asked> {
        self.state.ledger().asked.clone()
    }

    /// The tokens that were given back.
    pub fn revoked(&self) -> Vec<String> {
        self.state.ledger().revoked.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.state.script.lock().expect("no test panics while it holds the script")
    }
}

impl State {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no test panics while it holds the ledger")
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no test panics while it holds the script")
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The value of a query parameter of an address.
pub fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(present, _)| present == name).map(|(_, value)| value.into_owned())
}
