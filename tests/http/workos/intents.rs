//! Whoever is made at WorkOS is made here, too, or is taken back there, whatever dies or refuses in between.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::creating::{CHOSEN, moderator};
use super::fake::{Fake, Manner, Place};
use super::faults::{changed, execute};
use super::{assert_converged, by_email, following, people, settle};
use crate::harness::{START, TestApp, eventually};

/// Longer than whoever makes somebody is left alone with it.
const OVERDUE: Duration = Duration::from_mins(3);

/// How many intents there are, how many people there, and how many here.
async fn counted(app: &TestApp, fake: &Fake) -> (i64, usize, usize) {
    let db = app.inside.db.reader();
    let sql = "SELECT COUNT(*) FROM workos_intents";
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    let intents = row.unwrap().try_get_by_index(0).unwrap();
    (intents, fake.truth().len(), people(app).await.len())
}

/// Another instance is asked to make somebody, and dies as soon as WorkOS was.
async fn die_while_making(app: &Arc<TestApp>, fake: &Fake) {
    let asked = fake.times(Place::Create);
    let (crash, crashing) = oneshot::channel::<()>();
    let (same, doomed) = (Arc::clone(app), Runtime::new().unwrap());
    let crashed = std::thread::spawn(move || {
        let instance = doomed.block_on(async {
            let instance = same.second_instance().await;
            let admin = instance.admin().await;
            let making =
                tokio::spawn(async move { admin.post("/api/user/").json(&moderator()).await.status() });
            crashing.await.unwrap();
            making.abort();
            instance
        });
        doomed.shutdown_background();
        std::mem::forget(instance);
    });
    eventually(|| async { fake.times(Place::Create) }, |times| *times > asked).await;
    crash.send(()).unwrap();
    tokio::task::spawn_blocking(move || crashed.join().unwrap()).await.unwrap();
}

// F-17
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_made_there_when_the_program_died_is_taken_back_by_the_next() {
    let fake = Fake::start().await;
    let app = Arc::new(following(&fake, &[]).await);
    settle(&app).await;
    app.admin().await;
    // It dies before WorkOS has answered, and before it has made anybody.
    for (manner, there) in [(Manner::Held(Arc::default()), 1), (Manner::Hang, 0)] {
        fake.lies(Place::Create, manner, 1);
        die_while_making(&app, &fake).await;
        assert_eq!(counted(&app, &fake).await, (1, there, 0));
        // Their event makes no account, and whoever began may still come to an end with it.
        settle(&app).await;
        assert_eq!(counted(&app, &fake).await, (1, there, 0));
        app.clock.advance(OVERDUE);
        settle(&app).await;
        assert_eq!(counted(&app, &fake).await, (0, 0, 0));
        settle(&app).await;
        assert_converged(&app, &fake).await;
    }
    let made = app.admin().await.post("/api/user/").json(&moderator()).await.is(201).json();
    assert_eq!((&made["username"], &made["roles"]), (&json!("ann_smith"), &json!(["moderator"])));
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 1, 1));
    assert_converged(&app, &fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_could_not_be_taken_back_at_once_is_taken_back_later() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let (admin, answer) = (app.admin().await, Arc::new(Notify::new()));
    fake.lies(Place::Create, Manner::Held(Arc::clone(&answer)), 1);
    let making = tokio::spawn(async move { admin.post("/api/user/").json(&moderator()).await });
    eventually(|| async { fake.truth().len() }, |there| *there == 1).await;
    // Meanwhile somebody here takes the name, and WorkOS neither deletes nor shows whom it has made.
    app.user("ann_smith").await;
    let no = Manner::Answer(403, "{}", Vec::new());
    fake.lies(Place::User, no.clone(), 2);
    answer.notify_one();
    making.await.unwrap().refused(409, "username_taken");
    eventually(|| async { fake.times(Place::User) }, |times| *times == 2).await;
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (1, 1, 1));
    // It is found, but not deleted: it is tried again, and not at once.
    fake.lies_in_turn(Place::User, vec![changed(|_| {}), no]);
    app.clock.advance(OVERDUE);
    for _ in 0..3 {
        settle(&app).await;
    }
    assert_eq!((counted(&app, &fake).await, fake.times(Place::User)), ((1, 1, 1), 4));
    app.clock.advance(OVERDUE);
    settle(&app).await;
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 0, 1));
    assert!(app.inside.workos.drift().await.unwrap().unwrap().found.is_empty());
}

#[tokio::test]
async fn who_is_here_is_never_taken_back() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    app.admin().await.post("/api/user/").json(&moderator()).await.is(201);
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 1, 1));
    // As where an older version followed, which knows of no intents, and made the account by their event.
    execute(
        &app,
        "INSERT INTO workos_intents (id, begun_at) SELECT id, created_at FROM users WHERE username = 'ann_smith'",
    )
    .await;
    app.clock.advance(OVERDUE);
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 1, 1));
    assert_converged(&app, &fake).await;
    app.sign_in("ann_smith").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_given_up_is_not_made_here_when_the_answer_comes_after_all() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let (admin, answer) = (app.admin().await, Arc::new(Notify::new()));
    fake.lies(Place::Create, Manner::Held(Arc::clone(&answer)), 1);
    let making = tokio::spawn(async move { admin.post("/api/user/").json(&moderator()).await });
    eventually(|| async { fake.truth().len() }, |there| *there == 1).await;
    app.clock.advance(OVERDUE);
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 0, 0));
    answer.notify_one();
    making.await.unwrap().refused(503, "unavailable");
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 0, 0));
    app.admin().await.post("/api/user/").json(&moderator()).await.is(201);
    settle(&app).await;
    assert_converged(&app, &fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_told_of_somebody_who_is_being_made_is_not_lost() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    let (admin, answer) = (app.admin().await, Arc::new(Notify::new()));
    fake.lies(Place::Create, Manner::Held(Arc::clone(&answer)), 1);
    let making = tokio::spawn(async move { admin.post("/api/user/").json(&moderator()).await });
    eventually(|| async { fake.truth().len() }, |there| *there == 1).await;
    let ann = fake.ledger().users[0]["id"].as_str().unwrap().to_owned();
    fake.change(&ann, json!({"first_name": "Ann"}));
    settle(&app).await;
    answer.notify_one();
    // The answer is of before the change, and of that no event will tell again.
    let made = making.await.unwrap().is(201).json();
    assert_eq!((&made["first_name"], &made["roles"]), (&json!("Ann"), &json!(["moderator"])));
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 1, 1));
    assert_converged(&app, &fake).await;
}

/// Somebody there, and the intent to make them, as in a copy of the database.
async fn intended(app: &TestApp, fake: &Fake) {
    let id = Uuid::parse_str(CHOSEN).unwrap();
    let intend = app.inside.db.write::<_, DbErr, _>(move |tx| {
        async move {
            let sql = "INSERT INTO workos_intents (id, begun_at) VALUES ($1, $2)";
            tx.run(sql, [id.into(), START.millis().into()]).await
        }
        .boxed()
    });
    assert_eq!(intend.await.unwrap(), 1);
    fake.add("ann");
    let mut ledger = fake.ledger();
    ledger.users[0]["external_id"] = json!(CHOSEN);
    ledger.events[0]["data"]["external_id"] = json!(CHOSEN);
}

#[tokio::test]
async fn an_intent_of_another_day_deletes_nobody() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    intended(&app, &fake).await;
    // Nobody else makes an account of that id.
    let mut chosen = moderator();
    chosen["uuid"] = json!(CHOSEN);
    app.admin().await.post("/api/user/").json(&chosen).await.refused(503, "unavailable");
    app.clock.advance(Duration::from_hours(25));
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 1, 1));
    assert_eq!(by_email(&app, "ann@example.com").await.unwrap()["uuid"], CHOSEN);
    assert_converged(&app, &fake).await;
}

#[tokio::test]
async fn who_could_not_be_taken_back_within_a_day_is_set_aside() {
    let fake = Fake::start().await;
    let app = following(&fake, &[]).await;
    settle(&app).await;
    intended(&app, &fake).await;
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (1, 1, 0));
    app.clock.advance(Duration::from_hours(25));
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 1, 0));
    let found = app.inside.workos.drift().await.unwrap().unwrap().found;
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("missing here"), "{lines:?}");
    assert!(lines[1].starts_with("set aside") && lines[1].contains(CHOSEN), "{lines:?}");
    // The next change there brings them.
    let ann = fake.ledger().users[0]["id"].as_str().unwrap().to_owned();
    fake.change(&ann, json!({"last_name": "Smith"}));
    settle(&app).await;
    assert_eq!(counted(&app, &fake).await, (0, 1, 1));
}
