//! The harness itself.

use crate::harness::{TestApp, race};

#[tokio::test]
async fn a_fresh_program_answers() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/ping").await.ok().text(), "pong");
}

#[tokio::test]
async fn every_kind_of_actor_is_who_they_say() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for (actor, roles) in [
        (&ann, vec!["user"]),
        (&app.tester().await, vec!["tester"]),
        (&app.moderator().await, vec!["moderator", "user"]),
        (&app.admin().await, vec!["admin", "moderator", "user"]),
    ] {
        let me = actor.get("/api/user/me").await.ok().json();
        assert_eq!(me["uuid"], actor.id.to_string());
        assert_eq!(me["username"], actor.name.as_str());
        assert_eq!(me["roles"], serde_json::json!(roles));
    }
    app.banned().await.get("/api/user/me").await.refused(401, "token_invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_instance_serves_the_same_database() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    let replies = race(4, |_| ann.at(&other).get("/api/user/me")).await;
    for reply in replies {
        assert_eq!(reply.ok().json()["username"], "ann");
    }
}
