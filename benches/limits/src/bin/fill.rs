//! Fills a migrated database with made-up users, in one statement. `fill DATABASE_URL COUNT LIKE`
//!
//! User number n is called `user_` and n in seven digits and has an id in the same order; each signs in with the
//! password of the user named LIKE. Running it again with a higher count adds the missing ones.

use sqlx::{Connection, PgConnection, SqliteConnection};

const COLUMNS: &str = "id, username, display_name, search_name, email, email_verified, description, password_hash, \
                       roles, is_active, is_external_only, metadata, token_version, revision, created_at, updated_at";

/// What stands for the number `i` in both databases, given its id and its seven digits.
fn values(id: &str, digits: &str) -> String {
    format!(
        "{id}, 'user_' || {digits}, 'User ' || {digits}, 'user_' || {digits}, 'user_' || {digits} || '@example.test', \
         TRUE, 'Somebody who was made up, so that there is somebody to read: number ' || {digits}, \
         (SELECT password_hash FROM users WHERE username = $2), 8, TRUE, FALSE, '{{}}', 1, 1, \
         1750000000000 + i * 1000, 1750000000000 + i * 1000"
    )
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, count, like] = arguments.as_slice() else {
        anyhow::bail!("usage: fill DATABASE_URL COUNT LIKE");
    };
    let count: i64 = count.parse()?;
    if url.starts_with("sqlite") {
        let id = "unhex('01900000000070008000' || printf('%012x', i))";
        let sql = format!(
            "WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < $1) \
             INSERT OR IGNORE INTO users ({COLUMNS}) SELECT {} FROM numbers",
            values(id, "printf('%07d', i)")
        );
        let mut database = SqliteConnection::connect(url).await?;
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(count).bind(like).execute(&mut database).await?;
        // No ANALYZE: Gatehouse runs none, and with SQLite's samples statements are prepared anew for each value.
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut database).await?;
        return Ok(database.close().await?);
    }
    let id = "('01900000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid";
    let sql = format!(
        "INSERT INTO users ({COLUMNS}) SELECT {} FROM generate_series(1, $1) AS numbers (i) ON CONFLICT DO NOTHING",
        values(id, "to_char(i, 'FM0000000')")
    );
    let mut database = PgConnection::connect(url).await?;
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(count).bind(like).execute(&mut database).await?;
    sqlx::raw_sql("VACUUM ANALYZE users").execute(&mut database).await?;
    Ok(database.close().await?)
}
