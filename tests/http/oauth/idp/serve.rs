//! The server behind [`Idp`](super::Idp).

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

use super::{Asked, CLIENT_ID, CLIENT_SECRET, Code, Manner, Person, Place, State, shapes};

/// A PNG of one pixel.
pub const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

pub type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer, or the end of the connection.
type Answer = Result<Response<Body>, io::Error>;

pub async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let service = service_fn(move |request| {
            let state = Arc::clone(&state);
            async move { state.answer(request).await }
        });
        let served =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(served);
        while connections.try_join_next().is_some() {}
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let asked = read(request).await;
        self.ledger().asked.push(asked.clone());
        let manner = {
            let script = self.script();
            let of_provider = script.manners.get(&(Some(asked.provider.clone()), asked.place));
            of_provider.or_else(|| script.manners.get(&(None, asked.place))).cloned()
        };
        match manner {
            None => Ok(self.honestly(&asked)),
            Some(Manner::Changed(change)) => {
                let honest = self.honestly(&asked);
                let (parts, body) = honest.into_parts();
                let bytes = body.collect().await.expect("a body").to_bytes();
                let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
                change(&mut value);
                Ok(json_answer(parts.status, &value))
            }
            Some(manner) => falsely(manner).await,
        }
    }

    fn honestly(&self, asked: &Asked) -> Response<Body> {
        if asked.provider == "bluesky" {
            return self.atproto(asked);
        }
        match asked.place {
            Place::Discovery => json_answer(StatusCode::OK, &self.metadata(&asked.provider)),
            Place::Keys => json_answer(StatusCode::OK, &self.keys.jwks()),
            Place::Authorize => self.authorize(asked),
            Place::Token => match self.token(asked) {
                Ok(answer) => json_answer(StatusCode::OK, &answer),
                // GitHub tells of errors with 200.
                Err(error) if asked.provider == "github" => {
                    json_answer(StatusCode::OK, &json!({"error": error, "error_description": error}))
                }
                Err(error) => json_answer(StatusCode::BAD_REQUEST, &json!({"error": error})),
            },
            Place::Profile => self.about(asked, |person| shapes::profile(&asked.provider, person)),
            Place::Emails => self.about(asked, shapes::emails),
            Place::Revoke => self.revoke(asked),
            Place::Picture => {
                let pixel = STANDARD.decode(PIXEL).expect("base64");
                answer(StatusCode::OK, "image/png", pixel)
            }
            _ => answer(StatusCode::NOT_FOUND, "text/html", "<h1>Not found</h1>"),
        }
    }

    /// The issuer of a provider: Twitch has a path of its own.
    fn issuer(&self, provider: &str) -> String {
        let path = if provider == "twitch" { "/oauth2" } else { "" };
        format!("{}/{provider}{path}", self.base)
    }

    fn metadata(&self, provider: &str) -> Value {
        let issuer = self.issuer(provider);
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "userinfo_endpoint": format!("{issuer}/userinfo"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "jwks_uri": format!("{issuer}/keys"),
            "response_types_supported": ["code", "id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "authorization_response_iss_parameter_supported": provider == "acme",
        })
    }

    fn authorize(&self, asked: &Asked) -> Response<Body> {
        let (person, response_iss) = {
            let script = self.script();
            (script.person.clone(), script.response_iss.clone())
        };
        let field = |name: &str| asked.field(name).map(str::to_owned);
        let complete = field("response_type").as_deref() == Some("code")
            && field("code_challenge_method").as_deref() == Some("S256")
            && field("client_id").as_deref() == Some(CLIENT_ID);
        let (Some(redirect_uri), Some(state), Some(challenge), true) =
            (field("redirect_uri"), field("state"), field("code_challenge"), complete)
        else {
            return json_answer(StatusCode::BAD_REQUEST, &json!({"error": "invalid_request"}));
        };
        let code = {
            let mut ledger = self.ledger();
            ledger.number += 1;
            let name = format!("code-{}-{}", asked.provider, ledger.number);
            let code = Code {
                provider: asked.provider.clone(),
                client_id: CLIENT_ID.to_owned(),
                redirect_uri: redirect_uri.clone(),
                challenge,
                nonce: field("nonce"),
                person,
            };
            ledger.codes.insert(name.clone(), code);
            name
        };
        let mut back = Url::parse(&redirect_uri).expect("an address");
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &state);
        let announced = (asked.provider == "acme").then(|| self.issuer("acme"));
        if let Some(iss) = response_iss.unwrap_or(announced) {
            back.query_pairs_mut().append_pair("iss", &iss);
        }
        redirect(back.as_str())
    }

    fn token(&self, asked: &Asked) -> Result<Value, &'static str> {
        check_client(asked)?;
        let provider = &asked.provider;
        let (person, nonce) = match asked.field("grant_type") {
            Some("authorization_code") => {
                let code = asked.field("code").ok_or("invalid_request")?;
                // Good once: it is gone whatever comes of it.
                let code = self.ledger().codes.remove(code).ok_or("invalid_grant")?;
                let verifier = asked.field("code_verifier").ok_or("invalid_grant")?;
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
                let fits = code.provider == *provider
                    && code.client_id == CLIENT_ID
                    && asked.field("redirect_uri") == Some(&code.redirect_uri)
                    && URL_SAFE_NO_PAD.encode(digest) == code.challenge;
                if !fits {
                    return Err("invalid_grant");
                }
                (code.person, code.nonce)
            }
            Some("refresh_token") => {
                let token = asked.field("refresh_token").ok_or("invalid_request")?;
                let (of, person) = self.ledger().refresh_tokens.remove(token).ok_or("invalid_grant")?;
                if of != *provider {
                    return Err("invalid_grant");
                }
                (person, None)
            }
            _ => return Err("unsupported_grant_type"),
        };
        let mut answer = self.new_tokens(provider, &person);
        if is_open_id(provider) {
            answer["id_token"] = Value::String(self.id_token(provider, &person, nonce.as_deref()));
        }
        Ok(answer)
    }

    fn new_tokens(&self, provider: &str, person: &Person) -> Value {
        let mut ledger = self.ledger();
        ledger.number += 1;
        let (access, refresh) =
            (format!("access-{provider}-{}", ledger.number), format!("refresh-{provider}-{}", ledger.number));
        ledger.tokens.insert(access.clone(), (provider.to_owned(), person.clone()));
        // GitHub's tokens neither end nor are renewed.
        if provider == "github" {
            return json!({"access_token": access, "token_type": "bearer", "scope": "read:user,user:email"});
        }
        ledger.refresh_tokens.insert(refresh.clone(), (provider.to_owned(), person.clone()));
        let scope =
            if provider == "twitch" { json!(["openid", "user:read:email"]) } else { json!("openid email") };
        json!({
            "access_token": access, "token_type": "Bearer", "expires_in": 3600, "refresh_token": refresh,
            "scope": scope,
        })
    }

    fn id_token(&self, provider: &str, person: &Person, nonce: Option<&str>) -> String {
        let (change, forgery, now) = {
            let script = self.script();
            (script.claims.clone(), script.forgery, script.clock.now().seconds())
        };
        let mut claims = json!({
            "iss": self.issuer(provider), "sub": person.subject, "aud": CLIENT_ID, "azp": CLIENT_ID,
            "iat": now, "exp": now + 3600, "email": person.email, "email_verified": person.email_verified,
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        if let Some(change) = change {
            change(&mut claims);
        }
        let number = {
            let mut ledger = self.ledger();
            ledger.number += 1;
            ledger.number
        };
        self.keys.sign(&claims, forgery, number)
    }

    fn about(&self, asked: &Asked, shape: impl Fn(&Person) -> Value) -> Response<Body> {
        let token = asked.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let person = self.ledger().tokens.get(token).filter(|(of, _)| *of == asked.provider).cloned();
        // Reddit and GitHub refuse who does not say what they are.
        let person = person.filter(|_| asked.header("user-agent").contains("atehouse"));
        match person {
            Some((_, person)) => json_answer(StatusCode::OK, &shape(&person)),
            None => json_answer(StatusCode::UNAUTHORIZED, &json!({"error": "invalid_token"})),
        }
    }

    fn revoke(&self, asked: &Asked) -> Response<Body> {
        if let Err(error) = check_client(asked) {
            return json_answer(StatusCode::BAD_REQUEST, &json!({"error": error}));
        }
        let token =
            asked.field("token").or_else(|| asked.field("access_token")).unwrap_or_default().to_owned();
        let mut ledger = self.ledger();
        ledger.tokens.remove(&token);
        ledger.refresh_tokens.remove(&token);
        ledger.revoked.push(token);
        let status = if asked.provider == "github" { StatusCode::NO_CONTENT } else { StatusCode::OK };
        answer(status, "text/plain", "")
    }
}

fn is_open_id(provider: &str) -> bool {
    !matches!(provider, "discord" | "github" | "reddit" | "twitter")
}

/// The client proves itself by HTTP Basic, or, where the provider takes that, in the form.
fn check_client(asked: &Asked) -> Result<(), &'static str> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    let by_header = asked.header("authorization") == basic;
    let by_form =
        asked.field("client_id") == Some(CLIENT_ID) && asked.field("client_secret") == Some(CLIENT_SECRET);
    // Twitch's tokens are given back by whoever has them.
    let by_token = asked.provider == "twitch" && asked.place == Place::Revoke;
    let only_header = matches!(&*asked.provider, "reddit" | "twitter");
    if by_header || by_token || (by_form && !only_header) { Ok(()) } else { Err("invalid_client") }
}

async fn read(request: Request<Incoming>) -> Asked {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path().trim_start_matches('/');
    let (provider, path) = path.split_once('/').unwrap_or((path, ""));
    let headers: HashMap<String, String> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let mut fields = pairs(parts.uri.query().unwrap_or_default().as_bytes());
    if headers.get("content-type").is_some_and(|kind| kind.contains("json")) {
        let body: HashMap<String, Value> = serde_json::from_slice(&bytes).unwrap_or_default();
        fields.extend(body.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))));
    } else {
        fields.extend(pairs(&bytes));
    }
    Asked {
        place: place(parts.method.as_str(), path),
        provider: provider.to_owned(),
        method: parts.method.to_string(),
        path: format!("/{path}"),
        fields,
        headers,
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn place(method: &str, path: &str) -> Place {
    let last = path.rsplit('/').next().unwrap_or_default();
    match (method, last) {
        ("GET", "openid-configuration" | "oauth-authorization-server") => Place::Discovery,
        ("GET", "atproto-did") => Place::Handle,
        ("GET", did) if did.starts_with("did:") => Place::Did,
        ("GET", "oauth-protected-resource") => Place::Server,
        ("POST", "par") => Place::Announce,
        ("GET", "keys") => Place::Keys,
        ("GET", "authorize") => Place::Authorize,
        ("DELETE", "token") | ("POST", "revoke" | "revoke_token") => Place::Revoke,
        ("POST", "token" | "access_token") => Place::Token,
        ("GET", "userinfo" | "@me" | "user" | "me" | "app.bsky.actor.getProfile") => Place::Profile,
        ("GET", "emails") => Place::Emails,
        ("GET", picture) if picture.rsplit('.').next() == Some("png") => Place::Picture,
        _ => Place::Elsewhere,
    }
}

// --- answers

async fn falsely(manner: Manner) -> Answer {
    let page = "<html><h1>It is not me, it is you</h1></html>";
    Ok(match manner {
        Manner::Status(status) => answer(StatusCode::from_u16(status).expect("a status"), "text/html", page),
        Manner::Json(status, value) => json_answer(StatusCode::from_u16(status).expect("a status"), &value),
        Manner::Text(kind, text) => answer(StatusCode::OK, kind, text),
        Manner::Bytes(kind, bytes) => answer(StatusCode::OK, kind, bytes),
        Manner::Packed(kind, bytes) => {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(&bytes)?;
            let mut response = answer(StatusCode::OK, kind, packer.finish()?);
            response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            response
        }
        Manner::Redirect(to) => redirect(&to),
        Manner::Endless => streamed("[\"", Duration::ZERO, vec![b'x'; 64 << 10]),
        Manner::Trickle => streamed("{\"", Duration::from_millis(500), vec![b'x']),
        Manner::Reset => return Err(io::Error::other("gone")),
        Manner::Hang => {
            tokio::time::sleep(Duration::from_mins(1)).await;
            return Err(io::Error::other("late"));
        }
        Manner::Changed(_) => return Err(io::Error::other("is not a lie of its own")),
    })
}

fn streamed(start: &'static str, pause: Duration, piece: Vec<u8>) -> Response<Body> {
    let piece = Bytes::from(piece);
    let pieces = stream::unfold(Bytes::from_static(start.as_bytes()), move |next| {
        let piece = piece.clone();
        async move {
            tokio::time::sleep(pause).await;
            Some((Ok(Frame::data(next)), piece))
        }
    });
    let body = BodyExt::boxed_unsync(StreamBody::new(pieces));
    let response = Response::builder().header("content-type", "application/json");
    response.body(body).expect("an answer")
}

pub fn answer(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync();
    Response::builder().status(status).header("content-type", kind).body(body).expect("an answer")
}

pub fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    answer(status, "application/json; charset=utf-8", value.to_string())
}

pub fn redirect(to: &str) -> Response<Body> {
    let mut response = answer(StatusCode::FOUND, "text/html", "");
    response.headers_mut().insert("location", to.parse().expect("a header"));
    response
}
