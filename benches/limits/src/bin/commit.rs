//! The limit of a change: one statement, one durable transaction, from N clients at once.
//! `commit DATABASE_URL CLIENTS SECONDS USERS`

use std::time::{Duration, Instant};

use limits::durable::Database;
use limits::{Chance, id_of};
use tokio::task::JoinSet;

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
        database.change(text, id).await?;
        commits += 1;
    }
    Ok(commits)
}
