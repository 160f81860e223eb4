//! What the edge is told.

use std::time::Duration;

use ipnet::IpNet;

use super::methods::Methods;
use super::oauth::OauthPlaces;
use crate::pages::Pages;

/// What the edge must know.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// Where clients reach the server, without a slash at the end. `https` turns HSTS on.
    pub base_url: String,
    /// Path below which every error is a problem document, such as `/api`; empty for everywhere.
    pub api_prefix: String,
    /// What makes the pages that people see of refusals.
    pub pages: Pages,
    /// Origins whose scripts may read answers below the API's prefix, each as `scheme://host[:port]`.
    pub cors_origins: Vec<String>,
    /// Networks of proxies whose word about the client counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// Requests whose bodies may be larger than others'.
    pub large_bodies: Vec<LargeBodies>,
    /// From the request's head to the answer's head.
    pub request_timeout: Duration,
    /// Whether HSTS holds for subdomains too.
    pub hsts_include_subdomains: bool,
    /// Names of query parameters that may stand there more than once.
    pub repeatable: Vec<String>,
    /// Which methods the paths have.
    pub methods: Methods,
    /// Where every refusal has what libraries of OAuth look for.
    pub oauth_places: OauthPlaces,
}

/// Requests whose bodies may be larger than others', and may take their time.
#[derive(Clone, Debug)]
pub struct LargeBodies {
    /// What their paths begin with.
    pub begins: String,
    /// What their paths end with, but for a slash.
    pub ends: &'static str,
    /// Largest body, in bytes.
    pub most: usize,
    /// From the request's head to the answer's head.
    pub timeout: Duration,
}

impl LargeBodies {
    pub(super) fn is_at(&self, path: &str) -> bool {
        path.starts_with(&self.begins) && path.trim_end_matches('/').ends_with(self.ends)
    }
}
