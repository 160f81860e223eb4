//! Why sessions end.

use std::time::Duration;

use serde_json::{Value, json};

use super::{events_of, session, types};
use crate::harness::{Actor, TestApp};
use crate::moves::send;

/// The newest event of somebody.
async fn newest(app: &TestApp, admin: &Actor, actor: &Actor) -> Value {
    events_of(app, admin, actor.id).await.pop().unwrap()
}

#[tokio::test]
async fn a_session_that_is_ended_from_elsewhere_is_revoked() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for number in 0..3 {
        let other = app.sign_in("ann").await;
        match number {
            0 => ann.delete(&format!("/api/auth/sessions/{}", other.session())).await.is(204),
            1 => ann.delete("/api/auth/sessions").await.is(204),
            _ => app.post("/api/auth/token/revoke").json(&json!({"token": other.refresh})).await.is(200),
        };
        let event = newest(&app, &admin, &ann).await;
        assert_eq!(event["event_type"], "session.ended");
        assert_eq!(event["data"], session(&other, &json!({"reason": "revoked"})));
    }
}

#[tokio::test]
async fn a_spent_refresh_token_ends_its_session_and_a_good_one_tells_nothing() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let refresh = json!({"refresh_token": ann.refresh});
    app.post("/api/auth/token/refresh").json(&refresh).await.is(200);
    assert_eq!(newest(&app, &admin, &ann).await["event_type"], "session.created");
    app.clock.advance(Duration::from_mins(1));
    app.post("/api/auth/token/refresh").json(&refresh).await.is(401);
    let event = newest(&app, &admin, &ann).await;
    assert_eq!(event["data"], session(&ann, &json!({"reason": "reuse"})));
}

#[tokio::test]
async fn sessions_that_ran_out_are_told_when_they_are_swept() {
    let app = TestApp::new().await;
    let people = [app.user("ann").await, app.user("bob").await];
    app.clock.advance(Duration::from_hours(24 * 400));
    let admin = app.admin().await;
    app.inside.sweep().await.unwrap();
    for person in people {
        let event = newest(&app, &admin, &person).await;
        assert_eq!(event["event_type"], "session.ended");
        assert_eq!(event["data"], session(&person, &json!({"reason": "expired"})));
    }
}

#[tokio::test]
async fn the_hundred_and_first_session_ends_the_one_unseen_for_longest() {
    let app = TestApp::new().await;
    let (admin, first) = (app.admin().await, app.user("ann").await);
    for _ in 0..100 {
        app.clock.advance(Duration::from_secs(1));
        app.sign_in("ann").await;
    }
    let events = events_of(&app, &admin, first.id).await;
    let last = &events[events.len() - 2..];
    assert_eq!(types(last), ["session.created", "session.ended"]);
    assert_eq!(last[1]["data"], session(&first, &json!({"reason": "too_many"})));
}

#[tokio::test]
async fn somebody_who_is_removed_for_good_is_signed_out_first() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    let events = events_of(&app, &admin, ann.id).await;
    assert_eq!(types(&events)[2..], ["session.ended", "user.purged"]);
    assert_eq!(events[2]["data"]["reason"], "deleted");
}

// Whoever becomes an admin has less time from then on. That it is over is no theft.
#[tokio::test]
async fn a_session_whose_owner_rose_rests_and_lasts_no_longer_than_an_admins() {
    let app = TestApp::new().await;
    let (resting, mut lasting) = (app.user("resting").await, app.user("lasting").await);
    let refresh = async |actor: &Actor| {
        app.post("/api/auth/token/refresh").json(&json!({"refresh_token": actor.refresh})).await
    };
    let rises = async |actor: &Actor| {
        app.admin().await.patch(&actor.path()).json(&json!({"roles": ["admin"]})).await.is(200);
    };
    rises(&resting).await;
    app.clock.advance(Duration::from_mins(61));
    refresh(&resting).await.refused(401, "token_invalid");
    app.clock.advance(Duration::from_hours(22));
    lasting = Actor::with_tokens(&app, "lasting", &refresh(&lasting).await.is(200).json());
    rises(&lasting).await;
    app.clock.advance(Duration::from_mins(59));
    refresh(&lasting).await.refused(401, "token_invalid");
    let admin = app.admin().await;
    for actor in [&resting, &lasting] {
        let event = newest(&app, &admin, actor).await;
        assert_eq!(event["data"], session(actor, &json!({"reason": "expired"})), "{}", actor.name);
    }
}

#[tokio::test]
async fn the_other_sessions_end_with_a_second_factor_and_with_a_recovery() {
    let app = TestApp::new().await;
    let (ann, there) = (app.user("ann").await, app.sign_in("ann").await);
    let ended = async || {
        let admin = app.sign_in("root").await;
        let events = events_of(&app, &admin, ann.id).await;
        let ended = events.into_iter().filter(|event| event["event_type"] == "session.ended");
        ended.map(|event| event["data"].clone()).collect::<Vec<_>>()
    };
    let admin = app.admin().await;
    let content = admin.get("/api/db/export").await.is(200).bytes().to_vec();
    ann.enrol(&app).await;
    let first = session(&there, &json!({"reason": "second_factor_changed"}));
    assert_eq!(ended().await, std::slice::from_ref(&first));
    // Back to when there was none.
    send(&admin, "recover", &content).await.is(200);
    assert_eq!(ended().await, [first, session(&ann, &json!({"reason": "recovered"}))]);
}
