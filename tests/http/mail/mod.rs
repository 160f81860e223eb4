//! Mail: from the act that causes it to the server that takes it.

mod budget;
mod delivery;
mod inbox;
mod letters;
mod mailjet;
#[path = "../../support/smtp.rs"]
pub mod smtp;
mod staff;
mod to_all;

use std::net::{IpAddr, Ipv4Addr};

use gatehouse::mail::{Languages, Letter, Occasion, Post};
use gatehouse::platform::clock::Timestamp;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Actor, START, TestApp, eventually};
use smtp::SmtpServer;

/// The program with mails sent by this server, and its background work begun.
async fn sending_to(server: &SmtpServer, more: &[(&str, &str)]) -> TestApp {
    let app = idle(server, more).await;
    app.inside.start_background();
    app
}

/// The same without background work: what is queued stays.
async fn idle(server: &SmtpServer, more: &[(&str, &str)]) -> TestApp {
    let settings = server.settings();
    let mut pairs: Vec<(&str, &str)> = settings.iter().map(|(name, text)| (&**name, &**text)).collect();
    for (name, text) in more {
        pairs.retain(|(present, _)| present != name);
        pairs.push((name, text));
    }
    TestApp::with(&pairs).await
}

/// A letter to somebody at `example.com` who is written to in English.
fn letter_to(name: &str, letter: Letter) -> Post {
    Post {
        to: format!("{name}@example.com"),
        user_id: None,
        languages: Languages::default(),
        letter,
        good_until: None,
        occasion: Occasion {
            ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
            at: START,
            trace_id: Some("traced".into()),
        },
    }
}

fn notice() -> Letter {
    Letter::PasswordChanged { username: "ann".into() }
}

fn code(code: &str) -> Letter {
    Letter::Code { username: "ann".into(), code: code.into(), minutes: 10 }
}

/// Posts a letter in a transaction of its own.
async fn post(app: &TestApp, post: Post) -> Option<Uuid> {
    let mail = app.inside.mail.clone();
    let posting = app.inside.db.write(move |tx| Box::pin(async move { mail.post_in(tx, post).await }));
    posting.await.unwrap()
}

/// What `/email/queue` shows.
async fn queue(admin: &Actor) -> Value {
    admin.get("/api/email/queue").await.is(200).json()
}

/// The mail of the queue, once it is in this state and was tried so often.
async fn settled(admin: &Actor, id: Uuid, state: &str, attempts: i64) -> Value {
    let find = async || {
        let queue = queue(admin).await;
        let mails = queue["mails"].as_array().unwrap().iter();
        mails.into_iter().find(|mail| mail["id"] == id.to_string()).cloned().unwrap_or_default()
    };
    eventually(
        || Box::pin(find()),
        |mail: &Value| mail["state"] == state && mail["attempts"] == attempts && is_booked(mail),
    )
    .await
}

/// Whether the try that was counted has also ended.
fn is_booked(mail: &Value) -> bool {
    mail["state"] != "waiting" || mail["next_try_at"].is_i64()
}

/// Rows of the database, for what nobody is shown.
async fn rows(app: &TestApp, sql: &str) -> Vec<QueryResult> {
    try_rows(app, sql).await.unwrap()
}

async fn try_rows(app: &TestApp, sql: &str) -> Result<Vec<QueryResult>, DbErr> {
    let reader = app.inside.db.reader();
    reader.query_all_raw(Statement::from_string(reader.get_database_backend(), sql)).await
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(START.seconds() + seconds)
}
