//! The limit of a download: poem's own endpoint of a file. `file ADDRESS FILE`

use poem::endpoint::StaticFileEndpoint;
use poem::listener::TcpListener;
use poem::{Route, Server};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    let file = arguments.next().ok_or_else(|| anyhow::anyhow!("which file?"))?;
    let routes = Route::new().at("/file", StaticFileEndpoint::new(file));
    Ok(Server::new(TcpListener::bind(address)).run(routes).await?)
}
