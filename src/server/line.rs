//! The socket as hyper sees it: heads are checked and frames of HTTP/2 counted on the way in, and what hyper refuses by
//! itself goes out as a problem document.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use poem::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::Limits;
use super::early::Early;
use super::frames::{Flood, Frames};
use super::head::{Framing, HeadCheck, Progress};
use super::pulse::Pulse;

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Line {
    incoming: OwnedReadHalf,
    outgoing: Arc<OwnedWriteHalf>,
    pulse: Arc<Pulse>,
    early: Arc<Early>,
    check: HeadCheck,
    frames: Frames,
    reading: Reading,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// A head: nothing of it yet, or some.
    Head { begun: bool },
    /// A body of which this much is left.
    Body(u64),
    /// The frames of HTTP/2.
    Frames,
    /// Something that is not followed by a head: the last request of the connection.
    Rest,
}

/// Why a connection does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// A head that is answered so.
    Head(StatusCode),
    /// Too many frames that ask for nothing.
    Flood,
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self::Head(status)
    }
}

impl From<Flood> for Refusal {
    fn from(_: Flood) -> Self {
        Self::Flood
    }
}

impl Line {
    pub(super) fn new(
        incoming: OwnedReadHalf,
        outgoing: Arc<OwnedWriteHalf>,
        pulse: Arc<Pulse>,
        early: Arc<Early>,
        limits: &Limits,
    ) -> Self {
        let check = HeadCheck::new(limits.bounds()).knowing(early.oauth_places.clone());
        let (frames, reading) = (Frames::new(), Reading::Head { begun: false });
        Self { incoming, outgoing, pulse, early, check, frames, reading }
    }

    fn socket(&self) -> &TcpStream {
        (*self.outgoing).as_ref()
    }

    /// Looks at bytes that just came.
    fn inspect(&mut self, mut input: &[u8]) -> Result<(), Refusal> {
        while !input.is_empty() {
            let used = match self.reading {
                Reading::Rest => return Ok(()),
                Reading::Frames => return Ok(self.frames.came(input)?),
                Reading::Body(left) => {
                    let used = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    self.reading = body_of(left - used as u64);
                    used
                }
                Reading::Head { begun } => {
                    if !begun {
                        self.pulse.head_begins();
                    }
                    self.read_head(input)?
                }
            };
            input = &input[used..];
        }
        self.pulse.reads_body(matches!(self.reading, Reading::Body(_)));
        Ok(())
    }

    fn read_head(&mut self, input: &[u8]) -> Result<usize, StatusCode> {
        let progress = self.check.feed(input);
        let is_whole = matches!(progress, Ok(Progress::Complete(..)));
        self.pulse.reads_head(self.check.is_by_oauth(), is_whole);
        let (used, next) = match progress? {
            Progress::Partial => (input.len(), Reading::Head { begun: true }),
            Progress::Complete(used, Framing::Length(length)) => (used, body_of(length)),
            Progress::Complete(used, Framing::Chunked) => {
                // Where a chunked body ends is for hyper to find; so no head may follow that nobody checks.
                self.pulse.make_last();
                (used, Reading::Rest)
            }
            Progress::Http2(used) => {
                self.pulse.speaks_http2();
                (used, Reading::Frames)
            }
        };
        self.reading = next;
        Ok(used)
    }

    /// Answers in hyper's place and ends the connection.
    fn refuse(&self, status: StatusCode, by_oauth: bool) -> io::Error {
        self.early.answer(self.socket(), status, by_oauth);
        io::Error::new(io::ErrorKind::InvalidData, "the head of the request was refused")
    }

    /// Ends the connection without a word: hyper may be in the middle of a frame.
    fn cut_off(&self) -> io::Error {
        let peer = self.socket().peer_addr().map(|address| address.ip().to_canonical()).ok();
        tracing::info!(
            peer = peer.map(tracing::field::display),
            "cut off: a flood of frames that ask for nothing"
        );
        io::Error::new(io::ErrorKind::InvalidData, "too many frames that ask for nothing")
    }

    /// hyper answers what it can't parse with a bare status line of its own: nobody else writes while the head is
    /// not yet a request.
    fn hypers_own_refusal(&self, output: &[u8]) -> Option<StatusCode> {
        if !self.pulse.is_in_head() || self.pulse.is_busy() {
            return None;
        }
        let status = output.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3))?;
        StatusCode::from_bytes(status).ok().filter(StatusCode::is_client_error)
    }

    fn written(&mut self, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        self.pulse.write_moves(*result.as_ref().unwrap_or(&0));
        if let (Reading::Frames, Ok(bytes)) = (self.reading, &result) {
            self.frames.went(*bytes);
        }
        Poll::Ready(result)
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(self.socket()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return self.written(result),
            }
            if self.socket().poll_write_ready(cx)?.is_pending() {
                self.pulse.write_waits();
                return Poll::Pending;
            }
        }
    }
}

const fn body_of(left: u64) -> Reading {
    if left == 0 { Reading::Head { begun: false } } else { Reading::Body(left) }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.incoming).poll_read(cx, buffer))?;
        match self.inspect(&buffer.filled()[before..]) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(Refusal::Head(status)) => Poll::Ready(Err(self.refuse(status, self.check.is_by_oauth()))),
            Err(Refusal::Flood) => Poll::Ready(Err(self.cut_off())),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, output: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(status) = self.hypers_own_refusal(output) {
            return Poll::Ready(Err(self.refuse(status, self.pulse.is_by_oauth())));
        }
        self.poll_write_with(cx, |socket| socket.try_write(output))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        output: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(status) = output.first().and_then(|first| self.hypers_own_refusal(first)) {
            return Poll::Ready(Err(self.refuse(status, self.pulse.is_by_oauth())));
        }
        self.poll_write_with(cx, |socket| socket.try_write_vectored(output))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task says goodbye on the socket itself, whatever way hyper ended.
        Poll::Ready(Ok(()))
    }
}
