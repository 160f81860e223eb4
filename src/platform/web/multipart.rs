//! A body of `multipart/form-data` (RFC 7578) that carries one file, read piece by piece.
//!
//! Taking [`Upload`] as an argument reads nothing yet: that begins with [`Upload::open`], when permission and limits
//! have been decided. However the client sends it, at most a piece of the body is in memory, and of what stands
//! between files no more than [`MOST_BETWEEN`].

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hyper::body::Body as _;
use poem::http::{StatusCode, header};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio::time::Instant;

use super::body::{broken_off, unsupported};
use super::query::bad_request;
use crate::platform::problem::{FieldError, Problem};

/// Bytes of heads, boundaries and what surrounds them that are read at most before a part or the end is found.
pub const MOST_BETWEEN: usize = 32 * 1024;
/// The slowest upload that is waited for, in bytes a second, once [`HEAD_START`] is over.
const SLOWEST: u64 = 1024;
/// What a slow beginning is forgiven.
const HEAD_START: Duration = Duration::from_secs(15);
/// The name of the one part.
const PART: &str = "file";

type Frames = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// An upload of which nothing has been read yet. 415 unless it is `multipart/form-data`, 400 without a boundary.
pub struct Upload {
    boundary: String,
    body: RequestBody,
}

/// A file on its way in.
pub struct Incoming {
    multipart: multer::Multipart<'static>,
    part: Option<multer::Field<'static>>,
    pieces: Pieces,
    /// What the client calls the file, if it says so.
    pub name: Option<String>,
    room: Room,
    pace: Pace,
}

impl Upload {
    /// Reads up to the file's first byte. 422 if the first part is not the file.
    pub async fn open(mut self) -> Result<Incoming, Problem> {
        let body = self.body.take().map_err(|_| Problem::internal())?;
        let room = Room::default();
        let stream = OneByOne { frames: body.into(), room: room.clone(), has_given: false, is_over: false };
        let pieces = Pieces(Arc::new(Mutex::new(stream)));
        let mut multipart = multer::Multipart::new(pieces.clone(), self.boundary);
        let pace = Pace::begin();
        room.set(MOST_BETWEEN);
        let part = pace.hold(0, multipart.next_field()).await?.map_err(|error| unreadable(&error))?;
        let part = part.filter(|part| part.name() == Some(PART)).ok_or_else(no_file)?;
        room.set(usize::MAX);
        let name = part.file_name().map(str::to_owned);
        Ok(Incoming { multipart, part: Some(part), pieces, name, room, pace })
    }
}

impl Incoming {
    /// The next piece of the file, of which `so_far` bytes came; none at its end, which is also the end of the body:
    /// 422 for a second part, 400 if the body breaks off.
    pub async fn piece(&mut self, so_far: u64) -> Result<Option<Bytes>, Problem> {
        let Some(part) = &mut self.part else { return Ok(None) };
        let piece = self.pace.hold(so_far, part.chunk()).await?.map_err(|error| unreadable(&error))?;
        if piece.is_some() {
            return Ok(piece);
        }
        self.part = None;
        self.room.set(MOST_BETWEEN);
        let more = self.pace.hold(so_far, self.multipart.next_field()).await?;
        match more.map_err(|error| unreadable(&error))? {
            Some(_) => Err(Problem::invalid(vec![FieldError::new("body", "must hold one part")])),
            None => self.end(so_far).await,
        }
    }

    /// The form may be over before its body is, which tells only at its end whether its sender may go on.
    async fn end(&mut self, so_far: u64) -> Result<Option<Bytes>, Problem> {
        while let Some(piece) = self.pace.hold(so_far, self.pieces.next()).await? {
            piece.map_err(|error| broken_off(&error))?;
        }
        Ok(None)
    }
}

fn no_file() -> Problem {
    Problem::invalid(vec![FieldError::new(PART, "is required, as the first and only part")])
}

/// How fast an upload must come: there is no deadline for large ones that move, and no patience for those that don't.
struct Pace {
    begun: Instant,
}

impl Pace {
    fn begin() -> Self {
        Self { begun: Instant::now() }
    }

    /// 408 if the next piece doesn't come in time for so many bytes.
    async fn hold<T>(&self, so_far: u64, next: impl Future<Output = T>) -> Result<T, Problem> {
        let until = self.begun + HEAD_START + Duration::from_secs(so_far / SLOWEST);
        tokio::time::timeout_at(until, next).await.map_err(|_| {
            let words = "The upload came too slowly.";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", words)
        })
    }
}

/// How many more bytes may be read before a part, or the end, must have been found.
#[derive(Clone, Default)]
struct Room(Arc<AtomicUsize>);

impl Room {
    fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn is_left(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn take(&self, bytes: usize) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
    }
}

/// The frames of a body, one at a time: the parser takes whatever is ready, and would take a whole body from a client
/// that is fast.
struct OneByOne {
    frames: Frames,
    room: Room,
    has_given: bool,
    is_over: bool,
}

/// The same in two hands: the parser's, and ours for what it leaves.
#[derive(Clone)]
struct Pieces(Arc<Mutex<OneByOne>>);

impl Stream for Pieces {
    type Item = std::io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).poll_next(cx)
    }
}

impl Stream for OneByOne {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.has_given) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        if !self.room.is_left() {
            return Poll::Ready(Some(Err(std::io::Error::other("too much between parts"))));
        }
        loop {
            let frame = match std::task::ready!(Pin::new(&mut self.frames).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.is_over = true;
                    return Poll::Ready(None);
                }
            };
            if let Ok(piece) = frame.into_data() {
                self.has_given = true;
                self.room.take(piece.len());
                return Poll::Ready(Some(Ok(piece)));
            }
        }
    }
}

/// 413 behind the edge's limit, else 400.
fn unreadable(error: &multer::Error) -> Problem {
    if let multer::Error::StreamReadFailed(cause) = error
        && let Some(cause) = cause.downcast_ref::<std::io::Error>()
    {
        return broken_off(cause);
    }
    bad_request("The body is not multipart/form-data that can be read.")
}

fn boundary_of(request: &Request) -> Result<String, Problem> {
    let mut values = request.headers().get_all(header::CONTENT_TYPE).iter();
    let (first, second) = (values.next(), values.next());
    let kind = first.filter(|_| second.is_none()).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match multer::parse_boundary(kind) {
        // RFC 2046, 5.1.1.
        Ok(boundary) if (1..=70).contains(&boundary.len()) => Ok(boundary),
        Ok(_) | Err(multer::Error::NoBoundary) => {
            Err(bad_request("The body has no boundary that can be used."))
        }
        Err(_) => Err(unsupported("The body must be multipart/form-data.")),
    }
}

impl<'a> ApiExtractor<'a> for Upload {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let file = MetaSchema {
            description: Some(
                "The file. Its name is what the part says, cleaned of paths and control characters.",
            ),
            ..MetaSchema::new_with_format("string", "binary")
        };
        let form = MetaSchema {
            properties: vec![(PART, MetaSchemaRef::Inline(Box::new(file)))],
            required: vec![PART],
            ..MetaSchema::new("object")
        };
        let schema = MetaSchemaRef::Inline(Box::new(form));
        let content = vec![MetaMediaType { content_type: "multipart/form-data", schema }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self { boundary: boundary_of(request)?, body: std::mem::take(body) })
    }
}

#[cfg(test)]
mod tests {
    use poem::Body;

    use super::*;

    fn upload(body: Body) -> Upload {
        Upload { boundary: "B".to_owned(), body: RequestBody::new(body) }
    }

    async fn read(upload: Upload) -> Result<(Option<String>, Vec<u8>), u16> {
        let status = |problem: Problem| problem.status.as_u16();
        let mut incoming = upload.open().await.map_err(status)?;
        let mut whole = Vec::new();
        while let Some(piece) = incoming.piece(whole.len() as u64).await.map_err(status)? {
            whole.extend_from_slice(&piece);
        }
        Ok((incoming.name, whole))
    }

    async fn sent(text: &'static str) -> Result<(Option<String>, Vec<u8>), u16> {
        let whole = read(upload(Body::from(text))).await;
        let bytes =
            text.as_bytes().iter().map(|byte| Ok::<_, std::io::Error>(Bytes::copy_from_slice(&[*byte])));
        let bytes: Vec<_> = bytes.collect();
        let in_pieces = read(upload(Body::from_bytes_stream(futures_util::stream::iter(bytes)))).await;
        assert_eq!(whole, in_pieces, "{text}");
        whole
    }

    const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"";

    fn leaked(text: String) -> &'static str {
        Box::leak(text.into_boxed_str())
    }

    #[tokio::test]
    async fn a_file_is_read_with_its_name_however_it_is_cut_into_pieces() {
        let body = leaked(format!("--B\r\n{FILE}\r\n\r\none\r\n--two\r\n--B--\r\n"));
        assert_eq!(sent(body).await, Ok((Some("a.txt".to_owned()), b"one\r\n--two".to_vec())));
        let nameless = "--B\r\nContent-Disposition: form-data; name=file\r\n\r\n\r\n--B--";
        assert_eq!(sent(nameless).await, Ok((None, Vec::new())));
    }

    #[tokio::test]
    async fn what_breaks_off_or_is_no_form_is_400() {
        for bad in [
            String::new(),
            "x".to_owned(),
            "--B--".to_owned() + "x",
            format!("--B\r\n{FILE}"),
            format!("--B\r\n{FILE}\r\n\r\none"),
            format!("--B\r\n{FILE}\r\n\r\none\r\n--C--\r\n"),
            format!("--B\r\n{FILE}\r\n\r\none\r\n--B"),
        ] {
            let bad = leaked(bad);
            assert!(matches!(sent(bad).await, Err(400 | 422)), "{bad}");
        }
    }

    #[tokio::test]
    async fn other_parts_are_refused_before_and_behind_the_file() {
        let other = "Content-Disposition: form-data; name=\"x\"";
        let before = leaked(format!("--B\r\n{other}\r\n\r\n1\r\n--B\r\n{FILE}\r\n\r\none\r\n--B--\r\n"));
        let behind = leaked(format!("--B\r\n{FILE}\r\n\r\none\r\n--B\r\n{other}\r\n\r\n1\r\n--B--\r\n"));
        assert_eq!(sent(before).await, Err(422));
        assert_eq!(sent(behind).await, Err(422));
    }

    #[tokio::test]
    async fn an_endless_head_is_given_up_soon() {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let start = futures_util::stream::iter([Ok(Bytes::from_static(b"--B\r\nX: "))]);
        let endless = futures_util::stream::repeat_with(move || {
            count.fetch_add(1024, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024]))
        });
        let body = Body::from_bytes_stream(futures_util::StreamExt::chain(start, endless));
        assert_eq!(read(upload(body)).await, Err(400));
        assert!(taken.load(Ordering::Relaxed) <= 2 * MOST_BETWEEN, "{taken:?}");
    }

    #[tokio::test]
    async fn of_a_fast_client_no_more_is_taken_than_one_asks_for() {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let head = Bytes::from(format!("--B\r\n{FILE}\r\n\r\n"));
        let start = futures_util::stream::iter([Ok(head)]);
        let endless = futures_util::stream::repeat_with(move || {
            count.fetch_add(1024, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1024]))
        });
        let body = Body::from_bytes_stream(futures_util::StreamExt::chain(start, endless));
        let mut incoming = upload(body).open().await.unwrap();
        incoming.piece(0).await.unwrap();
        assert!(taken.load(Ordering::Relaxed) <= 8 * 1024, "{taken:?}");
    }

    #[tokio::test]
    async fn an_upload_that_stops_is_not_waited_for_but_one_that_moves_is() {
        let pace = Pace { begun: Instant::now() - HEAD_START - Duration::from_secs(5) };
        let silent = pace.hold(4 * SLOWEST, std::future::pending::<()>()).await;
        assert_eq!(silent.unwrap_err().status, StatusCode::REQUEST_TIMEOUT);
        assert!(pace.hold(60 * SLOWEST, async {}).await.is_ok());
    }

    #[test]
    fn a_boundary_is_needed() {
        let of = |kind: &str| {
            let request = Request::builder().content_type(kind).finish();
            boundary_of(&request).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(of("multipart/form-data; boundary=X"), Ok("X".to_owned()));
        assert_eq!(of("Multipart/Form-Data; boundary=\"X y\""), Ok("X y".to_owned()));
        assert_eq!(of("multipart/form-data"), Err(400));
        assert_eq!(of(&format!("multipart/form-data; boundary={}", "x".repeat(71))), Err(400));
        assert_eq!(of("multipart/mixed; boundary=X"), Err(415));
        assert_eq!(of("application/json"), Err(415));
    }
}
