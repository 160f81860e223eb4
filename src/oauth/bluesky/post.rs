//! Forms for authorization servers: with the client's proof and that of the sign-in's own key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::super::ProviderFault;
use super::super::tokens::told_error;
use super::Bluesky;
use super::es256::Es256;
use crate::platform::outgoing::{Answer, Bounds};
use crate::platform::secrets::Key32;

/// What a sign-in needs again when it comes back, and what its tokens need to be used.
#[derive(Serialize, Deserialize)]
pub(super) struct Private {
    /// Who was named; whoever it turns out to be, if nobody was.
    pub(super) did: Option<String>,
    pub(super) handle: Option<String>,
    pub(super) issuer: String,
    pub(super) token: Url,
    pub(super) revoke: Option<Url>,
    /// The private part of the key that the tokens are bound to.
    pub(super) key: String,
    pub(super) nonce: Option<String>,
}

impl Bluesky {
    /// A form, with the client's proof and the key's. A server may want a nonce in the key's proof, and tells it then.
    pub(super) async fn post(
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
}

pub(super) fn sealed(private: &Private) -> Result<SecretString, ProviderFault> {
    serde_json::to_string(private).map(SecretString::from).map_err(|_| ProviderFault::Unavailable)
}

pub(super) fn opened(private: Option<&SecretString>) -> Result<Private, ProviderFault> {
    let private = private.and_then(|private| serde_json::from_str(private.expose_secret()).ok());
    private.ok_or(ProviderFault::Odd("what was kept is not there"))
}
