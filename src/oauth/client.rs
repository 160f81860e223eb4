//! This server as a client of a provider: OAuth with an operation that tells who somebody is, or OpenID Connect.

use std::sync::Arc;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::answers::{check_status, document};
use super::id_token;
use super::openid::{Issuer, Metadata};
use super::providers::{ClientProof, Endpoints, Revoke};
use super::reading::Said;
use super::tokens::{Credentials, TokenEndpoint, Tokens, authorization_url};
use super::{Begin, Begun, Finish, Grant, Identity, ProviderFault};
use crate::platform::clock::Clock;
use crate::platform::outgoing::{Bounds, Outgoing};

/// A client of a provider.
pub struct Client {
    /// What asks.
    pub outgoing: Outgoing,
    /// Time.
    pub clock: Clock,
    /// Who it is.
    pub credentials: Credentials,
    /// What it asks for.
    pub scopes: String,
    /// What the authorization address holds besides.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Whom it speaks with.
    pub provider: Spoken,
    /// Reads who somebody is.
    pub read: fn(&Value) -> Result<Said, ProviderFault>,
    /// Where the provider is instead of its own hosts.
    pub base_url: Option<Url>,
}

/// Whom a client speaks with.
#[expect(clippy::large_enum_variant, reason = "there is one for each provider, made at the start")]
pub enum Spoken {
    /// A provider whose addresses are written down.
    OAuth(&'static Endpoints),
    /// An issuer that publishes them.
    OpenId {
        /// The issuer.
        issuer: Issuer,
        /// Where tokens are given back, if the issuer does not publish it.
        revoke: Option<&'static str>,
    },
}

/// Where a provider is at this moment.
struct Place {
    authorize: Url,
    token: Url,
    proof: ClientProof,
    metadata: Option<Arc<Metadata>>,
}

impl Client {
    pub async fn begin(&self, begin: &Begin<'_>) -> Result<Begun, ProviderFault> {
        let place = self.place().await?;
        let mut url =
            authorization_url(&self.credentials, place.authorize, &self.scopes, self.parameters, begin)?;
        if place.metadata.is_some() {
            url.query_pairs_mut().append_pair("nonce", begin.nonce);
            if begin.is_proof {
                // OpenID Connect Core, 3.1.2.1: whoever has signed in there before does so again, and the token says when.
                url.query_pairs_mut().append_pair("max_age", "0");
            }
        }
        Ok(Begun { authorization_url: url, private: None })
    }

    pub async fn finish(&self, finish: &Finish<'_>) -> Result<Identity, ProviderFault> {
        let place = self.place().await?;
        self.check_issuer(finish.iss, &place)?;
        let metadata = place.metadata.clone();
        let tokens = self.endpoint(place).exchange(finish).await?;
        let said = match (&self.provider, metadata) {
            (Spoken::OpenId { issuer, .. }, Some(metadata)) => {
                self.claims(issuer, &metadata, &tokens, finish).await?
            }
            (Spoken::OAuth(endpoints), _) => (self.read)(&self.profile(endpoints, &tokens).await?)?,
            (Spoken::OpenId { .. }, None) => return Err(ProviderFault::Unavailable),
        };
        let Said { subject, username, display_name, email, email_verified, locale, picture_url } = said;
        let grant = Some(self.grant(tokens, None));
        Ok(Identity { subject, username, display_name, email, email_verified, locale, picture_url, grant })
    }

    pub async fn refresh(&self, grant: &Grant) -> Result<Grant, ProviderFault> {
        let token = grant.refresh_token.as_ref().ok_or(ProviderFault::Refused)?;
        let place = self.place().await?;
        let tokens = self.endpoint(place).refresh(token).await?;
        Ok(self.grant(tokens, Some(token)))
    }

    /// Gives both tokens back: at some providers the one outlives the other.
    pub async fn revoke(&self, grant: &Grant) -> Result<(), ProviderFault> {
        let (address, proof) = match &self.provider {
            Spoken::OAuth(endpoints) => match endpoints.revoke {
                Revoke::Standard(address) => (Some(self.at(address)?), endpoints.proof),
                Revoke::Delete(address) => return self.delete(address, grant).await,
            },
            Spoken::OpenId { issuer, revoke } => {
                let metadata = issuer.metadata().await?;
                let known = revoke.map(|address| self.at(address)).transpose()?;
                (known.or_else(|| metadata.revoke.clone()), metadata.proof)
            }
        };
        // Who takes nothing back gets nothing back: the token ends by itself.
        let Some(address) = address else { return Ok(()) };
        let tokens =
            [("refresh_token", grant.refresh_token.as_ref()), ("access_token", Some(&grant.access_token))];
        for (kind, token) in tokens {
            if let Some(token) = token {
                self.give_back(address.clone(), proof, kind, token).await?;
            }
        }
        Ok(())
    }

    /// Whether callbacks name the issuer, as far as that is known.
    pub fn announces_iss(&self) -> bool {
        match &self.provider {
            Spoken::OAuth(_) => false,
            Spoken::OpenId { issuer, .. } => issuer.announces_iss(),
        }
    }

    async fn place(&self) -> Result<Place, ProviderFault> {
        match &self.provider {
            Spoken::OAuth(endpoints) => Ok(Place {
                authorize: self.at(endpoints.authorize)?,
                token: self.at(endpoints.token)?,
                proof: endpoints.proof,
                metadata: None,
            }),
            Spoken::OpenId { issuer, .. } => {
                let metadata = issuer.metadata().await?;
                Ok(Place {
                    authorize: metadata.authorize.clone(),
                    token: metadata.token.clone(),
                    proof: metadata.proof,
                    metadata: Some(metadata),
                })
            }
        }
    }

    fn at(&self, address: &str) -> Result<Url, ProviderFault> {
        let url = Url::parse(address).map_err(|_| ProviderFault::Odd("an address that is none"))?;
        Ok(self.base_url.as_ref().map_or_else(|| url.clone(), |base| moved(&url, base)))
    }

    /// RFC 9207: a callback that names somebody else was not meant for this connection. Providers without metadata have
    /// no issuer's name to compare; what they send must at least be at their own address.
    fn check_issuer(&self, iss: Option<&str>, place: &Place) -> Result<(), ProviderFault> {
        let is_right = match (&self.provider, iss) {
            (Spoken::OpenId { issuer, .. }, Some(iss)) => iss == issuer.name(),
            (Spoken::OpenId { .. }, None) => !self.announces_iss(),
            (Spoken::OAuth(_), None) => true,
            (Spoken::OAuth(_), Some(iss)) => {
                Url::parse(iss).is_ok_and(|url| url.origin() == place.authorize.origin())
            }
        };
        if is_right { Ok(()) } else { Err(ProviderFault::Odd("the callback names another issuer")) }
    }

    fn endpoint(&self, place: Place) -> TokenEndpoint<'_> {
        let Place { token, proof, .. } = place;
        TokenEndpoint { outgoing: &self.outgoing, credentials: &self.credentials, url: token, proof }
    }

    fn grant(&self, tokens: Tokens, old: Option<&SecretString>) -> Grant {
        Grant {
            access_token: tokens.access_token,
            // Without a new one the old one stays (RFC 6749, 6).
            refresh_token: tokens.refresh_token.or_else(|| old.cloned()),
            expires_at: tokens.lasts.map(|lasts| self.clock.now().after(lasts)),
            private: None,
        }
    }

    async fn profile(&self, endpoints: &Endpoints, tokens: &Tokens) -> Result<Value, ProviderFault> {
        let mut profile = self.ask_for(endpoints.profile, tokens).await?;
        if !profile.is_object() {
            return Err(ProviderFault::Odd("a profile that is none"));
        }
        if let Some(emails) = endpoints.emails {
            profile["emails"] = self.ask_for(emails, tokens).await?;
        }
        Ok(profile)
    }

    async fn ask_for(&self, address: &str, tokens: &Tokens) -> Result<Value, ProviderFault> {
        let request = self.outgoing.request(Method::GET, self.at(address)?);
        let request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
        document(&self.outgoing, request.bearer_auth(tokens.access_token.expose_secret())).await
    }

    /// Who somebody is by their ID token and by userinfo.
    async fn claims(
        &self,
        issuer: &Issuer,
        metadata: &Metadata,
        tokens: &Tokens,
        finish: &Finish<'_>,
    ) -> Result<Said, ProviderFault> {
        let token = tokens.id_token.as_ref().ok_or(ProviderFault::Odd("no id token"))?;
        let claims = issuer.verify(token.expose_secret(), &self.credentials.id, finish.nonce).await?;
        if let Some(since) = finish.since {
            id_token::check_presence(&claims, since)?;
        }
        let told = match &metadata.userinfo {
            Some(url) => issuer.userinfo(url.clone(), tokens.access_token.expose_secret(), &claims).await?,
            None => claims,
        };
        (self.read)(&told)
    }

    /// RFC 7009.
    async fn give_back(
        &self,
        address: Url,
        proof: ClientProof,
        kind: &str,
        token: &SecretString,
    ) -> Result<(), ProviderFault> {
        let Credentials { id, secret } = &self.credentials;
        let secret = secret.expose_secret();
        let request = self.outgoing.request(Method::POST, address);
        let mut form = vec![("token", token.expose_secret()), ("token_type_hint", kind)];
        let request = match proof {
            ClientProof::Basic => request.basic_auth(encoded(id), Some(encoded(secret))),
            ClientProof::Form => {
                form.extend([("client_id", id.as_str()), ("client_secret", secret)]);
                request
            }
        };
        self.done(request.form(&form)).await
    }

    /// GitHub's way.
    async fn delete(&self, address: &str, grant: &Grant) -> Result<(), ProviderFault> {
        let Credentials { id, secret } = &self.credentials;
        let address = self.at(&address.replace("{client_id}", &encoded(id)))?;
        let request = self
            .outgoing
            .request(Method::DELETE, address)
            .basic_auth(id, Some(secret.expose_secret()))
            .json(&json!({ "access_token": grant.access_token.expose_secret() }));
        self.done(request).await
    }

    /// A token that is not known (400, 404, 422) can't be given back and need not be.
    async fn done(&self, request: reqwest::RequestBuilder) -> Result<(), ProviderFault> {
        let request = request.build().map_err(|_| ProviderFault::Odd("an address that is none"))?;
        let answer = self.outgoing.ask(request, Bounds::DOCUMENT).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => Ok(()),
            status => check_status(status),
        }
    }
}

/// As RFC 6749, 2.3.1 wants ids and secrets in HTTP Basic.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The address, with another server in place of its host.
pub fn moved(url: &Url, base: &Url) -> Url {
    let mut there = base.clone();
    there.set_path(&format!("{}{}", base.path().trim_end_matches('/'), url.path()));
    there.set_query(url.query());
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_server_keeps_the_path() {
        let moved = |url: &str, base: &str| moved(&url.parse().unwrap(), &base.parse().unwrap()).to_string();
        assert_eq!(
            moved("https://api.x.com/2/me?a=b", "http://127.0.0.1:1/x"),
            "http://127.0.0.1:1/x/2/me?a=b"
        );
        assert_eq!(moved("https://github.com/user", "https://ghe.example"), "https://ghe.example/user");
        assert_eq!(moved("https://accounts.google.com", "http://127.0.0.1:1/"), "http://127.0.0.1:1/");
    }
}
