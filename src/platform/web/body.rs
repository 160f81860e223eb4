//! Reading a request's body into memory, never more than allowed, and only of the kind that is asked for.

use std::io;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, LengthLimitError};
use poem::http::{StatusCode, header};
use poem::{Body, Request, RequestBody};

use super::query::bad_request;
use super::trace::Visit;
use crate::platform::problem::{Problem, SentAway};

/// What a handler tested without the edge reads at most.
const DEFAULT_LIMIT: usize = 64 * 1024;

type Frames = http_body_util::combinators::BoxBody<Bytes, io::Error>;

/// Lets a body come to its end only if `still` finds nothing against it then. What a request may do is decided before its body is
/// read, however it is read; and whoever sends that slowly may have been banned or signed out when the last byte is there.
pub fn asked_again<A>(body: &mut RequestBody, still: impl FnOnce() -> A + Send + 'static)
where
    A: Future<Output = Result<(), Problem>> + Send + 'static,
{
    // Taken already: then nothing is read of it any more.
    let Ok(taken) = body.take() else { return };
    let pieces = stream::try_unfold(Some((Frames::from(taken), still)), |reading| async move {
        let Some((mut frames, still)) = reading else { return Ok(None) };
        while let Some(frame) = frames.frame().await {
            if let Ok(piece) = frame?.into_data() {
                return Ok(Some((piece, Some((frames, still)))));
            }
        }
        still().await.map_err(|problem| io::Error::other(SentAway(problem)))?;
        Ok::<_, io::Error>(None)
    });
    *body = RequestBody::new(Body::from_bytes_stream(pieces));
}

/// The whole body: at most `max_body_bytes` of the settings, else 413. A body that breaks off: 400.
pub async fn read_body(request: &Request, body: &mut RequestBody) -> Result<Bytes, Problem> {
    let limit = request.data::<Visit>().map_or(DEFAULT_LIMIT, |visit| visit.settings.max_body_bytes);
    let body = body.take().map_err(|_| Problem::internal())?;
    let mut frames = Frames::from(body);
    let Some(first) = next_piece(&mut frames, limit).await? else { return Ok(Bytes::new()) };
    // Nearly every body comes in one piece, which then needs no copy.
    let Some(second) = next_piece(&mut frames, limit - first.len()).await? else { return Ok(first) };
    let mut whole = BytesMut::with_capacity(first.len() + second.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(piece) = next_piece(&mut frames, limit - whole.len()).await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn next_piece(frames: &mut Frames, room: usize) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = frames.frame().await {
        let frame = frame.map_err(|error| broken_off(&error))?;
        match frame.into_data() {
            Ok(piece) if piece.len() > room => return Err(too_large()),
            Ok(piece) => return Ok(Some(piece)),
            Err(_trailers) => {}
        }
    }
    Ok(None)
}

/// What an error of reading means: 413 behind the edge's limit, what the sender was sent away with, else 400.
pub(crate) fn broken_off(error: &io::Error) -> Problem {
    let unreadable = || bad_request("The body could not be read to its end.");
    let Some(cause) = error.get_ref() else { return unreadable() };
    if cause.is::<LengthLimitError>() {
        return too_large();
    }
    if let Some(SentAway(problem)) = cause.downcast_ref() {
        return problem.clone();
    }
    cause.downcast_ref().map_or_else(unreadable, broken_off)
}

/// 413.
pub(crate) fn too_large() -> Problem {
    let words = "The body is larger than this server takes.";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", words)
}

/// 415.
pub(crate) fn unsupported(words: &'static str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", words)
}

/// The kind of body that a request says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Form,
    Plain,
    Html,
    /// No `Content-Type` at all.
    Unsaid,
    Other,
}

impl Kind {
    /// One `Content-Type`, in UTF-8 if it says so (RFC 9110, 8.3).
    pub(super) fn of(request: &Request) -> Self {
        let mut values = request.headers().get_all(header::CONTENT_TYPE).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Unsaid,
            (Some(value), None) => value.to_str().map_or(Self::Other, Self::named),
            (Some(_), Some(_)) => Self::Other,
        }
    }

    fn named(content_type: &str) -> Self {
        let mut parts = content_type.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        if !parts.all(is_harmless) {
            return Self::Other;
        }
        match media_type {
            json if json.eq_ignore_ascii_case("application/json") => Self::Json,
            form if form.eq_ignore_ascii_case("application/x-www-form-urlencoded") => Self::Form,
            plain if plain.eq_ignore_ascii_case("text/plain") => Self::Plain,
            html if html.eq_ignore_ascii_case("text/html") => Self::Html,
            _ => Self::Other,
        }
    }
}

fn is_harmless(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_is_read_whatever_its_case_and_parameters() {
        assert_eq!(Kind::named("application/json"), Kind::Json);
        assert_eq!(Kind::named("Application/JSON; charset=UTF-8"), Kind::Json);
        assert_eq!(Kind::named("application/json;charset=\"utf-8\""), Kind::Json);
        assert_eq!(Kind::named("application/x-www-form-urlencoded"), Kind::Form);
        assert_eq!(Kind::named("text/plain"), Kind::Plain);
        assert_eq!(Kind::named("TEXT/HTML; charset=utf-8"), Kind::Html);
    }

    #[test]
    fn other_kinds_and_charsets_are_told_apart() {
        for other in [
            "text/csv",
            "text/plain; charset=utf-16",
            "application/json; charset=utf-16",
            "application/problem+json",
            "",
            ";",
        ] {
            assert_eq!(Kind::named(other), Kind::Other, "{other}");
        }
    }

    async fn read(pieces: &[&'static str]) -> Result<Bytes, Problem> {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())))
            .collect();
        let body = poem::Body::from_bytes_stream(futures_util::stream::iter(pieces));
        read_body(&Request::default(), &mut RequestBody::new(body)).await
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together() {
        assert_eq!(read(&[]).await.unwrap(), "");
        assert_eq!(read(&["one"]).await.unwrap(), "one");
        assert_eq!(read(&["one", " two", " three"]).await.unwrap(), "one two three");
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused_however_it_comes() {
        const BLOCK: &str = match std::str::from_utf8(&[b'x'; 40_000]) {
            Ok(block) => block,
            Err(_) => "",
        };
        for pieces in [&[BLOCK, BLOCK][..], &["", BLOCK, BLOCK], &[BLOCK, "y", BLOCK]] {
            assert_eq!(read(pieces).await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
}
