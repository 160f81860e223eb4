//! The life of one connection, from its first byte to the goodbye.

use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, Request, Response, StatusCode, Version, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Limits;
use super::early::Early;
use super::handed::{Handed, PIECE, while_taken};
use super::line::Line;
use super::pulse::{Pulse, State};

/// How long a goodbye waits for the client to close, and how many bytes it takes in the meantime: a socket closed
/// over unread bytes is reset, and a reset destroys the answer on its way.
const GOODBYE: Duration = Duration::from_secs(1);
const GOODBYE_BYTES: usize = 1 << 20;
/// How long the streams of HTTP/2 have after GOAWAY when the connection was idle.
const GOAWAY: Duration = Duration::from_secs(5);

/// What all connections of a server share.
pub(super) struct Shared<E> {
    pub(super) endpoint: Arc<E>,
    pub(super) limits: Limits,
    pub(super) early: Arc<Early>,
    pub(super) http: auto::Builder<Streams>,
    /// Finish what runs, take nothing new.
    pub(super) stop: CancellationToken,
    /// End now.
    pub(super) cut: CancellationToken,
}

/// Runs the streams of HTTP/2 where a stop can wait for them and cut them off, each for as long as its client takes what
/// it is given.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) tracker: TaskTracker,
    pub(super) cut: CancellationToken,
    pub(super) patience: Duration,
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (cut, stream) = (self.cut.clone(), while_taken(stream, self.patience));
        self.tracker.spawn(async move { cut.run_until_cancelled(stream).await });
    }
}

/// The settings of hyper. Its own timer for heads stays off: the watch below does the same without arming a timer
/// for each request.
pub(super) fn http(limits: &Limits, streams: Streams) -> auto::Builder<Streams> {
    let mut http = auto::Builder::new(streams);
    http.http1().header_read_timeout(None).half_close(false);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.bounds().largest()).unwrap_or(16_384))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(128)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    http
}

/// Serves one connection until it ends.
pub(super) async fn serve<E: Endpoint + 'static>(shared: Arc<Shared<E>>, socket: TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let (incoming, outgoing) = socket.into_split();
    let outgoing = Arc::new(outgoing);
    let cut = shared.cut.clone();
    cut.run_until_cancelled(async {
        speak(&shared, incoming, &outgoing).await;
        say_goodbye((*outgoing).as_ref()).await;
    })
    .await;
}

/// HTTP, until one of the two has enough.
async fn speak<E: Endpoint + 'static>(
    shared: &Arc<Shared<E>>,
    incoming: OwnedReadHalf,
    outgoing: &Arc<OwnedWriteHalf>,
) {
    let socket: &TcpStream = (**outgoing).as_ref();
    let pulse = Arc::new(Pulse::new(shared.limits));
    let (watched, early) = (Arc::clone(&pulse), Arc::clone(&shared.early));
    let line = Line::new(incoming, Arc::clone(outgoing), watched, early, &shared.limits);
    let service = service_fn({
        let (shared, pulse) = (Arc::clone(shared), Arc::clone(&pulse));
        let (local, remote) = addresses(socket);
        move |request| {
            let request = (request, local.clone(), remote.clone(), Scheme::HTTP);
            answer(Arc::clone(&shared), request, Flight::begin(&pulse))
        }
    });
    let mut http = pin!(shared.http.serve_connection(TokioIo::new(line), service));
    let (mut look_again, mut stopping, mut leaving) = (Instant::now(), false, false);
    loop {
        tokio::select! {
            biased;
            ended = http.as_mut() => {
                return ended.unwrap_or_else(|error| tracing::debug!(error, "a connection ended early"));
            }
            () = shared.stop.cancelled(), if !stopping => {
                stopping = true;
                if pulse.is_busy() || pulse.is_http2() { http.as_mut().graceful_shutdown() } else { pulse.farewell() }
                look_again = Instant::now();
            }
            () = tokio::time::sleep_until(look_again) => match pulse.state() {
                State::Fine(until) => look_again = until,
                State::Idle if !leaving => {
                    leaving = true;
                    http.as_mut().graceful_shutdown();
                    look_again = Instant::now() + GOAWAY;
                }
                State::SlowHead => {
                    return shared.early.answer(socket, StatusCode::REQUEST_TIMEOUT, pulse.is_by_oauth());
                }
                State::Idle | State::Stalled => return,
            },
        }
    }
}

fn addresses(socket: &TcpStream) -> (LocalAddr, RemoteAddr) {
    let known = |address: io::Result<SocketAddr>| address.map(Addr::from).unwrap_or_default();
    (LocalAddr(known(socket.local_addr())), RemoteAddr(known(socket.peer_addr())))
}

type Arrival = (Request<Incoming>, LocalAddr, RemoteAddr, Scheme);
type PoemBody = BoxBody<Bytes, io::Error>;

async fn answer<E: Endpoint>(
    shared: Arc<Shared<E>>,
    request: Arrival,
    flight: Flight,
) -> Result<Response<Tracked>, Infallible> {
    let weighed = match request.0.version() {
        Version::HTTP_2 => shared.limits.bounds().weigh(&request.0),
        _ => Ok(()),
    };
    let response = match weighed {
        Ok(()) => shared.endpoint.get_response(request.into()).await,
        Err(status) => shared.early.response(status, &request.0),
    };
    let mut response: Response<PoemBody> = response.into();
    if flight.0.is_last() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Tracked { body, rest: Bytes::new(), handed: Handed::here(), _flight: flight }))
}

/// A request that runs, until its answer is written or nobody wants it any more.
struct Flight(Arc<Pulse>);

impl Flight {
    fn begin(pulse: &Arc<Pulse>) -> Self {
        pulse.request_begins();
        Self(Arc::clone(pulse))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// An answer's body, which ends its flight when hyper has taken all of it.
struct Tracked {
    body: PoemBody,
    /// What the body gave that was not yet handed on.
    rest: Bytes,
    handed: Option<Arc<Handed>>,
    _flight: Flight,
}

impl Tracked {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    /// The next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.rest.is_empty() {
            match ready!(self.poll_body(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(handed) = self.handed.clone() else { return self.poll_body(cx) };
        handed.is_taken();
        let piece = ready!(self.poll_piece(cx));
        handed.is_given();
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

/// Ends our side and waits a little for the other.
async fn say_goodbye(socket: &TcpStream) {
    if socket2::SockRef::from(socket).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let mut bin = vec![0; 8 * 1024];
    let drained = async {
        let mut taken = 0;
        while taken < GOODBYE_BYTES && socket.readable().await.is_ok() {
            match socket.try_read(&mut bin) {
                Ok(0) => return,
                Ok(bytes) => taken += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_reset) => return,
            }
        }
    };
    if tokio::time::timeout(GOODBYE, drained).await.is_err() {
        tracing::trace!("the other side did not say goodbye");
    }
}
