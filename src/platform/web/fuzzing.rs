//! What must hold of whatever requests say: see `src/fuzzing.rs`.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};

use futures_util::FutureExt as _;
use poem::http::{HeaderMap, HeaderName, HeaderValue, header};
use poem::{FromRequest as _, Request};
use serde_json::Value;

use super::{ClientInfo, Cursor, TraceIds, TraceParent, TrustedProxies, check_query, is_known, read_json};
use crate::platform::clock::Clock;
use crate::platform::random::Random;

const MOST_MEMBERS: usize = 1000;
/// Where a request comes from that has no connection.
const NOWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// A cursor is what was sealed, letter by letter, and nothing else.
pub(crate) fn cursor(input: &[u8]) {
    const KEY: [u8; 32] = [7; 32];
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(position) = Cursor::open(&KEY, text)
    {
        assert_eq!(Cursor::seal(&KEY, &position), text);
    }
    let position = &input[..input.len().min(300)];
    let sealed = Cursor::seal(&KEY, position);
    assert_eq!(Cursor::open(&KEY, &sealed).ok().as_deref(), Some(position));
    assert!(Cursor::open(&[8; 32], &sealed).is_err());
}

/// JSON that is taken is within its bounds; in a form that is taken, the parser behind finds no name twice either.
pub(crate) fn body(input: &[u8]) {
    if let Ok(value) = read_json::<Value>(input, MOST_MEMBERS) {
        let (depth, members) = extent(&value);
        assert!(depth <= 32 && members <= MOST_MEMBERS, "{depth} deep, {members} members");
        assert!(read_json::<Value>(value.to_string().as_bytes(), MOST_MEMBERS).is_ok(), "{value}");
    }
    if std::str::from_utf8(input).is_ok_and(|text| check_query(text, &["often"]).is_ok()) {
        let mut seen = HashSet::new();
        for (name, _) in url::form_urlencoded::parse(input) {
            assert!(name == "often" || seen.insert(name.clone()), "{name} is there twice");
        }
    }
}

fn extent(value: &Value) -> (usize, usize) {
    let inner: Vec<&Value> = match value {
        Value::Object(members) => members.values().collect(),
        Value::Array(elements) => elements.iter().collect(),
        _ => return (0, 0),
    };
    let of_inner = inner.iter().map(|value| extent(value));
    of_inner
        .fold((1, inner.len()), |(depth, members), (deeper, more)| (depth.max(deeper + 1), members + more))
}

/// What a stranger writes into headers makes them nobody else, and comes out plain. Each line of the input is a field.
pub(crate) fn headers(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    tags(&headers);
    trace(&headers);
    client(&headers);
    texts(headers);
}

fn request(headers: HeaderMap) -> Request {
    let mut request = Request::default();
    *request.headers_mut() = headers;
    request
}

/// Who comes through a proxy can only write to the left of what it writes: that changes nothing.
fn client(headers: &HeaderMap) {
    assert_eq!(TrustedProxies::default().client_of(&request(headers.clone())), NOWHERE);
    let networks = ["10.0.0.0/8", "fd00::/8", "::/128"].map(str::parse);
    let proxies = TrustedProxies::new(networks.into_iter().flatten().collect());
    let client = proxies.client_of(&request(headers.clone()));
    assert_eq!(client, client.to_canonical());
    let forwarded = [HeaderName::from_static("x-forwarded-for"), header::FORWARDED];
    if forwarded.iter().all(|name| !headers.contains_key(name)) {
        assert_eq!(client, NOWHERE);
    }
    if proxies.trusts(client) {
        return;
    }
    let mut pretending = headers.clone();
    for (name, more) in forwarded.iter().zip(["198.51.100.7, ", "for=198.51.100.7, "]) {
        if let Some(first) = pretending.get_mut(name)
            && let Ok(longer) = HeaderValue::from_bytes(&[more.as_bytes(), first.as_bytes()].concat())
        {
            *first = longer;
        }
    }
    assert_eq!(proxies.client_of(&request(pretending)), client);
}

/// A tag is known only where it stands.
fn tags(headers: &HeaderMap) {
    if is_known(headers, "\"tag\"") {
        let mut given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        assert!(given.any(|value| value.contains("\"tag\"") || value.contains('*')));
    }
}

/// An id is one that a log, a header and a file name can hold; a parent reads the same when it is passed on.
fn trace(headers: &HeaderMap) {
    let id = TraceIds::new(Clock::System, &Random::seeded(1)).of(headers);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    assert!((1..=128).contains(&id.as_str().len()) && id.as_str().bytes().all(plain), "{id}");
    let Some(parent) = TraceParent::of(headers) else { return };
    assert!(parent.trace != [0; 16] && parent.span != [0; 8]);
    let mut passed_on = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(parent.to_string()) {
        passed_on.insert(HeaderName::from_static("traceparent"), value);
    }
    assert_eq!(TraceParent::of(&passed_on), Some(parent));
}

/// What a client calls itself is short and can be shown.
fn texts(headers: HeaderMap) {
    let request = request(headers);
    let info = ClientInfo::from_request_without_body(&request).now_or_never();
    let Some(Ok(info)) = info else { unreachable!("there is nothing to wait for, nor to refuse") };
    for text in [info.user_agent, info.accept_language].into_iter().flatten() {
        assert!(text.chars().count() <= 256 && !text.contains(char::is_control), "{text:?}");
    }
}
