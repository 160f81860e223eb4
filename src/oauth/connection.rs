//! A way to sign in elsewhere, as the flow sees it: four acts, the same for every provider.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;
use url::Url;

use super::PATIENCE;
use super::bluesky::{self, Bluesky, ClientKey, ClientMetadata};
use super::client::{Client, Spoken, moved};
use super::openid::Issuer;
use super::providers::{self, Protocol, Provider, oidc};
use super::reading::standard_claims;
use super::tokens::Credentials;
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::config::{self, OAuth, OAuthClient, OidcIssuer};
use crate::platform::fetch;
use crate::platform::names::Names;
use crate::platform::outgoing::Outgoing;
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;

/// What connections are made of.
pub struct ConnectionParts {
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
}

/// Every way to sign in elsewhere.
#[derive(Clone)]
pub struct Connections(Arc<Vec<Listed>>);

struct Listed {
    name: String,
    shown_name: String,
    connection: Option<Arc<Connection>>,
}

impl From<Connection> for Listed {
    fn from(connection: Connection) -> Self {
        let (name, shown_name) = (connection.name.clone(), connection.shown_name.clone());
        Self { name, shown_name, connection: Some(Arc::new(connection)) }
    }
}

impl Listed {
    fn unused(name: &str, shown_name: &str) -> Self {
        Self { name: name.to_owned(), shown_name: shown_name.to_owned(), connection: None }
    }
}

/// What every connection asks with.
struct Paths {
    known: Outgoing,
    strangers: Outgoing,
    names: Names,
}

impl Paths {
    fn open() -> anyhow::Result<Self> {
        let names = Names::of_system();
        Ok(Self { known: Outgoing::to_known()?, strangers: Outgoing::to_strangers(names.clone())?, names })
    }
}

impl Connections {
    /// The connections of these settings. Asks nobody.
    pub fn open(settings: &OAuth, parts: &ConnectionParts) -> anyhow::Result<Self> {
        let mut listed = Vec::new();
        let is_used =
            !settings.clients.is_empty() || !settings.issuers.is_empty() || settings.bluesky.is_some();
        // Reading the certificate authorities takes a while: who signs in nowhere else does not wait for it.
        let paths = if is_used { Some(Paths::open()?) } else { None };
        for provider in providers::ALL {
            let client = settings.clients.iter().find(|client| client.provider == provider.name);
            listed.push(match (client, &paths) {
                (Some(client), Some(paths)) => {
                    Connection::to_provider(provider, client, parts, paths)?.into()
                }
                _ => Listed::unused(provider.name, provider.shown_name),
            });
        }
        listed.push(match (&settings.bluesky, &paths) {
            (Some(bluesky), Some(paths)) => Connection::to_bluesky(bluesky, parts, paths)?.into(),
            _ => Listed::unused(bluesky::NAME, bluesky::SHOWN_NAME),
        });
        for (issuer, paths) in settings.issuers.iter().filter_map(|issuer| Some((issuer, paths.as_ref()?))) {
            listed.push(Connection::to_issuer(issuer, parts, paths)?.into());
        }
        Ok(Self(Arc::new(listed)))
    }

    /// What this server says of itself to servers of the AT Protocol; none where that is switched off.
    #[must_use]
    pub fn client_metadata(&self) -> Option<ClientMetadata> {
        self.bluesky().map(Bluesky::client_metadata)
    }

    /// The public keys that prove it to them; none where that is switched off.
    #[must_use]
    pub fn client_keys(&self) -> Option<Vec<ClientKey>> {
        self.bluesky().map(Bluesky::client_keys)
    }

    fn bluesky(&self) -> Option<&Bluesky> {
        self.named(bluesky::NAME).and_then(|connection| match &connection.way {
            Way::Bluesky(bluesky) => Some(&**bluesky),
            Way::Client(_) => None,
        })
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
    way: Way,
    pictures: Pictures,
}

enum Way {
    Client(Box<Client>),
    Bluesky(Box<Bluesky>),
}

/// Where a provider's pictures are.
struct Pictures {
    hosts: Vec<String>,
    /// For the provider's own hosts, which are named in its answers and therefore strangers.
    strangers: Outgoing,
    /// The server that stands for all of those hosts.
    instead: Option<(Outgoing, Url)>,
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
    /// Whether it is to prove that they are there now: a session that is open at the provider does not.
    pub is_proof: bool,
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
    /// Since when the person must have been there, where it is such a proof.
    pub since: Option<Timestamp>,
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
    fn to_provider(
        provider: &'static Provider,
        settings: &OAuthClient,
        parts: &ConnectionParts,
        paths: &Paths,
    ) -> anyhow::Result<Self> {
        let outgoing = paths.known.clone();
        let base_url = settings.base_url.clone();
        let spoken = match &provider.protocol {
            Protocol::OAuth(endpoints) => Spoken::OAuth(endpoints),
            Protocol::OpenId { issuer, revoke } => {
                let name = match &base_url {
                    Some(base) => moved(&issuer.parse()?, base).as_str().trim_end_matches('/').to_owned(),
                    None => (*issuer).to_owned(),
                };
                let issuer = Issuer::new(name, outgoing.clone(), parts.clock.clone())?;
                Spoken::OpenId { issuer, revoke: *revoke }
            }
        };
        let client = Client {
            outgoing: outgoing.clone(),
            clock: parts.clock.clone(),
            credentials: Credentials { id: settings.id.clone(), secret: settings.secret.clone() },
            scopes: provider.scopes.to_owned(),
            parameters: provider.parameters,
            provider: spoken,
            read: provider.read,
            base_url: base_url.clone(),
        };
        let pictures = Pictures {
            hosts: provider.pictures.iter().map(|host| (*host).to_owned()).collect(),
            strangers: paths.strangers.clone(),
            instead: base_url.map(|base| (outgoing, base)),
        };
        let (name, shown_name) = (provider.name.to_owned(), provider.shown_name.to_owned());
        Ok(Self { name, shown_name, way: Way::Client(Box::new(client)), pictures })
    }

    fn to_issuer(settings: &OidcIssuer, parts: &ConnectionParts, paths: &Paths) -> anyhow::Result<Self> {
        let outgoing = paths.known.clone();
        let issuer = Issuer::new(settings.issuer.clone(), outgoing.clone(), parts.clock.clone())?;
        let client = Client {
            outgoing: outgoing.clone(),
            clock: parts.clock.clone(),
            credentials: Credentials { id: settings.id.clone(), secret: settings.secret.clone() },
            scopes: settings.scopes.clone().unwrap_or_else(|| oidc::SCOPES.to_owned()),
            parameters: &[],
            provider: Spoken::OpenId { issuer, revoke: None },
            read: standard_claims,
            base_url: None,
        };
        let place: Url = settings.issuer.parse()?;
        // One that is on this machine, while somebody tries it, has its pictures there, too.
        let is_here = place.scheme() == "http";
        let pictures = Pictures {
            hosts: place.domain().map(str::to_owned).into_iter().collect(),
            strangers: paths.strangers.clone(),
            instead: is_here.then_some((outgoing, place)),
        };
        let (name, shown_name) = (settings.name.clone(), oidc::shown_name(&settings.name));
        Ok(Self { name, shown_name, way: Way::Client(Box::new(client)), pictures })
    }

    fn to_bluesky(
        settings: &config::Bluesky,
        parts: &ConnectionParts,
        paths: &Paths,
    ) -> anyhow::Result<Self> {
        let way = match &settings.base_url {
            Some(gateway) => bluesky::Way { outgoing: Outgoing::through(gateway.clone())?, names: None },
            None => bluesky::Way { outgoing: paths.strangers.clone(), names: Some(paths.names.clone()) },
        };
        let strangers = way.outgoing.clone();
        let pictures = Pictures { hosts: vec![bluesky::PICTURES.to_owned()], strangers, instead: None };
        let (name, shown_name) = (bluesky::NAME.to_owned(), bluesky::SHOWN_NAME.to_owned());
        Ok(Self { name, shown_name, way: Way::Bluesky(Box::new(Bluesky::new(way, parts)?)), pictures })
    }

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
    pub async fn begin(&self, begin: Begin<'_>) -> Result<Begun, ProviderFault> {
        let act = async {
            match &self.way {
                Way::Client(client) => client.begin(&begin).await,
                Way::Bluesky(bluesky) => bluesky.begin(&begin).await,
            }
        };
        self.in_time("begin", act).await
    }

    /// Finishes a sign-in: who came back.
    pub async fn finish(&self, finish: Finish<'_>) -> Result<Identity, ProviderFault> {
        let act = async {
            match &self.way {
                Way::Client(client) => client.finish(&finish).await,
                Way::Bluesky(bluesky) => bluesky.finish(&finish).await,
            }
        };
        self.in_time("finish", act).await
    }

    /// The next tokens for those of `grant`.
    pub async fn refresh(&self, grant: &Grant) -> Result<Grant, ProviderFault> {
        let act = async {
            match &self.way {
                Way::Client(client) => client.refresh(grant).await,
                Way::Bluesky(bluesky) => bluesky.refresh(grant).await,
            }
        };
        self.in_time("refresh", act).await
    }

    /// Gives the tokens of `grant` back.
    pub async fn revoke(&self, grant: &Grant) -> Result<(), ProviderFault> {
        let act = async {
            match &self.way {
                Way::Client(client) => client.revoke(grant).await,
                Way::Bluesky(bluesky) => bluesky.revoke(grant).await,
            }
        };
        self.in_time("revoke", act).await
    }

    /// Whether its callbacks name the issuer: then one without `iss` is refused. What an issuer announces is known once it
    /// was asked; [`Connection::finish`] holds to it in any case.
    #[must_use]
    pub fn announces_iss(&self) -> bool {
        match &self.way {
            Way::Client(client) => client.announces_iss(),
            Way::Bluesky(_) => true,
        }
    }

    /// Somebody's picture, as the provider serves it; none when it can't be had or is not to be had.
    pub async fn picture(&self, url: &Url) -> Option<Bytes> {
        let hosts: Vec<&str> = self.pictures.hosts.iter().map(String::as_str).collect();
        let found = match &self.pictures.instead {
            Some((outgoing, base)) if url.origin() == base.origin() => fetch::download(outgoing, url).await,
            Some((outgoing, base)) if fetch::is_at(url, &hosts) => {
                fetch::download(outgoing, &moved(url, base)).await
            }
            _ => fetch::picture(&self.pictures.strangers, url, &hosts).await,
        };
        let told = |error: &fetch::NoPicture| tracing::info!(provider = self.name, %error, "no picture was taken over");
        found.inspect_err(told).ok()
    }

    /// An act that ends in time, and whose fault an operator hears of. It says no secret and nothing of the provider's
    /// own words.
    async fn in_time<T>(
        &self,
        name: &'static str,
        act: impl Future<Output = Result<T, ProviderFault>>,
    ) -> Result<T, ProviderFault> {
        let done = tokio::time::timeout(PATIENCE, act).await.unwrap_or(Err(ProviderFault::Unavailable));
        done.inspect_err(
            |fault| tracing::warn!(provider = self.name, act = name, %fault, "a provider failed"),
        )
    }
}
