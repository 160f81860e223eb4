//! The limit of an operation that answers a user: poem-openapi, 1 KB of JSON, nothing looked up. `openapi ADDRESS`

use poem::listener::TcpListener;
use poem::{Route, Server};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi, OpenApiService};

#[derive(Object)]
struct Change {
    time: i64,
    action: String,
    description: String,
    by: Option<String>,
}

#[derive(Object)]
struct User {
    uuid: String,
    username: String,
    display_name: String,
    email: Option<String>,
    email_verified: bool,
    first_name: Option<String>,
    last_name: Option<String>,
    middle_name: Option<String>,
    otp_method: String,
    roles: Vec<String>,
    description: Option<String>,
    created_at: i64,
    updated_at: i64,
    deleted_at: Option<i64>,
    is_external_only: bool,
    is_active: bool,
    user_history: Vec<Change>,
    blocked_uuids: Vec<String>,
    picture_url: Option<String>,
}

fn change(action: &str) -> Change {
    Change {
        time: 1_750_000_000,
        action: action.into(),
        description: "Signed in from a browser on the desk".into(),
        by: Some("01900000-0000-7000-8000-000000000001".into()),
    }
}

fn user() -> User {
    User {
        uuid: "01900000-0000-7000-8000-000000000001".into(),
        username: "user_0000001".into(),
        display_name: "User 0000001".into(),
        email: Some("user_0000001@example.test".into()),
        email_verified: true,
        first_name: Some("Ada".into()),
        last_name: Some("Lovelace".into()),
        middle_name: None,
        otp_method: "none".into(),
        roles: vec!["user".into()],
        description: Some("Somebody who was made up, so that there is somebody to read.".into()),
        created_at: 1_750_000_000,
        updated_at: 1_750_000_000,
        deleted_at: None,
        is_external_only: false,
        is_active: true,
        user_history: vec![change("registered"), change("signed_in"), change("renamed")],
        blocked_uuids: Vec::new(),
        picture_url: Some("http://localhost:8000/api/user/01900000-0000-7000-8000-000000000001/image".into()),
    }
}

struct Api;

#[OpenApi]
impl Api {
    #[oai(path = "/me", method = "get")]
    async fn me(&self) -> Json<User> {
        Json(user())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".into());
    let service = OpenApiService::new(Api, "Limit", "1");
    Ok(Server::new(TcpListener::bind(address)).run(Route::new().nest("/", service)).await?)
}
