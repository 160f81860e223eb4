//! The configuration: every setting read once, at the start, from files and the environment, into plain structs.
//!
//! How it fits: [`Sources`] hold what was written; `resolve` finds one text per setting; each section reads its
//! fields from those by their kinds; what is wrong becomes a [`Mistake`], and all of them are told at once. The
//! settings themselves stand as tables in the sections, see `catalogue`.

mod accounts;
mod backups;
mod catalogue;
mod database;
mod dotenv;
mod events;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kinds;
mod limiter;
mod log;
mod mail;
mod mistake;
mod names;
mod oauth;
mod operations;
mod otel;
mod otp;
mod passwords;
mod postgres;
mod reader;
mod resolve;
mod secret_key;
mod server;
mod sources;
#[cfg(test)]
mod tests;
mod tokens;
mod toml_file;
mod weakness;
mod webhooks;
mod workos;

use std::path::Path;

use ipnet::IpNet;

pub use accounts::{Directory, FirstAdmin, Quota, SignUp, Throttles, Users};
pub use backups::Backups;
pub use catalogue::{Alias, Setting};
pub use database::{Database, DatabaseAddress};
pub use events::{BrokerAddress, Rabbitmq};
pub use files::{BucketAddress, Files};
pub use kinds::Shape;
pub use limiter::Limiter;
pub use log::{Log, LogFormat};
pub use mail::{Delivery, Mail, Mailjet, Protection, Smtp};
pub use mistake::Mistake;
pub use names::PREFIX;
pub use oauth::{Bluesky, OAuth, OAuthClient, OF_ISSUER, OfIssuer, OidcIssuer, RedirectRule};
pub use operations::{Docs, FeatureFlags, MetricsToken, ServiceClient, hash_of_secret};
pub use otp::{Otp, RequiredRole};
pub use passwords::{Argon2Cost, Passwords};
pub use reader::Effective;
pub use server::{Environment, Server};
pub use sources::{Origin, Presence, Sources};
pub use tokens::{MasterSecret, TokenAlgorithm, Tokens};
pub use webhooks::Webhooks;
pub use workos::Workos;

use super::telemetry::otlp::OtlpSettings;
use operations::Trust;
use reader::Reader;

/// The sections in the order of the documentation, each with its settings. A new section is a line here and a field
/// of [`Config`].
const GROUPS: [(&str, &[&[Setting]]); 17] = [
    ("server", &[Server::SETTINGS]),
    ("log", &[Log::SETTINGS]),
    ("telemetry", &[otel::SETTINGS]),
    ("token", &tokens::SETTINGS),
    ("otp", &[Otp::SETTINGS]),
    ("password", &passwords::SETTINGS),
    ("accounts", &accounts::SETTINGS),
    ("files", &[Files::SETTINGS]),
    ("mail", &mail::SETTINGS),
    ("webhooks", &[Webhooks::SETTINGS]),
    ("oauth", &oauth::SETTINGS),
    ("workos", &[Workos::SETTINGS]),
    ("database", &database::SETTINGS),
    ("backups", &[Backups::SETTINGS]),
    ("limiter", &[Limiter::SETTINGS]),
    ("events", &[Rabbitmq::SETTINGS]),
    ("operations", &operations::SETTINGS),
];

/// Every setting, by group.
pub fn groups() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static Setting>)> {
    GROUPS.into_iter().map(|(name, tables)| (name, tables.iter().copied().flatten()))
}

/// Every setting.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    groups().flat_map(|(_, settings)| settings)
}

/// Everything that can be set, read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The front.
    pub server: Server,
    /// What is logged.
    pub log: Log,
    /// Where traces and measurements go.
    pub otlp: OtlpSettings,
    /// Tokens and sessions.
    pub tokens: Tokens,
    /// The second factor.
    pub otp: Otp,
    /// Passwords.
    pub passwords: Passwords,
    /// Sign-up.
    pub sign_up: SignUp,
    /// The admin of an empty database; none: a set-up link is printed once.
    pub first_admin: Option<FirstAdmin>,
    /// Documentation pages.
    pub docs: Docs,
    /// Feature flags.
    pub flags: FeatureFlags,
    /// The database.
    pub database: Database,
    /// Backups that the server makes by itself.
    pub backups: Backups,
    /// How often clients may try the door, and do what costs much.
    pub throttles: Throttles,
    /// How many requests they may make at all.
    pub limiter: Limiter,
    /// The message broker.
    pub rabbitmq: Rabbitmq,
    /// People with an account.
    pub users: Users,
    /// Files.
    pub files: Files,
    /// Mail.
    pub mail: Mail,
    /// Webhooks.
    pub webhooks: Webhooks,
    /// Signing in through other providers.
    pub oauth: OAuth,
    /// WorkOS, where it keeps the directory of users.
    pub workos: Workos,
    /// Services that may introspect tokens.
    pub services: Vec<ServiceClient>,
    /// Networks that may read metrics and the parts of a readiness report.
    pub metrics_allow: Vec<IpNet>,
    /// What others show to read metrics from elsewhere.
    pub metrics_token: Option<MetricsToken>,
}

/// A configuration that may be used, and how it came about.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every setting with its source, secrets masked.
    pub settings: Vec<Effective>,
    /// What is allowed and rarely meant; to be logged at each start.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks everything. In `local` without a master secret, makes one in the data folder.
    ///
    /// # Errors
    /// Every mistake there is, at least one.
    pub fn load(sources: &Sources) -> Result<Loaded, Vec<Mistake>> {
        let mut reader = Reader::new(sources);
        let config = Self::read(&mut reader);
        let settings = reader.effective();
        let (mistakes, warnings) = reader.finish();
        match config {
            Ok(config) if mistakes.is_empty() => Ok(Loaded { config, settings, warnings }),
            _ => Err(mistakes),
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, reader::Noted> {
        server::check_transport(reader);
        server::check_proxies(reader);
        operations::check_docs(reader);
        let server = Server::read(reader);
        let log = Log::read(reader);
        let telemetry = otel::read(reader);
        let otp = Otp::read(reader);
        let passwords = Passwords::read(reader);
        let first_admin = FirstAdmin::read(reader);
        let docs = Docs::read(reader);
        let flags = FeatureFlags::read(reader);
        let database = Database::read(reader);
        let backups = Backups::read(reader).inspect(|backups| backups::check(backups, reader));
        let throttles = Throttles::read(reader);
        let limiter = Limiter::read(reader);
        let rabbitmq = Rabbitmq::read(reader);
        let users = Users::read(reader);
        let files = Files::read(reader);
        let mail = Mail::read(reader);
        webhooks::check(reader);
        let webhooks = Webhooks::read(reader);
        let oauth = OAuth::read(reader);
        let workos = Workos::read(reader).inspect(|workos| workos::check_workos(workos, reader));
        let sign_up =
            SignUp::read(reader).inspect(|sign_up| accounts::check_verification(sign_up, &mail, reader));
        let trust = Trust::read(reader);
        let tokens = Tokens::read(reader).inspect(|tokens| tokens::check_lifetimes(tokens, reader));
        let Trust { services, metrics_allow, metrics_token } = trust?;
        Ok(Self {
            server: server?,
            log: log?,
            otlp: telemetry?,
            tokens: tokens?,
            otp: otp?,
            passwords: passwords?,
            sign_up: sign_up?,
            first_admin: first_admin?,
            docs: docs?,
            flags: flags?,
            database: database?,
            backups: backups?,
            throttles: throttles?,
            limiter: limiter?,
            rabbitmq: rabbitmq?,
            users: users?,
            files: files?,
            mail: mail?,
            webhooks: webhooks?,
            oauth: oauth?,
            workos: workos?,
            services,
            metrics_allow,
            metrics_token,
        })
    }

    /// A configuration for tests: `local`, a fixed master secret, hashes that cost next to nothing;
    /// `pairs` of variables win.
    ///
    /// # Panics
    /// When `pairs` hold a mistake.
    #[doc(hidden)]
    #[must_use]
    #[expect(clippy::panic, reason = "a test with a mistake in its settings shall say so and end")]
    pub fn for_tests(data_dir: &Path, pairs: &[(&str, &str)]) -> Self {
        const SECRET: &str = "6fQ2vX9mT4kLbW8zR1nYcJ7hD3gPsE5a";
        let data_dir = data_dir.to_string_lossy();
        let defaults = [("DATA_DIR", &*data_dir), ("JWT_SECRET_KEY", SECRET)];
        let sources = Sources::default().with_variables(&defaults).with_variables(pairs);
        let mut config = match Self::load(&sources) {
            Ok(loaded) => loaded.config,
            Err(mistakes) => panic!("{mistakes:?}"),
        };
        if !pairs.iter().any(|(name, _)| name.contains("ARGON2_")) {
            config.passwords.argon2 = Argon2Cost::CHEAP;
        }
        config
    }
}
