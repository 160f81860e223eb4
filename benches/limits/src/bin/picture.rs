//! The limit of a drawn picture: poem alone, the same bytes and the same tag. `picture ADDRESS FILE`

use std::sync::Arc;

use bytes::Bytes;
use poem::http::{StatusCode, header};
use poem::listener::TcpListener;
use poem::web::Data;
use poem::{EndpointExt, Request, Response, Route, Server, get, handler};

const TAG: &str = "\"AAAAAAAAAAAAAAAAAAAAAA\"";

#[handler]
fn picture(request: &Request, file: Data<&Arc<Bytes>>) -> Response {
    let response = Response::builder().header(header::ETAG, TAG);
    if request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known == TAG) {
        return response.status(StatusCode::NOT_MODIFIED).finish();
    }
    response.content_type("image/png").body(Bytes::clone(&file))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    let file = arguments.next().ok_or_else(|| anyhow::anyhow!("which file?"))?;
    let file = Arc::new(Bytes::from(std::fs::read(file)?));
    let routes = Route::new().at("/image", get(picture)).data(file);
    Ok(Server::new(TcpListener::bind(address)).run(routes).await?)
}
