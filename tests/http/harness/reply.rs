//! What was answered, and whether it is as every answer must be.

use std::fmt;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::contract::Answered;

/// An answer, read to its end. Reading it has made sure that nothing broke inside and that it bears a trace id.
pub struct Reply {
    question: String,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    pub(super) async fn read(question: String, response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_else(|error| panic!("{question}: {error}")).to_vec();
        let reply = Self { question, status, headers, body };
        assert_ne!(reply.status, 500, "it broke: {reply:?}");
        assert!(!reply.trace_id().is_empty(), "no trace id: {reply:?}");
        reply
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Every header.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The header `name`, if it is there, and only once; of several cookies, the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        assert!(name == "set-cookie" || values.next().is_none(), "{name} is there twice: {self:?}");
        Some(first.to_str().expect("a header of text"))
    }

    /// The `Set-Cookie` of a cookie, if there is one, and only one.
    pub fn set_cookie(&self, name: &str) -> Option<&str> {
        let values = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().expect("text"));
        let mut ours =
            values.filter(|value| value.split_once('=').is_some_and(|(present, _)| present == name));
        let first = ours.next()?;
        assert!(ours.next().is_none(), "{name} is set twice: {self:?}");
        Some(first)
    }

    /// The value that a cookie is given.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.set_cookie(name)?.split(['=', ';']).nth(1)
    }

    /// The path and query in the `Link` header that stands in this relation.
    pub fn link(&self, relation: &str) -> Option<String> {
        let found =
            self.header("link")?.split(", ").find(|link| link.ends_with(&format!("rel=\"{relation}\"")))?;
        let address = &found[found.find('<').expect("an address") + 1..found.find('>').expect("its end")];
        Some(address[address.find("/api").expect("a path of the API")..].to_owned())
    }

    /// `X-Trace-Id`.
    pub fn trace_id(&self) -> &str {
        self.header("x-trace-id").unwrap_or_default()
    }

    /// What a document may speak of.
    pub(super) fn answered(&self) -> Answered<'_> {
        let content_type = self.header("content-type");
        Answered { status: self.status, content_type, headers: &self.headers, body: &self.body }
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap_or_else(|_| panic!("no text: {self:?}"))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// It must have this status.
    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// It must be a success.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert!((200..300).contains(&self.status), "{self:?}");
        self
    }

    /// It must be a problem document (RFC 9457) of this status and code, whole and in agreement with its headers.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> &Self {
        self.is(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        assert_eq!(problem["trace_id"], self.trace_id(), "{self:?}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {self:?}");
        }
        assert_eq!(problem.get("errors").is_some(), code == "validation_failed", "{self:?}");
        let needed = match status {
            401 => Some("www-authenticate"),
            405 => Some("allow"),
            429 | 503 => Some("retry-after"),
            _ => None,
        };
        assert!(needed.is_none_or(|name| self.header(name).is_some()), "no {needed:?}: {self:?}");
        self
    }

    /// It must be 422 `validation_failed` about exactly these fields.
    #[track_caller]
    pub fn invalid(&self, fields: &[&str]) -> &Self {
        let problem = self.refused(422, "validation_failed").json();
        let errors = problem["errors"].as_array().expect("errors");
        let mut named: Vec<&str> =
            errors.iter().map(|error| error["field"].as_str().expect("a field")).collect();
        assert!(errors.iter().all(|error| error["message"].as_str().is_some_and(|text| !text.is_empty())));
        named.sort_unstable();
        named.dedup();
        let mut expected = fields.to_vec();
        expected.sort_unstable();
        assert_eq!(named, expected, "{self:?}");
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} answered {}", self.question, self.status)?;
        for (name, value) in &self.headers {
            writeln!(out, "  {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        let text = String::from_utf8_lossy(&self.body);
        write!(out, "{}", text.chars().take(2000).collect::<String>())
    }
}
