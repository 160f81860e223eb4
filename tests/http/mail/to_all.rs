//! A letter to everybody: in steps, each of which survives a crash; nobody twice, nobody left out.

use std::collections::BTreeSet;

use serde_json::json;

use super::smtp::{Manner, SmtpServer};
use super::{idle, letter_to, notice, post, queue, rows};
use crate::harness::{TestApp, eventually};

/// Active people with an address, straight into the table: signing a thousand up would take a minute.
async fn people(app: &TestApp, count: usize) {
    let template = "INSERT INTO users (id, username, display_name, search_name, email, email_verified, roles, is_active, \
                    is_external_only, metadata, token_version, revision, created_at, updated_at, deleted_at) VALUES ";
    let ids: Vec<uuid::Uuid> = (0..count).map(|_| uuid::Uuid::new_v4()).collect();
    let postgres = app.inside.db.backend() == sea_orm::DbBackend::Postgres;
    let row = |(number, id): (usize, &uuid::Uuid)| {
        let id = if postgres { format!("'{id}'") } else { format!("x'{}'", id.simple()) };
        let (yes, no) = if postgres { ("TRUE", "FALSE") } else { ("1", "0") };
        // Some are switched off, some deleted, some without an address.
        let active = if number % 50 == 1 { no } else { yes };
        let deleted = if number % 50 == 2 { "1" } else { "NULL" };
        let email = if number % 50 == 3 { "NULL".to_owned() } else { format!("'p{number}@example.com'") };
        format!(
            "({id}, 'p{number}', 'p{number}', 'p{number}', {email}, {no}, 8, {active}, {no}, '{{}}', 0, 0, 0, 0, {deleted})"
        )
    };
    let values: Vec<String> = ids.iter().enumerate().map(row).collect();
    let sql = format!("{template}{}", values.join(", "));
    let writing = app.inside.db.write(move |tx| {
        Box::pin(async move { sea_orm::ConnectionTrait::execute_unprepared(tx, &sql).await.map(drop) })
    });
    writing.await.unwrap();
}

/// Who of [`people`] is written to.
fn expected(count: usize) -> BTreeSet<String> {
    let reached = (0..count).filter(|number| !matches!(number % 50, 1..=3));
    reached.map(|number| format!("p{number}@example.com")).collect()
}

async fn queued(app: &TestApp) -> Vec<String> {
    let rows = rows(app, "SELECT recipient FROM mails WHERE batch_id IS NOT NULL").await;
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

#[tokio::test]
async fn a_letter_to_all_goes_on_after_a_restart_with_nobody_twice_and_nobody_missing() {
    const COUNT: usize = 1600;
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    people(&app, COUNT).await;
    let admin = app.admin().await;
    let path = "/api/email/send-email-all?confirm=true&subject=News";
    admin.post(path).json(&"Hello").await.is(202);
    assert!(app.inside.mail.advance_batches().await.unwrap());
    assert_eq!(queued(&app).await.len(), 500);
    // The program ends here; another begins. Somebody new signs up in between.
    let next = app.second_instance().await;
    assert!(next.inside.mail.advance_batches().await.unwrap());
    assert_eq!(queue(&admin).await["batches"][0]["recipients"], 1000);
    while next.inside.mail.advance_batches().await.unwrap() {}
    let all = queued(&app).await;
    let mut reached: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(reached.len(), all.len(), "nobody twice");
    assert!(reached.remove("root@example.com"));
    assert_eq!(reached, expected(COUNT), "nobody missing, and nobody who can't be meant");
}

#[tokio::test]
async fn two_instances_queue_a_letter_to_all_once() {
    const COUNT: usize = 1200;
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    people(&app, COUNT).await;
    let admin = app.admin().await;
    admin.post("/api/email/send-email-all?confirm=true&subject=News").json(&"Hello").await.is(202);
    let other = app.second_instance().await;
    let work = async |instance: &TestApp| while instance.inside.mail.advance_batches().await.unwrap() {};
    tokio::join!(work(&app), work(&other));
    let all = eventually(|| Box::pin(queued(&app)), |all| all.len() == expected(COUNT).len() + 1).await;
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[tokio::test]
async fn a_mail_that_somebody_waits_for_goes_before_a_letter_to_all() {
    let mut server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    people(&app, 100).await;
    let admin = app.admin().await;
    admin.post("/api/email/send-email-all?confirm=true&subject=News").json(&"Hello").await.is(202);
    while app.inside.mail.advance_batches().await.unwrap() {}
    post(&app, letter_to("ann", notice())).await.unwrap();
    // Nobody sends a second one before all four are there.
    server.behave(Manner::HangAfterContent);
    app.inside.start_background();
    let first: Vec<String> =
        [server.next().await, server.next().await, server.next().await, server.next().await]
            .into_iter()
            .flat_map(|mail| mail.to)
            .collect();
    assert!(first.contains(&"ann@example.com".to_owned()), "{first:?}");
}

#[tokio::test]
async fn what_a_letter_to_all_says_is_kept_once_and_emptied_at_its_end() {
    let mut server = SmtpServer::start().await;
    let app = idle(&server, &[("ENVIRONMENT", "staging")]).await;
    people(&app, 40).await;
    let circular = gatehouse::mail::Circular {
        subject: "News".into(),
        text: "Zebra".repeat(1000),
        html: None,
        by: uuid::Uuid::nil(),
        trace_id: None,
    };
    app.inside.mail.send_to_all(circular).await.unwrap();
    while app.inside.mail.advance_batches().await.unwrap() {}
    let own = rows(&app, "SELECT id FROM mails WHERE content IS NOT NULL").await;
    assert_eq!(own.len(), 0, "the mails have what they say in common");
    let sealed = rows(&app, "SELECT content FROM mail_batches").await;
    let sealed: Vec<u8> = sealed[0].try_get_by_index(0).unwrap();
    assert!(sealed.len() > 5000 && !String::from_utf8_lossy(&sealed).contains("Zebra"));
    app.inside.start_background();
    for _ in expected(40) {
        assert!(server.next().await.text().contains("ZebraZebra"));
    }
    let emptied = async || {
        rows(&app, "SELECT id FROM mail_batches WHERE state = 'done' AND content IS NULL").await.len()
    };
    eventually(|| Box::pin(emptied()), |count| *count == 1).await;
    assert_eq!(json!(server.rest().len()), json!(0));
}
