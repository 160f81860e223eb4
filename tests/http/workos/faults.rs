//! Whatever WorkOS answers, and whenever the program dies: in the end, here is as there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use gatehouse::workos::Reached;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use serde_json::{Value, json};

use super::fake::{Fake, Manner, Place, written};
use super::{IMPATIENT, assert_converged, by_email, following, people, settle};
use crate::harness::{PASSWORD, TestApp, eventually};

fn refused(status: u16) -> Manner {
    Manner::Answer(status, r#"{"message":"No."}"#, Vec::new())
}

pub(super) fn changed(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Manner {
    Manner::Changed(Arc::new(change))
}

// F-17
#[tokio::test]
async fn whatever_passes_is_waited_for() {
    let page = "<html><h1>Internal Server Error</h1></html>";
    let fake = Fake::start().await;
    let app = following(&fake, &[IMPATIENT]).await;
    fake.add("ann_smith");
    fake.lies(Place::Users, Manner::Answer(500, page, Vec::new()), 10);
    settle(&app).await;
    assert!(fake.times(Place::Users) > 10);
    let ways = [
        Manner::Answer(500, page, Vec::new()),
        Manner::Answer(502, "", Vec::new()),
        Manner::Answer(503, "{}", Vec::new()),
        Manner::Answer(429, r#"{"message":"Rate limit exceeded"}"#, vec![("retry-after", "1".to_owned())]),
        Manner::Answer(200, page, Vec::new()),
        Manner::Answer(200, "[]", Vec::new()),
        Manner::Answer(302, "", vec![("location", "http://127.0.0.1:9/".to_owned())]),
        Manner::Reset,
        Manner::Truncated,
        Manner::Hang,
    ];
    for (number, way) in ways.into_iter().enumerate() {
        fake.add(&format!("after{number}"));
        fake.lies(Place::Events, way, 2);
        settle(&app).await;
        assert_converged(&app, &fake).await;
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_as_seconds_and_as_a_moment() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let date = "Thu, 01 Jan 2026 00:00:00 GMT".to_owned();
    let later = "Thu, 01 Jan 2026 00:00:02 GMT".to_owned();
    for headers in [vec![("retry-after", "2".to_owned())], vec![("retry-after", later), ("date", date)]] {
        fake.add(&format!("user{}", fake.times(Place::Events)));
        fake.lies(Place::Events, Manner::Answer(429, "{}", headers), 1);
        let begun = std::time::Instant::now();
        settle(&app).await;
        assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_converged(&app, &fake).await;
    }
    // Who asks for more than a minute is not waited for here, but in the pause between two looks.
    let asked = fake.times(Place::Events);
    fake.lies(Place::Events, Manner::Answer(429, "{}", vec![("retry-after", "3600".to_owned())]), 1);
    assert!(app.inside.workos.catch_up().await.is_err());
    assert_eq!(fake.times(Place::Events), asked + 1);
}

#[tokio::test]
async fn a_key_that_is_refused_is_told_and_nothing_changes() {
    let fake = Fake::start().await;
    let app = following(&fake, &[("WORKOS_API_KEY", "sk_test_wrong")]).await;
    fake.add("ann_smith");
    let halt = app.inside.workos.catch_up().await.unwrap_err();
    assert!(halt.to_string().contains("401 unauthorized"), "{halt}");
    assert!(!halt.to_string().contains("sk_test"));
    assert!(app.inside.workos.check().await.unwrap_err().contains("401"));
    let ready = app.admin().await.get("/health/ready").await.is(200).json();
    assert!(ready["parts"]["workos"].as_str().unwrap().starts_with("degraded"), "{ready}");
    assert!(people(&app).await.is_empty());
}

#[tokio::test]
async fn a_key_without_the_permission_is_told() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    fake.add("ann_smith");
    settle(&app).await;
    fake.add("bob_jones");
    settle(&app).await;
    fake.add("carl_page");
    let last = fake.ledger().events[1]["id"].clone();
    let (asked, listings) = (fake.times(Place::Events), fake.times(Place::Users));
    fake.lies(Place::Events, refused(403), 3);
    for _ in 0..3 {
        let halt = app.inside.workos.catch_up().await.unwrap_err();
        assert!(halt.to_string().contains("403"), "{halt}");
    }
    assert_eq!((fake.times(Place::Events), fake.times(Place::Users)), (asked + 3, listings));
    assert_eq!(people(&app).await.len(), 2, "nobody is gone, and nobody came");
    // Once it has the permission, it goes on behind the last event that it had.
    settle(&app).await;
    let behind = fake
        .ledger()
        .asked
        .iter()
        .filter(|asked| asked.place == Place::Events)
        .nth(asked + 3)
        .and_then(|asked| asked.query("after").map(str::to_owned));
    assert_eq!(behind.as_deref(), last.as_str());
    assert_eq!(fake.times(Place::Users), listings);
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn a_cursor_that_workos_no_longer_knows_loses_nothing() {
    for status in [400, 404, 422] {
        let fake = Fake::start().await;
        let app = following(&fake, &[]).await;
        let (ann, bob) = (fake.add("ann_smith"), fake.add("bob_jones"));
        settle(&app).await;
        app.clock.advance(Duration::from_mins(10));
        fake.change(&ann, json!({"last_name": "Smith"}));
        settle(&app).await;
        // For a while nobody looks, and WorkOS forgets all of it, but for the last minutes.
        app.clock.advance(Duration::from_hours(20 * 24));
        fake.remove(&bob);
        fake.add("carl_page");
        fake.loses_the_past(status);
        app.clock.advance(Duration::from_mins(10));
        fake.change(&ann, json!({"last_name": "Jones"}));
        let listings = fake.times(Place::Users);
        settle(&app).await;
        assert_eq!(fake.times(Place::Users), listings, "the last minutes are enough");
        assert_eq!(by_email(&app, "ann_smith@example.com").await.unwrap()["last_name"], "Jones", "{status}");
        // The events of before are gone; only a full listing knows what was in them.
        app.clock.advance(Duration::from_hours(40 * 24));
        fake.loses_the_past(status);
        settle(&app).await;
        assert_converged(&app, &fake).await;
    }
}

#[tokio::test]
async fn a_refusal_that_is_not_about_the_cursor_does_not_make_it_list_for_ever() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    fake.lies(Place::Events, refused(422), 3);
    for _ in 0..3 {
        assert!(app.inside.workos.catch_up().await.is_err());
    }
    assert_eq!(fake.times(Place::Users), 1);
    settle(&app).await;
}

#[tokio::test]
async fn a_place_that_is_refused_is_not_asked_for_again_without_a_pause() {
    for status in [400, 404, 422] {
        let fake = Fake::start().await;
        let app = following(&fake, &[]).await;
        for number in 0..150 {
            fake.add(&format!("user{number:03}"));
        }
        // The second page of the list is refused: everything ends there, and begins anew at the next attempt.
        for attempt in 1..=3 {
            fake.lies_in_turn(Place::Users, vec![changed(|_| {}), refused(status)]);
            let halt = app.inside.workos.catch_up().await.unwrap_err();
            assert!(halt.to_string().contains(&status.to_string()), "{halt}");
            assert_eq!(fake.times(Place::Users), 2 * attempt, "{status}");
        }
        settle(&app).await;
        assert_converged(&app, &fake).await;
        // So it is with events: what is read again from a moment on leads to the same place.
        for number in 150..300 {
            fake.add(&format!("user{number:03}"));
        }
        let asked = fake.times(Place::Events);
        fake.lies(Place::Events, refused(status), 1);
        assert!(app.inside.workos.catch_up().await.is_err());
        assert_eq!(fake.times(Place::Events), asked + 1, "{status}");
        for attempt in 1..=3 {
            fake.lies_in_turn(Place::Events, vec![changed(|_| {}), refused(status)]);
            assert!(app.inside.workos.catch_up().await.is_err());
            assert_eq!(fake.times(Place::Events), asked + 1 + 2 * attempt, "{status}");
        }
        settle(&app).await;
        assert_converged(&app, &fake).await;
    }
}

#[tokio::test]
async fn a_place_that_is_lost_among_events_without_a_time_is_not_gone_back_to_again_and_again() {
    for status in [400, 404, 422] {
        let fake = Fake::start().await;
        let app = following(&fake, &[]).await;
        settle(&app).await;
        app.clock.advance(Duration::from_hours(1));
        fake.add("ann_smith");
        settle(&app).await;
        for number in 0..150 {
            fake.add(&format!("user{number:03}"));
        }
        fake.ledger().events[1..].iter_mut().for_each(|event| event["created_at"] = Value::Null);
        let (asked, listings) = (fake.times(Place::Events), fake.times(Place::Users));
        // It goes back to the last one that has a time; from there it comes to the same place.
        fake.lies(Place::Events, refused(status), 1);
        assert!(app.inside.workos.catch_up().await.is_err());
        fake.lies_in_turn(Place::Events, vec![changed(|_| {}), refused(status)]);
        assert!(app.inside.workos.catch_up().await.is_err());
        assert_eq!((fake.times(Place::Events), fake.times(Place::Users)), (asked + 3, listings), "{status}");
        // So everybody is listed, and who is not on the page of events is here all the same.
        fake.lies_in_turn(Place::Events, vec![changed(|_| {}), refused(status)]);
        assert!(app.inside.workos.catch_up().await.is_err());
        assert_eq!(
            (fake.times(Place::Events), fake.times(Place::Users)),
            (asked + 5, listings + 2),
            "{status}"
        );
        assert_converged(&app, &fake).await;
        settle(&app).await;
        assert_converged(&app, &fake).await;
    }
}

#[tokio::test]
async fn where_no_event_has_a_time_the_next_list_is_not_asked_for_without_a_pause() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    for number in 0..150 {
        fake.add(&format!("user{number:03}"));
    }
    fake.ledger().events.iter_mut().for_each(|event| event["created_at"] = Value::Null);
    let (asked, listings) = (fake.times(Place::Events), fake.times(Place::Users));
    for attempt in 1..=3 {
        fake.lies_in_turn(Place::Events, vec![changed(|_| {}), refused(404)]);
        assert!(app.inside.workos.catch_up().await.is_err());
        assert_eq!(fake.times(Place::Events), asked + 2 * attempt);
        assert_eq!(fake.times(Place::Users), listings + 2 * (attempt - 1));
    }
    assert_converged(&app, &fake).await;
    settle(&app).await;
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn what_comes_twice_or_late_or_before_its_time_ends_the_same() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let ann = fake.add("ann_smith");
    fake.change(&ann, json!({"first_name": "A"}));
    fake.change(&ann, json!({"first_name": "B"}));
    let bob = fake.add("bob_jones");
    fake.remove(&bob);
    fake.add("carl_page");
    // Everything twice, the newest first.
    {
        let mut ledger = fake.ledger();
        let mut events = ledger.events.clone();
        events.reverse();
        let twice: Vec<Value> = events.iter().chain(&ledger.events.clone()).cloned().collect();
        ledger.events = twice;
    }
    // The fake finds a cursor by the first event of that name, so all of it is read from the beginning.
    settle(&app).await;
    assert_converged(&app, &fake).await;
    assert_eq!(by_email(&app, "ann_smith@example.com").await.unwrap()["first_name"], "B");
    let standing = app.inside.workos.standing().await.unwrap().unwrap();
    assert_eq!(standing.quarantined, 0);
}

#[tokio::test]
async fn who_is_deleted_before_they_are_made_never_comes() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let (ann, now) = (fake.add("ann_smith"), app.clock.now());
    fake.remove(&ann);
    {
        let mut ledger = fake.ledger();
        ledger.events.reverse();
        let mut late = ledger.events[1].clone();
        late["id"] = json!("event_late");
        late["event"] = json!("user.updated");
        late["data"]["updated_at"] = json!(written(now.after(Duration::from_hours(1))));
        ledger.events.push(late);
    }
    settle(&app).await;
    assert!(people(&app).await.is_empty());
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn what_can_not_be_understood_is_set_aside_and_what_comes_behind_it_is_done() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    fake.add("ann_smith");
    fake.tells("user.frozen", json!({"id": "user_x"}));
    fake.tells("user.updated", json!({"id": "user_x"}));
    fake.tells("user.updated", json!(null));
    fake.tells("user.created", json!({"id": "user_y", "email": "y@example.com", "updated_at": "never"}));
    fake.tells("user.deleted", json!({"object": "user"}));
    {
        let mut ledger = fake.ledger();
        ledger.events.push(json!({"no": "id"}));
        ledger.events.push(json!("not even an object"));
    }
    // An old payload: only what must be there, and a time without a zone.
    let bob = json!({"object": "user", "id": "user_bob", "email": "bob_jones@example.com"});
    fake.tells("user.created", bob.clone());
    fake.ledger().events.last_mut().unwrap()["created_at"] = json!("2026-01-01 00:00:01.093");
    settle(&app).await;
    assert!(by_email(&app, "ann_smith@example.com").await.is_some());
    assert!(by_email(&app, "bob_jones@example.com").await.is_some());
    let standing = app.inside.workos.standing().await.unwrap().unwrap();
    assert_eq!(standing.quarantined, 6, "{standing:?}");

    let mut user = bob;
    user["updated_at"] = json!("2026-01-01T00:00:01.093Z");
    fake.ledger().users.push(user);
    let drift = app.inside.workos.drift().await.unwrap().unwrap();
    assert_eq!((drift.found.len(), drift.unknown), (6, 1), "{:?}", drift.found);
    assert_eq!(app.inside.workos.forget_set_aside().await.unwrap(), 7);
    assert!(app.inside.workos.drift().await.unwrap().unwrap().found.is_empty());
}

#[tokio::test]
async fn an_empty_page_that_leads_on_is_followed_but_is_no_place_to_go_on_from() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    fake.add("ann_smith");
    settle(&app).await;
    let ann = fake.ledger().events.last().unwrap()["id"].clone();
    fake.add("bob_jones");
    let leads_on = ann.clone();
    fake.lies(
        Place::Events,
        changed(move |page| {
            page["data"] = json!([]);
            page["list_metadata"]["after"] = leads_on.clone();
        }),
        1,
    );
    settle(&app).await;
    assert_converged(&app, &fake).await;
    // One that leads to itself is not followed for ever.
    fake.add("carl_page");
    let leads_on = ann;
    fake.lies(
        Place::Events,
        changed(move |page| {
            page["data"] = json!([]);
            page["list_metadata"]["after"] = leads_on.clone();
        }),
        3,
    );
    settle(&app).await;
    settle(&app).await;
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn who_was_removed_while_nobody_looked_is_removed_by_a_listing() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let ids: Vec<String> = (0..230).map(|number| fake.add(&format!("user{number:03}"))).collect();
    settle(&app).await;
    app.clock.advance(Duration::from_hours(100 * 24));
    ids.iter().step_by(2).for_each(|id| fake.remove(id));
    fake.loses_the_past(404);
    app.clock.advance(Duration::from_mins(1));
    settle(&app).await;
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn a_list_that_names_nobody_who_is_known_deletes_nobody() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let ids: Vec<String> = (0..3).map(|number| fake.add(&format!("user{number}"))).collect();
    settle(&app).await;
    // As the key of another environment would show it.
    app.clock.advance(Duration::from_hours(100 * 24));
    fake.add("somebody_else");
    for id in &ids {
        fake.remove(id);
    }
    fake.loses_the_past(404);
    app.clock.advance(Duration::from_mins(1));
    let lost = app.inside.workos.catch_up().await.unwrap_err();
    assert!(
        lost.to_string().contains("404"),
        "the place is lost, and everybody is listed after a pause: {lost}"
    );
    for _ in 0..3 {
        let halt = app.inside.workos.catch_up().await.unwrap_err();
        assert!(halt.to_string().contains("another environment"), "{halt}");
        assert_eq!(people(&app).await.len(), 4, "nobody is gone");
    }
}

#[tokio::test]
async fn a_clock_that_is_ahead_there_does_not_make_us_miss_anything() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let ann = fake.add("ann_smith");
    let ahead = written(app.clock.now().after(Duration::from_hours(24 * 365)));
    fake.ledger().events.last_mut().unwrap()["created_at"] = json!(ahead);
    settle(&app).await;
    let last = fake.ledger().events.last().unwrap()["id"].clone();
    fake.ledger().events.retain(|event| event["id"] != last);
    fake.change(&ann, json!({"first_name": "Ann"}));
    settle(&app).await;
    assert_converged(&app, &fake).await;
}

/// Until when the lease is held, as the database has it.
async fn held_until(app: &TestApp) -> i64 {
    let db = app.inside.db.reader();
    let sql = "SELECT expires_at FROM leases WHERE name = 'workos'";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

pub(super) async fn execute(app: &TestApp, sql: &'static str) {
    let done = app
        .inside
        .db
        .write::<_, DbErr, _>(move |tx| async move { tx.execute_unprepared(sql).await.map(|_| ()) }.boxed());
    done.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_workos_asks_for_is_kept_to_by_all_instances() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let other = app.second_instance().await;
    let asked = fake.times(Place::Events);
    // More than a question waits for: it is the pause between two looks.
    fake.lies(Place::Events, Manner::Answer(429, "{}", vec![("retry-after", "3600".to_owned())]), 1);
    let following = tokio::spawn(app.inside.workos.clone().follow());
    eventually(|| async { fake.times(Place::Events) }, |times| *times > asked).await;
    // Nothing is asked, and the lease is held for longer all the same.
    let until = held_until(&app).await;
    eventually(|| held_until(&app), |now| *now > until).await;
    assert_eq!(other.inside.workos.catch_up().await.unwrap(), Reached::AnotherFollows);
    assert_eq!(fake.times(Place::Events), asked + 1);
    following.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_failure_in_a_row_is_stood_back_from_for_longer() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let before = fake.times(Place::Events);
    // What is refused is not asked again by the question itself.
    fake.lies(Place::Events, refused(403), 100);
    let following = tokio::spawn(app.inside.workos.clone().follow());
    eventually(|| async { fake.times(Place::Events) }, |times| *times >= before + 3).await;
    following.abort();
    let ledger = fake.ledger();
    let asked: Vec<_> = ledger.asked.iter().filter(|asked| asked.place == Place::Events).collect();
    let pauses: Vec<Duration> =
        asked[before..].windows(2).take(2).map(|two| two[1].at.duration_since(two[0].at)).collect();
    // The interval is a second; it is doubled each time, and half of that is chance.
    assert!(pauses[0] >= Duration::from_secs(1) && pauses[1] >= Duration::from_secs(2), "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_moment_without_the_database_does_not_throw_a_page_away() {
    let fake = Fake::start().await;
    fake.add("ann_smith");
    let app = following(&fake, &[]).await;
    // The lease is asked for again at a quarter of its fifteen seconds, and could not be held then.
    fake.lies(Place::Users, Manner::Late(Duration::from_secs(9)), 1);
    let workos = app.inside.workos.clone();
    let page = tokio::spawn(async move { workos.catch_up().await });
    eventually(|| async { fake.times(Place::Users) }, |times| *times > 0).await;
    execute(&app, "ALTER TABLE leases RENAME TO away").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    execute(&app, "ALTER TABLE away RENAME TO leases").await;
    assert_eq!(page.await.unwrap().unwrap(), Reached::Everything);
    assert_eq!(fake.times(Place::Users), 1, "nothing was asked for again");
    assert_converged(&app, &fake).await;
}

// F-17: whenever it dies, it goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_dies_between_two_pages_is_followed_by_one_that_goes_on() {
    let fake = Fake::start().await;
    let ids: Vec<String> = (0..330).map(|number| fake.add(&format!("user{number:03}"))).collect();
    let app = following(&fake, &[]).await;
    for (place, pages) in [(Place::Users, 1), (Place::Users, 1), (Place::Events, 1), (Place::Events, 2)] {
        if place == Place::Events && pages == 1 {
            settle(&app).await;
            for id in &ids {
                fake.change(id, json!({"last_name": "Smith"}));
            }
            ids.iter().step_by(3).for_each(|id| fake.remove(id));
        }
        let asked = fake.times(place);
        let next = |_| changed(|_| {});
        fake.lies_in_turn(place, (0..pages).map(next).chain([Manner::Hang]).collect());
        let workos = app.inside.workos.clone();
        let dying = tokio::spawn(async move { workos.catch_up().await });
        eventually(|| async { fake.times(place) }, |times| *times > asked + pages).await;
        dying.abort();
        assert!(dying.await.unwrap_err().is_cancelled());
    }
    let next = app.second_instance().await;
    app.inside.workos.give_back().await.unwrap();
    assert_eq!(next.inside.workos.catch_up().await.unwrap(), Reached::Everything);
    assert_converged(&next, &fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_waits_for_workos_but_whoever_makes_users() {
    let fake = Fake::start().await;
    let app = following(&fake, &[("WORKOS_REQUEST_TIMEOUT_SECONDS", "60")]).await;
    let ann = app.user("ann_smith").await;
    fake.lies(Place::Users, Manner::Hang, 100);
    let following = tokio::spawn(app.inside.workos.clone().follow());
    eventually(|| async { fake.times(Place::Users) }, |times| *times > 0).await;
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        ann.get("/api/user/me").await.is(200);
        ann.patch(&ann.path()).json(&json!({"description": "Hello"})).await.is(200);
        app.try_sign_in("ann_smith", PASSWORD).await.is(200);
        app.get("/health/ready").await.is(200);
    }
    // Whoever waited for WorkOS would wait for a minute.
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    following.abort();
}
