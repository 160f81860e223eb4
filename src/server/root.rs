//! The operations at the root: signs of life, measurements, the version, the key set.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use poem::Request;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::payload::PlainText;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object, OpenApi, Tags};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::about::{Machine, Repository};
use crate::events::Broker;
use crate::flags::Flags;
use crate::oauth::{ClientKey, ClientMetadata, Connections};
use crate::permissions::{Action, Allowed, Context, Gate, Resource, Subject, System};
use crate::platform::config::MetricsToken;
use crate::platform::db::Database;
use crate::platform::part_state::PartState;
use crate::platform::problem::{Breakage, Failure};
use crate::platform::shape::{Shape, Shaped, Words};
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::web::{ClientInfo, Json, TrustedProxies, is_forwarded};
use crate::rate_limit::Limits;
use crate::sessions::{Caller, Jwk, Sessions};
use crate::workos::Workos;

/// The answer to `GET /ping`, which the edge gives by itself where nothing is special about the request.
pub const PONG: &str = "pong";

/// The operations at the root.
pub struct RootApi {
    /// The database that must answer before the server is ready.
    pub db: Database,
    /// The message broker that events go to, where there is one.
    pub broker: Option<Broker>,
    /// Whose public keys are shown.
    pub sessions: Arc<Sessions>,
    /// What is switched on.
    pub flags: Flags,
    /// The policies, and who may see the parts of the report.
    pub gate: Arc<Gate>,
    /// How often clients may do something; counted in Redis, where there is one.
    pub limits: Arc<Limits>,
    /// Networks that may see the parts of the report without signing in.
    pub metrics_allow: Vec<IpNet>,
    /// What others show to read measurements from elsewhere.
    pub metrics_token: Option<MetricsToken>,
    /// What is measured.
    pub metrics: Metrics,
    /// The proxies whose word about the client counts.
    pub proxies: TrustedProxies,
    /// What this server is to others.
    pub connections: Connections,
    /// The directory at WorkOS, where there is one.
    pub workos: Workos,
    /// A stop was asked for: not ready any more.
    pub stopping: CancellationToken,
}

/// What the document says of signs of life beyond types.
#[must_use]
pub fn shapes() -> Vec<Shaped> {
    let about = "Whether the server can do its work.";
    let states = Words { name: "ReadinessState", about, all: vec!["ok", "degraded", "unavailable"] };
    let mut shapes = crate::shapes! {
        Alive { status: Shape::always("ok") }
        Readiness { status: Shape::one_of(states) }
    };
    shapes.push(Shaped::field(&PublicKey::name(), "use", Shape::always("sig")));
    shapes
}

#[derive(Tags)]
enum Section {
    /// Signs of life.
    System,
}

/// A sign of life.
#[derive(Debug, Serialize, Object)]
pub struct Alive {
    /// Always `ok`.
    pub status: String,
}

/// The program's version.
#[derive(Debug, Serialize, Object)]
pub struct Version {
    /// The version.
    pub version: String,
}

/// Whether the server can do its work.
#[derive(Debug, Serialize, Object)]
pub struct Readiness {
    /// `ok`, `degraded` (works, but somebody should look) or `unavailable`.
    pub status: String,
    /// Each part and its state; for admins and `METRICS_ALLOW`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub parts: Option<BTreeMap<String, String>>,
}

/// The public keys that verify access tokens (RFC 7517, 5).
#[derive(Debug, Serialize, Object)]
pub struct KeySet {
    /// The keys, the signing one first.
    pub keys: Vec<PublicKey>,
}

/// A public key (RFC 7517, 4). It has no member that could hold a private one.
#[derive(Debug, Serialize, Object)]
pub struct PublicKey {
    /// Family: `OKP` or `EC`.
    pub kty: String,
    /// Its name in the header of tokens.
    pub kid: String,
    /// Always `sig`: for signatures.
    #[serde(rename = "use")]
    #[oai(rename = "use")]
    pub usage: String,
    /// The algorithm that it is for.
    pub alg: String,
    /// The curve.
    pub crv: String,
    /// The key, or its first coordinate; base64url.
    pub x: String,
    /// The second coordinate of `EC`; base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub y: Option<String>,
}

impl From<Jwk> for PublicKey {
    fn from(key: Jwk) -> Self {
        let Jwk { kty, kid, usage, alg, crv, x, y } = key;
        let [kty, usage, alg, crv] = [kty, usage, alg, crv].map(str::to_owned);
        Self { kty, kid, usage, alg, crv, x, y }
    }
}

impl From<ClientKey> for PublicKey {
    fn from(ClientKey { kid, x, y }: ClientKey) -> Self {
        let [kty, usage, alg, crv] = ["EC", "sig", "ES256", "P-256"].map(str::to_owned);
        Self { kty, kid, usage, alg, crv, x, y: Some(y) }
    }
}

crate::permissions! {
    /// Read about the machine and the repository.
    ReadSystem: SystemRead on System;
}

crate::refusals! {
    /// Why this server says nothing of itself as a client.
    pub enum NoClient {
        SwitchedOff = 404 "not_found" "Nobody signs in with Bluesky here.",
    }
}

crate::refusals! {
    /// Why measurements are not shown.
    pub enum NotShown {
        WrongToken = 401 "token_invalid" "This token does not open the measurements.",
        Hidden = 404 "not_found" "There is nothing here.",
    }
}

/// The measurements.
#[derive(ApiResponse)]
enum MetricsAnswer {
    /// The measurements, in Prometheus' text format.
    #[oai(status = 200, content_type = "text/plain; version=0.0.4; charset=utf-8")]
    Ok(PlainText<String>),
}

/// The readiness report, with 200 or 503.
pub struct ReadinessAnswer(Readiness);

impl IntoResponse for ReadinessAnswer {
    fn into_response(self) -> Response {
        let ready = self.0.status != "unavailable";
        let mut response = Json(self.0).into_response();
        if !ready {
            response.set_status(StatusCode::SERVICE_UNAVAILABLE);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl ApiResponse for ReadinessAnswer {
    fn meta() -> MetaResponses {
        let mut meta = Json::<Readiness>::meta();
        let mut unready = Json::<Readiness>::meta();
        unready.responses.iter_mut().for_each(|response| response.status = Some(503));
        meta.responses.extend(unready.responses);
        meta
    }

    fn register(registry: &mut Registry) {
        Readiness::register(registry);
    }
}

/// The key set, which may be kept for a few minutes.
#[derive(ApiResponse)]
enum KeySetAnswer {
    /// The public keys.
    #[oai(status = 200)]
    Ok(Json<KeySet>, #[oai(header = "Cache-Control")] String),
}

#[OpenApi(tag = "Section::System")]
impl RootApi {
    /// Ping
    #[oai(path = "/ping", method = "get", operation_id = "_ping")]
    async fn ping(&self) -> PlainText<&'static str> {
        PlainText(PONG)
    }

    /// The version
    #[oai(path = "/version", method = "get", operation_id = "_version")]
    async fn version(&self) -> Json<Version> {
        Json(Version { version: env!("CARGO_PKG_VERSION").to_owned() })
    }

    /// The machine that the server runs on
    ///
    /// For admins: system, processors, memory, and since when the process runs.
    #[oai(path = "/machine", method = "get", operation_id = "_machine")]
    async fn machine(&self, _allowed: Allowed<ReadSystem>) -> poem::Result<Json<Machine>> {
        let (begun, up) = (self.metrics.begun(), self.metrics.up());
        let machine = spawn_blocking(move || Machine::look(begun, up)).await;
        Ok(Json(machine.map_err(|error| Breakage::from(error).problem())?))
    }

    /// Which program the server is
    ///
    /// For admins: its name, version and licence, and where its source is if the program knows.
    #[oai(path = "/repository", method = "get", operation_id = "_repository")]
    async fn repository(&self, _allowed: Allowed<ReadSystem>) -> Json<Repository> {
        Json(Repository::own())
    }

    /// Whether the process lives
    #[oai(path = "/healthcheck", method = "get", operation_id = "healthcheck")]
    async fn healthcheck(&self) -> Json<Alive> {
        Json(Alive { status: "ok".to_owned() })
    }

    /// Whether the process lives; for orchestrators
    #[oai(path = "/health/live", method = "get", operation_id = "health_live")]
    async fn live(&self) -> Json<Alive> {
        Json(Alive { status: "ok".to_owned() })
    }

    /// Whether the server can do its work
    ///
    /// 503 while a needed part is away or a stop has been asked for. Admins and `METRICS_ALLOW` see each part.
    #[oai(path = "/health/ready", method = "get", operation_id = "health_ready")]
    async fn ready(&self, request: &Request, client: ClientInfo) -> ReadinessAnswer {
        let parts = self.parts().await;
        let worst = parts.values().max().unwrap_or(&PartState::Good).word();
        let shown = || parts.iter().map(|(name, state)| ((*name).to_owned(), state.to_string())).collect();
        let parts = self.may_see_parts(request, client.ip).await.then(shown);
        ReadinessAnswer(Readiness { status: worst.to_owned(), parts })
    }

    /// Measurements for Prometheus
    ///
    /// For networks in `METRICS_ALLOW`, without a proxy between; for who sends `METRICS_TOKEN` as a bearer token; for admins.
    /// To others there is nothing here.
    #[oai(path = "/metrics", method = "get", operation_id = "metrics")]
    async fn metrics(&self, request: &Request) -> Result<MetricsAnswer, Failure<NotShown>> {
        self.admit_to_metrics(request).await?;
        Ok(MetricsAnswer::Ok(PlainText(self.metrics.text().await)))
    }

    /// The public keys that verify access tokens
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "jwks")]
    async fn jwks(&self) -> KeySetAnswer {
        let keys = self.sessions.jwks().keys.into_iter().map(PublicKey::from).collect();
        KeySetAnswer::Ok(Json(KeySet { keys }), "public, max-age=60".to_owned())
    }

    /// What this server is to servers of the AT Protocol
    ///
    /// The metadata of the client by which people sign in with Bluesky; the address of this document is the client's id.
    #[oai(path = "/oauth/client-metadata.json", method = "get", operation_id = "oauth_client_metadata")]
    async fn client_metadata(&self) -> Result<Json<ClientMetadata>, Failure<NoClient>> {
        Ok(Json(self.connections.client_metadata().ok_or(NoClient::SwitchedOff)?))
    }

    /// The public keys that prove it to them
    #[oai(path = "/oauth/jwks.json", method = "get", operation_id = "oauth_jwks")]
    async fn client_keys(&self) -> Result<Json<KeySet>, Failure<NoClient>> {
        let keys = self.connections.client_keys().ok_or(NoClient::SwitchedOff)?;
        Ok(Json(KeySet { keys: keys.into_iter().map(PublicKey::from).collect() }))
    }
}

impl RootApi {
    async fn parts(&self) -> BTreeMap<&'static str, PartState> {
        let server = if self.stopping.is_cancelled() { PartState::Unavailable } else { PartState::Good };
        let mut parts = BTreeMap::from([
            ("database", self.database().await),
            ("flags", PartState::with(self.flags.mistake())),
            ("policies", PartState::with(self.gate.permissions.status().mistake)),
            ("server", server),
        ]);
        if let Some(broker) = &self.broker {
            parts.insert("events", broker.state().await);
        }
        if let Some(is_here) = self.limits.redis_is_here() {
            let alone = "limits are counted in memory, by each instance for itself";
            parts.insert("redis", PartState::with((!is_here).then_some(alone)));
        }
        parts.extend(self.workos.readiness().await.map(|workos| ("workos", workos)));
        parts
    }

    /// Where it only lacks room, the server is degraded and not unavailable: reading goes on, tokens are verified, and a
    /// balancer that took every instance out, as all have the same database, would end that, too.
    async fn database(&self) -> PartState {
        if self.db.ping().await.is_err() || self.db.is_damaged() {
            return PartState::Unavailable;
        }
        let lack = self.db.lacks().await;
        PartState::with(lack.map(|missing| format!("nothing can be written: {missing}")))
    }

    /// What a proxy passed on that nobody trusts is told nothing, whatever it shows. The peer counts, not who a trusted proxy
    /// says the client is: an allowed network is one that reaches the server by itself.
    async fn admit_to_metrics(&self, request: &Request) -> Result<(), NotShown> {
        let peer = request.remote_addr().as_socket_addr().map(|peer| peer.ip().to_canonical());
        let forwarded = is_forwarded(request.headers());
        if forwarded && !peer.is_some_and(|peer| self.proxies.trusts(peer)) {
            return Err(NotShown::Hidden);
        }
        let is_allowed = |ip: IpAddr| self.metrics_allow.iter().any(|network| network.contains(&ip));
        if (!forwarded && peer.is_some_and(is_allowed)) || self.shows_token(request) {
            return Ok(());
        }
        match Caller::of_any(request).await {
            Ok(Some(caller)) if self.may_read_metrics(&caller) => Ok(()),
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED => Err(NotShown::WrongToken),
            _ => Err(NotShown::Hidden),
        }
    }

    fn may_read_metrics(&self, caller: &Caller) -> bool {
        let subject = Subject::from(caller);
        self.gate.allows(&subject, Action::MetricsRead, &Resource::System, Context::default())
    }

    fn shows_token(&self, request: &Request) -> bool {
        let shown = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let shown = shown.and_then(|shown| {
            let (scheme, token) = shown.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        self.metrics_token.as_ref().zip(shown).is_some_and(|(known, shown)| known.is(shown))
    }

    /// A request that a proxy passed on is not from the network that the proxy stands in.
    async fn may_see_parts(&self, request: &Request, ip: IpAddr) -> bool {
        if self.metrics_allow.iter().any(|network| network.contains(&ip)) && !is_forwarded(request.headers())
        {
            return true;
        }
        let Ok(caller) = Caller::of(request).await else { return false };
        let subject = Subject::from(&caller);
        self.gate.allows(&subject, Action::SystemRead, &Resource::System, Context::default())
    }
}
