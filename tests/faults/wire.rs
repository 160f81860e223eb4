//! The wire between the program and its database, which can be made to carry nothing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// Carries bytes to a server and back, or holds them: connections stay open and say nothing, new ones are taken and
/// hear nothing, as behind a firewall that drops packets.
pub struct Wire {
    port: u16,
    carries: watch::Sender<bool>,
}

impl Wire {
    /// A wire to the server at this address.
    pub async fn to(server: &Url) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (carries, watched) = watch::channel(true);
        let address = (server.host_str().unwrap().to_owned(), server.port().unwrap_or(5432));
        spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                spawn(connect(near, address.clone(), watched.clone()));
            }
        });
        Self { port, carries }
    }

    /// Where it begins, on loopback.
    pub fn port(&self) -> u16 {
        self.port
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

#[expect(clippy::disallowed_methods, reason = "it ends with the test")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}
