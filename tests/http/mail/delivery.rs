//! Handing mails over: each arrives, whatever the server does, and none arrives when it no longer should.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::smtp::{Authority, Manner, SmtpServer, Tls};
use super::{code, idle, later, letter_to, notice, post, queue, rows, sending_to, settled};
use crate::clock::set;
use crate::harness::{START, eventually};

// T-13: one RCPT, equal to the stored address.
#[tokio::test]
async fn a_mail_has_one_recipient_which_is_the_address_as_it_is_stored() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    for (given, stored) in [
        ("Ann+News@EXAMPLE.com", "ann+news@example.com"),
        ("o'neil@bücher.example", "o'neil@xn--bcher-kva.example"),
    ] {
        let path = crate::harness::with_query("/api/email/send-test-email", &[("recipient", given)]);
        let ids = admin.post(&path).await.is(202).json()["ids"].clone();
        let mail = server.next().await;
        // The connection is put back before the mail is booked; the next mail must not come before that.
        settled(&admin, ids[0].as_str().unwrap().parse().unwrap(), "sent", 1).await;
        assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("gate@example.com", &[stored.to_owned()][..]));
        assert_eq!(mail.header("to"), stored);
        assert_eq!(mail.header("message-id"), format!("<{}@example.com>", ids[0].as_str().unwrap()));
        assert_eq!(mail.header("auto-submitted"), "auto-generated");
        assert_eq!(mail.header("from"), "Gatehouse <gate@example.com>");
    }
    assert_eq!(server.connections(), 1, "connections are used again");
}

#[tokio::test]
async fn a_mail_is_sent_when_its_act_is_committed_and_only_then() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let mail = app.inside.mail.clone();
    let undone = app.inside.db.write(move |tx| {
        Box::pin(async move {
            mail.post_in(tx, letter_to("undone", notice())).await?;
            Err::<(), _>(sea_orm::DbErr::Custom("the act failed".into()))
        })
    });
    undone.await.unwrap_err();
    post(&app, letter_to("ann", notice())).await.unwrap();
    assert_eq!(server.next().await.to, ["ann@example.com"]);
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn a_recipient_refused_for_now_is_tried_again_with_growing_pauses() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    server.behave(Manner::RefuseRecipient(450));
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    let mut now = 0;
    for (attempt, longest) in [(1, 30), (2, 60), (3, 120), (4, 240)] {
        server.refusal().await;
        let mail = settled(&admin, id, "waiting", attempt).await;
        let pause = mail["next_try_at"].as_i64().unwrap() - later(now).seconds();
        assert!((longest * 3 / 4 - 1..=longest).contains(&pause), "try {attempt}: {pause}");
        assert!(mail["last_error"].as_str().unwrap().contains("RCPT TO: transient error (450)"), "{mail}");
        app.clock.advance(Duration::from_secs(longest.unsigned_abs()));
        now += longest;
        if attempt == 4 {
            server.behave(Manner::Accept);
        }
        app.inside.mail.wake();
    }
    assert_eq!(server.next().await.to, ["ann@example.com"]);
    settled(&admin, id, "sent", 5).await;
    assert!(server.rest().is_empty());
}

// F-18
#[tokio::test]
async fn a_mail_that_was_put_off_before_the_clock_was_set_back_does_not_wait_for_it() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    app.clock.advance(Duration::from_hours(24));
    server.behave(Manner::RefuseRecipient(450));
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    settled(&app.admin().await, id, "waiting", 1).await;
    server.behave(Manner::Accept);
    set(&app, START);
    app.inside.mail.wake();
    assert_eq!(server.next().await.to, ["ann@example.com"]);
    settled(&app.admin().await, id, "sent", 2).await;
    assert!(server.rest().is_empty());
}

// F-18
#[tokio::test]
async fn what_somebody_who_died_had_in_hand_before_the_clock_was_set_back_is_sent() {
    let mut server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    let until = START.after(Duration::from_hours(24)).millis();
    let taken = app.inside.db.write::<_, sea_orm::DbErr, _>(move |tx| {
        let sql = "UPDATE mails SET lease = $1, due_at = $2, attempts = 1 WHERE id = $3";
        Box::pin(tx.run(sql, [uuid::Uuid::new_v4().into(), until.into(), id.into()]))
    });
    assert_eq!(taken.await.unwrap(), 1);
    app.inside.start_background();
    assert_eq!(server.next().await.to, ["ann@example.com"]);
    settled(&app.admin().await, id, "sent", 2).await;
}

#[tokio::test]
async fn a_mail_is_given_up_after_a_day_and_ten_tries_and_that_is_seen() {
    let server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    server.behave(Manner::RefuseRecipient(450));
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    settled(&app.admin().await, id, "waiting", 1).await;
    app.clock.advance(Duration::from_hours(24));
    // As if everything had stood still for the day: the mail is tried as often as any other.
    for attempt in 2..=9 {
        app.inside.mail.wake();
        // The admin's session has ended by now.
        settled(&app.admin().await, id, "waiting", attempt).await;
        app.clock.advance(Duration::from_mins(30));
    }
    app.inside.mail.wake();
    let admin = app.admin().await;
    settled(&admin, id, "dead", 10).await;
    assert_eq!(queue(&admin).await["counts"], json!({"waiting": 0, "sent": 0, "expired": 0, "dead": 1}));
}

#[tokio::test]
async fn a_recipient_refused_for_good_ends_the_mail_at_once() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    server.behave(Manner::RefuseRecipient(550));
    let id = post(&app, letter_to("nobody", notice())).await.unwrap();
    let mail = settled(&admin, id, "dead", 1).await;
    assert!(mail["last_error"].as_str().unwrap().contains("550"), "{mail}");
    server.behave(Manner::Accept);
    post(&app, letter_to("ann", notice())).await.unwrap();
    assert_eq!(server.next().await.to, ["ann@example.com"], "the next goes on as if nothing had been");
}

#[tokio::test]
async fn what_a_server_repeats_of_a_content_is_not_kept() {
    let server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    server.behave(Manner::RefuseContent(554));
    let path = "/api/email/send-reset-password-email?recipient=ann@example.com";
    let id = admin.post(path).await.is(202).json()["ids"][0].as_str().unwrap().parse().unwrap();
    let mail = settled(&admin, id, "dead", 1).await;
    assert_eq!(mail["last_error"], "the content: 554");
}

#[tokio::test]
async fn a_wrong_password_for_the_server_ends_no_mail() {
    let mut server = SmtpServer::start().await;
    let more = [("SMTP_USER", "gate"), ("SMTP_PASSWORD", "smtp-password")];
    let app = sending_to(&server, &more).await;
    let admin = app.admin().await;
    server.behave(Manner::RefusePassword);
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    let mail = settled(&admin, id, "waiting", 1).await;
    assert!(mail["last_error"].as_str().unwrap().starts_with("signing in:"), "{mail}");
    server.behave(Manner::Accept);
    app.clock.advance(Duration::from_secs(30));
    app.inside.mail.wake();
    assert_eq!(server.next().await.to, ["ann@example.com"]);
    assert_eq!(server.passwords(), ["\0gate\0smtp-password"]);
}

// F-16: down for the whole time, then everything arrives, once.
#[tokio::test]
async fn while_the_server_is_down_mails_wait_and_nobody_notices() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    server.go_down();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(post(&app, letter_to(&format!("user{number}"), notice())).await.unwrap());
    }
    for id in &ids {
        settled(&admin, *id, "waiting", 1).await;
    }
    server.come_back().await;
    app.clock.advance(Duration::from_secs(30));
    app.inside.mail.wake();
    let mut reached = Vec::new();
    for _ in &ids {
        reached.extend(server.next().await.to);
    }
    reached.sort();
    reached.dedup();
    assert_eq!(reached.len(), ids.len());
    for id in ids {
        settled(&admin, id, "sent", 2).await;
    }
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[("EMAIL_TIMEOUT_SECONDS", "1")]).await;
    let admin = app.admin().await;
    server.behave(Manner::Hang);
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    let mail = settled(&admin, id, "waiting", 1).await;
    assert!(mail["last_error"].as_str().unwrap().contains("longer than 1 s"), "{mail}");
    server.behave(Manner::Accept);
    // That second may be too short for a busy machine, too; then it is tried again.
    for _ in 0..20 {
        app.clock.advance(Duration::from_mins(31));
        app.inside.mail.wake();
        if let Ok(mail) = tokio::time::timeout(Duration::from_secs(3), server.next()).await {
            assert_eq!(mail.to, ["ann@example.com"]);
            return;
        }
    }
    panic!("it is not tried again");
}

#[tokio::test]
async fn a_connection_lost_after_the_content_repeats_the_mail_once_under_the_same_id() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    server.behave(Manner::DropAfterContent);
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    let first = server.next().await;
    settled(&admin, id, "waiting", 1).await;
    app.clock.advance(Duration::from_secs(30));
    app.inside.mail.wake();
    let second = server.next().await;
    assert_eq!(first.header("message-id"), second.header("message-id"));
    settled(&admin, id, "sent", 2).await;
    assert!(server.rest().is_empty());
}

// A crash between hand-over and bookkeeping.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_in_the_middle_repeats_at_most_what_each_slot_had_in_hand() {
    let mut server = SmtpServer::start().await;
    let app = Arc::new(idle(&server, &[]).await);
    server.behave(Manner::HangAfterContent);
    for number in 0..10 {
        post(&app, letter_to(&format!("user{number}"), notice())).await.unwrap();
    }
    let (crash, crashing) = oneshot::channel::<()>();
    let (same, doomed) = (Arc::clone(&app), Runtime::new().unwrap());
    let crashed = std::thread::spawn(move || {
        let instance = doomed.block_on(async {
            let instance = same.second_instance().await;
            instance.inside.start_background();
            crashing.await.unwrap();
            instance
        });
        doomed.shutdown_background();
        std::mem::forget(instance);
    });
    let mut in_hand = Vec::new();
    for _ in 0..4 {
        in_hand.push(server.next().await.header("message-id").to_owned());
    }
    crash.send(()).unwrap();
    tokio::task::spawn_blocking(move || crashed.join().unwrap()).await.unwrap();
    assert!(server.rest().is_empty(), "no more than the slots hold");

    server.behave(Manner::Accept);
    app.inside.start_background();
    let mut sent = Vec::new();
    for _ in 0..6 {
        sent.push(server.next().await.header("message-id").to_owned());
    }
    assert!(sent.iter().all(|id| !in_hand.contains(id)), "what was in hand is leased");
    app.clock.advance(Duration::from_mins(3));
    app.inside.mail.wake();
    for _ in 0..4 {
        let id = server.next().await.header("message-id").to_owned();
        assert!(in_hand.contains(&id), "what was in hand comes again, under its id");
    }
    let admin = app.admin().await;
    eventually(
        || Box::pin(queue(&admin)),
        |queue| queue["counts"] == json!({"waiting": 0, "sent": 10, "expired": 0, "dead": 0}),
    )
    .await;
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn a_stop_waits_for_what_is_being_handed_over() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    post(&app, letter_to("ann", notice())).await.unwrap();
    server.next().await;
    assert!(app.inside.tasks.close(Duration::from_secs(30)).await);
    let states = rows(&app, "SELECT state FROM mails").await;
    assert_eq!(states[0].try_get_by_index::<String>(0).unwrap(), "sent");
}

#[tokio::test]
async fn instances_share_the_work_and_send_nothing_twice() {
    let mut server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    for number in 0..40 {
        post(&app, letter_to(&format!("user{number}"), notice())).await.unwrap();
    }
    let others = [app.second_instance().await, app.second_instance().await];
    for instance in others.iter().chain([&app]) {
        instance.inside.start_background();
    }
    let mut reached = Vec::new();
    for _ in 0..40 {
        reached.extend(server.next().await.to);
    }
    reached.sort();
    reached.dedup();
    assert_eq!(reached.len(), 40);
    let admin = app.admin().await;
    eventually(|| Box::pin(queue(&admin)), |queue| queue["counts"]["sent"] == 40).await;
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn an_instance_sends_what_another_has_queued() {
    let mut server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    let other = app.second_instance().await;
    other.inside.start_background();
    post(&app, letter_to("ann", notice())).await.unwrap();
    assert_eq!(server.next().await.to, ["ann@example.com"]);
}

#[tokio::test]
async fn a_code_that_has_expired_is_not_sent_late() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    server.go_down();
    let mut late = letter_to("ann", code("11112222"));
    late.good_until = Some(later(600));
    let late = post(&app, late).await.unwrap();
    let kept = post(&app, letter_to("ann", notice())).await.unwrap();
    settled(&admin, late, "waiting", 1).await;
    settled(&admin, kept, "waiting", 1).await;
    // First it is back: whatever is due is tried at any moment.
    server.come_back().await;
    app.clock.advance(Duration::from_mins(10));
    app.inside.mail.wake();
    settled(&admin, late, "expired", 2).await;
    settled(&admin, kept, "sent", 2).await;
    assert!(!server.next().await.text().contains("11112222"));
    assert!(server.rest().is_empty());
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_keeps_mails_here() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let file = authority.file(folder.path());
    for tls in [Tls::Offered, Tls::Implicit] {
        let way = if tls == Tls::Offered { "starttls" } else { "implicit" };
        for (issuer, name) in [(&stranger, "localhost"), (&authority, "elsewhere.example")] {
            let mut server = SmtpServer::with(tls, Some((issuer, name))).await;
            let more =
                [("SMTP_TLS", way), ("SMTP_HOST", "localhost"), ("SMTP_CA_FILE", file.to_str().unwrap())];
            let app = sending_to(&server, &more).await;
            let id = post(&app, letter_to("ann", notice())).await.unwrap();
            server.refusal().await;
            let mail = settled(&app.admin().await, id, "waiting", 1).await;
            assert!(mail["last_error"].as_str().unwrap().contains("certificate"), "{way}, {name}: {mail}");
            assert!(server.rest().is_empty() && server.passwords().is_empty());
        }
    }
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_good() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let file = authority.file(folder.path());
    for (tls, way) in [(Tls::Offered, "starttls"), (Tls::Offered, "True"), (Tls::Implicit, "implicit")] {
        let mut server = SmtpServer::with(tls, Some((&authority, "localhost"))).await;
        let more = [
            ("SMTP_TLS", way),
            ("SMTP_HOST", "localhost"),
            ("SMTP_CA_FILE", file.to_str().unwrap()),
            ("SMTP_USER", "gate"),
            ("SMTP_PASSWORD", "smtp-password"),
        ];
        let app = sending_to(&server, &more).await;
        post(&app, letter_to("ann", notice())).await.unwrap();
        assert_eq!(server.next().await.to, ["ann@example.com"], "{way}");
        assert_eq!(server.passwords(), ["\0gate\0smtp-password"], "{way}");
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_neither_password_nor_mail() {
    let mut server = SmtpServer::start().await;
    let more = [("SMTP_TLS", "starttls"), ("SMTP_USER", "gate"), ("SMTP_PASSWORD", "smtp-password")];
    let app = sending_to(&server, &more).await;
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    let mail = settled(&app.admin().await, id, "waiting", 1).await;
    assert!(mail["last_error"].as_str().unwrap().contains("STARTTLS"), "{mail}");
    assert!(server.rest().is_empty() && server.passwords().is_empty());
}
