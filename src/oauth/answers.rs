//! What the answers of providers mean, whatever was asked.

use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use super::ProviderFault;
use crate::platform::outgoing::{Answer, Bounds, Outgoing, Unanswered};

/// The longest address that a document may name, in bytes: it may be kept, sealed, with what a provider gave us.
pub const LONGEST_ADDRESS: usize = 2048;

impl From<Unanswered> for ProviderFault {
    fn from(fault: Unanswered) -> Self {
        match fault {
            Unanswered::Unreachable => Self::Unavailable,
            Unanswered::TooLong => Self::Odd("too long an answer"),
            Unanswered::NotPublic => Self::Odd("an address that is not public"),
        }
    }
}

/// Asks for a document: 200 and a JSON object or list.
pub async fn document(outgoing: &Outgoing, request: reqwest::RequestBuilder) -> Result<Value, ProviderFault> {
    let request = request.build().map_err(|_| ProviderFault::Odd("an address that is none"))?;
    let answer = outgoing.ask(request, Bounds::DOCUMENT).await?;
    check_status(answer.status)?;
    json(&answer)
}

/// The JSON of an answer.
pub fn json(answer: &Answer) -> Result<Value, ProviderFault> {
    let value = answer.json().filter(|value| value.is_object() || value.is_array());
    value.ok_or(ProviderFault::Odd("no JSON"))
}

/// What a status says of a question.
pub fn check_status(status: StatusCode) -> Result<(), ProviderFault> {
    match status.as_u16() {
        200 => Ok(()),
        408 | 425 | 429 | 500.. => Err(ProviderFault::Unavailable),
        400..=499 => Err(ProviderFault::Refused),
        300..=399 => Err(ProviderFault::Odd("a redirect")),
        _ => Err(ProviderFault::Odd("an unexpected status")),
    }
}

/// An address that a document names: https, or on the same server as the document.
pub fn address(document: &Value, field: &str, origin: &Url) -> Option<Url> {
    let url = Url::parse(document[field].as_str()?).ok()?;
    let is_safe = url.scheme() == "https" || url.origin() == origin.origin();
    (is_safe
        && url.as_str().len() <= LONGEST_ADDRESS
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none())
    .then_some(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_without_end_is_none() {
        let origin = Url::parse("https://pds.example").unwrap();
        let of = |length: usize| {
            let start = "https://pds.example/";
            let text = format!("{start}{}", "x".repeat(length - start.len()));
            address(&json!({ "token_endpoint": text }), "token_endpoint", &origin).is_some()
        };
        assert!(of(LONGEST_ADDRESS));
        assert!(!of(LONGEST_ADDRESS + 1));
    }
}
