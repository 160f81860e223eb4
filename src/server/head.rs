//! Holds the head of an HTTP/1 request to one reading before the parser sees it.
//!
//! The parser is lenient where a proxy in front may read the same bytes in another way: it takes a bare line feed
//! for the end of a line, two lengths that agree, and a length beside a transfer coding. Whoever can make two
//! readers disagree can smuggle a request past the first (RFC 9112, 11.2); so those heads end here with 400.

use poem::http::{Method, StatusCode};

use super::bounds::{Bounds, takes_list};
use super::edge::OauthPlaces;

const MAX_FIELDS: usize = 100;
/// Method and version around the target of a request line.
const AROUND_TARGET: usize = 32;
const LENGTH: &[u8] = b"content-length:";
const CODING: &[u8] = b"transfer-encoding:";
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// The start of a request line that must be kept to know the path of a list, or of OAuth: less than every line may have.
const KEPT: usize = 160;
/// The start of another line that must be looked at to know its name and a length.
const NAMED: usize = 48;

/// Reads along with one head after the other.
#[derive(Debug)]
pub(super) struct HeadCheck {
    bounds: Bounds,
    oauth_places: OauthPlaces,
    by_oauth: bool,
    bytes: usize,
    /// How far the target goes beyond what is usual.
    beyond: usize,
    fields: usize,
    request_line: bool,
    length: Option<u64>,
    chunked: bool,
    line: Line,
}

/// The line that is being read.
#[derive(Debug)]
struct Line {
    start: [u8; KEPT],
    len: usize,
    last: u8,
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More of it must come.
    Partial,
    /// It ended after this many of the bytes that were fed; this body follows.
    Complete(usize, Framing),
    /// It is the preface of HTTP/2 (RFC 9113, 3.4), whose first line ended after this many of the bytes that were fed:
    /// what follows is no HTTP/1.
    Http2(usize),
}

/// How the end of a request's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

impl HeadCheck {
    pub(super) fn new(bounds: Bounds) -> Self {
        let line = Line { start: [0; KEPT], len: 0, last: 0 };
        let (bytes, beyond, fields, request_line, length, chunked) = (0, 0, 0, false, None, false);
        let (oauth_places, by_oauth) = (OauthPlaces::default(), false);
        Self { bounds, oauth_places, by_oauth, bytes, beyond, fields, request_line, length, chunked, line }
    }

    /// The same, which knows where libraries of OAuth ask.
    pub(super) fn knowing(self, oauth_places: OauthPlaces) -> Self {
        Self { oauth_places, ..self }
    }

    /// Whether such a library may have sent the last head of which something came; false until its path is known.
    pub(super) const fn is_by_oauth(&self) -> bool {
        self.by_oauth
    }

    /// Reads the next bytes. The status of the refusal, if they are not acceptable.
    pub(super) fn feed(&mut self, input: &[u8]) -> Result<Progress, StatusCode> {
        let mut at = 0;
        while let Some(length) = memchr::memchr(b'\n', &input[at..]) {
            self.take(&input[at..at + length])?;
            at += length + 1;
            self.bytes += 1;
            match self.end_of_line()? {
                None => {}
                Some(Progress::Http2(_)) => return Ok(Progress::Http2(at)),
                Some(_) => return Ok(Progress::Complete(at, self.finish())),
            }
        }
        self.take(&input[at..])?;
        Ok(Progress::Partial)
    }

    /// Notes a piece of a line, without the line feed.
    fn take(&mut self, piece: &[u8]) -> Result<(), StatusCode> {
        let line = &mut self.line;
        if line.len < KEPT {
            let kept = piece.len().min(KEPT - line.len);
            line.start[line.len..line.len + kept].copy_from_slice(&piece[..kept]);
        }
        line.len += piece.len();
        line.last = *piece.last().unwrap_or(&line.last);
        self.bytes += piece.len();
        if !self.request_line {
            self.by_oauth = self.line.asks_at(&self.oauth_places);
            self.weigh_target()?;
        }
        if self.bytes > self.bounds.head + self.beyond {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        Ok(())
    }

    /// The path has come long before the line is longer than usual. It is looked at then, once.
    fn weigh_target(&mut self) -> Result<(), StatusCode> {
        let target = self.line.len.saturating_sub(AROUND_TARGET);
        let beyond = target.saturating_sub(self.bounds.target);
        if beyond == 0 {
            return Ok(());
        }
        let is_list = self.beyond > 0 || self.line.path().is_some_and(takes_list);
        if !is_list || target > self.bounds.list {
            return Err(StatusCode::URI_TOO_LONG);
        }
        self.beyond = beyond;
        Ok(())
    }

    /// `Some` at the end of the head.
    fn end_of_line(&mut self) -> Result<Option<Progress>, StatusCode> {
        if self.line.last != b'\r' {
            return Err(StatusCode::BAD_REQUEST);
        }
        let whole = self.line.len - 1;
        let start = &self.line.start[..whole.min(KEPT)];
        let progress = match (whole, self.request_line) {
            // Empty lines before the request line are allowed (RFC 9112, 2.2).
            (0, false) => None,
            (0, true) => Some(Progress::Complete(0, Framing::Chunked)),
            (_, false) if start == HTTP2 => Some(Progress::Http2(0)),
            (_, false) => {
                self.request_line = true;
                None
            }
            (_, true) => {
                let mut field = [0; NAMED];
                field.copy_from_slice(&self.line.start[..NAMED]);
                self.field(&field[..whole.min(NAMED)], whole > NAMED)?;
                None
            }
        };
        (self.line.len, self.line.last) = (0, 0);
        Ok(progress)
    }

    /// Reads a field, of which there may be more than is at hand.
    fn field(&mut self, line: &[u8], is_cut: bool) -> Result<(), StatusCode> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        match line[0] {
            // A line that goes on with the one before (RFC 9112, 5.2).
            b' ' | b'\t' => Err(StatusCode::BAD_REQUEST),
            b'c' | b'C' => self.perhaps_length(line, is_cut),
            b't' | b'T' if starts_with(line, CODING) => {
                let twice = std::mem::replace(&mut self.chunked, true);
                ambiguous(twice || self.length.is_some())
            }
            _ => Ok(()),
        }
    }

    fn perhaps_length(&mut self, line: &[u8], is_cut: bool) -> Result<(), StatusCode> {
        if !starts_with(line, LENGTH) {
            return Ok(());
        }
        // What is behind the cut may be more digits: the parser would read another length.
        ambiguous(is_cut)?;
        let digits = line[LENGTH.len()..].trim_ascii();
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let plain = digits.iter().all(u8::is_ascii_digit);
        let Some(number) = number.filter(|_| plain) else { return Err(StatusCode::BAD_REQUEST) };
        let twice = self.length.replace(number).is_some();
        ambiguous(twice || self.chunked)
    }

    fn finish(&mut self) -> Framing {
        let framing = if self.chunked { Framing::Chunked } else { Framing::Length(self.length.unwrap_or(0)) };
        (self.bytes, self.beyond, self.fields) = (0, 0, 0);
        (self.request_line, self.length, self.chunked) = (false, None, false);
        framing
    }
}

impl Line {
    /// The path in a request line, if there is a query behind it.
    fn path(&self) -> Option<&[u8]> {
        let target = self.words().nth(1)?;
        memchr::memchr(b'?', target).map(|end| &target[..end])
    }

    /// Whether it is a request line for one of these places. Where its path is not yet at its end, it is for none.
    fn asks_at(&self, places: &OauthPlaces) -> bool {
        let mut words = self.words();
        // Most requests are of other methods, and cost no more than this.
        let (Some(b"POST"), Some(target)) = (words.next(), words.next()) else { return false };
        let path = self.path().or_else(|| words.next().map(|_version| target));
        let path = path.and_then(|path| str::from_utf8(path).ok());
        path.is_some_and(|path| places.hold(&Method::POST, without_server(path)))
    }

    fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.start[..self.len.min(KEPT)].split(|byte| *byte == b' ')
    }
}

/// The path of a target, which may name the server in front of it (RFC 9112, 3.2.2).
fn without_server(target: &str) -> &str {
    let server = target.split_once("://").filter(|(scheme, _)| !scheme.contains('/'));
    server.map_or(target, |(_, rest)| rest.find('/').map_or("/", |path| &rest[path..]))
}

fn starts_with(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

fn ambiguous(is: bool) -> Result<(), StatusCode> {
    if is { Err(StatusCode::BAD_REQUEST) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { head: 16_384, target: 8192, list: 49_152 };

    fn check(head: &str) -> Result<Progress, u16> {
        let whole = HeadCheck::new(BOUNDS).feed(head.as_bytes()).map_err(|status| status.as_u16());
        let mut slow = HeadCheck::new(BOUNDS);
        let bytes = head.as_bytes().iter().map(|byte| slow.feed(std::slice::from_ref(byte)));
        let last = bytes
            .map(|step| step.map_err(|status| status.as_u16()))
            .find(|step| *step != Ok(Progress::Partial));
        match (whole, last) {
            (Err(status), last) => assert_eq!(last, Some(Err(status)), "byte by byte: {head:?}"),
            (Ok(Progress::Complete(_, framing)), last) => {
                assert_eq!(last, Some(Ok(Progress::Complete(1, framing))), "byte by byte: {head:?}");
            }
            (Ok(Progress::Http2(_)), last) => assert_eq!(last, Some(Ok(Progress::Http2(1)))),
            (Ok(Progress::Partial), last) => assert_eq!(last, None),
        }
        whole
    }

    #[test]
    fn a_proper_head_passes_and_tells_where_its_body_ends() {
        let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(check(get), Ok(Progress::Complete(get.len(), Framing::Length(0))));
        let post = "POST / HTTP/1.1\r\nContent-Length:  12 \r\nHost: x\r\n\r\n";
        assert_eq!(
            check(&format!("{post}hello\nworld!")),
            Ok(Progress::Complete(post.len(), Framing::Length(12)))
        );
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(check(chunked), Ok(Progress::Complete(chunked.len(), Framing::Chunked)));
        assert_eq!(check("\r\nGET / HTTP/1.1\r\nHos"), Ok(Progress::Partial));
        assert_eq!(check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Ok(Progress::Http2(16)));
    }

    #[test]
    fn what_two_readers_may_read_differently_is_refused() {
        for bad in [
            "GET / HTTP/1.1\nHost: x\n\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 6\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        ] {
            assert_eq!(check(bad), Err(400), "{bad:?}");
        }
    }

    #[test]
    fn a_length_hidden_behind_spaces_is_found() {
        let head = format!("POST / HTTP/1.1\r\nContent-Length:{}5\r\n\r\n", " ".repeat(100));
        assert_eq!(check(&head), Err(400));
    }

    #[test]
    fn a_length_of_which_only_the_beginning_is_at_hand_is_refused() {
        let length = |value: &str| check(&format!("POST / HTTP/1.1\r\nContent-Length:{value}\r\n\r\n"));
        for spaces in 20..60 {
            for value in [format!("{}68", " ".repeat(spaces)), format!("68{}", " ".repeat(spaces))] {
                let fits = LENGTH.len() + value.len() <= NAMED;
                let read =
                    length(&value).map(|end| matches!(end, Progress::Complete(_, Framing::Length(68))));
                assert_eq!(read, if fits { Ok(true) } else { Err(400) }, "{value:?}");
            }
            let zeros = "0".repeat(spaces);
            assert_eq!(length(&format!("{zeros}68")).is_ok(), LENGTH.len() + spaces + 2 <= NAMED, "{spaces}");
        }
    }

    #[test]
    fn a_head_has_bounds() {
        assert_eq!(check(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9000))), Err(414));
        assert_eq!(check(&format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(17_000))), Err(431));
        assert_eq!(check(&format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101))), Err(431));
        let full = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
        assert_eq!(check(&full), Ok(Progress::Complete(full.len(), Framing::Length(0))));
    }

    #[test]
    fn whether_a_library_of_oauth_asks_is_known_as_soon_as_its_path_is() {
        let document = serde_json::json!({"paths": {"/api/token": {"post": {"operationId": "trade"}}}});
        let places = OauthPlaces::of_document(&document, &["trade"]);
        let asks = |head: &str| {
            let mut whole = HeadCheck::new(BOUNDS).knowing(places.clone());
            let mut slow = HeadCheck::new(BOUNDS).knowing(places.clone());
            let read = whole.feed(head.as_bytes());
            let bytes = head.as_bytes().iter();
            let last = bytes.map(|byte| slow.feed(std::slice::from_ref(byte))).find(Result::is_err);
            assert_eq!(read.err(), last.and_then(Result::err), "{head:?}");
            assert_eq!(whole.is_by_oauth(), slow.is_by_oauth(), "byte by byte: {head:?}");
            whole.is_by_oauth()
        };
        let (long, query) = ("a".repeat(17_000), "a".repeat(9000));
        for head in [
            "POST /api/token ".to_owned(),
            "POST /api/token?".to_owned(),
            "\r\nPOST /api/token/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "POST http://x/api/token HTTP/1.1\r\n".to_owned(),
            "POST /api/token HTTP/1.1\r\nHost: x\n".to_owned(),
            format!("POST /api/token?{query} HTTP/1.1\r\n"),
            format!("POST /api/token HTTP/1.1\r\nA: {long}"),
        ] {
            assert!(asks(&head), "{head:.60}");
        }
        for head in [
            "POST /api/token".to_owned(),
            "GET /api/token HTTP/1.1\r\n".to_owned(),
            "POST /api/tokens HTTP/1.1\r\n".to_owned(),
            "POST /x://x/api/token HTTP/1.1\r\n".to_owned(),
            "POST  /api/token HTTP/1.1\r\n".to_owned(),
            "POST http://x HTTP/1.1\r\n".to_owned(),
            "GET /?POST /api/token HTTP/1.1\r\n".to_owned(),
            format!("POST /api/token{query} HTTP/1.1\r\n"),
        ] {
            assert!(!asks(&head), "{head:.60}");
        }
    }

    #[test]
    fn a_list_may_be_long_and_nothing_else() {
        let ids = vec![format!("users_ids={}", "0".repeat(36)); 1000].join("&");
        for line in [
            "GET /api/user/users",
            "HEAD /api/file/files/",
            "PUT /api/user/@ann/blocked_users",
            "POST /api/email/send-email-multiple",
            "PATCH /a/longer/prefix/user/0190a5c0-7e3b-7c2a-8f00-1234567890ab/blocked_users",
            "DELETE http://x/api/user/0190a5c0-7e3b-7c2a-8f00-1234567890ab/blocked_users",
        ] {
            let head = format!("{line}?{ids} HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(check(&head), Ok(Progress::Complete(head.len(), Framing::Length(0))), "{line}");
            assert_eq!(check(&format!("{line}?{} HTTP/1.1\r\n\r\n", "a".repeat(49_200))), Err(414), "{line}");
        }
        for line in [
            "GET /",
            "GET /api/user",
            "GET /api/user/users/x",
            "GET /api/user/users%3F",
            "GET /api/hello?/user/users",
            "GET  /api/user/users",
            "/api/user/users",
        ] {
            assert_eq!(check(&format!("{line}?{ids} HTTP/1.1\r\nHost: x\r\n\r\n")), Err(414), "{line}");
        }
        let far = format!("GET /{}/user/users?{ids} HTTP/1.1\r\n\r\n", "a".repeat(200));
        assert_eq!(check(&far), Err(414));
        let without_query = format!("GET /{}/user/users HTTP/1.1\r\n\r\n", "a".repeat(9000));
        assert_eq!(check(&without_query), Err(414));
    }

    #[test]
    fn beside_a_list_there_is_no_more_room_than_beside_others() {
        let head = |ids: usize, field: usize| {
            let (ids, field) = ("i".repeat(ids), "a".repeat(field));
            format!("GET /api/user/users?{ids} HTTP/1.1\r\nA: {field}\r\n\r\n")
        };
        for ids in [8150, 20_000, 48_000] {
            let good = head(ids, 8000);
            assert_eq!(check(&good), Ok(Progress::Complete(good.len(), Framing::Length(0))), "{ids}");
            assert_eq!(check(&head(ids, 8300)), Err(431), "{ids}");
        }
        assert_eq!(check(&head(1, 17_000)), Err(431));
        // What one request was granted is not the next one's.
        let mut check = HeadCheck::new(BOUNDS);
        let list = head(48_000, 1);
        assert_eq!(check.feed(list.as_bytes()), Ok(Progress::Complete(list.len(), Framing::Length(0))));
        assert_eq!(check.feed(head(1, 17_000).as_bytes()), Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }

    #[test]
    fn one_head_after_the_other_is_checked() {
        let mut check = HeadCheck::new(BOUNDS);
        let head = b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n";
        for _ in 0..2 {
            assert_eq!(check.feed(head), Ok(Progress::Complete(head.len(), Framing::Length(1))));
        }
    }
}
