//! A SQLite file that another program has locked: a backup tool, a curious person.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use reqwest::Method;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor, SqliteConnection};

use crate::gatehouse::Site;
use crate::waiting::{SOON, until_true};

#[tokio::test]
async fn a_write_waits_for_a_foreign_lock_and_a_read_does_not() {
    let site = Site::on(None);
    let server = site.start().await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");

    let mut foreign = lock(&site).await;
    let unlocked = Cell::new(false);
    let describing = async {
        let described = client.describe("ann", &token, "patient").await.unwrap();
        assert!(unlocked.get(), "the write has not waited: {described:?}");
        described
    };
    let others = async {
        // The lock is there until this is answered.
        assert_eq!(client.me(&token).await.unwrap().status, 200);
        // Long enough for the write to have begun, and well before it is given up.
        tokio::time::sleep(Duration::from_secs(1)).await;
        unlocked.set(true);
        foreign.execute("ROLLBACK").await.unwrap();
    };
    let (described, ()) = tokio::join!(describing, others);
    assert_eq!((described.status, described.text("description").as_str()), (200, "patient"));
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

#[tokio::test]
async fn an_edit_of_the_flags_waits_for_a_foreign_lock_and_the_log_tells_it_once_for_each_try() {
    let site = Site::on(None);
    let server = site.start().await;
    let told = |words: &str| server.output().matches(words).count();

    let mut foreign = lock(&site).await;
    fs::write(site.data().join("feature_flags.json"), r#"{"REGISTER": false}"#).unwrap();
    until_true("it waits", SOON, async || told("an edit of the flags waits for the database") > 0).await;
    // All that the first try had to say is in the log by then.
    until_true("it tries again", SOON, async || told("an edit of the flags waits for the database") > 1)
        .await;
    assert_eq!(told("a needed part is not available"), 0, "{}", server.output());
    foreign.execute("ROLLBACK").await.unwrap();

    let client = server.client();
    until_true("it counts", SOON, async || {
        client.ask(Method::GET, "/flags", "", None).await.unwrap().body["REGISTER"] == false
    })
    .await;
    server.stop().await;
}

async fn lock(site: &Site) -> SqliteConnection {
    let file = site.data().join("gatehouse.db");
    let mut foreign = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    foreign.execute("BEGIN EXCLUSIVE").await.unwrap();
    foreign
}
