//! Trading a refresh token, and how long a session lasts.

use std::time::Duration;

use serde_json::json;

use super::{DAY, REFRESH, is_signed_in, refresh, refreshed};
use crate::harness::{Actor, TestApp, race};

#[tokio::test]
async fn a_refresh_token_is_traded_for_new_tokens() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_mins(25));
    let reply = refresh(&app, &ann.refresh).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let new = Actor::with_tokens(&app, "ann", &reply.is(200).json());
    assert_ne!(new.refresh, ann.refresh);
    assert_eq!((new.id, new.session()), (ann.id, ann.session()));
    assert!(is_signed_in(&new).await && is_signed_in(&ann).await);
    app.clock.advance(Duration::from_mins(20));
    assert!(is_signed_in(&new).await && !is_signed_in(&ann).await);
    app.post(REFRESH).form(&[("grant_type", "refresh_token"), ("refresh_token", &new.refresh)]).await.is(200);
}

#[tokio::test]
async fn another_grant_is_refused_and_spends_nothing() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for grant in ["password", "banana", ""] {
        let reply = app.post(REFRESH).form(&[("grant_type", grant), ("refresh_token", &ann.refresh)]).await;
        assert_eq!(reply.invalid(&["grant_type"]).json()["error"], "unsupported_grant_type");
        let body = json!({"grant_type": grant, "refresh_token": ann.refresh});
        app.post(REFRESH).json(&body).await.invalid(&["grant_type"]);
    }
    app.clock.advance(Duration::from_secs(11));
    refreshed(&app, &ann.refresh).await;
}

#[tokio::test]
async fn asked_again_at_once_the_same_successor_is_given() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let successor = refreshed(&app, &ann.refresh).await;
    app.clock.advance(Duration::from_secs(10));
    assert_eq!(refreshed(&app, &ann.refresh).await, successor);
    refreshed(&app, &successor).await;
    assert!(is_signed_in(&ann).await);
}

#[tokio::test]
async fn a_spent_refresh_token_that_comes_back_later_ends_the_session() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let elsewhere = app.sign_in("ann").await;
    let successor = refreshed(&app, &ann.refresh).await;
    app.clock.advance(Duration::from_millis(10_001));
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    refresh(&app, &successor).await.refused(401, "token_invalid");
    assert!(!is_signed_in(&ann).await);
    assert!(is_signed_in(&elsewhere).await, "other sessions go on");
}

#[tokio::test]
async fn the_grace_is_for_the_immediate_parent_only() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let child = refreshed(&app, &ann.refresh).await;
    let grandchild = refreshed(&app, &child).await;
    refresh(&app, &ann.refresh).await.refused(401, "token_invalid");
    refresh(&app, &grandchild).await.refused(401, "token_invalid");
    assert!(!is_signed_in(&ann).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_refreshes_at_once_get_one_successor() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    let replies = race(12, |number| {
        let instance = if number % 2 == 0 { &app } else { &other };
        instance.post(REFRESH).json(&json!({"refresh_token": ann.refresh}))
    });
    let mut successors: Vec<String> =
        replies.await.iter().map(|reply| reply.is(200).json()["refresh_token"].to_string()).collect();
    successors.dedup();
    assert_eq!(successors.len(), 1, "{successors:?}");
    assert!(is_signed_in(&ann).await);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut other = ann.refresh.clone();
    other.replace_range(other.len() - 2.., "AA");
    for token in ["", "x", &other, &"x".repeat(5000), "a b", "ä"] {
        refresh(&app, token).await.refused(401, "token_invalid");
    }
    app.post(REFRESH).json(&json!({})).await.invalid(&["refresh_token"]);
    app.post(REFRESH).json(&json!({"refresh_token": null})).await.invalid(&["refresh_token"]);
    refreshed(&app, &ann.refresh).await;
}

#[tokio::test]
async fn a_session_ends_after_a_week_without_use() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.clock.advance(7 * DAY - Duration::from_secs(1));
    let next = refreshed(&app, &ann.refresh).await;
    app.clock.advance(7 * DAY - Duration::from_secs(1));
    let next = refreshed(&app, &next).await;
    app.clock.advance(7 * DAY);
    refresh(&app, &next).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_session_ends_after_thirty_days_however_much_it_is_used() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut token = ann.refresh.clone();
    for _ in 0..4 {
        app.clock.advance(6 * DAY);
        token = refreshed(&app, &token).await;
    }
    app.clock.advance(6 * DAY - Duration::from_secs(1));
    token = refreshed(&app, &token).await;
    app.clock.advance(Duration::from_secs(1));
    refresh(&app, &token).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn an_access_token_does_not_outlive_its_session() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut token = ann.refresh.clone();
    for _ in 0..4 {
        app.clock.advance(6 * DAY);
        token = refreshed(&app, &token).await;
    }
    app.clock.advance(6 * DAY - Duration::from_mins(5));
    let last = Actor::with_tokens(&app, "ann", &refresh(&app, &token).await.is(200).json());
    assert!(is_signed_in(&last).await);
    app.clock.advance(Duration::from_mins(5));
    assert!(!is_signed_in(&last).await);
}

#[tokio::test]
async fn sessions_of_admins_are_shorter() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.clock.advance(Duration::from_mins(59));
    let next = refreshed(&app, &admin.refresh).await;
    app.clock.advance(Duration::from_hours(1));
    refresh(&app, &next).await.refused(401, "token_invalid");
    let mut token = app.admin().await.refresh.clone();
    for _ in 0..28 {
        app.clock.advance(Duration::from_mins(50));
        token = refreshed(&app, &token).await;
    }
    app.clock.advance(Duration::from_mins(40));
    refresh(&app, &token).await.refused(401, "token_invalid");
}
