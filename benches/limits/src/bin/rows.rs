//! The limit of reading users: one statement by sqlx behind bare poem, the row as JSON by serde.
//! `rows ADDRESS DATABASE_URL`, then `GET /user/{uuid}` and `GET /user` (the newest 100).

use poem::listener::TcpListener;
use poem::{EndpointExt, IntoEndpoint, Route, Server, get};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;

/// The same two handlers for each database: sqlx's types differ, nothing else does.
macro_rules! handlers {
    ($name:ident, $pool:ty) => {
        mod $name {
            use limits::User;
            use poem::error::{InternalServerError, NotFoundError};
            use poem::handler;
            use poem::web::{Data, Json, Path};
            use uuid::Uuid;

            #[handler]
            pub async fn one(Path(id): Path<Uuid>, Data(pool): Data<&$pool>) -> poem::Result<Json<User>> {
                let row = sqlx::query_as("SELECT * FROM users WHERE id = $1").bind(id).fetch_optional(pool).await;
                Ok(Json(row.map_err(InternalServerError)?.ok_or(NotFoundError)?))
            }

            #[handler]
            pub async fn list(Data(pool): Data<&$pool>) -> poem::Result<Json<Vec<User>>> {
                let sql = "SELECT * FROM users WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 100";
                Ok(Json(sqlx::query_as(sql).fetch_all(pool).await.map_err(InternalServerError)?))
            }
        }
    };
}

handlers!(sqlite, sqlx::SqlitePool);
handlers!(postgres, sqlx::PgPool);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(url)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: rows ADDRESS DATABASE_URL");
    };
    if url.starts_with("sqlite") {
        let pool =
            SqlitePoolOptions::new().max_connections(8).test_before_acquire(false).connect(&url).await?;
        let app = Route::new().at("/user/:id", get(sqlite::one)).at("/user", get(sqlite::list)).data(pool);
        serve(&address, app).await
    } else {
        let pool = PgPoolOptions::new().max_connections(16).test_before_acquire(false).connect(&url).await?;
        let app =
            Route::new().at("/user/:id", get(postgres::one)).at("/user", get(postgres::list)).data(pool);
        serve(&address, app).await
    }
}

async fn serve(address: &str, app: impl IntoEndpoint + 'static) -> anyhow::Result<()> {
    Ok(Server::new(TcpListener::bind(address.to_owned())).run(app).await?)
}
