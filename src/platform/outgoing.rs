//! Asking other servers over HTTP: bounded in time and size, without redirects, without proxies of the environment.
//!
//! Whom the operator named may stand anywhere. Whom somebody else named, a handle or a picture's address, is a stranger:
//! asked by https on port 443 alone, and only at addresses that are [public](super::public_address). The name is looked
//! up once, and the connection goes to what was found then and judged good: a name that means another address a
//! moment later gains nothing. Whom an admin named ([`Reach`]) stands in between: any port, and only where the operator
//! lets it be, an address that is not public.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, Method, Request, Response, StatusCode, redirect};
use serde_json::Value;
use url::{Host, Url};

use super::causes::causes;
use super::names::{Names, NoAnswer};
use super::public_address::is_public;
use super::telemetry::spans::{self, Fact, Role, Span};
use super::web::{TraceParent, check_json};

/// How long reaching a server may take.
const CONNECT: Duration = Duration::from_secs(2);

/// What the reader of certificates says where it has found none.
const NO_CERTIFICATES: &str = "No CA certificates";

/// How much one question may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the first byte sent to the last byte read.
    pub time: Duration,
    /// More of a body, after decompression, is not read.
    pub bytes: usize,
}

impl Bounds {
    /// A document.
    pub const DOCUMENT: Self = Self { time: Duration::from_secs(8), bytes: 1 << 20 };
    /// A picture.
    pub const PICTURE: Self = Self { time: Duration::from_secs(5), bytes: 2 << 20 };
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Not reached, not in time, or broken off.
    #[error("no answer")]
    Unreachable,
    /// It goes on beyond the bound.
    #[error("the answer is too long")]
    TooLong,
    /// The address is none that a stranger may name.
    #[error("not a public address")]
    NotPublic,
}

/// Why no other server can be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum NoClient {
    /// Nobody could tell another server from somebody who only says that it is that one.
    #[error(
        "no other server can be asked over https: this machine has no CA certificates. \
         Install them (on Debian: apt-get install ca-certificates), or name a file of them in SSL_CERT_FILE"
    )]
    NoCertificates,
    /// Something else.
    #[error("no other server can be asked: {0}")]
    Other(String),
}

impl From<reqwest::Error> for NoClient {
    fn from(error: reqwest::Error) -> Self {
        let words = causes(&error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
        if words.contains(NO_CERTIFICATES) { Self::NoCertificates } else { Self::Other(words) }
    }
}

/// Which addresses an admin may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Also by http.
    pub plain: bool,
    /// Also this machine, and the networks around it.
    pub private: bool,
}

impl Reach {
    /// Whether the address is one of them, as far as it can be told before its name is looked up.
    #[must_use]
    pub fn takes(self, url: &Url) -> bool {
        let scheme = url.scheme() == "https" || (self.plain && url.scheme() == "http");
        let host = url.host().is_some_and(|host| self.private || is_outside(&host));
        scheme && host && url.username().is_empty() && url.password().is_none()
    }
}

/// Whether the host can be one of the public Internet: a name with a dot, or a public address.
fn is_outside(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.trim_end_matches('.').contains('.'),
        Host::Ipv4(address) => is_public((*address).into()),
        Host::Ipv6(address) => is_public((*address).into()),
    }
}

/// An answer, read whole.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON with one reading: no member twice, not nested deeply, not of thousands of members.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        check_json(&self.body).ok()?;
        serde_json::from_slice(&self.body).ok()
    }
}

/// What asks. Clones share their connections.
#[derive(Clone)]
pub struct Outgoing {
    client: Client,
    whom: Whom,
}

#[derive(Clone)]
enum Whom {
    Known,
    Strangers,
    Named(Reach),
    /// Every host is a folder at this address.
    Through(Url),
}

impl Outgoing {
    /// Asks servers that the operator or the program named.
    pub fn to_known() -> Result<Self, NoClient> {
        Ok(Self { client: basic().build()?, whom: Whom::Known })
    }

    /// Asks servers that somebody else named.
    pub fn to_strangers(names: Names) -> Result<Self, NoClient> {
        let client = basic().https_only(true).dns_resolver(Arc::new(Guard(names))).build()?;
        Ok(Self { client, whom: Whom::Strangers })
    }

    /// Asks servers that an admin named, within this reach.
    pub fn to_named(names: Names, reach: Reach) -> Result<Self, NoClient> {
        let client = basic().https_only(!reach.plain);
        let client = if reach.private { client } else { client.dns_resolver(Arc::new(Guard(names))) };
        Ok(Self { client: client.build()?, whom: Whom::Named(reach) })
    }

    /// Asks `gateway` for what servers that somebody else named would say: `https://host/path` is there at `/host/path`.
    pub fn through(gateway: Url) -> Result<Self, NoClient> {
        Ok(Self { client: basic().build()?, whom: Whom::Through(gateway) })
    }

    /// A question to be completed.
    pub fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        self.client.request(method, url)
    }

    /// Asks, and reads the answer.
    pub async fn ask(&self, request: Request, bounds: Bounds) -> Result<Answer, Unanswered> {
        let mut answer = self.begin(request, bounds).await?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unanswered)? {
            if body.len() + piece.len() > bounds.bytes {
                return Err(Unanswered::TooLong);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status: answer.status(), headers: std::mem::take(answer.headers_mut()), body })
    }

    /// Tells something, and learns the status and the headers. What else is said is read within the bounds, so that the
    /// connection can be used again, and thrown away.
    pub async fn tell(
        &self,
        request: Request,
        bounds: Bounds,
    ) -> Result<(StatusCode, HeaderMap), Unanswered> {
        let mut answer = self.begin(request, bounds).await?;
        let mut left = bounds.bytes;
        while let Ok(Some(piece)) = answer.chunk().await {
            let Some(rest) = left.checked_sub(piece.len()) else { break };
            left = rest;
        }
        Ok((answer.status(), std::mem::take(answer.headers_mut())))
    }

    /// Sends a question, and waits for the head of the answer.
    async fn begin(&self, request: Request, bounds: Bounds) -> Result<Response, Unanswered> {
        let Some(mut span) = Span::part("ask another server", Role::Client) else {
            return self.sent(request, bounds).await;
        };
        span.fact("http.request.method", Fact::Text(request.method().to_string()));
        // What a stranger is called may be somebody's name.
        if let (Whom::Known, Some(host)) = (&self.whom, request.url().host_str()) {
            span.fact("server.address", Fact::Text(host.to_owned()));
        }
        let answer = spans::inside(&span, self.sent(request, bounds)).await;
        match &answer {
            Ok(answer) => {
                let status = answer.status().as_u16();
                span.fact("http.response.status_code", Fact::Number(i64::from(status)));
                if status >= 400 {
                    span.fail();
                }
            }
            Err(_) => span.fail(),
        }
        answer
    }

    async fn sent(&self, mut request: Request, bounds: Bounds) -> Result<Response, Unanswered> {
        *request.timeout_mut() = Some(bounds.time);
        let may_be_named = match &self.whom {
            Whom::Known => true,
            Whom::Named(reach) => reach.takes(request.url()),
            Whom::Strangers | Whom::Through(_) => is_for_strangers(request.url()),
        };
        if !may_be_named {
            return Err(Unanswered::NotPublic);
        }
        // Whom the operator named may go on with the trace; a stranger has no business with it.
        if let (Whom::Known, Some(parent)) = (&self.whom, TraceParent::to_others()) {
            request.headers_mut().insert("traceparent", parent);
        }
        if let Whom::Through(gateway) = &self.whom {
            *request.url_mut() = beyond(gateway, request.url());
        }
        self.client.execute(request).await.map_err(unanswered)
    }
}

/// What all that asks other servers is made from; for whoever needs the words of what went wrong.
pub(crate) fn basic() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("web:gatehouse:v", env!("CARGO_PKG_VERSION"), " (identity server)"))
        .connect_timeout(CONNECT)
        .timeout(Bounds::DOCUMENT.time)
        .redirect(redirect::Policy::none())
        .no_proxy()
}

/// Whether a stranger may name the address: a name, never a number, at the port of https. (The numbers that browsers
/// understand, `0x7f000001` or `127.1`, are addresses to `url` as well.)
#[must_use]
pub fn is_for_strangers(url: &Url) -> bool {
    url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && matches!(url.host(), Some(Host::Domain(name)) if name.trim_end_matches('.').contains('.'))
}

fn beyond(gateway: &Url, url: &Url) -> Url {
    let mut there = gateway.clone();
    let base = gateway.path().trim_end_matches('/');
    there.set_path(&format!("{base}/{}{}", url.host_str().unwrap_or_default(), url.path()));
    there.set_query(url.query());
    there
}

fn unanswered(error: reqwest::Error) -> Unanswered {
    let guarded = causes(&error).any(<dyn Error>::is::<NotPublic>);
    // Without the address: it may hold what only the provider is told.
    tracing::debug!(error = %error.without_url(), "no answer from another server");
    if guarded { Unanswered::NotPublic } else { Unanswered::Unreachable }
}

/// Looks names up and lets none of their addresses through unless all are public.
struct Guard(Names);

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name leads to an address that is not public")]
struct NotPublic;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.0.clone();
        Box::pin(async move {
            let found = names.addresses(name.as_str()).await?;
            if found.is_empty() {
                return Err(NoAnswer.into());
            }
            if !found.iter().copied().all(is_public) {
                return Err(NotPublic.into());
            }
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 1, 1));

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    // what is refused before anything is looked up.
    #[test]
    fn strangers_name_hosts_by_name_at_the_port_of_https() {
        for good in
            ["https://cdn.example/a.png", "https://cdn.example:443/", "https://xn--bcher-kva.example/"]
        {
            assert!(is_for_strangers(&url(good)), "{good}");
        }
        for bad in [
            "http://cdn.example/",
            "https://cdn.example:22/",
            "https://cdn.example:8443/",
            "https://localhost/",
            "https://localhost./",
            "https://127.0.0.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://127.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://8.8.8.8/",
            "https://cdn@127.0.0.1/",
            "https://me@cdn.example/",
            "https://:pw@cdn.example/",
            "file:///etc/passwd",
            "gopher://cdn.example/",
            "ftp://cdn.example/",
            "data:image/png;base64,AA",
            "https://①②⑦.0.0.1/",
            "http://127.0.0.1:8000/",
        ] {
            assert!(!is_for_strangers(&url(bad)), "{bad}");
        }
    }

    #[test]
    fn an_admin_names_any_port_but_no_address_inside() {
        let outside = Reach { plain: false, private: false };
        for good in [
            "https://hooks.example/in?token=x",
            "https://hooks.example:8443/",
            "https://8.8.8.8/",
            "https://[2606:4700:4700::1111]/",
        ] {
            assert!(outside.takes(&url(good)), "{good}");
        }
        for bad in [
            "http://hooks.example/",
            "https://localhost/",
            "https://localhost.:8443/",
            "https://127.0.0.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://127.1/",
            "https://0177.0.0.1/",
            "https://0/",
            "https://①②⑦.0.0.1/",
            "https://10.0.0.1:9200/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::]/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fd00:ec2::254]/",
            "https://[fe80::1]/",
            "https://me@hooks.example/",
            "https://:pw@hooks.example/",
            "ftp://hooks.example/",
            "file:///etc/passwd",
            "data:text/plain,x",
        ] {
            assert!(!outside.takes(&url(bad)), "{bad}");
        }
        let plain = Reach { plain: true, private: false };
        assert!(plain.takes(&url("http://hooks.example:8080/")));
        assert!(!plain.takes(&url("http://127.0.0.1/")) && !plain.takes(&url("ftp://hooks.example/")));
        let anywhere = Reach { plain: true, private: true };
        assert!(anywhere.takes(&url("http://127.0.0.1:8080/")) && anywhere.takes(&url("http://rabbit/")));
        assert!(!anywhere.takes(&url("http://me@127.0.0.1/")) && !anywhere.takes(&url("file:///etc/passwd")));
    }

    #[tokio::test]
    async fn a_name_of_an_admins_that_leads_inside_is_not_followed() {
        let outside = Reach { plain: true, private: false };
        for inside in ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"] {
            let inside: IpAddr = inside.parse().unwrap();
            let outgoing = Outgoing::to_named(Names::told(move |_| vec![inside]), outside).unwrap();
            for address in ["https://hooks.example:8443/", "http://hooks.example/"] {
                let request = outgoing.request(Method::POST, url(address)).build().unwrap();
                let told = outgoing.tell(request, Bounds::PICTURE).await;
                assert_eq!(told.err(), Some(Unanswered::NotPublic), "{inside} {address}");
            }
        }
    }

    async fn asked(names: Names, address: &str) -> Unanswered {
        let outgoing = Outgoing::to_strangers(names).unwrap();
        let request = outgoing.request(Method::GET, url(address)).build().unwrap();
        outgoing.ask(request, Bounds::PICTURE).await.err().unwrap()
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_followed() {
        for inside in ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "fd00::1"]
        {
            let inside: IpAddr = inside.parse().unwrap();
            let names = Names::told(move |_| vec![inside]);
            assert_eq!(asked(names, "https://cdn.example/").await, Unanswered::NotPublic, "{inside}");
        }
        let mixed = Names::told(|_| vec![PUBLIC, LOOPBACK]);
        assert_eq!(asked(mixed, "https://cdn.example/").await, Unanswered::NotPublic);
        let none = Names::told(|_| Vec::new());
        assert_eq!(asked(none, "https://cdn.example/").await, Unanswered::Unreachable);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_so_that_it_can_not_change_its_mind() {
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        // Public at first, and this machine ever after: what is connected to is what was judged.
        let rebinding = Names::told(move |_| {
            vec![if counted.fetch_add(1, Ordering::SeqCst) == 0 { PUBLIC } else { LOOPBACK }]
        });
        let outgoing = Outgoing::to_strangers(rebinding).unwrap();
        let request = outgoing.request(Method::GET, url("https://cdn.example/")).build().unwrap();
        let bounds = Bounds { time: Duration::from_millis(300), bytes: 1 };
        assert_eq!(outgoing.ask(request, bounds).await.err(), Some(Unanswered::Unreachable));
        assert_eq!(times.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn whom_the_operator_named_is_told_the_trace_of_the_request() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let head = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = tokio::io::AsyncReadExt::read(&mut socket, &mut head).await.unwrap();
            String::from_utf8_lossy(&head[..length]).to_lowercase()
        };
        let outgoing = Outgoing::to_known().unwrap();
        let request = outgoing.request(Method::GET, url(&format!("http://{address}/"))).build().unwrap();
        let id = crate::platform::web::TraceId::from(uuid::Uuid::max());
        let (head, answer) = tokio::join!(head, id.scope(outgoing.ask(request, Bounds::DOCUMENT)));
        assert_eq!(answer.err(), Some(Unanswered::Unreachable)); // it hung up
        let trace = "f".repeat(32);
        assert!(head.contains(&format!("traceparent: 00-{trace}-")), "{head}");
    }

    #[test]
    fn a_gateway_has_a_folder_for_each_host() {
        let there = beyond(&url("http://127.0.0.1:1/bluesky"), &url("https://pds.example/xrpc/x?a=b"));
        assert_eq!(there.as_str(), "http://127.0.0.1:1/bluesky/pds.example/xrpc/x?a=b");
    }
}
