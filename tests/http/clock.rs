//! The clock is wrong, or stands at a strange moment: it is set back, jumps ahead, reaches the end of 32 bits.

use std::collections::BTreeSet;
use std::time::Duration;

use gatehouse::platform::clock::{Clock, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Actor, START, TestApp, claims};

const HOUR: Duration = Duration::from_hours(1);
const MONTH: Duration = Duration::from_hours(30 * 24);

/// Moments at which calendars and counters turn over: 29 February 2028, the last second of 31 bits (19 January 2038),
/// that of 32 bits (2106), and the last of the year 9999.
const STRANGE: [(&str, i64); 4] = [
    ("leap", 1_835_438_399),
    ("bits_31", 2_147_483_647),
    ("bits_32", 4_294_967_295),
    ("year_9999", 253_402_300_799),
];

/// Sets the clock of a program, back too.
pub fn set(app: &TestApp, time: Timestamp) {
    let Clock::Manual(millis) = &app.clock else { panic!("a manual clock") };
    millis.store(time.millis(), std::sync::atomic::Ordering::SeqCst);
}

/// What people do all day works, now.
async fn all_is_well(app: &TestApp, name: &str) -> Actor {
    let person = app.user(name).await;
    person.patch(&person.path()).json(&json!({"description": name})).await.is(200);
    let tokens = app.post("/api/auth/token/refresh").json(&json!({"refresh_token": person.refresh})).await;
    let person = Actor::with_tokens(app, name, &tokens.is(200).json());
    assert_eq!(person.me().await["description"], name);
    let again = app.sign_in(name).await;
    again.get("/api/auth/sessions").await.is(200);
    app.inside.sweep().await.expect("sweeping works");
    person
}

#[tokio::test]
async fn what_people_do_works_after_the_clock_was_set_back() {
    let app = TestApp::new().await;
    let before = all_is_well(&app, "before").await;
    set(&app, START.before(HOUR));
    all_is_well(&app, "after").await;
    // Its access token is of the future now; signing in is not.
    assert_eq!(app.sign_in("before").await.me().await["uuid"], before.id.to_string());
    set(&app, START);
    assert_eq!(before.me().await["username"], "before");
}

#[tokio::test]
async fn a_token_that_was_seen_after_its_time_is_over_although_the_clock_is_set_back() {
    let app = TestApp::new().await;
    let [seen, unseen] = [app.user("ann").await, app.sign_in("ann").await];
    seen.get("/api/user/me").await.is(200);
    app.clock.advance(HOUR);
    seen.get("/api/user/me").await.refused(401, "token_expired");
    set(&app, START.after(Duration::from_mins(1)));
    seen.get("/api/user/me").await.refused(401, "token_expired");
    unseen.get("/api/user/me").await.is(200);
    let tokens = app.post("/api/auth/token/refresh").json(&json!({"refresh_token": seen.refresh})).await;
    Actor::with_tokens(&app, "ann", &tokens.is(200).json()).get("/api/user/me").await.is(200);
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_and_back_locks_nobody_out() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(MONTH);
    ann.get("/api/user/me").await.refused(401, "token_expired");
    app.sign_in("ann").await.get("/api/user/me").await.is(200);
    for _ in 0..2 {
        app.try_sign_in("ann", "certainly not this one").await;
    }
    app.try_sign_in("ann", "certainly not this one").await.refused(429, "rate_limited");
    // The failure lies in the future now: to wait for its end would be to wait for a month.
    set(&app, START.after(Duration::from_mins(5)));
    let ann = app.sign_in("ann").await;
    ann.get("/api/user/me").await.is(200);
    app.try_sign_in("ann", "certainly not this one").await.refused(401, "invalid_credentials");
    app.try_sign_in("ann", "certainly not this one").await.refused(429, "rate_limited");
}

#[tokio::test]
async fn a_backup_of_the_future_keeps_none_from_being_made_and_does_not_look_new() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    let settings = [("BACKUP_SCHEDULE", "0 3 * * *"), ("BACKUP_DIR", &*place), ("BACKUP_KEEP", "1")];
    let first = TestApp::with(&settings).await;
    first.clock.advance(MONTH);
    // It starts while the clock is wrong.
    let app = first.second_instance().await;
    let schedule = app.inside.backups.clone().expect("a schedule");
    app.clock.advance(3 * HOUR);
    assert!(schedule.look().await.unwrap());
    assert!(folder.path().join("gatehouse-20260131T030000Z.tar").exists());

    set(&app, START.after(HOUR));
    assert!(!schedule.look().await.unwrap(), "the next is due at three");
    let measured = app.get("/metrics").await.is(200).text().to_owned();
    assert!(!measured.contains("gatehouse_backup_age_seconds"), "{measured}");
    assert!(measured.lines().any(|line| line == "gatehouse_backup_failing 0"), "{measured}");
    set(&app, START.after(3 * HOUR));
    assert!(schedule.look().await.unwrap());
    assert!(!schedule.look().await.unwrap(), "it is done");
    let left = std::fs::read_dir(folder.path()).unwrap();
    let left: Vec<String> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, ["gatehouse-20260101T030000Z.tar"], "what was just made is kept");
}

#[tokio::test]
async fn strange_moments_are_moments_like_others() {
    let app = TestApp::new().await;
    for (name, seconds) in STRANGE {
        // One second before it turns over, and one after.
        set(&app, Timestamp::from_seconds(seconds));
        let person = all_is_well(&app, name).await;
        assert_eq!(claims(&person.access)["iat"], seconds);
        assert_eq!(person.me().await["created_at"], seconds);
        app.clock.advance(Duration::from_secs(2));
        assert_eq!(person.me().await["created_at"], seconds, "{name}");
        all_is_well(&app, &format!("{name}_after")).await;
    }
    let admin = app.admin().await;
    let people = admin.get("/api/user/?limit=1000").await.is(200).json();
    assert_eq!(people.as_array().unwrap().len(), 2 * STRANGE.len() + 1);
}

#[tokio::test]
async fn ids_stay_unique_whatever_the_clock_does() {
    let app = TestApp::new().await;
    let mut ids = BTreeSet::new();
    let times = [START, START.before(HOUR), START, START.after(MONTH), START.before(MONTH), START];
    for (round, time) in times.into_iter().enumerate() {
        set(&app, time);
        for number in 0..3 {
            let person = app.user(&format!("user_{round}_{number}")).await;
            let jti: Uuid = claims(&person.access)["jti"].as_str().unwrap().parse().unwrap();
            assert!(ids.insert(person.id) && ids.insert(person.session()) && ids.insert(jti));
        }
    }
    assert_eq!(ids.len(), 3 * 3 * times.len());
}
