//! What is taken from a request before its handler has it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use poem::http::{HeaderValue, Method, header};
use poem::{Endpoint, Request};

use super::Edge;
use super::noticed::Noticed;
use crate::pages::Reader;
use crate::platform::web::TraceId;

/// Where the OpenFeature Remote Evaluation Protocol is spoken.
const OFREP: &str = "/ofrep";

/// What an answer needs to know of its request, which the handler has consumed.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) begun: Instant,
    pub(super) method: Method,
    pub(super) trace_id: TraceId,
    pub(super) ip: std::net::IpAddr,
    pub(super) noticed: Noticed,
    pub(super) origin: Option<HeaderValue>,
    pub(super) in_api: bool,
    /// Whether a library of OAuth may be asking.
    pub(super) by_oauth: bool,
    /// Who looks, where a person may get a page to see.
    pub(super) reader: Option<Reader>,
}

impl<E: Endpoint> Edge<E> {
    /// `may_show_page` says whether the answer may be a page: who would look at it is not asked in vain.
    pub(super) fn ask(&self, request: &Request, noticed: Noticed, may_show_page: bool) -> Asked {
        let headers = request.headers();
        let path = request.uri().path();
        // OFREP has its place at the root, and its clients are programs, too.
        let in_api = is_below(path, &self.settings.api_prefix) || is_below(path, OFREP);
        let wants_page = may_show_page && !in_api && !accepts_json(request) && !is_for_programs(path);
        Asked {
            begun: Instant::now(),
            method: request.method().clone(),
            trace_id: if noticed.names_itself { self.trace_ids.of(headers) } else { self.trace_ids.fresh() },
            ip: self.client_of(request, noticed),
            noticed,
            origin: if in_api { headers.get(header::ORIGIN).cloned() } else { None },
            in_api,
            by_oauth: self.settings.oauth_places.hold(request.method(), path),
            reader: wants_page.then(|| Reader::of(request, None)),
        }
    }

    fn client_of(&self, request: &Request, noticed: Noticed) -> std::net::IpAddr {
        let client = self.proxies.client_of(request);
        if noticed.is_forwarded && !self.warned_of_proxy.load(Ordering::Relaxed) {
            self.warn_of_proxy(request);
        }
        client
    }

    /// A proxy that nobody trusts makes all clients look like one: say so, once.
    fn warn_of_proxy(&self, request: &Request) {
        let peer = request.remote_addr().as_socket_addr().map(|peer| peer.ip().to_canonical());
        let private = |ip: std::net::IpAddr| match ip {
            std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
            std::net::IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback(),
        };
        let Some(peer) = peer.filter(|ip| private(*ip) && !self.proxies.trusts(*ip)) else { return };
        if !self.warned_of_proxy.swap(true, Ordering::Relaxed) {
            tracing::warn!(%peer, "a proxy forwards requests but is not in TRUSTED_PROXIES: its clients count as one");
        }
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the name says that no page is meant, whatever a browser would like better.
fn is_for_programs(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let is_json = path.rsplit_once('.').is_some_and(|(_, extension)| extension == "json");
    is_json || matches!(path, "/machine" | "/metrics" | "/repository")
}

fn accepts_json(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("json"))
}
