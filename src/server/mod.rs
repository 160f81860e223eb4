//! The front: accept loop, limits, headers, documentation pages.
//!
//! [`Server`] speaks HTTP/1 and HTTP/2 with bounds on everything a client can make it hold; [`edge`] stands before
//! every handler and makes each answer, also of the framework, look like one of ours. poem's own server has no
//! deadline for heads, retries a failed accept at once and knows no cap, so it is not used.

mod about;
mod accept;
mod bounds;
mod connection;
mod document;
pub mod documentation;
mod early;
pub mod edge;
mod frames;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handed;
mod head;
mod line;
mod pulse;
mod root;
mod signals;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use poem::Endpoint;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use accept::{BackOff, connections_that_fit};
use bounds::Bounds;
use connection::{Shared, Streams};
pub use document::document;
use edge::Edge;
pub use root::{PONG, RootApi, shapes};
pub use signals::Stop;

/// What a client can make the server hold, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; fewer if the limit of open files asks for it. More wait in the kernel's queue.
    pub max_connections: usize,
    /// Streams at once on a connection of HTTP/2.
    pub max_streams: u32,
    /// Bytes of a head (request line and fields).
    pub max_head_bytes: usize,
    /// Bytes of a request's target.
    pub max_target_bytes: usize,
    /// The same where its query has a list, as of a thousand ids; the head may be longer by what that is more.
    pub max_list_bytes: usize,
    /// From the first byte of a head (or the connection's begin) to the head's end.
    pub head_timeout: Duration,
    /// Silence between two requests.
    pub keep_alive: Duration,
    /// How long a client may take none of its answer; each KiB that it takes buys it another second.
    pub write_timeout: Duration,
    /// How long a stop waits for what runs.
    pub shutdown_timeout: Duration,
    /// How long a stop leaves silent connections open, for requests that are on their way already.
    pub farewell: Duration,
}

impl Limits {
    /// The usual ones, with so long for a stop.
    #[must_use]
    pub fn stopping_within(shutdown_timeout: Duration) -> Self {
        Self { shutdown_timeout, ..Self::default() }
    }

    const fn bounds(&self) -> Bounds {
        Bounds { head: self.max_head_bytes, target: self.max_target_bytes, list: self.max_list_bytes }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_streams: 100,
            max_head_bytes: 16 * 1024,
            max_target_bytes: 8 * 1024,
            // `users_ids=`, an id and `&` are 47 bytes.
            max_list_bytes: 48 * 1024,
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_mins(1),
            write_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(20),
            farewell: Duration::from_millis(250),
        }
    }
}

/// A bound server: clients can connect, and are served from [`Server::serve`] on.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: Limits,
}

impl Server {
    /// Binds the address; port 0 takes a free one.
    pub fn bind(address: SocketAddr, limits: Limits) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { listener: socket.listen(1024)?, limits })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then finishes what runs, for at most the shutdown timeout. How many connections had to
    /// be cut off. What is refused before it is a request is answered as the edge would answer it.
    pub async fn serve<E: Endpoint + 'static>(self, edge: Edge<E>, stop: CancellationToken) -> usize {
        let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
        let patience = self.limits.write_timeout;
        let streams = Streams { tracker: connections.clone(), cut: cut.clone(), patience };
        let shared = Arc::new(Shared {
            early: Arc::new(edge.early()),
            endpoint: Arc::new(edge),
            limits: self.limits,
            http: connection::http(&self.limits, streams),
            stop: stop.clone(),
            cut,
        });
        let room = Arc::new(Semaphore::new(connections_that_fit(self.limits.max_connections)));
        let mut back_off = BackOff::default();
        let take_all = async {
            while let Ok(place) = Arc::clone(&room).acquire_owned().await {
                let socket = back_off.accept(&self.listener).await;
                start(&connections, &shared, socket, Some(place));
            }
        };
        stop.run_until_cancelled(take_all).await;
        waiting(self.listener).for_each(|socket| start(&connections, &shared, socket, None));
        finish(&connections, &shared).await
    }
}

/// Those whom the kernel has let in already; they would be reset when the listener closes. The kernel itself is asked:
/// tokio knows only of those that its driver has heard of by now.
fn waiting(listener: TcpListener) -> impl Iterator<Item = TcpStream> {
    let listener = listener.into_std();
    let next = move || {
        let (socket, _) = listener.as_ref().ok()?.accept().ok()?;
        socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket)).ok()
    };
    std::iter::from_fn(next)
}

fn start<E: Endpoint + 'static>(
    connections: &TaskTracker,
    shared: &Arc<Shared<E>>,
    socket: TcpStream,
    place: Option<OwnedSemaphorePermit>,
) {
    let shared = Arc::clone(shared);
    connections.spawn(async move {
        connection::serve(shared, socket).await;
        drop(place);
    });
}

async fn finish<E>(connections: &TaskTracker, shared: &Shared<E>) -> usize {
    connections.close();
    if tokio::time::timeout(shared.limits.shutdown_timeout, connections.wait()).await.is_ok() {
        return 0;
    }
    let left = connections.len();
    tracing::warn!(connections = left, "cut off: they did not finish in time");
    shared.cut.cancel();
    connections.wait().await;
    left
}
