//! Making users while WorkOS keeps the directory.

use std::collections::HashSet;
use std::time::Duration;

use gatehouse::workos::Reached;
use serde_json::{Value, json};

use super::fake::{Fake, Manner, Place};
use super::{IMPATIENT, assert_converged, by_email, following, people, settle};
use crate::harness::{PASSWORD, Reply, TestApp, eventually};

fn new(name: &str) -> Value {
    json!({"username": name, "email": format!("{name}@example.com"), "first_name": "Ann", "middle_name": "M",
           "last_name": "Smith", "password": PASSWORD, "description": "Hello"})
}

#[tokio::test]
async fn a_user_is_made_there_first_and_the_event_finds_them_here() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let made = app.admin().await.post("/api/user/").json(&new("ann_smith")).await.is(201).json();
    {
        let ledger = fake.ledger();
        assert_eq!(ledger.users[0]["external_id"], made["uuid"]);
        assert_eq!(ledger.users[0]["email"], "ann_smith@example.com");
        let asked = ledger.asked.last().unwrap();
        assert!(asked.idempotency_key.is_some());
        assert!(!asked.body.to_string().contains(PASSWORD), "{}", asked.body);
    }
    assert_eq!((&made["middle_name"], &made["description"]), (&json!("M"), &json!("Hello")));
    let history = format!("/api/user/{}/history", made["uuid"].as_str().unwrap());
    let before = app.admin().await.get(&history).await.is(200).json();
    settle(&app).await;
    settle(&app).await;
    assert_converged(&app, &fake).await;
    assert_eq!(app.admin().await.get(&history).await.is(200).json(), before);
    app.sign_in("ann_smith").await.get("/api/user/me").await.is(200);
}

#[tokio::test]
async fn what_workos_refuses_is_refused_and_nothing_is_stored() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let admin = app.admin().await;
    fake.add("ann_smith");
    admin.post("/api/user/").json(&new("ann_smith")).await.refused(409, "email_taken");
    let refusals = [
        (
            409,
            r#"{"code":"user_already_exists","message":"A user with this email already exists"}"#,
            409,
            "email_taken",
        ),
        (400, r#"{"code":"email_not_available"}"#, 409, "email_taken"),
        (400, r#"{"code":"user_creation_error","errors":[]}"#, 409, "email_taken"),
        (400, r#"{"code":"invalid_email"}"#, 422, "validation_failed"),
        (422, r#"{"errors":[{"field":"email","code":"invalid"}]}"#, 422, "validation_failed"),
    ];
    for (status, body, ours, code) in refusals {
        fake.lies(Place::Create, Manner::Answer(status, body, Vec::new()), 1);
        admin.post("/api/user/").json(&new("bob_jones")).await.refused(ours, code);
    }
    assert!(people(&app).await.is_empty());
    // What is taken here, WorkOS is not asked for.
    app.user("carl_page").await;
    let asked = fake.times(Place::Create);
    admin.post("/api/user/").json(&new("carl_page")).await.refused(409, "username_taken");
    let mut same = new("dora_hill");
    same["email"] = json!("carl_page@example.com");
    admin.post("/api/user/").json(&same).await.refused(409, "email_taken");
    admin.post("/api/user/").json(&json!({"username": "dora_hill"})).await.invalid(&["email"]);
    assert_eq!(fake.times(Place::Create), asked);
}

#[tokio::test]
async fn while_workos_is_away_nobody_is_made() {
    let fake = Fake::start().await;
    let app = following(&fake, &[IMPATIENT]).await;
    let admin = app.admin().await;
    let ways = [
        Manner::Answer(500, "<html>", Vec::new()),
        Manner::Answer(429, "{}", vec![("retry-after", "90".to_owned())]),
        Manner::Answer(401, "{}", Vec::new()),
        Manner::Reset,
        Manner::Hang,
    ];
    for way in ways {
        fake.lies(Place::Create, way, 5);
        let reply = admin.post("/api/user/").json(&new("ann_smith")).await;
        reply.refused(503, "unavailable");
        assert!(reply.header("retry-after").is_some());
        // What was not asked for again is not lied about next time.
        fake.ledger().forget_lies();
    }
    assert!(people(&app).await.is_empty());
    assert!(fake.truth().is_empty());
    // However often each is asked for within the time that there is: it is one act.
    // (Whether they were made all the same is asked for beside that.)
    let asked = fake.ledger().asked.clone();
    let asked = asked.into_iter().filter(|asked| asked.place == Place::Create);
    let keys: Vec<_> = asked.map(|asked| asked.idempotency_key).collect();
    let acts: HashSet<_> = keys.iter().collect();
    assert!(keys.iter().all(Option::is_some) && acts.len() == 5 && keys.len() > 5, "{keys:?}");
    admin.post("/api/user/").json(&new("ann_smith")).await.is(201);
}

#[tokio::test]
async fn a_lost_answer_makes_nobody_twice() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    fake.lies(Place::Create, Manner::Lost, 1);
    let made = app.admin().await.post("/api/user/").json(&new("ann_smith")).await.is(201).json();
    assert_eq!(fake.ledger().users[0]["external_id"], made["uuid"]);
    assert_eq!(fake.truth().len(), 1);
    settle(&app).await;
    assert_converged(&app, &fake).await;
}

/// An id that a client chose.
pub(super) const CHOSEN: &str = "0190a5c0-7e3b-7c2a-8f00-1234567890ab";

/// With an id of ours the event leaves them to the act; with one that the client chose it makes an account, which becomes
/// what was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_event_that_comes_first_makes_the_same_account() {
    for chosen in [None, Some(CHOSEN)] {
        assert_overtaken_by_their_event(chosen).await;
    }
}

async fn assert_overtaken_by_their_event(chosen: Option<&str>) {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let (admin, mut new) = (app.admin().await, new("ann_smith"));
    if let Some(id) = chosen {
        new["uuid"] = json!(id);
    }
    // They are made there, the answer is lost, and before it is asked for again the event was followed.
    let answer = Manner::Answer(503, "{}", vec![("retry-after", "2".to_owned())]);
    fake.lies_in_turn(Place::Create, vec![Manner::Lost, answer]);
    let making = tokio::spawn(async move { admin.post("/api/user/").json(&new).await });
    eventually(|| async { fake.truth().len() }, |there| *there == 1).await;
    assert_eq!(app.inside.workos.catch_up().await.unwrap(), Reached::Everything);
    let made = making.await.unwrap().is(201).json();
    assert_eq!(fake.ledger().users[0]["external_id"], made["uuid"]);
    assert_eq!((&made["username"], &made["description"]), (&json!("ann_smith"), &json!("Hello")));
    app.sign_in("ann_smith").await;
    assert_converged(&app, &fake).await;
}

/// Somebody whose account would be another one if an event made it.
pub(super) fn moderator() -> Value {
    json!({"username": "ann_smith", "email": "ann@example.com", "password": PASSWORD, "roles": ["moderator"]})
}

/// Made there and taken back there, and then made as was asked for.
async fn assert_taken_back(app: &TestApp, fake: &Fake) {
    let told = || async { fake.ledger().events.len() };
    eventually(told, |told| *told == 2).await;
    settle(app).await;
    assert!(fake.truth().is_empty() && people(app).await.is_empty());
    let made = app.admin().await.post("/api/user/").json(&moderator()).await.is(201).json();
    assert_eq!((&made["username"], &made["roles"]), (&json!("ann_smith"), &json!(["moderator"])));
    settle(app).await;
    assert_converged(app, fake).await;
    app.sign_in("ann_smith").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_made_there_after_we_gave_up_is_taken_back_there() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    fake.lies(Place::Create, Manner::Late(Duration::from_secs(9)), 1);
    app.admin().await.post("/api/user/").json(&moderator()).await.refused(503, "unavailable");
    assert!(people(&app).await.is_empty());
    assert_taken_back(&app, &fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_that_an_event_made_of_them_before_goes_with_them() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let no = Manner::Answer(503, "{}", vec![("retry-after", "90".to_owned())]);
    fake.lies_in_turn(Place::Create, vec![Manner::Lost, no]);
    // Nobody has the id yet; the first looks see that, too, and the event is followed meanwhile.
    fake.lies(Place::User, Manner::Answer(404, "{}", Vec::new()), 3);
    let mut chosen = moderator();
    chosen["uuid"] = json!(CHOSEN);
    app.admin().await.post("/api/user/").json(&chosen).await.refused(503, "unavailable");
    settle(&app).await;
    assert_taken_back(&app, &fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_there_before_is_kept_and_never_taken_back() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let (id, mut chosen) = (CHOSEN, moderator());
    chosen["uuid"] = json!(id);
    let there = fake.add("ann");
    fake.change(&there, json!({"external_id": id}));
    let admin = app.admin().await;
    let made = admin.post("/api/user/").json(&chosen).await.is(201).json();
    assert_eq!((&made["uuid"], &made["username"]), (&json!(id), &json!("ann_smith")));
    assert_eq!(fake.times(Place::Create), 0);
    settle(&app).await;
    assert_converged(&app, &fake).await;
    app.sign_in("ann_smith").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_hangs_up_does_not_cut_off_the_making() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let (admin, other) = (app.admin().await, app.admin().await);
    fake.lies(Place::Create, Manner::Late(Duration::from_secs(2)), 1);
    let asking = tokio::spawn(async move { admin.post("/api/user/").json(&moderator()).await });
    eventually(|| async { fake.times(Place::Create) }, |times| *times == 1).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let is_here = |found: &Reply| found.is(200).json().as_array().unwrap().len() == 1;
    eventually(|| other.get("/api/user?q=ann@example.com"), is_here).await;
    settle(&app).await;
    assert_converged(&app, &fake).await;
    let ann = app.sign_in("ann_smith").await.get("/api/user/me").await.is(200).json();
    assert_eq!(ann["roles"], json!(["moderator"]));
}

#[tokio::test]
async fn what_the_directory_keeps_is_not_changed_here() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    let admin = app.admin().await;
    let made = admin.post("/api/user/").json(&new("ann_smith")).await.is(201).json();
    let path = format!("/api/user/{}", made["uuid"].as_str().unwrap());
    for change in [
        json!({"email": "other@example.com"}),
        json!({"email": null}),
        json!({"email_verified": true}),
        json!({"first_name": "Bob"}),
        json!({"last_name": null}),
        json!({"middle_name": "X"}),
    ] {
        admin.patch(&path).json(&change).await.refused(409, "managed_by_directory");
        app.sign_in("ann_smith")
            .await
            .patch(&path)
            .json(&json!({"first_name": "Bob"}))
            .await
            .refused(409, "managed_by_directory");
    }
    admin.put(&format!("{path}/full-name")).json(&json!({})).await.refused(409, "managed_by_directory");
    // The same again is no change, and the rest is ours.
    let rest = json!({"first_name": "Ann", "email": "ann_smith@example.com", "description": "x", "locale": "de",
                      "username": "ann_jones"});
    admin.patch(&path).json(&rest).await.is(200);
    // Who is not of the directory is as free as ever.
    let bob = app.user("bob_jones").await;
    bob.patch(&bob.path()).json(&json!({"first_name": "Bob"})).await.is(200);
    settle(&app).await;
    assert_eq!(by_email(&app, "ann_smith@example.com").await.unwrap()["username"], "ann_jones");
}

#[tokio::test]
async fn signing_up_has_nothing_to_do_with_it() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    app.user("ann_smith").await;
    assert_eq!(fake.times(Place::Create), 0);
    settle(&app).await;
    assert!(by_email(&app, "ann_smith@example.com").await.is_some(), "who was never there is not removed");
}

#[tokio::test]
async fn without_workos_nothing_is_asked_and_nothing_is_kept() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let made = admin.post("/api/user/").json(&new("ann_smith")).await.is(201).json();
    let path = format!("/api/user/{}", made["uuid"].as_str().unwrap());
    admin.patch(&path).json(&json!({"first_name": "Bob"})).await.is(200);
}
