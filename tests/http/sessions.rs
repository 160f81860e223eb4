//! Somebody's sessions: `/auth/sessions`.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{PASSWORD, START, TestApp};

const SESSIONS: &str = "/api/auth/sessions";

#[tokio::test]
async fn everybody_sees_their_own_sessions() {
    let app = TestApp::new().await;
    app.user("bob").await;
    app.user("ann").await;
    app.clock.advance(Duration::from_mins(1));
    let credentials = json!({"username": "ann", "password": PASSWORD});
    let reply = app.post("/api/auth/login").header("user-agent", "Firefox\t/ 99").json(&credentials).await;
    let here = app.with_bearer(reply.is(200).json()["access_token"].as_str().unwrap());
    let sessions = here.get(SESSIONS).await.is(200).json();
    let sessions = sessions.as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let current: Vec<&Value> = sessions.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["ip"], "127.0.0.1");
    assert!(current[0]["device"].as_str().unwrap().starts_with("Firefox"));
    let now = START.seconds() + 60;
    assert_eq!((&current[0]["created_at"], &current[0]["last_seen_at"]), (&json!(now), &json!(now)));
    for session in sessions {
        let text = session.to_string();
        assert!(!text.contains("digest") && !text.contains("token"), "{text}");
    }
}

#[tokio::test]
async fn a_session_is_seen_when_it_refreshes() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_mins(10));
    app.post("/api/auth/token/refresh").json(&json!({"refresh_token": ann.refresh})).await.is(200);
    let session = &ann.get(SESSIONS).await.json()[0];
    assert_eq!(session["created_at"], START.seconds());
    assert_eq!(session["last_seen_at"], START.seconds() + 600);
}

#[tokio::test]
async fn one_session_can_be_ended() {
    let app = TestApp::new().await;
    let (here, there) = (app.user("ann").await, app.sign_in("ann").await);
    here.delete(&format!("{SESSIONS}/{}", there.session())).await.is(204);
    there.get(SESSIONS).await.refused(401, "token_invalid");
    here.delete(&format!("{SESSIONS}/{}", there.session())).await.refused(404, "not_found");
    here.delete(&format!("{SESSIONS}/{}", here.session())).await.is(204);
    here.get(SESSIONS).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn nobody_ends_the_session_of_another() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    for actor in [&bob, &admin] {
        actor.delete(&format!("{SESSIONS}/{}", ann.session())).await.refused(404, "not_found");
    }
    for id in [Uuid::nil().to_string(), "x".to_owned(), "7".to_owned()] {
        ann.delete(&format!("{SESSIONS}/{id}")).await.refused(404, "not_found");
    }
    ann.get(SESSIONS).await.is(200);
}

#[tokio::test]
async fn all_others_can_be_ended_at_once() {
    let app = TestApp::new().await;
    let here = app.user("ann").await;
    let others = [app.sign_in("ann").await, app.sign_in("ann").await];
    let bob = app.user("bob").await;
    here.delete(SESSIONS).await.is(204);
    for other in &others {
        other.get(SESSIONS).await.refused(401, "token_invalid");
    }
    assert_eq!(here.get(SESSIONS).await.json().as_array().unwrap().len(), 1);
    bob.get(SESSIONS).await.is(200);
}

#[tokio::test]
async fn a_session_that_is_over_is_not_listed() {
    let app = TestApp::new().await;
    app.user("ann").await;
    app.clock.advance(Duration::from_hours(24 * 8));
    let now = app.sign_in("ann").await;
    assert_eq!(now.get(SESSIONS).await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_has_more_than_a_hundred_sessions() {
    let app = TestApp::new().await;
    let first = app.user("ann").await;
    for _ in 0..100 {
        app.clock.advance(Duration::from_secs(1));
        app.sign_in("ann").await;
    }
    first.get(SESSIONS).await.refused(401, "token_invalid");
    let last = app.sign_in("ann").await;
    assert_eq!(last.get(SESSIONS).await.json().as_array().unwrap().len(), 100);
}

/// Where bad credentials are as good as none, a database that does not answer is no reason to say that somebody is nobody.
#[tokio::test]
async fn who_can_not_be_looked_up_is_not_taken_for_nobody() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let id = ann.id;
    let away = app.inside.db.write::<_, DbErr, _>(move |tx| {
        async move {
            tx.touch(id); // what is remembered of her is out of date
            tx.execute_unprepared("ALTER TABLE sessions RENAME TO sessions_away").await.map(|_| ())
        }
        .boxed()
    });
    away.await.unwrap();
    for path in ["/api/auth/OTP/send", "/api/auth/email/verify/request"] {
        ann.post(path).json(&json!({})).await.refused(503, "unavailable");
    }
    ann.get("/api/oauth/github/callback?state=x&code=y").await.refused(503, "unavailable");
}
