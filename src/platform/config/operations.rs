//! Operations: documentation pages, other services that may ask, who may read metrics.

use std::path::PathBuf;

use ipnet::IpNet;
use subtle::ConstantTimeEq;

use super::catalogue::section;
use super::kinds::{Flag, List, Optional, Secret, Word};
use super::reader::Reader;
use super::server::NETWORK;
use crate::platform::hexadecimal;
use crate::platform::secrets::digest;

section! {
    /// The documentation pages.
    pub struct Docs {
        /// Whether `/interactive-docs` needs the permission docs:swagger.
        protected_interactive: bool = "PROTECTED_INTERACTIVE_DOCS", Flag, "True";
        /// Whether `/docs` and `/openapi.json` are open to all; otherwise they need docs:redoc.
        public: bool = "PUBLIC_API_DOCS", Flag, "True";
    }
}

section! {
    /// Feature flags.
    pub struct FeatureFlags {
        /// Whether operations obey their feature flags.
        enabled: bool = "FEATURE_FLAGS_ENABLED", Flag, "True";
        /// The file that shows the feature flags, to be edited by hand; relative to `DATA_DIR`.
        file: PathBuf = "FEATURE_FLAGS_FILE", FLAGS_FILE, "feature_flags.json";
    }
}

section! {
    /// Who else may ask.
    pub(super) struct Trust {
        /// Services that may introspect tokens (RFC 7662), as `name:secret-hash`; `gatehouse hash-secret` makes the
        /// hash.
        services: Vec<ServiceClient> = "SERVICE_CLIENTS", Secret(List(SERVICE_CLIENT)), "";
        /// Networks that may read metrics and the parts of a readiness report.
        metrics_allow: Vec<IpNet> = "METRICS_ALLOW", List(NETWORK), "127.0.0.0/8,::1";
        /// What others send as `Authorization: Bearer …` to read metrics from elsewhere.
        metrics_token: Option<MetricsToken> = "METRICS_TOKEN", Optional(Secret(METRICS_TOKEN)), "";
    }
}

/// The settings of operations.
pub(super) const SETTINGS: [&[super::Setting]; 3] = [Docs::SETTINGS, FeatureFlags::SETTINGS, Trust::SETTINGS];

const FLAGS_FILE: Word<PathBuf> = Word {
    accepts: "a path that ends with the name of a file",
    parse: |text| {
        let path = PathBuf::from(text);
        let named = !text.ends_with('/') && path.file_name().is_some() && !text.contains('\0');
        named.then_some(path)
    },
};

/// A service that may ask about tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceClient {
    /// The name it gives in HTTP Basic.
    pub name: String,
    /// SHA-256 of its secret, which is long and random, so that a fast hash suffices.
    pub secret_hash: [u8; 32],
}

impl ServiceClient {
    /// Whether `secret` is its secret; takes the same time whatever differs.
    #[must_use]
    pub fn knows(&self, secret: &[u8]) -> bool {
        digest(secret).as_slice().ct_eq(&self.secret_hash).into()
    }
}

/// What opens the measurements; only its digest is kept.
#[derive(Clone)]
pub struct MetricsToken([u8; 32]);

impl MetricsToken {
    /// Whether `token` is it; takes the same time whatever differs.
    #[must_use]
    pub fn is(&self, token: &[u8]) -> bool {
        digest(token).as_slice().ct_eq(&self.0).into()
    }
}

impl std::fmt::Debug for MetricsToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("MetricsToken")
    }
}

/// Nothing counts the tries, so it must be long.
const METRICS_TOKEN: Word<MetricsToken> = Word {
    accepts: "at least 16 visible characters of ASCII",
    parse: |text| {
        let long = text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic());
        long.then(|| MetricsToken(digest(text.as_bytes())))
    },
};

/// The hash of a service's secret as `SERVICE_CLIENTS` takes it: SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn hash_of_secret(secret: &[u8]) -> String {
    hexadecimal::written(&digest(secret))
}

const SERVICE_CLIENT: Word<ServiceClient> = Word {
    accepts: "name:secret-hash, the hash as `gatehouse hash-secret` makes it",
    parse: |text| {
        let (name, hash) = text.rsplit_once(':')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let named = !name.is_empty() && name.chars().all(plain);
        Some(ServiceClient { name: named.then(|| name.to_owned())?, secret_hash: hexadecimal::read(hash)? })
    },
};

/// Open interactive documentation in production is rarely meant.
pub(super) fn check_docs(reader: &mut Reader) {
    if !reader.is_local() && reader.glimpse("PROTECTED_INTERACTIVE_DOCS", &Flag) == Some(false) {
        reader.warn("PROTECTED_INTERACTIVE_DOCS is off: everybody may use the interactive documentation");
    }
}
