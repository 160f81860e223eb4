//! Bluesky, and every other account of the AT Protocol: <https://atproto.com/specs/oauth>.
//!
//! There is no one provider. Who names no handle is asked by Bluesky itself, where most accounts are. From a handle follows
//! the DID, from the DID the server that keeps the account, from that its authorization server; there the sign-in is
//! announced in advance (PAR, RFC 9126), each request is bound to a key of this sign-in (DPoP, RFC 9449), and the token
//! that comes back must name the DID that the handle led to, or, without a handle, one whose own server leaves it to this
//! authorization server.

mod es256;
mod identity;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem_openapi::Object;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

pub use self::es256::ClientKey;
use self::es256::Es256;
pub use self::identity::Way;
use self::identity::{Account, did, handle};
use super::answers::{address, check_status, document, json};
use super::connection::Parts;
use super::reading::{picture, text};
use super::tokens::{reliable, told_error};
use super::{Begin, Begun, Finish, Grant, Identity, ProviderFault};
use crate::platform::clock::Clock;
use crate::platform::outgoing::{Answer, Bounds};
use crate::platform::random::Random;
use crate::platform::secrets::Key32;

/// Its name in paths.
pub const NAME: &str = "bluesky";
/// Its name for people.
pub const SHOWN_NAME: &str = "Bluesky";
/// What is asked for: who somebody is, and nothing that could be done in their name.
const SCOPE: &str = "atproto";
/// The authorization server that asks people who they are, if they have named nobody.
const ENTRYWAY: &str = "https://bsky.social";
/// Where names and pictures of everybody are told to everybody.
const PROFILES: &str = "https://public.api.bsky.app/xrpc/app.bsky.actor.getProfile";
/// Where the pictures are.
pub const PICTURES: &str = "cdn.bsky.app";
/// The label of the key that proves that this server is the client that it says.
const KEY: &str = "AT Protocol client";

/// This server as a client of every authorization server of the AT Protocol.
pub struct Bluesky {
    way: Way,
    clock: Clock,
    random: Random,
    project_name: String,
    base_url: String,
    redirect_uri: String,
    /// The key by which a server with a public address proves itself; without one, this is somebody's own machine.
    key: Option<Arc<Es256>>,
}

/// What this server says of itself as a client (RFC 7591, 2; draft-ietf-oauth-client-id-metadata-document).
#[derive(Debug, Serialize, Object)]
pub struct ClientMetadata {
    /// The address of this document.
    pub client_id: String,
    /// What people are shown.
    pub client_name: String,
    /// Where the server is.
    pub client_uri: String,
    /// Where people are sent back to.
    pub redirect_uris: Vec<String>,
    /// What is exchanged for tokens.
    pub grant_types: Vec<String>,
    /// What people come back with.
    pub response_types: Vec<String>,
    /// What is asked for.
    pub scope: String,
    /// Always `web`.
    pub application_type: String,
    /// Tokens are bound to a key of their sign-in.
    pub dpop_bound_access_tokens: bool,
    /// How the client proves itself: `private_key_jwt`, or `none` on somebody's own machine.
    pub token_endpoint_auth_method: String,
    /// The algorithm of that proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub token_endpoint_auth_signing_alg: Option<String>,
    /// Where the keys of that proof are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[oai(skip_serializing_if_is_none)]
    pub jwks_uri: Option<String>,
}

/// What a sign-in needs again when it comes back, and what its tokens need to be used.
#[derive(Serialize, Deserialize)]
struct Private {
    /// Who was named; whoever it turns out to be, if nobody was.
    did: Option<String>,
    handle: Option<String>,
    issuer: String,
    token: Url,
    revoke: Option<Url>,
    /// The private part of the key that the tokens are bound to.
    key: String,
    nonce: Option<String>,
}

impl Bluesky {
    pub fn new(way: Way, parts: &Parts) -> anyhow::Result<Self> {
        let key = if parts.base_url.starts_with("https://") {
            let key = Es256::derived(&parts.secrets.derive(KEY));
            Some(Arc::new(
                key.ok_or_else(|| anyhow::anyhow!("JWT_SECRET_KEY gives no key for Bluesky; take another"))?,
            ))
        } else {
            None
        };
        Ok(Self {
            way,
            clock: parts.clock.clone(),
            random: parts.random.clone(),
            project_name: parts.project_name.clone(),
            base_url: parts.base_url.clone(),
            redirect_uri: format!("{}/oauth/bluesky/callback", parts.api_url),
            key,
        })
    }

    pub async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, ProviderFault> {
        let named = match begin.handle {
            Some(text) => Some(handle(text).ok_or(ProviderFault::Refused)?),
            None => None,
        };
        let (did, issuer) = match &named {
            Some(handle) => {
                let Account { did, server } = self.way.account_of(handle).await?;
                (Some(did), self.way.issuer_of(&server).await?)
            }
            None => (None, ENTRYWAY.to_owned()),
        };
        let metadata = self.way.metadata_of(&issuer).await?;
        check_abilities(&metadata)?;
        let origin = Url::parse(&issuer).map_err(|_| ProviderFault::Odd("an issuer that is no address"))?;
        let place = |field| address(&metadata, field, &origin);
        let needed = |field| place(field).ok_or(ProviderFault::Odd("metadata without an address"));
        let key: [u8; 32] = self.random.bytes();
        let mut private = Private {
            did,
            handle: named.clone(),
            issuer,
            token: needed("token_endpoint")?,
            revoke: place("revocation_endpoint"),
            key: URL_SAFE_NO_PAD.encode(key),
            nonce: None,
        };
        let mut form = vec![
            ("response_type", "code"),
            ("redirect_uri", begin.redirect_uri),
            ("state", begin.state),
            ("scope", SCOPE),
            ("code_challenge", begin.challenge),
            ("code_challenge_method", "S256"),
        ];
        form.extend(named.as_deref().map(|handle| ("login_hint", handle)));
        let announced =
            self.post(&needed("pushed_authorization_request_endpoint")?, &mut private, &form).await?;
        if !announced.status.is_success() {
            check_status(announced.status)?;
        }
        let announced = json(&announced)?;
        let request_uri = text(&announced, "request_uri").ok_or(ProviderFault::Odd("no request_uri"))?;
        let mut url = needed("authorization_endpoint")?;
        url.query_pairs_mut()
            .append_pair("client_id", &self.client_id())
            .append_pair("request_uri", &request_uri);
        Ok(Begun { authorization_url: url, private: Some(sealed(&private)?) })
    }

    pub async fn finish(&self, finish: &Finish<'_>) -> Result<Identity, ProviderFault> {
        let mut private = opened(finish.private)?;
        if finish.iss != Some(&*private.issuer) {
            return Err(ProviderFault::Odd("the callback names another issuer"));
        }
        // The account may have moved meanwhile: then its old server has nothing to say any more.
        if let Some(did) = &private.did {
            self.answers_for(&private.issuer, did).await?;
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", finish.code),
            ("redirect_uri", finish.redirect_uri),
            ("code_verifier", finish.verifier.expose_secret()),
        ];
        let was_named = private.did.is_some();
        let grant = self.tokens(&mut private, &form).await?;
        let did = private.did.ok_or(ProviderFault::Odd("a token of nobody"))?;
        if !was_named {
            self.answers_for(&private.issuer, &did).await?;
            private.handle = self.way.handle_of(&did).await;
        }
        let profile = self.profile(&did).await;
        Ok(Identity {
            subject: did,
            username: private.handle,
            display_name: text(&profile, "displayName"),
            email: None,
            email_verified: false,
            locale: None,
            picture_url: picture(&profile, "avatar"),
            grant: Some(grant),
            second_factor: false,
        })
    }

    /// Whether an authorization server has anything to say about an account: its own server must name it.
    async fn answers_for(&self, issuer: &str, did: &str) -> Result<(), ProviderFault> {
        let server = self.way.server_of(did).await?;
        if self.way.issuer_of(&server).await? == issuer {
            Ok(())
        } else {
            Err(ProviderFault::Odd("the account has another server"))
        }
    }

    pub async fn refresh(&self, grant: &Grant) -> Result<Grant, ProviderFault> {
        let mut private = opened(grant.private.as_ref())?;
        let token = grant.refresh_token.as_ref().ok_or(ProviderFault::Refused)?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.expose_secret())];
        let mut next = self.tokens(&mut private, &form).await?;
        next.refresh_token = next.refresh_token.or_else(|| grant.refresh_token.clone());
        Ok(next)
    }

    pub async fn revoke(&self, grant: &Grant) -> Result<(), ProviderFault> {
        let mut private = opened(grant.private.as_ref())?;
        let Some(address) = private.revoke.clone() else { return Ok(()) };
        let token = grant.refresh_token.as_ref().unwrap_or(&grant.access_token);
        let answer = self.post(&address, &mut private, &[("token", token.expose_secret())]).await?;
        if answer.status.is_success() || answer.status.as_u16() == 400 {
            return Ok(());
        }
        check_status(answer.status)
    }

    /// What this server says of itself as a client.
    pub fn client_metadata(&self) -> ClientMetadata {
        let proves_itself = self.key.is_some();
        let method = if proves_itself { "private_key_jwt" } else { "none" };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        ClientMetadata {
            client_id: self.client_id(),
            client_name: self.project_name.clone(),
            client_uri: self.base_url.clone(),
            redirect_uris: vec![self.redirect_uri.clone()],
            grant_types: words(&["authorization_code", "refresh_token"]),
            response_types: words(&["code"]),
            scope: SCOPE.to_owned(),
            application_type: "web".to_owned(),
            dpop_bound_access_tokens: true,
            token_endpoint_auth_method: method.to_owned(),
            token_endpoint_auth_signing_alg: proves_itself.then(|| "ES256".to_owned()),
            jwks_uri: proves_itself.then(|| format!("{}/oauth/jwks.json", self.base_url)),
        }
    }

    /// The public keys that prove it.
    pub fn client_keys(&self) -> Vec<ClientKey> {
        self.key.iter().map(|key| key.public()).collect()
    }

    /// A server with a public address is known by the address of its metadata; one on somebody's own machine by what the
    /// protocol keeps for development.
    fn client_id(&self) -> String {
        if self.key.is_some() {
            return format!("{}/oauth/client-metadata.json", self.base_url);
        }
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", SCOPE)
            .finish();
        format!("http://localhost?{query}")
    }

    /// Tokens, of the person whom the sign-in began with; if it began with nobody, whom it is about from now on.
    async fn tokens(&self, private: &mut Private, form: &[(&str, &str)]) -> Result<Grant, ProviderFault> {
        let address = private.token.clone();
        let answer = self.post(&address, private, form).await?;
        let told = reliable(&answer)?;
        let field = |name: &str| told.get(name).and_then(Value::as_str);
        if !field("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("dpop")) {
            return Err(ProviderFault::Odd("a token of another type"));
        }
        let subject = field("sub").unwrap_or_default();
        match &private.did {
            Some(did) if did == subject => {}
            Some(_) => return Err(ProviderFault::Odd("a token of somebody else")),
            None => private.did = Some(did(subject)?),
        }
        let lasts = told.get("expires_in").and_then(Value::as_u64).map(std::time::Duration::from_secs);
        Ok(Grant {
            access_token: field("access_token").unwrap_or_default().into(),
            refresh_token: field("refresh_token").map(SecretString::from),
            expires_at: lasts.map(|lasts| self.clock.now().after(lasts)),
            private: Some(sealed(private)?),
        })
    }

    /// A form, with the client's proof and the key's. A server may want a nonce in the key's proof, and tells it then.
    async fn post(
        &self,
        address: &Url,
        private: &mut Private,
        form: &[(&str, &str)],
    ) -> Result<Answer, ProviderFault> {
        let answer = self.post_once(address, private, form).await?;
        let nonce = answer.headers.get("dpop-nonce").and_then(|nonce| nonce.to_str().ok());
        private.nonce = nonce.filter(|nonce| nonce.len() <= 256).map(str::to_owned).or(private.nonce.take());
        if told_error(&answer).as_deref() == Some("use_dpop_nonce") {
            return self.post_once(address, private, form).await;
        }
        Ok(answer)
    }

    async fn post_once(
        &self,
        address: &Url,
        private: &Private,
        form: &[(&str, &str)],
    ) -> Result<Answer, ProviderFault> {
        let client_id = self.client_id();
        let assertion = self.assertion(&client_id, &private.issuer)?;
        let mut form = form.to_vec();
        form.push(("client_id", &client_id));
        if let Some(assertion) = &assertion {
            form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
            form.push(("client_assertion", assertion));
        }
        let request = self
            .way
            .outgoing
            .request(Method::POST, address.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header("DPoP", self.proof(address, private)?)
            .form(&form)
            .build()
            .map_err(|_| ProviderFault::Odd("an address that is none"))?;
        Ok(self.way.outgoing.ask(request, Bounds::DOCUMENT).await?)
    }

    /// RFC 7523, 2.2.
    fn assertion(&self, client_id: &str, issuer: &str) -> Result<Option<String>, ProviderFault> {
        let Some(key) = &self.key else { return Ok(None) };
        let now = self.clock.now().seconds();
        let header = serde_json::json!({ "alg": "ES256", "kid": key.public().kid });
        let claims = serde_json::json!({
            "iss": client_id, "sub": client_id, "aud": issuer, "jti": self.number(), "iat": now, "exp": now + 60,
        });
        key.sign(&header, &claims).map(Some).ok_or(ProviderFault::Unavailable)
    }

    /// RFC 9449, 4.2.
    fn proof(&self, address: &Url, private: &Private) -> Result<String, ProviderFault> {
        let bytes =
            URL_SAFE_NO_PAD.decode(&private.key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key =
            bytes.and_then(|bytes| Es256::derived(&Key32::from(bytes))).ok_or(ProviderFault::Unavailable)?;
        let mut place = address.clone();
        place.set_query(None);
        let mut claims = Map::from_iter([
            ("jti".to_owned(), serde_json::json!(self.number())),
            ("htm".to_owned(), serde_json::json!("POST")),
            ("htu".to_owned(), serde_json::json!(place.as_str())),
            ("iat".to_owned(), serde_json::json!(self.clock.now().seconds())),
        ]);
        if let Some(nonce) = &private.nonce {
            claims.insert("nonce".to_owned(), serde_json::json!(nonce));
        }
        let header = serde_json::json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": key.jwk() });
        key.sign(&header, &Value::Object(claims)).ok_or(ProviderFault::Unavailable)
    }

    /// A number that is used once.
    fn number(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.random.bytes::<16>())
    }

    /// Name and picture, where they can be had: nothing hangs on them.
    async fn profile(&self, did: &str) -> Value {
        let Ok(mut address) = Url::parse(PROFILES) else { return Value::Null };
        address.query_pairs_mut().append_pair("actor", did);
        document(&self.way.outgoing, self.way.get(&address)).await.unwrap_or_default()
    }
}

/// What the protocol demands of an authorization server, and the sign-in relies on.
fn check_abilities(metadata: &Value) -> Result<(), ProviderFault> {
    let offers = |field: &str, word: &str| {
        metadata[field].as_array().is_some_and(|offered| offered.iter().any(|offer| offer == word))
    };
    let can = metadata["authorization_response_iss_parameter_supported"] == true
        && metadata["client_id_metadata_document_supported"] == true
        && offers("dpop_signing_alg_values_supported", "ES256")
        && offers("code_challenge_methods_supported", "S256")
        && offers("scopes_supported", SCOPE);
    if can { Ok(()) } else { Err(ProviderFault::Odd("a server that can't do what the protocol demands")) }
}

fn sealed(private: &Private) -> Result<SecretString, ProviderFault> {
    serde_json::to_string(private).map(SecretString::from).map_err(|_| ProviderFault::Unavailable)
}

fn opened(private: Option<&SecretString>) -> Result<Private, ProviderFault> {
    let private = private.and_then(|private| serde_json::from_str(private.expose_secret()).ok());
    private.ok_or(ProviderFault::Odd("what was kept is not there"))
}
