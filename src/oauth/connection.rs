//! A way to sign in elsewhere, as the flow sees it: four acts, the same for every provider.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;
use url::Url;

use crate::platform::clock::{Clock, Timestamp};
use crate::platform::config::{Environment, OAuth};
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;

/// What connections are made of.
pub struct Parts {
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Keys that are derived.
    pub secrets: Arc<Secrets>,
    /// Where clients reach the server, without a slash at its end.
    pub base_url: String,
    /// Where the operations are.
    pub api_url: String,
    /// What the server is called.
    pub project_name: String,
    /// Where the server runs.
    pub environment: Environment,
}

/// Every way to sign in elsewhere.
#[derive(Clone)]
pub struct Connections(Arc<Vec<Listed>>);

struct Listed {
    name: String,
    shown_name: String,
    connection: Option<Arc<Connection>>,
}

impl Connections {
    /// The connections of these settings.
    pub fn open(_settings: &OAuth, _parts: &Parts) -> anyhow::Result<Self> {
        Ok(Self(Arc::default()))
    }

    /// The configured connection of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Connection>> {
        self.0.iter().find(|listed| listed.name == name)?.connection.as_ref()
    }

    /// Every provider that is known: its name in paths, its name for people, and whether it is configured.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.0.iter().map(|listed| (&*listed.name, &*listed.shown_name, listed.connection.is_some()))
    }
}

/// A configured way to sign in elsewhere. Everything that differs between providers is behind these acts.
pub struct Connection {
    name: String,
    shown_name: String,
}

/// What a sign-in begins with.
#[derive(Clone, Copy)]
pub struct Begin<'a> {
    /// Comes back with the code.
    pub state: &'a str,
    /// Comes back in the ID token, where there is one.
    pub nonce: &'a str,
    /// The PKCE challenge (S256).
    pub challenge: &'a str,
    /// Where the provider sends the person back to.
    pub redirect_uri: &'a str,
    /// Who the person says they are (Bluesky).
    pub handle: Option<&'a str>,
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the person goes now.
    pub authorization_url: Url,
    /// What [`Connection::finish`] needs again: JSON, to be kept sealed.
    pub private: Option<SecretString>,
}

/// What a sign-in is finished with.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// What the person came back with.
    pub code: &'a str,
    /// The issuer that the callback names (RFC 9207).
    pub iss: Option<&'a str>,
    /// The nonce that it began with.
    pub nonce: &'a str,
    /// What the PKCE challenge was made from.
    pub verifier: &'a SecretString,
    /// The address that it began with.
    pub redirect_uri: &'a str,
    /// What [`Connection::begin`] gave.
    pub private: Option<&'a SecretString>,
}

/// Who somebody is at a provider.
#[derive(Debug)]
pub struct Identity {
    /// Their id there, which never changes and is never given to another.
    pub subject: String,
    /// Their name there.
    pub username: Option<String>,
    /// What they are shown as.
    pub display_name: Option<String>,
    /// Their address.
    pub email: Option<String>,
    /// Whether the provider says that the address is theirs.
    pub email_verified: bool,
    /// Their language, as the provider writes it.
    pub locale: Option<String>,
    /// Their picture.
    pub picture_url: Option<Url>,
    /// What acts in their name.
    pub grant: Option<Grant>,
    /// Whether they proved themselves there with a second factor.
    pub second_factor: bool,
}

/// Tokens of a provider.
#[derive(Debug)]
pub struct Grant {
    /// What opens.
    pub access_token: SecretString,
    /// What gets the next access token.
    pub refresh_token: Option<SecretString>,
    /// When the access token ends, as far as the provider tells.
    pub expires_at: Option<Timestamp>,
    /// What using it takes besides: JSON.
    pub private: Option<SecretString>,
}

/// Why a provider did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// It does not accept the code or token.
    #[error("the provider refused")]
    Refused,
    /// It is down or slow.
    #[error("the provider does not answer")]
    Unavailable,
    /// Its answer is not what it must be; the word says in which way.
    #[error("the provider's answer can't be trusted: {0}")]
    Odd(&'static str),
}

impl Connection {
    /// Its name in paths.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name for people.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        &self.shown_name
    }

    /// Begins a sign-in.
    pub async fn begin(&self, _begin: Begin<'_>) -> Result<Begun, ProviderFault> {
        Err(ProviderFault::Unavailable)
    }

    /// Finishes a sign-in: who came back.
    pub async fn finish(&self, _finish: Finish<'_>) -> Result<Identity, ProviderFault> {
        Err(ProviderFault::Unavailable)
    }

    /// The next tokens for those of `grant`.
    pub async fn refresh(&self, _grant: &Grant) -> Result<Grant, ProviderFault> {
        Err(ProviderFault::Unavailable)
    }

    /// Gives the tokens of `grant` back.
    pub async fn revoke(&self, _grant: &Grant) -> Result<(), ProviderFault> {
        Err(ProviderFault::Unavailable)
    }

    /// Whether its callbacks name the issuer: then one without `iss` is refused.
    #[must_use]
    pub fn announces_iss(&self) -> bool {
        false
    }

    /// Somebody's picture, as the provider serves it; none when it can't be had or is not to be had.
    pub async fn picture(&self, _url: &Url) -> Option<Bytes> {
        None
    }
}
