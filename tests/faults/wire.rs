//! The wire between the program and its database or its broker, which can be cut, or made to carry nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// Carries bytes to a server and back, or holds them: connections stay open and say nothing, new ones are taken and
/// hear nothing, as behind a firewall that drops packets.
pub struct Wire {
    port: u16,
    is_there: Arc<AtomicBool>,
    carries: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
}

impl Wire {
    /// A wire to the server at this address.
    pub async fn to(server: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (carries, watched) = watch::channel(true);
        let (cuts, cut) = watch::channel(0);
        let is_there = Arc::new(AtomicBool::new(true));
        let takes = Arc::clone(&is_there);
        let address = (server.host_str().unwrap().to_owned(), server.port().unwrap_or(5432));
        spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if !takes.load(Ordering::SeqCst) {
                    continue; // dropped, it is closed without a word
                }
                let (connected, mut cut) = (connect(near, address.clone(), watched.clone()), cut.clone());
                cut.mark_unchanged();
                spawn(async move {
                    tokio::select! {
                        () = connected => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { port, is_there, carries, cuts }
    }

    /// Where it begins, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection there is; new ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on there is nobody at its end: what is open is cut, and what is opened is closed at once. Or somebody again.
    pub fn end(&self, is_there: bool) {
        self.is_there.store(is_there, Ordering::SeqCst);
        if !is_there {
            self.cut();
        }
    }

    /// Whether there is somebody at its end.
    pub fn is_there(&self) -> bool {
        self.is_there.load(Ordering::SeqCst)
    }

    /// Carries nothing from now on.
    pub fn hold(&self) {
        self.carries.send_replace(false);
    }

    /// Carries again, also what was held.
    pub fn carry(&self) {
        self.carries.send_replace(true);
    }
}

async fn connect(near: TcpStream, address: (String, u16), mut carries: watch::Receiver<bool>) {
    if carries.wait_for(|carries| *carries).await.is_ok()
        && let Ok(far) = TcpStream::connect(address).await
    {
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::join!(carry(near_in, far_out, carries.clone()), carry(far_in, near_out, carries));
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut carries: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(size @ 1..) = from.read(&mut bytes).await {
        if carries.wait_for(|carries| *carries).await.is_err() || to.write_all(&bytes[..size]).await.is_err()
        {
            return;
        }
    }
}

/// Does it beside the test.
#[expect(clippy::disallowed_methods, reason = "it ends with the test")]
pub fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}
