//! Other people's sessions: who reads them, who ends them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{actions, log};
use crate::harness::{Actor, TestApp};

fn sessions_of(whom: &Actor) -> String {
    format!("{}/sessions", whom.path())
}

fn ids(sessions: &Value) -> Vec<String> {
    let mut ids: Vec<String> = sessions
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn staff_sees_where_an_ordinary_person_is_signed_in() {
    let app = TestApp::new().await;
    let (admin, moderator) = (app.admin().await, app.moderator().await);
    let ann = app.user("ann").await;
    let phone = app.sign_in("ann").await;
    let own = ann.get("/api/auth/sessions").await;
    assert_eq!(own.header("x-total-count"), Some("2"));
    let own = own.is(200).json();
    let mut expected = vec![ann.session().to_string(), phone.session().to_string()];
    expected.sort_unstable();
    for who in [&admin, &moderator, &ann] {
        let seen = who.get(&sessions_of(&ann)).await;
        assert_eq!(seen.header("x-total-count"), Some("2"));
        let seen = seen.is(200).json();
        assert_eq!(ids(&seen), expected);
        for (seen, own) in seen.as_array().unwrap().iter().zip(own.as_array().unwrap()) {
            let is_current = who.id == ann.id && own["current"] == true;
            assert_eq!(seen["current"], is_current);
            for member in ["id", "device", "ip", "created_at", "last_seen_at", "expires_at"] {
                assert_eq!(seen[member], own[member]);
            }
        }
    }
    // Nothing of a session is a secret by which one could take its place.
    let text = admin.get(&sessions_of(&ann)).await.is(200).text().to_owned();
    assert!(!text.contains(&ann.refresh) && !text.contains("digest"));
}

#[tokio::test]
async fn moderators_neither_read_those_of_staff_nor_end_any() {
    let app = TestApp::new().await;
    let (admin, moderator, ann) = (app.admin().await, app.moderator().await, app.user("ann").await);
    moderator.get(&sessions_of(&admin)).await.refused(403, "forbidden");
    let one = format!("{}/{}", sessions_of(&ann), ann.session());
    for path in [sessions_of(&ann), one, sessions_of(&admin)] {
        moderator.delete(&path).await.refused(403, "forbidden");
    }
    let bob = app.user("bob").await;
    for path in [sessions_of(&ann), sessions_of(&admin)] {
        bob.get(&path).await.refused(403, "forbidden");
        bob.delete(&path).await.refused(403, "forbidden");
    }
    for who in [&ann, &admin] {
        who.me().await;
    }
}

#[tokio::test]
async fn an_admin_ends_one_or_all_and_that_is_noted() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let (phone, tablet) = (app.sign_in("ann").await, app.sign_in("ann").await);
    let one = |session: &str| format!("{}/{session}", sessions_of(&ann));
    for nothing in ["x", &Uuid::nil().to_string(), &admin.session().to_string()] {
        admin.delete(&one(nothing)).await.refused(404, "not_found");
    }
    admin.delete(&one(&phone.session().to_string())).await.is(204);
    phone.get("/api/user/me").await.refused(401, "token_invalid");
    ann.me().await;
    admin.delete(&sessions_of(&ann)).await.is(204);
    for who in [&ann, &tablet] {
        who.get("/api/user/me").await.refused(401, "token_invalid");
        let again = app.post("/api/auth/token/refresh").json(&json!({"refresh_token": who.refresh})).await;
        again.is(401);
    }
    let entries = log(&admin, &format!("subject={}", ann.id)).await;
    assert_eq!(actions(&entries), ["session_ended", "sessions_ended"]);
    assert_eq!(entries[0]["details"], json!({"session": phone.session()}));
    assert_eq!(entries[1]["details"], json!({"sessions": 2}));
}

#[tokio::test]
async fn of_ones_own_the_one_that_asks_goes_on_and_nothing_is_noted() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let phone = app.sign_in("ann").await;
    ann.delete(&sessions_of(&ann)).await.is(204);
    phone.get("/api/user/me").await.refused(401, "token_invalid");
    ann.me().await;
    assert_eq!(log(&admin, &format!("subject={}", ann.id)).await, Vec::<Value>::new());
}
