//! The content of a file as an answer: whole, a part of it, or the word that it has not changed (RFC 9110, 13 and 14).

use std::ops::Range;

use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;

use super::kind::{PLAIN_PICTURES, UNKNOWN, is_shown_inline};
use super::name::disposition;
use super::storage::Pieces;
use super::store::file;
use crate::platform::hexadecimal;
use crate::platform::problem::{Details, Problem};
use crate::platform::web::is_known;

/// What is sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing: the client has it already.
    Unchanged,
    /// Nothing: there are no such bytes.
    OutOfRange,
}

/// The content of a file.
pub struct Content {
    file: file::Model,
    wanted: Wanted,
    pieces: Option<Pieces>,
}

impl Content {
    /// An answer; `pieces` are the bytes that were asked for, or nothing where no body is answered.
    #[must_use]
    pub fn new(file: file::Model, wanted: Wanted, pieces: Option<Pieces>) -> Self {
        Self { file, wanted, pieces }
    }
}

impl Wanted {
    /// What a request asks for of a file of so many bytes. Several ranges are answered with the whole, which RFC 9110,
    /// 14.2, allows: each would cost as much as another request.
    #[must_use]
    pub fn of(headers: &HeaderMap, etag: &str, size: u64) -> Self {
        if is_known(headers, etag) {
            return Self::Unchanged;
        }
        let still_that = headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == etag.as_bytes());
        let mut ranges = headers.get_all(header::RANGE).iter();
        match (ranges.next(), ranges.next()) {
            (Some(range), None) if still_that => {
                range.to_str().map_or(Self::Whole, |range| of_range(range, size))
            }
            _ => Self::Whole,
        }
    }

    /// The bytes to be read, if any are.
    #[must_use]
    pub fn bytes(&self, size: u64) -> Option<Range<u64>> {
        match self {
            Self::Whole => Some(0..size),
            Self::Part(range) => Some(range.clone()),
            Self::Unchanged | Self::OutOfRange => None,
        }
    }
}

/// How long a file is of which bytes behind the end were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub u64);

impl Details for Length {
    fn add_to(&self, problem: &mut Problem) {
        if let Ok(length) = HeaderValue::try_from(format!("bytes */{}", self.0)) {
            problem.headers.push((header::CONTENT_RANGE, length));
        }
    }
}

/// The ETag of a file: its content.
#[must_use]
pub fn etag(file: &file::Model) -> String {
    format!("\"{}\"", hexadecimal::written(&file.sha256))
}

/// One range of bytes; what is no range, or more than one, asks for everything.
fn of_range(text: &str, size: u64) -> Wanted {
    let range = text.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = range.and_then(|(_, range)| range.trim().split_once('-')) else {
        return Wanted::Whole;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Wanted::Whole;
    }
    // More digits than a number has are a number beyond the end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (first, last) {
        ("", last) => match number(last).min(size) {
            0 => Wanted::OutOfRange,
            length => Wanted::Part(size - length..size),
        },
        (first, last) => {
            let start = number(first);
            let end = if last.is_empty() { size } else { number(last).saturating_add(1).min(size) };
            if !last.is_empty() && number(last) < start {
                Wanted::Whole
            } else if start >= size {
                Wanted::OutOfRange
            } else {
                Wanted::Part(start..end)
            }
        }
    }
}

impl IntoResponse for Content {
    fn into_response(self) -> Response {
        let size = self.file.size.unsigned_abs();
        let mut response = Response::default();
        let headers = response.headers_mut();
        let mut set = |name, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        set(header::ETAG, &etag(&self.file));
        set(header::CACHE_CONTROL, "private, no-cache");
        set(header::ACCEPT_RANGES, "bytes");
        let status = match &self.wanted {
            Wanted::Whole => StatusCode::OK,
            Wanted::Part(range) => {
                set(header::CONTENT_RANGE, &format!("bytes {}-{}/{size}", range.start, range.end - 1));
                StatusCode::PARTIAL_CONTENT
            }
            Wanted::Unchanged => StatusCode::NOT_MODIFIED,
            Wanted::OutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
        };
        if let (Some(range), Some(pieces)) = (self.wanted.bytes(size), self.pieces) {
            let inline = is_shown_inline(&self.file.media_type);
            set(header::CONTENT_TYPE, if inline { &self.file.media_type } else { UNKNOWN });
            set(header::CONTENT_DISPOSITION, &disposition(inline, &self.file.name));
            set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
            set(header::HeaderName::from_static("cross-origin-resource-policy"), "same-site");
            set(header::CONTENT_LENGTH, &(range.end - range.start).to_string());
            response.set_body(Body::from_bytes_stream(pieces));
        }
        response.set_status(status);
        response
    }
}

impl ApiResponse for Content {
    fn meta() -> MetaResponses {
        let content = || {
            let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
            let kinds = std::iter::once(UNKNOWN).chain(PLAIN_PICTURES);
            kinds
                .map(|content_type| MetaMediaType { content_type, schema: schema.clone() })
                .collect::<Vec<_>>()
        };
        let answer = |status, description, content| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content,
            headers: vec![MetaHeader {
                name: "ETag".to_owned(),
                description: Some("Names this content.".to_owned()),
                required: true,
                deprecated: false,
                schema: String::schema_ref(),
            }],
        };
        let responses = vec![
            answer(200, "The content.", content()),
            answer(206, "The part that `Range` asks for.", content()),
            answer(304, "It is what `If-None-Match` names.", Vec::new()),
        ];
        MetaResponses { responses }
    }

    fn register(_: &mut Registry) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"abc\"";

    fn wanted(size: u64, pairs: &[(&'static str, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Wanted::of(&headers, ETAG, size)
    }

    #[test]
    fn one_range_is_a_part() {
        for (range, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..10),
            ("bytes=9-", 9..10),
            ("bytes=2-4", 2..5),
            ("bytes=2-99", 2..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("Bytes = 2-4", 2..5),
            ("bytes=5-99999999999999999999999", 5..10),
        ] {
            assert_eq!(wanted(10, &[("range", range)]), Wanted::Part(part), "{range}");
        }
    }

    //
    #[test]
    fn ranges_that_mean_nothing_or_too_much_are_the_whole() {
        let many = format!("bytes={}", vec!["0-"; 1000].join(","));
        for range in [
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=4-2",
            "bytes=--3",
            "items=0-1",
            "0-1",
            "bytes=0-1,3-4",
            &many,
        ] {
            assert_eq!(wanted(10, &[("range", range)]), Wanted::Whole, "{range}");
        }
        assert_eq!(wanted(10, &[("range", "bytes=0-1"), ("range", "bytes=2-3")]), Wanted::Whole);
    }

    #[test]
    fn what_lies_behind_the_end_is_out_of_range() {
        for (size, range) in [
            (10, "bytes=10-"),
            (10, "bytes=99999999999999999999999-"),
            (10, "bytes=-0"),
            (0, "bytes=0-"),
            (0, "bytes=-1"),
        ] {
            assert_eq!(wanted(size, &[("range", range)]), Wanted::OutOfRange, "{range} of {size}");
        }
    }

    #[test]
    fn a_part_is_sent_only_of_what_the_client_has_begun_with() {
        let range = ("range", "bytes=0-1");
        assert_eq!(wanted(10, &[range, ("if-range", ETAG)]), Wanted::Part(0..2));
        for other in ["\"other\"", "W/\"abc\"", "Sat, 21 Nov 2026 00:00:00 GMT"] {
            assert_eq!(wanted(10, &[range, ("if-range", other)]), Wanted::Whole, "{other}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for tags in [ETAG, "*", "\"x\", \"abc\"", "W/\"abc\""] {
            assert_eq!(
                wanted(10, &[("if-none-match", tags), ("range", "bytes=0-1")]),
                Wanted::Unchanged,
                "{tags}"
            );
        }
        assert_eq!(wanted(10, &[("if-none-match", "\"x\"")]), Wanted::Whole);
    }
}
