//! `gatehouse workos-reconcile` and `workos-resync`.

use std::time::Duration;

use gatehouse::workos::{Done, NotAgain, Since};
use serde_json::json;

use super::fake::{Fake, written};
use super::{assert_converged, by_email, following, settle};
use crate::harness::TestApp;

const HOUR: Duration = Duration::from_hours(1);

async fn reconciled(app: &TestApp) -> Done {
    app.inside.workos.reconcile().await.unwrap().unwrap()
}

/// What is done where everything was done before.
fn nothing(done: Done) -> Done {
    Done { seen: done.seen, ..Done::default() }
}

/// So long ago.
fn ago(app: &TestApp, ago: Duration) -> Since {
    written(app.clock.now().before(ago)).parse().unwrap()
}

#[tokio::test]
async fn what_no_event_told_of_is_reconciled_and_then_there_is_nothing_to_do() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    for name in ["ann_smith", "bob_jones", "carl_page"] {
        fake.add(name);
    }
    settle(&app).await;
    app.clock.advance(HOUR);
    {
        let mut ledger = fake.ledger();
        let now = written(app.clock.now());
        ledger.users[0]["last_name"] = json!("Smith");
        ledger.users[0]["updated_at"] = json!(now);
        ledger.users.remove(1);
        let mut new = ledger.users[0].clone();
        new["id"] = json!("user_new");
        new["email"] = json!("dora_hill@example.com");
        ledger.users.push(new);
    }
    settle(&app).await;
    assert!(by_email(&app, "bob_jones@example.com").await.is_some(), "events tell of nothing");
    let done = reconciled(&app).await;
    assert_eq!((done.created, done.changed, done.removed, done.refused), (1, 1, 1, 0));
    assert!(done.seen >= 3, "{done:?}");
    assert_converged(&app, &fake).await;
    let again = reconciled(&app).await;
    assert_eq!(again, nothing(again));
    assert_converged(&app, &fake).await;
    // And events are followed behind it.
    fake.add("eve_stone");
    settle(&app).await;
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn an_event_that_was_missed_is_done_and_a_stale_one_is_not() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    fake.add("ann_smith");
    fake.add("bob_jones");
    settle(&app).await;
    app.clock.advance(HOUR);
    let ids: Vec<String> =
        fake.ledger().users.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect();
    fake.change(&ids[0], json!({"last_name": "Smith"}));
    settle(&app).await;
    {
        // They become visible before the last event, which is gone on from.
        let mut ledger = fake.ledger();
        let last = ledger.events.len() - 1;
        let at = ledger.events[last]["created_at"].clone();
        let mut stale = ledger.users[0].clone();
        stale["last_name"] = json!("Stale");
        stale["updated_at"] = json!(written(app.clock.now().before(HOUR / 2)));
        ledger.users[1]["last_name"] = json!("Jones");
        ledger.users[1]["updated_at"] = at.clone();
        let missed = ledger.users[1].clone();
        for (id, data) in [("event_stale", stale), ("event_missed", missed)] {
            let event = json!({
                "object": "event", "id": id, "event": "user.updated", "data": data, "created_at": at,
            });
            ledger.events.insert(last, event);
        }
    }
    settle(&app).await;
    assert_eq!(by_email(&app, "bob_jones@example.com").await.unwrap()["last_name"], json!(null));
    let done = app.inside.workos.resync(ago(&app, HOUR / 2)).await.unwrap().unwrap();
    assert_eq!(done, Done { seen: 3, changed: 1, ..Done::default() });
    assert_converged(&app, &fake).await;
    let again = app.inside.workos.resync(ago(&app, HOUR / 2)).await.unwrap().unwrap();
    assert_eq!(again, Done { seen: 3, ..Done::default() });
}

#[tokio::test]
async fn only_what_workos_can_tell_of_is_read_again() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let ahead = written(app.clock.now().after(HOUR)).parse().unwrap();
    assert!(matches!(app.inside.workos.resync(ahead).await, Err(NotAgain::Ahead)));
    let long_ago = ago(&app, Duration::from_hours(30 * 24));
    assert!(matches!(app.inside.workos.resync(long_ago).await, Err(NotAgain::TooLongAgo)));
    assert!(fake.ledger().asked.is_empty(), "nothing was asked");
}
