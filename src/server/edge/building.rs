//! Putting the edge together.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use poem::{Endpoint, Request, Response};

use super::at_hand::AtHand;
use super::constant::Constant;
use super::cors::Cors;
use super::headers::Protection;
use super::limited::Limited;
use super::{Edge, EdgeSettings, Measured};
use crate::platform::telemetry::spans::Tracer;
use crate::platform::web::{TraceIds, TrustedProxies, VisitSettings};
use crate::rate_limit::Meter;
use crate::server::early::Early;

impl<E: Endpoint> Edge<E> {
    /// Puts the edge around `inner`.
    pub fn new(inner: E, settings: EdgeSettings, trace_ids: Arc<TraceIds>) -> Self {
        let visits =
            |max_body_bytes| Arc::new(VisitSettings { max_body_bytes, base_url: settings.base_url.clone() });
        let usual = settings.max_body_bytes;
        let large = settings.large_bodies.iter();
        Self {
            inner,
            visits: visits(usual),
            large_visits: large.map(|large| (large.clone(), visits(usual.max(large.most)))).collect(),
            proxies: TrustedProxies::new(settings.trusted_proxies.clone()),
            cors: Cors::new(&settings.cors_origins),
            protection: Protection::new(&settings.base_url, settings.hsts_include_subdomains),
            constant: None,
            at_hand: None,
            limited: None,
            trace_ids,
            measured: Arc::new(Measured::new(&serde_json::Value::Null)),
            tracer: None,
            warned_of_proxy: AtomicBool::new(false),
            settings,
        }
    }

    /// Lets the edge itself answer GET of one path, always with this text.
    #[must_use]
    pub fn with_constant(mut self, path: &'static str, text: &'static str) -> Self {
        self.constant = Some(Constant::new(path, text, &self.protection));
        self
    }

    /// Lets somebody answer GET of paths that end so before the router, where `find` has what the handler would answer.
    /// It is not asked about requests with a query or a body.
    #[must_use]
    pub fn with_at_hand(
        mut self,
        ends: &'static str,
        find: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        self.at_hand = Some(AtHand::new(ends, Box::new(find)));
        self
    }

    /// Lets each client make only so many requests.
    #[must_use]
    pub fn with_limit(mut self, requests: Option<Arc<Meter>>) -> Self {
        self.limited = requests.map(Limited);
        self
    }

    /// Lets requests be counted there.
    #[must_use]
    pub fn with_measured(mut self, measured: Arc<Measured>) -> Self {
        self.measured = measured;
        self
    }

    /// Lets traces of requests be recorded.
    #[must_use]
    pub fn with_tracer(mut self, tracer: Option<Arc<Tracer>>) -> Self {
        self.tracer = tracer;
        self
    }

    /// Who answers where a request does not come this far, in the same words as here.
    pub(in crate::server) fn early(&self) -> Early {
        Early {
            trace_ids: Arc::clone(&self.trace_ids),
            protection: self.protection.clone(),
            oauth_places: self.settings.oauth_places.clone(),
        }
    }
}
