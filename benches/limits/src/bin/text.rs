//! The limit of `GET /ping`: poem alone, a few letters of text. `text ADDRESS`

use poem::listener::TcpListener;
use poem::{Route, Server, get, handler};

#[handler]
fn ping() -> &'static str {
    "pong"
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".into());
    Ok(Server::new(TcpListener::bind(address)).run(Route::new().at("/ping", get(ping))).await?)
}
