//! The harness itself.

use crate::harness::{TestApp, plans, race};

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

#[test]
fn a_statement_that_looks_through_a_table_is_found() {
    let database = plans::schema();
    for good in [
        "SELECT * FROM users AS u WHERE u.id = $1",
        "BEGIN IMMEDIATE; UPDATE users SET locale = $1 WHERE id = $2; COMMIT",
        "SELECT * FROM signing_keys",
        "SELECT * FROM events WHERE published_at IS NULL AND trouble IS NULL ORDER BY position LIMIT 5",
        "WITH few AS MATERIALIZED (SELECT id FROM mails WHERE id = $1) SELECT * FROM few",
        "SAVEPOINT act; RELEASE act",
        "SELECT * FROM a_table_of_a_file_that_is_imported",
    ] {
        assert!(plans::faults(&database, good).is_empty(), "{good}");
    }
    for bad in [
        "SELECT 1 FROM users WHERE locale = $1",
        "BEGIN IMMEDIATE; UPDATE events SET trouble = NULL WHERE trace_id = $1; COMMIT",
        "SELECT 1 FROM sessions s JOIN users AS u ON u.id = s.user_id WHERE u.locale = s.ip",
        "SELECT 1 FROM webhooks JOIN users ON users.locale = webhooks.url",
        "DELETE FROM mails WHERE id IN (SELECT id FROM mails WHERE created_at < $1)",
    ] {
        assert!(!plans::faults(&database, bad).is_empty(), "{bad}");
    }
}
