//! What stands before several instances, and gives each connection to the next of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::wire::spawn;

/// How often it looks who is ready.
const LOOKS: Duration = Duration::from_millis(100);

/// How it learns that an instance takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// By its readiness. Where a connection fails all the same, no other instance is tried.
    Asks,
    /// By a connection that is refused: the next instance gets it.
    Tries,
}

/// A proxy that carries bytes and knows nothing of what they mean.
pub struct Proxy {
    port: u16,
    behind: Arc<Behind>,
}

struct Behind {
    manner: Manner,
    places: Vec<Place>,
    turn: AtomicUsize,
    refused: AtomicUsize,
}

/// Where an instance is.
struct Place {
    port: AtomicU16,
    is_ready: AtomicBool,
    carried: AtomicUsize,
}

impl Proxy {
    /// A proxy before the instances on these ports, all of them ready.
    pub async fn before(ports: &[u16], manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let place = |port: &u16| Place {
            port: AtomicU16::new(*port),
            is_ready: AtomicBool::new(true),
            carried: AtomicUsize::new(0),
        };
        let places = ports.iter().map(place).collect();
        let (turn, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let behind = Arc::new(Behind { manner, places, turn, refused });
        let accepting = Arc::clone(&behind);
        spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let behind = Arc::clone(&accepting);
                spawn(async move { behind.carry(near).await });
            }
        });
        if manner == Manner::Asks {
            for at in 0..ports.len() {
                let behind = Arc::clone(&behind);
                spawn(async move { behind.places[at].look().await });
            }
        }
        Self { port, behind }
    }

    /// Where clients find it, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Puts another instance in the place of one that has gone.
    pub fn put(&self, at: usize, port: u16) {
        let place = &self.behind.places[at];
        place.is_ready.store(self.behind.manner == Manner::Tries, Ordering::SeqCst);
        place.port.store(port, Ordering::SeqCst);
    }

    /// Whether the instance in this place is given connections.
    pub fn uses(&self, at: usize) -> bool {
        self.behind.places[at].is_ready.load(Ordering::SeqCst)
    }

    /// How many connections each place was given.
    pub fn carried(&self) -> Vec<usize> {
        self.behind.places.iter().map(|place| place.carried.load(Ordering::SeqCst)).collect()
    }

    /// How many connections were refused.
    pub fn refused(&self) -> usize {
        self.behind.refused.load(Ordering::SeqCst)
    }
}

impl Behind {
    async fn carry(&self, mut near: TcpStream) {
        // Without anybody behind it the connection ends here, and its client has an error.
        let Some(mut far) = self.far().await else { return };
        if let Err(error) = copy(&mut near, &mut far).await {
            println!("a connection through the proxy broke: {error}");
        }
    }

    async fn far(&self) -> Option<TcpStream> {
        let first = self.turn.fetch_add(1, Ordering::SeqCst);
        for step in 0..self.places.len() {
            let place = &self.places[(first + step) % self.places.len()];
            if !place.is_ready.load(Ordering::SeqCst) {
                continue;
            }
            if let Ok(far) = TcpStream::connect(("127.0.0.1", place.port.load(Ordering::SeqCst))).await {
                place.carried.fetch_add(1, Ordering::SeqCst);
                return Some(far);
            }
            self.refused.fetch_add(1, Ordering::SeqCst);
            if self.manner == Manner::Asks {
                return None;
            }
        }
        None
    }
}

async fn copy(near: &mut TcpStream, far: &mut TcpStream) -> io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional(near, far).await.map(|_| ())
}

impl Place {
    /// Looks at the readiness of the instance that is there, for ever.
    async fn look(&self) {
        loop {
            let port = self.port.load(Ordering::SeqCst);
            let is_ready = Client::anew(port).readiness().await.is_ok_and(|(status, _)| status == 200);
            // Of one that was there before, nothing is to be learnt.
            if self.port.load(Ordering::SeqCst) == port {
                self.is_ready.store(is_ready, Ordering::SeqCst);
            }
            tokio::time::sleep(LOOKS).await;
        }
    }
}
