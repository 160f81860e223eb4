//! What happens there happens here.

use std::time::{Duration, Instant};

use gatehouse::workos::Reached;
use serde_json::json;

use super::fake::{Fake, Place, written};
use super::{assert_converged, by_email, following, people, settle};
use crate::harness::{Actor, Demand, PASSWORD, Reply, TestApp, eventually};
use crate::oauth::scene::Scene;

#[tokio::test]
async fn everybody_is_listed_once_and_then_events_are_followed() {
    let fake = Fake::start().await;
    let ids: Vec<String> = (0..250).map(|number| fake.add(&format!("user{number:03}"))).collect();
    let app = following(&fake, &[]).await;
    assert_eq!(app.inside.workos.catch_up().await.unwrap(), Reached::Everything);
    assert_converged(&app, &fake).await;
    let measured = app.get("/metrics").await.is(200).text().to_owned();
    assert!(measured.contains("gatehouse_workos_lag_seconds ") && measured.contains("outcome=\"applied\""));
    assert_eq!(fake.ledger().asked.iter().filter(|asked| asked.query("order") == Some("desc")).count(), 0);

    fake.change(&ids[3], json!({"first_name": "Ann", "last_name": "Smith", "email": "ann@example.com"}));
    fake.remove(&ids[4]);
    fake.add("new");
    settle(&app).await;
    assert_converged(&app, &fake).await;
    let standing = app.inside.workos.standing().await.unwrap().unwrap();
    assert_eq!((standing.quarantined, standing.trouble, standing.lag), (0, None, Some(Duration::ZERO)));
    let measured = app.get("/metrics").await.is(200).text().to_owned();
    assert!(measured.contains("gatehouse_workos_last_event_age_seconds "), "{measured}");

    // Nobody is listed again, and the next page begins behind the last event.
    let listings = fake.times(Place::Users);
    settle(&app).await;
    let last = fake.ledger().events.last().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(fake.ledger().asked.last().unwrap().query("after"), Some(&*last));
    assert_eq!(fake.times(Place::Users), listings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_there_is_here_within_ten_seconds() {
    let fake = Fake::start().await;
    let app = following(&fake, &[("WORKOS_SYNC_INTERVAL_SECONDS", "5")]).await;
    let running = tokio::spawn(app.inside.workos.clone().follow());
    let ann = fake.add("ann_smith");
    let admin = app.admin().await;
    let seen = async |email: &str| {
        let (begun, path) = (Instant::now(), format!("/api/user?q={email}"));
        let is_here = |found: &Reply| {
            let found = found.is(200).json();
            found.as_array().unwrap().iter().any(|user| user["email"] == email)
        };
        eventually(|| admin.get(&path), is_here).await;
        begun.elapsed()
    };
    let mut took = vec![seen("ann_smith@example.com").await];
    // A busy machine may stand still for seconds, but not at each change.
    for host in ["example.org", "example.net", "example.edu"] {
        let email = format!("ann@{host}");
        fake.change(&ann, json!({"email": email}));
        took.push(seen(&email).await);
        if took[1..].iter().any(|took| *took < Duration::from_secs(10)) {
            return running.abort();
        }
    }
    panic!("no change was here within ten seconds: {took:?}");
}

#[tokio::test]
async fn a_page_that_ends_with_the_list_is_followed_by_none() {
    for (users, pages) in [(99, 1), (100, 1), (101, 2), (200, 2)] {
        let fake = Fake::start().await;
        for number in 0..users {
            fake.add(&format!("user{number:03}"));
        }
        let app = following(&fake, &[]).await;
        settle(&app).await;
        assert_eq!(fake.times(Place::Users), pages, "{users}");
        assert_eq!(people(&app).await.len(), users);
    }
}

#[tokio::test]
async fn who_is_deleted_there_is_deleted_here_and_signed_out() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let admin = app.admin().await;
    let new = json!({"username": "ann_smith", "email": "ann@example.com", "password": PASSWORD});
    admin.post("/api/user/").json(&new).await.is(201);
    let ann = app.sign_in("ann_smith").await;
    settle(&app).await;
    ann.get("/api/user/me").await.is(200);

    let id = fake.ledger().users[0]["id"].as_str().unwrap().to_owned();
    fake.remove(&id);
    settle(&app).await;
    ann.get("/api/user/me").await.is(401);
    assert_ne!(app.try_sign_in("ann_smith", PASSWORD).await.status(), 200);
    assert!(by_email(&app, "ann@example.com").await.is_none());
    // The address is free, and who comes with it is somebody else.
    fake.add("ann");
    settle(&app).await;
    assert_ne!(by_email(&app, "ann@example.com").await.unwrap()["uuid"], json!(ann.id));
}

/// Somebody of the directory who has a password here: their id there, and they.
async fn with_password(app: &TestApp, fake: &Fake, name: &str) -> (String, Actor) {
    let email = format!("{name}@example.com");
    let new = json!({"username": name, "email": email, "password": PASSWORD});
    app.admin().await.post("/api/user/").json(&new).await.is(201);
    settle(app).await;
    let id = fake.ledger().users.iter().find(|user| user["email"] == email).unwrap()["id"].clone();
    (id.as_str().unwrap().to_owned(), app.sign_in(name).await)
}

/// They are deleted, and the last word on that was nobody's here.
async fn assert_deleted_by_nobody(app: &TestApp, who: &Actor) {
    let user = app.admin().await.get(&who.path()).await.is(200).json();
    assert!(!user["deleted_at"].is_null(), "{user}");
    let last = &user["user_history"][0];
    assert_eq!((&last["action"], &last["by"]), (&json!("deleted"), &json!(null)), "{user}");
}

#[tokio::test]
async fn who_left_comes_back_with_what_changed_there_meanwhile() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let (there, ann) = with_password(&app, &fake, "ann_smith").await;
    ann.delete(&ann.path()).await.is(200);
    fake.change(&there, json!({"first_name": "Anne", "last_name": "Jones", "email": "ann@example.org"}));
    settle(&app).await;
    let left = app.admin().await.get(&ann.path()).await.is(200).json();
    assert!(!left["deleted_at"].is_null(), "a change brings nobody back: {left}");
    // It is still they who left, whatever was changed since.
    let me = app.sign_in("ann_smith").await.me().await;
    assert_eq!((&me["uuid"], &me["email"]), (&json!(ann.id), &json!("ann@example.org")));
    assert_converged(&app, &fake).await;

    // Whose address somebody else has by then comes back without one, as newcomers do.
    let ann = app.sign_in("ann_smith").await;
    ann.delete(&ann.path()).await.is(200);
    app.user("bob_jones").await;
    fake.change(&there, json!({"last_name": "Hill", "email": "bob_jones@example.com"}));
    settle(&app).await;
    let me = app.sign_in("ann_smith").await.me().await;
    assert_eq!((&me["last_name"], &me["email"]), (&json!("Hill"), &json!(null)));
}

#[tokio::test]
async fn who_left_and_is_deleted_there_does_not_come_back_by_password() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let (there, ann) = with_password(&app, &fake, "ann_smith").await;
    ann.delete(&ann.path()).await.is(200);
    // As long as the directory has them, they do.
    let ann = app.sign_in("ann_smith").await;
    let (authenticator, _) = ann.enrol(&app).await;
    ann.delete(&ann.path()).await.is(200);
    let half_done = Demand::of(&app.try_sign_in("ann_smith", PASSWORD).await);
    fake.remove(&there);
    settle(&app).await;
    app.answer(&half_done.token, &authenticator.next_code(&app)).await.refused(401, "invalid_otp");
    app.try_sign_in("ann_smith", PASSWORD).await.refused(401, "invalid_credentials");
    assert_deleted_by_nobody(&app, &ann).await;
    app.clock.advance(Duration::from_secs(10)); // a refused password is not tried again at once
    // Staff may bring them back all the same.
    app.admin().await.post(&format!("{}/restore", ann.path())).await.is(200);
    Demand::of(&app.try_sign_in("ann_smith", PASSWORD).await);
}

#[tokio::test]
async fn who_left_and_is_not_on_a_full_listing_does_not_come_back() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let (there, _) = with_password(&app, &fake, "ann_smith").await;
    fake.add("bob_jones");
    settle(&app).await;
    app.clock.advance(Duration::from_hours(100 * 24));
    let ann = app.sign_in("ann_smith").await;
    ann.delete(&ann.path()).await.is(200);
    fake.remove(&there);
    fake.loses_the_past(404);
    app.clock.advance(Duration::from_mins(1));
    settle(&app).await;
    app.try_sign_in("ann_smith", PASSWORD).await.refused(401, "invalid_credentials");
    assert_deleted_by_nobody(&app, &ann).await;
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn who_left_and_is_deleted_there_does_not_come_back_by_a_provider() {
    let fake = Fake::start().await;
    let settings = fake.settings();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let scene = Scene::with(&settings).await;
    fake.follow(&scene.clock);
    let there = fake.add("ann");
    fake.change(&there, json!({"email_verified": true}));
    settle(&scene).await;
    let ann = scene.come("acme").await;
    ann.delete(&ann.path()).await.is(200);
    // As long as the directory has them, they come back; so much is as ever.
    let ann = scene.come("acme").await;
    ann.delete(&ann.path()).await.is(200);
    let waiting = scene.browser().code("acme").await;
    fake.remove(&there);
    settle(&scene).await;
    scene.trade(&waiting).await.refused(401, "token_invalid");
    assert_eq!(scene.trouble("acme").await, "user_inactive");
    assert_deleted_by_nobody(&scene, &ann).await;
}

// an address alone proves nothing, and a name says nothing.
#[tokio::test]
async fn nobody_takes_over_an_account_that_is_here_already() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let ann = app.user("ann_smith").await;
    let root = app.admin().await;
    for (name, external_id) in [("ann_smith", json!(ann.id)), ("root", json!(root.id))] {
        let email = format!("{name}@example.com");
        let id = fake.add(name);
        let lie = json!({"email": email, "email_verified": true, "external_id": external_id, "roles": ["admin"],
                         "role": "admin", "metadata": {"role": "admin"}});
        fake.change(&id, lie);
    }
    settle(&app).await;
    assert_eq!(ann.get("/api/user/me").await.is(200).json()["first_name"], json!(null));
    let users = root.get("/api/user?limit=100").await.is(200).json();
    let came: Vec<_> = users.as_array().unwrap().iter().filter(|user| user["email"].is_null()).collect();
    assert_eq!(came.len(), 2, "{users}");
    for user in came {
        assert_eq!(user["roles"], json!(["user"]));
        assert!(user["uuid"] != json!(ann.id) && user["uuid"] != json!(root.id));
    }
    let drift = app.inside.workos.drift().await.unwrap().unwrap();
    let lines: Vec<String> = drift.found.iter().map(ToString::to_string).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("address taken")), "{lines:?}");

    // Once the address is free, the next change brings it.
    ann.delete(&ann.path()).await.is(200);
    let id = fake.ledger().users[0]["id"].as_str().unwrap().to_owned();
    fake.change(&id, json!({"last_name": "Smith"}));
    settle(&app).await;
    assert_eq!(by_email(&app, "ann_smith@example.com").await.unwrap()["last_name"], "Smith");
}

// There, an address is one person's: who has it here is behind, whatever order a listing has.
#[tokio::test]
async fn addresses_that_changed_hands_unseen_are_where_they_are_there() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let names = ["ann", "bob", "cat", "dan", "eve"];
    let there: Vec<String> = names.iter().map(|name| fake.add(name)).collect();
    settle(&app).await;
    app.clock.advance(Duration::from_hours(100 * 24));
    let moves =
        |who: usize, to: &str| fake.change(&there[who], json!({"email": format!("{to}@example.com")}));
    // Two have each other's, one has that of the first, who is gone, and one that of a later one, who has another.
    for (who, to) in [(1, "free"), (2, "bob"), (1, "cat"), (4, "new"), (3, "eve")] {
        moves(who, to);
    }
    fake.remove(&there[0]);
    fake.add("ann");
    fake.loses_the_past(404);
    app.clock.advance(Duration::from_mins(1));
    settle(&app).await;
    assert_converged(&app, &fake).await;

    // What was true before does not take from somebody what they have now.
    let before = fake.ledger().users.iter().find(|user| user["email"] == "bob@example.com").unwrap().clone();
    let mut stranger = before.clone();
    stranger["id"] = json!("user_stranger");
    stranger["updated_at"] = json!(written(app.clock.now().before(Duration::from_hours(200 * 24))));
    stranger["external_id"] = json!(null);
    fake.tells("user.created", stranger.clone());
    settle(&app).await;
    assert_eq!(by_email(&app, "bob@example.com").await.unwrap()["first_name"], "cat");
    fake.tells("user.deleted", stranger);
    settle(&app).await;
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn user_names_come_from_addresses_and_are_all_different() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    for host in ["a", "b", "c"] {
        let id = fake.add(&format!("host_{host}"));
        fake.change(&id, json!({"email": format!("anne.marie+news@{host}.example")}));
    }
    let odd = fake.add("odd");
    fake.change(
        &odd,
        json!({"email": "admin@example.com", "first_name": "\u{202E}Eve\u{0}", "last_name": "x".repeat(300)}),
    );
    settle(&app).await;
    let users = app.admin().await.get("/api/user?limit=100&sort=username").await.is(200).json();
    let names: Vec<&str> =
        users.as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin1", "anne_marie", "anne_marie1", "anne_marie2", "root"]);
    let odd = by_email(&app, "admin@example.com").await.unwrap();
    assert_eq!(
        (odd["first_name"].as_str(), odd["last_name"].as_str()),
        (Some("Eve"), Some(&*"x".repeat(64)))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_instances_one_follows() {
    let fake = Fake::start().await;
    for number in 0..150 {
        fake.add(&format!("user{number:03}"));
    }
    let one = following(&fake, &[]).await;
    let other = one.second_instance().await;
    let (first, second) = tokio::join!(one.inside.workos.catch_up(), other.inside.workos.catch_up());
    let mut reached = [first.unwrap(), second.unwrap()];
    reached.sort_by_key(|reached| format!("{reached:?}"));
    assert_eq!(reached, [Reached::AnotherFollows, Reached::Everything]);
    assert_converged(&one, &fake).await;
    // Whoever stops lets the other follow at once.
    one.inside.workos.give_back().await.unwrap();
    other.inside.workos.give_back().await.unwrap();
    fake.add("new");
    assert_eq!(other.inside.workos.catch_up().await.unwrap(), Reached::Everything);
    assert_converged(&one, &fake).await;
}

#[tokio::test]
async fn nothing_is_followed_without_a_key() {
    let app = TestApp::new().await;
    assert_eq!(app.inside.workos.catch_up().await.unwrap(), Reached::SwitchedOff);
    assert!(app.inside.workos.drift().await.unwrap().is_none());
    assert!(app.admin().await.get("/health/ready").await.is(200).json()["parts"].get("workos").is_none());
}
