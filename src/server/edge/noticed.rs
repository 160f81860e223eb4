//! Which headers a request has of those that the edge asks about: most requests have none of them, and to look for one is
//! to hash its name. So their names are gone through once.

use poem::http::HeaderMap;

/// What the names of its headers say about a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noticed {
    /// Whether the client may have given it an id, or a trace.
    pub(super) names_itself: bool,
    /// Whether somebody says that they pass it on.
    pub(super) is_forwarded: bool,
    /// Whether it says how long its body is, or how it is coded or cut.
    pub(super) tells_of_body: bool,
}

impl Noticed {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut noticed = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "x-request-id" | "traceparent" => noticed.names_itself = true,
                "x-forwarded-for" | "forwarded" => noticed.is_forwarded = true,
                "content-length" | "transfer-encoding" | "content-encoding" => noticed.tells_of_body = true,
                _ => {}
            }
        }
        noticed
    }
}

#[cfg(test)]
mod tests {
    use poem::http::{HeaderName, HeaderValue, header};

    use super::*;
    use crate::platform::web::is_forwarded;

    #[test]
    fn every_header_that_matters_is_noticed_and_no_other() {
        let of = |name: HeaderName| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("a"));
            headers.insert(name, HeaderValue::from_static("1"));
            let Noticed { names_itself, is_forwarded: forwarded, tells_of_body } = Noticed::of(&headers);
            assert_eq!(forwarded, is_forwarded(&headers), "{headers:?}");
            [names_itself, forwarded, tells_of_body]
        };
        for name in ["X-Request-Id", "Traceparent"] {
            assert_eq!(of(name.parse().unwrap()), [true, false, false], "{name}");
        }
        for name in ["X-Forwarded-For", "Forwarded"] {
            assert_eq!(of(name.parse().unwrap()), [false, true, false], "{name}");
        }
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONTENT_ENCODING] {
            assert_eq!(of(name.clone()), [false, false, true], "{name}");
        }
        for name in [header::ACCEPT_ENCODING, header::AUTHORIZATION, header::CONTENT_TYPE] {
            assert_eq!(of(name.clone()), [false; 3], "{name}");
        }
    }
}
