//! The limit of a change that somebody asks for over HTTP: the same statement behind bare poem.
//! `change ADDRESS DATABASE_URL CLIENTS`, then `PATCH /user/{uuid}`.

use limits::durable::Database;
use poem::http::StatusCode;
use poem::listener::TcpListener;
use poem::web::{Data, Json, Path};
use poem::{EndpointExt, Route, Server, handler, patch};
use serde::Deserialize;
use uuid::Uuid;

#[derive(Deserialize)]
struct Change {
    description: String,
}

#[handler]
async fn change(
    Path(id): Path<Uuid>,
    Json(change): Json<Change>,
    Data(database): Data<&Database>,
) -> poem::Result<StatusCode> {
    let changed = database.change(change.description, id).await;
    let broken =
        |error: anyhow::Error| poem::Error::from_string(error.to_string(), StatusCode::INTERNAL_SERVER_ERROR);
    changed.map(|()| StatusCode::NO_CONTENT).map_err(broken)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, url, clients] = arguments.as_slice() else {
        anyhow::bail!("usage: change ADDRESS DATABASE_URL CLIENTS");
    };
    let database = Database::open(url, clients.parse()?).await?;
    let app = Route::new().at("/user/:id", patch(change)).data(database);
    Ok(Server::new(TcpListener::bind(address.clone())).run(app).await?)
}
