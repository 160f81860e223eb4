//! A SQLite file that another program has locked: a backup tool, a curious person.

use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor, SqliteConnection};

use crate::gatehouse::Site;

#[tokio::test]
async fn a_write_waits_for_a_foreign_lock_and_a_read_does_not() {
    let site = Site::on(None);
    let server = site.start().await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");

    let mut foreign = lock(&site).await;
    let began = Instant::now();
    let unlocking = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        foreign.execute("ROLLBACK").await.unwrap();
    };
    let reading = async {
        assert_eq!(client.me(&token).await.unwrap().status, 200);
        assert!(began.elapsed() < Duration::from_secs(1), "a read has waited for {:?}", began.elapsed());
    };
    let (described, (), ()) = tokio::join!(client.describe("ann", &token, "patient"), reading, unlocking);
    let described = described.unwrap();
    assert_eq!((described.status, described.text("description").as_str()), (200, "patient"));
    assert!(began.elapsed() >= Duration::from_secs(2), "the write has waited");
    server.stop().await;
}

#[tokio::test]
async fn a_lock_that_stays_is_answered_503_and_forgotten_when_it_goes() {
    let site = Site::on(None);
    let server = site.start().await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");

    let mut foreign = lock(&site).await;
    let refused = client.describe("ann", &token, "too late").await.unwrap();
    assert_eq!(refused.text("code"), "unavailable", "{refused:?}");
    foreign.execute("ROLLBACK").await.unwrap();
    assert!(client.me(&token).await.unwrap().body["description"].is_null());
    assert_eq!(client.describe("ann", &token, "now").await.unwrap().status, 200);
    server.stop().await;
}

async fn lock(site: &Site) -> SqliteConnection {
    let file = site.data().join("gatehouse.db");
    let mut foreign = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    foreign.execute("BEGIN EXCLUSIVE").await.unwrap();
    foreign
}
