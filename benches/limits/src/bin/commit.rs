//! The limit of a change: one statement, one durable transaction, from N clients at once.
//! `commit DATABASE_URL CLIENTS SECONDS USERS`

use std::str::FromStr;
use std::time::{Duration, Instant};

use limits::{Chance, id_of};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use tokio::task::JoinSet;

const CHANGE: &str = "UPDATE users SET description = $1, revision = revision + 1 WHERE id = $2";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, clients, seconds, users] = arguments.as_slice() else {
        anyhow::bail!("usage: commit DATABASE_URL CLIENTS SECONDS USERS");
    };
    let (clients, seconds, users) = (clients.parse()?, seconds.parse()?, users.parse()?);
    let database = Database::open(url, clients).await?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        tasks.spawn(change_until(start + Duration::from_secs(seconds), database.clone(), client, users));
    }
    let mut commits = 0;
    while let Some(done) = tasks.join_next().await {
        commits += done??;
    }
    let per_second = f64::from(commits) / start.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "clients": clients, "per_second": per_second }));
    Ok(())
}

async fn change_until(end: Instant, database: Database, client: u32, users: u64) -> anyhow::Result<u32> {
    let (mut chance, mut commits) = (Chance::new(client.into()), 0);
    while Instant::now() < end {
        let (text, id) = (format!("change {commits} of {client}"), id_of(chance.up_to(users)));
        let changed = match &database {
            Database::Sqlite(pool) => {
                sqlx::query(CHANGE).bind(text).bind(id).execute(pool).await?.rows_affected()
            }
            Database::Postgres(pool) => {
                sqlx::query(CHANGE).bind(text).bind(id).execute(pool).await?.rows_affected()
            }
        };
        anyhow::ensure!(changed == 1, "there is no user {id}");
        commits += 1;
    }
    Ok(commits)
}

#[derive(Clone)]
enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Database {
    /// As Gatehouse opens it: on disk before it is answered; one writing connection on SQLite.
    async fn open(url: &str, clients: u32) -> anyhow::Result<Self> {
        if !url.starts_with("sqlite") {
            let pool = PgPoolOptions::new().max_connections(clients).test_before_acquire(false);
            return Ok(Self::Postgres(pool.connect(url).await?));
        }
        let options = SqliteConnectOptions::from_str(url)?
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(60));
        Ok(Self::Sqlite(pool.test_before_acquire(false).connect_with(options).await?))
    }
}
