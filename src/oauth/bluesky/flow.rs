//! Leaving and coming back, and what becomes of the tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::super::answers::{address, check_status, document, json};
use super::super::reading::{picture, text};
use super::super::tokens::reliable;
use super::super::{Begin, Begun, Finish, Grant, Identity, ProviderFault};
use super::identity::{Account, did, handle};
use super::post::{Private, opened, sealed};
use super::{Bluesky, SCOPE};

/// The authorization server that asks people who they are, if they have named nobody.
const ENTRYWAY: &str = "https://bsky.social";
/// Where names and pictures of everybody are told to everybody.
const PROFILES: &str = "https://public.api.bsky.app/xrpc/app.bsky.actor.getProfile";

impl Bluesky {
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
