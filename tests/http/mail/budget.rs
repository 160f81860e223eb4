//! nobody's mailbox can be filled by strangers.

use std::time::Duration;

use gatehouse::mail::Letter;
use gatehouse::platform::random::Random;
use gatehouse::sessions::OneTimeToken;

use super::smtp::SmtpServer;
use super::{code, idle, letter_to, notice, post, rows};
use crate::clock::set;
use crate::harness::{START, TestApp, race};

#[tokio::test]
async fn strangers_can_have_five_letters_sent_to_an_address_in_any_hour() {
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    let username = || "ann".to_owned();
    let token = || OneTimeToken::new(&Random::System).text();
    let verification = || Letter::Verification { username: username(), token: token(), hours: 24 };
    let reset = || Letter::Reset { username: username(), token: token(), minutes: 15 };
    let attempt = || Letter::SignUpAttempt { username: username() };
    // Of what somebody may need there is room when what they need less has none any more.
    for (minute, letter, sent) in [
        (0, attempt(), true),
        (10, verification(), true),
        (11, attempt(), false),
        (20, verification(), true),
        (30, reset(), true),
        (31, verification(), false),
        (40, reset(), true),
        (50, reset(), false),
        (59, attempt(), false),
    ] {
        app.clock.advance(Duration::from_mins(minute) - since(&app));
        assert_eq!(post(&app, letter_to("ann", letter)).await.is_some(), sent, "minute {minute}");
    }
    assert!(post(&app, letter_to("bob", code("1"))).await.is_some(), "each address has its own");
    assert!(
        post(&app, letter_to("ann", notice())).await.is_some(),
        "what the owner must know is not counted"
    );
    // The first is an hour old, the second not yet.
    app.clock.advance(Duration::from_hours(1) - since(&app));
    assert!(post(&app, letter_to("ann", reset())).await.is_some());
    assert!(post(&app, letter_to("ann", reset())).await.is_none());
    // Codes are asked for with a password: strangers can't use them up.
    assert!(post(&app, letter_to("ann", code("1"))).await.is_some());
}

// F-18
#[tokio::test]
async fn letters_that_were_counted_before_the_clock_was_set_back_hold_nobody_up() {
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    let fills_an_hour = async || {
        for number in 1..=5 {
            assert!(post(&app, letter_to("ann", code("1"))).await.is_some(), "letter {number}");
        }
        assert!(post(&app, letter_to("ann", code("1"))).await.is_none(), "the hour is full");
    };
    app.clock.advance(Duration::from_hours(24));
    fills_an_hour().await;
    set(&app, START);
    fills_an_hour().await;
}

fn since(app: &TestApp) -> Duration {
    app.clock.now().since(START)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_budget_holds_for_letters_of_the_same_moment() {
    let server = SmtpServer::start().await;
    let app = std::sync::Arc::new(idle(&server, &[]).await);
    let posted = race(20, |_| {
        let app = std::sync::Arc::clone(&app);
        Box::pin(async move { post(&app, letter_to("ann", code("1"))).await })
    });
    assert_eq!(posted.await.into_iter().flatten().count(), 5);
}

#[tokio::test]
async fn what_is_not_sent_leaves_rows_of_the_same_size() {
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    for _ in 0..6 {
        post(&app, letter_to("ann", code("1"))).await;
    }
    let mail = app.inside.mail.clone();
    app.inside.db.write(move |tx| Box::pin(async move { mail.pretend_in(tx).await })).await.unwrap();
    let lengths = async |state: &str| {
        let sql = format!("SELECT LENGTH(content) AS l FROM mails WHERE state = '{state}'");
        let rows = rows(&app, &sql).await;
        rows.iter()
            .map(|row| {
                row.try_get::<i64>("", "l").or_else(|_| row.try_get::<i32>("", "l").map(i64::from)).unwrap()
            })
            .collect::<Vec<i64>>()
    };
    let (real, made_up) = (lengths("waiting").await, lengths("nobody").await);
    assert_eq!((real.len(), made_up.len()), (5, 2));
    assert!((real[0] - made_up[0]).abs() < 200, "{real:?} {made_up:?}");
}

#[tokio::test]
async fn with_mail_off_nothing_is_ever_queued() {
    let app = TestApp::new().await;
    assert!(!app.inside.mail.is_on());
    assert_eq!(post(&app, letter_to("ann", notice())).await, None);
    let mail = app.inside.mail.clone();
    app.inside.db.write(move |tx| Box::pin(async move { mail.pretend_in(tx).await })).await.unwrap();
    assert_eq!(rows(&app, "SELECT id FROM mails").await.len(), 0);
}
