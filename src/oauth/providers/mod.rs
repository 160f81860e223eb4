//! The providers that are known by name, each a value in a file of its own: addresses, scopes, and how it writes who
//! somebody is. What they have in common is done by [`Connection`](super::Connection).

mod discord;
mod github;
mod google;
pub mod oidc;
mod reddit;
mod twitch;
mod twitter;

use serde_json::Value;

use super::ProviderFault;
use super::reading::Said;

/// Every one, in the order in which people are offered them.
pub const ALL: [&Provider; 6] = [
    &discord::DISCORD,
    &github::GITHUB,
    &google::GOOGLE,
    &twitch::TWITCH,
    &reddit::REDDIT,
    &twitter::TWITTER,
];

/// What is particular to a provider.
pub struct Provider {
    /// Its name in paths and settings.
    pub name: &'static str,
    /// Its name for people.
    pub shown_name: &'static str,
    /// What is asked for; the least that tells who somebody is.
    pub scopes: &'static str,
    /// What the authorization address holds besides.
    pub parameters: &'static [(&'static str, &'static str)],
    /// How it is spoken with.
    pub protocol: Protocol,
    /// Reads its answer.
    pub read: fn(&Value) -> Result<Said, ProviderFault>,
    /// Where its pictures are.
    pub pictures: &'static [&'static str],
}

/// How a provider is spoken with.
pub enum Protocol {
    /// OpenID Connect.
    OpenId {
        /// The issuer.
        issuer: &'static str,
        /// Where tokens are given back, if the issuer does not publish it.
        revoke: Option<&'static str>,
    },
    /// OAuth, and an operation that tells who somebody is.
    OAuth(Endpoints),
}

/// Where a provider without discovery is.
pub struct Endpoints {
    /// Where people go.
    pub authorize: &'static str,
    /// Where codes are exchanged.
    pub token: &'static str,
    /// Where it tells who somebody is.
    pub profile: &'static str,
    /// Where it lists their addresses; they become the profile's `emails`.
    pub emails: Option<&'static str>,
    /// Where tokens are given back.
    pub revoke: Revoke,
    /// How the client proves itself.
    pub proof: ClientProof,
}

/// How tokens are given back.
#[derive(Clone, Copy)]
pub enum Revoke {
    /// As RFC 7009 says, there.
    Standard(&'static str),
    /// By `DELETE` with JSON; `{client_id}` is the client's.
    Delete(&'static str),
}

/// How a client proves itself to the token endpoint (RFC 6749, 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// By HTTP Basic.
    Basic,
    /// In the form.
    Form,
}
