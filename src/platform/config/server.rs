//! The front: where the server listens, what it believes, how long it waits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::{Host, Url};

use super::catalogue::{Alias, section};
use super::kinds::{Flag, List, TEXT, Whole, Word, milliseconds, seconds};
use super::reader::Reader;

section! {
    /// The front: where the server listens, what it believes, how long it waits.
    pub struct Server {
        /// Address to listen on.
        host: IpAddr = "HOST", HOST, "127.0.0.1";
        /// Port to listen on; 0 for any free one.
        port: u16 = "PORT", Whole(0, 65535), "8000";
        /// Where clients reach the server: scheme, name, port. Every link is built from it, never from a header.
        base_url: Url = "BASE_URL", ORIGIN, "http://localhost:{PORT}";
        /// What the paths of the API begin with; kept without the slash at its end.
        api_prefix: String = "API_STR", PREFIX, "/api";
        /// Where users are sent.
        frontend_url: Url = "FRONTEND_URL", WEB_ADDRESS, "{BASE_URL}";
        /// What the server is called in pages, mails and authenticator apps.
        project_name: String = "PROJECT_NAME" or Alias::Same("APP_NAME"), NAME, "Gatehouse";
        /// `local`, or `production`; every other name behaves as production and appears in logs.
        environment: Environment = "ENVIRONMENT", ENVIRONMENT, "local";
        /// Origins whose pages may call the API from a browser.
        cors_origins: Vec<String> = "CORS_ORIGINS", List(CORS_ORIGIN), "{FRONTEND_URL}";
        /// Networks of the proxies whose `X-Forwarded-For` or `Forwarded` is believed.
        trusted_proxies: Vec<IpNet> = "TRUSTED_PROXIES", List(NETWORK), "";
        /// Largest request body, in bytes, except for uploads.
        max_body_bytes: usize = "MAX_BODY_BYTES", Whole(1024, 1 << 30), "65536";
        /// How long a request may take, in seconds.
        request_timeout: Duration =
            "REQUEST_TIMEOUT_SECONDS" or Alias::Same("REQUEST_TIMEOUT"), seconds(1, 3600), "30";
        /// How long a server that stops still takes connections, in milliseconds: time for balancers to see it.
        stop_notice: Duration = "STOP_NOTICE_MILLISECONDS", milliseconds(0, 600_000), "500";
        /// How long a stop waits for requests under way, in seconds.
        shutdown_timeout: Duration = "SHUTDOWN_TIMEOUT_SECONDS", seconds(0, 3600), "20";
        /// Folder of the database file, the key file and everything else that is kept.
        data_dir: PathBuf = "DATA_DIR", FOLDER, "data";
        /// Whether `BASE_URL` may be http on a name other than this machine's own. Cookies then travel in the clear.
        insecure_http: bool = "INSECURE_HTTP", Flag, "False";
        /// Whether browsers are told to use https for every name below this one too (RFC 6797, 6.1.2).
        hsts_include_subdomains: bool = "HSTS_INCLUDE_SUBDOMAINS", Flag, "False";
    }
}

impl Server {
    /// The address and port to listen on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Notes where the server really listens: with `PORT=0`, on a port that the system has chosen. Addresses that were
    /// made from the setting follow.
    pub fn listens_on(&mut self, bound: SocketAddr) {
        let chosen = self.port == 0;
        self.port = bound.port();
        if !chosen {
            return;
        }
        for address in [&mut self.base_url, &mut self.frontend_url] {
            if address.port() == Some(0) && address.set_port(Some(bound.port())).is_err() {
                tracing::warn!(%address, "an address that can have no port");
            }
        }
        for origin in &mut self.cors_origins {
            if let Some(host) = origin.strip_suffix(":0") {
                *origin = format!("{host}:{}", bound.port());
            }
        }
    }

    /// Whether clients come by https, and cookies therefore are `Secure`.
    #[must_use]
    pub fn cookie_is_secure(&self) -> bool {
        self.base_url.scheme() == "https"
    }

    /// The name of the cookie that holds a session; the prefix binds it to this host (RFC 6265bis, 4.1.3.2).
    #[must_use]
    pub fn cookie_name(&self) -> &'static str {
        if self.cookie_is_secure() { "__Host-gatehouse" } else { "gatehouse" }
    }

    /// The origin of `base_url`, as browsers write it.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base_url.origin().ascii_serialization()
    }
}

/// Where the server runs: on the machine of somebody who tries it, or for real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment(String);

impl Environment {
    /// Whether it is `local`: names of one character, generated secrets, no mail.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0 == "local"
    }

    /// Its name, as logs show it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// Kind of `ENVIRONMENT`.
pub(super) const ENVIRONMENT: Word<Environment> = Word {
    accepts: "local, production or another name of letters, digits, `-` and `_`",
    parse: |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (!text.is_empty() && text.len() <= 32 && text.chars().all(plain))
            .then(|| Environment(text.to_ascii_lowercase()))
    },
};

const HOST: Word<IpAddr> = Word {
    accepts: "an IP address or localhost",
    parse: |text| match text.trim_start_matches('[').trim_end_matches(']') {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        address => address.parse().ok(),
    },
};

/// An address that an http client can call, without a name or password in it.
pub(super) const WEB_ADDRESS: Word<Url> =
    Word { accepts: "an http or https address, as https://example.com/app", parse: web_address };

/// Scheme, name and port alone.
pub(super) const ORIGIN: Word<Url> = Word {
    accepts: "an http or https address without a path, as https://example.com",
    parse: |text| web_address(text).filter(|url| url.path() == "/"),
};

const CORS_ORIGIN: Word<String> = Word {
    accepts: "an origin, as https://example.com (never *)",
    parse: |text| web_address(text).map(|url| url.origin().ascii_serialization()),
};

fn web_address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let one_host = url.host_str().is_some_and(|host| !host.contains('*'));
    let anonymous = url.username().is_empty() && url.password().is_none();
    (one_host && anonymous && url.query().is_none() && url.fragment().is_none()).then_some(url)
}

const PREFIX: Word<String> = Word {
    accepts: "a path, as /api",
    parse: |text| {
        let path = text.trim_end_matches('/');
        let plain = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~'))
                && !part.chars().all(|c| c == '.')
        };
        path.strip_prefix('/')?.split('/').all(plain).then(|| path.to_owned())
    },
};

const NAME: Word<String> = Word {
    accepts: "1 to 64 characters without control characters",
    parse: |text| (TEXT.parse)(text).filter(|name| (1..=64).contains(&name.chars().count())),
};

/// A network, or one address.
pub(super) const NETWORK: Word<IpNet> = Word {
    accepts: "a network, as 10.0.0.0/8, or an address",
    parse: |text| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)),
};

pub(super) const FOLDER: Word<PathBuf> = Word {
    accepts: "the path of a folder",
    parse: |text| (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text)),
};

/// http is for this machine: elsewhere passwords and cookies would travel in the clear.
pub(super) fn check_transport(reader: &mut Reader) {
    let (Some(url), Some(insecure)) =
        (reader.glimpse("BASE_URL", &ORIGIN), reader.glimpse("INSECURE_HTTP", &Flag))
    else {
        return;
    };
    if url.scheme() == "https" || is_loopback(&url) {
        return;
    }
    if insecure {
        reader.warn(format!("INSECURE_HTTP is on: passwords and cookies for {url} travel in the clear"));
    } else {
        let accepted =
            "an https address, or http on localhost; INSECURE_HTTP=True lifts this on a trusted network";
        reader.refuse("BASE_URL", accepted);
    }
}

/// Trusting every address lets each client choose the address that it is counted and logged by. Trusting none, where a
/// proxy stands in front, counts all its clients as one.
pub(super) fn check_proxies(reader: &mut Reader) {
    let trusted = reader.glimpse("TRUSTED_PROXIES", &List(NETWORK)).unwrap_or_default();
    if trusted.iter().any(|network| network.prefix_len() == 0) {
        reader.warn("TRUSTED_PROXIES holds every address: clients can claim any address of their own");
    }
    if trusted.is_empty() && seems_behind_a_proxy(reader) {
        reader.warn(
            "TRUSTED_PROXIES is empty: behind a proxy all clients share its address, and so their limits",
        );
    }
}

/// TLS is the business of a proxy, and who is reached from elsewhere for real rarely stands without one.
fn seems_behind_a_proxy(reader: &Reader) -> bool {
    let speaks_tls = reader.glimpse("BASE_URL", &ORIGIN).is_some_and(|url| url.scheme() == "https");
    let is_reached = reader.glimpse("HOST", &HOST).is_some_and(|host| !host.is_loopback());
    speaks_tls || (is_reached && !reader.is_local())
}

/// Whether it is on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
