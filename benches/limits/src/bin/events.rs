//! Fills the outbox of a migrated database, and reads from it how fast it was emptied.
//!
//! `events DATABASE_URL fill COUNT`: so many events of the first thousand made-up users (`fill`), none of them published.
//! `events DATABASE_URL drained SINCE`: how many are left; and how many were published for each second from the first
//! publication since then, in milliseconds of Unix time, to the last. `events DATABASE_URL lag SINCE`: of those written since
//! then, the 99th percentile of the time between writing and publishing, in milliseconds.

use anyhow::Context;
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

const USERS: i64 = 1000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    install_default_drivers();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [url, act, more @ ..] = words.as_slice() else {
        anyhow::bail!("usage: events DATABASE_URL fill COUNT | drained SINCE | lag SINCE");
    };
    let mut database = AnyConnection::connect(url).await?;
    match (*act, more) {
        ("fill", [count]) => fill(&mut database, url.starts_with("sqlite"), count.parse()?).await?,
        ("drained", [since]) => println!("{}", drained(&mut database, since.parse()?).await?),
        ("lag", [since]) => println!("{}", lag(&mut database, since.parse()?).await?),
        _ => anyhow::bail!("fill COUNT, drained SINCE, lag SINCE: not {act}"),
    }
    Ok(database.close().await?)
}

/// In one statement, which is fast enough for a million.
async fn fill(database: &mut AnyConnection, sqlite: bool, count: i64) -> anyhow::Result<()> {
    let (numbers, id, user) = if sqlite {
        (
            format!(
                "WITH RECURSIVE numbers (i) AS \
                 (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < {count} - 1)"
            ),
            "unhex('01900000000070008001' || printf('%012x', i))",
            format!("unhex('01900000000070008000' || printf('%012x', 1 + i % {USERS}))"),
        )
    } else {
        (
            format!("WITH numbers (i) AS (SELECT generate_series(0::bigint, {count} - 1))"),
            "('01900000-0000-7000-8001-' || lpad(to_hex(i), 12, '0'))::uuid",
            format!("('01900000-0000-7000-8000-' || lpad(to_hex(1 + i % {USERS}), 12, '0'))::uuid"),
        )
    };
    let sql = format!(
        "{numbers} INSERT INTO events (id, user_id, sequence, event_type, payload, trace_id, created_at) \
         SELECT {id}, {user}, (SELECT event_sequence FROM users WHERE id = {user}) + 1 + i / {USERS}, \
         'user.updated', '{{}}', 'bench', 1750000000000 + i FROM numbers"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *database).await?;
    let counted = "UPDATE users SET event_sequence = (SELECT COALESCE(MAX(sequence), 0) FROM events WHERE user_id = users.id) \
         WHERE id IN (SELECT user_id FROM events)";
    sqlx::raw_sql(counted).execute(database).await?;
    Ok(())
}

async fn drained(database: &mut AnyConnection, since: i64) -> anyhow::Result<String> {
    // What was published before stood in the way of nobody, and the pause since would count.
    let sql = format!(
        "SELECT COUNT(*) - COUNT(published_at), COUNT(published_at), \
         COALESCE(MAX(published_at) - MIN(published_at), 0) \
         FROM events WHERE published_at IS NULL OR published_at >= {since}"
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(database).await?;
    let (left, published, milliseconds): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let second = published * 1000 / milliseconds.max(1);
    Ok(format!("{{\"left\":{left},\"published\":{published},\"per_second\":{second}}}"))
}

async fn lag(database: &mut AnyConnection, since: i64) -> anyhow::Result<String> {
    let sql = format!(
        "SELECT published_at - created_at FROM events WHERE created_at >= {since} AND published_at IS NOT NULL ORDER BY 1"
    );
    let lags: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *database).await?;
    let sql = format!("SELECT COUNT(*) FROM events WHERE created_at >= {since} AND published_at IS NULL");
    let left: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(database).await?;
    let p99 = lags.get(lags.len().saturating_sub(1) * 99 / 100).context("nothing was published")?;
    Ok(format!("{{\"published\":{},\"left\":{left},\"p99_ms\":{p99}}}", lags.len()))
}
