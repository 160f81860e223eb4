//! Who is on the other end of the line: address, bucket for throttles, user agent.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use poem::http::{HeaderMap, HeaderName, header};
use poem::{FromRequest, Request, RequestBody};

use super::trace::{TraceId, Visit};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const MAX_HOPS: usize = 32;
const MAX_USER_AGENT: usize = 256;

/// The client of a request, as far as it can be known.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The client's address; an IPv4 address never in its IPv6 form.
    pub ip: IpAddr,
    /// What the client says it is: at most 256 characters, without control characters.
    pub user_agent: Option<String>,
    /// Which languages its user reads (`Accept-Language`): cut and cleaned alike.
    pub accept_language: Option<String>,
    /// The request's id.
    pub trace_id: TraceId,
}

impl ClientInfo {
    /// The address that throttles count under: an IPv4 address itself, an IPv6 address with its /64.
    #[must_use]
    pub fn bucket(&self) -> IpAddr {
        client_network(self.ip)
    }

    /// The wider network that throttles watch too: the /48 of an IPv6 address.
    #[must_use]
    pub fn wide_bucket(&self) -> Option<IpAddr> {
        wide_network(self.ip)
    }
}

/// What a client at this address is counted by: an IPv4 address itself, an IPv6 address with its /64.
#[must_use]
pub fn client_network(ip: IpAddr) -> IpAddr {
    first_bits_of_v6(ip, 64)
}

/// The network in which an address of the same connection most likely lies tomorrow, too: the /24 of an IPv4 address, the
/// /48 of an IPv6 address.
#[must_use]
pub fn home_network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let [one, two, three, _] = ip.octets();
            IpAddr::from([one, two, three, 0])
        }
        IpAddr::V6(_) => first_bits_of_v6(ip, 48),
    }
}

/// The network around it that is counted too: the /48 of an IPv6 address.
#[must_use]
pub fn wide_network(ip: IpAddr) -> Option<IpAddr> {
    ip.is_ipv6().then(|| first_bits_of_v6(ip, 48))
}

fn first_bits_of_v6(ip: IpAddr, bits: u32) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - bits))).into(),
    }
}

impl<'a> FromRequest<'a> for ClientInfo {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let ip = request.data::<Visit>().map_or_else(|| peer_of(request), |visit| visit.ip);
        let text = |name| request.headers().get(name).map(|value| readable(value.as_bytes()));
        let (user_agent, accept_language) = (text(header::USER_AGENT), text(header::ACCEPT_LANGUAGE));
        let trace_id = TraceId::from_request(request, body).await?;
        Ok(Self { ip, user_agent, accept_language, trace_id })
    }
}

/// Text that a log and a page may show: control and broken characters gone, cut to 256.
fn readable(bytes: &[u8]) -> String {
    let shown = |char: &char| !char.is_control() && *char != char::REPLACEMENT_CHARACTER;
    // Cutting the bytes first keeps a megabyte of header from being looked at.
    let start = &bytes[..bytes.len().min(MAX_USER_AGENT * 4)];
    String::from_utf8_lossy(start).chars().filter(shown).take(MAX_USER_AGENT).collect()
}

/// The address of the other end of the connection.
fn peer_of(request: &Request) -> IpAddr {
    let unknown = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    request.remote_addr().as_socket_addr().map_or(unknown, |address| address.ip().to_canonical())
}

/// The proxies whose word about the client counts.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts every address in these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether the proxy at this address is trusted.
    #[must_use]
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// The client's address: the peer; or, if the peer is a trusted proxy, the right-most hop of `X-Forwarded-For`
    /// or `Forwarded` (RFC 7239) that is not one itself. A header that can't be read, and two that differ, leave
    /// the peer: a client can't choose its address by breaking them.
    #[must_use]
    pub fn client_of(&self, request: &Request) -> IpAddr {
        let peer = peer_of(request);
        if self.0.is_empty() || !self.trusts(peer) {
            return peer;
        }
        self.told_by(request.headers()).unwrap_or(peer)
    }

    fn told_by(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let has = |name: &HeaderName| headers.contains_key(name);
        match (has(&X_FORWARDED_FOR), has(&header::FORWARDED)) {
            (true, false) => self.nearest_stranger(hops(headers, &X_FORWARDED_FOR), address),
            (false, true) => self.nearest_stranger(hops(headers, &header::FORWARDED), forwarded_for),
            (true, true) => {
                let by_list = self.nearest_stranger(hops(headers, &X_FORWARDED_FOR), address)?;
                let by_rfc = self.nearest_stranger(hops(headers, &header::FORWARDED), forwarded_for)?;
                (by_list == by_rfc).then_some(by_list)
            }
            (false, false) => None,
        }
    }

    /// Walks from the right. Trusted all the way: the hop furthest from us.
    fn nearest_stranger<'a>(
        &self,
        hops: impl Iterator<Item = Option<&'a str>>,
        read: fn(&str) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let mut furthest = None;
        for hop in hops.take(MAX_HOPS) {
            let ip = read(hop?)?;
            furthest = Some(ip);
            if !self.trusts(ip) {
                break;
            }
        }
        furthest
    }
}

/// Whether a forwarding header is present.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED)
}

/// The elements of a list header over all its lines, last first; `None` for a line that is no text.
fn hops<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    let lines = headers.get_all(name).iter();
    lines.rev().flat_map(|line| {
        let line = line.to_str().ok();
        let elements = line.map(|line| line.rsplit(',').map(|hop| Some(hop.trim())));
        let broken = line.is_none().then_some(None);
        elements.into_iter().flatten().chain(broken)
    })
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|with_port| with_port.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use poem::web::RemoteAddr;

    use super::*;

    fn request(peer: &str, headers: &[(&str, &str)]) -> Request {
        let (mut parts, body) = Request::default().into_parts();
        for (name, value) in headers {
            parts.headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                poem::http::HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let http = poem::http::Request::new(());
        let (mut http_parts, ()) = http.into_parts();
        http_parts.headers = parts.headers;
        let address: SocketAddr = format!("{peer}:4711").parse().unwrap();
        let parts: poem::RequestParts = (
            http_parts,
            poem::web::LocalAddr::default(),
            RemoteAddr(address.into()),
            poem::http::uri::Scheme::HTTP,
        )
            .into();
        Request::from_parts(parts, body)
    }

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn seen(peer: &str, headers: &[(&str, &str)]) -> String {
        proxies().client_of(&request(peer, headers)).to_string()
    }

    #[test]
    fn headers_of_a_stranger_mean_nothing() {
        let names = [
            "x-forwarded-for",
            "x-real-ip",
            "forwarded",
            "cf-connecting-ip",
            "true-client-ip",
            "x-client-ip",
        ];
        for name in names {
            assert_eq!(seen("192.0.2.7", &[(name, "198.51.100.1")]), "192.0.2.7", "{name}");
            let nobody = TrustedProxies::default();
            let through_proxy = request("10.0.0.1", &[(name, "198.51.100.1")]);
            assert_eq!(nobody.client_of(&through_proxy).to_string(), "10.0.0.1", "{name}");
        }
    }

    #[test]
    fn the_right_most_stranger_counts() {
        assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, 198.51.100.1")]), "198.51.100.1");
        assert_eq!(
            seen("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, 198.51.100.1, 10.9.9.9")]),
            "198.51.100.1"
        );
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.1")];
        assert_eq!(seen("10.0.0.1", &lines), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", "10.1.1.1, 10.2.2.2")]), "10.1.1.1");
    }

    #[test]
    fn a_long_chain_is_read_up_to_a_bound() {
        let chain = vec!["10.3.3.3"; 200].join(", ");
        assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", &format!("203.0.113.9, {chain}"))]), "10.3.3.3");
    }

    #[test]
    fn what_cannot_be_read_leaves_the_peer() {
        for bad in ["", "a, b; DROP", "198.51.100.1, unknown", "1.2.3.4.5", "198.51.100.1,,", "\u{e9}"] {
            assert_eq!(seen("10.0.0.1", &[("x-forwarded-for", bad)]), "10.0.0.1", "{bad}");
        }
        for bad in ["for=unknown", "for=_hidden", "proto=https", "198.51.100.1"] {
            assert_eq!(seen("10.0.0.1", &[("forwarded", bad)]), "10.0.0.1", "{bad}");
        }
    }

    #[test]
    fn forwarded_is_read_with_quotes_ports_and_brackets() {
        let value = "for=203.0.113.9;proto=http, For=\"[2001:db8::17]:4711\";by=10.0.0.1";
        assert_eq!(seen("10.0.0.1", &[("forwarded", value)]), "2001:db8::17");
        assert_eq!(seen("10.0.0.1", &[("forwarded", "for=198.51.100.1:80")]), "198.51.100.1");
    }

    #[test]
    fn two_headers_that_differ_leave_the_peer() {
        let agree = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1")];
        let differ = [("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=203.0.113.9")];
        assert_eq!(seen("10.0.0.1", &agree), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &differ), "10.0.0.1");
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_itself() {
        assert_eq!(seen("[::ffff:192.0.2.7]", &[]), "192.0.2.7");
        assert_eq!(seen("[::ffff:10.0.0.1]", &[("x-forwarded-for", "::ffff:198.51.100.1")]), "198.51.100.1");
    }

    #[tokio::test]
    async fn one_ipv6_network_is_one_bucket() {
        let client = async |peer: &str| {
            let request = request(peer, &[]);
            ClientInfo::from_request(&request, &mut RequestBody::default()).await.unwrap()
        };
        assert_eq!(client("[2001:db8:1:2:3::4]").await.bucket().to_string(), "2001:db8:1:2::");
        assert_eq!(client("[2001:db8:1:2:3::4]").await.wide_bucket().unwrap().to_string(), "2001:db8:1::");
        assert_eq!(client("192.0.2.7").await.bucket().to_string(), "192.0.2.7");
        assert_eq!(client("192.0.2.7").await.wide_bucket(), None);
    }

    #[tokio::test]
    async fn a_user_agent_is_cut_and_cleaned() {
        let long = "x".repeat(10_000);
        for (sent, kept) in [("cur\tl/8\u{9b}[31m", "curl/8[31m".to_owned()), (&long, "x".repeat(256))] {
            let request = request("192.0.2.7", &[("user-agent", sent)]);
            let client = ClientInfo::from_request(&request, &mut RequestBody::default()).await.unwrap();
            assert_eq!(client.user_agent, Some(kept));
        }
    }
}
