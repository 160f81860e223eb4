//! Signing in through other providers.

use secrecy::SecretString;
use url::Url;

use super::catalogue::section;
use super::kinds::{Flag, List, Optional, SECRET_TEXT, Secret, Shape, TEXT, Word};
use super::mistake::Mistake;
use super::names::PREFIX;
use super::reader::{Noted, Reader};
use super::server::{WEB_ADDRESS, is_loopback};
use super::sources::Origin;

section! {
    /// The providers as they were written.
    struct WrittenClients {
        /// Id of the client that this server is at Discord.
        discord_id: Option<String> = "API_CLIENT_ID_DISCORD", Optional(TEXT), "";
        /// Secret of that client.
        discord_secret: Option<SecretString> = "API_CLIENT_SECRET_DISCORD", Optional(SECRET_TEXT), "";
        /// Where Discord is instead of its own hosts; for tests and proxies.
        discord_base_url: Option<Url> = "OAUTH_DISCORD_BASE_URL", Optional(WEB_ADDRESS), "";
        /// Id of the client that this server is at GitHub.
        github_id: Option<String> = "API_CLIENT_ID_GITHUB", Optional(TEXT), "";
        /// Secret of that client.
        github_secret: Option<SecretString> = "API_CLIENT_SECRET_GITHUB", Optional(SECRET_TEXT), "";
        /// Where GitHub is instead of its own hosts; for tests and proxies.
        github_base_url: Option<Url> = "OAUTH_GITHUB_BASE_URL", Optional(WEB_ADDRESS), "";
        /// Id of the client that this server is at Google.
        google_id: Option<String> = "API_CLIENT_ID_GOOGLE", Optional(TEXT), "";
        /// Secret of that client.
        google_secret: Option<SecretString> = "API_CLIENT_SECRET_GOOGLE", Optional(SECRET_TEXT), "";
        /// Where Google is instead of its own hosts; for tests and proxies.
        google_base_url: Option<Url> = "OAUTH_GOOGLE_BASE_URL", Optional(WEB_ADDRESS), "";
        /// Id of the client that this server is at Twitch.
        twitch_id: Option<String> = "API_CLIENT_ID_TWITCH", Optional(TEXT), "";
        /// Secret of that client.
        twitch_secret: Option<SecretString> = "API_CLIENT_SECRET_TWITCH", Optional(SECRET_TEXT), "";
        /// Where Twitch is instead of its own hosts; for tests and proxies.
        twitch_base_url: Option<Url> = "OAUTH_TWITCH_BASE_URL", Optional(WEB_ADDRESS), "";
        /// Id of the client that this server is at Reddit.
        reddit_id: Option<String> = "API_CLIENT_ID_REDDIT", Optional(TEXT), "";
        /// Secret of that client.
        reddit_secret: Option<SecretString> = "API_CLIENT_SECRET_REDDIT", Optional(SECRET_TEXT), "";
        /// Where Reddit is instead of its own hosts; for tests and proxies.
        reddit_base_url: Option<Url> = "OAUTH_REDDIT_BASE_URL", Optional(WEB_ADDRESS), "";
        /// Id of the client that this server is at X (Twitter).
        twitter_id: Option<String> = "API_CLIENT_ID_TWITTER", Optional(TEXT), "";
        /// Secret of that client.
        twitter_secret: Option<SecretString> = "API_CLIENT_SECRET_TWITTER", Optional(SECRET_TEXT), "";
        /// Where X (Twitter) is instead of its own hosts; for tests and proxies.
        twitter_base_url: Option<Url> = "OAUTH_TWITTER_BASE_URL", Optional(WEB_ADDRESS), "";
        /// Whether people may sign in with Bluesky, or any other account of the AT Protocol.
        bluesky: bool = "BLUESKY_ENABLED", Flag, "False";
        /// Where every host of the AT Protocol is asked for, as a folder of its name; for tests and proxies.
        bluesky_base_url: Option<Url> = "OAUTH_BLUESKY_BASE_URL", Optional(WEB_ADDRESS), "";
        /// OpenID Connect issuers, each a name of letters, digits and `_`; each NAME then has the settings
        /// `OIDC_NAME_ISSUER`, `OIDC_NAME_CLIENT_ID`, `OIDC_NAME_CLIENT_SECRET` and, if it shall, `OIDC_NAME_SCOPES`.
        issuers: Vec<String> = "OIDC_PROVIDERS", List(ISSUER_NAME), "";
    }
}

section! {
    /// What the sign-in through providers keeps to, as it was written.
    struct WrittenRules {
        /// Where a sign-in through a provider may end: exact addresses, or prefixes ending in `/`; unset: the origins of
        /// `BASE_URL` and `FRONTEND_URL`.
        allowed_redirect_uris: Vec<RedirectRule> = "ALLOWED_REDIRECT_URIS", List(REDIRECT_RULE), "";
        /// Whether a verified address at a provider is enough to join an account whose own address was never verified.
        link_unverified_local: bool = "OAUTH_LINK_UNVERIFIED_LOCAL", Flag, "False";
    }
}

/// The settings of the sign-in through other providers; those named after an issuer are beside them.
pub(super) const SETTINGS: [&[super::Setting]; 2] = [WrittenClients::SETTINGS, WrittenRules::SETTINGS];

/// Signing in through other providers.
#[derive(Clone, Debug)]
pub struct OAuth {
    /// Where a sign-in may end; none: the origins of `BASE_URL` and `FRONTEND_URL`.
    pub allowed_redirect_uris: Vec<RedirectRule>,
    /// Whether a verified address at a provider is enough to join an account whose own address was never verified.
    pub link_unverified_local: bool,
    /// The clients that this server is at providers which are known by name.
    pub clients: Vec<OAuthClient>,
    /// The clients that it is at other issuers.
    pub issuers: Vec<OidcIssuer>,
    /// The AT Protocol; none: switched off.
    pub bluesky: Option<Bluesky>,
}

/// What this server is at a provider.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    /// The provider.
    pub provider: &'static str,
    /// The client's id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// Where the provider is instead of its own hosts.
    pub base_url: Option<Url>,
}

/// What this server is at an OpenID Connect issuer.
#[derive(Clone, Debug)]
pub struct OidcIssuer {
    /// The name in paths: lower case.
    pub name: String,
    /// The issuer, letter for letter as its documents must name it.
    pub issuer: String,
    /// The client's id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// What is asked for; none: `openid profile email`.
    pub scopes: Option<String>,
}

/// The AT Protocol.
#[derive(Clone, Debug)]
pub struct Bluesky {
    /// Where every host is asked for.
    pub base_url: Option<Url>,
}

/// Words that stand where names of providers do, or are theirs.
const TAKEN: [&str; 10] =
    ["discord", "github", "google", "twitch", "reddit", "twitter", "bluesky", "providers", "token", "link"];

const ISSUER_NAME: Word<String> = Word {
    accepts: "a name of 1 to 32 letters, digits and `_` that no other provider has",
    parse: |text| {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let name = text.to_ascii_lowercase();
        (plain && (1..=LONGEST_NAME).contains(&text.len()) && !TAKEN.contains(&&*name)).then_some(name)
    },
};

/// An issuer is compared letter by letter, so that it is kept as it was written.
const ISSUER: Word<String> = Word {
    accepts: "the address of an issuer, as https://accounts.example.com",
    parse: |text| (WEB_ADDRESS.parse)(text).map(|_| text.to_owned()),
};

const SCOPES: Word<String> = Word {
    accepts: "scopes with spaces between, `openid` among them",
    parse: |text| {
        let plain = text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ');
        (plain && text.split(' ').any(|scope| scope == "openid")).then(|| text.to_owned())
    },
};

/// The setting that lists the issuers.
pub(super) const ISSUERS: &str = "OIDC_PROVIDERS";

/// The longest name that an issuer may have.
const LONGEST_NAME: usize = 32;

/// A setting that every issuer on the list has, under a name that holds its own.
#[derive(Clone, Copy)]
pub struct OfIssuer {
    /// What its name ends with.
    end: &'static str,
    /// What values it takes, and whether they are secret.
    pub shape: &'static dyn Shape,
    /// Its meaning.
    pub doc: &'static str,
}

impl OfIssuer {
    /// What it is called, as a regular expression: who lists the issuers knows their names, and nobody else.
    #[must_use]
    pub fn pattern(&self) -> String {
        format!("^OIDC_[A-Z0-9_]{{1,{LONGEST_NAME}}}{}$", self.end)
    }
}

/// The settings of each issuer.
pub const OF_ISSUER: [OfIssuer; 4] = [
    OfIssuer {
        end: "_ISSUER",
        shape: &ISSUER,
        doc: "The issuer that `OIDC_PROVIDERS` names so, letter for letter as its own documents say it.",
    },
    OfIssuer { end: "_CLIENT_ID", shape: &GIVEN, doc: "Id of the client that this server is there." },
    OfIssuer { end: "_CLIENT_SECRET", shape: &Secret(GIVEN), doc: "Secret of that client." },
    OfIssuer {
        end: "_SCOPES",
        shape: &Optional(SCOPES),
        doc: "What is asked for there; unset: `openid profile email`.",
    },
];

/// The issuer that the setting `name` is named after, in capitals.
pub(super) fn issuer_of(name: &str) -> Option<&str> {
    let named = name.strip_prefix("OIDC_")?;
    let issuer = OF_ISSUER.iter().find_map(|of| named.strip_suffix(of.end))?;
    (ISSUER_NAME.parse)(issuer).map(|_| issuer)
}

/// The setting of the issuer `name` that ends with `end`.
fn setting_of_issuer(name: &str, end: &str) -> String {
    format!("OIDC_{}{end}", name.to_uppercase())
}

/// The settings that are named after the issuers on the list, and what they take.
pub(super) fn settings_of_issuers(reader: &Reader) -> Vec<(String, &'static dyn Shape)> {
    let issuers = reader.glimpse(ISSUERS, &List(ISSUER_NAME)).unwrap_or_default();
    let of = |name: &String| OF_ISSUER.map(|of| (setting_of_issuer(name, of.end), of.shape));
    issuers.iter().flat_map(of).collect()
}

impl OAuth {
    /// A provider that is half configured ends the start.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, Noted> {
        let (clients, rules) = (WrittenClients::read(reader), WrittenRules::read(reader));
        let (clients, rules) = (clients?, rules?);
        check_strays(&clients.issuers, reader);
        let names = clients.issuers.clone();
        let bluesky = clients.bluesky.then(|| Bluesky { base_url: clients.bluesky_base_url.clone() });
        if let Some(Bluesky { base_url: Some(url) }) = &bluesky {
            check_place("OAUTH_BLUESKY_BASE_URL", url, reader)?;
        }
        // Each is read before any is given up, so that all mistakes are told.
        let clients: Vec<_> = clients.complete(reader);
        let issuers: Vec<_> = names.into_iter().map(|name| OidcIssuer::read(name, reader)).collect();
        Ok(Self {
            allowed_redirect_uris: rules.allowed_redirect_uris,
            link_unverified_local: rules.link_unverified_local,
            clients: clients.into_iter().collect::<Result<_, _>>()?,
            issuers: issuers.into_iter().collect::<Result<_, _>>()?,
            bluesky,
        })
    }
}

impl WrittenClients {
    fn complete(self, reader: &mut Reader) -> Vec<Result<OAuthClient, Noted>> {
        let client = |provider, id, secret, base_url| (provider, id, secret, base_url);
        let written = [
            client("discord", self.discord_id, self.discord_secret, self.discord_base_url),
            client("github", self.github_id, self.github_secret, self.github_base_url),
            client("google", self.google_id, self.google_secret, self.google_base_url),
            client("twitch", self.twitch_id, self.twitch_secret, self.twitch_base_url),
            client("reddit", self.reddit_id, self.reddit_secret, self.reddit_base_url),
            client("twitter", self.twitter_id, self.twitter_secret, self.twitter_base_url),
        ];
        let complete = |(provider, id, secret, base_url)| client_of(provider, id, secret, base_url, reader);
        written.into_iter().filter_map(complete).collect()
    }
}

fn client_of(
    provider: &'static str,
    id: Option<String>,
    secret: Option<SecretString>,
    base_url: Option<Url>,
    reader: &mut Reader,
) -> Option<Result<OAuthClient, Noted>> {
    let name = provider.to_uppercase();
    let (id, secret) = match (id, secret) {
        (None, None) => return None,
        (Some(id), Some(secret)) => (id, secret),
        (Some(_), None) => return Some(Err(missing("API_CLIENT_SECRET_", "API_CLIENT_ID_", &name, reader))),
        (None, Some(_)) => return Some(Err(missing("API_CLIENT_ID_", "API_CLIENT_SECRET_", &name, reader))),
    };
    if let Some(url) = &base_url
        && let Err(noted) = check_place(&format!("OAUTH_{name}_BASE_URL"), url, reader)
    {
        return Some(Err(noted));
    }
    Some(Ok(OAuthClient { provider, id, secret, base_url }))
}

fn missing(lacks: &str, has: &str, name: &str, reader: &mut Reader) -> Noted {
    reader.note(Mistake::new(format!("{lacks}{name} is not set: {has}{name} needs it")))
}

impl OidcIssuer {
    fn read(name: String, reader: &mut Reader) -> Result<Self, Noted> {
        let setting = |end: &str| setting_of_issuer(&name, end);
        let issuer = needed(&setting("_ISSUER"), &ISSUER, reader);
        let id = needed(&setting("_CLIENT_ID"), &GIVEN, reader);
        let secret = needed(&setting("_CLIENT_SECRET"), &GIVEN, reader);
        let scopes = reader.value(&setting("_SCOPES"), &Optional(SCOPES));
        let issuer = issuer?;
        if let Ok(url) = Url::parse(&issuer) {
            check_place(&setting("_ISSUER"), &url, reader)?;
        }
        Ok(Self { name, issuer, id: id?, secret: secret?.into(), scopes: scopes? })
    }
}

/// The value of a setting that must be set, however much else is wrong.
fn needed(name: &str, kind: &Word<String>, reader: &mut Reader) -> Result<String, Noted> {
    match reader.found(name) {
        Some(_) => reader.value(name, kind),
        None => Err(reader.refuse(name, &kind.accepts())),
    }
}

const GIVEN: Word<String> = Word {
    accepts: "text, because OIDC_PROVIDERS names this issuer",
    parse: |text| (TEXT.parse)(text).filter(|text| !text.is_empty()),
};

/// Whom people's secrets are sent to must be who they seem: https, or this machine while somebody tries it.
pub(super) fn check_place(name: &str, url: &Url, reader: &mut Reader) -> Result<(), Noted> {
    if url.scheme() == "https" || (reader.is_local() && is_loopback(url)) {
        return Ok(());
    }
    Err(reader.refuse(name, "an https address; http only on localhost with ENVIRONMENT=local"))
}

/// Settings of an issuer that is not listed. In the environment a bare name may be another program's.
fn check_strays(listed: &[String], reader: &mut Reader) {
    let strays = reader.all_found().filter_map(|(name, found)| {
        let issuer = issuer_of(name)?.to_ascii_lowercase();
        let is_ours = found.variable.starts_with(PREFIX) || found.origin != Origin::Environment;
        (is_ours && !listed.contains(&issuer)).then(|| {
            let (variable, origin) = (&found.variable, &found.origin);
            Mistake::new(format!("{variable} ({origin}) is set, but OIDC_PROVIDERS does not name {issuer}"))
        })
    });
    for stray in strays.collect::<Vec<_>>() {
        reader.note(stray);
    }
}

/// Addresses that a sign-in may end at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectRule {
    /// This one.
    Exactly(Url),
    /// Those of this origin whose path begins with this one's, which ends in `/`.
    Below(Url),
}

const REDIRECT_RULE: Word<RedirectRule> = Word {
    accepts: "an address such as https://example.com/signed-in, or a prefix such as https://example.com/",
    parse: |text| {
        let url = Url::parse(text).ok().filter(|url| is_target(url) && url.fragment().is_none())?;
        let is_prefix = text.ends_with('/') && url.query().is_none() && url.origin().is_tuple();
        Some(if is_prefix { RedirectRule::Below(url) } else { RedirectRule::Exactly(url) })
    },
};

/// Whether a browser may be sent there: the web, or an app by the scheme of its own (RFC 8252, 7.1), which has a dot.
fn is_target(url: &Url) -> bool {
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    (is_web || url.scheme().contains('.')) && url.username().is_empty() && url.password().is_none()
}
