//! Entity tags in requests (RFC 9110, 8.8.3): to change only what was seen, and to send only what is new.

use poem::Request;
use poem::http::{HeaderMap, header};

use crate::platform::problem::{FieldError, Problem};

/// The tags of `If-Match`, a list or one alone; none if it is not there or `*`. What is no text matches no tag.
pub fn if_match(request: &Request) -> Result<Option<&str>, Problem> {
    let mut values = request.headers().get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::invalid(vec![FieldError::new("If-Match", "is given more than once")]));
    }
    let tags = value.to_str().unwrap_or_default().trim();
    Ok((tags != "*").then_some(tags))
}

/// Whether the tags of `If-Match` name this one (RFC 9110, 13.1.1: compared strongly, any of them suffices).
#[must_use]
pub fn is_wanted(tags: &str, etag: &str) -> bool {
    tags.split(',').any(|tag| tag.trim() == etag)
}

/// Whether `If-None-Match` names this tag, or any (RFC 9110, 13.1.2: compared weakly, in as many headers as there are).
#[must_use]
pub fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn a_tag_is_wanted_alone_or_in_a_list_but_not_weak() {
        for tags in ["\"a\"", "\"b\", \"a\"", "\"a\",\"b\"", "W/\"a\" , \"a\""] {
            assert!(is_wanted(tags, "\"a\""), "{tags}");
        }
        for tags in ["", ",", "a", "\"b\"", "W/\"a\"", "\"A\"", "\"b\" \"a\""] {
            assert!(!is_wanted(tags, "\"a\""), "{tags}");
        }
    }

    #[test]
    fn a_tag_is_known_alone_in_a_list_weak_or_by_a_star() {
        let known = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            is_known(&headers, "\"a\"")
        };
        for values in [&["\"a\""][..], &["\"b\", \"a\""], &["W/\"a\""], &["*"], &["\"b\"", "\"a\""]] {
            assert!(known(values), "{values:?}");
        }
        for values in [&[][..], &["\"b\""], &["a"], &["\"a"], &["\"A\""]] {
            assert!(!known(values), "{values:?}");
        }
    }
}
