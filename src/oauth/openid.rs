//! What an OpenID Connect issuer publishes about itself: its metadata (OpenID Connect Discovery, 4) and its keys.
//!
//! Both are kept for a while. A token with an unknown key makes the keys be read again, at most once a minute, so that
//! made-up key ids cost the issuer next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use super::ProviderFault;
use super::answers::{address, document};
use super::id_token::{self, Expected, TokenFault};
use super::jwks::Keys;
use super::providers::ClientProof;
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::outgoing::Outgoing;

/// How long metadata and keys are relied on.
const FRESH: Duration = Duration::from_hours(1);
/// Keys are looked for at most so often on account of unknown ones.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// An issuer.
pub struct Issuer {
    name: String,
    discovery: Url,
    outgoing: Outgoing,
    clock: Clock,
    known: Mutex<Known>,
    failures: AtomicU64,
    announces_iss: AtomicBool,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, Timestamp)>,
    keys: Option<(Arc<Keys>, Timestamp)>,
    looked_again: Option<Timestamp>,
    fault: Option<ProviderFault>,
}

/// Where an issuer is.
pub struct Metadata {
    /// Where people go.
    pub authorize: Url,
    /// Where codes are exchanged.
    pub token: Url,
    /// Where it tells who somebody is.
    pub userinfo: Option<Url>,
    /// Where tokens are given back.
    pub revoke: Option<Url>,
    /// How the client proves itself.
    pub proof: ClientProof,
    /// Whether callbacks name the issuer (RFC 9207).
    pub announces_iss: bool,
    keys: Url,
}

impl Issuer {
    /// The issuer of this name, letter for letter.
    pub fn new(name: String, outgoing: Outgoing, clock: Clock) -> anyhow::Result<Self> {
        let discovery = format!("{}/.well-known/openid-configuration", name.trim_end_matches('/')).parse()?;
        let (known, failures, announces_iss) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self { name, discovery, outgoing, clock, known, failures, announces_iss })
    }

    /// The issuer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its callbacks name it, as far as it was asked.
    pub fn announces_iss(&self) -> bool {
        self.announces_iss.load(Ordering::Relaxed)
    }

    /// The metadata.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, ProviderFault> {
        let failures = self.failures.load(Ordering::Relaxed);
        // Held while the issuer is asked: who comes meanwhile waits for the same answer, and no longer than for one.
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some((metadata, read_at)) = &known.metadata
            && now.is_soon_after(*read_at, FRESH)
        {
            return Ok(Arc::clone(metadata));
        }
        self.has_not_failed_since(failures, &known)?;
        let metadata = self.ask().await.inspect_err(|fault| self.note(*fault, &mut known))?;
        self.announces_iss.store(metadata.announces_iss, Ordering::Relaxed);
        known.metadata = Some((Arc::clone(&metadata), now));
        Ok(metadata)
    }

    async fn ask(&self) -> Result<Arc<Metadata>, ProviderFault> {
        let document = document(&self.outgoing, self.get(&self.discovery)).await?;
        Ok(Arc::new(self.read(&document)?))
    }

    /// Where the issuer is silent, those who have waited for somebody else's question would wait for their own as well, one
    /// after the other: they are told what that one was told.
    fn has_not_failed_since(&self, failures: u64, known: &Known) -> Result<(), ProviderFault> {
        let has_failed = self.failures.load(Ordering::Relaxed) != failures;
        known.fault.filter(|_| has_failed).map_or(Ok(()), Err)
    }

    fn note(&self, fault: ProviderFault, known: &mut Known) {
        known.fault = Some(fault);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The claims of an ID token that this issuer signed for this client.
    pub async fn verify(&self, token: &str, client_id: &str, nonce: &str) -> Result<Value, ProviderFault> {
        let metadata = self.metadata().await?;
        let expected = Expected { issuer: &self.name, client_id, nonce, now: self.clock.now() };
        let keys = self.keys(&metadata).await?;
        match id_token::verify(token, &keys, &expected) {
            Err(TokenFault::UnknownKey) => {
                let keys = self.keys_again(&metadata).await?;
                Ok(id_token::verify(token, &keys, &expected)?)
            }
            judged => Ok(judged?),
        }
    }

    /// What the issuer says beyond the ID token, held to be about the same person.
    pub async fn userinfo(
        &self,
        url: Url,
        access_token: &str,
        claims: &Value,
    ) -> Result<Value, ProviderFault> {
        let request = self.get(&url).bearer_auth(access_token);
        let told = document(&self.outgoing, request).await?;
        if !told["sub"].is_string() || told["sub"] != claims["sub"] {
            return Err(ProviderFault::Odd("userinfo is about somebody else"));
        }
        Ok(joined(claims, &told))
    }

    async fn keys(&self, metadata: &Metadata) -> Result<Arc<Keys>, ProviderFault> {
        let failures = self.failures.load(Ordering::Relaxed);
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some((keys, read_at)) = &known.keys
            && now.is_soon_after(*read_at, FRESH)
        {
            return Ok(Arc::clone(keys));
        }
        self.has_not_failed_since(failures, &known)?;
        self.read_keys(&mut known, metadata, now).await
    }

    /// The keys once more, for a token whose key is not known: the issuer may have changed them a moment ago.
    async fn keys_again(&self, metadata: &Metadata) -> Result<Arc<Keys>, ProviderFault> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        let looked = known.looked_again.is_some_and(|at| now.is_soon_after(at, LOOK_AGAIN));
        match &known.keys {
            Some((keys, _)) if looked => Ok(Arc::clone(keys)),
            _ => {
                known.looked_again = Some(now);
                self.read_keys(&mut known, metadata, now).await
            }
        }
    }

    async fn read_keys(
        &self,
        known: &mut Known,
        metadata: &Metadata,
        now: Timestamp,
    ) -> Result<Arc<Keys>, ProviderFault> {
        let set = document(&self.outgoing, self.get(&metadata.keys)).await;
        let set = set.inspect_err(|fault| self.note(*fault, known))?;
        let keys = Arc::new(Keys::read(&set)?);
        known.keys = Some((Arc::clone(&keys), now));
        Ok(keys)
    }

    fn get(&self, url: &Url) -> reqwest::RequestBuilder {
        let request = self.outgoing.request(Method::GET, url.clone());
        request.header(ACCEPT, HeaderValue::from_static("application/json"))
    }

    fn read(&self, document: &Value) -> Result<Metadata, ProviderFault> {
        if document["issuer"] != *self.name {
            return Err(ProviderFault::Odd("metadata of another issuer"));
        }
        let address = |field| address(document, field, &self.discovery);
        let needed = |field| address(field).ok_or(ProviderFault::Odd("metadata without an address"));
        Ok(Metadata {
            authorize: needed("authorization_endpoint")?,
            token: needed("token_endpoint")?,
            keys: needed("jwks_uri")?,
            userinfo: address("userinfo_endpoint"),
            revoke: address("revocation_endpoint"),
            proof: proof(&document["token_endpoint_auth_methods_supported"]),
            announces_iss: document["authorization_response_iss_parameter_supported"] == true,
        })
    }
}

/// HTTP Basic, which is the default and what everybody must know, unless only the form is offered.
fn proof(methods: &Value) -> ClientProof {
    let Some(methods) = methods.as_array() else { return ClientProof::Basic };
    let has = |method| methods.iter().any(|offered| offered == method);
    if !has("client_secret_basic") && has("client_secret_post") {
        ClientProof::Form
    } else {
        ClientProof::Basic
    }
}

/// The claims of both; userinfo's count. An address and whether it is verified come from the same place.
fn joined(claims: &Value, told: &Value) -> Value {
    let mut all: Map<String, Value> = claims.as_object().cloned().unwrap_or_default();
    let told = told.as_object().cloned().unwrap_or_default();
    let has_address = told.contains_key("email");
    if has_address {
        all.remove("email_verified");
    }
    all.extend(told.into_iter().filter(|(name, _)| has_address || name != "email_verified"));
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_and_its_word_come_from_the_same_place() {
        let verified = json!({"sub": "1", "email": "ann@example.com", "email_verified": true, "name": "A"});
        let other = joined(&verified, &json!({"sub": "1", "email": "victim@example.com", "name": "B"}));
        assert_eq!(other, json!({"sub": "1", "email": "victim@example.com", "name": "B"}));
        let unverified = json!({"sub": "1", "email": "victim@example.com", "email_verified": false});
        assert_eq!(joined(&unverified, &json!({"sub": "1", "email_verified": true})), unverified);
    }

    #[test]
    fn the_form_is_used_where_nothing_else_is_offered() {
        assert_eq!(proof(&json!(null)), ClientProof::Basic);
        assert_eq!(proof(&json!(["client_secret_post"])), ClientProof::Form);
        assert_eq!(proof(&json!(["client_secret_post", "client_secret_basic"])), ClientProof::Basic);
        assert_eq!(proof(&json!(["private_key_jwt"])), ClientProof::Basic);
    }
}
