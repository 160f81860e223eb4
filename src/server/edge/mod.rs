//! What stands before every handler and behind every answer.
//!
//! In this order: the request gets its id and its client's address, and is counted where requests are limited;
//! targets, lengths and codings that two readers might take differently are refused; the handler runs under a
//! deadline, unless a feature has the answer at hand, and a panic stays its own; whatever refused, ours or the
//! framework's, becomes a problem document (a small page where a person looks); the headers that protect the client are
//! added; one line goes to the log, one more is counted.

mod answering;
mod asked;
mod at_hand;
mod building;
mod constant;
mod cors;
mod guard;
mod headers;
mod limited;
mod measured;
mod methods;
mod noticed;
mod oauth;
mod path;
mod refusal;
mod settings;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::platform::telemetry::spans::Tracer;
use crate::platform::web::{TraceIds, TrustedProxies, VisitSettings};
use at_hand::AtHand;
use constant::Constant;
use cors::Cors;
pub(super) use headers::Protection;
use limited::Limited;
pub use limited::is_counted;
pub use measured::Measured;
pub use methods::Methods;
pub use oauth::OauthPlaces;
pub(super) use oauth::told;
pub use settings::{EdgeSettings, LargeBodies};

/// An endpoint with the edge around it; it never answers with an error.
#[derive(Debug)]
pub struct Edge<E> {
    inner: E,
    settings: EdgeSettings,
    visits: Arc<VisitSettings>,
    large_visits: Vec<(LargeBodies, Arc<VisitSettings>)>,
    proxies: TrustedProxies,
    cors: Cors,
    protection: Protection,
    constant: Option<Constant>,
    at_hand: Option<AtHand>,
    limited: Option<Limited>,
    trace_ids: Arc<TraceIds>,
    measured: Arc<Measured>,
    tracer: Option<Arc<Tracer>>,
    warned_of_proxy: AtomicBool,
}
