//! The hosts of the AT Protocol, each a folder below `/bluesky`: handles `NAME.test`, the directory, the server
//! `pds.test` that keeps the accounts, and its authorization server `bsky.social`.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::serve::{Body, answer, json_answer, redirect};
use super::{Asked, Code, Person, Place, State};

const SERVER: &str = "https://pds.test";
const ISSUER: &str = "https://bsky.social";
/// What every proof must hold; who does not know it is told.
const NONCE: &str = "nonce-of-the-server";

/// Somebody's DID.
pub fn did(username: &str) -> String {
    format!("did:plc:{username:2<24}")
}

impl State {
    pub(super) fn atproto(&self, asked: &Asked) -> Response<Body> {
        let path = asked.path.trim_start_matches('/');
        let (host, path) = path.split_once('/').unwrap_or((path, ""));
        match (asked.place, host) {
            (Place::Handle, host) => {
                let name = host.strip_suffix(".test").unwrap_or(host);
                answer(StatusCode::OK, "text/plain", did(name))
            }
            (Place::Did, "plc.directory") => json_answer(StatusCode::OK, &document(path)),
            (Place::Server, "pds.test") => json_answer(
                StatusCode::OK,
                &json!({"resource": SERVER, "authorization_servers": [ISSUER], "scopes_supported": []}),
            ),
            (Place::Discovery, "bsky.social") => json_answer(StatusCode::OK, &metadata()),
            (Place::Announce, "bsky.social") => self.announce(asked),
            (Place::Authorize, "bsky.social") => self.authorize_announced(asked),
            (Place::Token, "bsky.social") => self.dpop_token(asked),
            (Place::Revoke, "bsky.social") => {
                let token = asked.field("token").unwrap_or_default().to_owned();
                self.ledger().revoked.push(token);
                answer(StatusCode::OK, "text/plain", "")
            }
            (Place::Profile, "public.api.bsky.app") => {
                let person = self.script().person.clone();
                json_answer(
                    StatusCode::OK,
                    &json!({
                        "did": did(&person.username), "handle": format!("{}.test", person.username),
                        "displayName": person.name, "avatar": person.picture,
                    }),
                )
            }
            _ => answer(StatusCode::NOT_FOUND, "text/html", "<h1>Not found</h1>"),
        }
    }

    fn announce(&self, asked: &Asked) -> Response<Body> {
        let key = match proved(asked) {
            Ok(key) => key,
            Err(answer) => return answer,
        };
        let field = |name: &str| asked.field(name).unwrap_or_default().to_owned();
        let complete = field("response_type") == "code"
            && field("code_challenge_method") == "S256"
            && field("scope") == "atproto";
        if !complete {
            return json_answer(StatusCode::BAD_REQUEST, &json!({"error": "invalid_request"}));
        }
        let mut ledger = self.ledger();
        ledger.number += 1;
        let name = format!("urn:ietf:params:oauth:request_uri:req-{}", ledger.number);
        let code = Code {
            provider: key,
            client_id: field("client_id"),
            redirect_uri: field("redirect_uri"),
            challenge: field("code_challenge"),
            nonce: Some(field("state")),
            person: self.script().person.clone(),
        };
        ledger.codes.insert(name.clone(), code);
        json_answer(StatusCode::CREATED, &json!({"request_uri": name, "expires_in": 300}))
    }

    fn authorize_announced(&self, asked: &Asked) -> Response<Body> {
        let mut ledger = self.ledger();
        let announced = asked.field("request_uri").and_then(|name| ledger.codes.remove(name));
        let Some(announced) = announced.filter(|code| asked.field("client_id") == Some(&code.client_id))
        else {
            return json_answer(StatusCode::BAD_REQUEST, &json!({"error": "invalid_request"}));
        };
        ledger.number += 1;
        let name = format!("code-bluesky-{}", ledger.number);
        let iss = self.script().response_iss.clone().unwrap_or(Some(ISSUER.to_owned()));
        let mut back = Url::parse(&announced.redirect_uri).expect("an address");
        let state = announced.nonce.clone().unwrap_or_default();
        back.query_pairs_mut().append_pair("code", &name).append_pair("state", &state);
        if let Some(iss) = iss {
            back.query_pairs_mut().append_pair("iss", &iss);
        }
        ledger.codes.insert(name, announced);
        redirect(back.as_str())
    }

    fn dpop_token(&self, asked: &Asked) -> Response<Body> {
        let key = match proved(asked) {
            Ok(key) => key,
            Err(answer) => return answer,
        };
        match self.dpop_grant(asked, &key) {
            Some(person) => {
                let mut ledger = self.ledger();
                ledger.number += 1;
                let refresh = format!("refresh-bluesky-{}", ledger.number);
                ledger.refresh_tokens.insert(refresh.clone(), (key, person.clone()));
                json_answer(
                    StatusCode::OK,
                    &json!({
                        "access_token": format!("access-bluesky-{}", ledger.number), "token_type": "DPoP",
                        "refresh_token": refresh, "scope": "atproto", "expires_in": 3600,
                        "sub": did(&person.username),
                    }),
                )
            }
            None => json_answer(StatusCode::BAD_REQUEST, &json!({"error": "invalid_grant"})),
        }
    }

    /// Whose a code or refresh token is, if it is used by the key that it is bound to.
    fn dpop_grant(&self, asked: &Asked, key: &str) -> Option<Person> {
        let mut ledger = self.ledger();
        if asked.field("grant_type") == Some("refresh_token") {
            let (bound_to, person) = ledger.refresh_tokens.remove(asked.field("refresh_token")?)?;
            return (bound_to == key).then_some(person);
        }
        let code = ledger.codes.remove(asked.field("code")?)?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, asked.field("code_verifier")?.as_bytes()));
        let fits = code.provider == key
            && asked.field("client_id") == Some(&code.client_id)
            && asked.field("redirect_uri") == Some(&code.redirect_uri)
            && challenge == code.challenge;
        fits.then_some(code.person)
    }
}

fn document(did: &str) -> Value {
    let name = did.trim_start_matches("did:plc:").trim_end_matches('2');
    json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "alsoKnownAs": [format!("at://{name}.test")],
        "verificationMethod": [],
        "service": [
            {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": SERVER},
        ],
    })
}

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/oauth/authorize"),
        "token_endpoint": format!("{ISSUER}/oauth/token"),
        "revocation_endpoint": format!("{ISSUER}/oauth/revoke"),
        "pushed_authorization_request_endpoint": format!("{ISSUER}/oauth/par"),
        "require_pushed_authorization_requests": true,
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["atproto", "transition:generic"],
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "authorization_response_iss_parameter_supported": true,
        "client_id_metadata_document_supported": true,
    })
}

/// The `x` of the key that a proof is signed by (RFC 9449, 4.3), or what its lack is answered with.
fn proved(asked: &Asked) -> Result<String, Response<Body>> {
    let refused = |error: &str| {
        let mut response = json_answer(StatusCode::BAD_REQUEST, &json!({ "error": error }));
        response.headers_mut().insert("dpop-nonce", NONCE.parse().expect("a header"));
        response
    };
    let proof = asked.header("dpop");
    let (header, claims) = checked_jwt(proof, None).ok_or_else(|| refused("invalid_dpop_proof"))?;
    let place = format!("https:/{}", asked.path);
    let is_right = header["typ"] == "dpop+jwt"
        && header["jwk"]["d"].is_null()
        && claims["htm"] == asked.method
        && claims["htu"] == place
        && claims["jti"].is_string()
        && claims["iat"].is_i64();
    if !is_right {
        return Err(refused("invalid_dpop_proof"));
    }
    if claims["nonce"] != NONCE {
        return Err(refused("use_dpop_nonce"));
    }
    Ok(header["jwk"]["x"].as_str().unwrap_or_default().to_owned())
}

/// Header and claims of a token signed with ES256 by `key`, or by the key in its header.
pub fn checked_jwt(token: &str, key: Option<&Value>) -> Option<(Value, Value)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let header = read(header)?;
    let key = key.unwrap_or(&header["jwk"]);
    let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
    let point = [vec![4], part("x")?, part("y")?].concat();
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).ok()?;
    (header["alg"] == "ES256").then_some(())?;
    Some((header.clone(), read(claims)?))
}
