//! Telling other systems: the message broker.

use std::fmt;

use lapin::types::{FrameSize, Heartbeat};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use percent_encoding::percent_decode_str;
use url::Url;

use super::catalogue::section;
use super::kinds::{Flag, Optional, Secret, Word};

section! {
    /// RabbitMQ.
    pub struct Rabbitmq {
        /// The RabbitMQ that events are published to: `amqp://` or, with TLS, `amqps://`. Unset: events stay readable at
        /// `/admin/events`.
        address: Option<BrokerAddress> = "RABBITMQ_URL", Optional(Secret(ADDRESS)), "";
        /// The topic exchange that events are published to.
        exchange: String = "RABBITMQ_EXCHANGE", EXCHANGE, "user_events";
        /// The queue of the built-in consumer; what it does not understand ends in the queue with `.dead` behind this
        /// name.
        queue: String = "RABBITMQ_QUEUE", NAME, "user_events_queue";
        /// Whether the built-in consumer writes each event to the log. Off: only the exchange is made.
        consumer: bool = "RABBITMQ_CONSUMER_ENABLED", Flag, "True";
    }
}

/// Seconds between two signs of life, in both directions.
const HEARTBEAT: Heartbeat = 10;
/// The client keeps buffers of 32 frames in each direction; events are small.
const FRAME: FrameSize = 32 * 1024;

/// Where a broker is, and who we are to it. Prints as `host:port`.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerAddress(AMQPUri);

impl BrokerAddress {
    /// Reads `amqp://user:password@host:port/vhost` and `amqps://…`. No user means `guest`, no path the vhost `/`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let scheme = match url.scheme() {
            "amqp" => AMQPScheme::AMQP,
            "amqps" => AMQPScheme::AMQPS,
            _ => return None,
        };
        let has_more = url.query().is_some() || url.fragment().is_some();
        let host = url.host_str().filter(|host| !host.is_empty() && !has_more)?;
        let (username, password) = match (url.username(), url.password()) {
            ("", None) => ("guest".to_owned(), "guest".to_owned()),
            ("", Some(_)) | (_, None) => return None,
            (user, Some(password)) => (decoded(user)?, decoded(password)?),
        };
        let vhost = match url.path().trim_start_matches('/') {
            "" => "/".to_owned(),
            path if path.contains('/') => return None,
            path => decoded(path)?,
        };
        let authority = AMQPAuthority {
            userinfo: AMQPUserInfo { username, password },
            // The brackets of an IPv6 address belong to the URL.
            host: decoded(host.trim_start_matches('[').trim_end_matches(']'))?,
            port: url.port().unwrap_or_else(|| scheme.default_port()),
        };
        let query = AMQPQueryString {
            heartbeat: Some(HEARTBEAT),
            frame_max: Some(FRAME),
            ..AMQPQueryString::default()
        };
        Some(Self(AMQPUri { scheme, authority, vhost, query }))
    }

    /// Host and port.
    #[must_use]
    pub fn place(&self) -> (&str, u16) {
        (self.0.authority.host.as_str(), self.0.authority.port)
    }

    /// As the client library takes it. It holds the password.
    #[must_use]
    pub fn uri(&self) -> AMQPUri {
        self.0.clone()
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.0.authority.host, self.0.authority.port)
    }
}

impl fmt::Debug for BrokerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BrokerAddress({self})")
    }
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    let fits = text.len() <= 255 && !text.chars().any(char::is_control);
    fits.then(|| text.into_owned())
}

const ADDRESS: Word<BrokerAddress> = Word {
    accepts: "amqp://user:password@host:port/vhost, or amqps:// for TLS, with special characters of user, password and \
              vhost as %XX",
    parse: BrokerAddress::parse,
};

const NAME: Word<String> = Word {
    accepts: "1 to 120 letters, digits and -_.:",
    parse: |text| is_name(text).then(|| text.to_owned()),
};

const EXCHANGE: Word<String> = Word {
    accepts: "1 to 120 letters, digits and -_.:, beginning otherwise than with `amq.`",
    parse: |text| (is_name(text) && !text.starts_with("amq.")).then(|| text.to_owned()),
};

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=120).contains(&text.len()) && text.bytes().all(plain)
}
