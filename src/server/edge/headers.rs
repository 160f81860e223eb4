//! The headers that tell a browser what it must not do with an answer.

use poem::http::{HeaderMap, HeaderName, HeaderValue, header};

pub(super) const X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const NO_CONTENT: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const NO_DEVICES: HeaderValue =
    HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()");

/// Adds them. A page that set its own content policy, a file its own cache time, keeps it.
#[derive(Clone, Debug)]
pub(in crate::server) struct Protection {
    transport: Option<HeaderValue>,
}

impl Protection {
    pub(super) fn new(base_url: &str, subdomains: bool) -> Self {
        let transport = if subdomains { "max-age=31536000; includeSubDomains" } else { "max-age=31536000" };
        let transport = HeaderValue::from_static(transport);
        Self { transport: base_url.starts_with("https://").then_some(transport) }
    }

    pub(in crate::server) fn add_to(&self, headers: &mut HeaderMap) {
        headers.reserve(12);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
        headers.insert(header::REFERRER_POLICY, NO_REFERRER);
        headers.insert(PERMISSIONS_POLICY, NO_DEVICES);
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NO_CONTENT);
        headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        headers.entry(RESOURCE_POLICY).or_insert(SAME_ORIGIN);
        if is_page(headers) {
            headers.entry(OPENER_POLICY).or_insert(SAME_ORIGIN);
        }
        if let Some(transport) = &self.transport {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, transport.clone());
        }
        headers.remove(header::SERVER);
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
