//! How long events are kept, and what is kept of people who are gone.

use std::time::Duration;

use gatehouse::events::{Events, Settings};
use gatehouse::platform::ground::Ground;
use gatehouse::platform::random::Random;
use serde_json::{Value, json};

use super::{describe, events_of, part, places_later, run, types};
use crate::harness::TestApp;

const DAY: Duration = Duration::from_hours(24);

/// The same events where a broker is to get them.
fn with_broker(app: &TestApp) -> Events {
    let settings = Settings { retention: DAY * 90, broker: true };
    let ground = Ground { db: app.inside.db.clone(), clock: app.clock.clone(), random: Random::System };
    Events::new(ground, settings)
}

#[tokio::test]
async fn old_events_are_forgotten_and_positions_go_on() {
    let app = TestApp::with(&[("EVENT_RETENTION_DAYS", "10")]).await;
    let ann = app.user("ann").await;
    app.inside.events.sweep().await.unwrap();
    app.clock.advance(DAY * 11);
    let admin = app.admin().await; // younger
    if places_later(&app) {
        app.inside.events.sweep().await.unwrap();
        let all = events_of(&app, &admin, ann.id).await;
        assert_eq!(types(&all), ["user.created", "session.created"], "none goes before it has a position");
    }
    let here = part(&admin, "limit=1000").await;
    let last = here[here.len() - 2]["position"].as_i64().unwrap();
    app.inside.events.sweep().await.unwrap();
    assert_eq!(events_of(&app, &admin, ann.id).await, Vec::<Value>::new());
    // However old the newest one is: what comes after it must not come before those who know it.
    app.clock.advance(DAY * 11);
    app.inside.events.sweep().await.unwrap();
    let admin = app.admin().await;
    app.inside.events.place().await.unwrap();
    let first = part(&admin, "limit=1").await.remove(0)["position"].as_i64().unwrap();
    assert!(first > last, "{first} after {last}");
}

#[tokio::test]
async fn a_reader_who_was_away_for_too_long_is_told() {
    let app = TestApp::with(&[("EVENT_RETENTION_DAYS", "4")]).await;
    let ann = app.user("ann").await;
    let admin = app.admin().await;
    let known = events_of(&app, &admin, ann.id).await[0]["event_id"].clone();
    app.clock.advance(DAY * 5);
    let admin = app.admin().await;
    app.inside.events.place().await.unwrap();
    app.inside.events.sweep().await.unwrap();
    let path = format!("/api/admin/events?after={}", known.as_str().unwrap());
    admin.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn nothing_is_forgotten_that_the_broker_is_still_to_get() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    describe(&ann, "x").await;
    describe(&ann, "y").await;
    app.clock.advance(DAY * 91);
    let admin = app.admin().await;
    let old = events_of(&app, &admin, ann.id).await;
    let events = with_broker(&app);
    events.sweep().await.unwrap();
    assert_eq!(events_of(&app, &admin, ann.id).await, old);
    let mark =
        |change: &str, sequence: i64| format!("UPDATE events SET {change} WHERE sequence = {sequence}");
    for (change, sequence) in [
        ("published_at = 5", 1),
        ("trouble = 'parked'", 2),
        ("trouble = 'held'", 3),
        ("trouble = 'unrouted'", 4),
    ] {
        run(&app, &mark(change, sequence)).await;
    }
    events.sweep().await.unwrap();
    let sequences = async || -> Vec<i64> {
        let kept = events_of(&app, &admin, ann.id).await;
        kept.iter().map(|event| event["sequence"].as_i64().unwrap()).collect()
    };
    assert_eq!(sequences().await, [2, 3], "what is refused, and what waits behind it, is still to be told");
    run(&app, &mark("trouble = 'skipped'", 2)).await;
    events.sweep().await.unwrap();
    assert_eq!(sequences().await, [3]);
}

#[tokio::test]
async fn of_somebody_who_is_gone_for_good_only_what_happened_stays() {
    let app = TestApp::new().await;
    let (admin, ann, bob) = (app.admin().await, app.user("ann").await, app.user("bob").await);
    describe(&ann, "about me").await;
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    let before = events_of(&app, &admin, ann.id).await;
    assert_eq!(before[2]["data"], json!({"changes": {"description": "about me"}}), "first it is told");
    let broker = with_broker(&app);
    broker.sweep().await.unwrap();
    assert_eq!(events_of(&app, &admin, ann.id).await, before, "the broker has not got it");
    run(&app, "UPDATE events SET published_at = 5 WHERE sequence = 3").await;
    broker.sweep().await.unwrap();
    let after = events_of(&app, &admin, ann.id).await;
    assert_eq!((&after[2]["data"], &after[0]["data"]), (&json!({}), &before[0]["data"]));
    app.inside.sweep().await.unwrap();
    let after = events_of(&app, &admin, ann.id).await;
    assert!(after.iter().all(|event| event["data"] == json!({})), "{after:?}");
    assert_eq!(types(&after), types(&before));
    assert_eq!(events_of(&app, &admin, bob.id).await[0]["data"]["username"], "bob");
}

#[tokio::test]
async fn whoever_was_deleted_long_ago_is_told_to_be_gone_when_they_are_swept() {
    let app = TestApp::with(&[("DELETED_USER_RETENTION_DAYS", "1")]).await;
    let ann = app.user("ann").await;
    ann.delete(&ann.path()).await.is(200);
    app.clock.advance(DAY * 2);
    let admin = app.admin().await;
    app.inside.users.sweep().await.unwrap();
    let events = events_of(&app, &admin, ann.id).await;
    assert_eq!(types(&events)[2..], ["session.ended", "user.deleted", "user.purged"]);
    let sequence: Vec<i64> = events.iter().map(|event| event["sequence"].as_i64().unwrap()).collect();
    assert_eq!(sequence, [1, 2, 3, 4, 5]);
}
