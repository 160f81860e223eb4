//! What this server is as a client: the document that says so, its keys, its name.

use poem_openapi::Object;
use serde::Serialize;

use super::es256::ClientKey;
use super::{Bluesky, SCOPE};

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

impl Bluesky {
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
    pub(super) fn client_id(&self) -> String {
        if self.key.is_some() {
            return format!("{}/oauth/client-metadata.json", self.base_url);
        }
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", SCOPE)
            .finish();
        format!("http://localhost?{query}")
    }
}
